/* test_plan_seeds.c - gradients that enter at several nodes: against finite differences, and oneDNN against the reference. */
#include <math.h>

#include "core/alloc.h"
#include "core/rng.h"
#include "nets/loss.h"
#include "nets/optim.h"
#include "nets/plan.h"
#include "tests/check.h"

enum { BATCH = 2, PIXELS = 64, PICTURES = BATCH * 3 * PIXELS * PIXELS };

typedef struct fixture {
    prle_model *model;
    prle_plan *plan;
    prle_nodes seeds;
} fixture;

static const uint8_t labels[BATCH] = {0, 1};

static double get(const void *values, prle_dtype dtype, int64_t i)
{
    return dtype == PRLE_F64 ? ((const double *)values)[i] : (double)((const float *)values)[i];
}

static void set(void *values, prle_dtype dtype, int64_t i, double value)
{
    if (dtype == PRLE_F64)
        ((double *)values)[i] = value;
    else
        ((float *)values)[i] = (float)value;
}

static fixture make(const char *net, const char *const names[], int n_names, prle_dtype dtype)
{
    const prle_net_opts net_opts = {.height = PIXELS, .width = PIXELS, .classes = 2};
    fixture f = {.seeds = {.n = n_names}};

    assert_ok(prle_model_create(&f.model, net, &net_opts, dtype));
    prle_model_init(f.model, 1);
    assert_ok(prle_model_grads_require(f.model));
    for (int i = 0; i < n_names; i++)
        assert_ok(prle_graph_find(f.model->graph, names[i], &f.seeds.node[i]));
    const prle_plan_opts opts = {.batch = BATCH, .dtype = dtype, .param_grads = true, .keep = f.seeds, .seeds = f.seeds};
    assert_ok(prle_plan_create(&f.plan, f.model, prle_device_cpu(), &opts));
    return f;
}

static void drop(fixture *f)
{
    prle_plan_destroy(f->plan);
    prle_model_destroy(f->model);
}

/* Cross-entropy plus, for each seed, the sum of r_i v_i over its values, r fixed and random: so r is the gradient that enters. */
static double loss_of(fixture *f)
{
    const prle_dtype dtype = f->model->dtype;
    prle_rng rng = prle_rng_make(3, 0, 0, PRLE_RNG_TEST);

    for (int64_t i = 0; i < PICTURES; i++)
        set(prle_plan_input(f->plan), dtype, i, (double)(float)prle_rng_range(&rng, -1, 1));
    f->model->version++;
    assert_ok(prle_plan_forward(f->plan, NULL));
    double loss = prle_loss(prle_plan_output(f->plan), BATCH, 2, dtype, labels, NULL, 1.0 / BATCH, prle_plan_seed(f->plan));
    for (int k = 0; k < f->seeds.n; k++) {
        const prle_node node = f->seeds.node[k];
        const int64_t n = BATCH * prle_shape_count(&f->model->graph->node[node].desc.out);
        for (int64_t i = 0; i < n; i++) {
            const double r = prle_rng_range(&rng, -1, 1) / (double)n;
            set(prle_plan_seed_at(f->plan, node), dtype, i, r);
            loss += r * get(prle_plan_value(f->plan, node), dtype, i);
        }
    }
    return loss;
}

/* One weight of each segment, as test_plan.c does it for the output alone. */
static void test_differences(void **state)
{
    (void)state;
    static const char *const names[] = {"pool2", "bn2", "dropout1"}; /* the last, left out, has its value of flatten */
    fixture f = make("meso4", names, 3, PRLE_F64);
    prle_rng rng = prle_rng_make(5, 0, 0, PRLE_RNG_TEST);
    double *w = f.model->weights, *grads = NULL;

    loss_of(&f);
    assert_ok(prle_plan_backward(f.plan, NULL, NULL));
    const double norm = prle_grad_norm(f.model);
    assert_ok(PRLE_NEW(grads, f.model->graph->n_weights));
    memcpy(grads, f.model->grads, (size_t)f.model->graph->n_weights * sizeof *grads);
    for (int i = 0; i < f.model->graph->n_segments; i++) {
        const prle_segment *s = &f.model->graph->segment[i];
        if (s->kind != PRLE_SEGMENT_WEIGHT)
            continue;
        const int64_t at = s->offset + prle_rng_below(&rng, (uint32_t)s->count);
        const double h = 1e-7, before = w[at];
        w[at] = before + h;
        const double up = loss_of(&f);
        w[at] = before - h;
        const double down = loss_of(&f);
        w[at] = before;
        const double numeric = (up - down) / (2 * h), diff = fabs(numeric - grads[at]);
        const bool ok = diff <= 1e-6 * norm + 1e-5 * fabs(grads[at]);
        if (!ok)
            fail_msg("%s: numeric %.12g, plan %.12g", s->name, numeric, grads[at]);
    }
    prle_free(grads);
    drop(&f);
}

