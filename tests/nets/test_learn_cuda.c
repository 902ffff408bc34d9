/* test_learn_cuda.c - loss, norm, clipping and optimisers of the GPU against nets/loss.c and nets/optim.c on the same numbers. */
#include <math.h>

#include "core/alloc.h"
#include "core/op/fold.h"
#include "core/rng.h"
#include "nets/learn_impl.h"
#include "nets/loss.h"
#include "tests/gpu.h"

static const prle_device *device(void) { return prle_cuda_device(); }

static void *to_device(const void *from, size_t n_bytes)
{
    void *there = NULL;

    assert_ok(device()->alloc(n_bytes, &there));
    assert_ok(device()->copy_in(there, from, n_bytes));
    return there;
}

static void random_fill(float *x, int64_t n, uint64_t seed, double scale)
{
    prle_rng rng = prle_rng_make(seed, 0, 0, PRLE_RNG_TEST);

    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(scale * prle_rng_normal(&rng));
}

/* ---- loss and seed ---- */

typedef struct loss_case {
    int64_t n, plan_batch, classes;
    double magnitude; /* of logits */
} loss_case;

static void loss_check(const loss_case *c)
{
    enum { MAX = 1000 };
    float logits[2 * MAX], expected[2 * MAX] = {0}, got[2 * MAX];
    uint8_t labels[MAX];
    double weights[MAX];
    const learn_setup setup = {.n_weights = 1, .max_batch = MAX, .classes = c->classes, .n_slots = 3};
    const learn_step step = {.n = c->n, .slot = 1, .scale = 1.0 / 48};
    const size_t n_bytes = (size_t)(c->plan_batch * c->classes) * sizeof(float);
    prle_learn_out out[3];
    void *state = NULL;

    random_fill(logits, 2 * MAX, 5, c->magnitude);
    for (int64_t i = 0; i < MAX; i++) {
        labels[i] = i % 3 == 0;
        weights[i] = 1 + 0.5 * (double)(i % 4);
    }
    const double loss = prle_loss(logits, c->n, c->classes, PRLE_F32, labels, weights, step.scale, expected);
    assert_ok(device()->learn->create(&state, &setup));
    float *logits_there = to_device(logits, n_bytes), *seed_there = to_device(logits, n_bytes);
    assert_ok(device()->learn->begin(state, &step, labels, weights));
    assert_ok(device()->learn->seed(state, logits_there, seed_there, c->plan_batch));
    assert_ok(device()->learn->results(state, out));
    assert_ok(device()->copy_out(got, seed_there, n_bytes));
    assert_true(fabs(out[1].loss - loss) <= 1e-12 * fabs(loss) + 1e-300);
    for (int64_t i = 0; i < c->plan_batch * c->classes; i++)
        if (!(fabsf(got[i] - expected[i]) <= 2e-7f * fabsf(expected[i])))
            fail_msg("seed %lld: %g, not %g", (long long)i, (double)got[i], (double)expected[i]);
    device()->learn->destroy(state);
    device()->free(logits_there);
    device()->free(seed_there);
}

