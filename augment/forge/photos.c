/* photos.c - see photos.h. */
#include "augment/forge/photos.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "augment/forge/blend.h"
#include "augment/forge/colour.h"
#include "augment/forge/failure.h"
#include "core/alloc.h"
#include "core/csv.h"
#include "core/file.h"
#include "core/hash.h"

enum { SWATCH_SIDE = 64 }; /* a face this small is enough for its colours */
#define LEAST_FACE_PX 16.0

static prle_point mean_of(const prle_point *points, int first, int last)
{
    prle_point sum = {0, 0};

    for (int i = first; i <= last; i++) {
        sum.x += points[i].x;
        sum.y += points[i].y;
    }
    return (prle_point){sum.x / (last - first + 1), sum.y / (last - first + 1)};
}

prle_point prle_face_eyes(const prle_point landmark[PRLE_LANDMARKS], double *distance)
{
    const prle_point left = mean_of(landmark, 36, 41), right = mean_of(landmark, 42, 47);

    *distance = hypot(right.x - left.x, right.y - left.y);
    return (prle_point){(left.x + right.x) / 2, (left.y + right.y) / 2};
}

double prle_face_mouth_opening(const prle_point landmark[PRLE_LANDMARKS])
{
    const prle_point upper = mean_of(landmark, 61, 63), lower = mean_of(landmark, 65, 67);
    const double width = hypot(landmark[54].x - landmark[48].x, landmark[54].y - landmark[48].y);

    return width > 0 ? hypot(upper.x - lower.x, upper.y - lower.y) / width : 0;
}

prle_affine prle_face_align(const prle_point landmark[PRLE_LANDMARKS], double margin, int64_t size, int64_t side)
{
    const prle_point left = mean_of(landmark, 36, 41), right = mean_of(landmark, 42, 47), origin = {0, 0};
    const double tilt = atan2(right.y - left.y, right.x - left.x);
    const prle_affine level = prle_affine_similarity(1, -tilt, origin, origin);
    const prle_affine tilted = prle_affine_similarity(1, tilt, origin, origin);
    prle_point lo = {HUGE_VAL, HUGE_VAL}, hi = {-HUGE_VAL, -HUGE_VAL};

    for (int i = 0; i < PRLE_LANDMARKS; i++) {
        const prle_point p = prle_affine_apply(&level, landmark[i]);
        lo = (prle_point){fmin(lo.x, p.x), fmin(lo.y, p.y)};
        hi = (prle_point){fmax(hi.x, p.x), fmax(hi.y, p.y)};
    }
    const double box = margin * fmax(hi.x - lo.x, hi.y - lo.y), middle = (double)(side - 1) / 2;
    const prle_point centre = prle_affine_apply(&tilted, (prle_point){(lo.x + hi.x) / 2, (lo.y + hi.y) / 2});
    return prle_affine_similarity(box / (double)size, tilt, (prle_point){middle, middle}, centre);
}

/* ---- the table ---- */

typedef struct table {
    prle_csv csv;
    int64_t file, id, point[2 * PRLE_LANDMARKS];
    char *folder;
} table;

/* `src` is the table itself, or a folder that holds manifest.csv. */
static prle_status table_path(char **out, const char *src)
{
    return prle_folder_exists(src) ? prle_path_join(src, "manifest.csv", out) : prle_strdup(src, out);
}

static prle_status table_open(table *t, const char *src)
{
    char *path = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(table_path(&path, src));
    PRLE_TRY_OUT(prle_path_folder(path, &t->folder));
    PRLE_TRY_OUT(prle_csv_load(&t->csv, path));
    PRLE_TRY_OUT(prle_csv_column(&t->csv, "file", &t->file));
    PRLE_TRY_OUT(prle_csv_column(&t->csv, "id", &t->id));
    for (int i = 0; i < 2 * PRLE_LANDMARKS; i++) {
        char name[8];
        snprintf(name, sizeof name, "%c%d", i % 2 == 0 ? 'x' : 'y', i / 2);
        PRLE_TRY_OUT(prle_csv_column(&t->csv, name, &t->point[i]));
    }
    PRLE_CHECK_OUT(t->csv.n_rows > 0, PRLE_EFORMAT, "%s: no photographs, only a header", path);
out:
    prle_free(path);
    return st;
}

/* Beside the table, or in img/ beside it. */
static prle_status path_find(char **out, const table *t, int64_t row)
{
    const char *file = prle_csv_text(&t->csv, row, t->file);
    char *path = NULL;

    PRLE_CHECK(file[0] != '\0', PRLE_EFORMAT, "%s:%lld: no file name", t->csv.name, (long long)prle_csv_line(&t->csv, row));
    PRLE_TRY(prle_path_join(t->folder, file, &path));
    if (!prle_file_exists(path)) {
        prle_free(path);
        PRLE_TRY(prle_asprintf(&path, "%s/img/%s", t->folder, file));
    }
    if (!prle_file_exists(path)) {
        prle_free(path);
        return PRLE_FAIL(PRLE_EFORMAT, "%s:%lld: %s is neither in %s nor in %s/img", t->csv.name,
                         (long long)prle_csv_line(&t->csv, row), file, t->folder, t->folder);
    }
    *out = path;
    return PRLE_OK;
}

