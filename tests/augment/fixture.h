/* fixture.h - a small face store and its maps, for the tests of the loader. */
#pragma once
#include <math.h>
#include <stdio.h>

#include "augment/faces.h"
#include "augment/maps.h"
#include "core/alloc.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/image.h"
#include "core/rankmap.h"
#include "core/rng.h"
#include "core/rows.h"

typedef struct fixture {
    int64_t n, height, width;
    bool jpeg;          /* else PNG: pixels stay what they were */
    int64_t bad;        /* this image is no image; -1: none */
    int64_t other_size; /* this image has one row more or, when even, one less; -1: none */
} fixture;

static bool fixture_has_landmarks(int64_t i) { return i % 4 != 3; }

/* Every fifth image has no map, every sixth an empty one. */
static bool fixture_has_map(int64_t i) { return i % 5 != 4; }

/* Smooth shades with some noise: what a JPEG of a face costs. */
static void fixture_pixels(prle_image *image, int64_t i)
{
    prle_rng rng = prle_rng_make(11, (uint32_t)i, 0, PRLE_RNG_TEST);
    const double fy = prle_rng_range(&rng, 0.02, 0.08), fx = prle_rng_range(&rng, 0.02, 0.08);
    uint8_t *at = image->data;

    for (int64_t y = 0; y < image->height; y++)
        for (int64_t x = 0; x < image->width; x++)
            for (int c = 0; c < 3; c++)
                *at++ = (uint8_t)(120.0 + 80.0 * sin(fy * (double)y + c) * cos(fx * (double)x) + prle_rng_below(&rng, 17));
}

static void fixture_landmarks(const fixture *f, int64_t i, float out[2 * PRLE_FACES_LANDMARKS])
{
    prle_rng rng = prle_rng_make(12, (uint32_t)i, 0, PRLE_RNG_TEST);

    for (int k = 0; k < PRLE_FACES_LANDMARKS; k++) { /* quarters of pixels, some outside: cross products are exact */
        out[2 * k] = 0.25f * (float)prle_rng_below(&rng, (uint32_t)(4 * f->width + 16)) - 2.0f;
        out[2 * k + 1] = 0.25f * (float)prle_rng_below(&rng, (uint32_t)(4 * f->height + 16)) - 2.0f;
    }
}

/* Fused values: 0 outside of a disc, higher towards its centre. */
static void fixture_map(const fixture *f, int64_t i, uint16_t *rank, uint8_t *attention, uint32_t *area)
{
    static uint32_t value[PRLE_RANK_MAX_PIXELS], first[1025];
    prle_rng rng = prle_rng_make(13, (uint32_t)i, 0, PRLE_RNG_TEST);
    const double cy = prle_rng_range(&rng, 0, (double)f->height), cx = prle_rng_range(&rng, 0, (double)f->width);
    const double radius = i % 6 == 5 ? 0.0 : 0.3 * (double)f->width;

    for (int64_t at = 0; at < f->height * f->width; at++) {
        const double d = hypot((double)(at / f->width) - cy, (double)(at % f->width) - cx);
        value[at] = d < radius ? (uint32_t)(1 + 1023.0 * (1.0 - d / radius)) : 0;
        attention[at] = (uint8_t)(value[at] / 4 < 255 ? value[at] / 4 : 255);
    }
    if (prle_rank_from_values(value, f->height * f->width, 1024, first, rank, area) != PRLE_OK)
        *area = 0;
}

static prle_status fixture_file(const fixture *f, int64_t i, uint8_t **bytes, size_t *n_bytes)
{
    prle_image image = {0};

    if (i == f->bad) {
        PRLE_TRY(PRLE_NEW(*bytes, 100));
        *n_bytes = 100;
        return PRLE_OK;
    }
    PRLE_TRY(prle_image_init(&image, f->height + (i != f->other_size ? 0 : i % 2 == 1 ? 1 : -1), f->width, 3));
    fixture_pixels(&image, i);
    const prle_status st = f->jpeg ? prle_image_encode_jpeg(bytes, n_bytes, &image, &PRLE_JPEG_OPTS_DEFAULT)
                                   : prle_image_encode_png(bytes, n_bytes, &image);
    prle_image_deinit(&image);
    return st;
}