static void test_loss(void **state)
{
    static const loss_case cases[] = {{1, 1, 1, 1}, {1, 1, 2, 1},      {7, 13, 2, 3},
                                      {0, 5, 2, 1}, {257, 257, 1, 40}, {1000, 1000, 2, 200}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        loss_check(&cases[i]);
}

/* A NaN anywhere makes the whole seed NaN: the ranks' summed gradients, too. */
static void test_loss_not_finite(void **state)
{
    const float logits[3] = {1, NAN, 2};
    const uint8_t labels[3] = {0, 1, 0};
    const double weights[3] = {1, 1, 1};
    const learn_setup setup = {.n_weights = 1, .max_batch = 3, .classes = 1, .n_slots = 1};
    const learn_step step = {.n = 3, .scale = 1};
    float got[3];
    prle_learn_out out;
    void *learn = NULL;

    (void)state;
    assert_ok(device()->learn->create(&learn, &setup));
    float *there = to_device(logits, sizeof logits), *seed = to_device(logits, sizeof logits);
    assert_ok(device()->learn->begin(learn, &step, labels, weights));
    assert_ok(device()->learn->seed(learn, there, seed, 3));
    assert_ok(device()->learn->results(learn, &out));
    assert_ok(device()->copy_out(got, seed, sizeof got));
    assert_true(isnan(out.loss));
    for (int i = 0; i < 3; i++)
        assert_true(isnan(got[i]));
    device()->learn->destroy(learn);
    device()->free(there);
    device()->free(seed);
}

/* ---- norm, clipping, optimisers: the same steps on the processor and on the GPU ---- */

typedef struct side {
    prle_model *model;
    prle_optim *optim;
    prle_learner *learner;
} side;

static void side_init(side *s, const prle_device *where, const char *net, const prle_optim_opts *opts, double clip)
{
    const prle_net_opts net_opts = {.height = 32, .width = 32, .classes = 2};
    const prle_learn_opts learn = {.max_batch = 4, .clip_norm = clip, .n_pending = 3};

    assert_ok(prle_model_create(&s->model, net, &net_opts, PRLE_F32));
    prle_model_init(s->model, 1);
    assert_ok(prle_model_place(s->model, where));
    assert_ok(prle_model_grads_require(s->model));
    assert_ok(prle_optim_create(&s->optim, s->model, opts));
    assert_ok(prle_learner_create(&s->learner, s->model, s->optim, &learn));
}

static void side_deinit(side *s)
{
    prle_learner_destroy(s->learner);
    prle_optim_destroy(s->optim);
    prle_model_destroy(s->model);
}

static void side_step(side *s, const float *grads, double lr)
{
    const prle_learn_in in = {.n = 0, .scale = 1, .lr = lr};
    const size_t n_bytes = (size_t)s->model->graph->n_weights * sizeof *grads;

    assert_ok(prle_learner_begin(s->learner, &in));
    assert_ok(prle_model_bring(s->model, s->model->device));
    assert_ok(s->model->device->copy_in(s->model->grads, grads, n_bytes));
    assert_ok(prle_learner_update(s->learner));
    prle_learner_end(s->learner);
}

static void near_all(const char *what, const float *a, const float *b, int64_t n, double tol)
{
    double largest = 0;

    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)b[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= tol * (fabs((double)b[i]) + 1e-3 * largest)))
            fail_msg("%s %lld: %.9g, not %.9g", what, (long long)i, (double)a[i], (double)b[i]);
}

/* The same bits: + - * / sqrt are IEEE's on both sides, in the same order (prle_gpu_exact), and the norm's factor is a float. */
static void sides_equal(const side *got, const side *expected)
{
    const size_t n_bytes = (size_t)expected->optim->n * sizeof(float);

    assert_memory_equal(got->model->weights, expected->model->weights, n_bytes);
    assert_memory_equal(got->optim->m, expected->optim->m, n_bytes);
    if (expected->optim->v != NULL)
        assert_memory_equal(got->optim->v, expected->optim->v, n_bytes);
}

static void optim_check(prle_optim_kind kind, bool decay_all, double clip)
{
    prle_optim_opts opts = PRLE_OPTIM_OPTS_DEFAULT;
    side cpu = {0}, gpu = {0};
    prle_learn_out expected[3], got[3];
    float *grads = NULL;
    int n = 0;

    opts.kind = kind;
    opts.weight_decay = 0.01;
    opts.decay_all = decay_all;
    opts.head_lr_factor = 10;
    side_init(&cpu, prle_device_cpu(), "meso4", &opts, clip);
    side_init(&gpu, device(), "meso4", &opts, clip);
    const int64_t n_weights = cpu.model->graph->n_weights;
    assert_ok(PRLE_NEW(grads, n_weights));
    for (int i = 0; i < 3; i++) {
        random_fill(grads, n_weights, (uint64_t)(10 + i), 0.02);
        side_step(&cpu, grads, 1e-3);
        side_step(&gpu, grads, 1e-3);
    }
    assert_ok(prle_learner_results(cpu.learner, expected, &n));
    assert_int_equal(n, 3);
    assert_ok(prle_learner_results(gpu.learner, got, &n));
    assert_int_equal(n, 3);
    for (int i = 0; i < 3; i++)
        assert_true(fabs(got[i].norm - expected[i].norm) <= 1e-12 * expected[i].norm);
    assert_ok(prle_model_pull(gpu.model));
    assert_ok(prle_optim_pull(gpu.optim));
    sides_equal(&gpu, &cpu);
    assert_int_equal(gpu.optim->steps, 3);
    side_deinit(&cpu);
    side_deinit(&gpu);
    prle_free(grads);
}

