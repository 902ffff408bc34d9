/* test_hdf5.c - round trips, schemas, rows, and files that are cut, damaged, missing or on a full disk. */
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/hdf5.h"
#include "core/rng.h"
#include "tests/check.h"
#include "tests/faults.h"
#include "tests/folder.h"

enum { ROWS = 40, H = 24, W = 32, CELLS = H * W };

static int entries(const char *path)
{
    DIR *stream = opendir(path);
    int n = 0;

    while (readdir(stream) != NULL)
        n++;
    closedir(stream);
    return n - 2;
}

static uint16_t cell(int64_t row, int64_t at) { return (uint16_t)(row * 7919 + at * at); }

static void row_fill(int64_t row, uint16_t *out)
{
    for (int64_t at = 0; at < CELLS; at++)
        out[at] = cell(row, at);
}

static const uint16_t rank_fill = 0xFFFF;
static const prle_h5_layout chunked = {.chunk_rows = 1, .deflate = 1, .fill = &rank_fill};

/* A file with one of everything; rows of "rank" are written but for row 3. */
static prle_status write_sample(const char *path)
{
    prle_status st = PRLE_OK;
    prle_h5 *file = NULL;
    const uint8_t label[5] = {0, 1, 1, 0, 1};
    const char *const names[] = {"real", "", "swap"};
    uint16_t row[CELLS];

    PRLE_TRY(prle_h5_create(path, "prle.test", 2, &file));
    PRLE_TRY_OUT(prle_h5_attr_write_string(file, "rule", "expand"));
    PRLE_TRY_OUT(prle_h5_attr_write_string(file, "empty", ""));
    PRLE_TRY_OUT(prle_h5_attr_write_int(file, "radius", -3));
    PRLE_TRY_OUT(prle_h5_attr_write_double(file, "tau1", 0.3));
    PRLE_TRY_OUT(prle_h5_write(file, "label", PRLE_H5_U8, &PRLE_SHAPE(5), label));
    PRLE_TRY_OUT(prle_h5_write(file, "none", PRLE_H5_F32, &PRLE_SHAPE(0, 4), NULL));
    PRLE_TRY_OUT(prle_h5_write_strings(file, "method_names", names, 3));
    PRLE_TRY_OUT(prle_h5_write_strings(file, "no_names", NULL, 0));
    PRLE_TRY_OUT(prle_h5_define(file, "rank", PRLE_H5_U16, &PRLE_SHAPE(ROWS, H, W), &chunked));
    for (int64_t i = ROWS - 1; i >= 0; i--) {
        row_fill(i, row);
        if (i != 3)
            PRLE_TRY_OUT(prle_h5_write_rows(file, "rank", PRLE_H5_U16, i, 1, row));
    }
    PRLE_TRY_OUT(prle_h5_commit(file));
out:
    prle_h5_close(file);
    return st;
}

/* Reads everything there is and compares; damage may only ever show as a status. */
static prle_status read_sample(const char *path)
{
    prle_status st = PRLE_OK;
    prle_h5 *file = NULL;
    prle_strings names = {0};
    uint8_t label[5];
    uint16_t rows[2 * CELLS];
    char *rule = NULL;

    PRLE_TRY(prle_h5_open(path, "prle.test", 2, &file));
    PRLE_TRY_OUT(prle_h5_attr_list(file, &names));
    PRLE_TRY_OUT(prle_h5_list(file, "/", &names));
    prle_strings_deinit(&names);
    PRLE_TRY_OUT(prle_h5_attr_read_string(file, "rule", &rule));
    PRLE_TRY_OUT(prle_h5_read(file, "label", PRLE_H5_U8, &PRLE_SHAPE(5), label));
    PRLE_TRY_OUT(prle_h5_read_strings(file, "method_names", &names));
    for (int64_t i = 0; i + 1 < ROWS; i += 2)
        PRLE_TRY_OUT(prle_h5_read_rows(file, "rank", PRLE_H5_U16, i, 2, rows));
out:
    prle_free(rule);
    prle_strings_deinit(&names);
    prle_h5_close(file);
    return st;
}

