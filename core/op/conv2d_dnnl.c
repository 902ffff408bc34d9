/* conv2d_dnnl.c - convolution by oneDNN, in whatever layouts it likes best.
 *
 * What it picks in f32 on AVX2 (version 2.6.3): images and kernels in blocks of 8 channels (nChw8c), "jit_1x1:avx2" for 1x1
 * kernels, "jit_dw:avx2" for depthwise ones, else "jit:avx2", which also reads the plain image of a 3-channel stem. Three things
 * fall to "x64:gemm:jit" on plain layouts and are slow: groups whose channels are no multiple of 8, the weight gradient of
 * depthwise kernels wider than 3 (conv2d_depthwise.c computes those), and the data gradient of a 7x7 stem (which only adversarial
 * masks ask for). The residual is a binary post-op: it reads in1 where it lies and stays within the jit kernels, where a sum
 * post-op would want in1 copied into out first.
 *
 * On AVX-512 it picks channels last ("brgconv"), by a few percent the fastest alone. But depthwise convolutions read and write
 * blocks: in inference an image that arrives in blocks is answered in blocks ("jit", "jit_1x1"), since the reorders would cost a
 * fifth of EfficientNet's time. In training they do not: the gradients are faster in oneDNN's choice by more than that. */
#include "core/op/channels.h"
#include "core/op/impls.h"
#include "core/op/util_dnnl.h"

/* The convolution in oneDNN's words. */
typedef struct geometry {
    dnnl_memory_desc_t src, weights, bias, dst; /* bias: no dimensions where there is none */
    dnnl_dims_t strides, pad_begin, pad_end;
} geometry;

/* Tiles (AMX) multiply channels last only. */
static bool has_tiles(void)
{
    return ((unsigned)dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_amx) == dnnl_cpu_isa_avx512_core_amx;
}

/* Input and output stay in the blocks of channels that the input lies in. */
static prle_status keep_blocks(const prle_op_desc *desc, const prle_layout *in, geometry *g)
{
    prle_channels z;
    prle_layout src, dst;

    if (desc->u.conv2d.groups > 1 || !prle_channels_of(in, &z) || z.block == 1 || (desc->memory == PRLE_BF16 && has_tiles()))
        return PRLE_OK;
    PRLE_TRY(prle_layout_blocked(desc->memory, &desc->in[0], z.block, &src));
    PRLE_TRY(prle_layout_blocked(desc->memory, &desc->out, z.block, &dst));
    PRLE_TRY(prle_dnnl_md(&src, &g->src));
    PRLE_TRY(prle_dnnl_md(&dst, &g->dst));
    return PRLE_OK;
}

/* Images in the node's element type, weights in their own: gradients of weights are f32 always. */
static prle_status describe(const prle_op_desc *desc, prle_dtype weights, geometry *g)
{
    const prle_conv2d_attrs *a = &desc->u.conv2d;
    const int64_t *x = desc->in[0].dim, *y = desc->out.dim, groups = a->groups;
    const prle_dtype image = desc->memory;
    const dnnl_dims_t src = {x[0], x[1], x[2], x[3]}, dst = {y[0], y[1], y[2], y[3]}, bias = {y[1]};
    const dnnl_dims_t dense = {y[1], x[1], a->kernel_h, a->kernel_w};
    const dnnl_dims_t grouped = {groups, y[1] / groups, x[1] / groups, a->kernel_h, a->kernel_w};

    *g = (geometry){
        .strides = {a->stride, a->stride}, .pad_begin = {a->pad_top, a->pad_left}, .pad_end = {a->pad_bottom, a->pad_right}};
    PRLE_TRY(prle_dnnl_md_any(image, 4, src, &g->src));
    PRLE_TRY(prle_dnnl_md_any(image, 4, dst, &g->dst));
    PRLE_TRY(groups == 1 ? prle_dnnl_md_any(weights, 4, dense, &g->weights) : prle_dnnl_md_any(weights, 5, grouped, &g->weights));
    if (a->bias)
        PRLE_TRY(prle_dnnl_md_plain(PRLE_F32, 1, bias, &g->bias));
    return PRLE_OK;
}

