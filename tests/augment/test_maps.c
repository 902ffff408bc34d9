/* test_maps.c - fused maps: parts in any order and cut give the same file, random access, manifest, wrong and damaged content. */
#include <pthread.h>

#include "augment/maps.h"
#include "core/alloc.h"
#include "core/file.h"
#include "core/hdf5.h"
#include "core/rng.h"
#include "core/rows.h"
#include "tests/check.h"
#include "tests/faults.h"
#include "tests/folder.h"

enum { N = 50, H = 12, W = 20, CELLS = H * W, UNIT = 8, SELECTED = 41, UNITS = (SELECTED + UNIT - 1) / UNIT };

static const prle_maps_info info = {.n = N,
                                    .height = H,
                                    .width = W,
                                    .rule = "expand",
                                    .tau1 = 0.3,
                                    .lambda = 0.15,
                                    .radius = 1,
                                    .zoo = "a,b",
                                    .cams = "1,2",
                                    .faces = "ff"};

/* The k-th image that gets a map: all but every sixth. */
static int64_t selected(int64_t k) { return k + k / 5; }

static uint32_t map_make(int64_t i, uint16_t rank[CELLS], uint8_t attention[CELLS])
{
    prle_rng rng = prle_rng_make(5, (uint32_t)i, 0, PRLE_RNG_TEST);
    const uint32_t area = prle_rng_below(&rng, CELLS + 1);

    for (uint32_t at = 0; at < CELLS; at++) {
        rank[at] = at < area ? (uint16_t)at : 0xFFFF;
        attention[at] = (uint8_t)prle_rng_below(&rng, 256);
    }
    return area;
}

static prle_status write_unit(const char *parts, const prle_maps_info *made, int64_t unit)
{
    static uint16_t rank[UNIT * CELLS];
    static uint8_t attention[UNIT * CELLS];
    uint32_t area[UNIT];
    int64_t index[UNIT], n = 0;
    char *path = NULL;

    for (int64_t k = unit * UNIT; k < (unit + 1) * UNIT && k < SELECTED; k++, n++) {
        index[n] = selected(k);
        area[n] = map_make(index[n], rank + n * CELLS, attention + n * CELLS);
    }
    PRLE_TRY(prle_rows_part_path(parts, unit, &path));
    prle_status st = prle_maps_part_write(path, made, index, n, rank, attention, area);
    if (st == PRLE_OK)
        st = prle_maps_part_check(path, made, index, n);
    prle_free(path);
    return st;
}

static prle_status write_maps(const char *path)
{
    const char *parts = in_folder("parts");

    PRLE_TRY(prle_folder_make(parts));
    for (int64_t unit = UNITS - 1; unit >= 0; unit--)
        PRLE_TRY(write_unit(parts, &info, unit));
    return prle_maps_compact(path, &info, parts, UNITS, NULL);
}

static prle_status read_map(const prle_maps *maps, int64_t i)
{
    uint16_t have_rank[CELLS], rank[CELLS];
    uint8_t have_attention[CELLS], attention[CELLS];
    const uint32_t area = map_make(i, rank, attention);

    PRLE_CHECK(maps->area[i] == area, PRLE_EFORMAT, "area");
    PRLE_TRY(prle_maps_read_rank(maps, i, have_rank));
    PRLE_TRY(prle_maps_read_attention(maps, i, have_attention));
    PRLE_CHECK(memcmp(rank, have_rank, sizeof rank) == 0, PRLE_EFORMAT, "rank");
    PRLE_CHECK(memcmp(attention, have_attention, sizeof attention) == 0, PRLE_EFORMAT, "attention");
    return prle_maps_verify(maps, i);
}

static prle_status read_maps(const char *path)
{
    prle_status st = PRLE_OK;
    prle_maps *maps = NULL;

    PRLE_TRY(prle_maps_open(path, &maps));
    PRLE_CHECK_OUT(maps->count == SELECTED, PRLE_EFORMAT, "count");
    for (int64_t k = SELECTED - 1; k >= 0; k--)
        PRLE_TRY_OUT(read_map(maps, selected(k)));
out:
    prle_maps_close(maps);
    return st;
}

