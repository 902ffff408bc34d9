/* test_op_dnnl.c - every oneDNN operator against sums written out in double precision, planned and run as a plan would; once with
 * tensors in f32, and once with tensors in bfloat16 where the processor has it. */
#include <math.h>

#include "core/alloc.h"
#include "core/op/channels.h"
#include "core/op/impls.h"
#include "core/op/util_dnnl.h"
#include "core/rng.h"
#include "core/threads.h"
#include "tests/check.h"
#include "tests/core/op_cases.h"

/* What the nodes of the tests have in memory: F32 or BF16. */
static prle_dtype memory;

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

static float element(const unsigned char *buffer, prle_dtype dtype, size_t i)
{
    float value = 0;

    if (dtype == PRLE_BF16) /* the upper half of a float */
        memcpy((unsigned char *)&value + 2, buffer + 2 * i, 2);
    else
        memcpy(&value, buffer + sizeof value * i, sizeof value);
    return value;
}

/* The values of a buffer in that layout; the lanes that only fill up a block must be zero, for the next operator reads them. */
static void buffer_values(const unsigned char *buffer, const prle_layout *layout, float *values)
{
    const prle_layout plain = prle_layout_plain(PRLE_F32, &layout->shape);

    buffer_check(buffer, layout->n_bytes);
    reorder(buffer, layout, values, &plain);
    unsigned char *again = buffer_with(layout, values);
    for (size_t i = 0; i < layout->n_bytes / prle_dtype_bytes(layout->dtype); i++) {
        const float got = element(buffer, layout->dtype, i), want = element(again, layout->dtype, i);
        if (got != want && !(isnan(got) && isnan(want)))
            fail_msg("padding lane %zu is %g", i, (double)got);
    }
    buffer_destroy(again);
}

/* --- a node with its tensors, all plain ---------------------------------------------------------------------------------- */

