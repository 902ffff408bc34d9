/* batch.h - what fuses the images of a unit: threads of the processor, or a GPU, many images at a launch. */
#pragma once
#include "core/device/device.h"
#include "fusion/fuse.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The size of a zoo member's maps. */
typedef struct prle_fuse_native {
    int64_t height, width;
} prle_fuse_native;

typedef struct prle_fuse_batch_desc {
    prle_fuse_opts opts;
    int T;
    int64_t H, W;
    const prle_fuse_native *native; /* [T], read at create only */
    int64_t max_images;             /* of a unit */
    int threads;                    /* that call put */
} prle_fuse_batch_desc;

/** What a unit's images were fused to; memory of the batch, which stays as it is until the unit after the next one begins. */
typedef struct prle_fuse_result {
    const uint16_t *rank;     /* [max_images,H,W] */
    const uint8_t *attention; /* [max_images,H,W] */
    const uint32_t *area;     /* [max_images] */
} prle_fuse_result;

/** Image by image into `put`, stretch by stretch into `submit`, one `wait` at the end. Integers: the same result everywhere. */
typedef struct prle_fuse_batch_ops {
    int64_t stretch;                                                     /* images worth submitting at once */
    prle_status (*create)(void **out, const prle_fuse_batch_desc *desc); /* errors of prle_fuse_limits_make */
    void (*destroy)(void *batch);                                        /* NULL is fine */
    /* Image i of the unit: native [T] maps of [h,w], in [0,1] (prle_attention_check), free on return. thread: of the caller,
     * below desc->threads; threads may call it side by side. */
    prle_status (*put)(void *batch, int thread, int64_t i, const float *const *native);
    prle_status (*submit)(void *batch, int64_t first, int64_t n); /* images that were put */
    prle_status (*wait)(void *batch, prle_fuse_result *out);      /* for all submitted; then the next unit may begin */
} prle_fuse_batch_ops;

/** The device's own, or the processor's. */
const prle_fuse_batch_ops *prle_fuse_batch_ops_of(const prle_device *device);

#ifdef __cplusplus
}
#endif
