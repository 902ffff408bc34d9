/* batch_norm_dnnl.c - batch normalisation by oneDNN: statistics, scale, shift and ReLU in one call, "bnorm_jit:avx2" on blocked
 * images.
 *
 * Saved for the backward pass: mean [C] and biased variance [C] of the batch (f32; nothing of them when frozen), then oneDNN's
 * workspace, which says where the ReLU let the gradient through. */
#include <string.h>

#include "core/alloc.h"
#include "core/op/impls.h"
#include "core/op/util_dnnl.h"

typedef struct batch_norm_state {
    prle_dnnl_call call; /* first: see prle_dnnl_destroy */
    double momentum;
    bool updates;                 /* forward with batch statistics: the running ones follow */
    int64_t n_channels, n_values; /* n_values: per channel */
    prle_dnnl_place mean, var;    /* of the batch */
    size_t din_bytes;
} batch_norm_state;

static bool supports(const prle_op_desc *desc, const char **why)
{
    if (!prle_dnnl_supports(desc, why))
        return false;
    *why = "synchronised statistics are the reference's";
    return desc->u.batch_norm.comm == NULL;
}

static unsigned flags_of(const prle_batch_norm_attrs *a)
{
    unsigned flags = dnnl_use_scale | dnnl_use_shift;

    if (a->frozen)
        flags |= dnnl_use_global_stats;
    if (a->act == PRLE_ACT_RELU)
        flags |= dnnl_fuse_norm_relu;
    return flags;
}

/* oneDNN gives the batch's statistics away only when told that a backward pass will follow. */
static prle_status create_forward(const prle_batch_norm_attrs *a, const dnnl_memory_desc_t *image, bool training,
                                  dnnl_primitive_desc_t *out)
{
    const dnnl_prop_kind_t kind = training || !a->frozen ? dnnl_forward_training : dnnl_forward_inference;
    dnnl_batch_normalization_desc_t op;

    PRLE_TRY(PRLE_DNNL(dnnl_batch_normalization_forward_desc_init(&op, kind, image, (float)a->eps, flags_of(a))));
    PRLE_TRY(prle_dnnl_pd(&op, NULL, out));
    return PRLE_OK;
}

static prle_status create_backward(const prle_batch_norm_attrs *a, const dnnl_memory_desc_t *image, dnnl_primitive_desc_t *out)
{
    dnnl_batch_normalization_desc_t op;
    dnnl_primitive_desc_t hint = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(create_forward(a, image, true, &hint));
    PRLE_TRY_OUT(
        PRLE_DNNL(dnnl_batch_normalization_backward_desc_init(&op, dnnl_backward, image, image, (float)a->eps, flags_of(a))));
    PRLE_TRY_OUT(prle_dnnl_pd(&op, hint, out));
out:
    dnnl_primitive_desc_destroy(hint);
    return st;
}

static size_t aligned(size_t n_bytes) { return (n_bytes + 63) / 64 * 64; }

/* Mean, variance and workspace, in `saved` when a backward pass follows, else in scratch. */
static prle_status bind_kept(const prle_op_desc *desc, bool in_saved, batch_norm_state *s, prle_op_plan *plan)
{
    const size_t workspace_bytes = prle_dnnl_call_arg_bytes(&s->call, DNNL_ARG_WORKSPACE);
    const size_t vector_bytes = desc->u.batch_norm.frozen ? 0 : aligned((size_t)s->n_channels * sizeof(float));
    const size_t kept_bytes = 2 * vector_bytes + workspace_bytes;
    prle_dnnl_place kept = PRLE_DNNL_AT(saved);

    if (!in_saved)
        kept = PRLE_DNNL_AT_OFFSET(scratch, prle_dnnl_book_scratch(plan, kept_bytes));
    else
        plan->saved_bytes = kept_bytes;
    s->mean = s->var = kept;
    s->var.offset_bytes += vector_bytes;
    if (desc->u.batch_norm.frozen) {
        s->mean = PRLE_DNNL_AT(stats[0]);
        s->var = PRLE_DNNL_AT(stats[1]);
    }
    PRLE_TRY(prle_dnnl_call_bind(&s->call, DNNL_ARG_MEAN, s->mean));
    PRLE_TRY(prle_dnnl_call_bind(&s->call, DNNL_ARG_VARIANCE, s->var));
    if (workspace_bytes > 0) {
        kept.offset_bytes += 2 * vector_bytes;
        PRLE_TRY(prle_dnnl_call_bind(&s->call, DNNL_ARG_WORKSPACE, kept));
    }
    return PRLE_OK;
}

static prle_status bind_forward(const prle_op_desc *desc, batch_norm_state *s, prle_op_plan *plan)
{
    prle_dnnl_call *call = &s->call;

    s->updates = !desc->u.batch_norm.frozen;
    PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_SRC, PRLE_DNNL_AT(in[0])));
    PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_DST, PRLE_DNNL_AT(out), &desc->out, &plan->out));
    PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_SCALE, PRLE_DNNL_AT(param[0])));
    PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_SHIFT, PRLE_DNNL_AT(param[1])));
    PRLE_TRY(bind_kept(desc, plan->training, s, plan));
    return PRLE_OK;
}