static void test_optimisers(void **state)
{
    (void)state;
    optim_check(PRLE_OPTIM_ADAM, false, 0);
    optim_check(PRLE_OPTIM_ADAM, true, 0.5);
    optim_check(PRLE_OPTIM_ADAMW, false, 0);
    optim_check(PRLE_OPTIM_SGD, false, 0.5);
}

/* Its state comes from a checkpoint of the processor, and goes back there. */
static void test_state_moves(void **state)
{
    const prle_optim_opts opts = PRLE_OPTIM_OPTS_DEFAULT;
    side cpu = {0}, gpu = {0};
    prle_learn_out out[3];
    float *grads = NULL;
    int n = 0;

    (void)state;
    side_init(&cpu, prle_device_cpu(), "meso4", &opts, 0);
    side_init(&gpu, device(), "meso4", &opts, 0);
    const int64_t n_weights = cpu.model->graph->n_weights;
    const size_t n_bytes = (size_t)n_weights * sizeof *grads;
    assert_ok(PRLE_NEW(grads, n_weights));
    random_fill(grads, n_weights, 3, 0.02);
    side_step(&cpu, grads, 1e-3);
    memcpy(gpu.model->weights, cpu.model->weights, n_bytes); /* as reading a file does */
    gpu.model->version++;
    memcpy(gpu.optim->m, cpu.optim->m, n_bytes);
    memcpy(gpu.optim->v, cpu.optim->v, n_bytes);
    gpu.optim->steps = cpu.optim->steps;
    gpu.optim->version++;
    side_step(&cpu, grads, 1e-3);
    side_step(&gpu, grads, 1e-3);
    assert_ok(prle_learner_results(gpu.learner, out, &n));
    gpu.model->version++; /* both sides changed: somebody forgot to pull */
    assert_fails(prle_model_bring(gpu.model, device()), PRLE_EINVAL, "prle_model_pull comes first");
    gpu.model->version--;
    assert_ok(prle_model_pull(gpu.model));
    assert_ok(prle_optim_pull(gpu.optim));
    sides_equal(&gpu, &cpu);
    side_deinit(&cpu);
    side_deinit(&gpu);
    prle_free(grads);
}

/* After a gradient that is not finite no weight moves, until somebody reads the results. */
static void test_not_finite(void **state)
{
    const prle_optim_opts opts = PRLE_OPTIM_OPTS_DEFAULT;
    float *grads = NULL, *before = NULL;

    (void)state;
    for (int where = 0; where < 2; where++) {
        side s = {0};
        prle_learn_out out[3];
        int n = 0;

        side_init(&s, where == 0 ? prle_device_cpu() : device(), "meso4", &opts, 1);
        const int64_t n_weights = s.model->graph->n_weights;
        assert_ok(PRLE_NEW(grads, n_weights));
        assert_ok(PRLE_NEW(before, n_weights));
        memcpy(before, s.model->weights, (size_t)n_weights * sizeof *before);
        grads[n_weights - 1] = INFINITY;
        side_step(&s, grads, 1e-3);
        grads[n_weights - 1] = 1;
        side_step(&s, grads, 1e-3);
        side_step(&s, grads, 1e-3);
        assert_fails(prle_learner_begin(s.learner, &(prle_learn_in){.n = 0}), PRLE_EINVAL, "outstanding");
        assert_ok(prle_learner_results(s.learner, out, &n));
        assert_int_equal(n, 3);
        assert_true(!isfinite(out[0].norm));
        assert_true(fabs(out[1].norm - 1) <= 1e-12);
        assert_ok(prle_model_pull(s.model));
        assert_memory_equal(before, s.model->weights, (size_t)n_weights * sizeof *before);
        side_deinit(&s);
        prle_free(grads);
        prle_free(before);
    }
}

