/* test_op_gradients.c - every reference operator's backward passes against central differences of its forward pass, in double, at
 * smooth points: inputs of activations and maxima keep away from kinks and ties. */
#include <math.h>

#include "core/alloc.h"
#include "core/device/device.h"
#include "core/rng.h"
#include "tests/check.h"

/* loss = sum_i out_i r_i with fixed random r: dout = r. */
typedef struct bench {
    prle_op_desc desc;
    const prle_op_impl *impl;
    void *state[PRLE_N_PASSES];
    double *in[PRLE_OP_MAX_IN], *din[PRLE_OP_MAX_IN], *param[PRLE_OP_MAX_PARAMS], *dparam[PRLE_OP_MAX_PARAMS], *out, *r;
    double *stats[2];
    void *saved, *scratch;
    prle_op_run_info info;
} bench;

static bool checked[PRLE_OP_N_KINDS];

static bool is_norm(const bench *b) { return b->desc.kind == PRLE_OP_BATCH_NORM; }

/* Values apart from each other and from zero by more than the step of the differences. */
static void fill(double *values, int64_t n, prle_rng *rng)
{
    uint32_t *order = NULL;

    assert_ok(PRLE_NEW(order, n));
    for (int64_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    prle_rng_shuffle(rng, order, (uint32_t)n);
    for (int64_t i = 0; i < n; i++)
        values[i] = 2.0 * ((double)order[i] + 0.25 + 0.5 * prle_rng_uniform(rng)) / (double)n - 1.0;
    prle_free(order);
}

static double *tensor(const prle_shape *shape, prle_rng *rng)
{
    double *values = NULL;

    assert_ok(PRLE_NEW(values, prle_shape_count(shape)));
    if (rng != NULL)
        fill(values, prle_shape_count(shape), rng);
    return values;
}

static void pass_plan(bench *b, prle_op_pass pass, size_t *saved_bytes, size_t *scratch_bytes)
{
    prle_op_plan *plan = NULL;

    assert_ok(PRLE_NEW(plan, 1));
    plan->training = true;
    for (int i = 0; i < b->desc.n_in; i++)
        plan->in[i] = prle_layout_plain(PRLE_F64, &b->desc.in[i]);
    plan->out = plan->dout = prle_layout_plain(PRLE_F64, &b->desc.out);
    assert_ok(b->impl->plan(&b->desc, pass, plan));
    b->state[pass] = plan->state;
    if (pass == PRLE_PASS_FORWARD)
        *saved_bytes = plan->saved_bytes;
    *scratch_bytes = plan->scratch_bytes > *scratch_bytes ? plan->scratch_bytes : *scratch_bytes;
    prle_free(plan);
}

static void bench_init(bench *b, const prle_op_desc *desc)
{
    prle_rng rng = prle_rng_make(11, 0, (uint64_t)desc->kind, PRLE_RNG_TEST);
    size_t saved_bytes = 0, scratch_bytes = 0;

    *b = (bench){.desc = *desc};
    b->desc.dtype = PRLE_F64;
    assert_ok(prle_op_infer(&b->desc));
    assert_ok(prle_op_choose(prle_device_cpu_ref()->impls, &b->desc, &b->impl));
    for (int pass = 0; pass < PRLE_N_PASSES; pass++)
        if (pass != PRLE_PASS_WEIGHTS || prle_op_has_weights_pass(b->desc.kind))
            pass_plan(b, (prle_op_pass)pass, &saved_bytes, &scratch_bytes);
    for (int i = 0; i < b->desc.n_in; i++) {
        b->in[i] = tensor(&b->desc.in[i], &rng);
        b->din[i] = tensor(&b->desc.in[i], NULL);
    }
    for (int i = 0; i < b->desc.n_params; i++) {
        b->param[i] = tensor(&b->desc.param[i], &rng);
        b->dparam[i] = tensor(&b->desc.param[i], NULL);
    }
    for (int i = 0; i < 2 && is_norm(b); i++) {
        b->stats[i] = tensor(&b->desc.param[0], &rng);
        for (int64_t c = 0; c < b->desc.param[0].dim[0]; c++)
            b->stats[i][c] = i == 0 ? b->stats[i][c] : 1.5 + b->stats[i][c]; /* a variance is positive */
    }
    b->out = tensor(&b->desc.out, NULL);
    b->r = tensor(&b->desc.out, &rng);
    assert_ok(prle_alloc(saved_bytes, 1, &b->saved));
    assert_ok(prle_alloc(scratch_bytes, 1, &b->scratch));
    b->info = (prle_op_run_info){.n_valid = b->desc.in[0].dim[0], .seed = 5};
}

static void bench_deinit(bench *b)
{
    for (int i = 0; i < PRLE_OP_MAX_IN; i++) {
        prle_free(b->in[i]);
        prle_free(b->din[i]);
    }
    for (int i = 0; i < PRLE_OP_MAX_PARAMS; i++) {
        prle_free(b->param[i]);
        prle_free(b->dparam[i]);
    }
    for (int i = 0; i < 2; i++)
        prle_free(b->stats[i]);
    for (int i = 0; i < PRLE_N_PASSES; i++)
        prle_free(b->state[i]);
    prle_free(b->out);
    prle_free(b->r);
    prle_free(b->saved);
    prle_free(b->scratch);
}

static prle_op_args args_of(const bench *b)
{
    prle_op_args args = {.out = b->out, .dout = b->r, .saved = b->saved, .scratch = b->scratch, .info = &b->info};

    for (int i = 0; i < PRLE_OP_MAX_IN; i++) {
        args.in[i] = b->in[i];
        args.din[i] = b->din[i];
    }
    for (int i = 0; i < PRLE_OP_MAX_PARAMS; i++) {
        args.param[i] = b->param[i];
        args.dparam[i] = b->dparam[i];
    }
    for (int i = 0; i < 2; i++)
        args.stats[i] = b->stats[i];
    return args;
}

static double loss_of(bench *b)
{
    const prle_op_args args = args_of(b);
    double *mean = b->stats[0], *var = b->stats[1], keep[2][16], loss = 0;
    const int64_t channels = is_norm(b) ? b->desc.param[0].dim[0] : 0;

    for (int64_t c = 0; c < channels; c++) { /* running statistics move with each forward pass: put them back */
        keep[0][c] = mean[c];
        keep[1][c] = var[c];
    }
    assert_ok(b->impl->run(b->state[PRLE_PASS_FORWARD], PRLE_PASS_FORWARD, &args));
    for (int64_t c = 0; c < channels; c++) {
        mean[c] = keep[0][c];
        var[c] = keep[1][c];
    }
    for (int64_t i = 0; i < prle_shape_count(&b->desc.out); i++)
        loss += b->out[i] * b->r[i];
    return loss;
}

/* Every element. The difference's own error is about 1e-16 loss / h + h^2: 1e-9 of values near one. */
static void compare(bench *b, const char *what, double *values, const double *gradient, int64_t n)
{
    const double h = b->desc.kind == PRLE_OP_LOCAL_SPECTRUM ? 1e-7 : 1e-5; /* logarithms of small coefficients bend more */

    for (int64_t i = 0; i < n; i++) {
        const double before = values[i];

        values[i] = before + h;
        const double up = loss_of(b);
        values[i] = before - h;
        const double down = loss_of(b);
        values[i] = before;
        const double numeric = (up - down) / (2 * h), diff = fabs(numeric - gradient[i]);
        const bool ok = diff <= 1e-7 * (1 + fabs(numeric));
        if (!ok)
            fail_msg("%s: %s[%d]: difference %.12g, gradient %.12g", prle_op_kind_name(b->desc.kind), what, (int)i, numeric,
                     gradient[i]);
    }
}

static void check(prle_op_desc desc)
{
    bench b;

    bench_init(&b, &desc);
    loss_of(&b);
    const prle_op_args args = args_of(&b);
    if (desc.kind != PRLE_OP_ADD) /* whose gradient is dout itself */
        assert_ok(b.impl->run(b.state[PRLE_PASS_BACKWARD], PRLE_PASS_BACKWARD, &args));
    if (prle_op_has_weights_pass(desc.kind))
        assert_ok(b.impl->run(b.state[PRLE_PASS_WEIGHTS], PRLE_PASS_WEIGHTS, &args));
    for (int i = 0; i < b.desc.n_in; i++)
        compare(&b, "input", b.in[i], desc.kind == PRLE_OP_ADD ? b.r : b.din[i], prle_shape_count(&b.desc.in[i]));
    for (int i = 0; i < b.desc.n_params; i++)
        compare(&b, i == 0 ? "weight" : "bias", b.param[i], b.dparam[i], prle_shape_count(&b.desc.param[i]));
    checked[desc.kind] = true;
    bench_deinit(&b);
}

static void test_conv2d(void **state)
{
    (void)state;
    const prle_conv2d_attrs cases[] = {
        {.n_out = 3,
         .kernel_h = 3,
         .kernel_w = 3,
         .stride = 1,
         .pad_top = 1,
         .pad_left = 1,
         .pad_bottom = 1,
         .pad_right = 1,
         .groups = 1,
         .bias = true},
        {.n_out = 4, .kernel_h = 1, .kernel_w = 1, .stride = 2, .groups = 2},
        {.n_out = 4,
         .kernel_h = 3,
         .kernel_w = 5,
         .stride = 2,
         .pad_top = 0,
         .pad_left = 1,
         .pad_bottom = 2,
         .pad_right = 3,
         .groups = 4,
         .bias = true},
        {.n_out = 2,
         .kernel_h = 7,
         .kernel_w = 7,
         .stride = 3,
         .pad_top = 3,
         .pad_left = 3,
         .pad_bottom = 3,
         .pad_right = 3,
         .groups = 1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check((prle_op_desc){.kind = PRLE_OP_CONV2D, .n_in = 1, .in = {PRLE_SHAPE(2, 4, 7, 5)}, .u.conv2d = cases[i]});
}

static void test_batch_norm(void **state)
{
    (void)state;
    const prle_shape x = PRLE_SHAPE(3, 2, 3, 5);

    for (int frozen = 0; frozen < 2; frozen++)
        for (int relu = 0; relu < 2; relu++)
            for (int residual = 0; residual < 2; residual++)
                check((prle_op_desc){.kind = PRLE_OP_BATCH_NORM,
                                     .n_in = 1 + residual,
                                     .in = {x, x},
                                     .u.batch_norm = {.eps = 1e-3,
                                                      .momentum = 0.1,
                                                      .frozen = frozen == 1,
                                                      .residual = residual == 1,
                                                      .act = relu ? PRLE_ACT_RELU : PRLE_ACT_NONE}});
    check((prle_op_desc){
        .kind = PRLE_OP_BATCH_NORM, .n_in = 1, .in = {PRLE_SHAPE(7, 3)}, .u.batch_norm = {.eps = 1e-5, .momentum = 0.1}});
}

static void test_act(void **state)
{
    (void)state;
    for (int act = PRLE_ACT_RELU; act < PRLE_N_ACTS; act++)
        check((prle_op_desc){
            .kind = PRLE_OP_ACT, .n_in = 1, .in = {PRLE_SHAPE(2, 3, 5, 7)}, .u.act = {.act = (prle_act)act, .slope = 0.1}});
}

static void test_pool(void **state)
{
    (void)state;
    const prle_pool_attrs cases[] = {{.max = true, .kernel = 3, .stride = 2, .pad = 1},
                                     {.max = true, .kernel = 2, .stride = 2},
                                     {.kernel = 3, .stride = 2, .pad = 1},
                                     {.global = true},
                                     {.global = true, .keep_dims = true},
                                     {.bins = 4}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check((prle_op_desc){.kind = PRLE_OP_POOL, .n_in = 1, .in = {PRLE_SHAPE(2, 3, 7, 5)}, .u.pool = cases[i]});
}

static void test_spectra(void **state)
{
    (void)state;
    const prle_bands bands = {3, {{0, 2}, {2, 5}, {3, 12}}};

    for (int inverse = 0; inverse < 2; inverse++)
        check((prle_op_desc){.kind = PRLE_OP_DCT, .n_in = 1, .in = {PRLE_SHAPE(2, 3, 7, 5)}, .u.dct = {.inverse = inverse == 1}});
    check((prle_op_desc){
        .kind = PRLE_OP_BAND_FILTER, .n_in = 1, .in = {PRLE_SHAPE(2, 3, 7, 5)}, .u.band_filter = {.bands = bands}});
    check((prle_op_desc){.kind = PRLE_OP_LOCAL_SPECTRUM,
                         .n_in = 1,
                         .in = {PRLE_SHAPE(2, 3, 9, 8)},
                         .u.local_spectrum = {.window = 4, .stride = 2, .pad = 1, .bands = bands}});
    check((prle_op_desc){.kind = PRLE_OP_LOCAL_SPECTRUM,
                         .n_in = 1,
                         .in = {PRLE_SHAPE(1, 3, 7, 8)},
                         .u.local_spectrum = {.window = 5, .stride = 3, .pad = 2, .bands = {1, {{2, 4}}}}});
}

static void test_rest(void **state)
{
    (void)state;
    const prle_shape x = PRLE_SHAPE(2, 3, 3, 5), y = PRLE_SHAPE(2, 1, 3, 5), z = PRLE_SHAPE(2, 2, 3, 5);

    check((prle_op_desc){.kind = PRLE_OP_ADD, .n_in = 2, .in = {x, x}});
    check((prle_op_desc){.kind = PRLE_OP_CONCAT, .n_in = 3, .in = {x, y, z}});
    check((prle_op_desc){.kind = PRLE_OP_GATE, .n_in = 2, .in = {x, PRLE_SHAPE(2, 3, 1, 1)}});
    check((prle_op_desc){.kind = PRLE_OP_FLATTEN, .n_in = 1, .in = {x}});
    check((prle_op_desc){.kind = PRLE_OP_DROPOUT, .n_in = 1, .in = {x}, .u.dropout = {.p = 0.4, .layer = 2}});
    check((prle_op_desc){.kind = PRLE_OP_DROPOUT, .n_in = 1, .in = {x}, .u.dropout = {.p = 0.4, .per_sample = true}});
    for (int bias = 0; bias < 2; bias++)
        check((prle_op_desc){
            .kind = PRLE_OP_LINEAR, .n_in = 1, .in = {PRLE_SHAPE(3, 7)}, .u.linear = {.n_out = 5, .bias = bias == 1}});
}

/* The tests above left none out. A reorder's backward pass is the reorder of the gradient, which the plan puts there itself;
 * bytes, which NORMALISE makes numbers of, have no gradient. */
static void test_none_is_left_out(void **state)
{
    (void)state;
    for (int kind = 0; kind < PRLE_OP_N_KINDS; kind++)
        if (!checked[kind] && kind != PRLE_OP_INPUT && kind != PRLE_OP_REORDER && kind != PRLE_OP_NORMALISE)
            fail_msg("%s has no gradient check", prle_op_kind_name((prle_op_kind)kind));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_conv2d),
                                       cmocka_unit_test(test_batch_norm),
                                       cmocka_unit_test(test_act),
                                       cmocka_unit_test(test_pool),
                                       cmocka_unit_test(test_spectra),
                                       cmocka_unit_test(test_rest),
                                       cmocka_unit_test(test_none_is_left_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
