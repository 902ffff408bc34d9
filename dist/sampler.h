/* sampler.h - which samples a rank trains on in each step: a seeded permutation per epoch, shared out without loss or repeat. */
#pragma once
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct prle_sampler prle_sampler;

typedef struct prle_sampler_opts {
    uint64_t seed;
    int64_t n;     /* samples, 1 ... 2^32 - 1 */
    int64_t batch; /* of all ranks together, >= 1 */
    int rank, size;
    /* Balanced sampling: class of each sample [n], below n_classes, read at create only. NULL: every sample once per epoch. */
    const uint8_t *classes;
    int n_classes;
} prle_sampler_opts;

/** A rank's part of one step, borrowed from the sampler until the next epoch begins: sample i is samples[i * stride]. */
typedef struct prle_sampler_share {
    const uint32_t *samples;
    int64_t stride;
    int64_t n;        /* 0 where a ragged last step has fewer samples than ranks */
    int64_t n_global; /* of all ranks: the loss is scaled by 1 / n_global */
} prle_sampler_share;

/**
 * Step s of an epoch covers positions [s B, min((s+1) B, N)) of the epoch's order, and rank r takes every size-th of them from
 * the r-th on. The order depends on (seed, epoch, n, classes) only: any number of ranks sees the same global batches.
 *
 * Plain:    the order is one permutation of all samples, N = n.
 * Balanced: each class fills as many positions as the largest class has samples, N = n_classes * max: a smaller class by whole
 *           permutations of its samples and a part of one more, so that its samples' counts differ by one at most.
 *
 * Not collective, no state but the order: a resumed run asks for its epoch and goes on at its step.
 * PRLE_EINVAL names the option; an empty class cannot be balanced.
 */
PRLE_NODISCARD prle_status prle_sampler_create(prle_sampler **out, const prle_sampler_opts *opts);

/** Draws the order of an epoch (below 2^24); allocates nothing. Before the first call there is no order to share. */
void prle_sampler_epoch_set(prle_sampler *sampler, uint32_t epoch);

/** Steps in an epoch, the ragged last one included. */
int64_t prle_sampler_steps(const prle_sampler *sampler);

/** Samples in an epoch over all steps and ranks: N above. */
int64_t prle_sampler_count(const prle_sampler *sampler);

/** This rank's share of a step, 0 <= step < prle_sampler_steps. */
prle_sampler_share prle_sampler_step(const prle_sampler *sampler, int64_t step);

void prle_sampler_destroy(prle_sampler *sampler); /* NULL is fine */

#ifdef __cplusplus
}
#endif
