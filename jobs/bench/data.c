/* data.c - see data.h. */
#include "jobs/bench/data.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "core/alloc.h"
#include "core/attention.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/image.h"
#include "core/rng.h"
#include "core/rows.h"
#include "fusion/fuse.h"

enum { N_MAPS = 3, NATIVE = 8 };

/* Smooth shades with some noise: a JPEG as large, and as dear to decode, as one of a face. */
static void pixels_draw(prle_image *image, prle_rng *rng)
{
    const double fy = prle_rng_range(rng, 0.02, 0.08), fx = prle_rng_range(rng, 0.02, 0.08);
    uint8_t *at = image->data;

    for (int64_t y = 0; y < image->height; y++)
        for (int64_t x = 0; x < image->width; x++)
            for (int c = 0; c < 3; c++)
                *at++ = (uint8_t)(120.0 + 80.0 * sin(fy * (double)y + c) * cos(fx * (double)x) + prle_rng_below(rng, 17));
}

static prle_status image_make(prle_rng *rng, int64_t side, uint8_t **bytes, size_t *n_bytes)
{
    prle_image image = {0};

    PRLE_TRY(prle_image_init(&image, side, side, 3));
    pixels_draw(&image, rng);
    const prle_status st = prle_image_encode_jpeg(bytes, n_bytes, &image, &PRLE_JPEG_OPTS_DEFAULT);
    prle_image_deinit(&image);
    return st;
}

static prle_status image_add(prle_faces_writer *writer, int64_t i, int64_t side, prle_rng *rng, const uint8_t *bytes,
                             size_t n_bytes)
{
    float landmarks[2 * PRLE_FACES_LANDMARKS];
    char video[32];
    const bool fake = i % 2 == 1;

    for (int k = 0; k < 2 * PRLE_FACES_LANDMARKS; k++)
        landmarks[k] = (float)prle_rng_range(rng, 0, (double)side);
    snprintf(video, sizeof video, "made/%s/up/%" PRId64, fake ? "swap" : "real", i);
    const prle_faces_item item = {.image = bytes,
                                  .image_bytes = n_bytes,
                                  .label = fake,
                                  .split = PRLE_SPLIT_TRAIN,
                                  .method = fake ? "swap" : "real",
                                  .video = video,
                                  .landmarks = landmarks};
    return prle_faces_writer_add(writer, &item);
}

static prle_status faces_make(const char *path, int64_t n, int64_t side, uint64_t seed)
{
    prle_faces_writer *writer = NULL;
    prle_status st = PRLE_OK;
    uint8_t **bytes = NULL;
    size_t *n_bytes = NULL;
    uint64_t total = 0;

    PRLE_TRY_OUT(PRLE_NEW(bytes, n));
    PRLE_TRY_OUT(PRLE_NEW(n_bytes, n));
    for (int64_t i = 0; i < n; i++) { /* the store wants to know its size beforehand */
        prle_rng rng = prle_rng_make(seed, 0, (uint64_t)i, PRLE_RNG_TEST);
        PRLE_TRY_OUT(image_make(&rng, side, &bytes[i], &n_bytes[i]));
        total += n_bytes[i];
    }
    PRLE_TRY_OUT(prle_faces_writer_create(path, side, side, total, 0, &writer));
    for (int64_t i = 0; i < n; i++) {
        prle_rng rng = prle_rng_make(seed, 1, (uint64_t)i, PRLE_RNG_TEST);
        PRLE_TRY_OUT(image_add(writer, i, side, &rng, bytes[i], n_bytes[i]));
    }
    PRLE_TRY_OUT(prle_faces_writer_commit(writer));
out:
    for (int64_t i = 0; bytes != NULL && i < n; i++)
        prle_free(bytes[i]);
    prle_free(bytes);
    prle_free(n_bytes);
    prle_faces_writer_destroy(writer);
    return st;
}

