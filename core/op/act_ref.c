/* act_ref.c - activations, plain C. */
#include "core/op/act_math.h"
#include "core/op/ref.h"

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    plan->uses_in = pass == PRLE_PASS_BACKWARD;
    return ref_plan(desc, plan);
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_op_desc *desc = state;
    const prle_act_attrs *a = &desc->u.act;
    const int64_t n = prle_shape_count(&desc->out);
    const real *x = args->in[0], *dy = args->dout;
    real *y = args->out, *dx = args->din[0];

    if (pass == PRLE_PASS_FORWARD) {
        for (int64_t i = 0; i < n; i++)
            y[i] = act_elem(a, x[i]);
    } else {
        for (int64_t i = 0; i < n; i++)
            dx[i] = dy[i] * act_elem_grad(a, x[i]);
    }
    return PRLE_OK;
}

PRLE_REF_IMPL(act, PRLE_OP_ACT);