/* Layouts of the library between the seeds and their readers, at a fork with a residual among them. */
static void test_single_precision(void **state)
{
    (void)state;
    static const char *const names[] = {"layer2.0.relu3", "layer4.2.relu3", "layer3.1.conv2"};
    fixture exact = make("resnet50", names, 3, PRLE_F64), single = make("resnet50", names, 3, PRLE_F32);
    double diff = 0, norm = 0;

    for (int64_t i = 0; i < exact.model->graph->n_weights; i++)
        set(exact.model->weights, PRLE_F64, i, get(single.model->weights, PRLE_F32, i));
    const double loss = loss_of(&exact);
    assert_true(fabs(loss_of(&single) - loss) <= 1e-5 * fabs(loss));
    assert_ok(prle_plan_backward(exact.plan, NULL, NULL));
    assert_ok(prle_plan_backward(single.plan, NULL, NULL));
    for (int64_t i = 0; i < exact.model->graph->n_weights; i++) {
        const double b = get(exact.model->grads, PRLE_F64, i), d = get(single.model->grads, PRLE_F32, i) - b;
        diff += d * d;
        norm += b * b;
    }
    print_message("resnet50 with three seeds: gradient distance %.3g\n", sqrt(diff / norm));
    const bool ok = sqrt(diff) <= 1e-3 * sqrt(norm); /* a relu near zero may fall on the other side */
    assert_true(ok);
    drop(&exact);
    drop(&single);
}

/* Nothing enters at the output: what lies behind the seed gets nothing, what lies before it does. */
static void test_seed_alone(void **state)
{
    (void)state;
    static const char *const names[] = {"pool3"};
    fixture f = make("meso4", names, 1, PRLE_F32);

    loss_of(&f);
    memset(prle_plan_seed(f.plan), 0, BATCH * 2 * sizeof(float));
    assert_ok(prle_plan_backward(f.plan, NULL, NULL));
    for (int i = 0; i < f.model->graph->n_segments; i++) {
        const prle_segment *s = &f.model->graph->segment[i];
        const float *grad = (const float *)f.model->grads + s->offset;
        const bool behind = strncmp(s->name, "conv4", 5) == 0 || strncmp(s->name, "fc", 2) == 0;
        double most = 0;
        if (s->kind != PRLE_SEGMENT_WEIGHT)
            continue;
        for (int64_t k = 0; k < s->count; k++)
            most = fmax(most, fabs((double)grad[k]));
        assert_true(behind ? most == 0 : most > 0);
    }
    drop(&f);
}

static void test_refused(void **state)
{
    (void)state;
    const prle_net_opts net_opts = {.height = PIXELS, .width = PIXELS, .classes = 2};
    prle_model *model = NULL;
    prle_plan *plan = NULL;
    prle_plan_opts opts = {.batch = 1, .dtype = PRLE_F32, .seeds = {1, {3}}};

    assert_ok(prle_model_create(&model, "meso4", &net_opts, PRLE_F32));
    assert_fails(prle_plan_create(&plan, model, prle_device_cpu(), &opts), PRLE_EINVAL, "without a backward pass");
    opts.wanted = (prle_nodes){1, {0}};
    opts.seeds.node[0] = 999;
    assert_fails(prle_plan_create(&plan, model, prle_device_cpu(), &opts), PRLE_EINVAL, "no node 999 to seed");
    opts.seeds.n = PRLE_PLAN_MAX_NODES + 1;
    assert_fails(prle_plan_create(&plan, model, prle_device_cpu(), &opts), PRLE_EINVAL, "more than 8 nodes to seed");
    opts.seeds = (prle_nodes){1, {3}};
    assert_ok(prle_plan_create(&plan, model, prle_device_cpu(), &opts));
    assert_non_null(prle_plan_seed_at(plan, 3));
    assert_null(prle_plan_seed_at(plan, 4));
    prle_plan_destroy(plan);
    prle_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_differences), cmocka_unit_test(test_single_precision),
                                       cmocka_unit_test(test_seed_alone), cmocka_unit_test(test_refused)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