static void test_attributes(void **state)
{
    (void)state;
    prle_h5 *file = NULL;
    char *text = NULL;
    int64_t number = 0;
    double real = 0;
    prle_strings names = {0};
    prle_h5_type type = PRLE_H5_U8;

    assert_ok(write_sample(in_folder("a.h5")));
    assert_ok(prle_h5_open(in_folder("a.h5"), "prle.test", 2, &file));
    assert_string_equal(prle_h5_schema(file), "prle.test");
    assert_int_equal(prle_h5_version(file), 2);
    assert_ok(prle_h5_attr_read_string(file, "created_by", &text));
    assert_non_null(strstr(text, "prle 0."));
    assert_non_null(strstr(text, "test_hdf5"));
    prle_free(text);
    assert_ok(prle_h5_attr_read_string(file, "rule", &text));
    assert_string_equal(text, "expand");
    prle_free(text);
    assert_ok(prle_h5_attr_read_string(file, "empty", &text));
    assert_string_equal(text, "");
    prle_free(text);
    assert_ok(prle_h5_attr_read_int(file, "radius", &number));
    assert_int_equal(number, -3);
    assert_ok(prle_h5_attr_read_double(file, "tau1", &real));
    assert_true(real == 0.3);
    assert_fails(prle_h5_attr_read_int(file, "tau1", &number), PRLE_EFORMAT, "a.h5: attribute 'tau1' is no integer");
    assert_fails(prle_h5_attr_read_double(file, "rule", &real), PRLE_EFORMAT, "'rule' is no real number");
    assert_fails(prle_h5_attr_read_string(file, "radius", &text), PRLE_EFORMAT, "'radius' is no string");
    assert_fails(prle_h5_attr_read_int(file, "nothing", &number), PRLE_EFORMAT, "attribute 'nothing' is missing");
    assert_true(prle_h5_attr_exists(file, "rule") && !prle_h5_attr_exists(file, "nothing"));
    assert_ok(prle_h5_attr_type(file, "rule", &type));
    assert_int_equal(type, PRLE_H5_STRING);
    assert_ok(prle_h5_attr_type(file, "version", &type));
    assert_int_equal(type, PRLE_H5_I64);
    assert_ok(prle_h5_attr_list(file, &names));
    assert_int_equal(names.n, 7);
    assert_string_equal(names.item[0], "created_by");
    prle_strings_deinit(&names);
    prle_h5_close(file);
}

#define CHECK_TYPE(kind, c_type, ...)                                                                                            \
    do {                                                                                                                         \
        const c_type in[6] = {__VA_ARGS__};                                                                                      \
        c_type out[6] = {0}, *fresh = NULL;                                                                                      \
        prle_shape any = {.n = 2, .dim = {-1, 3}};                                                                               \
        assert_ok(prle_h5_create(in_folder("t.h5"), "prle.test", 1, &file));                                                     \
        assert_ok(prle_h5_write(file, "group/x", kind, &PRLE_SHAPE(2, 3), in));                                                  \
        assert_ok(prle_h5_commit(file));                                                                                         \
        prle_h5_close(file);                                                                                                     \
        assert_ok(prle_h5_open(in_folder("t.h5"), NULL, 0, &file));                                                              \
        assert_ok(prle_h5_read(file, "group/x", kind, &PRLE_SHAPE(2, 3), out));                                                  \
        assert_memory_equal(in, out, sizeof in);                                                                                 \
        assert_ok(prle_h5_read_alloc(file, "group/x", kind, &any, (prle_any_ptr *)&fresh));                                      \
        assert_memory_equal(in, fresh, sizeof in);                                                                               \
        assert_int_equal(any.dim[0], 2);                                                                                         \
        prle_free(fresh);                                                                                                        \
        assert_ok(prle_h5_dataset_get(file, "group/x", &info));                                                                  \
        assert_int_equal(info.type, kind);                                                                                       \
        assert_int_equal(info.stored_bytes, sizeof in);                                                                          \
        assert_false(info.chunked);                                                                                              \
        assert_ok(prle_file_open(in_folder("t.h5"), &fd));                                                                       \
        memset(out, 0, sizeof out);                                                                                              \
        assert_ok(prle_file_pread(fd, "t.h5", out, sizeof out, info.offset));                                                    \
        assert_memory_equal(in, out, sizeof in);                                                                                 \
        prle_file_close(fd);                                                                                                     \
        prle_h5_close(file);                                                                                                     \
    } while (0)