static void test_round_trip(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    prle_maps *maps = NULL;
    uint16_t rank[CELLS];

    assert_ok(write_maps(in_folder("a.h5")));
    assert_ok(read_maps(in_folder("a.h5")));
    assert_ok(prle_maps_open(in_folder("a.h5"), &maps));
    assert_string_equal(maps->info.rule, "expand");
    assert_string_equal(maps->info.zoo, "a,b");
    assert_string_equal(maps->info.faces, "ff");
    assert_true(maps->info.tau1 == 0.3 && maps->info.lambda == 0.15 && maps->info.radius == 1);
    assert_int_equal(maps->info.n, N);
    assert_false(prle_maps_has(maps, 5));
    assert_true(prle_maps_has(maps, 6));
    assert_fails(prle_maps_read_rank(maps, 5, rank), PRLE_EINVAL, "a.h5: has nothing for image 5");
    assert_fails(prle_maps_read_rank(maps, N, rank), PRLE_EINVAL, "image 50 of 50");
    prle_maps_close(maps);
    assert_int_equal(prle_alloc_live(), live);
}

static void *read_some(void *maps)
{
    for (int64_t k = 0; k < SELECTED; k++)
        if (read_map(maps, selected(k)) != PRLE_OK)
            return maps;
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    prle_maps *maps = NULL;
    pthread_t threads[3];
    void *failed = NULL;

    assert_ok(write_maps(in_folder("a.h5")));
    assert_ok(prle_maps_open(in_folder("a.h5"), &maps));
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_some, maps), 0);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    prle_maps_close(maps);
}

static prle_status count_beats(void *n)
{
    PRLE_CHECK(++*(int *)n < 3, PRLE_EPEER, "another rank failed");
    return PRLE_OK;
}

/* Those who wait hear of every part, and can end the work. */
static void test_beat(void **state)
{
    (void)state;
    int n = 0;

    assert_ok(write_maps(in_folder("a.h5")));
    assert_fails(prle_maps_compact(in_folder("beat.h5"), &info, in_folder("parts"), UNITS, &(prle_rows_beat){count_beats, &n}),
                 PRLE_EPEER, "another rank");
    assert_int_equal(n, 3);
    assert_false(prle_file_exists(in_folder("beat.h5")));
}

