/* flat_cuda.h - kernels over whole flat buffers: what is done to all weights, gradients or statistics at once. Each launcher
 * queues on `stream` and returns cudaGetLastError(). */
#pragma once
#include <cuda_runtime_api.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** values [n] *= factor. Moves at least 8 n bytes. */
cudaError_t prle_scale_cuda(float *values, int64_t n, float factor, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
