/* normalise_cuda.h - bytes to the numbers that networks see, on the GPU; the same bits as augment/normalise.h. */
#pragma once
#include <cuda_runtime_api.h>
#include <stdint.h>

#include "core/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A batch of images, channels-last as they come from the store and as convolutions want them: out = table[c][in]. Returns
 * cudaGetLastError(); cudaErrorInvalidValue for an F64 out.
 *
 * table  in   [3,256]  prle_normaliser.f32, in the device's memory
 * in     in   [n,3]    RGB, n pixels of all images; 16-byte aligned
 * out    out  [n,3]    float (F32) or bfloat16 (BF16: the float rounded to nearest, ties to even); 16-byte aligned
 *
 * Moves 15 bytes per pixel (9 to bfloat16) at least, and the table (3 KiB) once per block of 32,768 values.
 */
cudaError_t prle_normalise_cuda(const float *table, const uint8_t *in, int64_t n, void *out, prle_dtype dtype,
                                cudaStream_t stream);

#ifdef __cplusplus
}
#endif