typedef struct node {
    const prle_op_impl *impl;
    prle_op_desc desc;
    bool blocked_in[PRLE_OP_MAX_IN],
        blocked;    /* each input, and dout, arrive in blocks of channels, as a convolution leaves them */
    bool inference; /* no backward pass follows */
    bool no_dparam; /* nobody wants the parameters' gradients (a convolution's bias) */
    bool no_din;    /* nobody wants the input's */
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

/* Eight bits of mantissa, by truncation: exact in either type. */
static void values_shorten(float *values, const prle_shape *shape)
{
    for (int64_t i = 0; i < prle_shape_count(shape) && memory == PRLE_BF16; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bits &= 0xFFFF0000u;
        memcpy(&values[i], &bits, sizeof bits);
    }
}

static float *values_random(const prle_shape *shape, prle_rng *rng)
{
    float *values = values_create(shape);

    for (int64_t i = 0; i < prle_shape_count(shape); i++)
        values[i] = (float)prle_rng_normal(rng);
    values_shorten(values, shape);
    return values;
}

static void node_init(node *n, const prle_op_impl *impl, const prle_op_desc *desc)
{
    prle_rng rng = prle_rng_make(7, 0, (uint64_t)prle_shape_count(&desc->in[0]), PRLE_RNG_TEST);
    const char *why = "";

    *n = (node){.impl = impl, .desc = *desc, .info = {.n_valid = desc->in[0].dim[0]}};
    n->desc.kind = impl->kind;
    n->desc.dtype = PRLE_F32;
    n->desc.memory = memory;
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

static void node_arrives_blocked(node *n, bool blocked)
{
    for (int i = 0; i < PRLE_OP_MAX_IN; i++)
        n->blocked_in[i] = blocked;
    n->blocked = blocked;
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
    }
    for (int i = 0; i < 2; i++)
        prle_free(n->stats[i]);
    prle_free(n->out);
    prle_free(n->dout);
    buffer_destroy(n->saved);
}

static prle_layout arrives(bool blocked, const prle_shape *shape)
{
    prle_layout layout = prle_layout_plain(memory, shape);

    if (blocked && shape->n == 4)
        assert_ok(prle_layout_blocked(memory, shape, memory == PRLE_BF16 ? 16 : 8, &layout));
    return layout;
}

/* What a plan fills in before it asks. */
static prle_op_plan plan_entry(const node *n, prle_op_pass pass)
{
    prle_op_plan plan = {.training = !n->inference};

    for (int i = 0; i < n->desc.n_in; i++)
        plan.in[i] = pass == PRLE_PASS_FORWARD ? arrives(n->blocked_in[i], &n->desc.in[i]) : n->in_layout[i];
    plan.out = n->out_layout;
    plan.dout = arrives(n->blocked, &n->desc.out);
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
        if (pass == PRLE_PASS_BACKWARD && !n->no_din)
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

/* The tolerance of what may have been rounded to bfloat16 once: by 2^-8 of each value at most. */
static double stored(double tol) { return memory == PRLE_BF16 ? fmax(tol, 0x1p-8) : tol; }

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
    case PRLE_ACT_NONE:
    case PRLE_N_ACTS: break;
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
                const double x = act_of(&a->in_act, (double)n->in[0][x_at]), weight = (double)n->param[0][w_at];
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
    expect_close(n, "out", n->out, sums.out, &d->out, stored(conv_tol));
    if (!n->inference) {
        run_pass(n, PRLE_PASS_BACKWARD);
        expect_close(n, "din", n->din[0], sums.din, &d->in[0], stored(conv_tol));
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

static void test_conv2d(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CONV_CASES; i++) {
        const prle_op_desc desc = conv_desc(&conv_cases[i]);
        node n;

        node_init(&n, &prle_conv2d_dnnl, &desc);
        n.name = conv_cases[i].name;
        n.no_dparam = i % 2 != 0;
        conv_check(&n);
        node_deinit(&n);
    }
}

/* In inference an image that arrives in blocks leaves in such. */
static void blocks_stay(const node *n)
{
    prle_channels in, out;

    assert_true(prle_channels_of(&n->in_layout[0], &in) && prle_channels_of(&n->out_layout, &out));
    assert_true(in.block > 1 && (out.block == in.block || (out.plane == 1 && out.C % in.block == 0)));
}

static void conv_fused_check(const prle_op_impl *impl, const conv_case *c, prle_act in_act, prle_act act, bool residual,
                             bool blocked)
{
    prle_op_desc desc = conv_desc(c), shapes = desc;
    node n;

    shapes.kind = PRLE_OP_CONV2D;
    assert_ok(prle_op_infer(&shapes));
    desc.u.conv2d.in_act = (prle_act_attrs){.act = in_act};
    desc.u.conv2d.act = (prle_act_attrs){.act = act, .slope = 0.1};
    desc.u.conv2d.residual = residual;
    desc.n_in = residual ? 2 : 1;
    desc.in[1] = shapes.out;
    node_init(&n, impl, &desc);
    n.name = c->name;
    n.inference = true;
    node_arrives_blocked(&n, blocked);
    conv_check(&n);
    if (impl == &prle_conv2d_dnnl && blocked && c->groups == 1 && c->H * c->W > 1)
        blocks_stay(&n);
    node_deinit(&n);
}

/* Inference: what follows the sum, in the same kernels. Two of ten combinations for each convolution. */
static void test_conv2d_fused(void **state)
{
    (void)state;
    for (int i = 0; i < (int)(N_CONV_CASES); i++) {
        const prle_act act = (prle_act)(i % PRLE_N_ACTS), next = (prle_act)((i + 1) % PRLE_N_ACTS);
        conv_fused_check(&prle_conv2d_dnnl, &conv_cases[i], PRLE_ACT_NONE, act, true, i % 2 == 0);
        conv_fused_check(&prle_conv2d_dnnl, &conv_cases[i], PRLE_ACT_NONE, next, i % 3 == 0, i % 2 != 0);
        conv_fused_check(&prle_conv2d_ref_f32, &conv_cases[i], next, act, i % 3 == 0, false);
    }
}

/* For the kernels of conv2d_depthwise.c: rows of one column, of a few, of one register block and some more; images smaller than
 * the kernel; paddings of no two equal sides; channels of one block, of less, of many; more rows than are summed together. */
static const conv_case depthwise_cases[] = {
    {"3x3 one value", 1, 1, 1, 1, 1, 3, 3, 1, 1, 1, 1, 1, 1, true},
    {"3x3", 2, 24, 13, 13, 24, 3, 3, 1, 1, 1, 1, 1, 24, false},
    {"3x3 on 8x8", 3, 32, 8, 8, 32, 3, 3, 1, 1, 1, 1, 1, 32, true},
    {"3x3 two columns, no padding", 2, 17, 9, 4, 17, 3, 3, 1, 0, 0, 0, 0, 17, true},
    {"3x3 many rows", 2, 5, 70, 3, 5, 3, 3, 1, 1, 1, 1, 1, 5, true},
    {"3x3 wide", 1, 20, 3, 131, 20, 3, 3, 1, 2, 0, 1, 2, 20, false},
    {"3x3/2", 2, 16, 14, 14, 16, 3, 3, 2, 0, 0, 1, 1, 16, false},
    {"3x3/2 odd", 3, 19, 15, 11, 19, 3, 3, 2, 1, 1, 1, 1, 19, true},
    {"3x3/2 one value", 2, 3, 1, 1, 3, 3, 3, 2, 1, 1, 1, 1, 3, true},
    {"3x3/2 rows that no window reaches", 2, 8, 6, 8, 8, 3, 3, 2, 0, 0, 0, 0, 8, true},
    {"5x5", 2, 48, 16, 16, 48, 5, 5, 1, 2, 2, 2, 2, 48, true},
    {"5x5 on 3x2", 2, 33, 3, 2, 33, 5, 5, 1, 2, 2, 2, 2, 33, true},
    {"5x5 asymmetric", 3, 7, 11, 17, 7, 5, 5, 1, 4, 1, 0, 3, 7, false},
    {"5x5/2", 2, 40, 16, 16, 40, 5, 5, 2, 1, 1, 2, 2, 40, true},
    {"5x5/2 even", 2, 16, 15, 18, 16, 5, 5, 2, 2, 2, 2, 2, 16, false},
    {"5x5/2 asymmetric", 1, 9, 10, 7, 9, 5, 5, 2, 0, 3, 4, 1, 9, true},
    {"7x7", 2, 18, 10, 12, 18, 7, 7, 1, 3, 3, 3, 3, 18, true},
    {"7x7/2", 2, 18, 13, 12, 18, 7, 7, 2, 6, 2, 1, 3, 18, true},
    {"7x7 on 1x1", 2, 16, 1, 1, 16, 7, 7, 1, 3, 3, 3, 3, 16, true},
    {"1,040 channels", 1, 1040, 5, 5, 1040, 3, 3, 1, 1, 1, 1, 1, 1040, true},
};
enum { N_DEPTHWISE = sizeof depthwise_cases / sizeof *depthwise_cases };

static void test_depthwise(void **state)
{
    (void)state;
    for (int i = 0; i < N_DEPTHWISE; i++) {
        const prle_op_desc desc = conv_desc(&depthwise_cases[i]);
        node n;

        node_init(&n, &prle_conv2d_depthwise, &desc);
        n.name = depthwise_cases[i].name;
        n.no_dparam = i % 2 != 0;
        node_arrives_blocked(&n, i % 3 != 0);
        conv_check(&n);
        node_deinit(&n);
        for (prle_act act = PRLE_ACT_NONE; act < PRLE_N_ACTS; act++)
            conv_fused_check(&prle_conv2d_depthwise, &depthwise_cases[i],
                             (i + (int)act) % 3 == 0 ? PRLE_ACT_NONE : PRLE_ACT_SWISH, act, (i + (int)act) % 2 == 0, i % 2 == 0);
    }
}

/* The same bits for any number of threads. */
static void test_depthwise_threads(void **state)
{
    (void)state;
    static const int wanted[] = {1, 2, 3, 7};
    const int before = prle_threads_current();

    for (int i = 0; i < N_DEPTHWISE; i++) {
        const prle_op_desc desc = conv_desc(&depthwise_cases[i]);
        node n[4];
        int threads;

        for (int t = 0; t < 4; t++) {
            assert_ok(prle_threads_setup(wanted[t], 1, &threads));
            node_init(&n[t], &prle_conv2d_depthwise, &desc);
            n[t].name = depthwise_cases[i].name;
            for (int pass = 0; pass < PRLE_N_PASSES; pass++)
                run_pass(&n[t], (prle_op_pass)pass);
            assert_memory_equal(n[t].out, n[0].out, (size_t)prle_shape_count(&n[0].desc.out) * sizeof(float));
            assert_memory_equal(n[t].din[0], n[0].din[0], (size_t)prle_shape_count(&n[0].desc.in[0]) * sizeof(float));
            assert_memory_equal(n[t].dparam[0], n[0].dparam[0], (size_t)prle_shape_count(&n[0].desc.param[0]) * sizeof(float));
        }
        for (int t = 0; t < 4; t++)
            node_deinit(&n[t]);
        assert_ok(prle_threads_setup(before, 1, &threads));
    }
}

/* The whole of a plane's values that depend on one NaN are NaN; other planes are not. */
static void test_depthwise_nan(void **state)
{
    (void)state;
    const conv_case c = {"NaN", 2, 16, 9, 9, 16, 5, 5, 1, 2, 2, 2, 2, 16, true};

    for (prle_act act = PRLE_ACT_NONE; act < PRLE_N_ACTS; act++) {
        prle_op_desc desc = conv_desc(&c);
        node n;

        desc.u.conv2d.act = (prle_act_attrs){.act = act, .slope = 0.1};
        desc.u.conv2d.in_act = (prle_act_attrs){.act = act == PRLE_ACT_RELU ? PRLE_ACT_SWISH : PRLE_ACT_NONE};
        node_init(&n, &prle_conv2d_depthwise, &desc);
        n.name = c.name;
        n.in[0][81 * 3 + 4 * 9 + 4] = NAN; /* the middle of plane 3: any output within 2 of it */
        run_pass(&n, PRLE_PASS_FORWARD);
        for (int i = 0; i < 2 * 16 * 81; i++) {
            const int h = i % 81 / 9, w = i % 9;
            assert_true((isnan(n.out[i]) != 0) == (i / 81 == 3 && h >= 2 && h <= 6 && w >= 2 && w <= 6));
        }
        node_deinit(&n);
    }
}

static void test_depthwise_refusals(void **state)
{
    (void)state;
    static const struct {
        conv_case conv;
        const char *why;
    } refused[] = {
        {{"", 2, 8, 9, 9, 16, 3, 3, 1, 1, 1, 1, 1, 8, false}, "depthwise only"},
        {{"", 2, 8, 9, 9, 8, 3, 3, 1, 1, 1, 1, 1, 4, false}, "depthwise only"},
        {{"", 2, 8, 9, 9, 8, 3, 5, 1, 1, 1, 1, 1, 8, false}, "kernels"},
        {{"", 2, 8, 9, 9, 8, 1, 1, 1, 0, 0, 0, 0, 8, false}, "kernels"},
        {{"", 2, 8, 9, 9, 8, 3, 3, 3, 1, 1, 1, 1, 8, false}, "strides"},
        {{"", 2, 8, 9, 9, 8, 3, 3, 1, 3, 1, 1, 1, 8, false}, "padding"},
        {{"", 0, 8, 9, 9, 8, 3, 3, 1, 1, 1, 1, 1, 8, false}, "empty"},
    };

    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        prle_op_desc desc = conv_desc(&refused[i].conv);
        const char *why = "";

        assert_false(prle_conv2d_depthwise.supports(&desc, &why));
        assert_non_null(strstr(why, refused[i].why));
    }
    prle_op_desc desc = conv_desc(&depthwise_cases[0]);
    const char *why_not = "";

    desc.u.conv2d.in_act.act = PRLE_ACT_RELU;
    assert_false(prle_conv2d_depthwise.supports(&desc, &why_not));
    assert_non_null(strstr(why_not, "swish only"));
    desc.u.conv2d.in_act.act = PRLE_ACT_NONE;
    const char *why = "";
    desc.dtype = PRLE_F64;
    assert_false(prle_conv2d_depthwise.supports(&desc, &why));
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

/* --- batch normalisation ------------------------------------------------------------------------------------------------- */

typedef struct norm_sums {
    double *mean, *var, *out, *din, *dresidual, *dgamma, *dbeta;
} norm_sums;

/* f(b,c,i) over all values of channel c. */
#define EACH_OF_CHANNEL(b, i, at, shape, c, plane)                                                                               \
    for (int64_t b = 0; b < (shape)->dim[0]; b++)                                                                                \
        for (int64_t i = 0, at = (b * (shape)->dim[1] + (c)) * (plane); i < (plane); i++, at++)

static void norm_channel(const node *n, int64_t c, norm_sums *s)
{
    const prle_batch_norm_attrs *a = &n->desc.u.batch_norm;
    const prle_shape *shape = &n->desc.in[0];
    const int64_t plane = prle_shape_count(shape) / (shape->dim[0] * shape->dim[1]);
    const double count = (double)(shape->dim[0] * plane), gamma = (double)n->param[0][c], beta = (double)n->param[1][c];

    if (a->frozen) {
        s->mean[c] = (double)n->stats[0][c];
        s->var[c] = (double)n->stats[1][c];
    } else {
        EACH_OF_CHANNEL(b, i, at, shape, c, plane) s->mean[c] += (double)n->in[0][at] / count;
        EACH_OF_CHANNEL(b, i, at, shape, c, plane) s->var[c] += pow((double)n->in[0][at] - s->mean[c], 2) / count;
    }
    const double invstd = 1 / sqrt(s->var[c] + a->eps);
    EACH_OF_CHANNEL(b, i, at, shape, c, plane)
    {
        const double xhat = ((double)n->in[0][at] - s->mean[c]) * invstd;
        const double y = gamma * xhat + beta + (a->residual ? (double)n->in[1][at] : 0);
        const bool off = a->act == PRLE_ACT_RELU && y <= 0;
        s->out[at] = off ? 0 : y;
        s->din[at] = s->dresidual[at] = off ? 0 : (double)n->dout[at]; /* din: dy for now */
        s->dbeta[c] += s->din[at];
        s->dgamma[c] += s->din[at] * xhat;
    }
    EACH_OF_CHANNEL(b, i, at, shape, c, plane)
    {
        const double xhat = ((double)n->in[0][at] - s->mean[c]) * invstd;
        const double centre = a->frozen ? 0 : (s->dbeta[c] + xhat * s->dgamma[c]) / count;
        s->din[at] = gamma * invstd * (s->din[at] - centre);
    }
}

static norm_sums norm_sums_create(const node *n)
{
    const int64_t C = n->desc.in[0].dim[1], count = prle_shape_count(&n->desc.in[0]);
    norm_sums s = {doubles(C), doubles(C), doubles(count), doubles(count), doubles(count), doubles(C), doubles(C)};

    for (int64_t c = 0; c < C; c++)
        norm_channel(n, c, &s);
    return s;
}

static void norm_sums_free(norm_sums *s)
{
    double *const all[] = {s->mean, s->var, s->out, s->din, s->dresidual, s->dgamma, s->dbeta};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        prle_free(all[i]);
}

/* running <- (1 - momentum) running + momentum batch, the variance unbiased as PyTorch has it; or unchanged */
static void expect_running(const node *n, const norm_sums *s, const float *mean_before, const float *var_before)
{
    const prle_batch_norm_attrs *a = &n->desc.u.batch_norm;
    const int64_t C = n->desc.in[0].dim[1];
    const double count = (double)(prle_shape_count(&n->desc.in[0]) / C), unbiased = count > 1 ? count / (count - 1) : 1;
    const double m = a->frozen || n->info.n_valid == 0 ? 0 : a->momentum;
    double *mean = doubles(C), *var = doubles(C);

    for (int64_t c = 0; c < C; c++) {
        mean[c] = (1 - m) * (double)mean_before[c] + m * s->mean[c];
        var[c] = (1 - m) * (double)var_before[c] + m * s->var[c] * unbiased;
    }
    expect_close(n, "mean", n->stats[0], mean, &n->desc.param[0], 1e-6);
    expect_close(n, "var", n->stats[1], var, &n->desc.param[0], 1e-6);
    prle_free(mean);
    prle_free(var);
}

static void zero(double *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        values[i] = 0;
}

/* Values of size 1 around a mean of 1: a few roundings. din is a difference of such values, and where B H W is small it nearly
 * cancels: both are bounded by the rounding of the f32 mean and variance. */
static void norm_check(const char *name, const prle_shape *shape, prle_batch_norm_attrs attrs, bool blocked, int64_t n_valid,
                       bool training)
{
    const bool frozen = attrs.frozen;
    const prle_act act = attrs.act;
    const prle_op_desc desc = {.n_in = attrs.residual ? 2 : 1, .in = {*shape, *shape}, .u.batch_norm = attrs};
    const int64_t C = shape->dim[1];
    prle_rng rng = prle_rng_make(3, 0, 0, PRLE_RNG_TEST);
    node n;

    node_init(&n, &prle_batch_norm_dnnl, &desc);
    n.name = name;
    node_arrives_blocked(&n, blocked);
    n.inference = !training;
    n.info.n_valid = n_valid;
    n.no_dparam = n.no_din = act == PRLE_ACT_RELU && blocked && frozen;
    for (int64_t i = 0; i < prle_shape_count(shape); i++)
        n.in[0][i] += 1;
    values_shorten(n.in[0], shape);
    float *mean_before = values_random(&n.desc.param[0], &rng), *var_before = values_random(&n.desc.param[0], &rng);
    for (int i = 0; i < 2; i++)
        n.stats[i] = values_create(&n.desc.param[0]);
    for (int64_t c = 0; c < C; c++) {
        var_before[c] = var_before[c] * var_before[c] + 0.1F;
        n.stats[0][c] = mean_before[c];
        n.stats[1][c] = var_before[c];
    }
    norm_sums s = norm_sums_create(&n);

    run_pass(&n, PRLE_PASS_FORWARD);
    expect_close(&n, "out", n.out, s.out, shape, stored(1e-6));
    expect_running(&n, &s, mean_before, var_before);
    if (training) {
        if (n_valid == 0) {
            zero(s.din, prle_shape_count(shape));
            zero(s.dresidual, prle_shape_count(shape));
            zero(s.dgamma, C);
            zero(s.dbeta, C);
        }
        run_pass(&n, PRLE_PASS_BACKWARD);
        if (!n.no_din) {
            expect_close(&n, "din", n.din[0], s.din, shape, stored(5e-6));
            if (attrs.residual)
                expect_close(&n, "dresidual", n.din[1], s.dresidual, shape, 0); /* copies and zeros */
        }
        if (!n.no_dparam) {
            expect_close(&n, "dgamma", n.dparam[0], s.dgamma, &n.desc.param[0], 2e-6);
            expect_close(&n, "dbeta", n.dparam[1], s.dbeta, &n.desc.param[0], 2e-6);
        }
    }
    norm_sums_free(&s);
    prle_free(mean_before);
    prle_free(var_before);
    node_deinit(&n);
}

static void test_batch_norm(void **state)
{
    (void)state;
    static const prle_shape shapes[] = {
        {4, {4, 16, 9, 7}}, {4, {3, 13, 5, 5}}, {4, {16, 8, 1, 1}},   {4, {1, 24, 11, 3}}, {2, {19, 12}},
        {4, {2, 1, 17, 1}}, {4, {1, 8, 1, 1}},  {4, {2, 20, 67, 61}}, /* planes of more than one run, with a rest */
    };

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int variant = 0; variant < 32; variant++) {
            char name[64];
            const bool frozen = (variant & 1) != 0, relu = (variant & 2) != 0, blocked = (variant & 4) != 0,
                       train = (variant & 8) != 0;
            const prle_batch_norm_attrs attrs = {.eps = 1e-5,
                                                 .momentum = 0.1,
                                                 .frozen = frozen,
                                                 .act = relu ? PRLE_ACT_RELU : PRLE_ACT_NONE,
                                                 .residual = (variant & 16) != 0};
            snprintf(name, sizeof name, "batch_norm %zu%s%s%s%s%s", i, frozen ? " frozen" : "", relu ? " relu" : "",
                     blocked ? " blocked" : "", train ? " train" : "", attrs.residual ? " residual" : "");
            norm_check(name, &shapes[i], attrs, blocked, shapes[i].dim[0], train);
        }
    norm_check("batch_norm, no share", &shapes[0],
               (prle_batch_norm_attrs){.eps = 1e-5, .momentum = 0.1, .act = PRLE_ACT_RELU, .residual = true}, true, 0, true);
    norm_check("batch_norm, no share, frozen", &shapes[0], (prle_batch_norm_attrs){.eps = 1e-5, .momentum = 0.1, .frozen = true},
               false, 0, true);
}

static void test_batch_norm_with_ranks(void **state)
{
    (void)state;
    const char *why = NULL;
    prle_op_desc desc = {.kind = PRLE_OP_BATCH_NORM,
                         .n_in = 1,
                         .in = {PRLE_SHAPE(2, 8, 3, 3)},
                         .dtype = PRLE_F32,
                         .u.batch_norm = {.comm = prle_comm_self()}};

    assert_false(prle_batch_norm_dnnl.supports(&desc, &why));
    assert_non_null(strstr(why, "synchronised"));
}

/* --- activations --------------------------------------------------------------------------------------------------------- */

static double act_slope(const prle_act_attrs *a, double x)
{
    const double sigmoid = 1 / (1 + exp(-x));

    switch (a->act) {
    case PRLE_ACT_RELU: return x > 0;
    case PRLE_ACT_LEAKY_RELU: return x > 0 ? 1 : a->slope;
    case PRLE_ACT_SIGMOID: return sigmoid * (1 - sigmoid);
    case PRLE_ACT_SWISH: return sigmoid + x * sigmoid * (1 - sigmoid);
    case PRLE_ACT_NONE:
    case PRLE_N_ACTS: break;
    }
    return 1;
}

static void act_check(const prle_shape *shape, prle_act_attrs act, bool blocked)
{
    const prle_op_desc desc = {.n_in = 1, .in = {*shape}, .u.act = act};
    const int64_t count = prle_shape_count(shape);
    double *out = doubles(count), *din = doubles(count);
    char name[64];
    node n;

    node_init(&n, &prle_act_dnnl, &desc);
    snprintf(name, sizeof name, "act %d of %lld values%s", (int)act.act, (long long)count, blocked ? " blocked" : "");
    n.name = name;
    node_arrives_blocked(&n, blocked);
    n.in[0][0] = 0;
    for (int64_t i = 0; i < count; i++) {
        out[i] = act_of(&act, (double)n.in[0][i]);
        din[i] = (double)n.dout[i] * act_slope(&act, (double)n.in[0][i]);
    }
    run_pass(&n, PRLE_PASS_FORWARD);
    expect_close(&n, "out", n.out, out, shape, stored(5e-7)); /* exp by a polynomial: a few units in the last place */
    run_pass(&n, PRLE_PASS_BACKWARD);
    /* s (1 - s) of an s rounded to bfloat16 is rounded once more */
    expect_close(&n, "din", n.din[0], din, shape, act.act == PRLE_ACT_SIGMOID ? 2 * stored(5e-7) : stored(5e-7));
    prle_free(out);
    prle_free(din);
    node_deinit(&n);
}

static void test_act(void **state)
{
    (void)state;
    static const prle_shape shapes[] = {{4, {2, 16, 5, 7}}, {4, {3, 13, 3, 3}}, {2, {5, 11}}, {4, {1, 1, 1, 1}}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int act = PRLE_ACT_RELU; act < PRLE_N_ACTS; act++)
            for (int blocked = 0; blocked < 2; blocked++)
                act_check(&shapes[i], (prle_act_attrs){.act = (prle_act)act, .slope = i == 0 ? -0.2 : 0.2}, blocked != 0);
}

/* --- pooling ------------------------------------------------------------------------------------------------------------- */

typedef struct pool_case {
    const char *name;
    prle_shape in;
    prle_pool_attrs attrs;
    bool blocked, ties;
} pool_case;

static const pool_case pool_cases[] = {
    {"max 3/2/1", {4, {2, 16, 14, 14}}, {.max = true, .kernel = 3, .stride = 2, .pad = 1}, true, false},
    {"max 3/2/1, ties", {4, {2, 16, 15, 13}}, {.max = true, .kernel = 3, .stride = 2, .pad = 1}, true, true},
    {"max 3/2/1 plain, ties", {4, {2, 5, 15, 13}}, {.max = true, .kernel = 3, .stride = 2, .pad = 1}, false, true},
    {"max 3/2/1, odd channels", {4, {3, 13, 9, 9}}, {.max = true, .kernel = 3, .stride = 2, .pad = 1}, true, false},
    {"max 2/2/0", {4, {1, 8, 7, 9}}, {.max = true, .kernel = 2, .stride = 2}, true, false},
    {"max 4/4/0 plain", {4, {2, 16, 8, 8}}, {.max = true, .kernel = 4, .stride = 4}, false, false},
    {"max 2/1/1 on one pixel", {4, {2, 8, 1, 1}}, {.max = true, .kernel = 2, .stride = 1, .pad = 1}, true, false},
    {"mean 3/2/1", {4, {2, 16, 14, 14}}, {.kernel = 3, .stride = 2, .pad = 1}, true, false},
    {"mean 2/2/0 plain", {4, {2, 11, 7, 7}}, {.kernel = 2, .stride = 2}, false, false},
    {"mean 3/1/1, odd channels", {4, {2, 13, 5, 6}}, {.kernel = 3, .stride = 1, .pad = 1}, true, false},
    {"global mean", {4, {3, 2048, 8, 8}}, {.global = true}, true, false},
    {"global mean plain", {4, {2, 24, 5, 9}}, {.global = true}, false, false},
    {"global mean, odd channels", {4, {2, 13, 5, 9}}, {.global = true}, true, false},
    {"global mean, image", {4, {3, 16, 8, 8}}, {.global = true, .keep_dims = true}, true, false},
    {"global mean, image, odd channels", {4, {2, 13, 5, 9}}, {.global = true, .keep_dims = true}, true, false},
    {"global mean of one pixel", {4, {2, 16, 1, 1}}, {.global = true}, true, false},
};

typedef struct window {
    int64_t kernel_h, kernel_w, stride, pad, P, Q;
} window;

/* One plane: out, and din from dout. */
static void pool_plane(const node *n, const window *z, const float *x, const float *dy, double *y, double *dx)
{
    const bool max = n->desc.u.pool.max;
    const int64_t H = n->desc.in[0].dim[2], W = n->desc.in[0].dim[3];
    const double area = (double)(z->kernel_h * z->kernel_w);

    for (int64_t o = 0; o < z->P * z->Q; o++) {
        int64_t best = -1;
        for (int64_t t = 0; t < z->kernel_h * z->kernel_w; t++) {
            const int64_t h = o / z->Q * z->stride - z->pad + t / z->kernel_w,
                          w = o % z->Q * z->stride - z->pad + t % z->kernel_w;
            if (h < 0 || h >= H || w < 0 || w >= W)
                continue;
            if (best < 0 || x[h * W + w] > x[best])
                best = h * W + w;
            if (!max) {
                y[o] += (double)x[h * W + w] / area;
                dx[h * W + w] += (double)dy[o] / area;
            }
        }
        if (max) {
            y[o] = (double)x[best];
            dx[best] += (double)dy[o];
        }
    }
}

static void pool_check(const pool_case *c)
{
    const prle_op_desc desc = {.n_in = 1, .in = {c->in}, .u.pool = c->attrs};
    node n;

    node_init(&n, &prle_pool_dnnl, &desc);
    n.name = c->name;
    node_arrives_blocked(&n, c->blocked);
    const int64_t n_in = prle_shape_count(&n.desc.in[0]), n_out = prle_shape_count(&n.desc.out),
                  planes = c->in.dim[0] * c->in.dim[1];
    const bool global = c->attrs.global;
    const window z = {.kernel_h = global ? c->in.dim[2] : c->attrs.kernel,
                      .kernel_w = global ? c->in.dim[3] : c->attrs.kernel,
                      .stride = c->attrs.stride,
                      .pad = c->attrs.pad,
                      .P = global ? 1 : n.desc.out.dim[2],
                      .Q = global ? 1 : n.desc.out.dim[3]};
    double *out = doubles(n_out), *din = doubles(n_in);

    for (int64_t i = 0; c->ties && i < n_in; i++)
        n.in[0][i] = rintf(n.in[0][i]);
    for (int64_t i = 0; i < planes; i++)
        pool_plane(&n, &z, n.in[0] + i * (n_in / planes), n.dout + i * (n_out / planes), out + i * (n_out / planes),
                   din + i * (n_in / planes));
    run_pass(&n, PRLE_PASS_FORWARD);
    expect_close(&n, "out", n.out, out, &n.desc.out, c->attrs.max ? 0 : stored(5e-7));
    assert_true(!global || c->attrs.keep_dims || n.out_layout.plain);
    run_pass(&n, PRLE_PASS_BACKWARD);
    expect_close(&n, "din", n.din[0], din, &n.desc.in[0], stored(5e-7)); /* at most nine terms */
    prle_free(out);
    prle_free(din);
    node_deinit(&n);
}

static void test_pool(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pool_cases / sizeof *pool_cases; i++)
        pool_check(&pool_cases[i]);
}

