/* look.h - a trained model on single pictures of any size: what it says of them, and what it looks at. */
#pragma once
#include "cam/cam.h"
#include "core/image.h"
#include "nets/checkpoint.h"

typedef struct prle_look_opts {
    const prle_device *device;
    int64_t batch; /* pictures at a time */
    prle_dtype dtype;
    bool maps; /* class activation maps too, of that kind */
    prle_cam_method method;
    prle_cam_target target;
} prle_look_opts;

/** Results are those of the last prle_look_run. */
typedef struct prle_look {
    prle_checkpoint_info info;
    const double *scores; /* [batch] P(fake) */
    const float *maps;    /* [batch,map_height,map_width] in [0,1]; NULL without maps */
    int64_t map_height, map_width;
} prle_look;

/** model: a run folder or checkpoint. */
PRLE_NODISCARD prle_status prle_look_create(prle_look **out, const char *model, const prle_look_opts *opts);
void prle_look_destroy(prle_look *look); /* NULL is fine */

/** Picture i of the next run, 0 <= i < batch: brought to the network's input by area (bilinear where it grows).
 * image is RGB; label (0 real, 1 fake) matters to target LABEL only. */
PRLE_NODISCARD prle_status prle_look_put(prle_look *look, int64_t i, const prle_image *image, int label);

/** Computes pictures 0 ... n-1. PRLE_ENUMERIC when a score is not finite. */
PRLE_NODISCARD prle_status prle_look_run(prle_look *look, int64_t n);