static prle_status fixture_add(const fixture *f, int64_t i, prle_faces_writer *writer, uint8_t *bytes, size_t n_bytes)
{
    float landmarks[2 * PRLE_FACES_LANDMARKS];
    char video[32];
    const bool fake = i / 4 % 2 == 1;

    fixture_landmarks(f, i, landmarks);
    snprintf(video, sizeof video, "set/%s/raw/%lld", fake ? "swap" : "real", (long long)(i / 4));
    const prle_faces_item item = {.image = bytes,
                                  .image_bytes = n_bytes,
                                  .label = fake,
                                  .split = PRLE_SPLIT_TRAIN,
                                  .method = fake ? "swap" : "real",
                                  .video = video,
                                  .frame = (uint32_t)(10 * (i % 4)),
                                  .landmarks = fixture_has_landmarks(i) ? landmarks : NULL};
    return prle_faces_writer_add(writer, &item);
}

static inline prle_status fixture_faces(const fixture *f, const char *path)
{
    prle_status st = PRLE_OK;
    prle_faces_writer *writer = NULL;
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    uint64_t total = 0;

    for (int turn = 0; turn < 2; turn++) { /* the store wants to know its size beforehand */
        if (turn == 1)
            PRLE_TRY_OUT(prle_faces_writer_create(path, f->height, f->width, total, 0, &writer));
        for (int64_t i = 0; i < f->n; i++) {
            PRLE_TRY_OUT(fixture_file(f, i, &bytes, &n_bytes));
            total += n_bytes;
            if (turn == 1)
                PRLE_TRY_OUT(fixture_add(f, i, writer, bytes, n_bytes));
            prle_free(bytes);
            bytes = NULL;
        }
    }
    PRLE_TRY_OUT(prle_faces_writer_commit(writer));
out:
    prle_free(bytes);
    prle_faces_writer_destroy(writer);
    return st;
}

/* All maps as one part; `parts` is a folder that is made for it. */
static inline prle_status fixture_maps(const fixture *f, const prle_faces *faces, const char *parts, const char *path)
{
    const int64_t cells = f->height * f->width;
    prle_status st = PRLE_OK;
    uint16_t *rank = NULL;
    uint8_t *attention = NULL;
    uint32_t *area = NULL;
    int64_t *index = NULL, n = 0;
    char *part = NULL, hash[17];
    const prle_maps_info info = {.n = f->n,
                                 .height = f->height,
                                 .width = f->width,
                                 .rule = "expand",
                                 .tau1 = 0.3,
                                 .lambda = 0.15,
                                 .radius = 1,
                                 .zoo = "a",
                                 .cams = "1",
                                 .faces = prle_hash_print(faces->content_hash, hash)};

    PRLE_TRY_OUT(PRLE_NEW(rank, f->n * cells));
    PRLE_TRY_OUT(PRLE_NEW(attention, f->n * cells));
    PRLE_TRY_OUT(PRLE_NEW(area, f->n));
    PRLE_TRY_OUT(PRLE_NEW(index, f->n));
    for (int64_t i = 0; i < f->n; i++) {
        if (!fixture_has_map(i))
            continue;
        fixture_map(f, i, rank + n * cells, attention + n * cells, &area[n]);
        index[n++] = i;
    }
    PRLE_TRY_OUT(prle_folder_make(parts));
    PRLE_TRY_OUT(prle_rows_part_path(parts, 0, &part));
    PRLE_TRY_OUT(prle_maps_part_write(part, &info, index, n, rank, attention, area));
    PRLE_TRY_OUT(prle_maps_compact(path, &info, parts, 1, NULL));
out:
    prle_free(rank);
    prle_free(attention);
    prle_free(area);
    prle_free(index);
    prle_free(part);
    return st;
}
