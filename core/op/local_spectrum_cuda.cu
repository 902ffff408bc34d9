/* local_spectrum_cuda.cu - local frequency statistics. A block takes TILE windows side by side of a row of one image: their strip
 * of pixels and its vertical transform, then the coefficients, all in shared memory and in double, with products and sums in the
 * reference's order and unfused: where the picture is flat a coefficient is nothing but rounding, and the logarithm shows it.
 *
 * The parameters' gradients: each block adds up its tiles in a fixed order, a second kernel the blocks'. The picture's gradient,
 * which only adversarial masks ask for, takes two kernels for each image: every window's part, then each pixel gathers its
 * windows'. */
#include "core/op/band_cuda.h"
#include "core/op/band_math.h"
#include "core/op/util_cuda.cuh"

enum { TILE = 8, THREADS = 128, MAX_K = PRLE_CUDA_MAX_WINDOW, SUM_BLOCKS = 512 };

__device__ static inline double times(double a, double b) { return __dmul_rn(a, b); }
__device__ static inline double plus(double a, double b) { return __dadd_rn(a, b); }

/* Doubles of shared memory: [K,strip] pixels, [K,strip] transformed, [TILE,K,K] coefficients. */
static __host__ __device__ int strip_of(int K, int stride) { return (TILE - 1) * stride + K; }
static size_t shared_bytes(int K, int stride) { return (size_t)(2 * K * strip_of(K, stride) + TILE * K * K) * sizeof(double); }

struct place {
    int K, stride, pad, n; /* bands */
    int tiles;             /* of a row of windows */
};

static __host__ __device__ place place_of(const prle_cuda_spectrum &z)
{
    return place{(int)z.attrs.window, (int)z.attrs.stride, (int)z.attrs.pad, z.attrs.bands.n, (int)((z.Q + TILE - 1) / TILE)};
}

/* g_m / number of coefficients in band m: [n,K,K]. */
static __global__ void gains_fill(double *gains, prle_cuda_spectrum z)
{
    const int K = (int)z.attrs.window, i = (int)flat_first(), m = blockIdx.y;
    int count = 0;

    if (i >= K * K)
        return;
    for (int k = 0; k < K * K; k++)
        count += prle_band_has(z.attrs.bands.band[m], k / K, k % K);
    gains[m * K * K + i] = (double)band_gain(z.attrs.bands.band[m], i / K, i % K, z.w[m][i]) / count;
}

/* The coefficients c [TILE,K,K] of the windows from column q0 on of row p of image b. */
__device__ static void coefficients(double *shared, const float *x, const prle_cuda_spectrum &z, const place &at, int64_t b,
                                    int p, int q0)
{
    const int K = at.K, strip = strip_of(K, at.stride);
    const int64_t plane = z.H * z.W;
    const float *image = x + b * 3 * plane;
    double *v = shared, *t = v + K * strip, *c = t + K * strip;

    for (int i = threadIdx.x; i < K * strip; i += THREADS) {
        const int64_t h = (int64_t)p * at.stride - at.pad + i / strip, w = (int64_t)q0 * at.stride - at.pad + i % strip;
        double sum = 0;
        if (h >= 0 && h < z.H && w >= 0 && w < z.W) {
            const float *from = image + h * z.W + w;
            sum = plus(1, times(0.299, (double)from[0]));
            sum = plus(sum, times(0.587, (double)from[plane]));
            sum = times(122.5, plus(sum, times(0.114, (double)from[2 * plane])));
        }
        v[i] = sum;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < K * strip; i += THREADS) {
        double sum = 0;
        for (int r = 0; r < K; r++)
            sum = plus(sum, times(z.D[i / strip * K + r], v[r * strip + i % strip]));
        t[i] = sum;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < TILE * K * K; i += THREADS) {
        const int k = i / K % K, l = i % K, from = k * strip + i / (K * K) * at.stride;
        double sum = 0;
        for (int j = 0; j < K; j++)
            sum = plus(sum, times(z.D[l * K + j], t[from + j]));
        c[i] = sum;
    }
    __syncthreads();
}

__device__ static inline double log_of(double c) { return (double)log10f((float)(fabs(c) + 1e-15)); }

/* d log10(|c| + e) = sign(c) / ((|c| + e) ln 10): at c = 0, PyTorch's 0. */
__device__ static inline double log_slope(double c)
{
    const double slope = 1 / ((fabs(c) + 1e-15) * 2.302585092994045684);

    return c > 0 ? slope : c < 0 ? -slope : 0;
}