/* --- sums and concatenations --------------------------------------------------------------------------------------------- */

static void test_add(void **state)
{
    (void)state;
    static const prle_shape shapes[] = {{4, {2, 16, 5, 7}}, {4, {3, 13, 3, 3}}, {2, {5, 11}}};

    for (size_t i = 0; i < 3; i++) {
        for (int arrival = 0; arrival < 4; arrival++) { /* bit 0: in0 is blocked, bit 1: in1 is */
            const prle_op_desc desc = {.n_in = 2, .in = {shapes[i], shapes[i]}};
            const int64_t count = prle_shape_count(&shapes[i]);
            double *out = doubles(count);
            node n;

            node_init(&n, &prle_add_dnnl, &desc);
            n.name = "add";
            n.blocked_in[0] = (arrival & 1) != 0;
            n.blocked_in[1] = (arrival & 2) != 0;
            n.blocked = arrival != 0;
            for (int64_t j = 0; j < count; j++)
                out[j] = (double)(n.in[0][j] + n.in[1][j]); /* one rounding: equal bits */
            run_pass(&n, PRLE_PASS_FORWARD);
            expect_close(&n, "out", n.out, out, &n.desc.out, stored(0));
            assert_true(n.out_layout.plain == (arrival == 0 || shapes[i].n == 2));
            run_pass(&n, PRLE_PASS_BACKWARD);
            prle_free(out);
            node_deinit(&n);
        }
    }
}

