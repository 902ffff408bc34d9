/* normalise.h - bytes to the numbers that networks see: (x / 255 - mean) / std, channels apart. */
#pragma once
#include <stdint.h>

#include "core/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The value of every byte in every channel, computed in double and rounded once. */
typedef struct prle_normaliser {
    float f32[3][256];
    double f64[3][256];
} prle_normaliser;

prle_normaliser prle_normaliser_make(const float mean[3], const float std[3]);

/**
 * out  out  [3,n]  float (PRLE_F32) or double (PRLE_F64)
 * in   in   [n,3]  RGB
 */
void prle_normaliser_run(const prle_normaliser *normaliser, void *out, prle_dtype dtype, const uint8_t *in, int64_t n);

#ifdef __cplusplus
}
#endif
