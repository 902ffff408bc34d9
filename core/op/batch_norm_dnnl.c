/* batch_norm_dnnl.c - batch normalisation on oneDNN's layouts, in f32 and bfloat16, by loops of our own: oneDNN's statistics are
 * too coarse (channel_stats.h), its gradient reads memory three times, and it knows neither the residual nor the cache.
 *
 * Channels are taken in groups that fit into the last cache, so that the second sweep over a group finds there what the first one
 * read: statistics, then values; or sums over the gradient, then the gradient. Where the relu let the gradient through is read
 * off the output, or computed once more from the input where there is no residual.
 *
 * Saved for the backward pass: mean [C] and 1/sqrt(var+eps) [C] of the batch, double. */
#include <math.h>

#include "core/alloc.h"
#include "core/op/channel_stats.h"
#include "core/op/impls.h"
#include "core/op/run.h"
#include "core/op/util_dnnl.h"
#include "core/simd.h"

enum { GROUP_BYTES = 8 << 20, ROUND_UP = 16 };

typedef struct norm {
    prle_batch_norm_attrs attrs;
    prle_channels z;
    prle_dtype dtype; /* of images */
    int64_t n_blocks; /* of channels */
    int64_t group;    /* blocks at a time */
} norm;

/* What the loops need of a channel. d: gradient of the value before the relu. */
typedef struct lanes {
    float mean[RUN_LANES], scale[RUN_LANES], shift[RUN_LANES]; /* value = (x - mean) scale + shift */
    float slope[RUN_LANES], offset[RUN_LANES];                 /* dx = ((d - offset) + (x - mean) slope) scale */
} lanes;

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
    norm s = {.attrs = desc->u.batch_norm}, *state = NULL;

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

/* --- the loops, over one run --------------------------------------------------------------------------------------------- */

/* y = (x - mean) scale + shift */
static inline void normalise(float *restrict y, const float *restrict x, const lanes *l, int64_t n)
{
    run_lanes mean, scale, shift, v;
    int64_t i = 0;

    memcpy(&mean, l->mean, sizeof mean);
    memcpy(&scale, l->scale, sizeof scale);
    memcpy(&shift, l->shift, sizeof shift);
    for (; i + RUN_LANES <= n; i += RUN_LANES) {
        memcpy(&v, x + i, sizeof v);
        v = (v - mean) * scale + shift;
        memcpy(y + i, &v, sizeof v);
    }
    for (; i < n; i++)
        y[i] = (x[i] - l->mean[i % RUN_LANES]) * l->scale[i % RUN_LANES] + l->shift[i % RUN_LANES];
}

/* One plane: out = act(normalised x + r), r NULL without a residual. */
PRLE_SIMD_CLONES
static void plane_forward(const norm *s, const lanes *l, const void *x, const void *r, void *y, int64_t at)
{
    const int64_t end = at + s->z.plane * s->z.block;
    float from[RUN_MAX], residual[RUN_MAX], to[RUN_MAX];

    for (int64_t n = 0; at < end; at += n) {
        n = end - at < RUN_MAX ? end - at : RUN_MAX;
        float *out = run_write(to, y, s->dtype, at);
        normalise(out, run_read(from, x, s->dtype, at, n), l, n);
        if (r != NULL) {
            const float *add = run_read(residual, r, s->dtype, at, n);
            for (int64_t i = 0; i < n; i++)
                out[i] += add[i];
        }
        if (s->attrs.act == PRLE_ACT_RELU)
            for (int64_t i = 0; i < n; i++)
                out[i] = out[i] < 0 ? 0 : out[i]; /* NaN stays */
        run_written(out, y, s->dtype, at, n);
    }
}

/* The images of a backward pass; y NULL where the relu is read off x, or where there is none. */
typedef struct gradient {
    const void *x, *y, *dy;
    void *dx, *dr; /* NULL where nobody wants it */
} gradient;

static inline void mask(float *restrict d, const float *restrict dy, const float *restrict y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        d[i] = y[i] > 0 ? dy[i] : 0;
}