static void concat_check(const prle_op_desc *desc, bool blocked)
{
    node n;

    node_init(&n, &prle_concat_dnnl, desc);
    n.name = "concat";
    node_arrives_blocked(&n, blocked);
    run_pass(&n, PRLE_PASS_FORWARD);
    run_pass(&n, PRLE_PASS_BACKWARD);
    const int64_t B = n.desc.out.dim[0], n_out = prle_shape_count(&n.desc.out) / B;
    int64_t first = 0;
    for (int i = 0; i < n.desc.n_in; i++) {
        const int64_t n_in = prle_shape_count(&n.desc.in[i]) / B;
        for (int64_t b = 0; b < B; b++) {
            assert_memory_equal(n.out + b * n_out + first, n.in[i] + b * n_in, (size_t)n_in * sizeof(float));
            assert_memory_equal(n.dout + b * n_out + first, n.din[i] + b * n_in, (size_t)n_in * sizeof(float));
        }
        first += n_in;
    }
    node_deinit(&n);
}

static void test_concat(void **state)
{
    (void)state;
    const prle_op_desc cases[] = {
        {.n_in = 2, .in = {PRLE_SHAPE(2, 16, 5, 3), PRLE_SHAPE(2, 8, 5, 3)}},
        {.n_in = 4, .in = {PRLE_SHAPE(3, 1, 4, 4), PRLE_SHAPE(3, 4, 4, 4), PRLE_SHAPE(3, 4, 4, 4), PRLE_SHAPE(3, 2, 4, 4)}},
        {.n_in = 3, .in = {PRLE_SHAPE(1, 8, 2, 2), PRLE_SHAPE(1, 12, 2, 2), PRLE_SHAPE(1, 24, 2, 2)}},
        {.n_in = 2, .in = {PRLE_SHAPE(5, 7), PRLE_SHAPE(5, 2)}},
        {.n_in = 1, .in = {PRLE_SHAPE(2, 8, 3, 3)}},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        concat_check(&cases[i], false);
        concat_check(&cases[i], true);
    }
}

