/* batch_norm_cuda.cu - batch normalisation: two sweeps over the image each way, with a small kernel between them that puts
 * together what blocks have left, in double and in a fixed order.
 *
 * The second sweep goes from the last row to the first: what the first one read last is still in the second cache.
 *
 * Statistics are as exact as the elements: a thread takes ROWS values at a time about their own mean, and means and squares are
 * joined pairwise (Chan, Golub, LeVeque 1979) within the thread, within the block, between blocks. */
#include "core/op/util_cuda.cuh"

enum { ROWS = 8 };

/* ---- statistics ---- */

/* mean, m2 of n values <- those joined with the ones of n_other values. */
__device__ static inline void join(float &mean, float &m2, float n, float other_mean, float other_m2, float n_other)
{
    const float share = n_other / fmaxf(n + n_other, 1), d = other_mean - mean;

    mean = fmaf(d, share, mean);
    m2 += fmaf(d * d, n * share, other_m2);
}

/* K rows, `step` apart, less `shift`, joined to mean, m2 [N] of n values. */
template <int K, int N, typename T>
__device__ static inline void join_rows(float (&mean)[N], float (&m2)[N], float &n, const T *x, const float (&shift)[N],
                                        int64_t step)
{
    float v[K][N];

#pragma unroll
    for (int i = 0; i < K; i++)
        load(v[i], x + i * step);
#pragma unroll
    for (int k = 0; k < N; k++) {
        float sum = 0, square = 0;
#pragma unroll
        for (int i = 0; i < K; i++) {
            v[i][k] -= shift[k];
            sum += v[i][k];
        }
        sum *= 1.0F / K;
#pragma unroll
        for (int i = 0; i < K; i++)
            square = fmaf(v[i][k] - sum, v[i][k] - sum, square);
        join(mean[k], m2[k], n, sum, square, K);
    }
    n += K;
}

/* mean, m2 joined over threadIdx.y, n too; valid where threadIdx.y is 0. */
template <int N> __device__ static inline void join_block(float (&mean)[N], float (&m2)[N], float &n)
{
    __shared__ float shared[TILE_THREADS / 2 * (2 * N + 1)];
    const int width = blockDim.x;

    for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
        float *place = shared + threadIdx.y % half * (2 * N + 1) * width + threadIdx.x;
        if (threadIdx.y >= half && threadIdx.y < 2 * half) {
#pragma unroll
            for (int k = 0; k < N; k++) {
                place[k * width] = mean[k];
                place[(N + k) * width] = m2[k];
            }
            place[2 * N * width] = n;
        }
        __syncthreads();
        if (threadIdx.y < half) {
            const float other = place[2 * N * width];
#pragma unroll
            for (int k = 0; k < N; k++)
                join(mean[k], m2[k], n, place[k * width], place[(N + k) * width], other);
            n += other;
        }
        __syncthreads();
    }
}

/* means, squares [blocks, C], counts [blocks]: each block's. Means are those of what values differ by from the first one, so that
 * they are exact where a mean is many deviations away from zero. */
template <int N, typename T>
static __global__ void __launch_bounds__(TILE_THREADS, 1)
    statistics(float *means, float *squares, float *counts, const T *x, int64_t rows, int64_t C)
{
    const int64_t c = tile_channel<N>(), step = tile_step();
    int64_t row = tile_row();
    float mean[N] = {0}, m2[N] = {0}, shift[N], n = 0;

    if (c < C) {
        load(shift, x + c);
        for (; row + (ROWS - 1) * step < rows; row += ROWS * step)
            join_rows<ROWS>(mean, m2, n, x + row * C + c, shift, step * C);
        for (; row < rows; row += step)
            join_rows<1>(mean, m2, n, x + row * C + c, shift, step * C);
    }
    join_block(mean, m2, n);
    if (threadIdx.y > 0 || c >= C)
        return;
#pragma unroll
    for (int k = 0; k < N; k++) {
        means[blockIdx.x * C + c + k] = mean[k];
        squares[blockIdx.x * C + c + k] = m2[k];
    }
    if (c == 0)
        counts[blockIdx.x] = n;
}

