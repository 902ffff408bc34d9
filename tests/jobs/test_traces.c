/* test_traces.c - maps against manipulation masks, on a store of three images whose figures can be counted by hand. */
#include "jobs/inspect/traces.h"

#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/image.h"
#include "core/rows.h"
#include "tests/check.h"
#include "tests/folder.h"

enum { SIDE = 4, CELLS = SIDE * SIDE, N = 3 };

/* Image 0 is real; of 1 the upper half was changed, of 2 one pixel; image 2's map is empty. */
static const uint8_t changed[N][CELLS] = {{0}, {[0] = 255, 255, 255, 255, 200, 200, 128, 128}, {[5] = 255}};
static const int map_rows[N] = {1, 3, 0}; /* the map is the last rows of the image */

static void png(uint8_t **bytes, size_t *n_bytes, const uint8_t *pixels, int channels)
{
    prle_image image = {0};

    assert_ok(prle_image_init(&image, SIDE, SIDE, channels));
    for (int i = 0; i < CELLS * channels; i++)
        image.data[i] = pixels == NULL ? (uint8_t)i : pixels[i];
    assert_ok(prle_image_encode_png(bytes, n_bytes, &image));
    prle_image_deinit(&image);
}

static void store_make(const char *path)
{
    prle_faces_writer *writer = NULL;
    uint8_t *image = NULL, *mask[N] = {0};
    size_t image_bytes = 0, mask_bytes[N] = {0};
    char video[16];

    png(&image, &image_bytes, NULL, 3);
    for (int i = 1; i < N; i++)
        png(&mask[i], &mask_bytes[i], changed[i], 1);
    assert_ok(prle_faces_writer_create(path, SIDE, SIDE, N * image_bytes, mask_bytes[1] + mask_bytes[2], &writer));
    for (int i = 0; i < N; i++) {
        snprintf(video, sizeof video, "a/b/raw/%d", i);
        assert_ok(prle_faces_writer_add(writer, &(prle_faces_item){.image = image,
                                                                   .image_bytes = image_bytes,
                                                                   .mask = mask[i],
                                                                   .mask_bytes = mask_bytes[i],
                                                                   .label = i > 0,
                                                                   .split = PRLE_SPLIT_TRAIN,
                                                                   .method = i > 0 ? "swap" : "real",
                                                                   .video = video}));
        prle_free(mask[i]);
    }
    assert_ok(prle_faces_writer_commit(writer));
    prle_faces_writer_destroy(writer);
    prle_free(image);
}

static void maps_make(const char *path, const char *parts, const char *faces_hash)
{
    const prle_maps_info info = {
        .n = N, .height = SIDE, .width = SIDE, .rule = "expand", .radius = 1, .zoo = "a", .cams = "1", .faces = faces_hash};
    uint16_t rank[N * CELLS];
    uint8_t attention[N * CELLS] = {0};
    uint32_t area[N];
    const int64_t index[N] = {0, 1, 2};
    char *part = NULL;

    for (int i = 0; i < N; i++) {
        area[i] = (uint32_t)(SIDE * map_rows[i]);
        for (int at = 0; at < CELLS; at++)
            rank[i * CELLS + at] = at >= CELLS - (int)area[i] ? (uint16_t)(CELLS - 1 - at) : UINT16_MAX;
    }
    assert_ok(prle_folder_make(parts));
    assert_ok(prle_rows_part_path(parts, 0, &part));
    assert_ok(prle_maps_part_write(part, &info, index, N, rank, attention, area));
    assert_ok(prle_maps_compact(path, &info, parts, 1, NULL));
    prle_free(part);
}

static void test_counted_by_hand(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    prle_faces *faces = NULL;
    prle_maps *maps = NULL;
    prle_traces t[2];
    char hash[17];

    store_make(in_folder("faces.h5"));
    assert_ok(prle_faces_open(in_folder("faces.h5"), &faces));
    prle_hash_print(faces->content_hash, hash);
    maps_make(in_folder("maps.h5"), in_folder("maps.parts"), hash);
    assert_ok(prle_maps_open(in_folder("maps.h5"), &maps));
    assert_ok(prle_traces_measure(t, maps, faces));

    const int real = strcmp(faces->method_names[0], "real") == 0 ? 0 : 1;
    assert_true(t[real].n == 1 && t[real].n_masked == 0 && t[real].region == 0.25 && isnan(t[real].lift));
    const prle_traces *swap = &t[1 - real]; /* image 1 alone has both: 12 pixels of map, 8 changed, 4 in both */
    assert_true(swap->n == 2 && swap->n_masked == 1 && swap->region == 12.0 / 16 / 2);
    assert_true(swap->changed == 0.5 && swap->inside == 4.0 / 12 && swap->covered == 0.5 && swap->lift == 4.0 / 12 / 0.5);
    prle_maps_close(maps);

    maps_make(in_folder("other.h5"), in_folder("other.parts"), "0123456789abcdef");
    assert_ok(prle_maps_open(in_folder("other.h5"), &maps));
    assert_fails(prle_traces_measure(t, maps, faces), PRLE_EINVAL, "0123456789abcdef");
    prle_maps_close(maps);
    prle_faces_close(faces);
    assert_int_equal(prle_alloc_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_counted_by_hand)};
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
