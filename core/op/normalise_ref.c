/* normalise_ref.c - pictures of bytes, channels last, to what networks see, row-major: a table's value for each byte. */
#include "core/op/ref.h"

enum { CHANNELS = 3, BYTES = 256 };

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    PRLE_CHECK(pass == PRLE_PASS_FORWARD, PRLE_ENOTSUP, "bytes have no gradient");
    return ref_plan(desc, plan);
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_op_desc *desc = state;
    const int64_t n = desc->out.dim[0], plane = desc->out.dim[2] * desc->out.dim[3];
    const uint8_t *in = args->in[0];
    const real *table = args->param[0];
    real *out = args->out;

    (void)pass;
#pragma omp parallel for
    for (int64_t b = 0; b < n; b++)
        for (int64_t c = 0; c < CHANNELS; c++)
            for (int64_t i = 0; i < plane; i++)
                out[(b * CHANNELS + c) * plane + i] = table[c * BYTES + in[(b * plane + i) * CHANNELS + c]];
    return PRLE_OK;
}

PRLE_REF_IMPL(normalise, PRLE_OP_NORMALISE);
