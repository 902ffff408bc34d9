/* test_op_dnnl.c - every oneDNN operator against sums written out in double precision, planned and run as a plan would. */
#include <math.h>

#include "core/alloc.h"
#include "core/op/impls.h"
#include "core/op/util_dnnl.h"
#include "core/rng.h"
#include "tests/check.h"

/* --- buffers with guards ------------------------------------------------------------------------------------------------- */

enum { GUARD_BYTES = 64 };

static unsigned char *buffer_create(size_t n_bytes)
{
    unsigned char *base = NULL;

    assert_ok(prle_alloc(n_bytes + 2 * GUARD_BYTES, 1, (prle_any_ptr *)&base));
    memset(base, 0xA5, n_bytes + 2 * GUARD_BYTES);
    memset(base + GUARD_BYTES, 0xFF, n_bytes); /* NaN as float: what is not written shows */
    return base + GUARD_BYTES;
}

static void buffer_check(const unsigned char *buffer, size_t n_bytes)
{
    for (int i = 0; i < GUARD_BYTES; i++) {
        assert_int_equal(buffer[i - GUARD_BYTES], 0xA5);
        assert_int_equal(buffer[n_bytes + (size_t)i], 0xA5);
    }
}

static void buffer_destroy(unsigned char *buffer)
{
    if (buffer != NULL)
        prle_free(buffer - GUARD_BYTES);
}

/* From one layout into another, by the operator that plans use for it. */
static void reorder(const void *from, const prle_layout *from_layout, void *to, const prle_layout *to_layout)
{
    const prle_op_desc desc = {.kind = PRLE_OP_REORDER, .n_in = 1, .in = {from_layout->shape}, .out = from_layout->shape};
    prle_op_plan plan = {.in = {*from_layout}, .out = *to_layout};
    prle_op_args args = {.in = {from}, .out = to};

    if (prle_layout_equal(from_layout, to_layout)) {
        memcpy(to, from, from_layout->n_bytes);
        return;
    }
    assert_ok(prle_reorder_dnnl.plan(&desc, PRLE_PASS_FORWARD, &plan));
    args.scratch = plan.scratch_bytes > 0 ? buffer_create(plan.scratch_bytes) : NULL;
    assert_ok(prle_reorder_dnnl.run(plan.state, PRLE_PASS_FORWARD, &args));
    prle_reorder_dnnl.destroy(plan.state);
    buffer_destroy(args.scratch);
}

/* A buffer in that layout with the values of a plain tensor. */
static unsigned char *buffer_with(const prle_layout *layout, const float *values)
{
    const prle_layout plain = prle_layout_plain(PRLE_F32, &layout->shape);
    unsigned char *buffer = buffer_create(layout->n_bytes);

    reorder(values, &plain, buffer, layout);
    return buffer;
}

/* The values of a buffer in that layout; the lanes that only fill up a block must be zero, for the next operator reads them. */
static void buffer_values(const unsigned char *buffer, const prle_layout *layout, float *values)
{
    const prle_layout plain = prle_layout_plain(PRLE_F32, &layout->shape);

    buffer_check(buffer, layout->n_bytes);
    reorder(buffer, layout, values, &plain);
    unsigned char *again = buffer_with(layout, values);
    for (size_t i = 0; i < layout->n_bytes / sizeof(float); i++)
        if (((const float *)(const void *)buffer)[i] != ((const float *)(const void *)again)[i])
            fail_msg("padding lane %zu is %g", i, (double)((const float *)(const void *)buffer)[i]);
    buffer_destroy(again);
}

/* --- a node with its tensors, all plain ---------------------------------------------------------------------------------- */

