/* pool_dnnl.c - pooling by oneDNN, in the layout the image arrives in. Saved: for each maximum its place in the window.
 *
 * On blocked images "jit:avx2"; on plain ones "simple_nchw:any". The mean of the whole image is a window as large as the image;
 * its result [B,C,1,1] is a plain [B,C] when blocks are full; else the image is wanted plain. A NaN never
 * wins a maximum here (the reference lets it win). */
#include "core/op/channels.h"
#include "core/op/impls.h"
#include "core/op/util_dnnl.h"

/* The window in oneDNN's words. */
typedef struct geometry {
    dnnl_memory_desc_t image, pooled;
    dnnl_dims_t kernel, stride, pad;
    dnnl_alg_kind_t alg;
} geometry;

static prle_status describe(const prle_op_desc *desc, const prle_layout *in, geometry *g)
{
    const prle_pool_attrs *a = &desc->u.pool;
    const int64_t *x = desc->in[0].dim, *y = desc->out.dim;
    const dnnl_dims_t pooled = {x[0], x[1], a->global ? 1 : y[2], a->global ? 1 : y[3]};

    if (a->global)
        *g = (geometry){.kernel = {x[2], x[3]}, .stride = {1, 1}};
    else
        *g = (geometry){.kernel = {a->kernel, a->kernel}, .stride = {a->stride, a->stride}, .pad = {a->pad, a->pad}};
    g->alg = a->max ? dnnl_pooling_max : dnnl_pooling_avg_include_padding;
    PRLE_TRY(prle_dnnl_md(in, &g->image));
    PRLE_TRY(prle_dnnl_md_any(in->dtype, 4, pooled, &g->pooled));
    return PRLE_OK;
}

static prle_status create_forward(const geometry *g, bool training, dnnl_primitive_desc_t *out)
{
    dnnl_pooling_desc_t op;

    PRLE_TRY(PRLE_DNNL(dnnl_pooling_forward_desc_init(&op, training ? dnnl_forward_training : dnnl_forward_inference, g->alg,
                                                      &g->image, &g->pooled, g->stride, g->kernel, g->pad, g->pad)));
    PRLE_TRY(prle_dnnl_pd(&op, NULL, out));
    return PRLE_OK;
}

static prle_status create_backward(const geometry *g, dnnl_primitive_desc_t *out)
{
    dnnl_pooling_desc_t op;
    dnnl_primitive_desc_t hint = NULL;
    const dnnl_memory_desc_t *pooled = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(create_forward(g, true, &hint));
    pooled = dnnl_primitive_desc_query_md(hint, dnnl_query_dst_md, 0);
    PRLE_TRY_OUT(
        PRLE_DNNL(dnnl_pooling_backward_desc_init(&op, g->alg, &g->image, pooled, g->stride, g->kernel, g->pad, g->pad)));
    PRLE_TRY_OUT(prle_dnnl_pd(&op, hint, out));
out:
    dnnl_primitive_desc_destroy(hint);
    return st;
}

static prle_status create(const prle_op_desc *desc, prle_op_pass pass, const prle_op_plan *plan, dnnl_primitive_desc_t *out)
{
    geometry g;

    PRLE_TRY(describe(desc, &plan->in[0], &g));
    if (pass == PRLE_PASS_FORWARD)
        PRLE_TRY(create_forward(&g, plan->training, out));
    else
        PRLE_TRY(create_backward(&g, out));
    return PRLE_OK;
}

static prle_status bind(const prle_op_desc *desc, prle_op_pass pass, prle_dnnl_call *call, prle_op_plan *plan)
{
    if (pass == PRLE_PASS_FORWARD) {
        PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_SRC, PRLE_DNNL_AT(in[0])));
        PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_DST, PRLE_DNNL_AT(out), &desc->out, &plan->out));
        plan->saved_bytes = prle_dnnl_call_arg_bytes(call, DNNL_ARG_WORKSPACE);
        if (plan->saved_bytes > 0)
            PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_WORKSPACE, PRLE_DNNL_AT(saved)));
        return PRLE_OK;
    }
    PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_DIFF_DST, PRLE_DNNL_AT(dout), &desc->out, &plan->dout));
    PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_DIFF_SRC, PRLE_DNNL_AT(din[0]), &desc->in[0], &plan->din[0]));
    if (prle_dnnl_call_arg_bytes(call, DNNL_ARG_WORKSPACE) > 0)
        PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_WORKSPACE, PRLE_DNNL_AT(saved)));
    return PRLE_OK;
}

static bool supports(const prle_op_desc *desc, const char **why)
{
    *why = "oneDNN's windows are all of one size";
    return desc->u.pool.bins == 0 && prle_dnnl_supports(desc, why);
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    prle_channels channels;

    if (desc->u.pool.global && !desc->u.pool.keep_dims && prle_channels_of(&plan->in[0], &channels) &&
        channels.C % channels.block != 0)
        plan->in[0] = prle_layout_plain(plan->in[0].dtype, &desc->in[0]);
    PRLE_TRY(prle_dnnl_plan(desc, pass, plan, create, bind));
    return PRLE_OK;
}

const prle_op_impl prle_pool_dnnl = {.name = "dnnl",
                                     .kind = PRLE_OP_POOL,
                                     .supports = supports,
                                     .plan = plan_pass,
                                     .run = prle_dnnl_run,
                                     .destroy = prle_dnnl_destroy};
