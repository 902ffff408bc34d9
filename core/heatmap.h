/* heatmap.h - pictures of attention: a heat map laid over a face, and a face with its masked pixels black. */
#pragma once
#include <stdint.h>

#include "core/image.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The colours of attention 0 ... 255: dark violet, red, orange, pale yellow. Lightness rises in equal steps (Oklab), so the map
 * reads the same in gray.
 *
 * out  out  [256,3]  sRGB
 */
void prle_heatmap_colors(uint8_t out[256][3]);

/**
 * out = (1 - strength) image + strength color(attention), rounded to nearest.
 *
 * out        out  [H,W,3]  initialised by the caller; may be *image
 * image      in   [H,W,3]
 * attention  in   [H,W]    gray picture of the same size (`attention` of maps.h5)
 * strength   in            [0,1]; 0.5 shows both
 *
 * Errors: PRLE_ESHAPE names the sizes that differ; PRLE_EINVAL for a strength outside [0,1].
 */
PRLE_NODISCARD prle_status prle_heatmap_overlay(prle_image *out, const prle_image *image, const prle_image *attention,
                                                double strength);

/**
 * The same of a map at its native size, brought to the picture's by prle_attention_quantise.
 *
 * map  in  [h,w]  in [0,1]
 *
 * Errors: those of both. Memory: scratch of H*W pixels.
 */
PRLE_NODISCARD prle_status prle_heatmap_overlay_map(prle_image *out, const prle_image *image, const float *map, int64_t h,
                                                    int64_t w, double strength);

/**
 * Eq. 11 of arXiv 2307.12534: out = image (1 - mask), hidden pixels black.
 *
 * out    out  [H,W,C]  initialised by the caller; may be *image
 * image  in   [H,W,C]
 * mask   in   [H,W]    1 = hidden (prle_mask_from_rank)
 *
 * Errors: PRLE_ESHAPE names the sizes that differ.
 */
PRLE_NODISCARD prle_status prle_heatmap_hide(prle_image *out, const prle_image *image, const uint8_t *mask);

#ifdef __cplusplus
}
#endif
