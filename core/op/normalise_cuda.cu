/* normalise_cuda.cu - bytes to numbers on the GPU: 16 values a thread and turn. */
#include <cuda_bf16.h>

#include "core/op/kernels_cuda.h"

enum { THREADS = 256, GROUP = 16, TURNS = 8, BYTES = 256 };

__device__ static void put(float *out, float value) { *out = value; }
__device__ static void put(__nv_bfloat16 *out, float value) { *out = __float2bfloat16_rn(value); }

/* A group of values as one or more 16-byte words. */
template <class T> union group {
    T value[GROUP];
    uint4 word[GROUP * sizeof(T) / sizeof(uint4)];
    __device__ group() {}
};

/* Values first ... first + 15; `channel` of the first. */
template <class T> __device__ static void group_run(const float *table, const uint8_t *in, T *out, int channel)
{
    group<uint8_t> bytes;
    group<T> values;

    bytes.word[0] = *(const uint4 *)in;
#pragma unroll
    for (int i = 0; i < GROUP; i++) {
        const int c = channel + i % 3;
        put(&values.value[i], table[(c < 3 ? c : c - 3) * BYTES + bytes.value[i]]);
    }
#pragma unroll
    for (int i = 0; i < (int)(sizeof values.word / sizeof *values.word); i++)
        ((uint4 *)out)[i] = values.word[i];
}

template <class T>
__global__ void __launch_bounds__(THREADS) normalise_bytes(const float *table, const uint8_t *in, int64_t n_values, T *out)
{
    __shared__ float own[3 * BYTES];

    for (int i = threadIdx.x; i < 3 * BYTES; i += THREADS)
        own[i] = table[i];
    __syncthreads();
    for (int turn = 0; turn < TURNS; turn++) {
        const int64_t at = (((int64_t)blockIdx.x * TURNS + turn) * THREADS + threadIdx.x) * GROUP;
        if (at + GROUP <= n_values)
            group_run(own, in + at, out + at, (int)(at % 3));
        else
            for (int64_t i = at; i < n_values; i++)
                put(&out[i], own[i % 3 * BYTES + in[i]]);
    }
}

cudaError_t prle_normalise_cuda(const float *table, const uint8_t *in, int64_t n, void *out, prle_dtype dtype,
                                cudaStream_t stream)
{
    const int64_t of_block = (int64_t)THREADS * GROUP * TURNS;
    const unsigned blocks = (unsigned)((3 * n + of_block - 1) / of_block);

    if (dtype == PRLE_F64)
        return cudaErrorInvalidValue;
    if (n > 0 && dtype == PRLE_F32)
        normalise_bytes<<<blocks, THREADS, 0, stream>>>(table, in, 3 * n, (float *)out);
    else if (n > 0)
        normalise_bytes<<<blocks, THREADS, 0, stream>>>(table, in, 3 * n, (__nv_bfloat16 *)out);
    return cudaGetLastError();
}