typedef struct node {
    const prle_op_impl *impl;
    prle_op_desc desc;
    bool blocked;   /* inputs and gradients arrive in blocks of 8 channels, as a convolution leaves them */
    bool inference; /* no backward pass follows */
    bool no_dparam; /* nobody wants the parameters' gradients */
    prle_op_run_info info;
    float *in[PRLE_OP_MAX_IN], *out, *dout, *din[PRLE_OP_MAX_IN], *param[PRLE_OP_MAX_PARAMS], *dparam[PRLE_OP_MAX_PARAMS],
        *stats[2];
    unsigned char *saved;
    size_t saved_bytes;
    prle_layout in_layout[PRLE_OP_MAX_IN], out_layout; /* as forward left them */
    const char *name;
} node;

static float *values_create(const prle_shape *shape)
{
    float *values = NULL;

    assert_ok(PRLE_NEW(values, prle_shape_count(shape)));
    return values;
}

static float *values_random(const prle_shape *shape, prle_rng *rng)
{
    float *values = values_create(shape);

    for (int64_t i = 0; i < prle_shape_count(shape); i++)
        values[i] = (float)prle_rng_normal(rng);
    return values;
}

static void node_init(node *n, const prle_op_impl *impl, const prle_op_desc *desc)
{
    prle_rng rng = prle_rng_make(7, 0, (uint64_t)prle_shape_count(&desc->in[0]), PRLE_RNG_TEST);
    const char *why = "";

    *n = (node){.impl = impl, .desc = *desc, .info = {.n_valid = desc->in[0].dim[0]}};
    n->desc.kind = impl->kind;
    n->desc.dtype = PRLE_F32;
    assert_ok(prle_op_infer(&n->desc));
    assert_true(impl->supports(&n->desc, &why));
    for (int i = 0; i < n->desc.n_in; i++) {
        n->in[i] = values_random(&n->desc.in[i], &rng);
        n->din[i] = values_create(&n->desc.in[i]);
    }
    for (int i = 0; i < n->desc.n_params; i++) {
        n->param[i] = values_random(&n->desc.param[i], &rng);
        n->dparam[i] = values_create(&n->desc.param[i]);
    }
    n->out = values_create(&n->desc.out);
    n->dout = values_random(&n->desc.out, &rng);
}

static void node_deinit(node *n)
{
    for (int i = 0; i < PRLE_OP_MAX_IN; i++) {
        prle_free(n->in[i]);
        prle_free(n->din[i]);
    }
    for (int i = 0; i < PRLE_OP_MAX_PARAMS; i++) {
        prle_free(n->param[i]);
        prle_free(n->dparam[i]);
        prle_free(n->stats[i]);
    }
    prle_free(n->out);
    prle_free(n->dout);
    buffer_destroy(n->saved);
}

static prle_layout arrives(const node *n, const prle_shape *shape)
{
    prle_layout layout = prle_layout_plain(PRLE_F32, shape);
    dnnl_memory_desc_t md;

    if (n->blocked && shape->n == 4) {
        const dnnl_dims_t dims = {shape->dim[0], shape->dim[1], shape->dim[2], shape->dim[3]};
        assert_int_equal(dnnl_memory_desc_init_by_tag(&md, 4, dims, dnnl_f32, dnnl_nChw8c), dnnl_success);
        assert_ok(prle_dnnl_layout(&md, shape, &layout));
    }
    return layout;
}

/* What a plan fills in before it asks. */
static prle_op_plan plan_entry(const node *n, prle_op_pass pass)
{
    prle_op_plan plan = {.training = !n->inference};

    for (int i = 0; i < n->desc.n_in; i++)
        plan.in[i] = pass == PRLE_PASS_FORWARD ? arrives(n, &n->desc.in[i]) : n->in_layout[i];
    plan.out = n->out_layout;
    plan.dout = arrives(n, &n->desc.out);
    for (int i = 0; i < n->desc.n_params; i++)
        plan.param[i] = plan.dparam[i] = prle_layout_plain(PRLE_F32, &n->desc.param[i]);
    return plan;
}

/* One buffer the operator writes: garbage before the run, values after it. */
typedef struct result {
    void **arg;
    const prle_layout *layout;
    float *values;
    unsigned char *first; /* of the first of two runs */
} result;

