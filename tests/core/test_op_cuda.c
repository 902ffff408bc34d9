/* test_op_cuda.c - every operator of the GPU, each pass, against the reference in double precision: planned and run as a plan
 * would, with images in f32 and in bf16. Runs on the simulator and on a GPU. */
#include <math.h>

#include "core/alloc.h"
#include "core/op/impls_cuda.h"
#include "core/op/kernels_cuda.h"
#include "core/rng.h"
#include "tests/core/op_cases.h"
#include "tests/gpu.h"

/* What the nodes of the tests have in memory: F32 or BF16. */
static prle_dtype memory;

/* Sums of f32 products in f32, of which the worst here is some 1e-6; what was rounded to bf16 once is off by 2^-9 of each value
 * at most, and an epilogue of our own rounds once more. */
static double tolerance(void) { return memory == PRLE_BF16 ? 0x1p-8 : 1e-5; }

/* An operator of the GPU runs: a communicator of the tests finds its values in the GPU's memory. */
static bool on_gpu;

/* ---- values: plain doubles here, any layout there ---- */

static double *doubles(int64_t count)
{
    double *values = NULL;

    assert_ok(PRLE_NEW(values, count));
    return values;
}

static uint16_t half_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((value != value ? bits | 0x400000u : bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

static float float_of(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Where element i of the row-major tensor lies. */
static int64_t place_in(const prle_layout *layout, int64_t i)
{
    const int64_t *d = layout->shape.dim;

    if (!prle_cuda_layout_is_nhwc(layout) || layout->shape.n != 4)
        return i;
    const int64_t plane = d[2] * d[3], p = i % plane, c = i / plane % d[1], b = i / plane / d[1];
    return (b * plane + p) * d[1] + c;
}

static void *host_bytes(size_t n_bytes)
{
    void *host = NULL;

    assert_ok(prle_alloc(n_bytes, 1, &host));
    return host;
}

static void *device_buffer(size_t n_bytes)
{
    void *buffer = NULL;

    assert_ok(prle_cuda_device()->alloc(n_bytes, &buffer));
    return buffer;
}

static void device_free(const void *buffer) { prle_cuda_device()->free((void *)(uintptr_t)buffer); }

/* A buffer of the GPU in that layout with those values. */
static void *device_with(const prle_layout *layout, const double *values)
{
    void *host = host_bytes(layout->n_bytes), *buffer = device_buffer(layout->n_bytes);

    for (int64_t i = 0; i < prle_shape_count(&layout->shape); i++) {
        if (layout->dtype == PRLE_BF16)
            ((uint16_t *)host)[place_in(layout, i)] = half_of((float)values[i]);
        else
            ((float *)host)[place_in(layout, i)] = (float)values[i];
    }
    assert_ok(prle_cuda_device()->copy_in(buffer, host, layout->n_bytes));
    prle_free(host);
    return buffer;
}

static void *host_copy(const void *buffer, size_t n_bytes)
{
    void *host = host_bytes(n_bytes);

    assert_ok(prle_cuda_device()->copy_out(host, buffer, n_bytes));
    return host;
}

static double *values_of(const void *buffer, const prle_layout *layout)
{
    double *values = doubles(prle_shape_count(&layout->shape));
    void *host = host_copy(buffer, layout->n_bytes);

    for (int64_t i = 0; i < prle_shape_count(&layout->shape); i++)
        values[i] = layout->dtype == PRLE_BF16 ? (double)float_of(((uint16_t *)host)[place_in(layout, i)])
                                               : (double)((float *)host)[place_in(layout, i)];
    prle_free(host);
    return values;
}

/* |got - want| / |want| in the L2 norm; NaN counts as infinitely far. */
static double distance(const double *got, const double *want, int64_t count)
{
    double error = 0, norm = 0;

    for (int64_t i = 0; i < count; i++) {
        error += (got[i] - want[i]) * (got[i] - want[i]);
        norm += want[i] * want[i];
    }
    if (!isfinite(error) || norm == 0)
        return error == 0 ? 0 : HUGE_VAL;
    return sqrt(error / norm);
}

/* ---- a node: its description, its tensors as doubles, what the reference makes of them ---- */

typedef struct node {
    const char *name;
    prle_op_desc desc;
    prle_layout arrives[PRLE_OP_MAX_IN], dout_arrives;
    bool inference; /* no backward pass follows */
    bool no_din, no_dparam;
    double tol;
    prle_op_run_info info;
    double *in[PRLE_OP_MAX_IN], *param[PRLE_OP_MAX_PARAMS], *dout, *stats[2];        /* given */
    double *out, *din[PRLE_OP_MAX_IN], *dparam[PRLE_OP_MAX_PARAMS], *stats_after[2]; /* by the reference */
    void *ref_saved, *saved;                                                         /* saved: the GPU's */
    size_t saved_bytes;
    prle_layout in_layout[PRLE_OP_MAX_IN], out_layout; /* as forward left them */
    void *gpu_out;                                     /* what forward made */
    void *gpu_stats[2];
} node;

static double *random_values(const prle_shape *shape, prle_rng *rng)
{
    double *values = doubles(prle_shape_count(shape));

    for (int64_t i = 0; i < prle_shape_count(shape); i++) {
        const float v = (float)prle_rng_normal(rng);
        values[i] = memory == PRLE_BF16 ? (double)float_of(half_of(v)) : (double)v;
    }
    return values;
}

static void node_init(node *n, const char *name, prle_op_kind kind, const prle_op_desc *desc)
{
    prle_rng rng = prle_rng_make(7, 0, (uint64_t)prle_shape_count(&desc->in[0]), PRLE_RNG_TEST);

    *n = (node){.name = name, .desc = *desc, .tol = tolerance(), .info = {.n_valid = desc->in[0].dim[0], .seed = 3}};
    n->desc.kind = kind;
    n->desc.dtype = PRLE_F32;
    n->desc.memory = memory;
    assert_ok(prle_op_infer(&n->desc));
    for (int i = 0; i < n->desc.n_in; i++) {
        n->in[i] = random_values(&n->desc.in[i], &rng);
        n->din[i] = doubles(prle_shape_count(&n->desc.in[i]));
        n->arrives[i] = prle_cuda_layout(memory, &n->desc.in[i]);
    }
    for (int i = 0; i < n->desc.n_params; i++) {
        n->param[i] = random_values(&n->desc.param[i], &rng);
        n->dparam[i] = doubles(prle_shape_count(&n->desc.param[i]));
    }
    n->out = doubles(prle_shape_count(&n->desc.out));
    n->dout = random_values(&n->desc.out, &rng);
    n->dout_arrives = prle_cuda_layout(memory, &n->desc.out);
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
    for (int i = 0; i < 2; i++) {
        prle_free(n->stats[i]);
        prle_free(n->stats_after[i]);
        device_free(n->gpu_stats[i]);
    }
    prle_free(n->out);
    prle_free(n->dout);
    prle_free(n->ref_saved);
    device_free(n->saved);
    device_free(n->gpu_out);
}

/* One pass by the reference in double, into the node. */
static void reference(node *n, prle_op_pass pass)
{
    prle_op_desc desc = n->desc;
    prle_op_plan plan = {.training = !n->inference};
    prle_op_args args = {.info = &n->info, .out = n->out, .dout = n->dout, .stats = {n->stats_after[0], n->stats_after[1]}};
    const prle_op_impl *impl = NULL;

    desc.dtype = desc.memory = PRLE_F64;
    assert_ok(prle_op_choose(prle_device_cpu_ref()->impls, &desc, &impl));
    assert_ok(impl->plan(&desc, pass, &plan));
    for (int i = 0; i < desc.n_in; i++) {
        args.in[i] = n->in[i];
        args.din[i] = n->din[i];
    }
    for (int i = 0; i < desc.n_params; i++) {
        args.param[i] = n->param[i];
        args.dparam[i] = n->dparam[i];
    }
    if (pass == PRLE_PASS_FORWARD && plan.saved_bytes > 0)
        n->ref_saved = host_bytes(plan.saved_bytes);
    args.saved = n->ref_saved;
    args.scratch = plan.scratch_bytes > 0 ? host_bytes(plan.scratch_bytes) : NULL;
    assert_ok(impl->run(plan.state, pass, &args));
    prle_free(args.scratch);
    prle_free(plan.state);
}

/* What a plan fills in before it asks. */
static prle_op_plan plan_entry(const node *n, prle_op_pass pass)
{
    prle_op_plan plan = {.training = !n->inference, .out = n->out_layout, .dout = n->dout_arrives};

    for (int i = 0; i < n->desc.n_in; i++)
        plan.in[i] = pass == PRLE_PASS_FORWARD ? n->arrives[i] : n->in_layout[i];
    for (int i = 0; i < n->desc.n_params; i++)
        plan.param[i] = plan.dparam[i] = prle_layout_plain(PRLE_F32, &n->desc.param[i]);
    return plan;
}

/* One buffer that the operator writes. */
typedef struct result {
    void **arg;
    const prle_layout *layout;
    const double *want;
    const char *what;
    void *first; /* what the first of two runs wrote */
} result;

static void expect_close(const node *n, const result *r)
{
    double *got = values_of(*r->arg, r->layout);
    const int64_t count = prle_shape_count(&r->layout->shape);
    const double d = distance(got, r->want, count);
    const bool ok = d <= n->tol;

    if (getenv("PRLE_TEST_VERBOSE") != NULL)
        printf("%-40s %-8s %.2e of %.0e\n", n->name, r->what, d, n->tol);
    prle_free(got);
    if (!ok)
        fail_msg("%s, %s: %s is %g from the reference, allowed %g", n->name, prle_dtype_name(memory), r->what, d, n->tol);
}

static void add_result(result *results, int *n, void **arg, const prle_layout *layout, const double *want, const char *what)
{
    *arg = device_buffer(layout->n_bytes);
    results[(*n)++] = (result){arg, layout, want, what, NULL};
}

static const prle_op_impl *impl_of(const node *n)
{
    const prle_op_impl *impl = NULL;

    assert_ok(prle_op_choose(prle_cuda_impls, &n->desc, &impl));
    return impl;
}

/* Gradients of parameters come in a pass of their own. */
static bool has_weights(const node *n) { return n->desc.kind == PRLE_OP_CONV2D || n->desc.kind == PRLE_OP_LINEAR; }

/* The tensors that a pass reads and writes. */
static int args_make(node *n, prle_op_pass pass, prle_op_plan *plan, prle_op_args *args, result *results)
{
    const bool forward = pass == PRLE_PASS_FORWARD;
    int n_results = 0;

    for (int i = 0; i < n->desc.n_in; i++) {
        args->in[i] = forward || plan->uses_in ? device_with(&plan->in[i], n->in[i]) : NULL;
        if (pass == PRLE_PASS_BACKWARD && !n->no_din)
            add_result(results, &n_results, &args->din[i], &plan->din[i], n->din[i], i == 0 ? "din" : "din[1]");
    }
    for (int i = 0; i < n->desc.n_params; i++) {
        args->param[i] = device_with(&plan->param[i], n->param[i]);
        if ((pass == PRLE_PASS_WEIGHTS && (i == 0 || !n->no_dparam)) ||
            (pass == PRLE_PASS_BACKWARD && !has_weights(n) && !n->no_dparam))
            add_result(results, &n_results, &args->dparam[i], &plan->dparam[i], n->dparam[i], i == 0 ? "dparam" : "dparam[1]");
    }
    if (forward)
        add_result(results, &n_results, &args->out, &plan->out, n->out, "out");
    else if (plan->uses_out)
        args->out = n->gpu_out;
    args->dout = forward ? NULL : device_with(&plan->dout, n->dout);
    args->scratch = device_buffer(plan->scratch_bytes);
    return n_results;
}

static void args_free(const node *n, prle_op_args *args)
{
    for (int i = 0; i < n->desc.n_in; i++)
        device_free(args->in[i]);
    for (int i = 0; i < n->desc.n_params; i++)
        device_free(args->param[i]);
    device_free(args->dout);
    device_free(args->scratch);
}

/* Runs it; nothing is allocated on the way. */
static void run_once(const node *n, const prle_op_impl *impl, prle_op_pass pass, const void *state, const prle_op_args *args)
{
    const int64_t allocs = prle_alloc_count();
    cudasim_counts before = {0}, after = {0};

    gpu_counts(&before);
    on_gpu = true;
    if (impl->run(state, pass, args) != PRLE_OK)
        fail_msg("%s, %s: %s", n->name, prle_dtype_name(memory), prle_error_details());
    on_gpu = false;
    gpu_counts(&after);
    if (n->desc.kind == PRLE_OP_BATCH_NORM && n->desc.u.batch_norm.comm != NULL)
        return; /* the test's own communicator waits and copies */
    assert_int_equal(prle_alloc_count(), allocs);
    assert_int_equal(after.allocations, before.allocations);
    assert_int_equal(after.synchronisations, before.synchronisations);
}

/* Plans and runs one pass on the GPU twice: near the reference, and the same bits. */
static void run_pass(node *n, prle_op_pass pass)
{
    const prle_op_impl *impl = impl_of(n);
    prle_op_plan plan = plan_entry(n, pass);
    prle_op_args args = {.info = &n->info, .saved = n->saved, .stats = {n->gpu_stats[0], n->gpu_stats[1]}};
    result results[PRLE_OP_MAX_IN + PRLE_OP_MAX_PARAMS + 1];

    reference(n, pass);
    prle_error_clear();
    if (impl->plan(&n->desc, pass, &plan) != PRLE_OK)
        fail_msg("%s, %s: %s", n->name, prle_dtype_name(memory), prle_error_details());
    if (plan.din_is_dout) {
        assert_true(pass == PRLE_PASS_BACKWARD && plan.state == NULL);
        for (int i = 0; i < n->desc.n_in; i++)
            assert_true(prle_layout_equal(&plan.din[i], &plan.dout));
        return;
    }
    if (pass == PRLE_PASS_FORWARD) {
        memcpy(n->in_layout, plan.in, sizeof n->in_layout);
        n->out_layout = plan.out;
        n->saved_bytes = plan.saved_bytes;
        if (plan.saved_bytes > 0 && (!n->inference || n->desc.kind == PRLE_OP_DROPOUT))
            args.saved = n->saved = device_buffer(plan.saved_bytes);
    }
    const int n_results = args_make(n, pass, &plan, &args, results);
    run_once(n, impl, pass, plan.state, &args);
    for (int i = 0; i < n_results; i++) {
        expect_close(n, &results[i]);
        results[i].first = host_copy(*results[i].arg, results[i].layout->n_bytes);
    }
    if (n->stats[0] == NULL) { /* else it would move the running statistics again */
        run_once(n, impl, pass, plan.state, &args);
        for (int i = 0; i < n_results; i++) {
            void *again = host_copy(*results[i].arg, results[i].layout->n_bytes);
            assert_memory_equal(again, results[i].first, results[i].layout->n_bytes);
            prle_free(again);
        }
    }
    for (int i = 0; i < n_results; i++) {
        prle_free(results[i].first);
        if (results[i].arg != &args.out)
            device_free(*results[i].arg);
    }
    if (pass == PRLE_PASS_FORWARD)
        n->gpu_out = args.out;
    args_free(n, &args);
    if (impl->destroy != NULL)
        impl->destroy(plan.state);
    else
        prle_free(plan.state);
}

/* All passes that the operator has. */
static void node_check(node *n)
{
    run_pass(n, PRLE_PASS_FORWARD);
    if (!n->inference)
        run_pass(n, PRLE_PASS_BACKWARD);
    if (!n->inference && has_weights(n))
        run_pass(n, PRLE_PASS_WEIGHTS);
    node_deinit(n);
}

/* The test with images in f32, then in bf16. */
#define BOTH(test)                                                                                                               \
    do {                                                                                                                         \
        memory = PRLE_F32;                                                                                                       \
        test();                                                                                                                  \
        memory = PRLE_BF16;                                                                                                      \
        test();                                                                                                                  \
    } while (0)

static void node_arrives(node *n, prle_dtype dtype, bool plain)
{
    for (int i = 0; i < n->desc.n_in; i++)
        n->arrives[i] = plain ? prle_layout_plain(dtype, &n->desc.in[i]) : prle_cuda_layout(dtype, &n->desc.in[i]);
    n->dout_arrives = plain ? prle_layout_plain(dtype, &n->desc.out) : prle_cuda_layout(dtype, &n->desc.out);
}

/* ---- reorders ---- */

static void reorder_check(const prle_layout *from, const prle_layout *to)
{
    const prle_op_desc desc = {.kind = PRLE_OP_REORDER, .n_in = 1, .in = {from->shape}, .out = from->shape, .dtype = PRLE_F32};
    prle_op_plan plan = {.in = {*from}, .out = *to};
    prle_rng rng = prle_rng_make(5, 0, 0, PRLE_RNG_TEST);
    const prle_op_impl *impl = NULL;

    memory = from->dtype;
    double *values = random_values(&from->shape, &rng);
    const prle_op_args args = {.in = {device_with(from, values)}, .out = device_buffer(to->n_bytes)};
    assert_ok(prle_op_choose(prle_cuda_impls, &desc, &impl));
    assert_ok(impl->plan(&desc, PRLE_PASS_FORWARD, &plan));
    assert_ok(impl->run(plan.state, PRLE_PASS_FORWARD, &args));
    double *got = values_of(args.out, to);
    for (int64_t i = 0; i < prle_shape_count(&from->shape); i++) {
        const double want = to->dtype == PRLE_BF16 ? (double)float_of(half_of((float)values[i])) : values[i];
        if (!(got[i] == want))
            fail_msg("reorder: element %lld is %g, not %g", (long long)i, got[i], want);
    }
    prle_free(got);
    prle_free(values);
    prle_free(plan.state);
    device_free(args.in[0]);
    device_free(args.out);
}

static void test_reorder(void **state)
{
    (void)state;
    static const prle_shape shapes[] = {{4, {2, 3, 17, 13}},  {4, {3, 16, 5, 7}},  {4, {1, 1, 9, 9}},   {4, {2, 40, 1, 1}},
                                        {4, {1, 37, 41, 33}}, {4, {64, 32, 3, 3}}, {4, {24, 64, 1, 1}}, {4, {13, 1, 5, 5}},
                                        {4, {2, 9, 2, 3}},    {2, {5, 31}},        {4, {1, 1, 1, 1}}};
    static const prle_dtype types[] = {PRLE_F32, PRLE_BF16};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int a = 0; a < 4; a++)
            for (int b = 0; b < 4; b++) {
                const prle_layout plain[2] = {prle_layout_plain(types[a & 1], &shapes[i]),
                                              prle_layout_plain(types[b & 1], &shapes[i])};
                const prle_layout last[2] = {prle_cuda_layout(types[a & 1], &shapes[i]),
                                             prle_cuda_layout(types[b & 1], &shapes[i])};
                reorder_check(a < 2 ? &plain[0] : &last[0], b < 2 ? &plain[1] : &last[1]);
            }
}

/* Values that have no bfloat16 of their own go to the nearest, ties to even; NaN stays NaN. */
static void test_reorder_rounds(void **state)
{
    (void)state;
    static const struct {
        uint32_t bits;
        uint16_t half;
    } cases[] = {{0x3F800000, 0x3F80}, {0x3F808000, 0x3F80}, {0x3F818000, 0x3F82}, {0x3F808001, 0x3F81},
                 {0x7F7FFFFF, 0x7F80}, {0xFF800000, 0xFF80}, {0x80000001, 0x8000}, {0x00018000, 0x0002}};
    enum { N = sizeof cases / sizeof *cases };
    uint32_t from[N + 1] = {0};
    const prle_cuda *gpu = NULL;

    for (int i = 0; i < N; i++)
        from[i] = cases[i].bits;
    from[N] = 0x7FC00001; /* NaN */
    void *a = device_buffer(sizeof from), *b = device_buffer((N + 1) * 2);
    assert_ok(prle_cuda_get(&gpu));
    assert_ok(prle_cuda_device()->copy_in(a, from, sizeof from));
    assert_int_equal(prle_convert_cuda(b, PRLE_BF16, a, PRLE_F32, N + 1, gpu->compute), cudaSuccess);
    uint16_t *got = host_copy(b, (N + 1) * 2);
    for (int i = 0; i < N; i++)
        assert_int_equal(got[i], cases[i].half);
    assert_true(isnan(float_of(got[N])));
    prle_free(got);
    device_free(a);
    device_free(b);
}

/* ---- convolution ---- */

static void conv_fused_check(const conv_case *c, prle_act act, bool residual)
{
    prle_op_desc desc = conv_desc(c), shapes = desc;
    node n;

    shapes.kind = PRLE_OP_CONV2D;
    assert_ok(prle_op_infer(&shapes));
    desc.u.conv2d.act = (prle_act_attrs){.act = act, .slope = 0.1};
    desc.u.conv2d.residual = residual;
    desc.n_in = residual ? 2 : 1;
    desc.in[1] = shapes.out;
    node_init(&n, c->name, PRLE_OP_CONV2D, &desc);
    n.inference = true;
    node_check(&n);
}

/* All passes; and for inference, what follows the sum: two of ten combinations for each convolution. A plan of the same
 * convolution that is alive is shared, and none is left over. */
static void conv2d_check(int i)
{
    prle_op_desc desc = conv_desc(&conv_cases[i]);
    const int64_t live = prle_alloc_live();
    node n;

    node_init(&n, conv_cases[i].name, PRLE_OP_CONV2D, &desc);
    n.no_dparam = i % 2 != 0;
    const prle_op_impl *impl = impl_of(&n);
    prle_op_plan held = plan_entry(&n, PRLE_PASS_FORWARD), second = held;
    assert_ok(impl->plan(&n.desc, PRLE_PASS_FORWARD, &held));
    const int64_t one = prle_alloc_live();
    assert_ok(impl->plan(&n.desc, PRLE_PASS_FORWARD, &second));
    assert_int_equal(prle_alloc_live(), one + 1); /* its state */
    impl->destroy(second.state);
    node_check(&n);
    conv_fused_check(&conv_cases[i], (prle_act)(i % PRLE_N_ACTS), true);
    conv_fused_check(&conv_cases[i], (prle_act)((i + 1) % PRLE_N_ACTS), i % 3 == 0);
    impl->destroy(held.state);
    assert_int_equal(prle_alloc_live(), live);
}

static void conv2d_all(void)
{
    for (int i = 0; i < N_CONV_CASES; i++)
        conv2d_check(i);
}
/* cuDNN takes along what follows, where it can. */
static void test_conv2d_fused(void **state)
{
    (void)state;
    cudasim_traffic ours;

    assert_int_equal(setenv("PRLE_CONV_FUSED", "1", 1), 0);
    for (int i = 0; i < N_CONV_CASES; i += 5)
        for (int variant = 0; variant < 4; variant++) {
            conv_case c = conv_cases[i];
            c.bias = true;
            memory = variant == 3 ? PRLE_F32 : PRLE_BF16;
            gpu_counts_reset();
            conv_fused_check(&c, variant % 2 == 0 ? PRLE_ACT_RELU : PRLE_ACT_NONE, variant >= 2);
            if (i == 0 && gpu_traffic("epilogue", &ours)) /* an ordinary convolution, for which cuDNN has an engine */
                assert_int_equal(ours.launches, 0);
        }
    assert_int_equal(unsetenv("PRLE_CONV_FUSED"), 0);
}

static void test_conv2d(void **state)
{
    (void)state;
    BOTH(conv2d_all);
}

/* ---- batch normalisation ---- */

/* What forward leaves in the running statistics. */
static void expect_stats(const node *n)
{
    const prle_layout plain = prle_layout_plain(PRLE_F32, &n->desc.param[0]);

    for (int i = 0; i < 2; i++) {
        double *got = values_of(n->gpu_stats[i], &plain);
        const double d = distance(got, n->stats_after[i], n->desc.param[0].dim[0]);
        const bool ok = d <= 1e-6;
        prle_free(got);
        if (!ok)
            fail_msg("%s: running %s is %g from the reference", n->name, i == 0 ? "mean" : "variance", d);
    }
}

static void norm_check(const char *name, const prle_shape *shape, prle_batch_norm_attrs attrs, int64_t n_valid, bool training,
                       bool partly)
{
    const prle_op_desc desc = {.n_in = attrs.residual ? 2 : 1, .in = {*shape, *shape}, .u.batch_norm = attrs};
    const int64_t C = shape->dim[1];
    const prle_shape channels = {1, {C}};
    const prle_layout plain = prle_layout_plain(PRLE_F32, &channels);
    prle_rng rng = prle_rng_make(3, 0, 0, PRLE_RNG_TEST);
    node n;

    node_init(&n, name, PRLE_OP_BATCH_NORM, &desc);
    n.inference = !training;
    n.info.n_valid = n_valid;
    n.no_dparam = n.no_din = partly;
    for (int64_t i = 0; i < prle_shape_count(shape); i++) {
        n.in[0][i] += 1;
        n.in[0][i] = memory == PRLE_BF16 ? (double)float_of(half_of((float)n.in[0][i])) : (double)(float)n.in[0][i];
    }
    for (int i = 0; i < 2; i++) {
        n.stats[i] = random_values(&channels, &rng);
        for (int64_t c = 0; c < C && i == 1; c++)
            n.stats[i][c] = (double)(float)(n.stats[i][c] * n.stats[i][c] + 0.1);
        n.stats_after[i] = doubles(C);
        memcpy(n.stats_after[i], n.stats[i], (size_t)C * sizeof(double));
        n.gpu_stats[i] = device_with(&plain, n.stats[i]);
    }
    run_pass(&n, PRLE_PASS_FORWARD);
    expect_stats(&n);
    if (training)
        run_pass(&n, PRLE_PASS_BACKWARD);
    node_deinit(&n);
}

static void batch_norm_all(void)
{
    static const prle_shape shapes[] = {{4, {4, 16, 9, 7}},  {4, {3, 13, 5, 5}}, {4, {16, 8, 1, 1}}, {4, {1, 24, 11, 3}},
                                        {2, {19, 12}},       {4, {2, 1, 17, 1}}, {4, {1, 8, 1, 1}},  {4, {2, 20, 37, 31}},
                                        {4, {2, 264, 3, 3}}, {4, {3, 300, 2, 2}}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int variant = 0; variant < 16; variant++) {
            if (i >= 4 && variant % 3 != (int)i % 3) /* all variants of some shapes, some of all */
                continue;
            char name[64];
            const bool frozen = (variant & 1) != 0, relu = (variant & 2) != 0, train = (variant & 4) != 0;
            const prle_batch_norm_attrs attrs = {.eps = 1e-5,
                                                 .momentum = 0.1,
                                                 .frozen = frozen,
                                                 .act = relu ? PRLE_ACT_RELU : PRLE_ACT_NONE,
                                                 .residual = (variant & 8) != 0};
            snprintf(name, sizeof name, "batch_norm %zu%s%s%s%s", i, frozen ? " frozen" : "", relu ? " relu" : "",
                     train ? " train" : "", attrs.residual ? " residual" : "");
            norm_check(name, &shapes[i], attrs, shapes[i].dim[0], train, frozen && relu && i % 2 == 0);
        }
    norm_check("batch_norm, no share", &shapes[0],
               (prle_batch_norm_attrs){.eps = 1e-5, .momentum = 0.1, .act = PRLE_ACT_RELU, .residual = true}, 0, true, false);
    norm_check("batch_norm, no share, frozen", &shapes[0], (prle_batch_norm_attrs){.eps = 1e-5, .momentum = 0.1, .frozen = true},
               0, true, false);
}
static void test_batch_norm(void **state)
{
    (void)state;
    BOTH(batch_norm_all);
}

/* A mean that is 1000 times the deviation: sums of squares in f32 would keep nothing of the variance. */
static void test_batch_norm_far_mean(void **state)
{
    (void)state;
    const prle_shape shape = {4, {4, 8, 29, 31}}, channels = {1, {8}};
    const prle_op_desc desc = {.n_in = 1, .in = {shape}, .u.batch_norm = {.eps = 1e-5, .momentum = 1}};
    const prle_layout plain = prle_layout_plain(PRLE_F32, &channels);
    node n;

    memory = PRLE_F32;
    node_init(&n, "batch_norm, far mean", PRLE_OP_BATCH_NORM, &desc);
    for (int64_t i = 0; i < prle_shape_count(&shape); i++)
        n.in[0][i] = (double)(float)(n.in[0][i] + 1000);
    for (int i = 0; i < 2; i++) {
        n.stats[i] = doubles(8);
        n.stats_after[i] = doubles(8);
        n.gpu_stats[i] = device_with(&plain, n.stats[i]);
    }
    run_pass(&n, PRLE_PASS_FORWARD);
    expect_stats(&n);
    run_pass(&n, PRLE_PASS_BACKWARD);
    node_deinit(&n);
}

/* The sums of two ranks as this one sees them. The other has the same batch; or, `stranger`, one of its own of 100 values a
 * channel, while this rank has no share. In the host's memory for the reference, in the GPU's for what is tested. */
typedef struct pair_comm {
    prle_comm base;
    bool stranger;
    int n_sums;
} pair_comm;

static prle_status pair_sum(prle_comm *comm, void *values, int64_t n, prle_dtype dtype)
{
    pair_comm *pair = (pair_comm *)comm;
    double *sums = on_gpu ? host_copy(values, (size_t)n * sizeof(double)) : values;
    const int which = n == 13 + 1 ? 0 : n == 13 ? 1 : 2; /* forward: values and their number, squares; backward */

    assert_int_equal(dtype, PRLE_F64);
    pair->n_sums++;
    for (int64_t i = 0; i < n; i++) {
        if (pair->stranger)
            sums[i] += which == 0 && i == n - 1 ? 100 : which == 1 ? 50 + (double)i : 100 + 10 * (double)i;
        else
            sums[i] *= 2;
    }
    if (on_gpu) {
        assert_ok(prle_cuda_device()->copy_in(values, sums, (size_t)n * sizeof(double)));
        prle_free(sums);
    }
    return PRLE_OK;
}

static void ranks_check(bool stranger, bool relu, bool residual)
{
    static const prle_comm_ops ops = {.name = "pair", .sum = pair_sum};
    static const prle_shape shape = {4, {3, 13, 5, 5}};
    pair_comm pair = {.base = {.ops = &ops, .size = 2}, .stranger = stranger};
    const prle_batch_norm_attrs attrs = {
        .eps = 1e-5, .momentum = 0.1, .act = relu ? PRLE_ACT_RELU : PRLE_ACT_NONE, .residual = residual, .comm = &pair.base};

    norm_check(stranger ? "batch_norm, two ranks, no share" : "batch_norm, two ranks", &shape, attrs, stranger ? 0 : 3, true,
               false);
    assert_int_equal(pair.n_sums, 6); /* of the reference and of the GPU */
}

static void batch_norm_ranks_all(void)
{
    for (int variant = 0; variant < 8; variant++)
        ranks_check((variant & 1) != 0, (variant & 2) != 0, (variant & 4) != 0);
}

static void test_batch_norm_with_ranks(void **state)
{
    (void)state;
    const char *why = NULL;
    static const prle_comm_ops mpi = {.name = "mpi"};
    prle_comm host = {.ops = &mpi};
    const prle_op_desc desc = {
        .kind = PRLE_OP_BATCH_NORM, .n_in = 1, .in = {{4, {2, 8, 3, 3}}}, .dtype = PRLE_F32, .u.batch_norm = {.comm = &host}};

    assert_false(prle_batch_norm_impl_cuda.supports(&desc, &why));
    assert_non_null(strstr(why, "host's memory"));
    BOTH(batch_norm_ranks_all);
}

/* ---- activations, sums, concatenation, gates ---- */

static void act_all(void)
{
    static const prle_shape shapes[] = {
        {4, {2, 8, 5, 7}}, {4, {3, 13, 7, 7}}, {2, {3, 19}}, {4, {1, 1, 1, 1}}, {4, {2, 64, 9, 9}}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int act = PRLE_ACT_NONE; act < PRLE_N_ACTS; act++) {
            const prle_op_desc desc = {.n_in = 1, .in = {shapes[i]}, .u.act = {.act = (prle_act)act, .slope = 0.1}};
            node n;

            node_init(&n, "act", PRLE_OP_ACT, &desc);
            node_arrives(&n, i % 2 == 0 ? memory : PRLE_F32, act % 2 == 0);
            n.in[0][0] = 0; /* the kink */
            node_check(&n);
        }
}
static void test_act(void **state)
{
    (void)state;
    BOTH(act_all);
}

static void add_all(void)
{
    static const prle_shape shapes[] = {{4, {2, 8, 5, 7}}, {4, {3, 13, 7, 7}}, {2, {3, 19}}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int plain = 0; plain < 2; plain++) {
            const prle_op_desc desc = {.n_in = 2, .in = {shapes[i], shapes[i]}};
            node n;

            node_init(&n, "add", PRLE_OP_ADD, &desc);
            n.arrives[0] = plain ? prle_layout_plain(memory, &shapes[i]) : n.arrives[0];
            node_check(&n);
        }
}
static void test_add(void **state)
{
    (void)state;
    BOTH(add_all);
}

static void concat_all(void)
{
    static const struct {
        int n;
        prle_shape in[4];
    } cases[] = {{2, {{4, {2, 8, 5, 5}}, {4, {2, 16, 5, 5}}}},
                 {4, {{4, {2, 3, 4, 7}}, {4, {2, 5, 4, 7}}, {4, {2, 8, 4, 7}}, {4, {2, 1, 4, 7}}}},
                 {3, {{2, {5, 7}}, {2, {5, 16}}, {2, {5, 2}}}},
                 {1, {{4, {1, 8, 1, 1}}}}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        prle_op_desc desc = {.n_in = cases[i].n};
        node n;

        memcpy(desc.in, cases[i].in, sizeof desc.in);
        node_init(&n, "concat", PRLE_OP_CONCAT, &desc);
        n.tol = 0;
        node_check(&n);
    }
}
static void test_concat(void **state)
{
    (void)state;
    BOTH(concat_all);
}

static void gate_all(void)
{
    static const prle_shape shapes[] = {
        {4, {2, 8, 5, 7}}, {4, {3, 13, 7, 7}}, {4, {1, 40, 1, 1}}, {4, {2, 272, 4, 4}}, {4, {2, 16, 31, 29}}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const prle_op_desc desc = {.n_in = 2, .in = {shapes[i], {4, {shapes[i].dim[0], shapes[i].dim[1], 1, 1}}}};
        node n;

        node_init(&n, "gate", PRLE_OP_GATE, &desc);
        node_check(&n);
    }
}
static void test_gate(void **state)
{
    (void)state;
    BOTH(gate_all);
}

/* ---- pooling ---- */

static const struct {
    const char *name;
    prle_shape in;
    prle_pool_attrs attrs;
} pool_cases[] = {
    {"max 3/2", {4, {2, 16, 13, 11}}, {.max = true, .kernel = 3, .stride = 2, .pad = 1}},
    {"max 3/2, no padding", {4, {3, 13, 12, 9}}, {.max = true, .kernel = 3, .stride = 2}},
    {"max 2/2", {4, {2, 8, 7, 7}}, {.max = true, .kernel = 2, .stride = 2}},
    {"max 4/4", {4, {2, 16, 9, 8}}, {.max = true, .kernel = 4, .stride = 4}},
    {"max 3/1", {4, {1, 5, 6, 5}}, {.max = true, .kernel = 3, .stride = 1, .pad = 1}},
    {"max 2/3, pixels in no window", {4, {2, 8, 8, 9}}, {.max = true, .kernel = 2, .stride = 3}},
    {"max 1/1", {4, {1, 1, 1, 1}}, {.max = true, .kernel = 1, .stride = 1}},
    {"mean 3/2", {4, {2, 16, 13, 11}}, {.kernel = 3, .stride = 2, .pad = 1}},
    {"mean 2/2", {4, {2, 13, 6, 7}}, {.kernel = 2, .stride = 2}},
    {"whole image", {4, {3, 24, 7, 5}}, {.global = true}},
    {"whole image, odd channels", {4, {1, 13, 31, 17}}, {.global = true}},
    {"whole image kept", {4, {2, 300, 4, 4}}, {.global = true, .keep_dims = true}},
    {"7 bins of 8", {4, {2, 16, 8, 8}}, {.bins = 7}},
    {"7 bins of 5 x 9", {4, {2, 3, 5, 9}}, {.bins = 7}},
    {"3 bins of 1", {4, {1, 8, 1, 1}}, {.bins = 3}},
};

static void pool_all(void)
{
    for (size_t i = 0; i < sizeof pool_cases / sizeof *pool_cases; i++) {
        const prle_op_desc desc = {.n_in = 1, .in = {pool_cases[i].in}, .u.pool = pool_cases[i].attrs};
        node n;

        node_init(&n, pool_cases[i].name, PRLE_OP_POOL, &desc);
        if (pool_cases[i].attrs.max && i % 2 == 0) /* many equal values: the first in raster order wins */
            for (int64_t k = 0; k < prle_shape_count(&desc.in[0]); k++)
                n.in[0][k] = rint(n.in[0][k]);
        node_check(&n);
    }
}
static void test_pool(void **state)
{
    (void)state;
    BOTH(pool_all);
}

/* A window with a NaN has a NaN as its maximum. */
static void test_pool_nan(void **state)
{
    (void)state;
    const prle_shape shape = {4, {1, 8, 4, 4}};
    const prle_op_desc desc = {.n_in = 1, .in = {shape}, .u.pool = {.max = true, .kernel = 2, .stride = 2}};
    node n;

    memory = PRLE_F32;
    node_init(&n, "max of NaN", PRLE_OP_POOL, &desc);
    const prle_op_impl *impl = impl_of(&n);
    prle_op_plan plan = plan_entry(&n, PRLE_PASS_FORWARD);
    n.in[0][5] = (double)NAN; /* channel 0, pixel (1,1) */
    assert_ok(impl->plan(&n.desc, PRLE_PASS_FORWARD, &plan));
    const prle_op_args args = {
        .info = &n.info, .in = {device_with(&plan.in[0], n.in[0])}, .out = device_buffer(plan.out.n_bytes)};
    assert_ok(impl->run(plan.state, PRLE_PASS_FORWARD, &args));
    double *got = values_of(args.out, &plan.out);
    for (int i = 0; i < 32; i++)
        assert_true((isnan(got[i]) != 0) == (i == 0));
    prle_free(got);
    prle_free(plan.state);
    device_free(args.in[0]);
    device_free(args.out);
    node_deinit(&n);
}

/* ---- linear, flatten, dropout ---- */

static void linear_all(void)
{
    static const int64_t sizes[][3] = {{1, 1, 1}, {5, 19, 2}, {16, 64, 10}, {3, 257, 33}, {2, 8, 1000}};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const prle_op_desc desc = {
            .n_in = 1, .in = {{2, {sizes[i][0], sizes[i][1]}}}, .u.linear = {.n_out = sizes[i][2], .bias = i % 2 == 0}};
        node n;

        node_init(&n, "linear", PRLE_OP_LINEAR, &desc);
        n.no_dparam = i == 2;
        node_check(&n);
    }
}
static void test_linear(void **state)
{
    (void)state;
    BOTH(linear_all);
}

static void flatten_all(void)
{
    static const prle_shape shapes[] = {{4, {2, 16, 3, 5}}, {4, {3, 13, 7, 7}}, {4, {2, 9, 1, 1}}, {4, {1, 1, 4, 4}}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int plain = 0; plain < 2; plain++) {
            const prle_op_desc desc = {.n_in = 1, .in = {shapes[i]}};
            node n;

            node_init(&n, "flatten", PRLE_OP_FLATTEN, &desc);
            node_arrives(&n, memory, plain);
            n.tol = 0;
            node_check(&n);
        }
}
static void test_flatten(void **state)
{
    (void)state;
    BOTH(flatten_all);
}

/* What a plan tells the GPU of a run. */
static void run_info_set(const prle_op_run_info *info, int64_t batch)
{
    prle_cuda_run run = {.n_valid = info->n_valid, .seed = info->seed, .epoch = info->epoch};
    const prle_cuda *gpu = NULL;

    for (int64_t b = 0; b < batch; b++)
        run.samples[b] = info->samples != NULL ? info->samples[b] : (uint64_t)b;
    assert_ok(prle_cuda_get(&gpu));
    assert_ok(prle_cuda_device()->copy_in((void *)(uintptr_t)gpu->run, &run, sizeof run));
}

/* The same elements are kept as by the reference, whatever the layout. */
static void dropout_check(const prle_shape *shape, prle_dropout_attrs attrs, bool plain, const uint64_t *samples)
{
    const prle_op_desc desc = {.n_in = 1, .in = {*shape}, .u.dropout = attrs};
    const int64_t draws = attrs.per_sample ? shape->dim[0] : prle_shape_count(shape);
    node n;

    node_init(&n, "dropout", PRLE_OP_DROPOUT, &desc);
    node_arrives(&n, memory, plain);
    n.info = (prle_op_run_info){.n_valid = shape->dim[0], .seed = 0x123456789ABCDEFull, .epoch = 5, .samples = samples};
    run_info_set(&n.info, shape->dim[0]);
    run_pass(&n, PRLE_PASS_FORWARD);
    const uint8_t *want = n.ref_saved;
    uint8_t *got = host_copy(n.saved, (size_t)draws);
    for (int64_t i = 0; i < draws; i++)
        assert_int_equal(got[attrs.per_sample ? i : place_in(&n.out_layout, i)], want[i]);
    prle_free(got);
    run_pass(&n, PRLE_PASS_BACKWARD);
    node_deinit(&n);
}

static void dropout_all(void)
{
    static const prle_shape shapes[] = {{2, {5, 31}}, {4, {3, 16, 5, 7}}, {4, {2, 13, 9, 3}}, {2, {1, 1}}};
    static const uint64_t samples[] = {7, 0, 0x1FFFFFFFFull, 12, 3};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int variant = 0; variant < 4; variant++)
            dropout_check(
                &shapes[i],
                (prle_dropout_attrs){.p = i % 2 == 0 ? 0.5 : 0.2, .layer = (uint32_t)(3 * i), .per_sample = (variant & 1) != 0},
                (variant & 2) != 0, i % 2 == 0 ? samples : NULL);
}
static void test_dropout(void **state)
{
    (void)state;
    BOTH(dropout_all);
}