/* --- the channel gate, and dropout of samples ---------------------------------------------------------------------------- */

static void gate_check(const prle_shape *shape, bool blocked, bool no_din)
{
    const int64_t planes = shape->dim[0] * shape->dim[1], count = prle_shape_count(shape), plane = count / planes;
    const prle_op_desc desc = {.n_in = 2, .in = {*shape, PRLE_SHAPE(shape->dim[0], shape->dim[1], 1, 1)}};
    double *out = doubles(count), *din = doubles(count), *dgate = doubles(planes);
    char name[64];
    node n;

    node_init(&n, &prle_gate_dnnl, &desc);
    snprintf(name, sizeof name, "gate of %lld planes%s", (long long)planes, blocked ? " blocked" : "");
    n.name = name;
    n.no_din = no_din;
    node_arrives_blocked(&n, blocked);
    for (int64_t i = 0; i < count; i++) {
        out[i] = (double)n.in[0][i] * (double)n.in[1][i / plane];
        din[i] = (double)n.dout[i] * (double)n.in[1][i / plane];
        dgate[i / plane] += (double)n.dout[i] * (double)n.in[0][i];
    }
    run_pass(&n, PRLE_PASS_FORWARD);
    expect_close(&n, "out", n.out, out, &n.desc.out, stored(6e-8)); /* one rounding */
    assert_true(n.out_layout.plain != blocked && n.out_layout.dtype == memory);
    run_pass(&n, PRLE_PASS_BACKWARD);
    if (!no_din) {
        expect_close(&n, "din", n.din[0], din, &n.desc.in[0], stored(6e-8));
        expect_close(&n, "dgate", n.din[1], dgate, &n.desc.in[1], 1e-6); /* at most 64 terms in f32, as in a convolution */
    }
    prle_free(out);
    prle_free(din);
    prle_free(dgate);
    node_deinit(&n);
}

