/* add_ref.c - the sum of two tensors, plain C. */
#include "core/op/ref.h"

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    plan->din_is_dout = pass == PRLE_PASS_BACKWARD;
    return ref_plan(desc, plan);
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_op_desc *desc = state;
    const int64_t n = prle_shape_count(&desc->out);
    const real *a = args->in[0], *b = args->in[1];
    real *y = args->out;

    (void)pass; /* forward only: the gradient of both inputs is dout itself */
    for (int64_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
    return PRLE_OK;
}

PRLE_REF_IMPL(add, PRLE_OP_ADD);