/* ---- F3-Net's spectra ---- */

static void dct_all(void)
{
    static const prle_shape shapes[] = {{4, {2, 3, 16, 16}}, {4, {1, 1, 7, 13}}, {4, {3, 2, 1, 5}}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int inverse = 0; inverse < 2; inverse++) {
            const prle_op_desc desc = {.n_in = 1, .in = {shapes[i]}, .u.dct = {.inverse = inverse != 0}};
            node n;

            node_init(&n, "dct", PRLE_OP_DCT, &desc);
            node_check(&n);
        }
}
static void test_dct(void **state)
{
    (void)state;
    BOTH(dct_all);
}

static void band_filter_all(void)
{
    static const prle_shape shapes[] = {{4, {2, 3, 16, 16}}, {4, {1, 1, 7, 7}}, {4, {3, 2, 19, 19}}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const prle_op_desc desc = {.n_in = 1, .in = {shapes[i]}, .u.band_filter.bands = {3, {{0, 5}, {5, 11}, {0, 64}}}};
        node n;

        node_init(&n, "band_filter", PRLE_OP_BAND_FILTER, &desc);
        n.no_din = i == 1;
        n.no_dparam = i == 2;
        node_check(&n);
    }
}
static void test_band_filter(void **state)
{
    (void)state;
    BOTH(band_filter_all);
}

