/* fuse_cuda.cu - see fuse_cuda.h: a thread for each pixel. */
#include "core/attention.h"
#include "fusion/fuse_cuda.h"

enum { TILE_W = 32, TILE_H = 8 };

/* The maps of one image, and a pixel's window in them. */
typedef struct window {
    const uint16_t *q; /* [T,H,W] */
    int T, H, W;
    int y, x, y0, y1, x0, x1; /* ends included */
    int limit;                /* the sum over the window exceeds the threshold when it exceeds this */
} window;

__device__ static int map_at(const window *w, int t, int y, int x) { return w->q[(t * w->H + y) * w->W + x]; }

__device__ static unsigned sum_at(const window *w, int y, int x)
{
    unsigned sum = 0;

    for (int t = 0; t < w->T; t++)
        sum += map_at(w, t, y, x);
    return sum;
}

/*
 * Eqs. 7 and 8: T times the greatest value in the window where two detectors disagree, else 0.
 *
 * A sum of distances to c, sum_a |q_j(a) - c|, is convex in c: over the centres of all maps it is greatest at the least or the
 * greatest of them. So 2 T sums decide what T^2 do in the equation.
 */
__device__ static unsigned neighbor_value(const window *w)
{
    int least = PRLE_ATTENTION_ONE, most = 0, top = 0;
    bool disagree = false;

    for (int t = 0; t < w->T; t++) {
        const int centre = map_at(w, t, w->y, w->x);
        least = min(least, centre);
        most = max(most, centre);
    }
    for (int t = 0; t < w->T; t++) {
        int to_least = 0, to_most = 0;
        for (int v = w->y0; v <= w->y1; v++)
            for (int u = w->x0; u <= w->x1; u++) {
                const int a = map_at(w, t, v, u);
                to_least += abs(a - least);
                to_most += abs(a - most);
                top = max(top, a);
            }
        disagree |= max(to_least, to_most) > w->limit;
    }
    return disagree ? (unsigned)w->T * top : 0;
}

/* The pairs in order, up to the first that is accepted: hysteresis_scan of fusion/fuse.c. */
__device__ static unsigned hysteresis_value(const window *w)
{
    int largest = -1, largest_y = 0, largest_x = 0;

    for (int k = 0; k < w->T; k++)
        for (int j = 0; j < w->T; j++) {
            const int centre = map_at(w, k, w->y, w->x);
            int sum = 0;
            for (int v = w->y0; v <= w->y1; v++)
                for (int u = w->x0; u <= w->x1; u++) {
                    const int a = map_at(w, j, v, u);
                    sum += abs(a - centre);
                    if (a > largest) {
                        largest = a;
                        largest_y = v;
                        largest_x = u;
                    }
                }
            if (sum > w->limit)
                return sum_at(w, largest_y, largest_x);
        }
    return 0;
}

template <prle_fuse_rule RULE> __device__ static unsigned fused_value(const window *w, const prle_fuse_limits *limits)
{
    const unsigned sum = sum_at(w, w->y, w->x);

    if (RULE != PRLE_FUSE_NEIGHBOR && sum > limits->mean)
        return sum;
    if (RULE == PRLE_FUSE_AVERAGE || (RULE == PRLE_FUSE_HYSTERESIS && sum < limits->low))
        return 0;
    return RULE == PRLE_FUSE_HYSTERESIS ? hysteresis_value(w) : neighbor_value(w);
}

/* rint(255 v / full), ties to even. */
__device__ static uint8_t eight_bits(unsigned value, unsigned full)
{
    const unsigned below = 255 * value / full, twice_rest = 2 * (255 * value % full);

    return (uint8_t)(below + (twice_rest > full || (twice_rest == full && below % 2 == 1)));
}

template <prle_fuse_rule RULE>
__global__ void __launch_bounds__(TILE_W *TILE_H)
    fuse_maps(const uint16_t *q, int T, int H, int W, int radius, prle_fuse_limits limits, uint32_t *value, uint8_t *attention)
{
    const int tiles_x = (W + TILE_W - 1) / TILE_W, pixels = H * W;
    const int y = blockIdx.x / tiles_x * TILE_H + threadIdx.y, x = blockIdx.x % tiles_x * TILE_W + threadIdx.x;
    const int64_t image = blockIdx.y;

    if (y >= H || x >= W)
        return;
    window w = {q + image * T * pixels, T, H, W, y, x, max(y - radius, 0), min(y + radius, H - 1), max(x - radius, 0),
                min(x + radius, W - 1)};
    w.limit = prle_fuse_window_limit(&limits, (w.y1 - w.y0 + 1) * (w.x1 - w.x0 + 1));
    const unsigned fused = fused_value<RULE>(&w, &limits);
    value[image * pixels + y * W + x] = fused;
    if (attention != nullptr)
        attention[image * pixels + y * W + x] = eight_bits(fused, (unsigned)T * PRLE_ATTENTION_ONE);
}

typedef void (*kernel)(const uint16_t *, int, int, int, int, prle_fuse_limits, uint32_t *, uint8_t *);

static kernel kernel_of(prle_fuse_rule rule)
{
    switch (rule) {
    case PRLE_FUSE_EXPAND: return fuse_maps<PRLE_FUSE_EXPAND>;
    case PRLE_FUSE_NEIGHBOR: return fuse_maps<PRLE_FUSE_NEIGHBOR>;
    case PRLE_FUSE_AVERAGE: return fuse_maps<PRLE_FUSE_AVERAGE>;
    case PRLE_FUSE_HYSTERESIS: return fuse_maps<PRLE_FUSE_HYSTERESIS>;
    case PRLE_FUSE_N_RULES: break;
    }
    return NULL;
}

cudaError_t prle_fuse_cuda(const prle_fuse_opts *opts, const prle_fuse_limits *limits, const uint16_t *q, int64_t n_images, int T,
                           int64_t H, int64_t W, uint32_t *value, uint8_t *attention, cudaStream_t stream)
{
    const kernel run = kernel_of(opts->rule);
    const dim3 grid((unsigned)((H + TILE_H - 1) / TILE_H * ((W + TILE_W - 1) / TILE_W)), (unsigned)n_images);

    if (run == NULL)
        return cudaErrorInvalidValue;
    if (n_images == 0)
        return cudaSuccess;
    run<<<grid, dim3(TILE_W, TILE_H), 0, stream>>>(q, T, (int)H, (int)W, opts->radius, *limits, value, attention);
    return cudaGetLastError();
}
