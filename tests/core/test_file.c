/* test_file.c - whole files, atomic writes, folders. */
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/file.h"
#include "tests/check.h"
#include "tests/faults.h"
#include "tests/folder.h"

static void test_write_and_read(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    uint8_t *bytes = NULL;
    size_t n_bytes = 9;

    assert_ok(prle_file_write_atomic(in_folder("a"), "old content", 11));
    assert_ok(prle_file_write_atomic(in_folder("a"), "new", 3));
    assert_ok(prle_file_read_all(in_folder("a"), &bytes, &n_bytes));
    assert_int_equal(n_bytes, 3);
    assert_string_equal((const char *)bytes, "new");
    prle_free(bytes);
    assert_ok(prle_file_write_atomic(in_folder("empty"), NULL, 0));
    assert_ok(prle_file_read_all(in_folder("empty"), &bytes, &n_bytes));
    assert_int_equal(n_bytes, 0);
    prle_free(bytes);
    assert_int_equal(prle_alloc_live(), live);
}

static void test_bad_paths(void **state)
{
    (void)state;
    uint8_t *bytes = NULL;
    size_t n_bytes = 9;

    assert_fails(prle_file_read_all(in_folder("none"), &bytes, &n_bytes), PRLE_EIO, "none: cannot open: No such file");
    assert_fails(prle_file_read_all(test_folder, &bytes, &n_bytes), PRLE_EIO, "not a regular file");
    assert_null(bytes);
    assert_int_equal(n_bytes, 9);
    assert_fails(prle_file_write_atomic(in_folder("no/such/x"), "x", 1), PRLE_EIO, "cannot open");
    assert_ok(prle_folder_make(in_folder("taken")));
    assert_fails(prle_file_write_atomic(in_folder("taken"), "x", 1), PRLE_EIO, "cannot rename");
    assert_ok(prle_file_write_atomic(in_folder("file"), "x", 1));
    assert_fails(prle_folder_make(in_folder("file/below")), PRLE_EIO, "cannot make folder");
}

/* A failed write leaves nothing behind, under no name. */
static void test_failed_write_leaves_nothing(void **state)
{
    (void)state;
    const char *target = in_folder("only/taken");
    char *content = NULL;
    size_t n_bytes = 0;

    assert_ok(prle_folder_make(target));
    assert_fails(prle_file_write_atomic(target, "x", 1), PRLE_EIO, "");
    assert_int_equal(rmdir(target), 0);
    assert_int_equal(rmdir(in_folder("only")), 0);
    prle_alloc_fail_at(1);
    assert_fails(prle_file_read_all("tests/check.h", (uint8_t **)&content, &n_bytes), PRLE_ENOMEM, "");
    assert_null(content);
}

static void test_folders(void **state)
{
    (void)state;
    assert_ok(prle_folder_make(in_folder("a1/b/c/")));
    assert_ok(prle_folder_make(in_folder("a1/b")));
    assert_true(prle_file_exists(in_folder("a1/b/c")));
    assert_ok(prle_file_write_atomic(in_folder("a1/b/c/x"), "x", 1));
    assert_ok(prle_file_publish(in_folder("a1/b"), in_folder("moved")));
    assert_true(prle_file_exists(in_folder("moved/c/x")));
    assert_fails(prle_file_publish(in_folder("a1"), in_folder("moved")), PRLE_EIO, "cannot rename");
    assert_int_equal(symlink("/usr", in_folder("moved/link")), 0);
    assert_ok(prle_folder_remove(in_folder("moved")));
    assert_false(prle_file_exists(in_folder("moved")));
    assert_true(prle_file_exists("/usr/include"));
    assert_ok(prle_folder_remove(in_folder("moved")));
    assert_fails(prle_folder_make(""), PRLE_EINVAL, "folder name");
}

