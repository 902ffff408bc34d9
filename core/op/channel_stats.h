/* channel_stats.h - mean and variance of each channel of an image in f32 or bfloat16, as exact as its elements. */
#pragma once
#include "core/op/channels.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 *   mean[c] = 1/n sum x,  var[c] = 1/n sum (x - mean[c])^2,  n = B plane
 *
 * Short runs are summed in f32 about their own mean and put together in double (Chan, Golub, LeVeque 1979): oneDNN 2.6.3 sums
 * whole images in f32, and its variance is wrong by 6e-4 for 4 x 256 x 256 values a channel, which gradients make into percents.
 *
 * mean, var  out  [C]
 * scratch         prle_channel_stats_scratch doubles
 *
 * The same bits for any number of threads. x is read once.
 */
void prle_channel_stats(double *mean, double *var, const void *x, prle_dtype dtype, const prle_channels *channels,
                        double *scratch);

int64_t prle_channel_stats_scratch(const prle_channels *channels);

#ifdef __cplusplus
}
#endif