static void test_gate(void **state)
{
    (void)state;
    static const prle_shape shapes[] = {
        {4, {2, 16, 5, 7}}, {4, {3, 13, 3, 3}}, {4, {2, 24, 33, 32}}, {4, {1, 9, 1, 2}}, {4, {2, 7, 41, 53}}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int variant = 0; variant < 4; variant++)
            gate_check(&shapes[i], (variant & 1) != 0, (variant & 2) != 0);
}

/* Samples are named by the caller: which are kept depends on the names, not on places in the batch. */
static void drop_samples_check(const prle_shape *shape, bool blocked)
{
    static const uint64_t samples[] = {907, 3, 11, 4, 8, 70000000000};
    const int64_t B = shape->dim[0], count = prle_shape_count(shape), each = count / B;
    const prle_op_desc desc = {.n_in = 1, .in = {*shape}, .u.dropout = {.p = 0.5, .layer = 7, .per_sample = true}};
    double *out = doubles(count), *din = doubles(count);
    int64_t n_kept = 0;
    node n;

    assert_true(B <= (int64_t)(sizeof samples / sizeof *samples));
    node_init(&n, &prle_dropout_dnnl, &desc);
    n.name = "dropout of samples";
    n.info = (prle_op_run_info){.n_valid = B, .seed = 5, .epoch = 2, .samples = samples};
    node_arrives_blocked(&n, blocked);
    for (int64_t b = 0; b < B; b++) {
        prle_rng rng = prle_rng_make(5, 2, samples[b], PRLE_RNG_DROPOUT);
        rng.counter[0] = 7u << 24;
        const bool kept = prle_rng_uniform(&rng) >= 0.5;
        n_kept += kept;
        for (int64_t i = b * each; i < (b + 1) * each && kept; i++) {
            out[i] = 2 * (double)n.in[0][i];
            din[i] = 2 * (double)n.dout[i];
        }
    }
    assert_true(n_kept > 0 && n_kept < B);
    run_pass(&n, PRLE_PASS_FORWARD);
    expect_close(&n, "out", n.out, out, &n.desc.out, 0);
    run_pass(&n, PRLE_PASS_BACKWARD);
    expect_close(&n, "din", n.din[0], din, &n.desc.in[0], 0);
    prle_free(out);
    prle_free(din);
    node_deinit(&n);
}

