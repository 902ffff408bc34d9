/* test_plan.c - the engine against finite differences in double, and its ways of computing one thing against each other. */
#include <math.h>

#include "core/alloc.h"
#include "core/op/cost.h"
#include "core/rng.h"
#include "nets/card.h"
#include "nets/loss.h"
#include "nets/optim.h"
#include "nets/plan.h"
#include "tests/check.h"
#include "tests/nets/pixels.h"

enum { BATCH = 3, PIXELS = 64 };

typedef struct fixture {
    prle_model *model;
    prle_plan *plan;
} fixture;

static const uint8_t labels[BATCH] = {0, 1, 1};

static fixture make(const char *net, const prle_device *device, prle_plan_opts opts)
{
    const prle_net_opts net_opts = {.height = PIXELS, .width = PIXELS, .classes = 2};
    fixture f = {NULL, NULL};

    opts.batch = BATCH;
    assert_ok(prle_model_create(&f.model, net, &net_opts, opts.dtype == PRLE_F64 ? PRLE_F64 : PRLE_F32));
    prle_model_init(f.model, 1);
    assert_ok(prle_model_grads_require(f.model));
    assert_ok(prle_plan_create(&f.plan, f.model, device, &opts));
    return f;
}

/* All but the VGGs, whose 140 million weights take minutes: test_parity_vgg.c. */
static bool is_small(const char *net)
{
    const prle_net_opts net_opts = {.height = PIXELS, .width = PIXELS, .classes = 2};
    prle_graph *g = NULL;

    assert_ok(prle_net_build(&g, net, &net_opts));
    const bool small = g->n_weights < 100000000;
    prle_graph_destroy(g);
    return small;
}

static void drop(fixture *f)
{
    prle_plan_destroy(f->plan);
    prle_model_destroy(f->model);
}

static void fill_input(prle_plan *plan, prle_dtype dtype)
{
    prle_rng rng = prle_rng_make(3, 0, 0, PRLE_RNG_TEST);

    for (int i = 0; i < BATCH * 3 * PIXELS * PIXELS; i++) {
        const double v = prle_rng_range(&rng, -1, 1);
        if (dtype == PRLE_F64)
            ((double *)prle_plan_input(plan))[i] = v;
        else
            ((float *)prle_plan_input(plan))[i] = (float)v;
    }
}

static double loss_of(fixture *f)
{
    fill_input(f->plan, f->model->dtype);
    f->model->version++;
    assert_ok(prle_plan_forward(f->plan, NULL));
    return prle_loss(prle_plan_output(f->plan), BATCH, 2, f->model->dtype, labels, NULL, 1.0 / BATCH, prle_plan_seed(f->plan));
}

/* One weight of every segment: central differences against the plan's gradient. Of meso4, of convolutions, batch norms,
 * relus, pools, dropouts and linear layers; every operator alone: tests/core/test_op_gradients.c; the big networks are checked
 * against PyTorch (test_parity_*.c), since their many relus give differences kinks. */
static void gradient_check(const char *net, bool batch_stats, bool dropout)
{
    fixture f = make(net, prle_device_cpu(),
                     (prle_plan_opts){.dtype = PRLE_F64, .batch_stats = batch_stats, .dropout = dropout, .param_grads = true});
    prle_rng rng = prle_rng_make(5, 0, 0, PRLE_RNG_TEST);
    double *grads = NULL, *w = f.model->weights, norm;
    int checked = 0;

    loss_of(&f);
    assert_ok(prle_plan_backward(f.plan, NULL, NULL));
    norm = prle_grad_norm(f.model);
    assert_ok(PRLE_NEW(grads, f.model->graph->n_weights));
    memcpy(grads, f.model->grads, (size_t)f.model->graph->n_weights * sizeof *grads);
    for (int i = 0; i < f.model->graph->n_segments; i++) {
        const prle_segment *s = &f.model->graph->segment[i];
        const int64_t at = s->offset + prle_rng_below(&rng, (uint32_t)s->count);
        const double h = 1e-7, before = w[at];

        if (s->kind != PRLE_SEGMENT_WEIGHT)
            continue;
        w[at] = before + h;
        const double up = loss_of(&f);
        w[at] = before - h;
        const double down = loss_of(&f);
        w[at] = before;
        const double numeric = (up - down) / (2 * h), diff = fabs(numeric - grads[at]);
        const bool ok = diff <= 1e-6 * norm + 1e-5 * fabs(grads[at]); /* noise of the difference: 1e-16 / h, and kinks of relu */
        if (!ok)
            fail_msg("%s %s: numeric %.12g, plan %.12g", net, s->name, numeric, grads[at]);
        checked++;
    }
    assert_true(checked >= 5 && norm > 1e-3);
    prle_free(grads);
    drop(&f);
}