/* What both passes need of a channel: prle_cuda_norm. */
__device__ static void norm_set(const prle_cuda_norm &norm, int64_t c, double mean, double var, double eps, float gamma,
                                float beta)
{
    const double invstd = 1 / sqrt(var + eps), scale = (double)gamma * invstd;
    const float rounded = (float)mean;
    const double rest = (double)rounded - mean;

    norm.mean[c] = rounded;
    norm.rest[c] = (float)rest;
    norm.scale[c] = (float)scale;
    norm.shift[c] = (float)((double)beta + rest * scale);
    norm.invstd[c] = (float)invstd;
}

typedef struct parts {
    const float *means, *squares, *counts;
    int64_t n, C;
    double total; /* values per channel */
} parts;

/* Mean and squares about it of channel c; all threads of the block call it. */
template <typename T>
__device__ static inline void parts_join(double &mean, double &square, const parts &p, const T *x, int64_t c, double *shared)
{
    double sum = 0;

    for (int64_t i = threadIdx.y; i < p.n && c < p.C; i += PART_LANES)
        sum += (double)p.means[i * p.C + c] * (double)p.counts[i];
    const double about = sum_over_lanes(sum, shared) / p.total; /* the first value */
    sum = 0;
    for (int64_t i = threadIdx.y; i < p.n && c < p.C; i += PART_LANES) {
        const double d = (double)p.means[i * p.C + c] - about;
        sum += (double)p.squares[i * p.C + c] + (double)p.counts[i] * d * d;
    }
    square = sum_over_lanes(sum, shared);
    mean = c < p.C ? (double)widen(x[c]) + about : 0;
}

/* What both passes need of a channel with `total` values, and the running statistics. */
__device__ static void channel_finish(const prle_cuda_norm &norm, const prle_cuda_affine &a, int64_t c, double mean,
                                      double square, double total)
{
    norm_set(norm, c, mean, square / total, a.eps, a.gamma[c], a.beta[c]);
    if (!a.moves)
        return;
    a.running_mean[c] = (float)((1 - a.momentum) * (double)a.running_mean[c] + a.momentum * mean);
    a.running_var[c] = (float)((1 - a.momentum) * (double)a.running_var[c] + a.momentum * square / (total > 1 ? total - 1 : 1));
}

template <typename T>
static __global__ void __launch_bounds__(PART_CHANNELS *PART_LANES)
    statistics_of_parts(prle_cuda_norm norm, parts p, const T *x, prle_cuda_affine a)
{
    __shared__ double shared[PART_CHANNELS * PART_LANES];
    const int64_t c = (int64_t)blockIdx.x * PART_CHANNELS + threadIdx.x;
    double mean, square;

    parts_join(mean, square, p, x, c, shared);
    if (threadIdx.y == 0 && c < p.C)
        channel_finish(norm, a, c, mean, square, p.total);
}

/* ---- statistics of all ranks: two sums over them stand between these three ---- */

template <typename T>
static __global__ void __launch_bounds__(PART_CHANNELS *PART_LANES) statistics_of_rank(prle_cuda_ranks r, parts p, const T *x)
{
    __shared__ double shared[PART_CHANNELS * PART_LANES];
    const int64_t c = (int64_t)blockIdx.x * PART_CHANNELS + threadIdx.x;
    double mean, square;

    parts_join(mean, square, p, x, c, shared);
    if (threadIdx.y > 0 || c >= p.C)
        return;
    r.mean[c] = mean;
    r.square[c] = square;
    r.sums[c] = mean * p.total;
    if (c == 0)
        r.sums[p.C] = p.total;
}