/* For the last photograph: its file's name without folder and ending, odd characters replaced, numbered where an earlier one has
 * it. */
static prle_status name_make(char **out, const prle_forge_photos *photos, const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash == NULL ? path : slash + 1, *dot = strrchr(base, '.');
    const int n = (int)(dot == NULL || dot == base ? strlen(base) : (size_t)(dot - base));
    char *name = NULL;

    for (int copy = 1; name == NULL; copy++) {
        if (copy == 1)
            PRLE_TRY(prle_asprintf(&name, "%.*s", n, base));
        else
            PRLE_TRY(prle_asprintf(&name, "%.*s-%d", n, base, copy));
        for (char *c = name; *c != '\0'; c++)
            if (!isalnum((unsigned char)*c) && strchr("._-", *c) == NULL)
                *c = '-';
        for (int64_t i = 0; i < photos->n - 1; i++)
            if (strcmp(photos->photo[i].name, name) == 0) {
                prle_free(name);
                name = NULL;
                break;
            }
    }
    *out = name;
    return PRLE_OK;
}

static prle_status identity_find(int32_t *out, prle_forge_photos *photos, const char *name)
{
    for (int64_t i = 0; i < photos->n_identities; i++)
        if (strcmp(photos->identity[i], name) == 0) {
            *out = (int32_t)i;
            return PRLE_OK;
        }
    PRLE_TRY(prle_strdup(name, &photos->identity[photos->n_identities]));
    *out = (int32_t)photos->n_identities++;
    return PRLE_OK;
}

static prle_status landmarks_read(prle_point landmark[PRLE_LANDMARKS], const table *t, int64_t row)
{
    double distance;

    for (int i = 0; i < PRLE_LANDMARKS; i++) {
        PRLE_TRY(prle_csv_number(&t->csv, row, t->point[2 * i], &landmark[i].x));
        PRLE_TRY(prle_csv_number(&t->csv, row, t->point[2 * i + 1], &landmark[i].y));
        PRLE_CHECK(fabs(landmark[i].x) <= 2 * PRLE_IMAGE_MAX_SIDE && fabs(landmark[i].y) <= 2 * PRLE_IMAGE_MAX_SIDE, PRLE_EFORMAT,
                   "%s:%lld: point %d lies at (%g, %g): not in any picture", t->csv.name, (long long)prle_csv_line(&t->csv, row),
                   i, landmark[i].x, landmark[i].y);
    }
    prle_face_eyes(landmark, &distance);
    PRLE_CHECK(distance >= LEAST_FACE_PX / 2, PRLE_EFORMAT, "%s:%lld: eyes %.3g pixels apart: %g at least", t->csv.name,
               (long long)prle_csv_line(&t->csv, row), distance, LEAST_FACE_PX / 2);
    return PRLE_OK;
}

static prle_status row_read(prle_forge_photos *photos, const table *t, int64_t row)
{
    prle_forge_photo *photo = &photos->photo[photos->n];
    const char *id = prle_csv_text(&t->csv, row, t->id);

    PRLE_CHECK(id[0] != '\0', PRLE_EFORMAT, "%s:%lld: no id: whose photograph it is", t->csv.name,
               (long long)prle_csv_line(&t->csv, row));
    PRLE_TRY(landmarks_read(photo->landmark, t, row));
    PRLE_TRY(identity_find(&photo->identity, photos, id));
    PRLE_TRY(path_find(&photo->path, t, row));
    photos->n++; /* from here on the photograph is freed with the others */
    return name_make(&photo->name, photos, photo->path);
}

/* ---- colours ---- */

typedef struct swatch {
    prle_canvas canvas;
    prle_field field;
    float *alpha;
    prle_point at[PRLE_LANDMARKS];
} swatch;

static void swatch_deinit(swatch *s)
{
    prle_canvas_deinit(&s->canvas);
    prle_field_deinit(&s->field);
    prle_free(s->alpha);
}

/* The face alone, small. */
static prle_status swatch_make(swatch *s, const prle_forge_photo *photo, const prle_image *image)
{
    const prle_affine map = prle_face_align(photo->landmark, 1.3, SWATCH_SIDE, SWATCH_SIDE);
    prle_affine inverse;

    PRLE_CHECK(prle_affine_invert(&inverse, &map), PRLE_EFORMAT, "%s: a face without area", photo->path);
    for (int i = 0; i < PRLE_LANDMARKS; i++)
        s->at[i] = prle_affine_apply(&inverse, photo->landmark[i]);
    PRLE_TRY(prle_canvas_init(&s->canvas, SWATCH_SIDE));
    PRLE_TRY(prle_field_init(&s->field, SWATCH_SIDE));
    PRLE_TRY(PRLE_NEW(s->alpha, SWATCH_SIDE * SWATCH_SIDE));
    prle_field_affine(&s->field, &map);
    prle_canvas_sample(&s->canvas, image, &s->field);
    return PRLE_OK;
}

