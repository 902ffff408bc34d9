/* band.h - bands of a spectrum, and what learns to weigh them. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "core/hd.h"

/** The coefficients (i, j) of a two-dimensional DCT with low <= i + j <= high. */
typedef struct prle_band {
    double low, high;
} prle_band;

enum { PRLE_MAX_BANDS = 6 };

/**
 * One gain for each coefficient of an H x W spectrum and each band m, learnt around the band's mask:
 *
 *   g_m(i,j) = [low_m <= i + j <= high_m] + 2 sigmoid(w_m(i,j)) - 1,   w_m [H,W]
 *
 * so w = 0 is the mask itself, and training moves each gain by less than one. Source: F3-Net (arXiv 2007.09355), Eq. 1.
 */
typedef struct prle_bands {
    int n; /* 1 to PRLE_MAX_BANDS */
    prle_band band[PRLE_MAX_BANDS];
} prle_bands;

PRLE_HD static inline bool prle_band_has(prle_band band, int64_t i, int64_t j)
{
    return (double)(i + j) >= band.low && (double)(i + j) <= band.high;
}
