/* dropout_ref.c - dropout with counter-based draws, plain C. Saved: one byte per draw, 1 = kept. */
#include "core/op/dropout_math.h"
#include "core/op/ref.h"

/* Of one sample. */
static int64_t draws_of(const prle_op_desc *desc)
{
    return desc->u.dropout.per_sample ? 1 : prle_shape_count(&desc->out) / desc->out.dim[0];
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    (void)pass;
    plan->saved_bytes = (size_t)(desc->out.dim[0] * draws_of(desc));
    return ref_plan(desc, plan);
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_op_desc *desc = state;
    const prle_dropout_attrs *a = &desc->u.dropout;
    const int64_t B = desc->out.dim[0], n = prle_shape_count(&desc->out) / B, draws = draws_of(desc);
    const real scale = (real)(1.0 / (1.0 - a->p));
    const real *from = pass == PRLE_PASS_FORWARD ? args->in[0] : args->dout;
    real *to = pass == PRLE_PASS_FORWARD ? args->out : args->din[0];
    uint8_t *kept = args->saved;

    for (int64_t b = 0; b < B; b++, kept += draws, from += n, to += n) {
        if (pass == PRLE_PASS_FORWARD) {
            prle_rng rng = dropout_stream(args->info, b, a->layer);
            for (int64_t i = 0; i < draws; i++)
                kept[i] = dropout_keeps(a, &rng);
        }
        for (int64_t i = 0; i < n; i++)
            to[i] = kept[a->per_sample ? 0 : i] ? from[i] * scale : 0;
    }
    return PRLE_OK;
}

PRLE_REF_IMPL(dropout, PRLE_OP_DROPOUT);
