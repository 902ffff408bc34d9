/* method_cuda.h - attention maps of a batch on the GPU; as cam/method.h computes them, in double. */
#pragma once
#include <cuda_runtime_api.h>

#include "cam/method.h"
#include "core/op/act.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One channel of the closed form, prle_cam_tail_channel of cam/tail.h, for both classes. */
typedef struct prle_cam_channel {
    double weight[2]; /* of an image explained as real, as fake */
    double scale, mean, beta;
} prle_cam_channel;

/** Where gradients come from: an array, or the closed form. */
typedef struct prle_cam_gradients {
    const float *array;              /* [n,C,P], or NULL */
    const prle_cam_channel *channel; /* [C], where array is NULL */
    const uint8_t *explained;        /* [n] class of each image, where array is NULL */
    prle_act_attrs act;              /* f */
} prle_cam_gradients;

enum { PRLE_CAM_CUDA_MAX_CHANNELS = 5888 }; /* weights of one image lie in a block's shared memory */

/** Whether there is a kernel for it; else the processor makes the map (cam/maps.h). */
bool prle_cam_method_cuda_has(prle_cam_method method);

/**
 * prle_cam_method_run of n images in one launch, one block each. Returns cudaGetLastError(); cudaErrorInvalidValue for a method
 * that it has not, or too many channels.
 *
 * values     in   [n,C,P]
 * gradients  in
 * map        out  [n,P]    >= 0, not normalised; NaN or infinite where values or gradients are
 *
 * All pointers are to the device's memory. Moves per image at least: 4 C P bytes of values, as many of an array of gradients,
 * 8 P out. Grad-CAM++ sums the values before it weighs them: it reads them twice, the second time from the cache.
 */
cudaError_t prle_cam_method_cuda(prle_cam_method method, const float *values, const prle_cam_gradients *gradients, int64_t n,
                                 int64_t channels, int64_t pixels, double *map, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
