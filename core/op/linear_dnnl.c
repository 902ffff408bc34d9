/* linear_dnnl.c - the fully connected layer by oneDNN: one matrix product, in training on plain layouts, which all passes share
 * ("gemm"). In inference weights lie as oneDNN likes ("brgemm"): VGG's 400 MB are read at the memory's speed then, not at a tenth
 * of it. In bfloat16 the output is f32 all the same: logits are what a loss is computed from. */
#include "core/op/impls.h"
#include "core/op/util_dnnl.h"

typedef struct geometry {
    dnnl_memory_desc_t src, weights, bias, dst; /* bias: no dimensions where there is none */
} geometry;

/* dst, weights: the element types of this pass's output or its gradient, and of the weights or theirs. */
static prle_status describe(const prle_op_desc *desc, prle_dtype dst_type, prle_dtype weights_type, geometry *g)
{
    const int64_t B = desc->in[0].dim[0], C = desc->in[0].dim[1], K = desc->out.dim[1];
    const dnnl_dims_t src = {B, C}, weights = {K, C}, bias = {K}, dst = {B, K};

    *g = (geometry){0};
    PRLE_TRY(prle_dnnl_md_plain(desc->memory, 2, src, &g->src));
    PRLE_TRY(prle_dnnl_md_plain(weights_type, 2, weights, &g->weights));
    PRLE_TRY(prle_dnnl_md_plain(dst_type, 2, dst, &g->dst));
    if (desc->u.linear.bias)
        PRLE_TRY(prle_dnnl_md_plain(PRLE_F32, 1, bias, &g->bias));
    return PRLE_OK;
}

static prle_status create_forward(const geometry *g, dnnl_primitive_desc_t *out)
{
    dnnl_inner_product_desc_t op;

    PRLE_TRY(
        PRLE_DNNL(dnnl_inner_product_forward_desc_init(&op, dnnl_forward_training, &g->src, &g->weights, &g->bias, &g->dst)));
    PRLE_TRY(prle_dnnl_pd(&op, NULL, out));
    return PRLE_OK;
}

static prle_status create_gradient(const prle_op_desc *desc, prle_op_pass pass, dnnl_primitive_desc_t *out)
{
    geometry forward, own;
    const geometry *g = &own;
    dnnl_inner_product_desc_t op;
    dnnl_primitive_desc_t hint = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(describe(desc, PRLE_F32, desc->memory, &forward));
    PRLE_TRY_OUT(describe(desc, desc->memory, pass == PRLE_PASS_WEIGHTS ? PRLE_F32 : desc->memory, &own));
    PRLE_TRY_OUT(create_forward(&forward, &hint));
    if (pass == PRLE_PASS_BACKWARD)
        PRLE_TRY_OUT(PRLE_DNNL(dnnl_inner_product_backward_data_desc_init(&op, &g->src, &g->weights, &g->dst)));
    else
        PRLE_TRY_OUT(PRLE_DNNL(dnnl_inner_product_backward_weights_desc_init(&op, &g->src, &g->weights, &g->bias, &g->dst)));
    PRLE_TRY_OUT(prle_dnnl_pd(&op, hint, out));
out:
    dnnl_primitive_desc_destroy(hint);
    return st;
}

static prle_status create(const prle_op_desc *desc, prle_op_pass pass, const prle_op_plan *plan, dnnl_primitive_desc_t *out)
{
    const dnnl_dims_t weights = {desc->param[0].dim[0], desc->param[0].dim[1]};
    geometry g;

    if (pass != PRLE_PASS_FORWARD) {
        PRLE_TRY(create_gradient(desc, pass, out));
        return PRLE_OK;
    }
    PRLE_TRY(describe(desc, PRLE_F32, desc->memory, &g));
    if (!plan->training)
        PRLE_TRY(prle_dnnl_md_any(desc->memory, 2, weights, &g.weights));
    PRLE_TRY(create_forward(&g, out));
    return PRLE_OK;
}

static prle_status bind(const prle_op_desc *desc, prle_op_pass pass, prle_dnnl_call *call, prle_op_plan *plan)
{
    const bool bias = desc->u.linear.bias;

    switch (pass) {
    case PRLE_PASS_FORWARD:
        PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_SRC, PRLE_DNNL_AT(in[0])));
        PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_WEIGHTS, PRLE_DNNL_AT(param[0]), &desc->param[0], &plan->param[0]));
        PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_DST, PRLE_DNNL_AT(out)));
        if (bias)
            PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_BIAS, PRLE_DNNL_AT(param[1])));
        break;
    case PRLE_PASS_BACKWARD:
        PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_DIFF_DST, PRLE_DNNL_AT(dout)));
        PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_WEIGHTS, PRLE_DNNL_AT(param[0])));
        PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_DIFF_SRC, PRLE_DNNL_AT(din[0])));
        break;
    default:
        plan->uses_in = true;
        PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_SRC, PRLE_DNNL_AT(in[0])));
        PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_DIFF_DST, PRLE_DNNL_AT(dout)));
        PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_DIFF_WEIGHTS, PRLE_DNNL_AT(dparam[0])));
        if (bias)
            PRLE_TRY(prle_dnnl_call_bind_spare(call, DNNL_ARG_DIFF_BIAS, PRLE_DNNL_AT(dparam[1]), plan));
        break;
    }
    return PRLE_OK;
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    plan->in[0] = plan->din[0] = prle_layout_plain(desc->memory, &desc->in[0]);
    plan->out = prle_layout_plain(PRLE_F32, &desc->out);
    plan->dout = prle_layout_plain(desc->memory, &desc->out);
    for (int i = 0; i < desc->n_params; i++)
        plan->param[i] = plan->dparam[i] = prle_layout_plain(PRLE_F32, &desc->param[i]);
    plan->param[0] = prle_layout_plain(desc->memory, &desc->param[0]);
    PRLE_TRY(prle_dnnl_plan(desc, pass, plan, create, bind));
    return PRLE_OK;
}

const prle_op_impl prle_linear_dnnl = {.name = "dnnl",
                                       .kind = PRLE_OP_LINEAR,
                                       .supports = prle_dnnl_supports,
                                       .plan = plan_pass,
                                       .run = prle_dnnl_run,
                                       .destroy = prle_dnnl_destroy};
