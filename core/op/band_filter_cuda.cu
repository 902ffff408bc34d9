/* band_filter_cuda.cu - a spectrum times learnt gains: a thread for each coefficient, which it weighs in all planes. */
#include "core/op/band_cuda.h"
#include "core/op/band_math.h"
#include "core/op/util_cuda.cuh"

/* blockIdx.y: the image. */
static __global__ void filter(float *y, const float *x, prle_cuda_band_filter z)
{
    const int64_t plane = z.H * z.W, i = flat_first(), b = blockIdx.y;

    if (i >= plane)
        return;
    for (int m = 0; m < z.bands.n; m++) {
        const float gain = band_gain(z.bands.band[m], i / z.W, i % z.W, z.w[m][i]);
        for (int64_t c = 0; c < z.C; c++)
            y[((b * z.bands.n + m) * z.C + c) * plane + i] = x[(b * z.C + c) * plane + i] * gain;
    }
}

/* One thread takes all images: their sums are in one order. */
static __global__ void filter_backward(float *dx, const float *x, const float *dy, prle_cuda_band_filter z)
{
    const int64_t plane = z.H * z.W, i = flat_first();
    float gain[PRLE_MAX_BANDS] = {0}, sum[PRLE_MAX_BANDS] = {0};

    if (i >= plane)
        return;
#pragma unroll
    for (int m = 0; m < PRLE_MAX_BANDS; m++)
        if (m < z.bands.n)
            gain[m] = band_gain(z.bands.band[m], i / z.W, i % z.W, z.w[m][i]);
    for (int64_t b = 0; b < z.B; b++)
        for (int64_t c = 0; c < z.C; c++) {
            const float v = x[(b * z.C + c) * plane + i];
            float d = 0;
#pragma unroll
            for (int m = 0; m < PRLE_MAX_BANDS; m++)
                if (m < z.bands.n) {
                    const float g = dy[((b * z.bands.n + m) * z.C + c) * plane + i];
                    d += g * gain[m];
                    sum[m] += v * g;
                }
            if (dx != NULL)
                dx[(b * z.C + c) * plane + i] = d;
        }
#pragma unroll
    for (int m = 0; m < PRLE_MAX_BANDS; m++)
        if (m < z.bands.n && z.dw[m] != NULL)
            z.dw[m][i] = sum[m] * band_gain_slope(z.w[m][i]);
}

cudaError_t prle_band_filter_cuda(float *y, const float *x, const prle_cuda_band_filter *z, cudaStream_t stream)
{
    const unsigned blocks = (unsigned)ceil_div(z->H * z->W, FLAT_THREADS);

    filter<<<dim3(blocks, (unsigned)z->B), FLAT_THREADS, 0, stream>>>(y, x, *z);
    return cudaGetLastError();
}

cudaError_t prle_band_filter_backward_cuda(float *dx, const float *x, const float *dy, const prle_cuda_band_filter *z,
                                           cudaStream_t stream)
{
    enum { THREADS = 64 }; /* few threads in all: spread over all multiprocessors */

    filter_backward<<<(unsigned)ceil_div(z->H * z->W, THREADS), THREADS, 0, stream>>>(dx, x, dy, *z);
    return cudaGetLastError();
}
