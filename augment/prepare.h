/* prepare.h - one image from the face store to the network's input, and the order of steps on the way (paper, Stage 2). */
#pragma once
#include "augment/loader.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The scratch of one thread. */
typedef struct prle_preparer prle_preparer;

/** faces, maps (or NULL) and opts are borrowed until destroy; they fit together (prle_loader_create checks). */
PRLE_NODISCARD prle_status prle_preparer_create(prle_preparer **out, const prle_faces *faces, const prle_maps *maps,
                                                const prle_loader_opts *opts);
void prle_preparer_destroy(prle_preparer *preparer); /* NULL is fine */

/**
 * Decode, mask, geometry, colour and blur, JPEG, resize.
 *
 * out   out  [H,W,3]  of the network's size
 * mask  out           what became of the mask
 *
 * Errors name store, index, video and frame. Allocates nothing of ours once the decoder's scratch has grown.
 */
PRLE_NODISCARD prle_status prle_preparer_run(prle_preparer *preparer, uint32_t epoch, uint32_t sample, uint8_t *out,
                                             prle_mask_result *mask);

/** CPU seconds of the calling thread, and those that this preparer has spent on masks, reading maps included. */
double prle_preparer_thread_cpu_s(void);
double prle_preparer_mask_cpu_s(const prle_preparer *preparer);

#ifdef __cplusplus
}
#endif