static prle_status bind_backward(const prle_op_desc *desc, batch_norm_state *s, prle_op_plan *plan)
{
    prle_dnnl_call *call = &s->call;

    plan->uses_in = true;
    PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_SRC, PRLE_DNNL_AT(in[0])));
    PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_SCALE, PRLE_DNNL_AT(param[0])));
    PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_DIFF_DST, PRLE_DNNL_AT(dout), &desc->out, &plan->dout));
    plan->din[0] = plan->in[0];
    PRLE_TRY(prle_dnnl_call_bind_spare(call, DNNL_ARG_DIFF_SRC, PRLE_DNNL_AT(din[0]), plan));
    PRLE_TRY(prle_dnnl_call_bind_spare(call, DNNL_ARG_DIFF_SCALE, PRLE_DNNL_AT(dparam[0]), plan));
    PRLE_TRY(prle_dnnl_call_bind_spare(call, DNNL_ARG_DIFF_SHIFT, PRLE_DNNL_AT(dparam[1]), plan));
    /* Not needed for any gradient, but 2.6.3 refuses to run without it. */
    PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_SHIFT, PRLE_DNNL_AT(param[1])));
    PRLE_TRY(bind_kept(desc, true, s, plan));
    plan->saved_bytes = 0; /* set by the forward pass */
    s->din_bytes = plan->din[0].n_bytes;
    return PRLE_OK;
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    const prle_batch_norm_attrs *a = &desc->u.batch_norm;
    const bool forward = pass == PRLE_PASS_FORWARD;
    dnnl_memory_desc_t image;
    dnnl_primitive_desc_t pd = NULL;
    batch_norm_state *s = NULL;
    prle_status st = PRLE_OK;

    for (int i = 0; i < 2; i++)
        plan->param[i] = plan->dparam[i] = prle_layout_plain(PRLE_F32, &desc->param[i]);
    PRLE_TRY_OUT(prle_dnnl_md(&plan->in[0], &image)); /* one sweep in any layout: the image is taken as it comes */
    PRLE_TRY_OUT(forward ? create_forward(a, &image, plan->training, &pd) : create_backward(a, &image, &pd));
    PRLE_TRY_OUT(PRLE_NEW(s, 1));
    s->momentum = a->momentum;
    s->n_channels = desc->in[0].dim[1];
    s->n_values = prle_shape_count(&desc->in[0]) / s->n_channels;
    PRLE_TRY_OUT(prle_dnnl_call_init(&s->call, pd, desc, pass, plan));
    PRLE_TRY_OUT(forward ? bind_forward(desc, s, plan) : bind_backward(desc, s, plan));
    plan->state = s;
    s = NULL;
out:
    prle_dnnl_destroy(s);
    dnnl_primitive_desc_destroy(pd);
    return st;
}

/* running <- (1 - momentum) running + momentum (mean, unbiased variance) of the batch */
static void update_running(const batch_norm_state *s, const prle_op_args *args)
{
    const double n = (double)s->n_values, unbiased = n > 1 ? n / (n - 1) : 1, m = s->momentum;
    const float *mean = prle_dnnl_find(&s->mean, args), *var = prle_dnnl_find(&s->var, args);
    float *running_mean = args->stats[0], *running_var = args->stats[1];

    for (int64_t c = 0; c < s->n_channels; c++) {
        running_mean[c] = (float)((1 - m) * (double)running_mean[c] + m * (double)mean[c]);
        running_var[c] = (float)((1 - m) * (double)running_var[c] + m * (double)var[c] * unbiased);
    }
}

static prle_status run_forward(const batch_norm_state *s, const prle_op_args *args)
{
    PRLE_TRY(prle_dnnl_call_run(&s->call, args));
    if (s->updates && args->info->n_valid > 0)
        update_running(s, args);
    return PRLE_OK;
}

static prle_status run_backward(const batch_norm_state *s, const prle_op_args *args)
{
    if (args->info->n_valid > 0) {
        PRLE_TRY(prle_dnnl_call_run(&s->call, args));
        return PRLE_OK;
    }
    if (args->din[0] != NULL) /* no share in this step, no gradient */
        memset(args->din[0], 0, s->din_bytes);
    for (int i = 0; i < 2; i++)
        if (args->dparam[i] != NULL)
            memset(args->dparam[i], 0, (size_t)s->n_channels * sizeof(float));
    return PRLE_OK;
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    PRLE_TRY(pass == PRLE_PASS_FORWARD ? run_forward(state, args) : run_backward(state, args));
    return PRLE_OK;
}

const prle_op_impl prle_batch_norm_dnnl = {.name = "dnnl",
                                           .kind = PRLE_OP_BATCH_NORM,
                                           .supports = supports,
                                           .plan = plan_pass,
                                           .run = run,
                                           .destroy = prle_dnnl_destroy};