static __global__ void squares_of_rank(prle_cuda_ranks r, int64_t C, double total)
{
    const int64_t c = flat_first();

    if (c < C) {
        const double d = r.mean[c] - r.sums[c] / r.sums[C];
        r.squares[c] = r.square[c] + total * d * d;
    }
}

static __global__ void statistics_of_ranks(prle_cuda_norm norm, prle_cuda_ranks r, prle_cuda_affine a, double *count, int64_t C)
{
    const int64_t c = flat_first();

    if (c < C)
        channel_finish(norm, a, c, r.sums[c] / r.sums[C], r.squares[c], r.sums[C]);
    if (c == 0)
        *count = r.sums[C];
}

static __global__ void statistics_running(prle_cuda_norm norm, prle_cuda_affine a, int64_t C)
{
    const int64_t c = flat_first();

    if (c < C)
        norm_set(norm, c, (double)a.running_mean[c], (double)a.running_var[c], a.eps, a.gamma[c], a.beta[c]);
}

/* ---- scratch: [2 blocks C] parts, [blocks] counts forward; [2 blocks C] parts, slope [C], offset [C] backward ---- */

static int64_t blocks_of(prle_cuda_rows z) { return tile_most(z.rows, z.C, z.dtype, ROWS); }

size_t prle_norm_cuda_scratch(prle_cuda_rows z) { return (size_t)(blocks_of(z) * (2 * z.C + 1) + 2 * z.C) * sizeof(float); }

/* Each block's statistics in scratch, then f(what they are, x in its type). */
template <typename F>
static cudaError_t statistics_queue(const void *x, prle_cuda_rows z, void *scratch, cudaStream_t stream, F f)
{
    return by_element(z.dtype, rows_are_wide(z.C, z.dtype, x), [=](auto e) {
        using T = typename decltype(e)::type;
        const tile t = tile_of(z.rows, z.C, decltype(e)::n, ROWS);
        float *means = (float *)scratch, *squares = means + t.grid.x * z.C, *counts = squares + t.grid.x * z.C;
        statistics<decltype(e)::n><<<t.grid, t.block, 0, stream>>>(means, squares, counts, (const T *)x, z.rows, z.C);
        f(parts{means, squares, counts, t.grid.x, z.C, (double)z.rows}, (const T *)x);
        return cudaGetLastError();
    });
}

cudaError_t prle_norm_batch_cuda(const prle_cuda_norm *norm, const void *x, const prle_cuda_affine *affine, prle_cuda_rows z,
                                 void *scratch, cudaStream_t stream)
{
    const prle_cuda_norm to = *norm;
    const prle_cuda_affine a = *affine;

    return statistics_queue(x, z, scratch, stream, [=](parts p, auto *typed) {
        statistics_of_parts<<<part_blocks(z.C), dim3(PART_CHANNELS, PART_LANES), 0, stream>>>(to, p, typed, a);
    });
}

static unsigned channel_blocks(int64_t C) { return (unsigned)ceil_div(C, FLAT_THREADS); }

cudaError_t prle_norm_rank_cuda(const prle_cuda_ranks *ranks, const void *x, prle_cuda_rows z, void *scratch, cudaStream_t stream)
{
    const prle_cuda_ranks r = *ranks;

    return statistics_queue(x, z, scratch, stream, [=](parts p, auto *typed) {
        statistics_of_rank<<<part_blocks(z.C), dim3(PART_CHANNELS, PART_LANES), 0, stream>>>(r, p, typed);
    });
}

cudaError_t prle_norm_rank_squares_cuda(const prle_cuda_ranks *ranks, prle_cuda_rows z, cudaStream_t stream)
{
    squares_of_rank<<<channel_blocks(z.C), FLAT_THREADS, 0, stream>>>(*ranks, z.C, (double)z.rows);
    return cudaGetLastError();
}