static void test_drop_samples(void **state)
{
    (void)state;
    static const prle_shape shapes[] = {{4, {6, 16, 5, 7}}, {4, {6, 13, 3, 3}}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int blocked = 0; blocked < 2; blocked++)
            drop_samples_check(&shapes[i], blocked != 0);
}

/* --- the fully connected layer ------------------------------------------------------------------------------------------- */

static void linear_check(int64_t B, int64_t C, int64_t K, bool bias, bool no_dbias)
{
    const prle_op_desc desc = {.n_in = 1, .in = {PRLE_SHAPE(B, C)}, .u.linear = {.n_out = K, .bias = bias}};
    double *out = doubles(B * K), *din = doubles(B * C), *dweight = doubles(K * C), *dbias = doubles(K);
    char name[64];
    node n;

    node_init(&n, &prle_linear_dnnl, &desc);
    snprintf(name, sizeof name, "linear [%lld,%lld] to %lld", (long long)B, (long long)C, (long long)K);
    n.name = name;
    n.no_dparam = no_dbias;
    for (int64_t b = 0; b < B; b++) {
        for (int64_t k = 0; k < K; k++) {
            const double dy = (double)n.dout[b * K + k];
            out[b * K + k] = bias ? (double)n.param[1][k] : 0;
            dbias[k] += dy;
            for (int64_t c = 0; c < C; c++) {
                out[b * K + k] += (double)n.in[0][b * C + c] * (double)n.param[0][k * C + c];
                din[b * C + c] += dy * (double)n.param[0][k * C + c];
                dweight[k * C + c] += dy * (double)n.in[0][b * C + c];
            }
        }
    }
    run_pass(&n, PRLE_PASS_FORWARD);
    expect_close(&n, "out", n.out, out, &n.desc.out, conv_tol);
    run_pass(&n, PRLE_PASS_BACKWARD);
    expect_close(&n, "din", n.din[0], din, &n.desc.in[0], stored(conv_tol));
    run_pass(&n, PRLE_PASS_WEIGHTS);
    expect_close(&n, "dweight", n.dparam[0], dweight, &n.desc.param[0], conv_tol);
    if (bias && !no_dbias)
        expect_close(&n, "dbias", n.dparam[1], dbias, &n.desc.param[1], conv_tol);
    prle_free(out);
    prle_free(din);
    prle_free(dweight);
    prle_free(dbias);
    node_deinit(&n);
}

static void test_linear(void **state)
{
    (void)state;
    linear_check(16, 2048, 2, true, false);
    linear_check(3, 1024, 16, true, true);
    linear_check(1, 13, 1, true, false);
    linear_check(5, 7, 11, false, false);
    linear_check(1, 1, 1, false, false);
}

/* --- the cosine transform ------------------------------------------------------------------------------------------------ */

/* out = D_H x D_W^T, or D_H^T x D_W, written out. */
static void dct_plane(double *out, const float *x, int64_t H, int64_t W, bool inverse)
{
    double *half = doubles(H * W);

    for (int64_t h = 0; h < H; h++)
        for (int64_t l = 0; l < W; l++)
            for (int64_t w = 0; w < W; w++)
                half[h * W + l] += (double)x[h * W + w] * (inverse ? prle_dct_element(w, l, W) : prle_dct_element(l, w, W));
    for (int64_t k = 0; k < H; k++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t l = 0; l < W; l++)
                out[k * W + l] += half[h * W + l] * (inverse ? prle_dct_element(h, k, H) : prle_dct_element(k, h, H));
    prle_free(half);
}

static void dct_check(const prle_shape *shape, bool inverse, bool blocked)
{
    const int64_t count = prle_shape_count(shape), H = shape->dim[2], W = shape->dim[3];
    const prle_op_desc desc = {.n_in = 1, .in = {*shape}, .u.dct.inverse = inverse};
    double *out = doubles(count), *din = doubles(count);
    node n;

    node_init(&n, &prle_dct_dnnl, &desc);
    n.name = inverse ? "inverse dct" : "dct";
    node_arrives_blocked(&n, blocked);
    for (int64_t p = 0; p < count; p += H * W) {
        dct_plane(out + p, n.in[0] + p, H, W, inverse);
        dct_plane(din + p, n.dout + p, H, W, !inverse);
    }
    run_pass(&n, PRLE_PASS_FORWARD);
    expect_close(&n, "out", n.out, out, &n.desc.out, conv_tol);
    run_pass(&n, PRLE_PASS_BACKWARD);
    expect_close(&n, "din", n.din[0], din, &n.desc.in[0], conv_tol);
    prle_free(out);
    prle_free(din);
    node_deinit(&n);
}

static void test_dct(void **state)
{
    (void)state;
    const prle_shape shapes[] = {PRLE_SHAPE(1, 1, 1, 1), PRLE_SHAPE(2, 3, 7, 5), PRLE_SHAPE(5, 16, 8, 13),
                                 PRLE_SHAPE(1, 3, 64, 96)};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int variant = 0; variant < 4; variant++)
            dct_check(&shapes[i], (variant & 1) != 0, (variant & 2) != 0);
}

/* --- refusals and failures ----------------------------------------------------------------------------------------------- */

static const prle_op_impl *const impls[] = {PRLE_IMPLS_DNNL};
enum { N_IMPLS = sizeof impls / sizeof *impls };