/* Each type comes back, and lies in the file where it says it does. */
static void test_types(void **state)
{
    (void)state;
    prle_h5 *file = NULL;
    prle_h5_dataset info;
    int fd = -1;

    CHECK_TYPE(PRLE_H5_U8, uint8_t, 0, 1, 2, 3, 254, 255);
    CHECK_TYPE(PRLE_H5_U16, uint16_t, 0, 1, 2, 3, 4, 65535);
    CHECK_TYPE(PRLE_H5_U32, uint32_t, 0, 1, 2, 3, 4, UINT32_MAX);
    CHECK_TYPE(PRLE_H5_U64, uint64_t, 0, 1, 2, 3, 4, UINT64_MAX);
    CHECK_TYPE(PRLE_H5_I64, int64_t, INT64_MIN, -1, 0, 1, 2, INT64_MAX);
    CHECK_TYPE(PRLE_H5_F16, uint16_t, 0, 0x3C00, 0xBC00, 0x7BFF, 0x0001, 0x7E00);
    CHECK_TYPE(PRLE_H5_F32, float, 0.0f, -1.5f, 3e38f, 1e-45f, 5.0f, 6.0f);
    CHECK_TYPE(PRLE_H5_F64, double, 0.0, -1.5, 1e308, 5e-324, 5.0, 6.0);
}

static void test_datasets(void **state)
{
    (void)state;
    prle_h5 *file = NULL;
    prle_strings names = {0};
    uint8_t label[5] = {9, 9, 9, 9, 9};
    prle_shape any = {.n = 2, .dim = {-1, -1}};
    prle_any_ptr data = label;

    assert_ok(write_sample(in_folder("a.h5")));
    assert_ok(prle_h5_open(in_folder("a.h5"), "prle.test", 2, &file));
    assert_fails(prle_h5_read(file, "lable", PRLE_H5_U8, &PRLE_SHAPE(5), label), PRLE_EFORMAT,
                 "a.h5: dataset 'lable' is missing");
    assert_fails(prle_h5_read(file, "label", PRLE_H5_U16, &PRLE_SHAPE(5), label), PRLE_EFORMAT, "'label' is u8, expected u16");
    assert_fails(prle_h5_read(file, "label", PRLE_H5_U8, &PRLE_SHAPE(6), label), PRLE_EFORMAT, "'label' is [5], expected [6]");
    assert_fails(prle_h5_read(file, "/", PRLE_H5_U8, &PRLE_SHAPE(5), label), PRLE_EFORMAT, "");
    assert_fails(prle_h5_read_alloc(file, "label", PRLE_H5_U8, &any, &data), PRLE_EFORMAT, "expected [-1,-1]");
    assert_fails(prle_h5_read_strings(file, "label", &names), PRLE_EFORMAT, "'label' is u8, expected string");
    assert_int_equal(label[0], 9);
    assert_ok(prle_h5_read_alloc(file, "none", PRLE_H5_F32, &any, &data));
    assert_null(data);
    assert_ok(prle_h5_read_strings(file, "no_names", &names));
    assert_int_equal(names.n, 0);
    assert_ok(prle_h5_read_strings(file, "method_names", &names));
    assert_int_equal(names.n, 3);
    assert_string_equal(names.item[1], "");
    assert_string_equal(names.item[2], "swap");
    prle_strings_deinit(&names);
    assert_ok(prle_h5_list(file, "/", &names));
    assert_int_equal(names.n, 5);
    assert_string_equal(names.item[0], "label");
    prle_strings_deinit(&names);
    assert_fails(prle_h5_list(file, "nowhere", &names), PRLE_EFORMAT, "group 'nowhere' is missing");
    assert_true(prle_h5_exists(file, "rank") && !prle_h5_exists(file, "rank/x") && !prle_h5_exists(file, ""));
    assert_false(prle_h5_is_group(file, "rank"));
    assert_true(prle_h5_is_group(file, "/"));
    prle_h5_close(file);
}