static void add_result(result *results, int *n, void **arg, const prle_layout *layout, float *values)
{
    *arg = buffer_create(layout->n_bytes);
    results[(*n)++] = (result){arg, layout, values, NULL};
}

/* Plans and runs one pass twice: same bits, guards untouched, results back in plain tensors. */
static void run_pass(node *n, prle_op_pass pass)
{
    prle_op_plan plan = plan_entry(n, pass);
    prle_op_args args = {.info = &n->info};
    result results[8];
    int n_results = 0;
    const bool forward = pass == PRLE_PASS_FORWARD;
    const int64_t live = prle_alloc_live();

    prle_error_clear();
    if (n->impl->plan(&n->desc, pass, &plan) != PRLE_OK)
        fail_msg("%s: %s", n->name, prle_error_details());
    if (forward) {
        memcpy(n->in_layout, plan.in, sizeof n->in_layout);
        n->out_layout = plan.out;
        n->saved_bytes = plan.saved_bytes;
        n->saved = n->saved_bytes > 0 ? buffer_create(n->saved_bytes) : NULL;
        add_result(results, &n_results, &args.out, &plan.out, n->out);
    }
    if (plan.din_is_dout) {
        assert_true(pass == PRLE_PASS_BACKWARD && plan.state == NULL);
        for (int i = 0; i < n->desc.n_in; i++)
            assert_true(prle_layout_equal(&plan.din[i], &plan.dout));
        return;
    }
    args.saved = n->saved;
    args.scratch = plan.scratch_bytes > 0 ? buffer_create(plan.scratch_bytes) : NULL;
    for (int i = 0; i < n->desc.n_in; i++) {
        args.in[i] = forward || plan.uses_in ? buffer_with(&plan.in[i], n->in[i]) : NULL;
        if (pass == PRLE_PASS_BACKWARD)
            add_result(results, &n_results, &args.din[i], &plan.din[i], n->din[i]);
    }
    for (int i = 0; i < n->desc.n_params; i++) {
        args.param[i] = buffer_with(&plan.param[i], n->param[i]);
        if ((pass == PRLE_PASS_WEIGHTS && (i == 0 || !n->no_dparam)) ||
            (pass == PRLE_PASS_BACKWARD && n->desc.kind == PRLE_OP_BATCH_NORM && !n->no_dparam))
            add_result(results, &n_results, &args.dparam[i], &plan.dparam[i], n->dparam[i]);
    }
    for (int i = 0; i < 2; i++)
        args.stats[i] = n->stats[i];
    args.dout = forward ? NULL : buffer_with(&plan.dout, n->dout);
    if (!forward)
        args.out = plan.uses_out ? buffer_with(&plan.out, n->out) : NULL;

    const int64_t allocs = prle_alloc_count();
    assert_ok(n->impl->run(plan.state, pass, &args));
    assert_int_equal(prle_alloc_count(), allocs);
    for (int i = 0; i < n_results; i++) {
        buffer_values(*results[i].arg, results[i].layout, results[i].values);
        results[i].first = *results[i].arg;
        *results[i].arg = buffer_create(results[i].layout->n_bytes);
    }
    if (n->stats[0] == NULL) { /* else it would move the running statistics again */
        assert_ok(n->impl->run(plan.state, pass, &args));
        for (int i = 0; i < n_results; i++)
            assert_memory_equal(*results[i].arg, results[i].first, results[i].layout->n_bytes);
    }

    for (int i = 0; i < n_results; i++) {
        buffer_destroy(results[i].first);
        buffer_destroy(*results[i].arg);
    }
    for (int i = 0; i < n->desc.n_in; i++)
        buffer_destroy((unsigned char *)(uintptr_t)args.in[i]);
    for (int i = 0; i < n->desc.n_params; i++)
        buffer_destroy((unsigned char *)(uintptr_t)args.param[i]);
    if (!forward) {
        buffer_destroy((unsigned char *)(uintptr_t)args.dout);
        buffer_destroy(args.out);
    }
    if (n->saved != NULL)
        buffer_check(n->saved, n->saved_bytes);
    if (args.scratch != NULL)
        buffer_check(args.scratch, plan.scratch_bytes);
    buffer_destroy(args.scratch);
    if (n->impl->destroy != NULL)
        n->impl->destroy(plan.state);
    else
        prle_free(plan.state);
    assert_int_equal(prle_alloc_live(), live + (forward && n->saved != NULL));
}

