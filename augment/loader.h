/* loader.h - batches for a network, made ahead by threads: decode, mask, augment, resize. What bytes become is the network's
 * plan's business (core/normalise.h). */
#pragma once
#include <stdint.h>

#include "augment/faces.h"
#include "augment/maps.h"
#include "augment/mask.h"
#include "augment/transform.h"
#include "core/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PRLE_LOADER_MAX_THREADS = 64 };

typedef struct prle_loader_opts {
    int64_t height, width; /* of the network's input */
    float mean[3];         /* of the data set, R G B in [0,1]: the colour of PRLE_FILL_MEAN */
    prle_mask_opts mask;   /* its own seed names the draws of masks */
    prle_augment augment;  /* none or bench */
    int threads;           /* 1 ... PRLE_LOADER_MAX_THREADS; they run at a lower priority on machines of few CPUs */
    int prefetch;          /* batches made ahead of the consumer, 1 ... 64 */
    uint64_t seed;         /* of the augmentations */
} prle_loader_opts;

#define PRLE_LOADER_OPTS_DEFAULT                                                                                                 \
    ((prle_loader_opts){.height = 256,                                                                                           \
                        .width = 256,                                                                                            \
                        .mean = {0.5f, 0.5f, 0.5f},                                                                              \
                        .mask = PRLE_MASK_OPTS_DEFAULT,                                                                          \
                        .augment = PRLE_AUGMENT_NONE,                                                                            \
                        .threads = 1,                                                                                            \
                        .prefetch = 2})

/** One batch, borrowed from the loader until the next call of it. */
typedef struct prle_batch {
    int64_t n;               /* 0 is legal */
    const uint8_t *images;   /* [n,H,W,3] */
    const uint8_t *labels;   /* [n] 1 = fake */
    const double *weights;   /* [n] of the loss: gamma where masked, else 1 */
    const uint64_t *samples; /* [n] indices in the face store */
    const bool *masked;      /* [n] */
} prle_batch;

/** Since the loader was created. Images are counted when their batch is handed out. */
typedef struct prle_loader_stats {
    int64_t images, masked;
    int64_t without_map, empty_map, without_landmarks; /* were to be masked and are not: prle_mask_lack */
    double wait_s;                                     /* of the consumer in prle_loader_next */
    double mask_cpu_s, cpu_s;                          /* of the workers: for masks (reading maps included), for all */
} prle_loader_stats;

typedef struct prle_loader prle_loader;

/**
 * Starts the threads. Masks are made at the size of the store's images, which maps must share.
 *
 * faces      in  borrowed until destroy
 * maps       in  the same; NULL: none. Must be of this store: number of images, size and content hash are compared
 * max_batch  in  largest batch asked for later, >= 1
 *
 * Errors: PRLE_EINVAL names the option, or the mask kind that needs maps; PRLE_ESHAPE, PRLE_EFORMAT: maps of another size or
 * store. Memory: (prefetch + 1) batches, and per thread one image at each step; nothing is allocated per image but what libpng
 * takes for a PNG. Not collective. One thread at a time calls a loader.
 */
PRLE_NODISCARD prle_status prle_loader_create(prle_loader **out, const prle_faces *faces, const prle_maps *maps,
                                              const prle_loader_opts *opts, int64_t max_batch);
void prle_loader_destroy(prle_loader *loader); /* at any time; NULL is fine */

/**
 * Starts making the batches of one pass, abandoning what an earlier pass had left.
 *
 * epoch        in  names the draws, below 2^24. A resumed pass gives the epoch and the batches that are left
 * samples      in  [sum of batch_sizes] indices in the store, in the order wanted; copied
 * batch_sizes  in  [n_batches] 0 ... max_batch; copied
 *
 * Errors: PRLE_EINVAL names the sample or size out of range; then no pass is under way.
 */
PRLE_NODISCARD prle_status prle_loader_begin(prle_loader *loader, uint32_t epoch, const uint32_t *samples,
                                             const int64_t *batch_sizes, int64_t n_batches);

/**
 * The next batch of the pass; waits for it. Equal bit for bit for any number of threads and prefetch.
 *
 * Errors: PRLE_EFORMAT, PRLE_EIO when an image or its map cannot be read: names store, index, video and frame of the batch's
 * first bad image; the pass stays there and every further call gives the same error until prle_loader_begin. PRLE_EINVAL after
 * the last batch.
 */
PRLE_NODISCARD prle_status prle_loader_next(prle_loader *loader, const prle_batch **out);

prle_loader_stats prle_loader_stats_get(prle_loader *loader);

#ifdef __cplusplus
}
#endif
