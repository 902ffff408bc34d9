/* rankmap.h - rank maps: the order of an image's primary region, so stored that the mask of any alpha is one compare a pixel. */
#pragma once
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * rank[i] of a position i in V (fused value above zero) = how many positions of V have a larger value, ties in raster order,
 * earlier first; PRLE_RANK_NONE outside V. area = |V|, so `rank[i] < area` says "in V" always: when V is all of 65,536
 * positions the last one has rank 0xFFFF too, and nothing lies outside.
 */
enum { PRLE_RANK_NONE = 0xFFFF, PRLE_RANK_MAX_PIXELS = 65536 };

/**
 * Ranks by a counting sort.
 *
 * value      in   [n]              0 ... max_value; V is where it is above zero
 * n          in                    1 ... PRLE_RANK_MAX_PIXELS
 * first      scratch [max_value+1]  overwritten
 * rank       out  [n]
 * area       out                   |V|
 *
 * Errors: PRLE_ESHAPE when n is out of range. Memory: none.
 */
PRLE_NODISCARD prle_status prle_rank_from_values(const uint32_t *value, int64_t n, uint32_t max_value, uint32_t *first,
                                                 uint16_t *rank, uint32_t *area);

/**
 * floor(alpha * area) in exact arithmetic, alpha being the double it is (Eq. 10 of arXiv 2307.12534).
 * The double written 0.3 lies just below 3/10, so 10 positions at 0.3 give 2.
 * Errors: PRLE_EINVAL when alpha is outside [0,1] or NaN.
 */
PRLE_NODISCARD prle_status prle_rank_count(uint32_t area, double alpha, uint32_t *count);

/**
 * The mask of the floor(alpha * area) highest positions: exactly that many ones, for every alpha in [0,1].
 *
 * rank  in   [n]
 * area  in        |V| stored with it
 * out   out  [n]  1 = hidden, 0 = kept
 *
 * Errors: PRLE_EINVAL for alpha as above; PRLE_EFORMAT when area > n (a map that was never written has area 0xFFFFFFFF).
 */
PRLE_NODISCARD prle_status prle_mask_from_rank(const uint16_t *rank, int64_t n, uint32_t area, double alpha, uint8_t *out);

#ifdef __cplusplus
}
#endif