/* |got - want| / |want| in the L2 norm; NaN counts as infinitely far. */
static double distance(const float *got, const double *want, int64_t count)
{
    double error = 0, norm = 0;

    for (int64_t i = 0; i < count; i++) {
        error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        norm += want[i] * want[i];
    }
    if (!isfinite(error) || norm == 0)
        return error == 0 ? 0 : HUGE_VAL;
    return sqrt(error / norm);
}

static void expect_close(const node *n, const char *what, const float *got, const double *want, const prle_shape *shape,
                         double tol)
{
    const double d = distance(got, want, prle_shape_count(shape));
    const bool ok = d <= tol;

    if (getenv("PRLE_TEST_VERBOSE") != NULL)
        printf("%-40s %-8s %.2e of %.0e\n", n->name, what, d, tol);
    if (!ok)
        fail_msg("%s: %s is %g from the oracle, allowed %g", n->name, what, d, tol);
}

static double *doubles(int64_t count)
{
    double *values = NULL;

    assert_ok(PRLE_NEW(values, count));
    return values;
}

/* --- convolution --------------------------------------------------------------------------------------------------------- */

static double act_of(const prle_act_attrs *a, double x)
{
    switch (a->act) {
    case PRLE_ACT_RELU: return x > 0 ? x : 0;
    case PRLE_ACT_LEAKY_RELU: return x > 0 ? x : a->slope * x;
    case PRLE_ACT_SIGMOID: return 1 / (1 + exp(-x));
    case PRLE_ACT_SWISH: return x / (1 + exp(-x));
    case PRLE_ACT_NONE: break;
    }
    return x;
}

typedef struct conv_sums {
    double *out, *din, *dweight; /* the gradients NULL for inference */
} conv_sums;

/* All terms of one output element: the sum itself, and its share of both gradients. */
static void conv_sum(const node *n, int64_t b, int64_t k, int64_t p, int64_t q, conv_sums *to)
{
    const prle_conv2d_attrs *a = &n->desc.u.conv2d;
    const int64_t *in = n->desc.in[0].dim, *out = n->desc.out.dim, c_group = in[1] / a->groups, k_group = out[1] / a->groups;
    const int64_t y = ((b * out[1] + k) * out[2] + p) * out[3] + q;
    const double dy = (double)n->dout[y];

    for (int64_t c = 0; c < c_group; c++) {
        for (int64_t r = 0; r < a->kernel_h; r++) {
            for (int64_t s = 0; s < a->kernel_w; s++) {
                const int64_t h = p * a->stride - a->pad_top + r, w = q * a->stride - a->pad_left + s;
                if (h < 0 || h >= in[2] || w < 0 || w >= in[3])
                    continue;
                const int64_t x_at = ((b * in[1] + k / k_group * c_group + c) * in[2] + h) * in[3] + w;
                const int64_t w_at = ((k * c_group + c) * a->kernel_h + r) * a->kernel_w + s;
                const double x = (double)n->in[0][x_at], weight = (double)n->param[0][w_at];
                to->out[y] += x * weight;
                if (to->din == NULL)
                    continue;
                to->din[x_at] += dy * weight;
                to->dweight[w_at] += dy * x;
            }
        }
    }
}

static conv_sums conv_sums_create(const node *n)
{
    const int64_t *out = n->desc.out.dim;
    conv_sums sums = {.out = doubles(prle_shape_count(&n->desc.out))};

    if (!n->inference) {
        sums.din = doubles(prle_shape_count(&n->desc.in[0]));
        sums.dweight = doubles(prle_shape_count(&n->desc.param[0]));
    }
    for (int64_t b = 0; b < out[0]; b++)
        for (int64_t k = 0; k < out[1]; k++)
            for (int64_t p = 0; p < out[2]; p++)
                for (int64_t q = 0; q < out[3]; q++)
                    conv_sum(n, b, k, p, q, &sums);
    return sums;
}

