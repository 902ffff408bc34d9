/* render.c - see render.h. A frame's history, real or forged: photograph - resampled to the canvas - JPEG - resampled with a
 * small change of crop, scale and rotation - JPEG. What forging adds lies between the first two. */
#include "augment/forge/render.h"

#include <math.h>
#include <stdio.h>

#include "core/alloc.h"
#include "core/file.h"

/* Largest change between the frames of a video; the canvas is wider than a frame by what they need. */
#define MAX_SHIFT     0.02 /* of the frame's side */
#define MAX_ZOOM      0.04
#define MAX_TURN      0.05 /* radians */
#define CANVAS_BORDER 0.08 /* of the frame's side, all around */

enum { FIRST_QUALITY_MIN = 80, FIRST_QUALITY_MAX = 95, MAX_NAME = 16 };

static int64_t canvas_side(int64_t size) { return size + 2 * (int64_t)ceil(CANVAS_BORDER * (double)size); }

prle_status prle_render_init(prle_render *out, const prle_forge_opts *opts, const prle_forge_photos *photos)
{
    const int64_t side = canvas_side(opts->size);
    prle_render r = {.opts = opts, .photos = photos};
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_studio_init(&r.studio, side, opts->size));
    PRLE_TRY_OUT(prle_image_init(&r.canvas, side, side, 3));
    PRLE_TRY_OUT(prle_image_init(&r.frame, opts->size, opts->size, 3));
    PRLE_TRY_OUT(prle_image_init(&r.mask_canvas, side, side, 1));
    PRLE_TRY_OUT(prle_image_init(&r.mask, opts->size, opts->size, 1));
    *out = r;
    r = (prle_render){0};
out:
    prle_render_deinit(&r);
    return st;
}

void prle_render_deinit(prle_render *render)
{
    prle_studio_deinit(&render->studio);
    prle_image_deinit(&render->canvas);
    prle_image_deinit(&render->frame);
    prle_image_deinit(&render->mask_canvas);
    prle_image_deinit(&render->mask);
}

/* ---- photographs ---- */

/* A face much larger than the frame is first averaged down, else bilinear sampling would skip pixels. */
static prle_status photo_load(prle_image *out, prle_point landmark[PRLE_LANDMARKS], const prle_forge_photo *photo, double margin,
                              int64_t size)
{
    const prle_affine map = prle_face_align(photo->landmark, margin, size, size);
    const int64_t factor = (int64_t)hypot(map.xx, map.yx);
    prle_image full = {0}, small = {0};
    prle_status st = PRLE_OK;

    for (int i = 0; i < PRLE_LANDMARKS; i++)
        landmark[i] = photo->landmark[i];
    if (factor < 2)
        return prle_image_load(out, photo->path, 3);
    PRLE_TRY(prle_image_load(&full, photo->path, 3));
    PRLE_TRY_OUT(prle_image_init(&small, (full.height + factor - 1) / factor, (full.width + factor - 1) / factor, 3));
    PRLE_TRY_OUT(prle_image_resize(&small, &full, PRLE_RESIZE_AREA));
    for (int i = 0; i < PRLE_LANDMARKS; i++) {
        landmark[i].x = (landmark[i].x + 0.5) * (double)small.width / (double)full.width - 0.5;
        landmark[i].y = (landmark[i].y + 0.5) * (double)small.height / (double)full.height - 0.5;
    }
    *out = small;
    small = (prle_image){0};
out:
    prle_image_deinit(&full);
    prle_image_deinit(&small);
    return st;
}

static bool is_own(const prle_forge_photos *photos, const prle_forge_video *video)
{
    return video->donor >= 0 && photos->photo[video->donor].identity == photos->photo[video->target].identity;
}

/* ---- frames ---- */

typedef struct frame_draw {
    prle_affine to_canvas; /* frame pixels -> canvas pixels */
    int quality;
} frame_draw;

static frame_draw frame_draw_make(const prle_forge_opts *opts, int64_t index, int frame)
{
    const uint64_t stream = (uint64_t)index * (uint64_t)opts->frames + (uint64_t)frame;
    const double size = opts->size, middle = (double)(canvas_side(opts->size) - 1) / 2;
    prle_rng rng = prle_rng_make(opts->seed, PRLE_FORGE_DRAW_FRAME, stream, PRLE_RNG_FORGE);
    const double turn = prle_rng_range(&rng, -MAX_TURN, MAX_TURN), zoom = prle_rng_range(&rng, 1 - MAX_ZOOM, 1 + MAX_ZOOM);
    const double dx = prle_rng_range(&rng, -MAX_SHIFT, MAX_SHIFT) * size, dy = prle_rng_range(&rng, -MAX_SHIFT, MAX_SHIFT) * size;

    return (frame_draw){
        .to_canvas = prle_affine_similarity(zoom, turn, (prle_point){(size - 1) / 2, (size - 1) / 2},
                                            (prle_point){middle + dx, middle + dy}),
        .quality = opts->quality_min + (int)prle_rng_below(&rng, (uint32_t)(opts->quality_max - opts->quality_min + 1)),
    };
}

