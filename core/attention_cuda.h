/* attention_cuda.h - the arithmetic of attention maps for a batch on the GPU; the same bits as core/attention.h: double sums in
 * the same order, never contracted (the file is compiled with -fmad=false). Each launcher returns cudaGetLastError(). */
#pragma once
#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * prle_attention_quantise of n maps in one launch.
 *
 * map       in   [n,h,w]  in [0,1], checked by the caller
 * q         out  [H,W] of each map, `q_stride` elements from one to the next: one member's place in [n,T,H,W]
 *
 * Moves, per map and at least: 4 h w bytes in, 2 H W out.
 */
cudaError_t prle_attention_quantise_cuda(const float *map, int64_t n, int64_t h, int64_t w, int64_t H, int64_t W, uint16_t *q,
                                         int64_t q_stride, cudaStream_t stream);

/**
 * One of n_parts maps into their mean: out = [out +] prle_attention_resize(map) / n_parts, n images in one launch.
 *
 * map  in      [n,h,w]
 * out  in/out  [n,H,W]  overwritten with `first`
 *
 * Moves, per image and at least: 8 h w bytes in, 8 H W out, and 8 H W in again where not first.
 */
cudaError_t prle_attention_mean_cuda(const double *map, int64_t n, int64_t h, int64_t w, int64_t H, int64_t W, int n_parts,
                                     bool first, double *out, cudaStream_t stream);

/**
 * prle_attention_normalise of n maps in one launch, in place; one with a value that is not finite stays as it is.
 *
 * map  in/out  [n,pixels]
 *
 * Moves at least 16 bytes per pixel; reads each twice, the second time from the cache.
 */
cudaError_t prle_attention_normalise_cuda(double *map, int64_t n, int64_t pixels, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
