/* methods.h - the five forgeries, each on one aligned canvas. */
#pragma once
#include "augment/forge/blend.h"
#include "augment/forge/forge.h"
#include "augment/forge/photos.h"
#include "core/rng.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A photograph and where its aligned canvas lies in it. */
typedef struct prle_face {
    const prle_image *photo;       /* RGB; NULL where only points are wanted */
    prle_affine to_photo;          /* canvas pixels -> photo pixels */
    prle_point at[PRLE_LANDMARKS]; /* landmarks on the canvas */
} prle_face;

/** A face aligned as prle_face_align says; the photograph may have been shrunk (prle_forge_photo_load), landmarks with it. */
PRLE_NODISCARD prle_status prle_face_make(prle_face *out, const prle_image *photo, const prle_point landmark[PRLE_LANDMARKS],
                                          double margin, int64_t size, int64_t side);

/** What a thread forges with; made once. */
typedef struct prle_studio {
    int64_t side, size;
    prle_canvas canvas; /* the result */
    float *alpha;       /* [side,side]: how much of each pixel was manipulated, 0 ... 1; all 0 for a real face */
    prle_canvas other;
    prle_field field;
    float *patch; /* [side,side] */
    prle_blender blender;
} prle_studio;

PRLE_NODISCARD prle_status prle_studio_init(prle_studio *out, int64_t side, int64_t size);
void prle_studio_deinit(prle_studio *studio);

/**
 * Where the 68 points of the finished canvas lie.
 *
 * method  in  prle_forge_method, or -1 for the face as it is
 * own     in  target and donor are one person: all of the donor's expression is taken, otherwise lips and brows, weaker
 */
PRLE_NODISCARD prle_status prle_forge_landmarks(prle_point out[PRLE_LANDMARKS], int method, const prle_face *target,
                                                const prle_face *donor, bool own, int64_t size);

/** Makes studio->canvas and studio->alpha. donor is NULL for method -1. The draws vary feathers and shares a little. */
PRLE_NODISCARD prle_status prle_forge_make(prle_studio *studio, int method, const prle_face *target, const prle_face *donor,
                                           bool own, prle_rng *rng);

#ifdef __cplusplus
}
#endif
