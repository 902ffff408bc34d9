/* pool_cuda.cu - pooling over windows and over whole images. The gradient of a pixel is gathered from the windows that it is in:
 * no atomics, and one order of the sums. */
#include "core/op/util_cuda.cuh"

/* ---- windows ---- */

/* Along one axis of `size` pixels: which pixels a window has, which windows a pixel is in. */
struct axis {
    int size, n_windows, kernel, stride, pad, bins;

    /* The window's first tap, which may be padding, and the pixels [first, last) that it has. */
    __device__ int start(int p) const { return bins > 0 ? (int)((int64_t)p * size / bins) : p * stride - pad; }
    __device__ int first(int p) const { return max(start(p), 0); }
    __device__ int last(int p) const
    {
        return bins > 0 ? (int)(((int64_t)(p + 1) * size + bins - 1) / bins) : min(start(p) + kernel, size);
    }
    /* The windows [lowest, highest) among which those with pixel h are. */
    __device__ int lowest(int h) const { return bins > 0 ? 0 : max((h + pad - kernel + stride) / stride, 0); }
    __device__ int highest(int h) const { return bins > 0 ? bins : min((h + pad) / stride + 1, n_windows); }
};

struct pooling {
    axis rows, columns;
    bool max;
    int C;
    int64_t B;

    __device__ float area(int p, int q) const
    {
        const int pixels = (rows.last(p) - rows.first(p)) * (columns.last(q) - columns.first(q));
        return (float)(rows.bins > 0 ? pixels : rows.kernel * columns.kernel);
    }
};

static pooling pooling_of(const prle_cuda_pool *z)
{
    const int kernel = (int)z->attrs.kernel, stride = (int)z->attrs.stride, pad = (int)z->attrs.pad, bins = (int)z->attrs.bins;

    return pooling{axis{(int)z->H, (int)z->P, kernel, stride, pad, bins}, axis{(int)z->W, (int)z->Q, kernel, stride, pad, bins},
                   z->attrs.max, (int)z->C, z->B};
}

/* Of the elements [B, height, width, C / N], the one of this thread: fewer than 2^31, for 64-bit divisions take long. */
struct spot {
    int64_t pixel; /* of all samples */
    int b, h, w, c;
};

template <int N> __device__ static inline spot spot_of(unsigned i, unsigned height, unsigned width, unsigned C)
{
    const unsigned runs = C / N, pixel = i / runs, row = pixel / width;

    return spot{pixel, (int)(row / height), (int)(row % height), (int)(pixel % width), (int)(i % runs * N)};
}

/* One block at least: left to itself ptxas spills to keep more of them. Likewise in batch_norm_cuda.cu. */
template <int N, typename T>
static __global__ void __launch_bounds__(FLAT_THREADS, 1) pool_forward(T *y, uint8_t *where, const T *x, pooling z)
{
    const int64_t n = z.B * z.rows.n_windows * z.columns.n_windows * (z.C / N);

    for (int64_t i = flat_first(); i < n; i += flat_step()) {
        const spot s = spot_of<N>((unsigned)i, (unsigned)z.rows.n_windows, (unsigned)z.columns.n_windows, (unsigned)z.C);
        float best[N] = {0};
        run_of<uint8_t, N> at;
        bool fresh = true;

        for (int h = z.rows.first(s.h); h < z.rows.last(s.h); h++)
            for (int w = z.columns.first(s.w); w < z.columns.last(s.w); w++) {
                const int tap = (h - z.rows.start(s.h)) * z.columns.kernel + w - z.columns.start(s.w);
                float v[N];
                load(v, x + (((int64_t)s.b * z.rows.size + h) * z.columns.size + w) * z.C + s.c);
#pragma unroll
                for (int k = 0; k < N; k++) {
                    if (!z.max) {
                        best[k] += v[k];
                    } else if (fresh || v[k] > best[k] || v[k] != v[k]) { /* NaN wins, so that it is seen */
                        best[k] = v[k];
                        at.at[k] = (uint8_t)tap;
                    }
                }
                fresh = false;
            }
#pragma unroll
        for (int k = 0; k < N && !z.max; k++)
            best[k] /= z.area(s.h, s.w);
        store(y + s.pixel * z.C + s.c, best);
        if (where != NULL)
            *(run_of<uint8_t, N> *)(where + s.pixel * z.C + s.c) = at;
    }
}