cudaError_t prle_norm_ranks_cuda(const prle_cuda_norm *norm, double *count, const prle_cuda_ranks *ranks,
                                 const prle_cuda_affine *affine, int64_t C, cudaStream_t stream)
{
    statistics_of_ranks<<<channel_blocks(C), FLAT_THREADS, 0, stream>>>(*norm, *ranks, *affine, count, C);
    return cudaGetLastError();
}

cudaError_t prle_norm_running_cuda(const prle_cuda_norm *norm, const prle_cuda_affine *affine, int64_t C, cudaStream_t stream)
{
    statistics_running<<<channel_blocks(C), FLAT_THREADS, 0, stream>>>(*norm, *affine, C);
    return cudaGetLastError();
}

/* ---- values ---- */

/* N channels' part of a [C] array. */
template <int N> __device__ static inline void channels(float (&to)[N], const float *from, int64_t c)
{
#pragma unroll
    for (int k = 0; k < N; k++)
        to[k] = from[c + k];
}

/* Before the relu; fused by hand, so that backward finds the same value. */
__device__ static inline float value_of(float x, float mean, float scale, float shift) { return fmaf(x - mean, scale, shift); }

template <int N, typename T>
static __global__ void apply(T *y, const T *x, const T *r, prle_cuda_norm norm, bool relu, int64_t rows, int64_t C)
{
    const int64_t c = tile_channel<N>();
    float mean[N], scale[N], shift[N];

    if (c >= C)
        return;
    channels(mean, norm.mean, c);
    channels(scale, norm.scale, c);
    channels(shift, norm.shift, c);
    for (int64_t row = rows - 1 - tile_row(); row >= 0; row -= tile_step()) {
        float v[N], add[N] = {0};
        load(v, x + row * C + c);
        if (r != NULL)
            load(add, r + row * C + c);
#pragma unroll
        for (int k = 0; k < N; k++) {
            v[k] = value_of(v[k], mean[k], scale[k], shift[k]) + add[k];
            v[k] = relu && v[k] < 0 ? 0 : v[k]; /* NaN stays */
        }
        store(y + row * C + c, v);
    }
}

cudaError_t prle_norm_apply_cuda(void *y, const void *x, const void *r, const prle_cuda_norm *norm, bool relu, prle_cuda_rows z,
                                 cudaStream_t stream)
{
    const prle_cuda_norm of = *norm;

    return by_element(z.dtype, rows_are_wide(z.C, z.dtype, y, x, r), [=](auto e) {
        using T = typename decltype(e)::type;
        const tile t = tile_of(z.rows, z.C, decltype(e)::n, 4);
        apply<decltype(e)::n><<<t.grid, t.block, 0, stream>>>((T *)y, (const T *)x, (const T *)r, of, relu, z.rows, z.C);
        return cudaGetLastError();
    });
}

/* ---- gradients ---- */

/* The tensors of prle_cuda_norm_gradient in their type. */
template <typename T> struct gradient {
    const T *x, *y, *dy;
    bool relu;
};

/* What a thread needs of its channels to tell where the relu was open. */
template <int N> struct gate {
    float mean[N], scale[N], shift[N];
};

/* x - mean, and d: the gradient of the value before the relu. */
template <int N, typename T>
__device__ static inline void gated(float (&centred)[N], float (&d)[N], const gradient<T> &g, const gate<N> &of, int64_t at)
{
    float y[N];

    load(centred, g.x + at);
    load(d, g.dy + at);
    if (g.y != NULL)
        load(y, g.y + at);
#pragma unroll
    for (int k = 0; k < N; k++) {
        const float value = g.y != NULL ? y[k] : value_of(centred[k], of.mean[k], of.scale[k], of.shift[k]);
        d[k] = g.relu && !(value > 0) ? 0 : d[k];
        centred[k] -= of.mean[k];
    }
}

template <int N> __device__ static inline void gate_load(gate<N> &of, const prle_cuda_norm &norm, int64_t c)
{
    channels(of.mean, norm.mean, c);
    channels(of.scale, norm.scale, c);
    channels(of.shift, norm.shift, c);
}

