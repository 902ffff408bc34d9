/* act_dnnl.c - activations by oneDNN, in whatever layout the tensor arrives. */
#include "core/op/impls.h"
#include "core/op/util_dnnl.h"

/* The gradient is read off the output where it can be: the next operator keeps that one anyway, and `in` need not be kept. */
static bool from_output(const prle_act_attrs *a)
{
    return a->act == PRLE_ACT_RELU || a->act == PRLE_ACT_SIGMOID || (a->act == PRLE_ACT_LEAKY_RELU && a->slope >= 0);
}

static bool supports(const prle_op_desc *desc, const char **why)
{
    return prle_dnnl_supports(desc, why) && prle_dnnl_supports_act(&desc->u.act, why);
}

static prle_status create_forward(const dnnl_memory_desc_t *data, dnnl_alg_kind_t alg, float alpha, dnnl_primitive_desc_t *out)
{
    dnnl_eltwise_desc_t op;

    PRLE_TRY(PRLE_DNNL(dnnl_eltwise_forward_desc_init(&op, dnnl_forward_training, alg, data, alpha, 0.0F)));
    PRLE_TRY(prle_dnnl_pd(&op, NULL, out));
    return PRLE_OK;
}

static prle_status create_backward(const dnnl_memory_desc_t *data, dnnl_alg_kind_t alg, float alpha, dnnl_primitive_desc_t *out)
{
    dnnl_eltwise_desc_t op;
    dnnl_primitive_desc_t hint = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(create_forward(data, alg, alpha, &hint));
    PRLE_TRY_OUT(PRLE_DNNL(dnnl_eltwise_backward_desc_init(&op, alg, data, data, alpha, 0.0F)));
    PRLE_TRY_OUT(prle_dnnl_pd(&op, hint, out));
out:
    dnnl_primitive_desc_destroy(hint);
    return st;
}

static prle_status create(const prle_op_desc *desc, prle_op_pass pass, const prle_op_plan *plan, dnnl_primitive_desc_t *out)
{
    const prle_act_attrs *a = &desc->u.act;
    dnnl_memory_desc_t data;
    dnnl_alg_kind_t alg;
    float alpha;

    PRLE_TRY(prle_dnnl_act(a, &alg, &alpha));
    PRLE_TRY(prle_dnnl_md(&plan->in[0], &data));
    if (pass == PRLE_PASS_FORWARD) {
        PRLE_TRY(create_forward(&data, alg, alpha, out));
        return PRLE_OK;
    }
    if (from_output(a))
        alg = a->act == PRLE_ACT_SIGMOID ? dnnl_eltwise_logistic_use_dst_for_bwd : dnnl_eltwise_relu_use_dst_for_bwd;
    PRLE_TRY(create_backward(&data, alg, alpha, out));
    return PRLE_OK;
}

static prle_status bind(const prle_op_desc *desc, prle_op_pass pass, prle_dnnl_call *call, prle_op_plan *plan)
{
    if (pass == PRLE_PASS_FORWARD) {
        PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_SRC, PRLE_DNNL_AT(in[0]), &desc->out, &plan->in[0]));
        PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_DST, PRLE_DNNL_AT(out), &desc->out, &plan->out));
        return PRLE_OK;
    }
    if (from_output(&desc->u.act)) {
        plan->uses_out = true;
        PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_DST, PRLE_DNNL_AT(out), &desc->out, &plan->out));
    } else {
        plan->uses_in = true;
        PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_SRC, PRLE_DNNL_AT(in[0]), &desc->out, &plan->in[0]));
    }
    PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_DIFF_DST, PRLE_DNNL_AT(dout), &desc->out, &plan->dout));
    PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_DIFF_SRC, PRLE_DNNL_AT(din[0]), &desc->out, &plan->din[0]));
    return PRLE_OK;
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    PRLE_TRY(prle_dnnl_plan(desc, pass, plan, create, bind));
    return PRLE_OK;
}

const prle_op_impl prle_act_dnnl = {.name = "dnnl",
                                    .kind = PRLE_OP_ACT,
                                    .supports = supports,
                                    .plan = plan_pass,
                                    .run = prle_dnnl_run,
                                    .destroy = prle_dnnl_destroy};