static void test_gradients(void **state)
{
    (void)state;
    gradient_check("meso4", true, false);
    gradient_check("meso4", true, true);
    gradient_check("meso4", false, false);
}

/* |a - b| / |b| in L2. */
static double distance(const void *a, const void *b, int64_t n, prle_dtype dtype_a, prle_dtype dtype_b)
{
    double diff = 0, norm = 0;

    for (int64_t i = 0; i < n; i++) {
        const double x = dtype_a == PRLE_F64 ? ((const double *)a)[i] : (double)((const float *)a)[i];
        const double y = dtype_b == PRLE_F64 ? ((const double *)b)[i] : (double)((const float *)b)[i];
        diff += (x - y) * (x - y);
        norm += y * y;
    }
    return sqrt(diff / norm);
}

/* The two models get the same weights and, where they differ in type, the same rounded ones. */
static void copy_weights(prle_model *to, const prle_model *from)
{
    for (int64_t i = 0; i < from->graph->n_weights; i++)
        ((double *)to->weights)[i] = (double)((const float *)from->weights)[i];
    for (int64_t i = 0; i < from->graph->n_stats; i++)
        ((double *)to->stats)[i] = (double)((const float *)from->stats)[i];
    to->version++;
}

static void perturb_stats(prle_model *model)
{
    prle_rng rng = prle_rng_make(9, 0, 0, PRLE_RNG_TEST);

    for (int i = 0; i < model->graph->n_segments; i++) {
        const prle_segment *s = &model->graph->segment[i];
        float *values = prle_model_segment(model, i);
        for (int64_t k = 0; s->kind == PRLE_SEGMENT_STAT && k < s->count; k++)
            values[k] += (float)prle_rng_range(&rng, -0.1, 0.3);
    }
    model->version++;
}

/* Logits of the same weights and images with nothing folded (a kept node and the gradients' path split fusions), in double. */
static void exact_logits(const char *net, const prle_model *weights, double out[2 * BATCH])
{
    const prle_node kept = 3;
    fixture exact =
        make(net, prle_device_cpu_ref(), (prle_plan_opts){.dtype = PRLE_F64, .param_grads = true, .keep = {1, {kept}}});
    double *input = prle_plan_input(exact.plan);

    copy_weights(exact.model, weights);
    fill_input(exact.plan, PRLE_F64);
    for (int i = 0; i < BATCH * 3 * PIXELS * PIXELS; i++)
        input[i] = (double)(float)input[i];
    assert_ok(prle_plan_forward(exact.plan, NULL));
    memcpy(out, prle_plan_output(exact.plan), 2 * BATCH * sizeof *out);
    drop(&exact);
}

/* Inference: f32 with folding and fusion, the f32 reference, bf16, and both types with a cache so small that the batch of three
 * is computed one by one, then in two slices of two, then at once - all against f64 with nothing folded. */
static void inference_agrees(const char *net)
{
    prle_device small = *prle_device_cpu();
    const prle_device *devices[] = {prle_device_cpu(), prle_device_cpu_ref(), prle_device_cpu(), &small, &small};
    const prle_dtype dtypes[] = {PRLE_F32, PRLE_F32, PRLE_BF16, PRLE_F32, PRLE_BF16};
    const double tolerance[] = {1e-5, 1e-5, 2e-2, 1e-5, 2e-2};
    double exact[2 * BATCH];

    small.cache_bytes = 300000;
    for (int i = 0; i < 5; i++) {
        fixture f = make(net, devices[i], (prle_plan_opts){.dtype = dtypes[i]});

        perturb_stats(f.model);
        if (i == 0)
            exact_logits(net, f.model, exact);
        fill_input(f.plan, PRLE_F32);
        assert_ok(prle_plan_forward(f.plan, NULL));
        const double d = distance(prle_plan_output(f.plan), exact, 2 * BATCH, PRLE_F32, PRLE_F64);
        const bool ok = d <= tolerance[i];
        if (!ok)
            fail_msg("%s variant %d: logits differ by %g", net, i, d);
        drop(&f);
    }
}