static void test_parts_refused(void **state)
{
    (void)state;
    const char *parts = in_folder("other");
    prle_maps_info other = info;
    static uint16_t rank[CELLS];
    static uint8_t attention[CELLS];
    const int64_t zero[1] = {0}, one[1] = {1}, beyond[1] = {N};
    const uint32_t area[1] = {CELLS}, large[1] = {CELLS + 1};
    char path[128];

    assert_ok(prle_folder_make(parts));
    snprintf(path, sizeof path, "%s/unit-000000.h5", parts);
    assert_fails(prle_maps_part_check(path, &info, zero, 1), PRLE_EIO, "No such file");
    assert_fails(prle_maps_compact(in_folder("b.h5"), &info, parts, 1, NULL), PRLE_EIO, "unit-000000.h5: cannot open");
    assert_fails(prle_maps_part_write(path, &info, beyond, 1, rank, attention, area), PRLE_EINVAL, "image 50 of 50");
    assert_fails(prle_maps_part_write(path, &info, zero, 1, rank, attention, large), PRLE_EINVAL, "area of 241");
    assert_fails(prle_maps_part_write(path, &info, zero, 0, rank, attention, area), PRLE_EINVAL, "without images");
    assert_ok(prle_maps_part_write(path, &info, zero, 1, rank, attention, area));
    assert_ok(prle_maps_part_check(path, &info, zero, 1));
    assert_fails(prle_maps_part_check(path, &info, one, 1), PRLE_EFORMAT, "holds other images");
    other.rule = "average";
    assert_fails(prle_maps_part_check(path, &other, zero, 1), PRLE_EFORMAT, "made with rule \"expand\", now it is \"average\"");
    assert_fails(prle_maps_compact(in_folder("b.h5"), &other, parts, 1, NULL), PRLE_EFORMAT,
                 "unit-000000.h5: was made with rule");
    other = info;
    other.lambda = 0.2;
    assert_fails(prle_maps_part_check(path, &other, zero, 1), PRLE_EFORMAT, "made with lambda");
    other = info;
    other.radius = 2;
    assert_fails(prle_maps_part_check(path, &other, zero, 1), PRLE_EFORMAT, "made with radius 1, now it is 2");
    other = info;
    other.faces = "fe";
    assert_fails(prle_maps_part_check(path, &other, zero, 1), PRLE_EFORMAT, "made with faces");
    other = info;
    other.n = N + 1;
    assert_fails(prle_maps_part_check(path, &other, zero, 1), PRLE_EFORMAT, "made for 50 images, now there are 51");
    other = info;
    other.height = W;
    other.width = H;
    assert_fails(prle_maps_part_check(path, &other, zero, 1), PRLE_EFORMAT, "'rank' is u16 [1,12,20], expected u16 [1,20,12]");
    other.height = 300;
    other.width = 300;
    assert_fails(prle_maps_part_write(path, &other, zero, 1, rank, attention, area), PRLE_EFORMAT, "at most 65536 pixels");
    snprintf(path, sizeof path, "%s/unit-000001.h5", parts);
    assert_ok(prle_maps_part_write(path, &info, zero, 1, rank, attention, area));
    assert_fails(prle_maps_compact(in_folder("b.h5"), &info, parts, 2, NULL), PRLE_EFORMAT, "image 0 is in another part, too");
    assert_false(prle_file_exists(in_folder("b.h5")));
}

/* A finished file with one thing wrong. */
static void write_wrong(const char *path, const char *what)
{
    prle_h5 *file = NULL;
    const uint32_t crc[2] = {0}, area[2] = {strcmp(what, "area") == 0 ? 5 : 3, UINT32_MAX};
    const uint8_t written[2] = {1, strcmp(what, "written") == 0}, attention[8] = {0};
    const uint16_t rank[8] = {0};

    assert_ok(prle_h5_create(path, PRLE_MAPS_SCHEMA, strcmp(what, "version") == 0 ? 2 : 1, &file));
    assert_ok(prle_h5_attr_write_string(file, "rule", "expand"));
    assert_ok(prle_h5_attr_write_double(file, "tau1", 0.3));
    assert_ok(prle_h5_attr_write_double(file, "lambda", 0.15));
    assert_ok(prle_h5_attr_write_int(file, "radius", 1));
    assert_ok(prle_h5_attr_write_double(file, "hyst_low", 0.1));
    assert_ok(prle_h5_attr_write_double(file, "hyst_pair", 0.2));
    assert_ok(prle_h5_attr_write_string(file, "zoo", "a"));
    assert_ok(prle_h5_attr_write_string(file, "cams", "1"));
    if (strcmp(what, "faces") != 0)
        assert_ok(prle_h5_attr_write_string(file, "faces", "1"));
    assert_ok(prle_h5_attr_write_int(file, "count", strcmp(what, "count") == 0 ? 2 : strcmp(what, "written") == 0 ? 2 : 1));
    assert_ok(prle_h5_write(file, "rank", PRLE_H5_U16, strcmp(what, "rank") == 0 ? &PRLE_SHAPE(8) : &PRLE_SHAPE(2, 2, 2), rank));
    assert_ok(prle_h5_write(file, "attention", PRLE_H5_U8,
                            strcmp(what, "attention") == 0 ? &PRLE_SHAPE(2, 1, 4) : &PRLE_SHAPE(2, 2, 2), attention));
    assert_ok(prle_h5_write(file, "area", PRLE_H5_U32, &PRLE_SHAPE(2), area));
    assert_ok(prle_h5_write(file, "written", PRLE_H5_U8, &PRLE_SHAPE(2), written));
    assert_ok(prle_h5_write(file, "crc", PRLE_H5_U32, &PRLE_SHAPE(2), crc));
    assert_ok(prle_h5_commit(file));
    prle_h5_close(file);
}

