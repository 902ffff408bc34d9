/* dropout_cuda.cu - the draws of dropout_math.h, each by its own thread: a block of Philox holds those of two neighbours. What
 * changes from run to run is read from device memory, so that a captured launch draws anew. blockIdx.y: the sample. */
#include "core/op/dropout_math.h"
#include "core/op/util_cuda.cuh"

struct draws {
    uint64_t threshold; /* of 2^53: kept at or above it */
    uint32_t first_block;
    float scale;
    int64_t n, plane, C; /* elements of a sample */
    bool channels_last;
};

static draws draws_of(const prle_cuda_dropout *z)
{
    return draws{(uint64_t)ceil(z->attrs.p * 9007199254740992.0),
                 dropout_first_block(z->attrs.layer),
                 (float)(1.0 / (1.0 - z->attrs.p)),
                 z->image.plane * z->image.C,
                 z->image.plane,
                 z->image.C,
                 z->channels_last};
}

/* Draw number i of sample b. */
__device__ static inline bool keeps(const draws &z, const prle_cuda_run *run, int64_t b, int64_t i)
{
    uint32_t key[2], counter[4], words[4];

    rng_stream(key, counter, run->seed, run->epoch, run->samples[b], PRLE_RNG_DROPOUT);
    counter[0] = z.first_block + (uint32_t)(i / 2);
    rng_philox(words, counter, key);
    return (i % 2 == 0 ? rng_bits_53(words[0], words[1]) : rng_bits_53(words[2], words[3])) >= z.threshold;
}

/* Where element i of a sample stands in the row-major sample; below 2^31, for 64-bit divisions take long. */
__device__ static inline unsigned row_major(const draws &z, unsigned i)
{
    const unsigned C = (unsigned)z.C;

    return z.channels_last ? i % C * (unsigned)z.plane + i / C : i;
}

template <typename T> static __global__ void drop(T *y, uint8_t *kept, const T *x, draws z, const prle_cuda_run *run)
{
    const int64_t b = blockIdx.y, base = b * z.n;

    for (int64_t i = flat_first(); i < z.n; i += flat_step()) {
        const bool keep = keeps(z, run, b, row_major(z, (unsigned)i));
        kept[base + i] = keep;
        narrow(y[base + i], keep ? widen(x[base + i]) * z.scale : 0);
    }
}

template <typename T> static __global__ void drop_backward(T *dx, const uint8_t *kept, const T *dy, draws z)
{
    const int64_t base = blockIdx.y * z.n;

    for (int64_t i = flat_first(); i < z.n; i += flat_step())
        narrow(dx[base + i], kept[base + i] ? widen(dy[base + i]) * z.scale : 0);
}

/* Whole samples. run NULL: kept is there already, from the forward pass. */
template <int N, typename T>
static __global__ void drop_samples(T *y, uint8_t *kept, const T *x, draws z, const prle_cuda_run *run)
{
    const int64_t b = blockIdx.y;
    const bool keep = run != NULL ? keeps(z, run, b, 0) : kept[b] != 0;

    if (run != NULL && flat_first() == 0)
        kept[b] = keep;
    for (int64_t i = flat_first(); i < z.n / N; i += flat_step()) {
        float v[N];
        load(v, x + b * z.n + i * N);
#pragma unroll
        for (int k = 0; k < N; k++)
            v[k] = keep ? v[k] * z.scale : 0;
        store(y + b * z.n + i * N, v);
    }
}

static dim3 grid_of(const prle_cuda_dropout *z)
{
    return dim3(flat_blocks(ceil_div(z->image.plane * z->image.C, 4)), (unsigned)z->image.batch);
}

static cudaError_t whole_samples(void *y, uint8_t *kept, const void *x, const prle_cuda_dropout *z, const prle_cuda_run *run,
                                 cudaStream_t stream)
{
    const int64_t n = z->image.plane * z->image.C;

    return by_element(z->image.dtype, rows_are_wide(n, z->image.dtype, y, x), [=](auto e) {
        using T = typename decltype(e)::type;
        drop_samples<decltype(e)::n><<<grid_of(z), FLAT_THREADS, 0, stream>>>((T *)y, kept, (const T *)x, draws_of(z), run);
        return cudaGetLastError();
    });
}

cudaError_t prle_dropout_cuda(void *y, uint8_t *kept, const void *x, const prle_cuda_dropout *z, const prle_cuda_run *run,
                              cudaStream_t stream)
{
    if (z->attrs.per_sample)
        return whole_samples(y, kept, x, z, run, stream);
    if (z->image.dtype == PRLE_BF16)
        drop<<<grid_of(z), FLAT_THREADS, 0, stream>>>((__nv_bfloat16 *)y, kept, (const __nv_bfloat16 *)x, draws_of(z), run);
    else
        drop<<<grid_of(z), FLAT_THREADS, 0, stream>>>((float *)y, kept, (const float *)x, draws_of(z), run);
    return cudaGetLastError();
}

cudaError_t prle_dropout_backward_cuda(void *dx, const uint8_t *kept, const void *dy, const prle_cuda_dropout *z,
                                       cudaStream_t stream)
{
    if (z->attrs.per_sample)
        return whole_samples(dx, (uint8_t *)kept, dy, z, NULL, stream);
    if (z->image.dtype == PRLE_BF16)
        drop_backward<<<grid_of(z), FLAT_THREADS, 0, stream>>>((__nv_bfloat16 *)dx, kept, (const __nv_bfloat16 *)dy, draws_of(z));
    else
        drop_backward<<<grid_of(z), FLAT_THREADS, 0, stream>>>((float *)dx, kept, (const float *)dy, draws_of(z));
    return cudaGetLastError();
}
