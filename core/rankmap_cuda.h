/* rankmap_cuda.h - rank maps of a batch on the GPU; the same integers as core/rankmap.h. */
#pragma once
#include <cuda_runtime_api.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * prle_rank_from_values of n_images images in one launch, one block each. Returns cudaGetLastError().
 *
 * value      in   [n_images,n]  0 ... max_value
 * n          in                 pixels of an image, 1 ... PRLE_RANK_MAX_PIXELS
 * max_value  in                 1 ... 2^21
 * scratch         [n_images,n]
 * rank       out  [n_images,n]
 * area       out  [n_images]
 *
 * Moves per image, at least: 4 n bytes of values in, 2 n of ranks out, and 8 |V| through scratch, which one of the two passes of
 * the sort hands to the other. Each pass reads its input twice, the second time from the cache.
 */
cudaError_t prle_rank_from_values_cuda(const uint32_t *value, int64_t n_images, int64_t n, uint32_t max_value, uint32_t *scratch,
                                       uint16_t *rank, uint32_t *area, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
