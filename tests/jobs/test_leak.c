/* test_leak.c - maps that tell the label by place, by size, and not at all; halves without a class. */
#include "jobs/leak.h"

#include <math.h>

#include "core/alloc.h"
#include "core/rng.h"
#include "core/rows.h"
#include "tests/check.h"
#include "tests/folder.h"

enum { N = 400, SIDE = 16, CELLS = SIDE * SIDE };

static uint8_t label[N];
static uint32_t identity[N], video[N], unknown[N];
static const prle_faces faces = {.n = N, .label = label, .identity = identity, .video = video};

static void labels_make(void)
{
    for (uint32_t i = 0; i < N; i++) {
        label[i] = i % 4 == 0;
        identity[i] = i / 8;
        video[i] = i / 4;
        unknown[i] = PRLE_IDENTITY_UNKNOWN;
    }
}

typedef int (*row_chooser)(int64_t i, prle_rng *rng); /* the first of the map's rows */

/* One image in ten has no map; a map is as many whole rows as `rows` says. */
static prle_maps *maps_make(const char *name, row_chooser first, row_chooser rows)
{
    const prle_maps_info info = {
        .n = N, .height = SIDE, .width = SIDE, .rule = "expand", .radius = 1, .zoo = "a", .cams = "1", .faces = "f"};
    static uint16_t rank[N * CELLS];
    static uint8_t attention[N * CELLS];
    uint32_t area[N];
    int64_t index[N], n = 0;
    char *part = NULL;
    char parts[32];
    prle_maps *maps = NULL;

    snprintf(parts, sizeof parts, "%s.parts", name);
    for (int64_t i = 0; i < N; i++) {
        prle_rng rng = prle_rng_make(1, 0, (uint64_t)i, PRLE_RNG_TEST);
        const int n_rows = rows(i, &rng), begin = first(i, &rng) * SIDE, end = begin + n_rows * SIDE;

        if (i % 10 == 0)
            continue;
        for (int at = 0; at < CELLS; at++)
            rank[n * CELLS + at] = at >= begin && at < end ? (uint16_t)(at - begin) : UINT16_MAX;
        area[n] = (uint32_t)(n_rows * SIDE);
        index[n++] = i;
    }
    assert_ok(prle_folder_make(in_folder(parts)));
    assert_ok(prle_rows_part_path(in_folder(parts), 0, &part));
    assert_ok(prle_maps_part_write(part, &info, index, n, rank, attention, area));
    assert_ok(prle_maps_compact(in_folder(name), &info, in_folder(parts), 1, NULL));
    assert_ok(prle_maps_open(in_folder(name), &maps));
    prle_free(part);
    return maps;
}

static int four(int64_t i, prle_rng *rng)
{
    (void)i, (void)rng;
    return 4;
}

static int anywhere(int64_t i, prle_rng *rng)
{
    (void)i;
    return (int)prle_rng_below(rng, 8);
}

static int fakes_lower(int64_t i, prle_rng *rng) { return (label[i] ? 8 : 0) + (int)prle_rng_below(rng, 5); }

static int fakes_larger(int64_t i, prle_rng *rng) { return (label[i] ? 5 : 1) + (int)prle_rng_below(rng, 3); }

static double leak_of(prle_maps *maps, const prle_faces *of)
{
    double auc = -1;

    assert_ok(prle_leak_measure(&auc, maps, of, NULL, 0));
    return auc;
}

static void test_place_and_size(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    prle_maps *place = maps_make("place.h5", fakes_lower, four), *size = maps_make("size.h5", anywhere, fakes_larger),
              *neither = maps_make("neither.h5", anywhere, four);

    assert_true(leak_of(place, &faces) == 1);
    assert_true(leak_of(size, &faces) > 0.9);
    assert_true(fabs(leak_of(neither, &faces) - 0.5) < 0.1);
    prle_maps_close(place);
    prle_maps_close(size);
    prle_maps_close(neither);
    assert_int_equal(prle_alloc_live(), live);
}

static void test_halves(void **state)
{
    (void)state;
    prle_maps *maps = maps_make("halves.h5", fakes_lower, four);
    prle_faces strangers = faces;
    int64_t index[N / 2], n = 0;
    double auc = 0;

    strangers.identity = unknown; /* then videos make the halves */
    assert_true(leak_of(maps, &strangers) == 1);
    for (int64_t i = 0; i < N; i++)
        if (!label[i] && n < N / 2)
            index[n++] = i;
    assert_ok(prle_leak_measure(&auc, maps, &faces, index, n));
    assert_true(isnan(auc)); /* no fakes */
    assert_ok(prle_leak_measure(&auc, maps, &faces, index, 0));
    assert_true(isnan(auc));
    prle_maps_close(maps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_place_and_size), cmocka_unit_test(test_halves)};

    labels_make();
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
