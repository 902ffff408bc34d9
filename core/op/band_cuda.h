/* band_cuda.h - the kernels of F3-Net's learnt bands; pictures and spectra row-major in f32, as they come from the input. */
#pragma once
#include <cuda_runtime_api.h>

#include "core/op/band.h"
#include "core/op/local_spectrum.h"

#ifdef __cplusplus
extern "C" {
#endif

/** band_filter.h; the parameters and their gradients, NULL where not wanted. */
typedef struct prle_cuda_band_filter {
    prle_bands bands;
    int64_t B, C, H, W;
    const float *w[PRLE_MAX_BANDS];
    float *dw[PRLE_MAX_BANDS];
} prle_cuda_band_filter;

/** (1 + n) n_in floats, and the parameters. */
cudaError_t prle_band_filter_cuda(float *y, const float *x, const prle_cuda_band_filter *z, cudaStream_t stream);

/** dx NULL: not wanted. (1 + n + 1) n_in floats, and the parameters twice. */
cudaError_t prle_band_filter_backward_cuda(float *dx, const float *x, const float *dy, const prle_cuda_band_filter *z,
                                           cudaStream_t stream);

/** local_spectrum.h. D: [window,window] of dct.h, the GPU's memory. */
typedef struct prle_cuda_spectrum {
    prle_local_spectrum_attrs attrs;
    int64_t B, H, W, P, Q;
    const double *D;
    const float *w[PRLE_MAX_BANDS];
    float *dw[PRLE_MAX_BANDS];
} prle_cuda_spectrum;

enum { PRLE_CUDA_MAX_WINDOW = 16 };

/** (n_in + n_out) floats. scratch: prle_local_spectrum_cuda_scratch. */
cudaError_t prle_local_spectrum_cuda(float *y, const float *x, const prle_cuda_spectrum *z, void *scratch, cudaStream_t stream);

/** dx NULL: not wanted, as in training: it takes two launches for each image, and writes each window's part of it once. */
cudaError_t prle_local_spectrum_backward_cuda(float *dx, const float *x, const float *dy, const prle_cuda_spectrum *z,
                                              void *scratch, cudaStream_t stream);
size_t prle_local_spectrum_cuda_scratch(const prle_cuda_spectrum *z);

#ifdef __cplusplus
}
#endif
