/* dct.h - the two-dimensional discrete cosine transform of every plane, and its inverse. */
#pragma once
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/**
 *   out[b,c] = D_H in[b,c] D_W^T,   inverse:   out[b,c] = D_H^T in[b,c] D_W
 *
 * for planes of H x W, with D_n the orthonormal DCT-II matrix below. D_n^T D_n = 1: the inverse undoes it, and the gradient of
 * either is the other one.
 */
typedef struct prle_dct_attrs {
    bool inverse;
} prle_dct_attrs;

/** D_n[k,i] = sqrt((k = 0 ? 1 : 2) / n) cos(pi k (i + 1/2) / n). */
static inline double prle_dct_element(int64_t k, int64_t i, int64_t n)
{
    const double pi = 3.14159265358979323846;

    return sqrt((k == 0 ? 1.0 : 2.0) / (double)n) * cos(pi * (double)k * ((double)i + 0.5) / (double)n);
}