/* Sums of n products in f32: rounding errors of 6e-8 that grow like sqrt(n) at worst. Measured: 5e-7 at most. */
static const double conv_tol = 1e-6;

static void conv_check(node *n)
{
    const prle_op_desc *d = &n->desc;
    const prle_conv2d_attrs *a = &d->u.conv2d;
    const int64_t n_out = prle_shape_count(&d->out), plane = d->out.dim[2] * d->out.dim[3];
    conv_sums sums = conv_sums_create(n);
    double *dbias = doubles(a->n_out);

    for (int64_t i = 0; i < n_out; i++) {
        const int64_t k = i / plane % a->n_out;
        dbias[k] += (double)n->dout[i];
        sums.out[i] =
            act_of(&a->act, sums.out[i] + (a->bias ? (double)n->param[1][k] : 0) + (a->residual ? (double)n->in[1][i] : 0));
    }
    run_pass(n, PRLE_PASS_FORWARD);
    expect_close(n, "out", n->out, sums.out, &d->out, conv_tol);
    if (!n->inference) {
        run_pass(n, PRLE_PASS_BACKWARD);
        expect_close(n, "din", n->din[0], sums.din, &d->in[0], conv_tol);
        run_pass(n, PRLE_PASS_WEIGHTS);
        expect_close(n, "dweight", n->dparam[0], sums.dweight, &d->param[0], conv_tol);
        if (a->bias && !n->no_dparam)
            expect_close(n, "dbias", n->dparam[1], dbias, &d->param[1], conv_tol);
    }
    prle_free(sums.out);
    prle_free(sums.din);
    prle_free(sums.dweight);
    prle_free(dbias);
}

typedef struct conv_case {
    const char *name;
    int64_t B, C, H, W, K, R, S, stride, top, left, bottom, right, groups;
    bool bias;
} conv_case;

static const conv_case conv_cases[] = {
    {"3x3", 2, 16, 13, 13, 24, 3, 3, 1, 1, 1, 1, 1, 1, false},
    {"3x3 stride 2", 3, 24, 14, 14, 16, 3, 3, 2, 1, 1, 1, 1, 1, false},
    {"3x3 one sample, 1x1 image", 1, 8, 1, 1, 8, 3, 3, 1, 1, 1, 1, 1, 1, true},
    {"3x3 prime sizes", 3, 13, 11, 7, 17, 3, 3, 1, 1, 1, 1, 1, 1, true},
    {"3x3 stride 5", 2, 16, 29, 31, 16, 3, 3, 5, 0, 0, 0, 0, 1, false},
    {"3x3 asymmetric padding", 2, 13, 12, 12, 5, 3, 3, 2, 0, 0, 1, 1, 1, true},
    {"5x5 asymmetric padding", 2, 8, 17, 19, 16, 5, 5, 1, 0, 1, 4, 3, 1, true},
    {"1x3", 2, 8, 9, 9, 8, 1, 3, 1, 0, 1, 0, 1, 1, false},
    {"1x1", 2, 64, 9, 9, 40, 1, 1, 1, 0, 0, 0, 0, 1, false},
    {"1x1 with bias, odd channels", 5, 19, 3, 5, 23, 1, 1, 1, 0, 0, 0, 0, 1, true},
    {"1x1 stride 2", 2, 32, 15, 15, 48, 1, 1, 2, 0, 0, 0, 0, 1, false},
    {"1x1 of vectors", 4, 48, 1, 1, 12, 1, 1, 1, 0, 0, 0, 0, 1, true},
    {"1x1, 1 channel", 2, 1, 5, 5, 1, 1, 1, 1, 0, 0, 0, 0, 1, true},
    {"stem 7x7 stride 2", 2, 3, 33, 33, 64, 7, 7, 2, 3, 3, 3, 3, 1, false},
    {"stem 3x3 stride 2, unpadded", 2, 3, 32, 32, 32, 3, 3, 2, 0, 0, 0, 0, 1, false},
    {"stem of meso4", 2, 3, 32, 32, 8, 3, 3, 1, 1, 1, 1, 1, 1, true},
    {"depthwise 3x3", 2, 24, 13, 13, 24, 3, 3, 1, 1, 1, 1, 1, 24, false},
    {"depthwise 3x3, odd channels", 2, 13, 9, 10, 13, 3, 3, 1, 1, 1, 1, 1, 13, true},
    {"depthwise 3x3 stride 2, asymmetric", 2, 16, 14, 14, 16, 3, 3, 2, 0, 0, 1, 1, 16, false},
    {"depthwise 5x5 stride 2", 2, 16, 15, 15, 16, 5, 5, 2, 2, 2, 2, 2, 16, false},
    {"depthwise 5x5 stride 2, asymmetric", 2, 16, 16, 16, 16, 5, 5, 2, 1, 1, 2, 2, 16, false},
    {"depthwise 3x3 on 1x1", 3, 8, 1, 1, 8, 3, 3, 1, 1, 1, 1, 1, 8, false},
    {"depthwise with multiplier 2", 2, 8, 7, 7, 16, 3, 3, 1, 1, 1, 1, 1, 8, false},
    {"groups of 8", 2, 32, 9, 9, 32, 3, 3, 1, 1, 1, 1, 1, 4, true},
    {"groups of 6 and 10", 2, 24, 9, 9, 40, 3, 3, 1, 1, 1, 1, 1, 4, true},
};