/* d = dy where the relu let it through, else 0; in dy itself or in a buffer. x: already as floats */
static inline const float *gate(float buffer[RUN_MAX], float widened[RUN_MAX], const norm *s, const lanes *l, const gradient *g,
                                const float *x, int64_t at, int64_t n)
{
    const float *dy = run_read(widened, g->dy, s->dtype, at, n);
    float value[RUN_MAX];
    const float *y = value;

    if (s->attrs.act != PRLE_ACT_RELU)
        return dy;
    if (g->y != NULL)
        y = run_read(value, g->y, s->dtype, at, n);
    else
        normalise(value, x, l, n);
    mask(buffer, dy, y, n);
    return buffer;
}

/* sum[k] += d, dot[k] += d (x - mean) */
static inline void add_products(double sum[RUN_LANES], double dot[RUN_LANES], const float *restrict d, const float *restrict x,
                                const lanes *l, int64_t n)
{
    enum { CHAINS = 4 }; /* sums that do not wait for each other */
    run_lanes mean, v, w, part[CHAINS] = {{0}}, part_dot[CHAINS] = {{0}};
    float total[RUN_LANES], total_dot[RUN_LANES];
    int64_t i = 0;

    memcpy(&mean, l->mean, sizeof mean);
    for (; i + CHAINS * RUN_LANES <= n; i += CHAINS * RUN_LANES)
        for (int k = 0; k < CHAINS; k++) {
            memcpy(&v, d + i + k * RUN_LANES, sizeof v);
            memcpy(&w, x + i + k * RUN_LANES, sizeof w);
            part[k] += v;
            part_dot[k] += v * (w - mean);
        }
    v = (part[0] + part[1]) + (part[2] + part[3]);
    w = (part_dot[0] + part_dot[1]) + (part_dot[2] + part_dot[3]);
    memcpy(total, &v, sizeof v);
    memcpy(total_dot, &w, sizeof w);
    for (; i < n; i++) {
        total[i % RUN_LANES] += d[i];
        total_dot[i % RUN_LANES] += d[i] * (x[i] - l->mean[i % RUN_LANES]);
    }
    for (int k = 0; k < RUN_LANES; k++) {
        sum[k] += (double)total[k];
        dot[k] += (double)total_dot[k];
    }
}

/* The same of one plane. */
PRLE_SIMD_CLONES
static void plane_sums(const norm *s, const lanes *l, const gradient *g, int64_t at, double sum[RUN_LANES], double dot[RUN_LANES])
{
    const int64_t end = at + s->z.plane * s->z.block;
    float from[RUN_MAX], widened[RUN_MAX], gated[RUN_MAX];

    for (int64_t n = 0; at < end; at += n) {
        n = end - at < RUN_MAX ? end - at : RUN_MAX;
        const float *x = run_read(from, g->x, s->dtype, at, n), *d = gate(gated, widened, s, l, g, x, at, n);
        add_products(sum, dot, d, x, l, n);
    }
}

/* dx = ((d - offset) + (x - mean) slope) scale */
static inline void input_gradient(float *restrict dx, const float *restrict d, const float *restrict x, const lanes *l, int64_t n)
{
    run_lanes mean, scale, slope, offset, v, w;
    int64_t i = 0;

    memcpy(&mean, l->mean, sizeof mean);
    memcpy(&scale, l->scale, sizeof scale);
    memcpy(&slope, l->slope, sizeof slope);
    memcpy(&offset, l->offset, sizeof offset);
    for (; i + RUN_LANES <= n; i += RUN_LANES) {
        memcpy(&v, d + i, sizeof v);
        memcpy(&w, x + i, sizeof w);
        v = ((v - offset) + (w - mean) * slope) * scale;
        memcpy(dx + i, &v, sizeof v);
    }
    for (; i < n; i++) {
        const int64_t k = i % RUN_LANES;
        dx[i] = ((d[i] - l->offset[k]) + (x[i] - l->mean[k]) * l->slope[k]) * l->scale[k];
    }
}

