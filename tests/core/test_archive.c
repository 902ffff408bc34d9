/* test_archive.c - files of weights: what PyTorch and safetensors wrote reads as they say; what is wrong is refused, not
 * believed. */
#include "core/archive.h"

#include <inttypes.h>
#include <math.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/json.h"
#include "tests/check.h"
#include "tests/folder.h"

#define ARCHIVES "tests/golden/archives/"

enum { MOST = 64 };

/* ---- what others wrote: tests/golden/make_archives.py ---- */

static void values_are(const prle_archive *archive, int64_t i, const prle_json *values)
{
    const prle_archive_tensor *t = &archive->tensor[i];
    double got[MOST], rounded[MOST], expected = 0;
    float narrow[MOST];
    int64_t n = -1, integer[MOST];

    assert_ok(prle_archive_count(archive, i, &n));
    assert_int_equal(n, prle_json_count(values));
    assert_true(n <= MOST);
    if (prle_stored_is_real(t->type)) {
        assert_ok(prle_archive_read(archive, i, PRLE_STORED_F64, got));
        assert_ok(prle_archive_read(archive, i, PRLE_STORED_F32, narrow));
        assert_fails(prle_archive_read(archive, i, PRLE_STORED_I64, integer), PRLE_ENOTSUP, "not integers");
    } else {
        assert_ok(prle_archive_read(archive, i, PRLE_STORED_I64, integer));
        assert_fails(prle_archive_read(archive, i, PRLE_STORED_F32, narrow), PRLE_ENOTSUP, "not real numbers");
    }
    for (int64_t k = 0; k < n; k++) {
        assert_true(prle_json_double(prle_json_item(values, k), &expected));
        rounded[k] = prle_stored_is_real(t->type) ? (double)narrow[k] : (double)(float)expected;
        if (!prle_stored_is_real(t->type))
            got[k] = (double)integer[k];
        if (!(got[k] == expected && rounded[k] == (double)(float)expected))
            fail_msg("%s: %s[%" PRId64 "] is %.17g, not %.17g", archive->path, t->name, k, got[k], expected);
    }
}

static void file_is(const char *file, const prle_json *tensors)
{
    prle_archive *archive = NULL;
    char path[256];
    int64_t i = 0;

    snprintf(path, sizeof path, ARCHIVES "%s", file);
    assert_ok(prle_archive_open(&archive, path));
    assert_int_equal(archive->n, prle_json_count(tensors));
    for (const char *name = prle_json_next_key(tensors, NULL); name != NULL; name = prle_json_next_key(tensors, name), i++) {
        const prle_json *row = prle_json_get(tensors, name), *shape = prle_json_item(row, 1);
        const int64_t at = prle_names_find(&archive->names, name);
        int64_t dim = -1;

        assert_true(at >= 0);
        const prle_archive_tensor *t = &archive->tensor[at];
        assert_string_equal(t->name, name);
        assert_string_equal(prle_stored_name(t->type), prle_json_text(prle_json_item(row, 0)));
        assert_int_equal(t->n_dims, prle_json_count(shape));
        for (int d = 0; d < t->n_dims; d++) {
            assert_true(prle_json_int(prle_json_item(shape, d), &dim));
            assert_int_equal(t->dim[d], dim);
        }
        values_are(archive, at, prle_json_item(row, 2));
    }
    assert_ok(prle_archive_verify(archive));
    prle_archive_close(archive);
}

static void test_written_by_others(void **state)
{
    prle_json *expected = NULL;
    int n = 0;

    (void)state;
    assert_ok(prle_json_load(ARCHIVES "expected.json", &expected));
    for (const char *file = prle_json_next_key(expected, NULL); file != NULL; file = prle_json_next_key(expected, file), n++)
        file_is(file, prle_json_get(expected, file));
    assert_int_equal(n, 8);
    prle_json_destroy(expected);
}

static void test_not_understood(void **state)
{
    prle_archive *archive = NULL;

    (void)state;
    assert_fails(prle_archive_open(&archive, ARCHIVES "zip/deflated.pth"), PRLE_ENOTSUP, "zip -0");
    assert_ok(prle_archive_open(&archive, ARCHIVES "legacy/module.pth"));
    assert_string_equal(archive->format, "pytorch legacy");
    assert_int_equal(archive->skipped.list.n, 1);
    assert_string_equal(archive->skipped.list.item[0], "__builtin__.set");
    prle_archive_close(archive);
    assert_fails(prle_archive_open(&archive, ARCHIVES "expected.json"), PRLE_EFORMAT, "neither safetensors nor");
    assert_fails(prle_archive_open(&archive, "no such file"), PRLE_EIO, "no such file");
}

