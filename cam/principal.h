/* principal.h - the first principal component of a layer's values, as a map: Eigen-CAM (arXiv 2008.00299). */
#pragma once
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Pixels are the observations, channels the variables. With X[p,k] = H[k,p] - mean_q H[k,q] (each channel centred over the
 * pixels) and v the unit vector that maximises |X v|:
 *
 *   map = +-X v,  up to a positive factor,
 *
 * with the sign that makes it agree with the layer's activity: sum_p map[p] sum_k X[p,k] >= 0. Where that sum is zero, but for
 * rounding (1e-9 of what its terms add up to), the first of the pixels of largest magnitude is positive. Values constant over
 * the pixels (all of X below 1e-14 of H, in the L2 norm) give the map 0.
 *
 * pytorch-grad-cam centres the same way and takes X v from LAPACK's SVD with whatever sign that has: its map is this one, or
 * (then cut off at 0 to something else) its negative. The paper does not centre: its v is close to the mean activation.
 *
 * Method: power iteration on the smaller of X Xt and Xt X in double, from a fixed start that no symmetric layer is orthogonal
 * to; whenever 64 steps were not enough, the matrix is squared. The direction is right to about 1e-14 + 1e-16 / gap, where gap
 * is (s1 - s2) / s1 of the two largest eigenvalues; below a gap of 1e-9 it may be any mixture of the two.
 *
 * map      out  [P]    may be negative; NaN where a value is not finite
 * values   in   [C,P]
 * scratch       [prle_principal_scratch]
 */
void prle_principal_map(double *map, const double *values, int64_t channels, int64_t pixels, double *scratch);

/** Doubles of scratch. */
int64_t prle_principal_scratch(int64_t channels, int64_t pixels);

#ifdef __cplusplus
}
#endif