static prle_op_desc conv_desc(const conv_case *c)
{
    return (prle_op_desc){.n_in = 1,
                          .in = {PRLE_SHAPE(c->B, c->C, c->H, c->W)},
                          .u.conv2d = {.n_out = c->K,
                                       .kernel_h = c->R,
                                       .kernel_w = c->S,
                                       .stride = c->stride,
                                       .pad_top = c->top,
                                       .pad_left = c->left,
                                       .pad_bottom = c->bottom,
                                       .pad_right = c->right,
                                       .groups = c->groups,
                                       .bias = c->bias}};
}

static void test_conv2d(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof conv_cases / sizeof *conv_cases; i++) {
        const prle_op_desc desc = conv_desc(&conv_cases[i]);
        node n;

        node_init(&n, &prle_conv2d_dnnl, &desc);
        n.name = conv_cases[i].name;
        n.no_dparam = i % 2 != 0;
        conv_check(&n);
        node_deinit(&n);
    }
}

static void conv_fused_check(const conv_case *c, prle_act act, bool residual, bool blocked)
{
    prle_op_desc desc = conv_desc(c), shapes = desc;
    node n;

    shapes.kind = PRLE_OP_CONV2D;
    assert_ok(prle_op_infer(&shapes));
    desc.u.conv2d.act = (prle_act_attrs){.act = act, .slope = 0.1};
    desc.u.conv2d.residual = residual;
    desc.n_in = residual ? 2 : 1;
    desc.in[1] = shapes.out;
    node_init(&n, &prle_conv2d_dnnl, &desc);
    n.name = c->name;
    n.inference = true;
    n.blocked = blocked;
    conv_check(&n);
    node_deinit(&n);
}

/* Inference: what follows the sum, in the same kernels. Two of ten combinations for each convolution. */
static void test_conv2d_fused(void **state)
{
    (void)state;
    for (int i = 0; i < (int)(sizeof conv_cases / sizeof *conv_cases); i++) {
        conv_fused_check(&conv_cases[i], (prle_act)(i % 5), true, i % 2 == 0);
        conv_fused_check(&conv_cases[i], (prle_act)((i + 1) % 5), i % 3 == 0, i % 2 != 0);
    }
}