__device__ static inline int64_t out_at(const prle_cuda_spectrum &z, const place &at, int64_t b, int m, int p, int q)
{
    return ((b * at.n + m) * z.P + p) * z.Q + q;
}

/* blockIdx: tile of the row, row, image. */
static __global__ void __launch_bounds__(THREADS) forward(float *y, const float *x, prle_cuda_spectrum z, const double *gains)
{
    extern __shared__ double shared[];
    const place at = place_of(z);
    const int KK = at.K * at.K, p = blockIdx.y, q0 = blockIdx.x * TILE;
    const int64_t b = blockIdx.z;
    double *c = shared + 2 * at.K * strip_of(at.K, at.stride);

    coefficients(shared, x, z, at, b, p, q0);
    for (int i = threadIdx.x; i < TILE * KK; i += THREADS)
        c[i] = log_of(c[i]);
    __syncthreads();
    for (int i = threadIdx.x; i < TILE * at.n; i += THREADS) {
        const int q = i / at.n, m = i % at.n;
        double sum = 0;
        for (int k = 0; k < KK && q0 + q < z.Q; k++)
            sum += gains[m * KK + k] * c[q * KK + k];
        if (q0 + q < z.Q)
            y[out_at(z, at, b, m, p, q0 + q)] = (float)sum;
    }
}

/* parts [blocks,n,K,K]: sum over the block's windows of log c times dy. Blocks take tiles in turn. */
static __global__ void __launch_bounds__(THREADS)
    gains_gradient(double *parts, const float *x, const float *dy, prle_cuda_spectrum z)
{
    extern __shared__ double shared[];
    const place at = place_of(z);
    const int KK = at.K * at.K;
    const int64_t n_tiles = z.B * z.P * at.tiles;
    double *c = shared + 2 * at.K * strip_of(at.K, at.stride), *own = parts + (int64_t)blockIdx.x * at.n * KK;

    for (int i = threadIdx.x; i < at.n * KK; i += THREADS)
        own[i] = 0;
    for (int64_t tile = blockIdx.x; tile < n_tiles; tile += gridDim.x) {
        const int q0 = (int)(tile % at.tiles) * TILE, p = (int)(tile / at.tiles % z.P);
        const int64_t b = tile / at.tiles / z.P;
        coefficients(shared, x, z, at, b, p, q0);
        for (int i = threadIdx.x; i < TILE * KK; i += THREADS)
            c[i] = log_of(c[i]);
        __syncthreads();
        for (int i = threadIdx.x; i < at.n * KK; i += THREADS) { /* its own thread's each time */
            double sum = 0;
            for (int q = 0; q < TILE && q0 + q < z.Q; q++)
                sum += c[q * KK + i % KK] * (double)dy[out_at(z, at, b, i / KK, p, q0 + q)];
            own[i] += sum;
        }
        __syncthreads();
    }
}

/* blockIdx.y: the band. */
static __global__ void gains_gradient_of_parts(prle_cuda_spectrum z, const double *parts, int n_parts)
{
    const int K = (int)z.attrs.window, i = (int)flat_first(), m = blockIdx.y;
    double sum = 0;
    int count = 0;

    if (i >= K * K || z.dw[m] == NULL)
        return;
    for (int part = 0; part < n_parts; part++)
        sum += parts[((int64_t)part * z.attrs.bands.n + m) * K * K + i];
    for (int k = 0; k < K * K; k++)
        count += prle_band_has(z.attrs.bands.band[m], k / K, k % K);
    z.dw[m][i] = (float)(sum * (double)band_gain_slope(z.w[m][i]) / count);
}

/* windows [P,Q,K,K]: each window's part of the gradient of v, of image b. */
static __global__ void __launch_bounds__(THREADS)
    window_gradients(double *windows, const float *x, const float *dy, prle_cuda_spectrum z, const double *gains, int64_t b)
{
    extern __shared__ double shared[];
    const place at = place_of(z);
    const int K = at.K, KK = K * K, p = blockIdx.y, q0 = blockIdx.x * TILE;
    double *half = shared, *c = shared + 2 * K * strip_of(K, at.stride); /* half: the pixels are not needed any more */

    coefficients(shared, x, z, at, b, p, q0);
    for (int i = threadIdx.x; i < TILE * KK; i += THREADS) {
        const int q = q0 + i / KK;
        double d = 0;
        for (int m = 0; m < at.n && q < z.Q; m++)
            d += gains[m * KK + i % KK] * (double)dy[out_at(z, at, b, m, p, q)];
        c[i] = d * log_slope(c[i]);
    }
    for (int first = 0; first < TILE * KK; first += KK) { /* window by window: half has room for one */
        __syncthreads();
        for (int i = threadIdx.x; i < KK; i += THREADS) {
            double sum = 0;
            for (int l = 0; l < K; l++)
                sum += z.D[l * K + i % K] * c[first + i / K * K + l];
            half[i] = sum;
        }
        __syncthreads();
        for (int i = threadIdx.x; i < KK && q0 + first / KK < z.Q; i += THREADS) {
            double sum = 0;
            for (int k = 0; k < K; k++)
                sum += z.D[k * K + i / K] * half[k * K + i % K];
            windows[((int64_t)p * z.Q + q0 + first / KK) * KK + i] = sum;
        }
    }
}

