/* cam_file.c - see cam_file.h; the layout is core/rows.h's. */
#include "cam/cam_file.h"

#include <math.h>

#include "core/alloc.h"
#include "core/half.h"
#include "core/image.h"

enum { N_NOTES = 10, MAX_SIDE = 4096 };

typedef struct store {
    prle_cam pub;
    prle_rows *rows;
} store;

/* A spec and what it points to. */
typedef struct layout {
    prle_rows_field field;
    prle_rows_note notes[N_NOTES];
    prle_rows_spec spec;
} layout;

static void layout_make(layout *l, const prle_cam_info *info)
{
    static const uint16_t nan = 0x7E00;

    *l = (layout){
        .field = {.name = "cam", .type = PRLE_H5_F16, .row = PRLE_SHAPE(info->height, info->width), .fill = &nan},
        .notes =
            {
                PRLE_ROWS_INT("face_height", info->face_height),
                PRLE_ROWS_INT("face_width", info->face_width),
                PRLE_ROWS_TEXT("net", info->net),
                PRLE_ROWS_TEXT("node", info->node),
                PRLE_ROWS_TEXT("method", info->method),
                PRLE_ROWS_TEXT("target", info->target),
                PRLE_ROWS_TEXT("score", info->score),
                PRLE_ROWS_TEXT("dtype", info->dtype),
                PRLE_ROWS_TEXT("weights", info->weights),
                PRLE_ROWS_TEXT("faces", info->faces),
            },
        .spec = {.schema = PRLE_CAM_SCHEMA, .version = PRLE_CAM_VERSION, .n = info->n, .n_fields = 1, .n_notes = N_NOTES},
    };
    l->spec.fields = &l->field;
    l->spec.notes = l->notes;
}

static prle_status size_check(const char *path, const char *what, int64_t height, int64_t width, int64_t max_side)
{
    PRLE_CHECK(height >= 1 && height <= max_side && width >= 1 && width <= max_side, PRLE_EFORMAT,
               "%s: %s of %lld x %lld, expected sides of 1 ... %lld", path, what, (long long)height, (long long)width,
               (long long)max_side);
    return PRLE_OK;
}

static prle_status sizes_check(const char *path, const prle_cam_info *info)
{
    PRLE_TRY(size_check(path, "maps", info->height, info->width, MAX_SIDE));
    return size_check(path, "faces", info->face_height, info->face_width, PRLE_IMAGE_MAX_SIDE);
}

static prle_status finite_check(const char *path, const float *cam, int64_t height, int64_t width, int64_t image)
{
    for (int64_t at = 0; at < height * width; at++)
        PRLE_CHECK(isfinite(cam[at]), PRLE_ENUMERIC, "%s: image %lld: the map is %f at row %lld, column %lld", path,
                   (long long)image, (double)cam[at], (long long)(at / width), (long long)(at % width));
    return PRLE_OK;
}

prle_status prle_cam_part_write(const char *path, const prle_cam_info *info, const int64_t *index, int64_t n, const float *cam)
{
    prle_status st = PRLE_OK;
    layout l;
    uint16_t *half = NULL;
    const int64_t cells = info->height * info->width;

    PRLE_TRY(sizes_check(path, info));
    for (int64_t i = 0; i < n; i++)
        PRLE_TRY(finite_check(path, cam + i * cells, info->height, info->width, index[i]));
    PRLE_TRY(PRLE_NEW(half, n * cells));
    for (int64_t at = 0; at < n * cells; at++)
        half[at] = prle_half_from_float(cam[at]);
    layout_make(&l, info);
    PRLE_TRY_OUT(prle_rows_part_write(path, &l.spec, index, n, (const void *const[]){half}));
out:
    prle_free(half);
    return st;
}

prle_status prle_cam_part_check(const char *path, const prle_cam_info *info, const int64_t *index, int64_t n)
{
    layout l;

    layout_make(&l, info);
    return prle_rows_part_check(path, &l.spec, index, n);
}

prle_status prle_cam_compact(const char *path, const prle_cam_info *info, const char *folder, int64_t n_units,
                             const prle_rows_beat *beat)
{
    layout l;

    PRLE_TRY(sizes_check(path, info));
    layout_make(&l, info);
    return prle_rows_compact(path, &l.spec, folder, n_units, beat);
}