static void test_limit_and_pread(void **state)
{
    (void)state;
    uint8_t *bytes = NULL, part[4] = {0};
    size_t n_bytes = 0;
    uint64_t size = 0;
    int fd = -1;

    assert_ok(prle_file_write_atomic(in_folder("ten"), "0123456789", 10));
    assert_fails(prle_file_read_limited(in_folder("ten"), 9, &bytes, &n_bytes), PRLE_EFORMAT,
                 "10 bytes, more than the limit of 9");
    assert_ok(prle_file_read_limited(in_folder("ten"), 10, &bytes, &n_bytes));
    prle_free(bytes);
    assert_ok(prle_file_size(in_folder("ten"), &size));
    assert_int_equal(size, 10);
    assert_ok(prle_file_open(in_folder("ten"), &fd));
    const int64_t calls = prle_io_count();
    assert_ok(prle_file_pread(fd, "ten", part, 4, 6));
    assert_int_equal(prle_io_count() - calls, 1);
    assert_memory_equal(part, "6789", 4);
    assert_fails(prle_file_pread(fd, "ten", part, 4, 7), PRLE_EFORMAT, "1 bytes are missing");
    assert_fails(prle_file_pread(fd, "ten", part, 4, UINT64_MAX - 2), PRLE_EFORMAT, "beyond any file");
    prle_file_close(fd);
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    assert_fails(prle_file_open(in_folder("pipe"), &fd), PRLE_EIO, "not a regular file");
}

static void test_stale(void **state)
{
    (void)state;
    const char *gone[] = {"s/.a.h5.tmp.17", "s/.b.tmp.1"}, *kept[] = {"s/.a.tmp.x1", "s/a.h5.tmp.17", "s/.tmp.17", "s/.a.tmp."};

    assert_ok(prle_folder_make(in_folder("s")));
    for (size_t i = 0; i < 2; i++)
        assert_ok(prle_file_write_atomic(in_folder(gone[i]), "x", 1));
    for (size_t i = 0; i < 4; i++)
        assert_ok(prle_file_write_atomic(in_folder(kept[i]), "x", 1));
    assert_ok(prle_file_remove_stale(in_folder("s"), "b"));
    assert_true(prle_file_exists(in_folder(gone[0])));
    assert_false(prle_file_exists(in_folder(gone[1])));
    assert_ok(prle_file_remove_stale(in_folder("s"), NULL));
    assert_false(prle_file_exists(in_folder(gone[0])));
    for (size_t i = 0; i < 4; i++)
        assert_true(prle_file_exists(in_folder(kept[i])));
    assert_ok(prle_file_remove_stale(in_folder("no such folder"), NULL));
}

static void test_list_and_paths(void **state)
{
    (void)state;
    prle_strings names = {0};
    char *text = NULL;

    assert_ok(prle_strings_add(&names, "first"));
    assert_ok(prle_folder_make(in_folder("l/b")));
    assert_ok(prle_file_write_atomic(in_folder("l/a10"), "x", 1));
    assert_ok(prle_file_write_atomic(in_folder("l/B"), "x", 1));
    assert_ok(prle_file_write_atomic(in_folder("l/.hidden"), "x", 1));
    assert_ok(prle_folder_list(in_folder("l"), &names));
    assert_int_equal(names.n, 4);
    assert_string_equal(names.item[1], "B");
    assert_string_equal(names.item[2], "a10");
    assert_string_equal(names.item[3], "b");
    assert_int_equal(prle_strings_find(&names, "a10"), 2);
    assert_int_equal(prle_strings_find(&names, "a1"), -1);
    assert_fails(prle_folder_list(in_folder("none"), &names), PRLE_EIO, "cannot list: No such file");
    prle_strings_deinit(&names);
    const char *joined[][3] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"a", "/b", "/b"}};
    for (int i = 0; i < 4; i++) {
        assert_ok(prle_path_join(joined[i][0], joined[i][1], &text));
        assert_string_equal(text, joined[i][2]);
        prle_free(text);
    }
    const char *folders[][2] = {{"a/b/c.h5", "a/b"}, {"c.h5", "."}, {"/c.h5", "/"}};
    for (int i = 0; i < 3; i++) {
        assert_ok(prle_path_folder(folders[i][0], &text));
        assert_string_equal(text, folders[i][1]);
        assert_string_equal(prle_path_name(folders[i][0]), "c.h5");
        prle_free(text);
    }
}

