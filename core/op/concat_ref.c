/* concat_ref.c - concatenation along channels, plain C. */
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
    const int64_t batch = desc->out.dim[0], n_out = prle_shape_count(&desc->out) / batch;
    const real *dy = args->dout;
    real *y = args->out;
    int64_t at = 0;

    for (int i = 0; i < desc->n_in; i++) {
        const int64_t n = prle_shape_count(&desc->in[i]) / batch;
        const real *x = args->in[i];
        real *dx = args->din[i];

        for (int64_t b = 0; b < batch; b++) {
            if (pass == PRLE_PASS_FORWARD)
                memcpy(y + b * n_out + at, x + b * n, (size_t)n * sizeof *y);
            else if (dx != NULL)
                memcpy(dx + b * n, dy + b * n_out + at, (size_t)n * sizeof *dx);
        }
        at += n;
    }
    return PRLE_OK;
}

PRLE_REF_IMPL(concat, PRLE_OP_CONCAT);