/* The maps of one image: three that agree in part. */
static prle_status map_make(prle_fuser *fuser, int64_t side, prle_rng *rng, uint16_t *q, uint16_t *rank, uint8_t *attention,
                            uint32_t *area)
{
    double exact[NATIVE * NATIVE];
    float map[NATIVE * NATIVE];
    const double cy = prle_rng_range(rng, 2, NATIVE - 2), cx = prle_rng_range(rng, 2, NATIVE - 2);

    for (int m = 0; m < N_MAPS; m++) {
        for (int i = 0; i < NATIVE * NATIVE; i++)
            exact[i] = exp(-0.3 * hypot(i / NATIVE - cy, i % NATIVE - cx)) + 0.2 * prle_rng_uniform(rng);
        PRLE_TRY(prle_attention_normalise(exact, NATIVE, NATIVE));
        for (int i = 0; i < NATIVE * NATIVE; i++)
            map[i] = (float)exact[i];
        PRLE_TRY(prle_attention_quantise(map, NATIVE, NATIVE, side, side, q + m * side * side));
    }
    return prle_fuser_run(fuser, q, rank, attention, area);
}

/* All as one part. */
static prle_status maps_make(const char *folder, const char *path, const prle_faces *faces, uint64_t seed)
{
    const int64_t n = faces->n, side = faces->width, cells = side * side;
    const prle_fuse_opts fuse = PRLE_FUSE_OPTS_DEFAULT;
    prle_fuser *fuser = NULL;
    uint16_t *q = NULL, *rank = NULL;
    uint8_t *attention = NULL;
    uint32_t *area = NULL;
    int64_t *index = NULL;
    char *part = NULL, hash[17];
    prle_status st = PRLE_OK;
    const prle_maps_info info = {.n = n,
                                 .height = side,
                                 .width = side,
                                 .rule = prle_fuse_rule_words[fuse.rule],
                                 .tau1 = fuse.tau1,
                                 .lambda = fuse.lambda,
                                 .radius = fuse.radius,
                                 .zoo = "made-up",
                                 .cams = "0",
                                 .faces = prle_hash_print(faces->content_hash, hash)};

    PRLE_TRY_OUT(prle_fuser_create(&fuse, N_MAPS, side, side, &fuser));
    PRLE_TRY_OUT(PRLE_NEW(q, N_MAPS * cells));
    PRLE_TRY_OUT(PRLE_NEW(rank, n * cells));
    PRLE_TRY_OUT(PRLE_NEW(attention, n * cells));
    PRLE_TRY_OUT(PRLE_NEW(area, n));
    PRLE_TRY_OUT(PRLE_NEW(index, n));
    for (int64_t i = 0; i < n; i++) {
        prle_rng rng = prle_rng_make(seed, 2, (uint64_t)i, PRLE_RNG_TEST);
        index[i] = i;
        PRLE_TRY_OUT(map_make(fuser, side, &rng, q, rank + i * cells, attention + i * cells, &area[i]));
    }
    PRLE_TRY_OUT(prle_folder_make(folder));
    PRLE_TRY_OUT(prle_rows_part_path(folder, 0, &part));
    PRLE_TRY_OUT(prle_maps_part_write(part, &info, index, n, rank, attention, area));
    PRLE_TRY_OUT(prle_maps_compact(path, &info, folder, 1, NULL));
out:
    prle_fuser_destroy(fuser);
    prle_free(q);
    prle_free(rank);
    prle_free(attention);
    prle_free(area);
    prle_free(index);
    prle_free(part);
    return st;
}

prle_status prle_bench_data_make(const char *folder, int64_t n, int64_t side, uint64_t seed)
{
    char *faces_path = NULL, *maps_path = NULL, *parts = NULL;
    prle_faces *faces = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_path_join(folder, "faces.h5", &faces_path));
    PRLE_TRY_OUT(prle_path_join(folder, "maps.h5", &maps_path));
    PRLE_TRY_OUT(prle_path_join(folder, "maps.h5.parts", &parts));
    PRLE_TRY_OUT(faces_make(faces_path, n, side, seed));
    PRLE_TRY_OUT(prle_faces_open(faces_path, &faces));
    PRLE_TRY_OUT(maps_make(parts, maps_path, faces, seed));
out:
    prle_faces_close(faces);
    prle_free(faces_path);
    prle_free(maps_path);
    prle_free(parts);
    return st;
}
