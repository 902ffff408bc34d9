/* normalise.c - see normalise.h. */
#include "core/normalise.h"

prle_normaliser prle_normaliser_make(const float mean[3], const float std[3])
{
    prle_normaliser out;

    for (int c = 0; c < 3; c++) {
        for (int x = 0; x < 256; x++) {
            out.f64[c][x] = (x / 255.0 - (double)mean[c]) / (double)std[c];
            out.f32[c][x] = (float)out.f64[c][x];
        }
    }
    return out;
}

void prle_normaliser_run(const prle_normaliser *normaliser, void *out, prle_dtype dtype, const uint8_t *in, int64_t n)
{
    float *f32 = out;
    double *f64 = out;

    for (int64_t c = 0; c < 3; c++) {
        if (dtype == PRLE_F64)
            for (int64_t i = 0; i < n; i++)
                f64[c * n + i] = normaliser->f64[c][in[3 * i + c]];
        else
            for (int64_t i = 0; i < n; i++)
                f32[c * n + i] = normaliser->f32[c][in[3 * i + c]];
    }
}
