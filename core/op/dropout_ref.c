/* dropout_ref.c - dropout with counter-based draws, plain C. Saved: one byte per element, 1 = kept. */
#include "core/op/ref.h"
#include "core/rng.h"

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    (void)pass;
    plan->saved_bytes = (size_t)prle_shape_count(&desc->out);
    return ref_plan(desc, plan);
}

/* Layers start 2^24 blocks of four words apart. */
static prle_rng stream_of(const prle_op_run_info *info, int64_t b, uint32_t layer)
{
    prle_rng rng =
        prle_rng_make(info->seed, info->epoch, info->samples != NULL ? info->samples[b] : (uint64_t)b, PRLE_RNG_DROPOUT);

    rng.counter[0] = layer << 24;
    return rng;
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_op_desc *desc = state;
    const int64_t B = desc->out.dim[0], n = prle_shape_count(&desc->out) / B;
    const double p = desc->u.dropout.p;
    const real scale = (real)(1.0 / (1.0 - p));
    const real *from = pass == PRLE_PASS_FORWARD ? args->in[0] : args->dout;
    real *to = pass == PRLE_PASS_FORWARD ? args->out : args->din[0];
    uint8_t *kept = args->saved;

    for (int64_t b = 0; b < B; b++) {
        if (pass == PRLE_PASS_FORWARD) {
            prle_rng rng = stream_of(args->info, b, desc->u.dropout.layer);
            for (int64_t i = 0; i < n; i++)
                kept[b * n + i] = prle_rng_uniform(&rng) >= p;
        }
        for (int64_t i = b * n; i < (b + 1) * n; i++)
            to[i] = kept[i] ? from[i] * scale : 0;
    }
    return PRLE_OK;
}

PRLE_REF_IMPL(dropout, PRLE_OP_DROPOUT);