/* out = act(conv + in1): what follows the sum of products. */
static prle_status append_fused(const prle_op_desc *desc, const geometry *g, dnnl_primitive_attr_t attr)
{
    const prle_conv2d_attrs *a = &desc->u.conv2d;
    dnnl_post_ops_t ops = NULL;
    dnnl_alg_kind_t alg;
    float alpha;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(PRLE_DNNL(dnnl_post_ops_create(&ops)));
    if (a->residual)
        PRLE_TRY_OUT(PRLE_DNNL(dnnl_post_ops_append_binary(ops, dnnl_binary_add, &g->dst))); /* any: it takes out's layout */
    if (a->act.act != PRLE_ACT_NONE) {
        PRLE_TRY_OUT(prle_dnnl_act(&a->act, &alg, &alpha));
        PRLE_TRY_OUT(PRLE_DNNL(dnnl_post_ops_append_eltwise(ops, 1.0F, alg, alpha, 0.0F)));
    }
    PRLE_TRY_OUT(PRLE_DNNL(dnnl_primitive_attr_set_post_ops(attr, ops)));
out:
    dnnl_post_ops_destroy(ops);
    return st;
}

/* The forward primitive; the two others are made with it as a hint. */
static prle_status create_forward(const prle_op_desc *desc, const geometry *g, bool training, dnnl_primitive_desc_t *out)
{
    dnnl_convolution_desc_t op;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_engine_t engine = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_dnnl_engine(&engine));
    PRLE_TRY_OUT(prle_dnnl_attr(&attr));
    PRLE_TRY_OUT(append_fused(desc, g, attr));
    PRLE_TRY_OUT(PRLE_DNNL(dnnl_convolution_forward_desc_init(&op, training ? dnnl_forward_training : dnnl_forward_inference,
                                                              dnnl_convolution_direct, &g->src, &g->weights, &g->bias, &g->dst,
                                                              g->strides, g->pad_begin, g->pad_end)));
    PRLE_TRY_OUT(PRLE_DNNL(dnnl_primitive_desc_create(out, &op, attr, engine, NULL)));
out:
    dnnl_primitive_attr_destroy(attr);
    return st;
}

static prle_status create_gradient(const prle_op_desc *desc, prle_op_pass pass, dnnl_primitive_desc_t *out)
{
    geometry forward, own;
    const geometry *g = &own;
    dnnl_convolution_desc_t op;
    dnnl_primitive_desc_t hint = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(describe(desc, desc->memory, &forward));
    PRLE_TRY_OUT(describe(desc, pass == PRLE_PASS_WEIGHTS ? PRLE_F32 : desc->memory, &own));
    PRLE_TRY_OUT(create_forward(desc, &forward, true, &hint));
    if (pass == PRLE_PASS_BACKWARD)
        PRLE_TRY_OUT(PRLE_DNNL(dnnl_convolution_backward_data_desc_init(&op, dnnl_convolution_direct, &g->src, &g->weights,
                                                                        &g->dst, g->strides, g->pad_begin, g->pad_end)));
    else
        PRLE_TRY_OUT(PRLE_DNNL(dnnl_convolution_backward_weights_desc_init(
            &op, dnnl_convolution_direct, &g->src, &g->weights, &g->bias, &g->dst, g->strides, g->pad_begin, g->pad_end)));
    PRLE_TRY_OUT(prle_dnnl_pd(&op, hint, out));
out:
    dnnl_primitive_desc_destroy(hint);
    return st;
}

