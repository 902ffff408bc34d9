/* linear_ref.c - the fully connected layer, plain C. */
#include "core/op/ref.h"

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    plan->uses_in = pass == PRLE_PASS_WEIGHTS;
    return ref_plan(desc, plan);
}

static void forward(const prle_op_desc *desc, const prle_op_args *args)
{
    const int64_t B = desc->in[0].dim[0], C = desc->in[0].dim[1], K = desc->out.dim[1];
    const real *x = args->in[0], *w = args->param[0], *bias = args->param[1];
    real *y = args->out;

    for (int64_t b = 0; b < B; b++)
        for (int64_t k = 0; k < K; k++)
            y[b * K + k] = ref_dot(w + k * C, x + b * C, C, 1) + (desc->u.linear.bias ? bias[k] : 0);
}

static void backward_data(const prle_op_desc *desc, const prle_op_args *args)
{
    const int64_t B = desc->in[0].dim[0], C = desc->in[0].dim[1], K = desc->out.dim[1];
    const real *dy = args->dout, *w = args->param[0];
    real *dx = args->din[0];

    for (int64_t b = 0; b < B; b++) {
        for (int64_t c = 0; c < C; c++)
            dx[b * C + c] = 0;
        for (int64_t k = 0; k < K; k++)
            for (int64_t c = 0; c < C; c++)
                dx[b * C + c] += dy[b * K + k] * w[k * C + c];
    }
}

static void backward_weights(const prle_op_desc *desc, const prle_op_args *args)
{
    const int64_t B = desc->in[0].dim[0], C = desc->in[0].dim[1], K = desc->out.dim[1];
    const real *x = args->in[0], *dy = args->dout;
    real *dw = args->dparam[0], *db = args->dparam[1];

    for (int64_t k = 0; k < K; k++) {
        for (int64_t c = 0; c < C; c++)
            dw[k * C + c] = 0;
        for (int64_t b = 0; b < B; b++)
            for (int64_t c = 0; c < C; c++)
                dw[k * C + c] += dy[b * K + k] * x[b * C + c];
        if (db == NULL)
            continue;
        db[k] = 0;
        for (int64_t b = 0; b < B; b++)
            db[k] += dy[b * K + k];
    }
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    static void (*const passes[])(const prle_op_desc *, const prle_op_args *) = {
        [PRLE_PASS_FORWARD] = forward, [PRLE_PASS_BACKWARD] = backward_data, [PRLE_PASS_WEIGHTS] = backward_weights};

    passes[pass](state, args);
    return PRLE_OK;
}

PRLE_REF_IMPL(linear, PRLE_OP_LINEAR);
