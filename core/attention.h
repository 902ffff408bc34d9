/* attention.h - the arithmetic of attention maps: normalise, resize, quantise; the same bits on every machine. */
#pragma once
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What 1.0 becomes: maps are integers q = rint(32768 A) from here on (paper, Stage 1). */
enum { PRLE_ATTENTION_ONE = 32768 };

/**
 * A <- (A - min A) / (max A - min A), in place; a constant map becomes all zero.
 *
 * map  in/out  [h,w]  any finite values; afterwards in [0,1]
 *
 * Errors: PRLE_ENUMERIC names row and column of the first value that is not finite, and leaves the map as it was.
 */
PRLE_NODISCARD prle_status prle_attention_normalise(double *map, int64_t h, int64_t w);

/**
 * Bilinear resize: half-pixel centres, clamped at the edge, no antialias (PyTorch's interpolate(align_corners=False)).
 *
 *   x = max(((2X + 1) w - W) / 2W, 0),  left = floor(x),  right = min(left + 1, w - 1),  and likewise for rows;
 *   out = (b0 (a0 v00 + a1 v01) + b1 (a0 v10 + a1 v11)) / 4HW,  with integer weights a0 + a1 = 2W and b0 + b1 = 2H.
 *
 * Computed in double in this order, without contraction.
 *
 * map  in   [h,w]  finite
 * out  out  [H,W]  must not overlap map
 *
 * Errors: PRLE_ENUMERIC names the place of a value that is not finite. Memory: scratch of h*W doubles.
 */
PRLE_NODISCARD prle_status prle_attention_resize(const double *map, int64_t h, int64_t w, int64_t H, int64_t W, double *out);

/** PRLE_OK for a map that prle_attention_quantise takes; else its errors. map [h,w]. */
PRLE_NODISCARD prle_status prle_attention_check(const float *map, int64_t h, int64_t w);

/**
 * The same resize of a map as it comes back from the disk, then q = rint(32768 A), ties to even. For float16 values and
 * H, W <= 4096 every step before the division is exact, and the result the correctly rounded exact value, whoever computes it.
 *
 * map  in   [h,w]  in [0,1]
 * q    out  [H,W]  in [0,32768]
 *
 * Errors: PRLE_ENUMERIC names the place of a value that is not finite, PRLE_EINVAL of one outside [0,1].
 */
PRLE_NODISCARD prle_status prle_attention_quantise(const float *map, int64_t h, int64_t w, int64_t H, int64_t W, uint16_t *q);

#ifdef __cplusplus
}
#endif
