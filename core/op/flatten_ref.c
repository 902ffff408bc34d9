/* flatten_ref.c - [B,C,H,W] to [B,CHW]: the same bytes in the plain layout. */
#include <string.h>

#include "core/op/ref.h"

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    (void)pass;
    return ref_plan(desc, plan);
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_op_desc *desc = state;
    const size_t n_bytes = (size_t)prle_shape_count(&desc->out) * sizeof(real);

    if (pass == PRLE_PASS_FORWARD)
        memcpy(args->out, args->in[0], n_bytes);
    else
        memcpy(args->din[0], args->dout, n_bytes);
    return PRLE_OK;
}

PRLE_REF_IMPL(flatten, PRLE_OP_FLATTEN);