/* That, and dr = d, of one plane. */
PRLE_SIMD_CLONES
static void plane_backward(const norm *s, const lanes *l, const gradient *g, int64_t at)
{
    const int64_t end = at + s->z.plane * s->z.block;
    float from[RUN_MAX], widened[RUN_MAX], gated[RUN_MAX], to[RUN_MAX];

    for (int64_t n = 0; at < end; at += n) {
        n = end - at < RUN_MAX ? end - at : RUN_MAX;
        const float *x = run_read(from, g->x, s->dtype, at, n), *d = gate(gated, widened, s, l, g, x, at, n);
        if (g->dr != NULL) {
            if (s->dtype == PRLE_F32)
                memcpy((float *)g->dr + at, d, (size_t)n * sizeof *d);
            run_written(d, g->dr, s->dtype, at, n);
        }
        if (g->dx == NULL)
            continue;
        float *dx = run_write(to, g->dx, s->dtype, at);
        input_gradient(dx, d, x, l, n);
        run_written(dx, g->dx, s->dtype, at, n);
    }
}

/* --- channels ------------------------------------------------------------------------------------------------------------ */

/* Mean and 1/sqrt(var+eps) of a channel: of the batch, as saved, or the running ones. */
static void moments(const norm *s, const prle_op_args *args, const double *saved, int64_t c, double *mean, double *invstd)
{
    const float *running_mean = args->stats[0], *running_var = args->stats[1];

    *mean = s->attrs.frozen ? (double)running_mean[c] : saved[c];
    *invstd = s->attrs.frozen ? 1 / sqrt((double)running_var[c] + s->attrs.eps) : saved[s->z.C + c];
}

/* Lanes beyond the last channel stay zero, and so do the values in them. dsum, ddot: NULL forward */
static lanes lanes_of(const norm *s, const prle_op_args *args, const double *saved, int64_t block, const double *dsum,
                      const double *ddot)
{
    const float *gamma = args->param[0], *beta = args->param[1];
    const double n = (double)(s->z.B * s->z.plane);
    lanes l = {{0}, {0}, {0}, {0}, {0}};

    for (int64_t k = 0; k < RUN_LANES; k++) {
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

static void forward_group(const norm *s, const prle_op_args *args, double *saved, int64_t first, int64_t count)
{
    if (!s->attrs.frozen)
        statistics(s, args, first, count, saved);
#pragma omp parallel for
    for (int64_t i = 0; i < s->z.B * count; i++) {
        const int64_t b = i / count, block = first + i % count;
        const lanes l = lanes_of(s, args, saved, block, NULL, NULL);

        plane_forward(s, &l, args->in[0], s->attrs.residual ? args->in[1] : NULL, args->out, b * s->z.batch + block * s->z.slice);
    }
}

/* The sums of these blocks' channels over all samples, in a fixed order. */
static void gradient_sums(const norm *s, const prle_op_args *args, const gradient *g, int64_t first, int64_t count)
{
    const sums t = sums_of(s, args);
    const int64_t P = padded(s);

#pragma omp parallel for
    for (int64_t i = 0; i < s->z.B * count; i++) {
        const int64_t b = i / count, block = first + i % count;
        const lanes l = lanes_of(s, args, args->saved, block, NULL, NULL);
        double sum[RUN_LANES] = {0}, dot[RUN_LANES] = {0};
        double *parts = t.parts + 2 * b * P + block * s->z.block;

        plane_sums(s, &l, g, b * s->z.batch + block * s->z.slice, sum, dot);
        for (int64_t k = 0; k < s->z.block; k++) {
            parts[k] = parts[P + k] = 0;
            for (int64_t lane = k; lane < RUN_LANES; lane += s->z.block) {
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

static void backward_group(const norm *s, const prle_op_args *args, const gradient *g, int64_t first, int64_t count)
{
    const sums t = sums_of(s, args);

    gradient_sums(s, args, g, first, count);
    if (g->dx == NULL && g->dr == NULL)
        return;
#pragma omp parallel for
    for (int64_t i = 0; i < s->z.B * count; i++) {
        const int64_t b = i / count, block = first + i % count;
        const lanes l = lanes_of(s, args, args->saved, block, t.mean, t.var);

        plane_backward(s, &l, g, b * s->z.batch + block * s->z.slice);
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
    const gradient g = {.x = args->in[0],
                        .y = s->attrs.residual ? args->out : NULL,
                        .dy = args->dout,
                        .dx = args->din[0],
                        .dr = s->attrs.residual ? args->din[1] : NULL};

    if (args->info->n_valid == 0) {
        zero_gradients(s, args);
        return;
    }
    for (int64_t first = 0; first < s->n_blocks; first += s->group)
        backward_group(s, args, &g, first, count_of(s, first));
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