static void test_wrong_content(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"area", "image 0 has an area of 5 pixels"},
        {"written", "image 1: area and manifest do not agree"},
        {"count", "the manifest counts 2 images, 1 are marked"},
        {"rank", "'rank' has 1 dimensions, expected 3"},
        {"attention", "'attention' is u8 [2,1,4], expected u8 [2,2,2]"},
        {"faces", "attribute 'faces' is missing"},
        {"version", "prle.maps version 2 is newer"},
    };
    const int64_t live = prle_alloc_live();
    prle_maps *maps = NULL;

    write_wrong(in_folder("wrong.h5"), "nothing");
    assert_ok(prle_maps_open(in_folder("wrong.h5"), &maps));
    assert_fails(prle_maps_verify(maps, 0), PRLE_EFORMAT, "wrong.h5: image 0 has CRC");
    prle_maps_close(maps);
    maps = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        write_wrong(in_folder("wrong.h5"), wrong[i][0]);
        assert_fails(prle_maps_open(in_folder("wrong.h5"), &maps), PRLE_EFORMAT, wrong[i][1]);
        assert_null(maps);
    }
    assert_int_equal(prle_alloc_live(), live);
}

static void test_cut_off(void **state)
{
    (void)state;
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;

    assert_ok(write_maps(in_folder("a.h5")));
    assert_ok(prle_file_read_all(in_folder("a.h5"), &bytes, &n_bytes));
    for (size_t cut = 0; cut < n_bytes; cut += 4096) {
        assert_ok(prle_file_write_atomic(in_folder("cut.h5"), bytes, cut));
        assert_fails(read_maps(in_folder("cut.h5")), PRLE_EFORMAT, "cut.h5");
    }
    prle_free(bytes);
}

/* A byte turned over anywhere gives an error or is in no image that is read: never another map. */
static void test_damaged(void **state)
{
    (void)state;
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    int n_caught = 0;

    assert_ok(write_maps(in_folder("a.h5")));
    assert_ok(prle_file_read_all(in_folder("a.h5"), &bytes, &n_bytes));
    for (uint32_t turn = 0; turn < 150; turn++) {
        prle_rng rng = prle_rng_make(2, turn, 0, PRLE_RNG_TEST);
        const size_t at = prle_rng_below(&rng, (uint32_t)n_bytes);
        bytes[at] ^= 0x10;
        assert_ok(prle_file_write_atomic(in_folder("bad.h5"), bytes, n_bytes));
        n_caught += read_maps(in_folder("bad.h5")) != PRLE_OK;
        bytes[at] ^= 0x10;
    }
    assert_true(n_caught > 75);
    prle_free(bytes);
}

static prle_status maps_put_together(void *user)
{
    (void)user;
    return prle_maps_compact(in_folder("e.h5"), &info, in_folder("parts"), UNITS, NULL);
}

static prle_status maps_read(void *user)
{
    (void)user;
    return read_maps(in_folder("e.h5"));
}

static prle_status unit_write(void *user)
{
    (void)user;
    return write_unit(in_folder("parts"), &info, 0);
}

static void test_every_call_fails(void **state)
{
    (void)state;
    assert_ok(write_maps(in_folder("e.h5")));
    faults_each(maps_read, NULL, NULL);
    faults_each(unit_write, NULL, NULL);
    faults_each(maps_put_together, NULL, NULL);
    assert_ok(read_maps(in_folder("e.h5")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_threads),          cmocka_unit_test(test_beat),
        cmocka_unit_test(test_parts_refused), cmocka_unit_test(test_wrong_content),    cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_damaged),       cmocka_unit_test(test_every_call_fails),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
