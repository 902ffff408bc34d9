/* batch_norm_dnnl.c - batch normalisation by oneDNN: scale, shift and ReLU in one call, "bnorm_jit:avx2" on blocked images. The
 * batch's statistics are ours (channel_stats.h), and oneDNN takes them as given.
 *
 * Saved for the backward pass: mean [C] and biased variance [C] of the batch (f32; nothing of them when frozen), then oneDNN's
 * workspace, which says where the ReLU let the gradient through. */
#include <string.h>

#include "core/alloc.h"
#include "core/op/channel_stats.h"
#include "core/op/impls.h"
#include "core/op/util_dnnl.h"

typedef struct batch_norm_state {
    prle_dnnl_call call; /* first: see prle_dnnl_destroy */
    double momentum;
    bool updates;              /* forward with batch statistics: the running ones follow */
    prle_channels channels;    /* of the input, when updates */
    prle_dnnl_place mean, var; /* of the batch */
    prle_dnnl_place sums;      /* mean [C] and variance [C] in double, then scratch of channel_stats */
    int64_t n_channels;
    size_t din_bytes;
} batch_norm_state;

static bool supports(const prle_op_desc *desc, const char **why)
{
    if (!prle_dnnl_supports(desc, why))
        return false;
    *why = "synchronised statistics are the reference's";
    return desc->u.batch_norm.comm == NULL;
}

/* given: mean and variance are arguments, and constants to the gradient. */
static unsigned flags_of(const prle_batch_norm_attrs *a, bool given)
{
    unsigned flags = dnnl_use_scale | dnnl_use_shift;

    if (given)
        flags |= dnnl_use_global_stats;
    if (a->act == PRLE_ACT_RELU)
        flags |= dnnl_fuse_norm_relu;
    return flags;
}

static prle_status create_forward(const prle_batch_norm_attrs *a, const dnnl_memory_desc_t *image, bool training, bool given,
                                  dnnl_primitive_desc_t *out)
{
    const dnnl_prop_kind_t kind = training ? dnnl_forward_training : dnnl_forward_inference;
    dnnl_batch_normalization_desc_t op;

    PRLE_TRY(PRLE_DNNL(dnnl_batch_normalization_forward_desc_init(&op, kind, image, (float)a->eps, flags_of(a, given))));
    PRLE_TRY(prle_dnnl_pd(&op, NULL, out));
    return PRLE_OK;
}

static prle_status create_backward(const prle_batch_norm_attrs *a, const dnnl_memory_desc_t *image, dnnl_primitive_desc_t *out)
{
    dnnl_batch_normalization_desc_t op;
    dnnl_primitive_desc_t hint = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(create_forward(a, image, true, a->frozen, &hint));
    PRLE_TRY_OUT(PRLE_DNNL(
        dnnl_batch_normalization_backward_desc_init(&op, dnnl_backward, image, image, (float)a->eps, flags_of(a, a->frozen))));
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
    if (s->updates) {
        const size_t n_doubles = 2 * (size_t)s->n_channels + (size_t)prle_channel_stats_scratch(&s->channels);
        s->sums = PRLE_DNNL_AT_OFFSET(scratch, prle_dnnl_book_scratch(plan, n_doubles * sizeof(double)));
    }
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
    PRLE_TRY_OUT(PRLE_NEW(s, 1));
    /* One sweep in nearly any layout: the image is taken as it comes, but in f32. */
    PRLE_TRY_OUT(prle_layout_as(PRLE_F32, &plan->in[0], &plan->in[0]));
    if (!a->frozen && !prle_channels_of(&plan->in[0], &s->channels)) {
        plan->in[0] = prle_layout_plain(PRLE_F32, &desc->in[0]);
        PRLE_CHECK_OUT(prle_channels_of(&plan->in[0], &s->channels), PRLE_ENOTSUP,
                       "batch norm of images in two or three dimensions only");
    }
    PRLE_TRY_OUT(prle_dnnl_md(&plan->in[0], &image));
    PRLE_TRY_OUT(forward ? create_forward(a, &image, plan->training, true, &pd) : create_backward(a, &image, &pd));
    s->momentum = a->momentum;
    s->n_channels = desc->in[0].dim[1];
    PRLE_TRY_OUT(prle_dnnl_call_init(&s->call, pd, desc, pass, plan));
    PRLE_TRY_OUT(forward ? bind_forward(desc, s, plan) : bind_backward(desc, s, plan));
    plan->state = s;
    s = NULL;
out:
    prle_dnnl_destroy(s);
    dnnl_primitive_desc_destroy(pd);
    return st;
}

/* Mean and variance of the batch; running <- (1 - momentum) running + momentum (mean, unbiased variance) */
static void batch_statistics(const batch_norm_state *s, const prle_op_args *args)
{
    const double n = (double)(s->channels.B * s->channels.plane), unbiased = n > 1 ? n / (n - 1) : 1, m = s->momentum;
    double *sums = prle_dnnl_find(&s->sums, args), *exact_mean = sums, *exact_var = sums + s->n_channels;
    float *mean = prle_dnnl_find(&s->mean, args), *var = prle_dnnl_find(&s->var, args);
    float *running_mean = args->stats[0], *running_var = args->stats[1];

    prle_channel_stats(exact_mean, exact_var, args->in[0], &s->channels, sums + 2 * s->n_channels);
    for (int64_t c = 0; c < s->n_channels; c++) {
        mean[c] = (float)exact_mean[c];
        var[c] = (float)exact_var[c];
        if (args->info->n_valid == 0)
            continue;
        running_mean[c] = (float)((1 - m) * (double)running_mean[c] + m * exact_mean[c]);
        running_var[c] = (float)((1 - m) * (double)running_var[c] + m * exact_var[c] * unbiased);
    }
}

static prle_status run_forward(const batch_norm_state *s, const prle_op_args *args)
{
    if (s->updates)
        batch_statistics(s, args);
    PRLE_TRY(prle_dnnl_call_run(&s->call, args));
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