template <int N, typename T>
static __global__ void __launch_bounds__(FLAT_THREADS, 1) pool_backward(T *dx, const uint8_t *where, const T *dy, pooling z)
{
    const int64_t n = z.B * z.rows.size * z.columns.size * (z.C / N);

    for (int64_t i = flat_first(); i < n; i += flat_step()) {
        const spot s = spot_of<N>((unsigned)i, (unsigned)z.rows.size, (unsigned)z.columns.size, (unsigned)z.C);
        float sum[N] = {0};

        for (int p = z.rows.lowest(s.h); p < z.rows.highest(s.h); p++)
            for (int q = z.columns.lowest(s.w); q < z.columns.highest(s.w); q++) {
                const int64_t at = (((int64_t)s.b * z.rows.n_windows + p) * z.columns.n_windows + q) * z.C + s.c;
                const int tap = (s.h - z.rows.start(p)) * z.columns.kernel + s.w - z.columns.start(q);
                run_of<uint8_t, N> won;
                float v[N];
                if (z.rows.bins > 0 &&
                    (s.h < z.rows.first(p) || s.h >= z.rows.last(p) || s.w < z.columns.first(q) || s.w >= z.columns.last(q)))
                    continue;
                load(v, dy + at);
                if (z.max)
                    won = *(const run_of<uint8_t, N> *)(where + at);
                const float area = z.max ? 1 : z.area(p, q);
#pragma unroll
                for (int k = 0; k < N; k++)
                    sum[k] += !z.max ? v[k] / area : won.at[k] == tap ? v[k] : 0;
            }
        store(dx + s.pixel * z.C + s.c, sum);
    }
}

cudaError_t prle_pool_forward_cuda(void *y, uint8_t *where, const void *x, const prle_cuda_pool *z, cudaStream_t stream)
{
    const pooling p = pooling_of(z);
    const int64_t n = z->B * z->P * z->Q * z->C;

    return by_element(z->dtype, rows_are_wide(z->C, z->dtype, y, x, where), [=](auto e) {
        using T = typename decltype(e)::type;
        pool_forward<decltype(e)::n>
            <<<flat_blocks(n / decltype(e)::n), FLAT_THREADS, 0, stream>>>((T *)y, where, (const T *)x, p);
        return cudaGetLastError();
    });
}

cudaError_t prle_pool_backward_cuda(void *dx, const uint8_t *where, const void *dy, const prle_cuda_pool *z, cudaStream_t stream)
{
    const pooling p = pooling_of(z);
    const int64_t n = z->B * z->H * z->W * z->C;

    return by_element(z->dtype, rows_are_wide(z->C, z->dtype, dx, dy, where), [=](auto e) {
        using T = typename decltype(e)::type;
        pool_backward<decltype(e)::n>
            <<<flat_blocks(n / decltype(e)::n), FLAT_THREADS, 0, stream>>>((T *)dx, where, (const T *)dy, p);
        return cudaGetLastError();
    });
}

/* ---- whole images: blockIdx.z is the sample ---- */

template <int N, typename T>
static __global__ void __launch_bounds__(IMAGE_THREADS) mean_forward(T *y, const T *x, int64_t plane, int64_t C)
{
    __shared__ float shared[IMAGE_THREADS / 2 * N];
    const int64_t c = tile_channel<N>();
    float sum[N] = {0};

    for (int64_t p = threadIdx.y; p < plane && c < C; p += IMAGE_ROWS * blockDim.y) {
        float v[IMAGE_ROWS][N];
#pragma unroll
        for (int i = 0; i < IMAGE_ROWS; i++)
            load_if(p + i * blockDim.y < plane, v[i], x + (blockIdx.z * plane + p + i * blockDim.y) * C + c);
#pragma unroll
        for (int i = 0; i < IMAGE_ROWS; i++)
#pragma unroll
            for (int k = 0; k < N; k++)
                sum[k] += v[i][k];
    }
    sum_over_rows(sum, shared);
    if (threadIdx.y > 0 || c >= C)
        return;
#pragma unroll
    for (int k = 0; k < N; k++)
        sum[k] /= (float)plane;
    store(y + blockIdx.z * C + c, sum);
}

template <int N, typename T> static __global__ void mean_backward(T *dx, const T *dy, int64_t plane, int64_t C)
{
    const int64_t c = tile_channel<N>();
    float share[N];

    if (c >= C)
        return;
    load(share, dy + blockIdx.z * C + c);
#pragma unroll
    for (int k = 0; k < N; k++)
        share[k] /= (float)plane;
    for (int64_t p = tile_row(); p < plane; p += tile_step())
        store(dx + (blockIdx.z * plane + p) * C + c, share);
}

cudaError_t prle_mean_cuda(void *y, const void *x, prle_cuda_image z, cudaStream_t stream)
{
    return by_element(z.dtype, rows_are_wide(z.C, z.dtype, y, x), [=](auto e) {
        using T = typename decltype(e)::type;
        const tile t = sample_tile(&z, decltype(e)::n);
        mean_forward<decltype(e)::n><<<t.grid, t.block, 0, stream>>>((T *)y, (const T *)x, z.plane, z.C);
        return cudaGetLastError();
    });
}

cudaError_t prle_mean_backward_cuda(void *dx, const void *dy, prle_cuda_image z, cudaStream_t stream)
{
    return by_element(z.dtype, rows_are_wide(z.C, z.dtype, dx, dy), [=](auto e) {
        using T = typename decltype(e)::type;
        const tile t = image_tile(&z, decltype(e)::n);
        mean_backward<decltype(e)::n><<<t.grid, t.block, 0, stream>>>((T *)dx, (const T *)dy, z.plane, z.C);
        return cudaGetLastError();
    });
}
