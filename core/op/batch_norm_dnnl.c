/* batch_norm_dnnl.c - batch normalisation on oneDNN's layouts, in f32 and bfloat16, by loops of our own: oneDNN's statistics are
 * too coarse (channel_stats.h), its gradient reads memory three times, and it knows neither the residual nor the cache.
 *
 * Channels are taken in groups that fit into the last cache, so that the second sweep over a group finds there what the first one
 * read: statistics, then values; or sums over the gradient, then the gradient. Where the relu let the gradient through is read
 * off the output, or computed once more from the input where there is no residual.
 *
 * Saved for the backward pass: mean [C] and 1/sqrt(var+eps) [C] of the batch, double. */
#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "core/op/channel_stats.h"
#include "core/op/impls.h"
#include "core/op/plane.h"
#include "core/op/util_dnnl.h"

enum { GROUP_BYTES = 8 << 20, ROUND_UP = 16, LANES = PRLE_PLANE_LANES };

typedef struct norm {
    prle_batch_norm_attrs attrs;
    prle_channels z;
    prle_dtype dtype; /* of images */
    int64_t n_blocks; /* of channels */
    int64_t group;    /* blocks at a time */
    const prle_plane_kernels *kernels;
} norm;

/* Per channel, rounded up to whole blocks: the arrays in `scratch`. */
typedef struct sums {
    double *mean, *var; /* forward: of the batch. backward: sum d, sum d (x - mean) */
    double *kept;       /* forward: what is saved where a backward pass follows, 2 C */
    double *parts;      /* of channel_stats; of each sample, likewise */
} sums;

static int64_t padded(const norm *s) { return (s->n_blocks * s->z.block + ROUND_UP - 1) / ROUND_UP * ROUND_UP; }

static sums sums_of(const norm *s, const prle_op_args *args)
{
    double *base = args->scratch;

    return (sums){base, base + padded(s), base + 2 * padded(s), base + 4 * padded(s)};
}

static bool supports(const prle_op_desc *desc, const char **why)
{
    if (!prle_dnnl_supports(desc, why))
        return false;
    *why = "synchronised statistics are the reference's";
    return desc->u.batch_norm.comm == NULL;
}

static prle_status layouts(const prle_op_desc *desc, prle_op_pass pass, norm *s, prle_op_plan *plan)
{
    const bool relu = s->attrs.act == PRLE_ACT_RELU;

    if (!prle_channels_of(&plan->in[0], &s->z)) {
        plan->in[0] = prle_layout_plain(plan->in[0].dtype, &desc->in[0]);
        PRLE_CHECK(prle_channels_of(&plan->in[0], &s->z), PRLE_ENOTSUP, "batch norm of images in two or three dimensions only");
    }
    s->dtype = plan->in[0].dtype;
    plan->in[1] = plan->out = plan->in[0];
    for (int i = 0; i < 2; i++)
        plan->param[i] = plan->dparam[i] = prle_layout_plain(PRLE_F32, &desc->param[i]);
    if (pass == PRLE_PASS_FORWARD)
        return PRLE_OK;
    plan->dout = plan->din[0] = plan->din[1] = plan->in[0];
    plan->uses_in = true;
    plan->uses_out = s->attrs.residual && relu;
    return PRLE_OK;
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    const int64_t images = pass == PRLE_PASS_FORWARD ? 1 : 2; /* that both sweeps read */
    norm s = {.attrs = desc->u.batch_norm, .kernels = prle_plane_kernels_get()}, *state = NULL;

    PRLE_TRY(layouts(desc, pass, &s, plan));
    s.n_blocks = (s.z.C + s.z.block - 1) / s.z.block;
    const int64_t block_bytes = images * s.z.B * s.z.plane * s.z.block * (int64_t)prle_dtype_bytes(s.dtype);
    s.group = GROUP_BYTES / block_bytes < 1 ? 1 : GROUP_BYTES / block_bytes;
    plan->scratch_bytes = (size_t)((4 + 2 * s.z.B) * padded(&s)) * sizeof(double);
    plan->saved_bytes = pass == PRLE_PASS_FORWARD && !s.attrs.frozen ? 2 * (size_t)s.z.C * sizeof(double) : 0;
    PRLE_TRY(PRLE_NEW(state, 1));
    *state = s;
    plan->state = state;
    return PRLE_OK;
}