static void local_spectrum_all(void)
{
    static const struct {
        prle_shape in;
        int64_t window, stride, pad;
    } cases[] = {{{4, {2, 3, 20, 24}}, 10, 2, 4}, {{4, {1, 3, 13, 11}}, 5, 3, 1}, {{4, {2, 3, 9, 9}}, 4, 1, 0}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const prle_op_desc desc = {.n_in = 1,
                                   .in = {cases[i].in},
                                   .u.local_spectrum = {.window = cases[i].window,
                                                        .stride = cases[i].stride,
                                                        .pad = cases[i].pad,
                                                        .bands = {3, {{0, 2}, {2, 4}, {3, 18}}}}};
        node n;

        node_init(&n, "local_spectrum", PRLE_OP_LOCAL_SPECTRUM, &desc);
        for (int64_t k = 0; k < prle_shape_count(&desc.in[0]) / 2 && i == 0; k++) /* the first picture is flat: all is rounding */
            n.in[0][k] = 0.25;
        n.no_din = i == 0; /* where a coefficient is nothing but rounding its slope is any number */
        node_check(&n);
    }
}
static void test_local_spectrum(void **state)
{
    (void)state;
    BOTH(local_spectrum_all);
}

/* ---- refusals ---- */

static void test_refusals(void **state)
{
    (void)state;
    prle_op_desc desc = {.kind = PRLE_OP_ACT, .n_in = 1, .in = {{2, {2, 3}}}, .dtype = PRLE_F64};
    const prle_op_impl *impl = NULL;

    assert_fails(prle_op_choose(prle_cuda_impls, &desc, &impl), PRLE_ENOTSUP, "computes in f32");
    desc.dtype = PRLE_F32;
    desc.in[0].dim[0] = 0;
    assert_fails(prle_op_choose(prle_cuda_impls, &desc, &impl), PRLE_ENOTSUP, "empty");
    desc = (prle_op_desc){.kind = PRLE_OP_POOL,
                          .n_in = 1,
                          .in = {{4, {1, 1, 20, 20}}},
                          .dtype = PRLE_F32,
                          .u.pool = {.max = true, .kernel = 16, .stride = 1}};
    assert_fails(prle_op_choose(prle_cuda_impls, &desc, &impl), PRLE_ENOTSUP, "255");
}

static void test_none_forgotten(void **state)
{
    (void)state;
    for (int kind = PRLE_OP_INPUT + 1; kind < PRLE_OP_N_KINDS; kind++) {
        int i = 0;
        while (prle_cuda_impls[i] != NULL && prle_cuda_impls[i]->kind != (prle_op_kind)kind)
            i++;
        if (prle_cuda_impls[i] == NULL)
            fail_msg("a GPU has no %s and refuses networks with one", prle_op_kind_name((prle_op_kind)kind));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reorder),
        cmocka_unit_test(test_reorder_rounds),
        cmocka_unit_test(test_conv2d),
        cmocka_unit_test(test_conv2d_fused),

        cmocka_unit_test(test_batch_norm),
        cmocka_unit_test(test_batch_norm_far_mean),
        cmocka_unit_test(test_batch_norm_with_ranks),
        cmocka_unit_test(test_act),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_concat),
        cmocka_unit_test(test_gate),
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_pool_nan),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_flatten),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_dct),
        cmocka_unit_test(test_band_filter),
        cmocka_unit_test(test_local_spectrum),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_none_forgotten),
    };

    GPU_TESTS_RUN(tests);
}