static void test_inference(void **state)
{
    (void)state;
    for (int i = 0; prle_net_words[i] != NULL; i++)
        if (is_small(prle_net_words[i]))
            inference_agrees(prle_net_words[i]);
}

/* Kept values are those of the whole batch, wherever slices begin and end: on the way from one to the next, inside of a stretch
 * that is computed one by one, and after it. */
static void test_slices(void **state)
{
    (void)state;
    const char *const nets[] = {"xception", "efficientnet_b4", "f3net"};
    prle_device small = *prle_device_cpu(), whole = small;

    small.cache_bytes = 300000;
    whole.cache_bytes = 0;
    for (size_t k = 0; k < sizeof nets / sizeof *nets; k++) {
        prle_plan_opts opts = {.dtype = PRLE_F32, .keep = {3, {1, 20, 60}}};
        fixture f[2] = {make(nets[k], &small, opts), make(nets[k], &whole, opts)};

        for (int i = 0; i < 2; i++) {
            fill_input(f[i].plan, PRLE_F32);
            assert_ok(prle_plan_forward(f[i].plan, NULL));
        }
        assert_true(prle_plan_stats_get(f[0].plan).arena_bytes < prle_plan_stats_get(f[1].plan).arena_bytes);
        for (int i = 0; i < opts.keep.n; i++) {
            const prle_node node = opts.keep.node[i];
            const int64_t n = BATCH * prle_shape_count(&f[0].model->graph->node[node].desc.out);
            const double d = distance(prle_plan_value(f[0].plan, node), prle_plan_value(f[1].plan, node), n, PRLE_F32, PRLE_F32);
            const bool ok = d <= 1e-6; /* products are summed in another order */
            if (!ok)
                fail_msg("%s: kept node %s differs by %g", nets[k], f[0].model->graph->node[node].name, d);
        }
        drop(&f[0]);
        drop(&f[1]);
    }
}

/* A training step allocates nothing, and two of them give the same bits. */
static void test_step_allocates_nothing(void **state)
{
    (void)state;
    fixture f =
        make("resnet50", prle_device_cpu(), (prle_plan_opts){.dtype = PRLE_F32, .batch_stats = true, .param_grads = true});
    float *first = NULL;
    const size_t n = (size_t)f.model->graph->n_weights;

    assert_ok(PRLE_NEW(first, n));
    loss_of(&f);
    assert_ok(prle_plan_backward(f.plan, NULL, NULL));
    memcpy(first, f.model->grads, n * sizeof *first);
    const int64_t before = prle_alloc_count();
    loss_of(&f);
    assert_ok(prle_plan_backward(f.plan, NULL, NULL));
    assert_int_equal(prle_alloc_count(), before);
    assert_memory_equal(first, f.model->grads, n * sizeof *first);
    prle_free(first);
    drop(&f);
}

typedef struct ready_log {
    int64_t total, last;
    int calls;
} ready_log;

static prle_status on_ready(void *ctx, int64_t offset, int64_t n)
{
    ready_log *log = ctx;

    log->total += n;
    log->last = offset;
    log->calls++;
    return PRLE_OK;
}

/* Every gradient is announced exactly once, shared ones after their last contribution; the first convolution comes last. */
static void test_ready_covers_all(void **state)
{
    (void)state;
    for (int i = 0; prle_net_words[i] != NULL; i++) {
        if (!is_small(prle_net_words[i]))
            continue;
        fixture f = make(prle_net_words[i], prle_device_cpu(),
                         (prle_plan_opts){.dtype = PRLE_F32, .batch_stats = true, .param_grads = true});
        ready_log log = {0, -1, 0};

        loss_of(&f);
        assert_ok(prle_plan_backward(f.plan, on_ready, &log));
        assert_int_equal(log.total, f.model->graph->n_weights);
        assert_int_equal(log.last, 0);
        drop(&f);
    }
}