/* ---- what is wrong is refused ---- */

static const char *path;

/* A safetensors file of this header and n_data zero bytes; the answer of opening it. */
static prle_status opened(const char *header, size_t n_data)
{
    uint8_t bytes[4096] = {0};
    const size_t n_header = strlen(header);
    prle_archive *archive = NULL;

    assert_true(8 + n_header + n_data <= sizeof bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)n_header >> 8 * i);
    memcpy(bytes + 8, header, n_header);
    assert_ok(prle_file_write_atomic(path, bytes, 8 + n_header + n_data));
    const prle_status st = prle_archive_open(&archive, path);
    prle_archive_close(archive);
    return st;
}

static void test_safetensors_refused(void **state)
{
    (void)state;
    assert_ok(opened("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}  ", 8));
    assert_ok(opened("{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]},\"a\":{\"dtype\":\"I32\",\"shape\":[],"
                     "\"data_offsets\":[0,4]}}",
                     8));
    assert_ok(opened("{\"a\":{\"dtype\":\"F8_E5M2\",\"shape\":[2],\"data_offsets\":[0,2]},\"__metadata__\":{\"a\":\"b\"}}", 2));
    assert_fails(opened("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7), PRLE_EFORMAT, "cut or damaged");
    assert_fails(opened("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9), PRLE_EFORMAT,
                 "the tensors end at");
    assert_fails(opened("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8), PRLE_EFORMAT,
                 "a hole or an overlap");
    assert_fails(opened("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],"
                        "\"data_offsets\":[4,8]}}",
                        8),
                 PRLE_EFORMAT, "a hole or an overlap");
    assert_fails(opened("{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8), PRLE_EFORMAT, "beyond its data");
    assert_fails(opened("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8), PRLE_EFORMAT, "do not fill");
    assert_fails(opened("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,8]}}", 8), PRLE_EFORMAT, "beyond its data");
    assert_fails(opened("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0), PRLE_EFORMAT,
                 "too many");
    assert_fails(opened("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8), PRLE_EFORMAT, "data_offsets");
    assert_fails(opened("{\"a\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8), PRLE_ENOTSUP, "F4");
    assert_fails(opened("{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8), PRLE_EFORMAT, "no dtype");
    assert_fails(opened("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4), PRLE_EFORMAT,
                 "at most 8");
    assert_fails(opened("{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4), PRLE_EFORMAT, path);
    assert_fails(opened("{\"a\\n\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4), PRLE_EFORMAT, "not printable");
    assert_fails(opened("{\"a\":[],\"a\":[]}", 0), PRLE_EFORMAT, "duplicate");
    assert_fails(opened("{\"a\":", 0), PRLE_EFORMAT, path);
}

/* However short it is cut, and whichever byte is another: an answer, no crash, nothing held. */
static void cut_and_damaged(const char *file)
{
    const int64_t live = prle_alloc_live();
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    prle_archive *archive = NULL;
    char whole[256];

    snprintf(whole, sizeof whole, ARCHIVES "%s", file);
    assert_ok(prle_file_read_all(whole, &bytes, &n_bytes));
    for (size_t n = 0; n < n_bytes; n += 1 + n / 64) {
        assert_ok(prle_file_write_atomic(path, bytes, n));
        const prle_status st = prle_archive_open(&archive, path);
        if (st == PRLE_OK)
            fail_msg("%s: cut to %zu of %zu bytes, and read", file, n, n_bytes);
        assert_true(st == PRLE_EFORMAT || st == PRLE_ENOTSUP);
    }
    for (size_t n = 0; n < n_bytes; n += 7) {
        bytes[n] ^= (uint8_t)(1 + n % 255);
        assert_ok(prle_file_write_atomic(path, bytes, n_bytes));
        bytes[n] ^= (uint8_t)(1 + n % 255);
        if (prle_archive_open(&archive, path) == PRLE_OK)
            prle_archive_close(archive);
    }
    prle_free(bytes);
    assert_int_equal(prle_alloc_live(), live);
}

static void test_cut_and_damaged(void **state)
{
    (void)state;
    cut_and_damaged("safetensors/all.safetensors");
    cut_and_damaged("legacy/all.pth");
    cut_and_damaged("legacy/view.pth");
    cut_and_damaged("zip/all.pth");
    cut_and_damaged("zip/zip64.pth");
}

/* A weight that changed on the disk is noticed where the format can tell. */
static void test_checksums(void **state)
{
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    prle_archive *archive = NULL;

    (void)state;
    assert_ok(prle_archive_open(&archive, ARCHIVES "zip/all.pth"));
    const uint64_t at = archive->tensor[prle_names_find(&archive->names, "state_dict.base")].at;
    prle_archive_close(archive);
    assert_ok(prle_file_read_all(ARCHIVES "zip/all.pth", &bytes, &n_bytes));
    bytes[at] ^= 1;
    assert_ok(prle_file_write_atomic(path, bytes, n_bytes));
    assert_ok(prle_archive_open(&archive, path));
    assert_fails(prle_archive_verify(archive), PRLE_EFORMAT, "CRC-32");
    prle_archive_close(archive);
    prle_free(bytes);
}

/* Every allocation and every call on the file fails in turn. */
static void test_failures(void **state)
{
    static const char *const files[] = {ARCHIVES "zip/all.pth", ARCHIVES "legacy/module.pth",
                                        ARCHIVES "safetensors/all.safetensors"};
    const int64_t live = prle_alloc_live();
    prle_archive *archive = NULL;

    (void)state;
    for (int f = 0; f < 3; f++)
        for (int kind = 0; kind < 2; kind++) {
            prle_status st = PRLE_ENOMEM;
            for (int64_t nth = 1; st != PRLE_OK; nth++) {
                prle_alloc_fail_at(kind == 0 ? nth : 0);
                prle_io_fail_at(kind == 0 ? 0 : nth);
                st = prle_archive_open(&archive, files[f]);
                prle_alloc_fail_at(0);
                prle_io_fail_at(0);
                assert_true(st == PRLE_OK || st == (kind == 0 ? PRLE_ENOMEM : PRLE_EIO));
                assert_true(st == PRLE_OK || prle_alloc_live() == live);
            }
            prle_archive_close(archive);
        }
    assert_int_equal(prle_alloc_live(), live);
}

/* ---- writing ---- */

static void test_write(void **state)
{
    static const int64_t counter[1] = {(INT64_C(1) << 40) + 7};
    static const float weights[7] = {1, -2, 3.5F, 0, 5, 6, 1e-30F};
    const prle_piece piece[] = {{.bytes = counter, .n_bytes = sizeof counter}, {.bytes = weights, .n_bytes = sizeof weights}};
    const prle_safetensor tensor[] = {{.name = "n", .type = PRLE_STORED_I64, .shape = {.n = 0}},
                                      {.name = "a.\"weight\"", .type = PRLE_STORED_F32, .shape = PRLE_SHAPE(3, 2)},
                                      {.name = "b", .type = PRLE_STORED_F32, .shape = PRLE_SHAPE(1)}};
    prle_archive *archive = NULL;
    float got[6];
    int64_t n = 0;

    (void)state;
    assert_fails(prle_safetensors_write(path, tensor, 2, piece, 2, (const char *[]){NULL}), PRLE_EINVAL, "bytes more");
    assert_ok(prle_safetensors_write(path, tensor, 3, piece, 2, (const char *[]){"format", "pt", NULL}));
    assert_ok(prle_archive_open(&archive, path));
    assert_int_equal(archive->n, 3);
    assert_int_equal(archive->tensor[0].at % 8, 0);
    assert_ok(prle_archive_read(archive, 0, PRLE_STORED_I64, &n));
    assert_int_equal(n, counter[0]);
    assert_ok(prle_archive_read(archive, 1, PRLE_STORED_F32, got));
    assert_memory_equal(got, weights, sizeof got);
    assert_int_equal(archive->tensor[1].dim[1], 2);
    prle_archive_close(archive);
}

static int begin(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    path = in_folder("weights");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_by_others),
        cmocka_unit_test(test_not_understood),
        cmocka_unit_test(test_safetensors_refused),
        cmocka_unit_test(test_cut_and_damaged),
        cmocka_unit_test(test_checksums),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_write),
    };
    return cmocka_run_group_tests(tests, begin, folder_remove);
}