/* What a step of the optimiser launches and moves; nothing is allocated, nobody waits. */
static void test_counts(void **state)
{
    const prle_optim_opts opts = PRLE_OPTIM_OPTS_DEFAULT;
    side s = {0};
    prle_learn_out out[3];
    float *grads = NULL;
    cudasim_counts counts;
    int n = 0;

    (void)state;
    side_init(&s, device(), "meso4", &opts, 1);
    const int64_t n_weights = s.model->graph->n_weights;
    assert_ok(PRLE_NEW(grads, n_weights));
    random_fill(grads, n_weights, 3, 0.02);
    side_step(&s, grads, 1e-3);
    assert_ok(prle_learner_results(s.learner, out, &n));
    gpu_counts_reset();
    assert_ok(prle_learner_begin(s.learner, &(prle_learn_in){.scale = 1, .lr = 1e-3}));
    assert_ok(prle_learner_update(s.learner));
    prle_learner_end(s.learner);
    if (gpu_counts(&counts)) {
        assert_int_equal(counts.allocations, 0);
        assert_int_equal(counts.synchronisations, 0);
        assert_int_equal(counts.pageable_copies, 0);
    }
    assert_ok(prle_learner_results(s.learner, out, &n));
    if (gpu_counts(&counts))
        assert_int_equal(counts.launches, 3);
    gpu_traffic_check("square_kernel", 4 * n_weights);
    gpu_traffic_check("update_kernel", 28 * n_weights);
    side_deinit(&s);
    prle_free(grads);
}

/* ---- folding a batch norm into a convolution ---- */

static void test_fold(void **state)
{
    static const int64_t sizes[][2] = {{1, 1}, {3, 7}, {64, 147}, {37, 1153}};

    (void)state;
    for (size_t c = 0; c < sizeof sizes / sizeof *sizes; c++) {
        const int64_t k = sizes[c][0], n = k * sizes[c][1];
        float *x[6], *expected = NULL, *got = NULL, *bias = NULL, *bias_got = NULL;
        void *there[6], *to = NULL, *to_bias = NULL;
        prle_fold_args args = {.dtype = PRLE_F32, .k = k, .per_k = sizes[c][1], .eps = 1e-5};

        for (int i = 0; i < 6; i++) {
            const int64_t count = i == 0 ? n : k;
            assert_ok(PRLE_NEW(x[i], count));
            random_fill(x[i], count, (uint64_t)i, 1);
            for (int64_t j = 0; j < count && i == 5; j++)
                x[i][j] = fabsf(x[i][j]) + 0.1f;
            there[i] = to_device(x[i], (size_t)count * sizeof(float));
        }
        assert_ok(PRLE_NEW(expected, n));
        assert_ok(PRLE_NEW(got, n));
        assert_ok(PRLE_NEW(bias, k));
        assert_ok(PRLE_NEW(bias_got, k));
        assert_ok(device()->alloc((size_t)n * sizeof(float), &to));
        assert_ok(device()->alloc((size_t)k * sizeof(float), &to_bias));
        args.weight = x[0], args.bias = c == 1 ? NULL : x[1], args.gamma = x[2], args.beta = x[3], args.mean = x[4];
        args.var = x[5], args.to = expected, args.to_bias = bias;
        assert_ok(prle_fold(&args));
        args.weight = there[0], args.bias = c == 1 ? NULL : there[1], args.gamma = there[2], args.beta = there[3];
        args.mean = there[4], args.var = there[5], args.to = to, args.to_bias = to_bias;
        gpu_counts_reset();
        assert_ok(device()->fold(&args));
        assert_ok(device()->copy_out(got, to, (size_t)n * sizeof(float)));
        assert_ok(device()->copy_out(bias_got, to_bias, (size_t)k * sizeof(float)));
        near_all("folded weight", got, expected, n, 1.2e-7);
        near_all("folded bias", bias_got, bias, k, 1.2e-7);
        if (n > 10000)
            gpu_traffic_check("fold_kernel", 8 * n);
        for (int i = 0; i < 6; i++) {
            device()->free(there[i]);
            prle_free(x[i]);
        }
        device()->free(to);
        device()->free(to_bias);
        prle_free(expected);
        prle_free(got);
        prle_free(bias);
        prle_free(bias_got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loss),        cmocka_unit_test(test_loss_not_finite), cmocka_unit_test(test_optimisers),
        cmocka_unit_test(test_state_moves), cmocka_unit_test(test_not_finite),      cmocka_unit_test(test_counts),
        cmocka_unit_test(test_fold),
    };
    GPU_TESTS_RUN(tests);
}