static void test_rows(void **state)
{
    (void)state;
    prle_h5 *file = NULL, *copy = NULL;
    static uint16_t rows[ROWS * CELLS], want[CELLS];

    assert_ok(write_sample(in_folder("a.h5")));
    assert_ok(prle_h5_open(in_folder("a.h5"), "prle.test", 2, &file));
    assert_ok(prle_h5_read_rows(file, "rank", PRLE_H5_U16, 0, ROWS, rows));
    for (int64_t i = 0; i < ROWS; i++) {
        row_fill(i, want);
        if (i == 3)
            memset(want, 0xFF, sizeof want);
        assert_memory_equal(rows + i * CELLS, want, sizeof want);
    }
    assert_fails(prle_h5_read_rows(file, "rank", PRLE_H5_U16, ROWS - 1, 2, rows), PRLE_ESHAPE, "has 40 rows, 2 from 39");
    assert_fails(prle_h5_read_rows(file, "rank", PRLE_H5_U16, -1, 1, rows), PRLE_ESHAPE, "");
    assert_fails(prle_h5_read_rows(file, "rank", PRLE_H5_U8, 0, 1, rows), PRLE_EFORMAT, "'rank' is u16, expected u8");
    assert_ok(prle_h5_create(in_folder("copy.h5"), "prle.test", 1, &copy));
    assert_ok(prle_h5_define(copy, "rank", PRLE_H5_U16, &PRLE_SHAPE(ROWS, H, W), &chunked));
    assert_ok(prle_h5_copy_row(copy, 1, file, 7, "rank"));
    assert_fails(prle_h5_copy_row(copy, 1, file, 3, "rank"), PRLE_EFORMAT, "cannot find a row of dataset 'rank'");
    assert_fails(prle_h5_copy_row(copy, ROWS, file, 7, "rank"), PRLE_ESHAPE, "row 40 was asked for");
    assert_fails(prle_h5_copy_row(copy, 0, file, 0, "label"), PRLE_EFORMAT, "missing");
    assert_ok(prle_h5_commit(copy));
    prle_h5_close(copy);
    assert_ok(prle_h5_open(in_folder("copy.h5"), NULL, 0, &copy));
    assert_ok(prle_h5_read_rows(copy, "rank", PRLE_H5_U16, 1, 1, rows));
    row_fill(7, want);
    assert_memory_equal(rows, want, sizeof want);
    prle_h5_close(copy);
    prle_h5_close(file);
}

/* Contiguous rows: room is taken at once and filled in any order. */
static void test_contiguous_rows(void **state)
{
    (void)state;
    prle_h5 *file = NULL;
    const uint16_t nan = 0x7E00, one[2] = {0x3C00, 0x3C00};
    const prle_h5_layout layout = {.fill = &nan};
    uint16_t out[6] = {0};

    assert_ok(prle_h5_create(in_folder("c.h5"), "prle.test", 1, &file));
    assert_ok(prle_h5_define(file, "cam", PRLE_H5_F16, &PRLE_SHAPE(3, 2), &layout));
    assert_ok(prle_h5_write_rows(file, "cam", PRLE_H5_F16, 2, 1, one));
    assert_ok(prle_h5_commit(file));
    prle_h5_close(file);
    assert_ok(prle_h5_open(in_folder("c.h5"), NULL, 0, &file));
    assert_ok(prle_h5_read(file, "cam", PRLE_H5_F16, &PRLE_SHAPE(3, 2), out));
    assert_true(out[0] == nan && out[3] == nan && out[4] == 0x3C00 && out[5] == 0x3C00);
    prle_h5_close(file);
}

