/* flat_cuda.cu - see flat_cuda.h. Grid-stride loops: as many blocks as keep the memory busy, whatever n. */
#include "core/device/flat_cuda.h"

enum { THREADS = 256, MAX_BLOCKS = 2048 };

static unsigned blocks_for(int64_t n)
{
    const int64_t blocks = (n + THREADS - 1) / THREADS;

    return (unsigned)(blocks < MAX_BLOCKS ? blocks : (int64_t)MAX_BLOCKS);
}

static __global__ void scale_kernel(float *values, int64_t n, float factor)
{
    const int64_t stride = (int64_t)gridDim.x * blockDim.x;

    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += stride)
        values[i] *= factor;
}

cudaError_t prle_scale_cuda(float *values, int64_t n, float factor, cudaStream_t stream)
{
    if (n > 0)
        scale_kernel<<<blocks_for(n), THREADS, 0, stream>>>(values, n, factor);
    return cudaGetLastError();
}