/* Mean and 1/sqrt(var+eps) of a channel: of the batch, as saved, or the running ones. */
static void moments(const norm *s, const prle_op_args *args, const double *saved, int64_t c, double *mean, double *invstd)
{
    const float *running_mean = args->stats[0], *running_var = args->stats[1];

    *mean = s->attrs.frozen ? (double)running_mean[c] : saved[c];
    *invstd = s->attrs.frozen ? 1 / sqrt((double)running_var[c] + s->attrs.eps) : saved[s->z.C + c];
}

/* Lanes beyond the last channel stay zero, and so do the values in them. dsum, ddot: NULL forward */
static prle_plane_lanes lanes_of(const norm *s, const prle_op_args *args, const double *saved, int64_t block, const double *dsum,
                                 const double *ddot)
{
    const float *gamma = args->param[0], *beta = args->param[1];
    const double n = (double)(s->z.B * s->z.plane);
    prle_plane_lanes l = {{0}, {0}, {0}, {0}, {0}};

    for (int64_t k = 0; k < LANES; k++) {
        const int64_t c = block * s->z.block + k % s->z.block;
        double mean, invstd;
        if (c >= s->z.C)
            continue;
        moments(s, args, saved, c, &mean, &invstd);
        const double scale = (double)gamma[c] * invstd;
        l.mean[k] = (float)mean;
        const double rest = (double)l.mean[k] - mean; /* what rounding has moved the mean by */
        l.scale[k] = (float)scale;
        l.shift[k] = (float)((double)beta[c] + rest * scale);
        if (dsum == NULL || s->attrs.frozen)
            continue;
        const double slope = -invstd * invstd * ddot[c] / n;
        l.slope[k] = (float)slope;
        l.offset[k] = (float)(dsum[c] / n - rest * slope);
    }
    return l;
}

/* Channels of these blocks: of the batch into saved; the running ones follow. */
static void statistics(const norm *s, const prle_op_args *args, int64_t first, int64_t count, double *saved)
{
    const sums t = sums_of(s, args);
    const double n = (double)(s->z.B * s->z.plane), unbiased = n > 1 ? n / (n - 1) : 1, m = s->attrs.momentum;
    const int64_t c0 = first * s->z.block, C = s->z.C - c0 < count * s->z.block ? s->z.C - c0 : count * s->z.block;
    float *running_mean = args->stats[0], *running_var = args->stats[1];
    prle_channels part = s->z;

    part.C = C;
    prle_channel_stats(t.mean, t.var, (const char *)args->in[0] + (size_t)(first * s->z.slice) * prle_dtype_bytes(s->dtype),
                       s->dtype, &part, t.parts);
    for (int64_t i = 0; i < C; i++) {
        const int64_t c = c0 + i;
        saved[c] = t.mean[i];
        saved[s->z.C + c] = 1 / sqrt(t.var[i] + s->attrs.eps);
        if (args->info->n_valid == 0)
            continue;
        running_mean[c] = (float)((1 - m) * (double)running_mean[c] + m * t.mean[i]);
        running_var[c] = (float)((1 - m) * (double)running_var[c] + m * t.var[i] * unbiased);
    }
}

static prle_plane_images images_of(const norm *s)
{
    return (prle_plane_images){
        .bf16 = s->dtype == PRLE_BF16, .relu = s->attrs.act == PRLE_ACT_RELU, .n = s->z.plane * s->z.block};
}

static void forward_group(const norm *s, const prle_op_args *args, double *saved, int64_t first, int64_t count)
{
    prle_plane_images z = images_of(s);

    z.x = args->in[0];
    z.residual = s->attrs.residual ? args->in[1] : NULL;
    z.out = args->out;
    if (!s->attrs.frozen)
        statistics(s, args, first, count, saved);
#pragma omp parallel for
    for (int64_t i = 0; i < s->z.B * count; i++) {
        const int64_t b = i / count, block = first + i % count;
        const prle_plane_lanes l = lanes_of(s, args, saved, block, NULL, NULL);

        s->kernels->forward(&z, &l, b * s->z.batch + block * s->z.slice);
    }
}

