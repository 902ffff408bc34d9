/* fuse_cuda.h - the fusion rules for a batch of images on the GPU; the same integers as fusion/fuse.h. */
#pragma once
#include <cuda_runtime_api.h>

#include "fusion/fuse.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The fused maps of n_images images, one launch whichever the rule. Returns cudaGetLastError().
 *
 * limits     in                     of opts and T (prle_fuse_limits_make, which checks opts, T, H and W)
 * q          in   [n_images,T,H,W]  0 ... 32768
 * value      out  [n_images,H,W]    on the scale where 1.0 is 32768 T: for prle_rank_from_values_cuda
 * attention  out  [n_images,H,W]    8 bits; may be NULL
 *
 * Moves per pixel, at least: 2 T bytes in, 5 out (4 without attention). Windows are read through the cache, which holds the few
 * rows of T maps that neighbouring blocks share.
 */
cudaError_t prle_fuse_cuda(const prle_fuse_opts *opts, const prle_fuse_limits *limits, const uint16_t *q, int64_t n_images, int T,
                           int64_t H, int64_t W, uint32_t *value, uint8_t *attention, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