/* parts [2, blocks, C]: each block's sum of d, and of d (x - mean). */
template <int N, typename T>
static __global__ void __launch_bounds__(TILE_THREADS, 1)
    gradient_sums(float *parts, gradient<T> g, prle_cuda_norm norm, int64_t rows, int64_t C)
{
    __shared__ float shared[TILE_THREADS / 2 * 2 * N];
    const int64_t c = tile_channel<N>();
    float sums[2 * N] = {0};

    if (c < C) {
        gate<N> of;
        gate_load(of, norm, c);
        for (int64_t row = tile_row(); row < rows; row += tile_step()) {
            float centred[N], d[N];
            gated(centred, d, g, of, row * C + c);
#pragma unroll
            for (int k = 0; k < N; k++) {
                sums[k] += d[k];
                sums[N + k] = fmaf(d[k], centred[k], sums[N + k]);
            }
        }
    }
    sum_over_rows(sums, shared);
    if (threadIdx.y > 0 || c >= C)
        return;
#pragma unroll
    for (int k = 0; k < N; k++) {
        parts[blockIdx.x * C + c + k] = sums[k];
        parts[(gridDim.x + blockIdx.x) * C + c + k] = sums[N + k];
    }
}

/* A channel's sum of d, and of d (x - the exact mean); all threads of the block call it. */
__device__ static inline void gradient_join(double &sum, double &dot, const prle_cuda_norm &norm, const float *from, int64_t n,
                                            int64_t C, int64_t c, double *shared)
{
    sum = sum_of_parts(from, n, C, c, shared);
    dot = sum_of_parts(from + n * C, n, C, c, shared) + (c < C ? (double)norm.rest[c] * sum : 0);
}

/* Of dx = ((d - offset) + (x - mean) slope) scale, where sum and dot are of `total` values. */
__device__ static inline void slope_set(float *slope, float *offset, const prle_cuda_norm &norm, int64_t c, double sum,
                                        double dot, double total)
{
    const double invstd = (double)norm.invstd[c], by = -invstd * invstd * dot / total;

    slope[c] = (float)by;
    offset[c] = (float)(sum / total - (double)norm.rest[c] * by);
}

/* The parameters' gradients, and either slope and offset, or sums [2,C] for all ranks. */
static __global__ void __launch_bounds__(PART_CHANNELS *PART_LANES)
    gradient_sums_of_parts(float *slope, float *offset, double *sums, float *dgamma, float *dbeta, prle_cuda_norm norm,
                           const float *from, int64_t n, int64_t C, double total)
{
    __shared__ double shared[PART_CHANNELS * PART_LANES];
    const int64_t c = (int64_t)blockIdx.x * PART_CHANNELS + threadIdx.x;
    double sum, dot;

    gradient_join(sum, dot, norm, from, n, C, c, shared);
    if (threadIdx.y > 0 || c >= C)
        return;
    if (dgamma != NULL)
        dgamma[c] = (float)(dot * (double)norm.invstd[c]);
    if (dbeta != NULL)
        dbeta[c] = (float)sum;
    if (sums != NULL) {
        sums[c] = sum;
        sums[C + c] = dot;
    } else {
        slope_set(slope, offset, norm, c, sum, dot, total);
    }
}

static __global__ void gradient_of_ranks(float *slope, float *offset, prle_cuda_norm norm, const double *sums,
                                         const double *count, int64_t C)
{
    const int64_t c = flat_first();

    if (c < C)
        slope_set(slope, offset, norm, c, sums[c], sums[C + c], *count);
}

/* Offset and slope stand behind the parts of the most blocks there may be. */
static float *slope_of(prle_cuda_rows z, const void *scratch) { return (float *)scratch + blocks_of(z) * 2 * z.C; }

