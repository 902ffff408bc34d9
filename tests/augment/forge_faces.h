/* forge_faces.h - drawn faces with 68 landmarks, for tests of the generator without photographs. */
#pragma once
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "augment/forge/photos.h"
#include "core/file.h"
#include "core/image.h"
#include "core/rng.h"
#include "tests/check.h"

enum { FACE_SIDE = 160 };

/* Where temporary sets go: in memory where that is possible, since a busy disk takes long over thousands of fsyncs. */
static inline const char *temporary_pattern(void)
{
    return access("/dev/shm", W_OK) == 0 ? "/dev/shm/prle_forge_XXXXXX" : "/tmp/prle_forge_XXXXXX";
}

static inline void ellipse_points(prle_point *out, int n, double cx, double cy, double rx, double ry, double from, double to)
{
    for (int i = 0; i < n; i++) {
        const double a = from + (to - from) * i / (n - 1);
        out[i].x = cx + rx * cos(a);
        out[i].y = cy + ry * sin(a);
    }
}

/* A face 100 pixels wide around the middle; `smile` 0 ... 1 opens and widens the mouth, `wide` changes the shape. */
static inline void face_points(prle_point at[PRLE_LANDMARKS], double smile, double wide)
{
    const double pi = 3.14159265358979323846, c = FACE_SIDE / 2.0;

    ellipse_points(at, 17, c, c - 5, 48 * wide, 55, pi, 0);
    ellipse_points(at + 17, 5, c - 22 * wide, c - 22, 15, 6, pi, 2 * pi);
    ellipse_points(at + 22, 5, c + 22 * wide, c - 22, 15, 6, pi, 2 * pi);
    for (int i = 0; i < 4; i++)
        at[27 + i] = (prle_point){c, c - 14 + 7 * i};
    ellipse_points(at + 31, 5, c, c + 8, 9, 4, pi, 0);
    for (int eye = 0; eye < 2; eye++)
        for (int i = 0; i < 6; i++) {
            const double a = pi + 2 * pi * i / 6;
            at[36 + 6 * eye + i] = (prle_point){c + (eye == 0 ? -22 : 22) * wide + 8 * cos(a), c - 12 + 4 * sin(a)};
        }
    for (int i = 0; i < 12; i++) {
        const double a = pi + 2 * pi * i / 12;
        at[48 + i] = (prle_point){c + (15 + 5 * smile) * cos(a), c + 26 + (5 + 3 * smile) * sin(a)};
    }
    for (int i = 0; i < 8; i++) {
        const double a = pi + 2 * pi * i / 8;
        at[60 + i] = (prle_point){c + (12 + 5 * smile) * cos(a), c + 26 + (0.3 + 5 * smile) * sin(a)};
    }
}

/* Smooth skin of a colour of its own, some grain, darker brows, and a white nose tip that tests look for. */
static inline prle_image face_image(const prle_point at[PRLE_LANDMARKS], uint64_t person)
{
    prle_rng rng = prle_rng_make(7, 0, person, PRLE_RNG_TEST);
    const double tone[3] = {prle_rng_range(&rng, 120, 210), prle_rng_range(&rng, 90, 160), prle_rng_range(&rng, 70, 130)};
    prle_image image = {0};

    assert_ok(prle_image_init(&image, FACE_SIDE, FACE_SIDE, 3));
    for (int64_t i = 0; i < FACE_SIDE * FACE_SIDE; i++) {
        const double x = (double)(i % FACE_SIDE), y = (double)(i / FACE_SIDE), grain = prle_rng_range(&rng, -6, 6);
        for (int c = 0; c < 3; c++)
            image.data[3 * i + c] = (uint8_t)lrint(tone[c] + 15 * sin(0.06 * x) * cos(0.05 * y + (double)person) + grain);
    }
    for (int i = 17; i < 27; i++)
        memset(image.data + ((int64_t)at[i].y * FACE_SIDE + (int64_t)at[i].x) * 3, 30, 12);
    for (int64_t y = -2; y <= 2; y++)
        memset(image.data + (((int64_t)lrint(at[30].y) + y) * FACE_SIDE + (int64_t)lrint(at[30].x) - 2) * 3, 255, 15);
    return image;
}

/* n people, each neutral and smiling, as FOLDER/img/pNN_{a,b}.png and FOLDER/manifest.csv, under names a table must quote. */
static inline void faces_write(const char *folder, int n)
{
    char path[256];
    FILE *table;

    snprintf(path, sizeof path, "%s/img", folder);
    assert_ok(prle_folder_make(path));
    snprintf(path, sizeof path, "%s/manifest.csv", folder);
    table = fopen(path, "w");
    assert_non_null(table);
    fprintf(table, "file,id,mood");
    for (int i = 0; i < PRLE_LANDMARKS; i++)
        fprintf(table, ",x%d,y%d", i, i);
    for (int i = 0; i < 2 * n; i++) {
        prle_point at[PRLE_LANDMARKS];
        face_points(at, i % 2, 1 + 0.01 * (i / 2 % 7));
        prle_image image = face_image(at, (uint64_t)i / 2);
        snprintf(path, sizeof path, "%s/img/p%02d_%c.png", folder, i / 2, i % 2 == 0 ? 'a' : 'b');
        assert_ok(prle_image_save(path, &image, NULL));
        prle_image_deinit(&image);
        fprintf(table, "\np%02d_%c.png,\"person, \"\"%d\"\"\",%s", i / 2, i % 2 == 0 ? 'a' : 'b', i / 2,
                i % 2 == 0 ? "neutral" : "smiling");
        for (int k = 0; k < PRLE_LANDMARKS; k++)
            fprintf(table, ",%.3f,%.3f", at[k].x, at[k].y);
    }
    fprintf(table, "\n");
    assert_int_equal(fclose(table), 0);
}
