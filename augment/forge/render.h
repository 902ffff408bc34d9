/* render.h - one video of the plan, from its photographs to its files. */
#pragma once
#include "augment/forge/methods.h"
#include "augment/forge/plan.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One thread's tools for many videos. */
typedef struct prle_render {
    const prle_forge_opts *opts;
    const prle_forge_photos *photos;
    prle_studio studio;
    prle_image canvas, frame, mask_canvas, mask;
} prle_render;

PRLE_NODISCARD prle_status prle_render_init(prle_render *out, const prle_forge_opts *opts, const prle_forge_photos *photos);
void prle_render_deinit(prle_render *render);

/** Writes frames (and masks of a fake) into two folders that exist. index: of the video in the plan, which names its draws. */
PRLE_NODISCARD prle_status prle_render_video(prle_render *render, const prle_forge_video *video, int64_t index,
                                             const char *folder, const char *mask_folder);

/** Where the 68 points of frame `frame` lie, in its pixels; needs no picture. */
PRLE_NODISCARD prle_status prle_render_landmarks(prle_point out[PRLE_LANDMARKS], const prle_forge_opts *opts,
                                                 const prle_forge_photos *photos, const prle_forge_video *video, int64_t index,
                                                 int frame);

#ifdef __cplusplus
}
#endif