cudaError_t prle_norm_sums_cuda(float *dgamma, float *dbeta, double *sums, const prle_cuda_norm *norm,
                                const prle_cuda_norm_gradient *g, prle_cuda_rows z, void *scratch, cudaStream_t stream)
{
    const prle_cuda_norm of = *norm;
    const prle_cuda_norm_gradient from = *g;

    return by_element(z.dtype, rows_are_wide(z.C, z.dtype, g->x, g->y, g->dy), [=](auto e) {
        using T = typename decltype(e)::type;
        const tile t = tile_of(z.rows, z.C, decltype(e)::n, ROWS);
        const gradient<T> typed = {(const T *)from.x, (const T *)from.y, (const T *)from.dy, from.relu};
        float *parts = (float *)scratch, *slope = slope_of(z, scratch);
        gradient_sums<decltype(e)::n><<<t.grid, t.block, 0, stream>>>(parts, typed, of, z.rows, z.C);
        gradient_sums_of_parts<<<part_blocks(z.C), dim3(PART_CHANNELS, PART_LANES), 0, stream>>>(
            slope, slope + z.C, sums, dgamma, dbeta, of, parts, t.grid.x, z.C, (double)z.rows);
        return cudaGetLastError();
    });
}

cudaError_t prle_norm_ranks_sums_cuda(const double *sums, const double *count, const prle_cuda_norm *norm, prle_cuda_rows z,
                                      void *scratch, cudaStream_t stream)
{
    float *slope = slope_of(z, scratch);

    gradient_of_ranks<<<channel_blocks(z.C), FLAT_THREADS, 0, stream>>>(slope, slope + z.C, *norm, sums, count, z.C);
    return cudaGetLastError();
}

/* slope, offset NULL: frozen. */
template <int N, typename T>
static __global__ void __launch_bounds__(TILE_THREADS, 3)
    input_gradient(T *dx, T *dr, gradient<T> g, prle_cuda_norm norm, const float *slopes, const float *offsets, int64_t rows,
                   int64_t C)
{
    const int64_t c = tile_channel<N>();
    float slope[N] = {0}, offset[N] = {0};
    gate<N> of;

    if (c >= C)
        return;
    gate_load(of, norm, c);
    if (slopes != NULL) {
        channels(slope, slopes, c);
        channels(offset, offsets, c);
    }
    for (int64_t row = rows - 1 - tile_row(); row >= 0; row -= tile_step()) {
        float centred[N], d[N];
        gated(centred, d, g, of, row * C + c);
        if (dr != NULL)
            store(dr + row * C + c, d);
#pragma unroll
        for (int k = 0; k < N; k++)
            d[k] = fmaf(centred[k], slope[k], d[k] - offset[k]) * of.scale[k];
        if (dx != NULL)
            store(dx + row * C + c, d);
    }
}

cudaError_t prle_norm_input_gradient_cuda(void *dx, void *dr, const prle_cuda_norm *norm, bool frozen,
                                          const prle_cuda_norm_gradient *g, prle_cuda_rows z, const void *scratch,
                                          cudaStream_t stream)
{
    const prle_cuda_norm of = *norm;
    const prle_cuda_norm_gradient from = *g;
    const bool wide = rows_are_wide(z.C, z.dtype, g->x, g->y, g->dy, dx, dr);
    const float *slope = frozen ? NULL : slope_of(z, scratch);

    return by_element(z.dtype, wide, [=](auto e) {
        using T = typename decltype(e)::type;
        const tile t = tile_of(z.rows, z.C, decltype(e)::n, 4);
        const gradient<T> typed = {(const T *)from.x, (const T *)from.y, (const T *)from.dy, from.relu};
        input_gradient<decltype(e)::n>
            <<<t.grid, t.block, 0, stream>>>((T *)dx, (T *)dr, typed, of, slope, slope == NULL ? NULL : slope + z.C, z.rows, z.C);
        return cudaGetLastError();
    });
}
