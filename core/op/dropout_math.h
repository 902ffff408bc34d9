/* dropout_math.h - the draws of dropout. */
#pragma once
#include "core/op/op.h"
#include "core/rng.h"

/* The stream of sample b of the batch. Layers start 2^24 blocks of four words apart. */
static inline prle_rng dropout_stream(const prle_op_run_info *info, int64_t b, uint32_t layer)
{
    prle_rng rng =
        prle_rng_make(info->seed, info->epoch, info->samples != NULL ? info->samples[b] : (uint64_t)b, PRLE_RNG_DROPOUT);

    rng.counter[0] = layer << 24;
    return rng;
}

/* The next draw: kept? */
static inline bool dropout_keeps(const prle_dropout_attrs *a, prle_rng *rng) { return prle_rng_uniform(rng) >= a->p; }