prle_status prle_render_landmarks(prle_point out[PRLE_LANDMARKS], const prle_forge_opts *opts, const prle_forge_photos *photos,
                                  const prle_forge_video *video, int64_t index, int frame)
{
    const frame_draw draw = frame_draw_make(opts, index, frame);
    const int64_t side = canvas_side(opts->size);
    prle_face target, donor;
    prle_affine to_frame;
    prle_point at[PRLE_LANDMARKS];

    PRLE_TRY(prle_face_make(&target, NULL, photos->photo[video->target].landmark, opts->margin, opts->size, side));
    if (video->donor >= 0)
        PRLE_TRY(prle_face_make(&donor, NULL, photos->photo[video->donor].landmark, opts->margin, opts->size, side));
    PRLE_TRY(
        prle_forge_landmarks(at, video->method, &target, video->donor >= 0 ? &donor : NULL, is_own(photos, video), opts->size));
    PRLE_CHECK(prle_affine_invert(&to_frame, &draw.to_canvas), PRLE_ENUMERIC, "frame %d has no inverse map", frame);
    for (int i = 0; i < PRLE_LANDMARKS; i++)
        out[i] = prle_affine_apply(&to_frame, at[i]);
    return PRLE_OK;
}

/* ---- pictures ---- */

/* The canvas as a video codec hands it on: encoded once and decoded. */
static prle_status canvas_publish(prle_render *r, prle_rng *rng)
{
    const int quality = FIRST_QUALITY_MIN + (int)prle_rng_below(rng, FIRST_QUALITY_MAX - FIRST_QUALITY_MIN + 1);
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    prle_image decoded = {0};
    prle_status st = PRLE_OK;

    prle_canvas_round(&r->canvas, &r->studio.canvas);
    PRLE_TRY(prle_image_encode_jpeg(&bytes, &n_bytes, &r->canvas, &(prle_jpeg_opts){.quality = quality}));
    PRLE_TRY_OUT(prle_image_decode(&decoded, bytes, n_bytes, 3));
    prle_image_deinit(&r->canvas);
    r->canvas = decoded;
out:
    prle_free(bytes);
    return st;
}

static prle_status canvas_make(prle_render *r, const prle_forge_video *video, int64_t index)
{
    prle_rng rng = prle_rng_make(r->opts->seed, PRLE_FORGE_DRAW_VIDEO, (uint64_t)index, PRLE_RNG_FORGE);
    const int64_t photo_index[2] = {video->target, video->donor};
    prle_point landmark[PRLE_LANDMARKS];
    prle_image photo[2] = {{0}, {0}};
    prle_face face[2];
    prle_status st = PRLE_OK;

    for (int i = 0; i < (video->donor >= 0 ? 2 : 1); i++) {
        PRLE_TRY_OUT(photo_load(&photo[i], landmark, &r->photos->photo[photo_index[i]], r->opts->margin, r->opts->size));
        PRLE_TRY_OUT(prle_face_make(&face[i], &photo[i], landmark, r->opts->margin, r->opts->size, r->studio.side));
    }
    PRLE_TRY_OUT(prle_forge_make(&r->studio, video->method, &face[0], video->donor >= 0 ? &face[1] : NULL,
                                 is_own(r->photos, video), &rng));
    PRLE_TRY_OUT(canvas_publish(r, &rng));
    for (int64_t i = 0; i < r->studio.side * r->studio.side; i++)
        r->mask_canvas.data[i] = (uint8_t)lrintf(255.0f * r->studio.alpha[i]);
out:
    prle_image_deinit(&photo[0]);
    prle_image_deinit(&photo[1]);
    return st;
}

static prle_status file_write(const char *folder, const char *name, const uint8_t *bytes, size_t n_bytes)
{
    char *path = NULL;

    PRLE_TRY(prle_path_join(folder, name, &path));
    const prle_status st = prle_file_write(path, bytes, n_bytes);
    prle_free(path);
    return st;
}

static prle_status frame_write(prle_render *r, const frame_draw *draw, int frame, const char *folder)
{
    char name[MAX_NAME];
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    prle_status st = PRLE_OK;

    snprintf(name, sizeof name, "%04d.jpg", frame);
    PRLE_TRY(prle_image_warp(&r->frame, &r->canvas, &draw->to_canvas, PRLE_BORDER_EDGE));
    PRLE_TRY(prle_image_encode_jpeg(&bytes, &n_bytes, &r->frame, &(prle_jpeg_opts){.quality = draw->quality}));
    PRLE_TRY_OUT(file_write(folder, name, bytes, n_bytes));
out:
    prle_free(bytes);
    return st;
}

static prle_status mask_write(prle_render *r, const frame_draw *draw, int frame, const char *folder)
{
    char name[MAX_NAME];
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    prle_status st = PRLE_OK;

    snprintf(name, sizeof name, "%04d.png", frame);
    PRLE_TRY(prle_image_warp(&r->mask, &r->mask_canvas, &draw->to_canvas, PRLE_BORDER_ZERO));
    PRLE_TRY(prle_image_encode_png(&bytes, &n_bytes, &r->mask));
    PRLE_TRY_OUT(file_write(folder, name, bytes, n_bytes));
out:
    prle_free(bytes);
    return st;
}

prle_status prle_render_video(prle_render *render, const prle_forge_video *video, int64_t index, const char *folder,
                              const char *mask_folder)
{
    PRLE_TRY(canvas_make(render, video, index));
    for (int frame = 0; frame < render->opts->frames; frame++) {
        const frame_draw draw = frame_draw_make(render->opts, index, frame);
        PRLE_TRY(frame_write(render, &draw, frame, folder));
        if (video->method != PRLE_FORGE_REAL)
            PRLE_TRY(mask_write(render, &draw, frame, mask_folder));
    }
    return PRLE_OK;
}