/* Every allocation on the way to a plan fails once; nothing leaks. */
static void test_allocation_failures(void **state)
{
    (void)state;
    const prle_net_opts net_opts = {.height = PIXELS, .width = PIXELS, .classes = 2};
    const prle_normaliser pixels = prle_normaliser_make((const float[3]){0, 0, 0}, (const float[3]){1, 1, 1});
    const prle_plan_opts opts = {.batch = 2, .dtype = PRLE_F32, .batch_stats = true, .param_grads = true, .pixels = &pixels};
    const int64_t live = prle_alloc_live();
    prle_status st = PRLE_ENOMEM;
    int64_t nth = 1;

    for (; st != PRLE_OK; nth++) {
        prle_model *model = NULL;
        prle_plan *plan = NULL;

        prle_alloc_fail_at(nth);
        st = prle_model_create(&model, "meso4", &net_opts, PRLE_F32);
        if (st == PRLE_OK)
            st = prle_model_grads_require(model);
        if (st == PRLE_OK)
            st = prle_plan_create(&plan, model, prle_device_cpu(), &opts);
        prle_alloc_fail_at(0);
        prle_plan_destroy(plan);
        prle_model_destroy(model);
        assert_int_equal(prle_alloc_live(), live);
    }
    assert_true(nth > 50);
}

static void test_option_errors(void **state)
{
    (void)state;
    const prle_net_opts net_opts = {.height = PIXELS, .width = PIXELS, .classes = 2};
    const prle_normaliser flat = prle_normaliser_make((const float[]){0.5F, 0.5F, 0.5F}, (const float[]){0.5F, 0, 0.5F});
    prle_model *model = NULL;
    prle_plan *plan = NULL;

    assert_ok(prle_model_create(&model, "meso4", &net_opts, PRLE_F32));
    assert_fails(prle_plan_create(&plan, model, prle_device_cpu(), &(prle_plan_opts){.batch = 1, .pixels = &flat}), PRLE_EINVAL,
                 "pixels of channel 1");
    assert_fails(prle_plan_create(&plan, model, prle_device_cpu(), &(prle_plan_opts){.batch = 0}), PRLE_EINVAL, "batch of 0");
    assert_fails(prle_plan_create(&plan, model, prle_device_cpu(), &(prle_plan_opts){.batch = 1, .dtype = PRLE_F64}), PRLE_EINVAL,
                 "f64");
    assert_fails(prle_plan_create(&plan, model, prle_device_cpu(), &(prle_plan_opts){.batch = 1, .param_grads = true}),
                 PRLE_EINVAL, "no gradients");
    assert_fails(prle_plan_create(&plan, model, prle_device_cpu(), &(prle_plan_opts){.batch = 1, .keep = {1, {99}}}), PRLE_EINVAL,
                 "node 99");
    assert_null(plan);
    prle_model_destroy(model);
}

/* Adam against a written-out step, on one weight. */
static void test_adam_closed_form(void **state)
{
    (void)state;
    const prle_net_opts net_opts = {.height = PIXELS, .width = PIXELS, .classes = 2};
    prle_model *model = NULL;
    prle_optim *optim = NULL;
    prle_optim_opts opts = PRLE_OPTIM_OPTS_DEFAULT;
    double w = 0.3, m = 0, v = 0;

    opts.weight_decay = 0.01;
    assert_ok(prle_model_create(&model, "meso4", &net_opts, PRLE_F64));
    assert_ok(prle_model_grads_require(model));
    assert_ok(prle_optim_create(&optim, model, &opts));
    ((double *)model->weights)[0] = w;
    for (int t = 1; t <= 5; t++) {
        const double g = 0.1 * t, total = g + 0.01 * w;
        ((double *)model->grads)[0] = g;
        prle_optim_step(optim, model, 1e-3);
        m = 0.9 * m + 0.1 * total;
        v = 0.999 * v + 0.001 * total * total;
        w -= 1e-3 * (m / (1 - pow(0.9, t))) / (sqrt(v / (1 - pow(0.999, t))) + 1e-8);
        assert_true(fabs(((double *)model->weights)[0] - w) <= 1e-14);
    }
    prle_optim_destroy(optim);
    prle_model_destroy(model);
}

