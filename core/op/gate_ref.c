/* gate_ref.c - each channel of each sample scaled, plain C. */
#include "core/op/ref.h"

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    plan->uses_in = pass == PRLE_PASS_BACKWARD;
    return ref_plan(desc, plan);
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_op_desc *desc = state;
    const int64_t planes = desc->in[0].dim[0] * desc->in[0].dim[1], n = prle_shape_count(&desc->in[0]) / planes;
    const real *x = args->in[0], *gate = args->in[1], *dy = args->dout;
    real *y = args->out, *dx = args->din[0], *dgate = args->din[1];

#pragma omp parallel for
    for (int64_t i = 0; i < planes; i++) {
        if (pass == PRLE_PASS_FORWARD) {
            for (int64_t p = i * n; p < (i + 1) * n; p++)
                y[p] = x[p] * gate[i];
            continue;
        }
        for (int64_t p = i * n; p < (i + 1) * n && dx != NULL; p++)
            dx[p] = dy[p] * gate[i];
        if (dgate != NULL)
            dgate[i] = ref_dot(dy + i * n, x + i * n, n, 1);
    }
    return PRLE_OK;
}

PRLE_REF_IMPL(gate, PRLE_OP_GATE);