static void test_schema(void **state)
{
    (void)state;
    prle_h5 *file = NULL;

    assert_ok(write_sample(in_folder("a.h5")));
    assert_fails(prle_h5_open(in_folder("a.h5"), "prle.faces", 1, &file), PRLE_EFORMAT,
                 "a.h5: is a prle.test file, expected prle.faces");
    assert_fails(prle_h5_open(in_folder("a.h5"), "prle.test", 1, &file), PRLE_EFORMAT,
                 "version 2 is newer than this program reads (1)");
    assert_fails(prle_h5_open(in_folder("none.h5"), NULL, 0, &file), PRLE_EIO, "none.h5: cannot open: No such file");
    assert_fails(prle_h5_open(test_folder, NULL, 0, &file), PRLE_EIO, "not a regular file");
    assert_ok(prle_file_write_atomic(in_folder("text.h5"), "not a store", 11));
    assert_fails(prle_h5_open(in_folder("text.h5"), NULL, 0, &file), PRLE_EFORMAT, "text.h5: cannot open as HDF5");
    assert_ok(prle_file_write_atomic(in_folder("empty.h5"), "", 0));
    assert_fails(prle_h5_open(in_folder("empty.h5"), NULL, 0, &file), PRLE_EFORMAT, "cannot open as HDF5");
    assert_ok(prle_file_write_atomic(in_folder("old.h5"), "\x89HDF\r\n\x1a\n\0\0\0\0", 12)); /* as h5py writes by default */
    assert_fails(prle_h5_open(in_folder("old.h5"), NULL, 0, &file), PRLE_EFORMAT, "old.h5: is in HDF5's old format");
    assert_fails(prle_h5_create(in_folder("no/such/x.h5"), "prle.test", 1, &file), PRLE_EIO, "No such file");
    assert_null(file);
}

/* What was not committed leaves the old file and nothing else. */
static void test_abandoned(void **state)
{
    (void)state;
    prle_h5 *file = NULL;

    assert_ok(prle_folder_make(in_folder("d")));
    assert_ok(write_sample(in_folder("d/a.h5")));
    assert_ok(prle_h5_create(in_folder("d/a.h5"), "prle.other", 1, &file));
    assert_ok(prle_h5_define(file, "rank", PRLE_H5_U16, &PRLE_SHAPE(ROWS, H, W), &chunked));
    assert_int_equal(entries(in_folder("d")), 2);
    prle_h5_close(file);
    assert_int_equal(entries(in_folder("d")), 1);
    assert_ok(read_sample(in_folder("d/a.h5")));
}

/* The same content gives the same bytes. */
static void test_same_bytes(void **state)
{
    (void)state;
    uint8_t *a = NULL, *b = NULL;
    size_t n_a = 0, n_b = 0;

    assert_ok(write_sample(in_folder("a.h5")));
    assert_ok(write_sample(in_folder("b.h5")));
    assert_ok(prle_file_read_all(in_folder("a.h5"), &a, &n_a));
    assert_ok(prle_file_read_all(in_folder("b.h5"), &b, &n_b));
    assert_int_equal(n_a, n_b);
    assert_memory_equal(a, b, n_a);
    prle_free(a);
    prle_free(b);
}

static void test_cut_off(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;

    assert_ok(write_sample(in_folder("a.h5")));
    assert_ok(prle_file_read_all(in_folder("a.h5"), &bytes, &n_bytes));
    for (size_t cut = 0; cut < n_bytes; cut += cut < 4096 ? 97 : 1531) {
        assert_ok(prle_file_write_atomic(in_folder("cut.h5"), bytes, cut));
        assert_fails(read_sample(in_folder("cut.h5")), PRLE_EFORMAT, "cut.h5");
    }
    prle_free(bytes);
    assert_int_equal(prle_alloc_live(), live);
}

