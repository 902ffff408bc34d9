/* util_cuda.cuh - what the kernels of the operators share: accesses of 16 bytes in either element type, threads laid over rows of
 * channels, sums over rows in a fixed order. A row is the channels of one pixel; its element c lies at row C + c. */
#pragma once
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdint.h>

#include "core/op/kernels_cuda.h"

/* ---- elements ---- */

/* N neighbours, one access. */
template <typename T, int N> struct alignas(sizeof(T) * N) run_of {
    T at[N];
};

__device__ inline float widen(float v) { return v; }
__device__ inline float widen(__nv_bfloat16 v) { return __bfloat162float(v); }

/* To nearest, ties to even. */
__device__ inline void narrow(float &to, float v) { to = v; }
__device__ inline void narrow(__nv_bfloat16 &to, float v) { to = __float2bfloat16_rn(v); }

template <int N, typename T> __device__ inline void load(float (&to)[N], const T *from)
{
    const run_of<T, N> r = *(const run_of<T, N> *)from;
#pragma unroll
    for (int i = 0; i < N; i++)
        to[i] = widen(r.at[i]);
}

template <int N, typename T> __device__ inline void store(T *to, const float (&from)[N])
{
    run_of<T, N> r;
#pragma unroll
    for (int i = 0; i < N; i++)
        narrow(r.at[i], from[i]);
    *(run_of<T, N> *)to = r;
}

/* An element type and how many of them an access takes, as a value that picks a template. */
template <typename T, int N> struct element {
    using type = T;
    static constexpr int n = N;
};

/* f(element): of that type, in accesses of 16 bytes or one by one. */
template <typename F> static cudaError_t by_element(prle_dtype dtype, bool wide, F f)
{
    if (dtype == PRLE_BF16)
        return wide ? f(element<__nv_bfloat16, 8>()) : f(element<__nv_bfloat16, 1>());
    return wide ? f(element<float, 4>()) : f(element<float, 1>());
}

/* Elements in 16 bytes. */
static inline int64_t run_length(prle_dtype dtype) { return dtype == PRLE_BF16 ? 8 : 4; }

static inline bool aligned_16(const void *p) { return (uintptr_t)p % 16 == 0; } /* NULL is */

/* Rows of C channels can be taken 16 bytes at a time. */
static inline bool rows_are_wide(int64_t C, prle_dtype dtype, const void *a, const void *b = NULL, const void *c = NULL,
                                 const void *d = NULL, const void *e = NULL)
{
    return C % run_length(dtype) == 0 && aligned_16(a) && aligned_16(b) && aligned_16(c) && aligned_16(d) && aligned_16(e);
}

static inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t at_most(int64_t a, int64_t limit) { return a < limit ? a : limit; }

/* ---- elements one after the other ---- */

enum { FLAT_THREADS = 256, FLAT_MOST_BLOCKS = 4096 };

static inline unsigned flat_blocks(int64_t n)
{
    return (unsigned)at_most(ceil_div(n > 0 ? n : 1, FLAT_THREADS), FLAT_MOST_BLOCKS);
}

