/* fold_cuda.cu - see fold_cuda.h: a block for each output channel. */
#include "core/op/fold_cuda.h"

enum { THREADS = 128 };

static __global__ void fold_kernel(prle_fold_args a)
{
    const int64_t k = blockIdx.x, first = k * a.per_k;
    const float *weight = (const float *)a.weight + first;
    float *to = (float *)a.to + first;
    const double s = (double)((const float *)a.gamma)[k] / sqrt((double)((const float *)a.var)[k] + a.eps);

    for (int64_t i = threadIdx.x; i < a.per_k; i += THREADS)
        to[i] = (float)((double)weight[i] * s);
    if (threadIdx.x == 0) {
        const double bias = a.bias != NULL ? (double)((const float *)a.bias)[k] : 0;
        ((float *)a.to_bias)[k] = (float)((double)((const float *)a.beta)[k] + (bias - (double)((const float *)a.mean)[k]) * s);
    }
}

cudaError_t prle_fold_cuda(const prle_fold_args *args, cudaStream_t stream)
{
    fold_kernel<<<(unsigned)args->k, THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}
