/* dropout_math.h - the draws of dropout. */
#pragma once
#include "core/op/op.h"
#include "core/rng_math.h"

/* Layers start 2^24 blocks of four words apart. */
PRLE_HD static inline uint32_t dropout_first_block(uint32_t layer) { return layer << 24; }

/* The stream of sample b of the batch. */
static inline prle_rng dropout_stream(const prle_op_run_info *info, int64_t b, uint32_t layer)
{
    prle_rng rng =
        prle_rng_make(info->seed, info->epoch, info->samples != NULL ? info->samples[b] : (uint64_t)b, PRLE_RNG_DROPOUT);

    rng.counter[0] = dropout_first_block(layer);
    return rng;
}

/* The next draw: kept? */
static inline bool dropout_keeps(const prle_dropout_attrs *a, prle_rng *rng) { return prle_rng_uniform(rng) >= a->p; }