/* The sums of these blocks' channels over all samples, in a fixed order. */
static void gradient_sums(const norm *s, const prle_op_args *args, const prle_plane_images *z, int64_t first, int64_t count)
{
    const sums t = sums_of(s, args);
    const int64_t P = padded(s);

#pragma omp parallel for
    for (int64_t i = 0; i < s->z.B * count; i++) {
        const int64_t b = i / count, block = first + i % count;
        const prle_plane_lanes l = lanes_of(s, args, args->saved, block, NULL, NULL);
        double sum[LANES] = {0}, dot[LANES] = {0};
        double *parts = t.parts + 2 * b * P + block * s->z.block;

        s->kernels->sums(z, &l, b * s->z.batch + block * s->z.slice, sum, dot);
        for (int64_t k = 0; k < s->z.block; k++) {
            parts[k] = parts[P + k] = 0;
            for (int64_t lane = k; lane < LANES; lane += s->z.block) {
                parts[k] += sum[lane];
                parts[P + k] += dot[lane];
            }
        }
    }
    for (int64_t c = first * s->z.block; c < (first + count) * s->z.block && c < s->z.C; c++) {
        double mean, invstd;

        t.mean[c] = t.var[c] = 0;
        for (int64_t b = 0; b < s->z.B; b++) {
            t.mean[c] += t.parts[2 * b * P + c];
            t.var[c] += t.parts[(2 * b + 1) * P + c];
        }
        moments(s, args, args->saved, c, &mean, &invstd);
        t.var[c] += ((double)(float)mean - mean) * t.mean[c]; /* the loops take the mean as a float */
    }
}

static void backward_group(const norm *s, const prle_op_args *args, const prle_plane_images *z, int64_t first, int64_t count)
{
    const sums t = sums_of(s, args);

    gradient_sums(s, args, z, first, count);
    if (z->dx == NULL)
        return;
#pragma omp parallel for
    for (int64_t i = 0; i < s->z.B * count; i++) {
        const int64_t b = i / count, block = first + i % count;
        const prle_plane_lanes l = lanes_of(s, args, args->saved, block, t.mean, t.var);

        s->kernels->backward(z, &l, b * s->z.batch + block * s->z.slice);
    }
}

static void parameter_gradients(const norm *s, const prle_op_args *args)
{
    const sums t = sums_of(s, args);
    float *dgamma = args->dparam[0], *dbeta = args->dparam[1];

    for (int64_t c = 0; c < s->z.C; c++) {
        double mean, invstd;

        moments(s, args, args->saved, c, &mean, &invstd);
        if (dgamma != NULL)
            dgamma[c] = (float)(t.var[c] * invstd);
        if (dbeta != NULL)
            dbeta[c] = (float)t.mean[c];
    }
}

/* No share in this step, no gradient. */
static void zero_gradients(const norm *s, const prle_op_args *args)
{
    for (int i = 0; i < 2; i++) {
        if (args->din[i] != NULL)
            memset(args->din[i], 0, (size_t)(s->z.B * s->z.batch) * prle_dtype_bytes(s->dtype));
        if (args->dparam[i] != NULL)
            memset(args->dparam[i], 0, (size_t)s->z.C * sizeof(float));
    }
}

static int64_t count_of(const norm *s, int64_t first) { return s->n_blocks - first < s->group ? s->n_blocks - first : s->group; }

static void run_backward(const norm *s, const prle_op_args *args)
{
    prle_plane_images z = images_of(s);

    z.x = args->in[0];
    z.out = s->attrs.residual ? args->out : NULL;
    z.dout = args->dout;
    z.dx = args->din[0];
    z.dresidual = s->attrs.residual ? args->din[1] : NULL;
    if (args->info->n_valid == 0) {
        zero_gradients(s, args);
        return;
    }
    for (int64_t first = 0; first < s->n_blocks; first += s->group)
        backward_group(s, args, &z, first, count_of(s, first));
    parameter_gradients(s, args);
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const norm *s = state;
    double *saved = args->saved != NULL ? args->saved : sums_of(s, args).kept;

    if (pass == PRLE_PASS_FORWARD)
        for (int64_t first = 0; first < s->n_blocks; first += s->group)
            forward_group(s, args, saved, first, count_of(s, first));
    else
        run_backward(s, args);
    return PRLE_OK;
}

const prle_op_impl prle_batch_norm_dnnl = {
    .name = "dnnl", .kind = PRLE_OP_BATCH_NORM, .supports = supports, .plan = plan_pass, .run = run};