static prle_status mean_colour(double lab[3], swatch *s, const prle_point *points, int64_t n)
{
    PRLE_TRY(prle_alpha_hull(s->alpha, SWATCH_SIDE, points, n, 1));
    const prle_lab_stats stats = prle_lab_stats_make(&s->canvas, s->alpha);
    memcpy(lab, stats.mean, sizeof stats.mean);
    return PRLE_OK;
}

/* Just above the brows: skin, or the hair of a fringe. */
static prle_status fringe_measure(double *out, swatch *s, const double tint[3])
{
    enum { FIRST = 17, N = 10 };
    prle_point strip[2 * N];
    double lab[3], distance;
    const prle_point eyes = prle_face_eyes(s->at, &distance);

    for (int i = 0; i < 2 * N; i++) {
        const double lift = i < N ? 0.05 : 0.15;
        strip[i].x = s->at[FIRST + i % N].x + lift * (eyes.x - s->at[8].x);
        strip[i].y = s->at[FIRST + i % N].y + lift * (eyes.y - s->at[8].y);
    }
    PRLE_TRY(mean_colour(lab, s, strip, 2 * N));
    *out = sqrt((lab[0] - tint[0]) * (lab[0] - tint[0]) + (lab[1] - tint[1]) * (lab[1] - tint[1]) +
                (lab[2] - tint[2]) * (lab[2] - tint[2]));
    return PRLE_OK;
}

/* A face may be cut by the picture's edge, not lie outside of it. */
static prle_status place_check(const prle_forge_photo *photo, const prle_image *image)
{
    double distance;
    const prle_point eyes = prle_face_eyes(photo->landmark, &distance);

    PRLE_CHECK(eyes.x >= 0 && eyes.y >= 0 && eyes.x < (double)image->width && eyes.y < (double)image->height, PRLE_EFORMAT,
               "%s: the face lies outside of the picture: its eyes are around (%g, %g), the picture is %lld x %lld", photo->path,
               eyes.x, eyes.y, (long long)image->width, (long long)image->height);
    return PRLE_OK;
}

static prle_status colours_measure(prle_forge_photo *photo)
{
    prle_image image = {0};
    swatch s = {0};
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_image_load(&image, photo->path, 3));
    PRLE_TRY_OUT(place_check(photo, &image));
    PRLE_TRY_OUT(swatch_make(&s, photo, &image));
    PRLE_TRY_OUT(mean_colour(photo->tint, &s, s.at, PRLE_LANDMARKS));
    PRLE_TRY_OUT(fringe_measure(&photo->fringe, &s, photo->tint));
out:
    swatch_deinit(&s);
    prle_image_deinit(&image);
    return st;
}

static prle_status all_colours_measure(prle_forge_photos *photos)
{
    prle_failure failure = {0};

#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < photos->n; i++)
        if (!prle_failure_seen(&failure))
            prle_failure_note(&failure, colours_measure(&photos->photo[i]));
    return prle_failure_raise(&failure);
}

static uint64_t fingerprint_make(const prle_forge_photos *photos)
{
    uint64_t hash = PRLE_HASH_INIT;

    for (int64_t i = 0; i < photos->n; i++) {
        const prle_forge_photo *photo = &photos->photo[i];
        const char *identity = photos->identity[photo->identity];
        hash = prle_hash(hash, photo->name, strlen(photo->name) + 1);
        hash = prle_hash(hash, identity, strlen(identity) + 1);
        hash = prle_hash(hash, photo->landmark, sizeof photo->landmark);
        hash = prle_hash(hash, photo->tint, sizeof photo->tint);
        hash = prle_hash(hash, &photo->fringe, sizeof photo->fringe);
    }
    return hash;
}

prle_status prle_forge_photos_load(prle_forge_photos *out, const char *src)
{
    prle_forge_photos photos = {0};
    table t = {0};
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(table_open(&t, src));
    PRLE_TRY_OUT(PRLE_NEW(photos.photo, t.csv.n_rows));
    PRLE_TRY_OUT(PRLE_NEW(photos.identity, t.csv.n_rows));
    for (int64_t row = 0; row < t.csv.n_rows; row++)
        PRLE_TRY_OUT(row_read(&photos, &t, row));
    PRLE_TRY_OUT(all_colours_measure(&photos));
    photos.fingerprint = fingerprint_make(&photos);
    *out = photos;
    photos = (prle_forge_photos){0};
out:
    prle_csv_deinit(&t.csv);
    prle_free(t.folder);
    prle_forge_photos_deinit(&photos);
    return st;
}

void prle_forge_photos_deinit(prle_forge_photos *photos)
{
    for (int64_t i = 0; i < photos->n; i++) {
        prle_free(photos->photo[i].path);
        prle_free(photos->photo[i].name);
    }
    for (int64_t i = 0; i < photos->n_identities; i++)
        prle_free(photos->identity[i]);
    prle_free(photos->photo);
    prle_free(photos->identity);
    *photos = (prle_forge_photos){0};
}
