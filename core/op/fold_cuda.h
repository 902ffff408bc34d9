/* fold_cuda.h - fold.h on the GPU. */
#pragma once
#include <cuda_runtime_api.h>

#include "core/op/fold.h"

#ifdef __cplusplus
extern "C" {
#endif

/** F32 only, pointers of the GPU; queues on stream, returns cudaGetLastError(). Moves at least 8 k per_k bytes. */
cudaError_t prle_fold_cuda(const prle_fold_args *args, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