/* A small legal node of any kind. */
static prle_op_desc small_desc(prle_op_kind kind)
{
    prle_op_desc desc = {.kind = kind, .n_in = 1, .in = {PRLE_SHAPE(2, 8, 6, 6)}, .dtype = PRLE_F32};

    switch (kind) {
    case PRLE_OP_CONV2D:
        desc.u.conv2d = (prle_conv2d_attrs){.n_out = 8, .kernel_h = 3, .kernel_w = 3, .stride = 1, .groups = 1};
        break;
    case PRLE_OP_ACT: desc.u.act.act = PRLE_ACT_RELU; break;
    case PRLE_OP_POOL: desc.u.pool = (prle_pool_attrs){.max = true, .kernel = 2, .stride = 2}; break;
    case PRLE_OP_LINEAR:
        desc.in[0] = PRLE_SHAPE(2, 8);
        desc.u.linear.n_out = 3;
        break;
    case PRLE_OP_GATE:
        desc.n_in = 2;
        desc.in[1] = PRLE_SHAPE(2, 8, 1, 1);
        break;
    case PRLE_OP_DROPOUT: desc.u.dropout = (prle_dropout_attrs){.p = 0.5, .per_sample = true}; break;
    case PRLE_OP_ADD:
    case PRLE_OP_CONCAT:
        desc.n_in = 2;
        desc.in[1] = desc.in[0];
        break;
    default: break;
    }
    assert_ok(prle_op_infer(&desc));
    return desc;
}

static prle_op_plan small_plan(const prle_op_desc *desc)
{
    prle_op_plan plan = {.training = true};

    for (int i = 0; i < desc->n_in; i++)
        plan.in[i] = prle_layout_plain(PRLE_F32, &desc->in[i]);
    plan.out = plan.dout = prle_layout_plain(PRLE_F32, &desc->out);
    return plan;
}

static void test_refusals(void **state)
{
    (void)state;
    const char *why = NULL;

    for (int i = 0; i < N_IMPLS; i++) {
        prle_op_desc desc = small_desc(impls[i]->kind);
        assert_true(impls[i]->supports(&desc, &why));
        desc.dtype = PRLE_F64;
        assert_false(impls[i]->supports(&desc, &why));
        assert_non_null(strstr(why, "f32"));
        desc.dtype = PRLE_BF16;
        assert_false(impls[i]->supports(&desc, &why));
        desc.dtype = PRLE_F32;
        desc.memory = PRLE_BF16;
        assert_true(impls[i]->supports(&desc, &why) == prle_dnnl_has_bf16());
        desc.in[0].dim[0] = 0;
        desc.memory = PRLE_F32;
        assert_false(impls[i]->supports(&desc, &why));
        assert_non_null(strstr(why, "empty"));
    }
}

/* An activation that oneDNN has not is refused, so that the reference computes it, and does not fail the plan. */
static void test_refused_activations(void **state)
{
    (void)state;
    prle_op_desc act = small_desc(PRLE_OP_ACT), conv = small_desc(PRLE_OP_CONV2D);
    const char *why = "";

    act.u.act.act = conv.u.conv2d.act.act = PRLE_N_ACTS;
    assert_false(prle_act_dnnl.supports(&act, &why));
    assert_non_null(strstr(why, "activation"));
    assert_false(prle_conv2d_dnnl.supports(&conv, &why));
    assert_non_null(strstr(why, "activation"));
    act.u.act.act = conv.u.conv2d.act.act = PRLE_ACT_NONE;
    assert_false(prle_act_dnnl.supports(&act, &why));
    assert_true(prle_conv2d_dnnl.supports(&conv, &why));
}

static void test_foreign_layout(void **state)
{
    (void)state;
    const prle_op_desc desc = small_desc(PRLE_OP_ACT);
    prle_op_plan plan = small_plan(&desc);

    plan.in[0].dtype = PRLE_F64;
    assert_fails(prle_act_dnnl.plan(&desc, PRLE_PASS_FORWARD, &plan), PRLE_ENOTSUP, "f64");
    assert_fails(prle_reorder_dnnl.plan(&desc, PRLE_PASS_FORWARD, &plan), PRLE_ENOTSUP, "f64");
    assert_null(plan.state);
}

/* Each allocation of each plan fails once: an error, nothing leaked, no state published. */
static void test_plan_without_memory(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();

    for (int i = 0; i < N_IMPLS; i++) {
        const prle_op_desc desc = small_desc(impls[i]->kind);
        const bool weights = desc.kind == PRLE_OP_CONV2D || desc.kind == PRLE_OP_LINEAR;
        for (int pass = 0; pass <= (weights ? PRLE_PASS_WEIGHTS : PRLE_PASS_BACKWARD); pass++) {
            prle_op_plan plan = small_plan(&desc);
            if (pass == PRLE_PASS_BACKWARD && (desc.kind == PRLE_OP_ADD || desc.kind == PRLE_OP_REORDER))
                continue; /* nothing to allocate, no such pass */
            prle_alloc_fail_at(1);
            assert_fails(impls[i]->plan(&desc, (prle_op_pass)pass, &plan), PRLE_ENOMEM, "out of memory");
            prle_alloc_fail_at(0);
            assert_null(plan.state);
        }
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
    const struct CMUnitTest bf16[] = {
        cmocka_unit_test(test_conv2d),        cmocka_unit_test(test_conv2d_fused),
        cmocka_unit_test(test_batch_norm),    cmocka_unit_test(test_act),
        cmocka_unit_test(test_pool),          cmocka_unit_test(test_add),
        cmocka_unit_test(test_concat),        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_depthwise),     cmocka_unit_test(test_depthwise_threads),
        cmocka_unit_test(test_depthwise_nan),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv2d),
        cmocka_unit_test(test_conv2d_fused),
        cmocka_unit_test(test_conv2d_kernels),
        cmocka_unit_test(test_depthwise),
        cmocka_unit_test(test_depthwise_threads),
        cmocka_unit_test(test_depthwise_nan),
        cmocka_unit_test(test_depthwise_refusals),
        cmocka_unit_test(test_batch_norm),
        cmocka_unit_test(test_batch_norm_with_ranks),
        cmocka_unit_test(test_act),
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_dct),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_concat),
        cmocka_unit_test(test_gate),
        cmocka_unit_test(test_drop_samples),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refused_activations),
        cmocka_unit_test(test_foreign_layout),
        cmocka_unit_test(test_plan_without_memory),
        cmocka_unit_test(test_missing_buffer),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_reorder),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    if (prle_dnnl_has_bf16()) {
        memory = PRLE_BF16;
        failed += cmocka_run_group_tests(bf16, NULL, NULL);
    }
    return failed;
}