/* The kernels that carry a network are the vectorised ones; a fallback would be ten times slower. */
static void test_conv2d_kernels(void **state)
{
    (void)state;
    static const struct {
        conv_case conv;
        const char *names[PRLE_N_PASSES];
    } expected[] = {
        {{"", 2, 64, 16, 16, 64, 3, 3, 1, 1, 1, 1, 1, 1, false}, {"jit:", "jit:", "jit:"}},
        {{"", 2, 64, 16, 16, 256, 1, 1, 1, 0, 0, 0, 0, 1, false}, {"jit_1x1:", "jit_1x1:", "jit_1x1:"}},
        {{"", 2, 728, 16, 16, 728, 3, 3, 1, 1, 1, 1, 1, 728, false}, {"jit_dw:", "jit_dw:", "jit_dw:"}},
        {{"", 2, 3, 64, 64, 64, 7, 7, 2, 3, 3, 3, 3, 1, false}, {"jit:", "", "jit:"}},
    };

    if (dnnl_get_effective_cpu_isa() < dnnl_cpu_isa_avx2)
        skip();
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        prle_op_desc desc = conv_desc(&expected[i].conv);

        desc.kind = PRLE_OP_CONV2D;
        assert_ok(prle_op_infer(&desc));
        for (int pass = 0; pass < PRLE_N_PASSES; pass++) {
            prle_op_plan plan = {.training = true};
            assert_ok(prle_conv2d_dnnl.plan(&desc, (prle_op_pass)pass, &plan));
            const char *name = prle_dnnl_name(plan.state);
            if (strstr(name, expected[i].names[pass]) == NULL)
                fail_msg("convolution %zu, pass %d: %s, expected %s", i, pass, name, expected[i].names[pass]);
            prle_conv2d_dnnl.destroy(plan.state);
        }
    }
}

/* --- refusals and failures ----------------------------------------------------------------------------------------------- */

static void test_refusals(void **state)
{
    (void)state;
    static const prle_op_impl *const impls[] = {PRLE_IMPLS_DNNL NULL};
    const char *why = NULL;

    for (int i = 0; impls[i] != NULL; i++) {
        prle_op_desc desc = {.kind = impls[i]->kind, .n_in = 1, .in = {PRLE_SHAPE(1, 8, 4, 4)}, .dtype = PRLE_F64};
        assert_false(impls[i]->supports(&desc, &why));
        assert_non_null(strstr(why, "f32"));
        desc.dtype = PRLE_BF16;
        assert_false(impls[i]->supports(&desc, &why));
        desc.dtype = PRLE_F32;
        desc.in[0].dim[0] = 0;
        assert_false(impls[i]->supports(&desc, &why));
        assert_non_null(strstr(why, "empty"));
    }
}

/* Every allocation of a plan fails once: an error, nothing leaked, no state published. */
static void test_plan_without_memory(void **state)
{
    (void)state;
    prle_op_desc desc = conv_desc(&conv_cases[0]);
    const int64_t live = prle_alloc_live();

    desc.kind = PRLE_OP_CONV2D;
    assert_ok(prle_op_infer(&desc));
    for (int pass = 0; pass < PRLE_N_PASSES; pass++) {
        prle_op_plan plan = {.training = true};
        prle_alloc_fail_at(1);
        assert_fails(prle_conv2d_dnnl.plan(&desc, (prle_op_pass)pass, &plan), PRLE_ENOMEM, "out of memory");
        prle_alloc_fail_at(0);
        assert_null(plan.state);
    }
    assert_int_equal(prle_alloc_live(), live);
}

static void test_missing_buffer(void **state)
{
    (void)state;
    prle_op_desc desc = conv_desc(&conv_cases[0]);
    prle_op_plan plan = {0};
    const prle_op_args args = {0};

    desc.kind = PRLE_OP_CONV2D;
    assert_ok(prle_op_infer(&desc));
    assert_ok(prle_conv2d_dnnl.plan(&desc, PRLE_PASS_FORWARD, &plan));
    assert_fails(prle_conv2d_dnnl.run(plan.state, PRLE_PASS_FORWARD, &args), PRLE_EINVAL, "no buffer");
    prle_conv2d_dnnl.destroy(plan.state);
}

