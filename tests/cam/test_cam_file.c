/* test_cam_file.c - a zoo member's maps: parts to file, half precision, manifest, values that are no numbers. */
#include <math.h>

#include "cam/cam_file.h"
#include "core/alloc.h"
#include "core/file.h"
#include "core/rng.h"
#include "core/rows.h"
#include "tests/check.h"
#include "tests/faults.h"
#include "tests/folder.h"

enum { N = 30, H = 3, W = 5, CELLS = H * W, UNIT = 7, FIRST = 4, LAST = 25, UNITS = (LAST - FIRST + UNIT - 1) / UNIT };

static const prle_cam_info info = {.n = N,
                                   .height = H,
                                   .width = W,
                                   .face_height = 8,
                                   .face_width = 9,
                                   .net = "xception",
                                   .node = "act4",
                                   .method = "gradcam",
                                   .target = "label",
                                   .score = "prob",
                                   .dtype = "f32",
                                   .weights = "0123456789abcdef",
                                   .faces = "fedcba9876543210"};

static void map_make(int64_t i, float out[CELLS])
{
    prle_rng rng = prle_rng_make(7, (uint32_t)i, 0, PRLE_RNG_TEST);

    for (int at = 0; at < CELLS; at++)
        out[at] = (float)prle_rng_below(&rng, 1001) / 1000.0f;
}

static prle_status write_cam(const char *path)
{
    const char *parts = in_folder("parts");

    PRLE_TRY(prle_folder_make(parts));
    for (int64_t unit = 0; unit < UNITS; unit++) {
        char *part = NULL;
        float cam[UNIT * CELLS];
        int64_t index[UNIT], n = 0;
        for (int64_t i = FIRST + unit * UNIT; i < LAST && n < UNIT; i++, n++) {
            index[n] = i;
            map_make(i, cam + n * CELLS);
        }
        PRLE_TRY(prle_rows_part_path(parts, unit, &part));
        prle_status st = prle_cam_part_write(part, &info, index, n, cam);
        if (st == PRLE_OK)
            st = prle_cam_part_check(part, &info, index, n);
        prle_free(part);
        PRLE_TRY(st);
    }
    return prle_cam_compact(path, &info, parts, UNITS, NULL);
}

static void test_round_trip(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    prle_cam *cam = NULL;
    float have[CELLS], want[CELLS];

    assert_ok(write_cam(in_folder("a.h5")));
    assert_ok(prle_cam_open(in_folder("a.h5"), &cam));
    assert_int_equal(cam->count, LAST - FIRST);
    assert_int_equal(cam->info.height, H);
    assert_true(cam->info.face_height == 8 && cam->info.face_width == 9);
    assert_string_equal(cam->info.net, "xception");
    assert_string_equal(cam->info.faces, "fedcba9876543210");
    for (int64_t i = LAST - 1; i >= FIRST; i--) {
        assert_true(prle_cam_has(cam, i));
        assert_ok(prle_cam_read(cam, i, have));
        map_make(i, want);
        for (int at = 0; at < CELLS; at++)
            assert_true(fabsf(have[at] - want[at]) <= 0x1p-12f); /* half an ulp of a half below 1 */
    }
    assert_false(prle_cam_has(cam, FIRST - 1));
    assert_fails(prle_cam_read(cam, FIRST - 1, have), PRLE_EINVAL, "has nothing for image 3");
    const uint64_t checksum = cam->checksum;
    prle_cam_close(cam);
    assert_ok(write_cam(in_folder("b.h5")));
    assert_ok(prle_cam_open(in_folder("b.h5"), &cam));
    assert_true(cam->checksum == checksum);
    prle_cam_close(cam);
    assert_int_equal(prle_alloc_live(), live);
}

static void test_no_numbers(void **state)
{
    (void)state;
    float cam[2 * CELLS] = {0};
    const int64_t index[2] = {8, 9};

    cam[CELLS + W + 2] = NAN;
    assert_fails(prle_cam_part_write(in_folder("nan.h5"), &info, index, 2, cam), PRLE_ENUMERIC,
                 "nan.h5: image 9: the map is nan at row 1, column 2");
    cam[CELLS + W + 2] = INFINITY;
    assert_fails(prle_cam_part_write(in_folder("nan.h5"), &info, index, 2, cam), PRLE_ENUMERIC, "image 9: the map is inf");
    assert_false(prle_file_exists(in_folder("nan.h5")));
}

static void test_made_otherwise(void **state)
{
    (void)state;
    float cam[CELLS] = {0};
    const int64_t index[1] = {8};
    prle_cam_info other = info;

    assert_ok(prle_cam_part_write(in_folder("p.h5"), &info, index, 1, cam));
    other.weights = "0000000000000000";
    assert_fails(prle_cam_part_check(in_folder("p.h5"), &other, index, 1), PRLE_EFORMAT,
                 "made with weights \"0123456789abcdef\"");
    other = info;
    other.faces = "";
    assert_fails(prle_cam_part_check(in_folder("p.h5"), &other, index, 1), PRLE_EFORMAT, "made with faces");
    assert_fails(prle_cam_open(in_folder("p.h5"), &(prle_cam *){NULL}), PRLE_EFORMAT,
                 "is a prle.cam.part file, expected prle.cam");
}

/* The maps are not compressed, so it is the manifest that catches a byte turned over. */
static void test_damaged(void **state)
{
    (void)state;
    uint8_t *bytes = NULL;
    size_t n_bytes = 0, at = 0;
    prle_cam *cam = NULL;
    float map[CELLS];
    int n_caught = 0;
    char message[64];

    assert_ok(write_cam(in_folder("a.h5")));
    assert_ok(prle_file_read_all(in_folder("a.h5"), &bytes, &n_bytes));
    for (at = 0; at + 4 < n_bytes && memcmp(bytes + at, (uint8_t[]){0, 0x7E, 0, 0x7E, 0, 0x7E}, 6) != 0;)
        at++; /* the fill of the first, unwritten, rows */
    at += FIRST * CELLS * 2 + 2 * CELLS + 1;
    bytes[at] ^= 1;
    assert_ok(prle_file_write_atomic(in_folder("bad.h5"), bytes, n_bytes));
    assert_ok(prle_cam_open(in_folder("bad.h5"), &cam));
    for (int64_t i = FIRST; i < LAST; i++) {
        if (prle_cam_read(cam, i, map) != PRLE_OK) {
            snprintf(message, sizeof message, "image %lld has CRC", (long long)i);
            assert_non_null(strstr(prle_error_message(), message));
            n_caught++;
        }
    }
    assert_int_equal(n_caught, 1);
    prle_cam_close(cam);
    prle_free(bytes);
}

static prle_status maps_write(void *user)
{
    (void)user;
    return write_cam(in_folder("e.h5"));
}

static prle_status maps_read(void *user)
{
    (void)user;
    prle_cam *cam = NULL;
    float map[CELLS];

    PRLE_TRY(prle_cam_open(in_folder("e.h5"), &cam));
    const prle_status st = prle_cam_read(cam, FIRST, map);
    prle_cam_close(cam);
    return st;
}

static void maps_check(void *user, bool done)
{
    (void)done;
    assert_ok(maps_read(user));
}

static void test_every_call_fails(void **state)
{
    (void)state;
    assert_ok(maps_write(NULL));
    faults_each(maps_read, NULL, NULL);
    faults_each(maps_write, maps_check, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_no_numbers),       cmocka_unit_test(test_made_otherwise),
        cmocka_unit_test(test_damaged),    cmocka_unit_test(test_every_call_fails),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