/* Bytes turned over anywhere: an error or the old content, never a crash; metadata is caught by its checksums. */
static void test_damaged(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    int n_caught = 0;

    assert_ok(write_sample(in_folder("a.h5")));
    assert_ok(prle_file_read_all(in_folder("a.h5"), &bytes, &n_bytes));
    for (uint32_t turn = 0; turn < 300; turn++) {
        prle_rng rng = prle_rng_make(1, turn, 0, PRLE_RNG_TEST);
        const size_t at = prle_rng_below(&rng, (uint32_t)(turn % 2 == 0 ? 4096 : n_bytes));
        const uint8_t old = bytes[at];
        bytes[at] = (uint8_t)(old ^ (1 + prle_rng_below(&rng, 255)));
        assert_ok(prle_file_write_atomic(in_folder("bad.h5"), bytes, n_bytes));
        n_caught += read_sample(in_folder("bad.h5")) != PRLE_OK;
        bytes[at] = old;
    }
    assert_in_range(n_caught, 100, 300);
    prle_free(bytes);
    assert_int_equal(prle_alloc_live(), live);
}

static prle_status sample_write(void *user)
{
    (void)user;
    return write_sample(in_folder("e/a.h5"));
}

static prle_status sample_read(void *user)
{
    (void)user;
    return read_sample(in_folder("e/a.h5"));
}

static void sample_check(void *user, bool done)
{
    (void)user, (void)done;
    assert_int_equal(entries(in_folder("e")), 1);
    assert_ok(read_sample(in_folder("e/a.h5")));
}

/* Each HDF5 and system call, and each allocation, fails once: an error, the old file or the new one, nothing left behind. */
static void test_every_call_fails(void **state)
{
    (void)state;
    assert_ok(prle_folder_make(in_folder("e")));
    assert_ok(sample_write(NULL));
    faults_each(sample_write, sample_check, NULL);
    faults_each(sample_read, sample_check, NULL);
}

/* A disk that is full at any point, played by a limit on file sizes: nothing torn under the final name. */
static void test_full_disk(void **state)
{
    (void)state;
    struct rlimit old, limit;
    uint64_t n_bytes = 0;

    assert_ok(prle_folder_make(in_folder("g")));
    assert_ok(write_sample(in_folder("a.h5")));
    assert_ok(prle_file_size(in_folder("a.h5"), &n_bytes));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t cut = 0; cut < n_bytes; cut += 499) {
        limit = (struct rlimit){.rlim_cur = cut, .rlim_max = old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        const prle_status st = write_sample(in_folder("g/a.h5"));
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(st, PRLE_EIO);
        assert_non_null(strstr(prle_error_message(), "g/a.h5"));
        assert_int_equal(entries(in_folder("g")), 0);
    }
    assert_ok(write_sample(in_folder("g/a.h5")));
    assert_ok(read_sample(in_folder("g/a.h5")));
}

static void *read_many(void *file)
{
    uint16_t row[CELLS], want[CELLS];

    for (int64_t i = 4; i < ROWS; i++) {
        row_fill(i, want);
        if (prle_h5_read_rows(file, "rank", PRLE_H5_U16, i, 1, row) != PRLE_OK || memcmp(row, want, sizeof row) != 0)
            return file;
        uint8_t wrong;
        if (prle_h5_read(file, "label", PRLE_H5_U8, &PRLE_SHAPE(1), &wrong) != PRLE_EFORMAT)
            return file;
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    void *failed = NULL;
    prle_h5 *file = NULL;

    assert_ok(write_sample(in_folder("a.h5")));
    assert_ok(prle_h5_open(in_folder("a.h5"), NULL, 0, &file));
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_many, file), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    prle_h5_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attributes),       cmocka_unit_test(test_types),
        cmocka_unit_test(test_datasets),         cmocka_unit_test(test_rows),
        cmocka_unit_test(test_contiguous_rows),  cmocka_unit_test(test_schema),
        cmocka_unit_test(test_abandoned),        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_cut_off),          cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_every_call_fails), cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