/* A thread for each pixel of image b. */
static __global__ void pixel_gradients(float *dx, const double *windows, prle_cuda_spectrum z, int64_t b)
{
    const place at = place_of(z);
    const int64_t plane = z.H * z.W, i = flat_first();
    double sum = 0;

    if (i >= plane)
        return;
    const int h = (int)(i / z.W) + at.pad, w = (int)(i % z.W) + at.pad; /* from the first window's corner */
    for (int p = max(0, (h - at.K + at.stride) / at.stride); p <= h / at.stride && p < z.P; p++)
        for (int q = max(0, (w - at.K + at.stride) / at.stride); q <= w / at.stride && q < z.Q; q++)
            sum += windows[(((int64_t)p * z.Q + q) * at.K + h - p * at.stride) * at.K + w - q * at.stride];
    dx[(b * 3 + 0) * plane + i] = (float)(122.5 * 0.299 * sum);
    dx[(b * 3 + 1) * plane + i] = (float)(122.5 * 0.587 * sum);
    dx[(b * 3 + 2) * plane + i] = (float)(122.5 * 0.114 * sum);
}

/* ---- scratch: gains [n,K,K], and the larger of parts [SUM_BLOCKS,n,K,K] and windows [P,Q,K,K], all double ---- */

static int64_t gains_count(const prle_cuda_spectrum *z) { return z->attrs.bands.n * z->attrs.window * z->attrs.window; }

size_t prle_local_spectrum_cuda_scratch(const prle_cuda_spectrum *z)
{
    const int64_t parts = SUM_BLOCKS * gains_count(z), windows = z->P * z->Q * z->attrs.window * z->attrs.window;

    return (size_t)(gains_count(z) + (parts > windows ? parts : windows)) * sizeof(double);
}

static dim3 band_blocks(const prle_cuda_spectrum *z)
{
    return dim3((unsigned)ceil_div(z->attrs.window * z->attrs.window, THREADS), (unsigned)z->attrs.bands.n);
}

cudaError_t prle_local_spectrum_cuda(float *y, const float *x, const prle_cuda_spectrum *z, void *scratch, cudaStream_t stream)
{
    const place at = place_of(*z);
    double *gains = (double *)scratch;

    gains_fill<<<band_blocks(z), THREADS, 0, stream>>>(gains, *z);
    forward<<<dim3((unsigned)at.tiles, (unsigned)z->P, (unsigned)z->B), THREADS, shared_bytes(at.K, at.stride), stream>>>(
        y, x, *z, gains);
    return cudaGetLastError();
}

cudaError_t prle_local_spectrum_backward_cuda(float *dx, const float *x, const float *dy, const prle_cuda_spectrum *z,
                                              void *scratch, cudaStream_t stream)
{
    const place at = place_of(*z);
    const size_t shared = shared_bytes(at.K, at.stride);
    const int blocks = (int)at_most(z->B * z->P * at.tiles, SUM_BLOCKS);
    double *gains = (double *)scratch, *work = gains + gains_count(z);

    gains_fill<<<band_blocks(z), THREADS, 0, stream>>>(gains, *z);
    gains_gradient<<<blocks, THREADS, shared, stream>>>(work, x, dy, *z);
    gains_gradient_of_parts<<<band_blocks(z), THREADS, 0, stream>>>(*z, work, blocks);
    for (int64_t b = 0; b < z->B && dx != NULL; b++) {
        window_gradients<<<dim3((unsigned)at.tiles, (unsigned)z->P), THREADS, shared, stream>>>(work, x, dy, *z, gains, b);
        pixel_gradients<<<(unsigned)ceil_div(z->H * z->W, THREADS), THREADS, 0, stream>>>(dx, work, *z, b);
    }
    return cudaGetLastError();
}