/* Every system call of an atomic write fails once: the old content stays, and nothing else is in the folder. */
static void test_every_call_fails(void **state)
{
    (void)state;
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    bool failed = true;

    assert_ok(prle_folder_make(in_folder("f")));
    assert_ok(prle_file_write_atomic(in_folder("f/x"), "old", 3));
    for (int nth = 1; failed; nth++) {
        prle_io_fail_at(nth);
        failed = prle_file_write_atomic(in_folder("f/x"), "new", 3) != PRLE_OK;
        prle_io_fail_at(0);
        assert_true(nth < 20);
        assert_ok(prle_file_read_all(in_folder("f/x"), &bytes, &n_bytes));
        assert_true(memcmp(bytes, "old", 3) == 0 || memcmp(bytes, "new", 3) == 0);
        prle_free(bytes);
        if (failed)
            assert_non_null(strstr(prle_error_message(), "Input/output error"));
    }
    DIR *stream = opendir(in_folder("f"));
    int n_entries = 0;
    while (readdir(stream) != NULL)
        n_entries++;
    closedir(stream);
    assert_int_equal(n_entries, 3); /* x, and the two dots */
}

/* What else is done to files and folders: kept under a second name, listed, locked, read in part, removed. */
static prle_status files_work(void *user)
{
    (void)user;
    prle_status st = PRLE_OK;
    prle_strings names = {0};
    char *folder = NULL, *path = NULL;
    int lock = -1, fd = -1;
    uint64_t n_bytes = 0;
    uint8_t byte;

    PRLE_TRY_OUT(prle_path_folder(in_folder("w/x"), &folder));
    PRLE_TRY_OUT(prle_folder_make(folder));
    PRLE_TRY_OUT(prle_path_join(folder, "x", &path));
    PRLE_TRY_OUT(prle_file_write_atomic(path, "new", 3));
    PRLE_TRY_OUT(prle_file_keep(path, in_folder("w/y")));
    PRLE_TRY_OUT(prle_file_write_atomic(in_folder("w/.z.tmp.1"), "old", 3));
    PRLE_TRY_OUT(prle_file_remove_stale_of(in_folder("w/z")));
    PRLE_TRY_OUT(prle_folder_list(folder, &names));
    PRLE_TRY_OUT(prle_file_size(path, &n_bytes));
    PRLE_TRY_OUT(prle_file_lock(in_folder("w/lock"), false, 0, &lock));
    PRLE_TRY_OUT(prle_file_open(path, &fd));
    PRLE_TRY_OUT(prle_file_pread(fd, path, &byte, 1, 2));
    PRLE_TRY_OUT(prle_file_remove(path));
    PRLE_TRY_OUT(prle_folder_remove(folder));
out:
    prle_file_close(fd);
    prle_file_close(lock);
    prle_free(folder);
    prle_free(path);
    prle_strings_deinit(&names);
    return st;
}

static void test_every_call_of_files_fails(void **state)
{
    (void)state;
    faults_each(files_work, NULL, NULL);
}

/* A disk that is full at any byte leaves the old file: played by a limit on file sizes. */
static void test_full_disk(void **state)
{
    (void)state;
    struct rlimit old, limit;
    static uint8_t block[10000];
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;

    assert_ok(prle_file_write_atomic(in_folder("full"), "old", 3));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    limit = (struct rlimit){.rlim_cur = 8192, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    const prle_status st = prle_file_write_atomic(in_folder("full"), block, sizeof block);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(st, PRLE_EIO);
    assert_non_null(strstr(prle_error_message(), "File too large"));
    assert_ok(prle_file_read_all(in_folder("full"), &bytes, &n_bytes));
    assert_int_equal(n_bytes, 3);
    prle_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_and_read),
        cmocka_unit_test(test_bad_paths),
        cmocka_unit_test(test_failed_write_leaves_nothing),
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_limit_and_pread),
        cmocka_unit_test(test_stale),
        cmocka_unit_test(test_list_and_paths),
        cmocka_unit_test(test_every_call_fails),
        cmocka_unit_test(test_every_call_of_files_fails),
        cmocka_unit_test(test_full_disk),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
