/* attention_cuda.cu - see attention_cuda.h. */
#include "core/attention.h"
#include "core/attention_cuda.h"

enum { THREADS = 256 };

/* Where an output position lies between two source positions: as axis_init of core/attention.c. */
typedef struct place {
    int first, second;
    double weight; /* of the second, out of 2 n_out */
} place;

__device__ static place place_of(int64_t at, int64_t n_in, int64_t n_out)
{
    const int64_t position = (2 * at + 1) * n_in - n_out, clamped = position < 0 ? 0 : position;
    const int64_t first = clamped / (2 * n_out);

    return {(int)first, (int)(first + 1 < n_in ? first + 1 : first), (double)(clamped % (2 * n_out))};
}

/* One source row at an output column, times 2W. */
template <class T> __device__ static double stretched(const T *row, place x, double whole)
{
    return (whole - x.weight) * (double)row[x.first] + x.weight * (double)row[x.second];
}

/* Output pixel (Y,X) of the resize, times 4HW. */
template <class T> __device__ static double resized(const T *map, int h, int w, int H, int W, int Y, int X)
{
    const place y = place_of(Y, h, H), x = place_of(X, w, W);
    const double top = stretched(map + y.first * w, x, 2.0 * (double)W);
    const double bottom = stretched(map + y.second * w, x, 2.0 * (double)W);

    return (2.0 * (double)H - y.weight) * top + y.weight * bottom;
}

__global__ void __launch_bounds__(THREADS)
    attention_quantise(const float *map, int h, int w, int H, int W, uint16_t *q, int64_t q_stride)
{
    const int at = blockIdx.x * THREADS + threadIdx.x;
    const int64_t image = blockIdx.y;
    const double whole = 4.0 * (double)H * (double)W;

    if (at < H * W)
        q[image * q_stride + at] =
            (uint16_t)rint(resized(map + image * h * w, h, w, H, W, at / W, at % W) * PRLE_ATTENTION_ONE / whole);
}

__global__ void __launch_bounds__(THREADS)
    attention_mean(const double *map, int h, int w, int H, int W, int n_parts, bool first, double *out)
{
    const int at = blockIdx.x * THREADS + threadIdx.x;
    const int64_t image = blockIdx.y;
    const double whole = 4.0 * (double)H * (double)W;

    if (at >= H * W)
        return;
    double *to = out + image * H * W + at;
    const double part = resized(map + image * h * w, h, w, H, W, at / W, at % W) / whole;
    *to = (first ? 0 : *to) + part / n_parts;
}

/* ---- normalise ---- */

/* What a block learns of a map. */
typedef struct range {
    double lo, hi;
    bool finite;
} range;

__device__ static range range_join(range a, range b)
{
    return {b.lo < a.lo ? b.lo : a.lo, b.hi > a.hi ? b.hi : a.hi, a.finite && b.finite};
}

/* Of all values, in every thread. */
__device__ static range block_range(const double *map, int64_t pixels)
{
    __shared__ range parts[THREADS];
    range mine = {map[0], map[0], true};

    for (int64_t i = threadIdx.x; i < pixels; i += THREADS)
        mine = range_join(mine, {map[i], map[i], isfinite(map[i]) != 0});
    parts[threadIdx.x] = mine;
    __syncthreads();
    for (int step = THREADS / 2; step > 0; step /= 2) {
        if (threadIdx.x < step)
            parts[threadIdx.x] = range_join(parts[threadIdx.x], parts[threadIdx.x + step]);
        __syncthreads();
    }
    return parts[0];
}

__global__ void __launch_bounds__(THREADS) attention_normalise(double *map, int64_t pixels)
{
    double *own = map + blockIdx.x * pixels;
    const range r = block_range(own, pixels);

    for (int64_t i = threadIdx.x; r.finite && i < pixels; i += THREADS)
        own[i] = r.hi > r.lo ? (own[i] / 2 - r.lo / 2) / (r.hi / 2 - r.lo / 2) : 0;
}

/* ---- launchers ---- */

static dim3 grid_of(int64_t pixels, int64_t n) { return dim3((unsigned)((pixels + THREADS - 1) / THREADS), (unsigned)n); }

cudaError_t prle_attention_quantise_cuda(const float *map, int64_t n, int64_t h, int64_t w, int64_t H, int64_t W, uint16_t *q,
                                         int64_t q_stride, cudaStream_t stream)
{
    if (n > 0)
        attention_quantise<<<grid_of(H * W, n), THREADS, 0, stream>>>(map, (int)h, (int)w, (int)H, (int)W, q, q_stride);
    return cudaGetLastError();
}

cudaError_t prle_attention_mean_cuda(const double *map, int64_t n, int64_t h, int64_t w, int64_t H, int64_t W, int n_parts,
                                     bool first, double *out, cudaStream_t stream)
{
    if (n > 0)
        attention_mean<<<grid_of(H * W, n), THREADS, 0, stream>>>(map, (int)h, (int)w, (int)H, (int)W, n_parts, first, out);
    return cudaGetLastError();
}

cudaError_t prle_attention_normalise_cuda(double *map, int64_t n, int64_t pixels, cudaStream_t stream)
{
    if (n > 0)
        attention_normalise<<<(unsigned)n, THREADS, 0, stream>>>(map, pixels);
    return cudaGetLastError();
}