static prle_status info_load(prle_h5 *file, prle_cam_info *info)
{
    prle_h5_dataset cam;

    PRLE_TRY(prle_h5_dataset_get(file, "cam", &cam));
    PRLE_CHECK(cam.shape.n == 3, PRLE_EFORMAT, "%s: dataset 'cam' has %d dimensions, expected 3", prle_h5_path(file),
               cam.shape.n);
    info->n = cam.shape.dim[0];
    info->height = cam.shape.dim[1];
    info->width = cam.shape.dim[2];
    PRLE_TRY(prle_h5_attr_read_int(file, "face_height", &info->face_height));
    PRLE_TRY(prle_h5_attr_read_int(file, "face_width", &info->face_width));
    PRLE_TRY(sizes_check(prle_h5_path(file), info));
    PRLE_TRY(prle_h5_attr_read_string(file, "net", (char **)&info->net));
    PRLE_TRY(prle_h5_attr_read_string(file, "node", (char **)&info->node));
    PRLE_TRY(prle_h5_attr_read_string(file, "method", (char **)&info->method));
    PRLE_TRY(prle_h5_attr_read_string(file, "target", (char **)&info->target));
    PRLE_TRY(prle_h5_attr_read_string(file, "score", (char **)&info->score));
    PRLE_TRY(prle_h5_attr_read_string(file, "dtype", (char **)&info->dtype));
    PRLE_TRY(prle_h5_attr_read_string(file, "weights", (char **)&info->weights));
    PRLE_TRY(prle_h5_attr_read_string(file, "faces", (char **)&info->faces));
    return PRLE_OK;
}

prle_status prle_cam_open(const char *path, prle_cam **out)
{
    prle_status st = PRLE_OK;
    store *s = NULL;
    prle_h5 *file = NULL;
    layout l;

    PRLE_TRY(PRLE_NEW(s, 1));
    PRLE_TRY_OUT(prle_strdup(path, (char **)&s->pub.path));
    PRLE_TRY_OUT(prle_h5_open(path, PRLE_CAM_SCHEMA, PRLE_CAM_VERSION, &file));
    PRLE_TRY_OUT(info_load(file, &s->pub.info));
    layout_make(&l, &s->pub.info);
    st = prle_rows_open(file, &l.spec, &s->rows);
    file = NULL;
    PRLE_TRY_OUT(st);
    s->pub.count = prle_rows_count(s->rows);
    s->pub.checksum = prle_rows_checksum(s->rows);
    *out = &s->pub;
    s = NULL;
out:
    prle_h5_close(file);
    prle_cam_close(s == NULL ? NULL : &s->pub);
    return st;
}

void prle_cam_close(prle_cam *cam)
{
    if (cam == NULL)
        return;
    store *s = (store *)cam;
    const char *texts[] = {cam->path,       cam->info.net,   cam->info.node,    cam->info.method, cam->info.target,
                           cam->info.score, cam->info.dtype, cam->info.weights, cam->info.faces};
    prle_rows_close(s->rows);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        prle_free((void *)texts[i]);
    prle_free(s);
}

bool prle_cam_has(const prle_cam *cam, int64_t i) { return prle_rows_has(((const store *)cam)->rows, i); }

prle_status prle_cam_read(const prle_cam *cam, int64_t i, float *out)
{
    prle_status st = PRLE_OK;
    prle_rows *rows = ((const store *)cam)->rows;
    const int64_t cells = cam->info.height * cam->info.width;
    uint16_t *half = NULL;

    PRLE_TRY(PRLE_NEW(half, cells));
    PRLE_TRY_OUT(prle_rows_read(rows, 0, i, half));
    PRLE_TRY_OUT(prle_rows_verify(rows, i, (const void *const[]){half}));
    for (int64_t at = 0; at < cells; at++)
        out[at] = prle_half_to_float(half[at]);
    PRLE_TRY_OUT(finite_check(cam->path, out, cam->info.height, cam->info.width, i));
out:
    prle_free(half);
    return st;
}