__device__ inline int64_t flat_first(void) { return (int64_t)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ inline int64_t flat_step(void) { return (int64_t)gridDim.x * blockDim.x; }

/* ---- threads over rows and channels ---- */

enum { TILE_THREADS = 256, TILE_LANES = 32, TILE_BLOCKS = 1024 };

/* threadIdx.x: channels, n at a time; threadIdx.y: rows. */
typedef struct tile {
    dim3 grid, block;
} tile;

/* A block takes at least `least` rows per thread, and there are about TILE_BLOCKS blocks at most: the same on every GPU, and so
 * are sums. */
static inline tile tile_of(int64_t rows, int64_t C, int n, int least)
{
    int64_t lanes = 1;

    while (lanes * n < C && lanes < TILE_LANES)
        lanes *= 2;
    const int64_t high = TILE_THREADS / lanes, across = ceil_div(C, lanes * n);
    const int64_t most = across < TILE_BLOCKS ? TILE_BLOCKS / across : 1, wanted = ceil_div(rows > 0 ? rows : 1, high * least);
    tile t;

    t.block = dim3((unsigned)lanes, (unsigned)high);
    t.grid = dim3((unsigned)at_most(wanted, most), (unsigned)across);
    return t;
}

/* Blocks along rows, whether elements are taken 16 bytes at a time or one by one. */
static inline int64_t tile_most(int64_t rows, int64_t C, prle_dtype dtype, int least)
{
    const int64_t one = tile_of(rows, C, 1, least).grid.x, wide = tile_of(rows, C, (int)run_length(dtype), least).grid.x;

    return one > wide ? one : wide;
}

/* The first channel of this thread, its first row and the step to its next one, where blocks take rows in turn. */
template <int N> __device__ inline int64_t tile_channel(void) { return ((int64_t)blockIdx.y * blockDim.x + threadIdx.x) * N; }
__device__ inline int64_t tile_row(void) { return (int64_t)blockIdx.x * blockDim.y + threadIdx.y; }
__device__ inline int64_t tile_step(void) { return (int64_t)gridDim.x * blockDim.y; }

/* ---- threads over one image at a time: blockIdx.z is the sample ---- */

enum { IMAGE_THREADS = 1024, IMAGE_ROWS = 4 };

/* Blocks along the pixels of each sample. */
static inline tile image_tile(const prle_cuda_image *z, int n)
{
    tile t = tile_of(z->plane, z->C, n, 4);

    t.grid.z = (unsigned)z->batch;
    return t;
}

/* One block takes all pixels of its channels, for a sum over them: tall, and with IMAGE_ROWS loads of each thread under way,
 * since there are few such blocks. */
static inline tile sample_tile(const prle_cuda_image *z, int n)
{
    tile t = tile_of(1, z->C, n, 1);

    while (t.block.x * t.block.y < IMAGE_THREADS && t.block.y * IMAGE_ROWS < z->plane)
        t.block.y *= 2;
    t.grid.z = (unsigned)z->batch;
    return t;
}

/* load, or zeros. */
template <int N, typename T> __device__ inline void load_if(bool is_there, float (&to)[N], const T *from)
{
#pragma unroll
    for (int k = 0; k < N; k++)
        to[k] = 0;
    if (is_there)
        load(to, from);
}

/* The sum over threadIdx.y of each of K values, in a fixed tree; valid where threadIdx.y is 0. All threads of the block call it;
 * shared [K * half the threads of a block]. */
template <int K> __device__ inline void sum_over_rows(float (&value)[K], float *shared)
{
    for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
        if (threadIdx.y >= half && threadIdx.y < 2 * half)
#pragma unroll
            for (int k = 0; k < K; k++)
                shared[((threadIdx.y - half) * K + k) * blockDim.x + threadIdx.x] = value[k];
        __syncthreads();
        if (threadIdx.y < half)
#pragma unroll
            for (int k = 0; k < K; k++)
                value[k] += shared[(threadIdx.y * K + k) * blockDim.x + threadIdx.x];
        __syncthreads();
    }
}

/* ---- the parts that blocks leave, put together by a second kernel with blocks of (PART_CHANNELS, PART_LANES) ---- */

enum { PART_CHANNELS = 16, PART_LANES = 32 };

static inline unsigned part_blocks(int64_t C) { return (unsigned)ceil_div(C, PART_CHANNELS); }

/* The sum of one double of every thread over threadIdx.y, for all of them. shared [PART_CHANNELS PART_LANES]. */
__device__ inline double sum_over_lanes(double value, double *shared)
{
    double *column = shared + threadIdx.x;

    __syncthreads(); /* of an earlier use */
    column[threadIdx.y * PART_CHANNELS] = value;
    __syncthreads();
    for (unsigned half = PART_LANES / 2; half > 0; half /= 2) {
        if (threadIdx.y < half)
            column[threadIdx.y * PART_CHANNELS] += column[(threadIdx.y + half) * PART_CHANNELS];
        __syncthreads();
    }
    return column[0];
}

/* sum over p < parts of from[p C + c]; c may be past the end. */
__device__ inline double sum_of_parts(const float *from, int64_t parts, int64_t C, int64_t c, double *shared)
{
    double sum = 0;

    for (int64_t p = threadIdx.y; p < parts && c < C; p += PART_LANES)
        sum += (double)from[p * C + c];
    return sum_over_lanes(sum, shared);
}
