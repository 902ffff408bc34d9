/* grad_sum.h - sums one flat gradient buffer over ranks in buckets, on GPUs and slow links while backward still runs. */
#pragma once
#include "core/comm.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum prle_grad_sum_mode {
    PRLE_GRAD_SUM_AUTO,   /* stream on GPUs, thread where ranks span machines, else plain */
    PRLE_GRAD_SUM_PLAIN,  /* all buckets in prle_grad_sum_wait: best where ranks share memory, whose bandwidth backward needs */
    PRLE_GRAD_SUM_THREAD, /* a communication thread sums each bucket as soon as it is final */
    PRLE_GRAD_SUM_STREAM, /* each bucket's sum is queued on the GPU as soon as it is final, beside backward */
} prle_grad_sum_mode;

extern const char *const prle_grad_sum_mode_words[]; /* "auto", "plain", "thread", "stream", NULL: for an option table */

typedef struct prle_grad_sum_opts {
    prle_grad_sum_mode mode;
    int64_t bucket_bytes; /* at most 16 MiB */
} prle_grad_sum_opts;

#define PRLE_GRAD_SUM_OPTS_DEFAULT ((prle_grad_sum_opts){.mode = PRLE_GRAD_SUM_AUTO, .bucket_bytes = 4 << 20})

typedef struct prle_grad_sum prle_grad_sum;

/**
 * Buckets are cut and summed from the end of the buffer to its beginning, the order in which backward finishes gradients. All
 * modes make the same sums in the same order, so they give the same bits; the mode follows from options and machines, never from
 * timing.
 *
 * comm    in   borrowed, and left free for other collectives of the calling thread
 * buffer  in   [n] f32 or f64, borrowed, in the memory that comm sums; summed in place by each prle_grad_sum_wait
 * opts    in   NULL for the defaults; the same on every rank
 * Threads: `thread` needs an MPI with MPI_THREAD_MULTIPLE: PRLE_ENOTSUP without one when asked for; auto then takes plain.
 * `stream` needs a communicator of GPUs (prle_comm_overlaps): PRLE_ENOTSUP with another.
 * Collective.
 */
PRLE_NODISCARD prle_status prle_grad_sum_create(prle_grad_sum **out, prle_comm *comm, void *buffer, int64_t n, prle_dtype dtype,
                                                const prle_grad_sum_opts *opts);

/** Elements [offset, offset + n) are final and stay untouched until prle_grad_sum_wait; each element at most once a step. */
void prle_grad_sum_ready(prle_grad_sum *sum, int64_t offset, int64_t n);

/**
 * All elements are final, those never named included; returns when the whole buffer holds the sums over ranks, and the next step
 * may begin (on GPUs: for all that is queued from here on). On failure the buffer is undefined. Collective.
 */
PRLE_NODISCARD prle_status prle_grad_sum_wait(prle_grad_sum *sum);

/** What AUTO became. */
prle_grad_sum_mode prle_grad_sum_mode_get(const prle_grad_sum *sum);

/** Between steps only. NULL is fine. Collective. */
void prle_grad_sum_destroy(prle_grad_sum *sum);

#ifdef __cplusplus
}
#endif
