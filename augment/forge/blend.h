/* blend.h - putting one picture over another: feathered hulls, plain and multi-band (Laplacian pyramid) blending. */
#pragma once
#include "augment/forge/warp.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * How much of the upper picture shows: 0 outside the convex hull of the points, rising smoothly to 1 at feather_px inside it.
 * alpha [side,side]; all 0 when the hull has no area.
 */
PRLE_NODISCARD prle_status prle_alpha_hull(float *alpha, int64_t side, const prle_point *points, int64_t n, double feather_px);

/** base += alpha (top - base). */
void prle_blend_over(prle_canvas *base, const prle_canvas *top, const float *alpha);

enum { PRLE_PYRAMID_MAX_LEVELS = 8 };

/** A square picture at full size, half, quarter, ...: level k has side ceil(side / 2^k). */
typedef struct prle_pyramid {
    int n_levels;
    int64_t channels;
    int64_t side[PRLE_PYRAMID_MAX_LEVELS];
    float *level[PRLE_PYRAMID_MAX_LEVELS]; /* [side,side,channels], parts of `data` */
    float *data;
} prle_pyramid;

/** n_levels 1 ... PRLE_PYRAMID_MAX_LEVELS. */
PRLE_NODISCARD prle_status prle_pyramid_init(prle_pyramid *out, int64_t side, int64_t channels, int n_levels);
void prle_pyramid_deinit(prle_pyramid *pyramid);

/** Level 0 = image [side,side,channels], each next one the last smoothed (1 4 6 4 1 over 16, edges clamped) and halved. */
void prle_pyramid_reduce(prle_pyramid *pyramid, const float *image);

/** Each level but the last becomes what the next one does not hold (Burt and Adelson, TOG 2, 1983). */
void prle_pyramid_split(prle_pyramid *pyramid);

/** Undoes prle_pyramid_split in place; level 0 is the picture. */
void prle_pyramid_join(prle_pyramid *pyramid);

/** The three pyramids of a multi-band blend, kept from picture to picture. */
typedef struct prle_blender {
    prle_pyramid base, top, alpha;
} prle_blender;

PRLE_NODISCARD prle_status prle_blender_init(prle_blender *out, int64_t side, int n_levels);
void prle_blender_deinit(prle_blender *blender);

/**
 * Multi-band: band k of the result is base_k + share[k] alpha_k (top_k - base_k), alpha_k the reduced alpha, so that coarse bands
 * cross over widely and fine ones sharply.
 *
 * share  in  [n_levels], finest first: how much of the upper picture a band takes, 0 ... 1
 */
void prle_blend_bands(prle_canvas *base, const prle_canvas *top, const float *alpha, const float *share, prle_blender *blender);

#ifdef __cplusplus
}
#endif
