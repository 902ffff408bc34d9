/* channel_stats.h - mean and variance of each channel of an image in f32, as exact as its elements. */
#pragma once
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How an image [B,C,...] lies in memory: element p of channel c of sample b is x[b batch + (c / block) slice + p block + c %
 * block], 0 <= p < plane. block 1: row-major; 8, 16: oneDNN's blocked images, whose last block is filled up with lanes nobody
 * reads. */
typedef struct prle_channels {
    int64_t B, C, plane;  /* samples, channels, pixels */
    int64_t block;        /* a divisor of 16 */
    int64_t slice, batch; /* steps, in elements */
} prle_channels;

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
void prle_channel_stats(double *mean, double *var, const float *x, const prle_channels *channels, double *scratch);

int64_t prle_channel_stats_scratch(const prle_channels *channels);

#ifdef __cplusplus
}
#endif
