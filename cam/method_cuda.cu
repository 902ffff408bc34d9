/* method_cuda.cu - see method_cuda.h. */
#define REAL_IS_DOUBLE 1
#include "cam/method_cuda.h"
#include "cam/method_math.h"
#include "core/op/act_math.h"

enum { WARP = 32, WARPS = 8, THREADS = WARPS * WARP };

/* One image. */
typedef struct image {
    const float *values, *gradients; /* [C,P]; gradients NULL in the closed form */
    const prle_cam_channel *channel; /* [C] of the closed form */
    int explained;
    prle_act_attrs act;
    int64_t pixels;
} image;

/* Where gradients come from. */
typedef enum source { ARRAY, CLOSED, CLOSED_LINEAR /* f' is 1 */ } source;

template <source FROM> __device__ static double gradient(const image *of, int64_t k, int64_t p, double value)
{
    if (FROM == ARRAY)
        return of->gradients[k * of->pixels + p];
    const prle_cam_channel *c = &of->channel[k];
    const double slope = FROM == CLOSED ? act_elem_grad(&of->act, c->scale * (value - c->mean) + c->beta) : 1;
    return c->weight[of->explained] * slope * c->scale;
}

/* Over a warp, the same in every lane, in a fixed order. */
__device__ static double warp_sum(double x)
{
    for (int step = WARP / 2; step > 0; step /= 2)
        x += __shfl_xor_sync(~0u, x, step);
    return x;
}

/* The weight of channel k, by one warp: a mean of the gradients, or Grad-CAM++'s sum. */
template <prle_cam_method METHOD, source FROM> __device__ static double channel_weight(const image *of, int64_t k, int lane)
{
    const float *values = of->values + k * of->pixels;
    double activity = 0, sum = 0;

    if (METHOD == PRLE_CAM_GRADCAM_PLUSPLUS) {
        for (int64_t p = lane; p < of->pixels; p += WARP)
            activity += values[p];
        activity = warp_sum(activity);
    }
    for (int64_t p = lane; p < of->pixels; p += WARP) {
        const double g = gradient<FROM>(of, k, p, FROM == CLOSED ? values[p] : 0);
        sum += METHOD == PRLE_CAM_GRADCAM ? g : cam_plusplus_term(g, activity);
    }
    sum = warp_sum(sum);
    return METHOD == PRLE_CAM_GRADCAM ? sum / (double)of->pixels : sum;
}

/* What channel k adds at pixel p. */
template <prle_cam_method METHOD, source FROM>
__device__ static double part(const image *of, const double *weights, int64_t k, int64_t p)
{
    const double value = of->values[k * of->pixels + p];

    if (METHOD == PRLE_CAM_LAYERCAM)
        return cam_relu(gradient<FROM>(of, k, p, value)) * value;
    if (METHOD == PRLE_CAM_HIRESCAM)
        return gradient<FROM>(of, k, p, value) * value;
    return weights[k] * value;
}

template <prle_cam_method METHOD, source FROM>
__global__ void __launch_bounds__(THREADS)
    cam_map(const float *values, prle_cam_gradients gradients, int64_t channels, int64_t pixels, double *map)
{
    extern __shared__ double weights[]; /* [C] */
    __shared__ double parts[WARPS][WARP];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int64_t at = blockIdx.x * channels * pixels;
    const image of = {values + at,       gradients.array == nullptr ? nullptr : gradients.array + at,
                      gradients.channel, gradients.array == nullptr ? gradients.explained[blockIdx.x] : 0,
                      gradients.act,     pixels};

    if (METHOD == PRLE_CAM_GRADCAM || METHOD == PRLE_CAM_GRADCAM_PLUSPLUS) {
        for (int64_t k = warp; k < channels; k += WARPS) {
            const double weight = channel_weight<METHOD, FROM>(&of, k, lane);
            if (lane == 0)
                weights[k] = weight;
        }
        __syncthreads();
    }
    for (int64_t first = 0; first < pixels; first += WARP) { /* a lane for each pixel, a warp for every eighth channel */
        double sum = 0;
        for (int64_t k = warp; first + lane < pixels && k < channels; k += WARPS)
            sum += part<METHOD, FROM>(&of, weights, k, first + lane);
        parts[warp][lane] = sum;
        __syncthreads();
        if (warp == 0 && first + lane < pixels) {
            for (int w = 1; w < WARPS; w++)
                sum += parts[w][lane];
            map[blockIdx.x * pixels + first + lane] = cam_relu(sum);
        }
        __syncthreads();
    }
}

typedef void (*kernel)(const float *, prle_cam_gradients, int64_t, int64_t, double *);

template <prle_cam_method METHOD> static kernel kernel_from(source from)
{
    return from == ARRAY ? cam_map<METHOD, ARRAY> : from == CLOSED ? cam_map<METHOD, CLOSED> : cam_map<METHOD, CLOSED_LINEAR>;
}

/* NULL for a method that the processor alone computes. */
static kernel kernel_of(prle_cam_method method, source from)
{
    switch (method) {
    case PRLE_CAM_GRADCAM: return kernel_from<PRLE_CAM_GRADCAM>(from);
    case PRLE_CAM_GRADCAM_PLUSPLUS: return kernel_from<PRLE_CAM_GRADCAM_PLUSPLUS>(from);
    case PRLE_CAM_LAYERCAM: return kernel_from<PRLE_CAM_LAYERCAM>(from);
    case PRLE_CAM_HIRESCAM: return kernel_from<PRLE_CAM_HIRESCAM>(from);
    case PRLE_CAM_EIGENCAM:
    case PRLE_CAM_N_METHODS: break;
    }
    return NULL;
}

bool prle_cam_method_cuda_has(prle_cam_method method) { return kernel_of(method, ARRAY) != NULL; }

cudaError_t prle_cam_method_cuda(prle_cam_method method, const float *values, const prle_cam_gradients *gradients, int64_t n,
                                 int64_t channels, int64_t pixels, double *map, cudaStream_t stream)
{
    const bool weighted = method == PRLE_CAM_GRADCAM || method == PRLE_CAM_GRADCAM_PLUSPLUS;
    const source from = gradients->array != NULL ? ARRAY : gradients->act.act != PRLE_ACT_NONE ? CLOSED : CLOSED_LINEAR;
    const kernel run = kernel_of(method, from);

    if (run == NULL || channels > PRLE_CAM_CUDA_MAX_CHANNELS)
        return cudaErrorInvalidValue;
    if (n > 0)
        run<<<(unsigned)n, THREADS, weighted ? (size_t)channels * sizeof(double) : 0, stream>>>(values, *gradients, channels,
                                                                                                pixels, map);
    return cudaGetLastError();
}