static prle_status create(const prle_op_desc *desc, prle_op_pass pass, const prle_op_plan *plan, dnnl_primitive_desc_t *out)
{
    geometry g;

    if (pass != PRLE_PASS_FORWARD) {
        PRLE_TRY(create_gradient(desc, pass, out));
        return PRLE_OK;
    }
    PRLE_TRY(describe(desc, desc->memory, &g));
    if (!plan->training)
        PRLE_TRY(keep_blocks(desc, &plan->in[0], &g));
    PRLE_TRY(create_forward(desc, &g, plan->training, out));
    return PRLE_OK;
}

static prle_status bind_forward(const prle_op_desc *desc, prle_dnnl_call *call, prle_op_plan *plan)
{
    const prle_conv2d_attrs *a = &desc->u.conv2d;

    PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_SRC, PRLE_DNNL_AT(in[0]), &desc->in[0], &plan->in[0]));
    PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_WEIGHTS, PRLE_DNNL_AT(param[0]), &desc->param[0], &plan->param[0]));
    PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_DST, PRLE_DNNL_AT(out), &desc->out, &plan->out));
    if (a->bias)
        PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_BIAS, PRLE_DNNL_AT(param[1]), &desc->param[1], &plan->param[1]));
    if (a->residual)
        PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, PRLE_DNNL_AT(in[1]),
                                            &desc->out, &plan->in[1]));
    return PRLE_OK;
}

static prle_status bind_backward(const prle_op_desc *desc, prle_dnnl_call *call, prle_op_plan *plan)
{
    PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_DIFF_DST, PRLE_DNNL_AT(dout), &desc->out, &plan->dout));
    PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_WEIGHTS, PRLE_DNNL_AT(param[0]), &desc->param[0], &plan->param[0]));
    PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_DIFF_SRC, PRLE_DNNL_AT(din[0]), &desc->in[0], &plan->din[0]));
    return PRLE_OK;
}

static prle_status bind_weights(const prle_op_desc *desc, prle_dnnl_call *call, prle_op_plan *plan)
{
    plan->uses_in = true;
    PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_SRC, PRLE_DNNL_AT(in[0]), &desc->in[0], &plan->in[0]));
    PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_DIFF_DST, PRLE_DNNL_AT(dout), &desc->out, &plan->dout));
    PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_DIFF_WEIGHTS, PRLE_DNNL_AT(dparam[0]), &desc->param[0], &plan->dparam[0]));
    if (desc->u.conv2d.bias) {
        plan->dparam[1] = prle_layout_plain(PRLE_F32, &desc->param[1]);
        PRLE_TRY(prle_dnnl_call_bind_spare(call, DNNL_ARG_DIFF_BIAS, PRLE_DNNL_AT(dparam[1]), plan));
    }
    return PRLE_OK;
}

static prle_status bind(const prle_op_desc *desc, prle_op_pass pass, prle_dnnl_call *call, prle_op_plan *plan)
{
    switch (pass) {
    case PRLE_PASS_FORWARD: PRLE_TRY(bind_forward(desc, call, plan)); break;
    case PRLE_PASS_BACKWARD: PRLE_TRY(bind_backward(desc, call, plan)); break;
    default: PRLE_TRY(bind_weights(desc, call, plan)); break;
    }
    return PRLE_OK;
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    PRLE_TRY(prle_dnnl_plan(desc, pass, plan, create, bind));
    return PRLE_OK;
}

static bool supports(const prle_op_desc *desc, const char **why)
{
    const prle_act_attrs *act = &desc->u.conv2d.act;

    *why = "oneDNN's convolutions read their input as it is";
    return desc->u.conv2d.in_act.act == PRLE_ACT_NONE && prle_dnnl_supports(desc, why) &&
           (act->act == PRLE_ACT_NONE || prle_dnnl_supports_act(act, why));
}

const prle_op_impl prle_conv2d_dnnl = {.name = "dnnl",
                                       .kind = PRLE_OP_CONV2D,
                                       .supports = supports,
                                       .plan = plan_pass,
                                       .run = prle_dnnl_run,
                                       .destroy = prle_dnnl_destroy};
