/* test_file.c - whole files, atomic writes, folders. */
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/file.h"
#include "tests/check.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/prle_file_XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return prle_folder_remove(folder) == PRLE_OK ? 0 : -1;
}

static const char *in_folder(const char *name)
{
    static char path[2][128];
    static int turn;

    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

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
    assert_fails(prle_file_read_all(folder, &bytes, &n_bytes), PRLE_EIO, "not a regular file");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_and_read),
        cmocka_unit_test(test_bad_paths),
        cmocka_unit_test(test_failed_write_leaves_nothing),
        cmocka_unit_test(test_folders),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