static void test_loss_closed_form(void **state)
{
    (void)state;
    const double two[4] = {1.0, -1.0, 0.5, 800.0}, one[2] = {-2.0, 799.5};
    const uint8_t y[2] = {1, 1};
    const double w[2] = {0.25, 1.0};
    double d2[4], d1[2], scores[2], nan_logit = (double)NAN;

    const double expected = 0.5 * 0.25 * log1p(exp(2.0));
    assert_true(fabs(prle_loss(two, 2, 2, PRLE_F64, y, w, 0.5, d2) - expected) <= 1e-15);
    assert_true(fabs(prle_loss(one, 2, 1, PRLE_F64, y, w, 0.5, d1) - expected) <= 1e-15);
    assert_true(fabs(d1[0] - 0.125 * (1 / (1 + exp(2.0)) - 1)) <= 1e-15 && d1[1] == 0.0);
    assert_true(d2[1] == d1[0] && d2[0] == -d1[0]);
    prle_scores(two, 2, 2, PRLE_F64, scores);
    assert_true(fabs(scores[0] - 1 / (1 + exp(2.0))) <= 1e-15 && scores[1] == 1.0);
    assert_true(isnan(prle_loss(&nan_logit, 1, 1, PRLE_F64, y, NULL, 1, NULL)));
}

/* Times are taken only when asked for, and flop is what the graph says: once forward, once for each gradient. */
static void test_profile(void **state)
{
    (void)state;
    fixture f =
        make("resnet50", prle_device_cpu(), (prle_plan_opts){.dtype = PRLE_F32, .batch_stats = true, .param_grads = true});
    const prle_op_desc *stem = &f.model->graph->node[1].desc;
    double flop[2] = {0, 0}, seconds = 0;

    loss_of(&f);
    assert_int_equal(prle_plan_profile_count(f.plan), 0);
    assert_ok(prle_plan_profile_begin(f.plan));
    loss_of(&f);
    assert_ok(prle_plan_backward(f.plan, NULL, NULL));
    for (int i = 0; i < prle_plan_profile_count(f.plan); i++) {
        const prle_plan_profile p = prle_plan_profile_get(f.plan, i);
        assert_true(p.seconds >= 0 && p.bytes > 0);
        flop[p.backward] += p.flop;
        seconds += p.seconds;
        if (p.kind == PRLE_OP_CONV2D && strcmp(p.node, "conv1") == 0 && !p.backward)
            assert_true(p.bytes >= sizeof(float) * (size_t)(BATCH * (3 + 64 / 4) * PIXELS * PIXELS + 64 * 3 * 7 * 7));
    }
    assert_true(seconds > 0);
    assert_true(flop[0] == 2 * BATCH * prle_card_of(f.model->graph).macs);
    assert_true(flop[1] == 2 * flop[0] - 2 * BATCH * prle_op_macs(stem)); /* nobody asks for the gradient of the pictures */
    assert_ok(prle_plan_profile_begin(f.plan));
    for (int i = 0; i < prle_plan_profile_count(f.plan); i++)
        assert_true(prle_plan_profile_get(f.plan, i).seconds == 0);
    drop(&f);
}

static void test_bytes_as_numbers(void **state)
{
    (void)state;
    pixels_check(prle_device_cpu(), "meso4", PRLE_F32, true);
    pixels_check(prle_device_cpu(), "meso4", PRLE_F64, true);
    pixels_check(prle_device_cpu(), "meso4", PRLE_BF16, true);
    pixels_check(prle_device_cpu(), "f3net", PRLE_F32, true);
    pixels_check(prle_device_cpu_ref(), "meso4", PRLE_F32, true);
    prle_device small = *prle_device_cpu(); /* image by image, at the beginning */
    small.cache_bytes = 60000;
    pixels_check(&small, "meso4", PRLE_F32, false);
    pixels_check(&small, "f3net", PRLE_F32, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),        cmocka_unit_test(test_inference),
        cmocka_unit_test(test_slices),           cmocka_unit_test(test_step_allocates_nothing),
        cmocka_unit_test(test_ready_covers_all), cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_option_errors),    cmocka_unit_test(test_profile),
        cmocka_unit_test(test_adam_closed_form), cmocka_unit_test(test_loss_closed_form),
        cmocka_unit_test(test_bytes_as_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