/* --- layouts ------------------------------------------------------------------------------------------------------------- */

static void layout_by_tag(const prle_shape *shape, dnnl_format_tag_t tag, prle_layout *out)
{
    const dnnl_dims_t dims = {shape->dim[0], shape->dim[1], shape->dim[2], shape->dim[3]};
    dnnl_memory_desc_t md;

    memset(&md, 0xEE, sizeof md);
    assert_int_equal(dnnl_memory_desc_init_by_tag(&md, 4, dims, dnnl_f32, tag), dnnl_success);
    assert_ok(prle_dnnl_layout(&md, shape, out));
}

static void test_layouts(void **state)
{
    (void)state;
    const prle_shape image = PRLE_SHAPE(2, 12, 3, 5), pixel = PRLE_SHAPE(2, 16, 1, 1), column = PRLE_SHAPE(2, 1, 3, 5);
    prle_layout a, b;

    layout_by_tag(&image, dnnl_nchw, &a);
    assert_true(a.plain && a.n_bytes == 360 * sizeof(float));
    b = prle_layout_plain(PRLE_F32, &image);
    assert_true(prle_layout_equal(&a, &b));
    layout_by_tag(&image, dnnl_nChw8c, &a);
    layout_by_tag(&image, dnnl_nChw8c, &b);
    assert_true(!a.plain && a.n_bytes == 480 * sizeof(float) && prle_layout_equal(&a, &b));
    layout_by_tag(&image, dnnl_nhwc, &b);
    assert_true(!b.plain && !prle_layout_equal(&a, &b));
    layout_by_tag(&pixel, dnnl_nChw8c, &a); /* the same bytes as row-major */
    assert_true(a.plain);
    layout_by_tag(&pixel, dnnl_nhwc, &a);
    assert_true(a.plain);
    layout_by_tag(&column, dnnl_nhwc, &a);
    assert_true(a.plain);
    layout_by_tag(&column, dnnl_nChw8c, &a);
    assert_false(a.plain);
}

static void test_reorder(void **state)
{
    (void)state;
    static const dnnl_format_tag_t tags[] = {dnnl_nchw, dnnl_nChw8c, dnnl_nhwc, dnnl_nChw16c};
    const prle_shape shape = PRLE_SHAPE(3, 13, 5, 7);
    prle_rng rng = prle_rng_make(1, 0, 0, PRLE_RNG_TEST);
    float *values = values_random(&shape, &rng), *back = values_create(&shape);

    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) {
            prle_layout from, to;
            layout_by_tag(&shape, tags[i], &from);
            layout_by_tag(&shape, tags[j], &to);
            unsigned char *a = buffer_with(&from, values), *b = buffer_create(to.n_bytes);
            reorder(a, &from, b, &to);
            buffer_values(b, &to, back);
            assert_memory_equal(back, values, (size_t)prle_shape_count(&shape) * sizeof *values);
            buffer_destroy(a);
            buffer_destroy(b);
        }
    }
    /* nChw8c by hand: element (b,c,h,w) lies at (((b 2 + c/8) 5 + h) 7 + w) 8 + c%8 */
    prle_layout blocked;
    layout_by_tag(&shape, dnnl_nChw8c, &blocked);
    float *buffer = (void *)buffer_with(&blocked, values);
    for (int64_t i = 0; i < prle_shape_count(&shape); i++) {
        const int64_t w = i % 7, h = i / 7 % 5, c = i / 35 % 13, b = i / 455;
        assert_true(buffer[(((b * 2 + c / 8) * 5 + h) * 7 + w) * 8 + c % 8] == values[i]);
    }
    buffer_destroy((void *)buffer);
    prle_free(values);
    prle_free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_reorder),
        cmocka_unit_test(test_conv2d),
        cmocka_unit_test(test_conv2d_fused),
        cmocka_unit_test(test_conv2d_kernels),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_plan_without_memory),
        cmocka_unit_test(test_missing_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
