/* test_nets_cuda.c - a training step's gradients of every network on the GPU, against f64 on the processor's plain C, and how far
 * the processor's own f32 is from it. Images as small as they go; PRLE_NETS=vgg19_bn,vgg19 in the environment: these networks,
 * not the usual ones. Under random schedules of the simulator only meso4: the others differ in size, not in how their steps
 * wait. */
#include <math.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/rng.h"
#include "nets/loss.h"
#include "nets/plan.h"
#include "tests/gpu.h"

enum { MAX_BATCH = 4, MAX_PIXELS = 64, MAX_TENSORS = 1024 };

static const uint8_t labels[MAX_BATCH] = {0, 1, 1, 0};

/* What a network is tried with. In training, batch norm over two numbers makes signs of them and chaos of all that follows:
 * networks that shrink images 32-fold before their last one get more. */
typedef struct shape {
    int batch, pixels;
} shape;

static bool is_efficientnet(const char *net) { return strncmp(net, "efficientnet", 12) == 0; }

static shape size_of(const char *net, bool batch_stats)
{
    const bool shrinks = strcmp(net, "resnet50") == 0 || is_efficientnet(net);

    return shrinks && batch_stats ? (shape){.batch = 4, .pixels = 64} : (shape){.batch = 2, .pixels = 32};
}

/* One network somewhere, and what a step of it came to: gradients and statistics in the host's memory. */
typedef struct run {
    prle_model *model;
    shape size;
    double loss;
    void *grads;
} run;

static void input_make(void *images, shape size, prle_dtype dtype)
{
    prle_rng rng = prle_rng_make(3, 0, 0, PRLE_RNG_TEST);

    for (int i = 0; i < size.batch * 3 * size.pixels * size.pixels; i++) {
        const float v = (float)prle_rng_range(&rng, -1, 1);
        if (dtype == PRLE_F64)
            ((double *)images)[i] = (double)v;
        else
            ((float *)images)[i] = v;
    }
}

static size_t elem(const run *r) { return prle_dtype_bytes(r->model->dtype); }

static void step(run *r, prle_plan *plan)
{
    static double images[MAX_BATCH * 3 * MAX_PIXELS * MAX_PIXELS]; /* or floats in their place, as the next */
    double logits[2 * MAX_BATCH], seed[2 * MAX_BATCH];
    const int64_t batch = r->size.batch;
    const uint64_t samples[MAX_BATCH] = {7, 11, 2, 900};
    const prle_op_run_info info = {.n_valid = batch, .seed = 5, .epoch = 2, .samples = samples};
    const prle_device *device = r->model->device;
    const size_t grads_bytes = (size_t)r->model->graph->n_weights * elem(r);

    input_make(images, r->size, r->model->dtype);
    assert_ok(prle_plan_input_set(plan, images, batch));
    assert_ok(prle_plan_forward(plan, &info));
    assert_ok(prle_plan_output_get(plan, logits, batch));
    r->loss = prle_loss(logits, batch, 2, r->model->dtype, labels, NULL, 1.0 / (double)batch, seed);
    assert_ok(device->copy_in(prle_plan_seed(plan), seed, 2 * (size_t)batch * elem(r)));
    assert_ok(prle_plan_backward(plan, NULL, NULL));
    assert_ok(prle_model_pull(r->model));
    if (device->host_memory) { /* VGG's weights and gradients are gigabytes: only what is wanted stays */
        r->grads = r->model->grads;
        r->model->grads = NULL;
    } else {
        assert_ok(prle_alloc(1, grads_bytes, &r->grads));
        assert_ok(device->copy_out(r->grads, r->model->grads, grads_bytes));
    }
    prle_free(r->model->weights);
    r->model->weights = NULL;
}

/* Running statistics of a network that has seen the images: with a fresh one's EfficientNet's gates let nothing through.
 * (Networks with relu keep a fresh one's: closer to zero, their kinks differ from type to type, on the processor as on the GPU.)
 */
static void stats_warm(const char *net, float **stats)
{
    const shape size = size_of(net, true);
    const prle_net_opts net_opts = {.height = size.pixels, .width = size.pixels, .classes = 2};
    const prle_plan_opts opts = {.batch = size.batch, .dtype = PRLE_F32, .batch_stats = true};
    static float images[MAX_BATCH * 3 * MAX_PIXELS * MAX_PIXELS];
    prle_model *model = NULL;
    prle_plan *plan = NULL;

    input_make(images, size, PRLE_F32);
    assert_ok(prle_model_create(&model, net, &net_opts, PRLE_F32));
    prle_model_init(model, 1);
    for (int i = 0; i < model->graph->n_nodes; i++)
        if (model->graph->node[i].desc.kind == PRLE_OP_BATCH_NORM)
            model->graph->node[i].desc.u.batch_norm.momentum = 1; /* once is enough */
    assert_ok(prle_plan_create(&plan, model, prle_device_cpu(), &opts));
    assert_ok(prle_plan_input_set(plan, images, size.batch));
    assert_ok(prle_plan_forward(plan, NULL));
    assert_ok(PRLE_NEW(*stats, model->graph->n_stats));
    if (model->graph->n_stats > 0)
        memcpy(*stats, model->stats, (size_t)model->graph->n_stats * sizeof **stats);
    prle_plan_destroy(plan);
    prle_model_destroy(model);
}

/* The same weights and statistics for every type, to the bit. */
static void numbers_set(prle_model *model, const float *stats)
{
    prle_model_init(model, 1);
    for (int64_t i = 0; i < model->graph->n_weights && model->dtype == PRLE_F64; i++)
        ((double *)model->weights)[i] = (double)(float)((double *)model->weights)[i];
    for (int64_t i = 0; i < model->graph->n_stats && stats != NULL; i++) {
        if (model->dtype == PRLE_F64)
            ((double *)model->stats)[i] = (double)stats[i];
        else
            ((float *)model->stats)[i] = stats[i];
    }
}

static run run_make(const char *net, const prle_device *device, prle_dtype dtype, bool batch_stats, const float *stats)
{
    run r = {.loss = (double)NAN, .size = size_of(net, batch_stats)};
    const prle_net_opts net_opts = {.height = r.size.pixels, .width = r.size.pixels, .classes = 2};
    const prle_plan_opts opts = {
        .batch = r.size.batch, .dtype = dtype, .batch_stats = batch_stats, .dropout = true, .param_grads = true};
    prle_plan *plan = NULL;

    assert_ok(prle_model_create(&r.model, net, &net_opts, dtype == PRLE_F64 ? PRLE_F64 : PRLE_F32));
    assert_ok(prle_model_place(r.model, device));
    numbers_set(r.model, stats);
    assert_ok(prle_model_grads_require(r.model));
    assert_ok(prle_plan_create(&plan, r.model, device, &opts));
    step(&r, plan);
    prle_plan_destroy(plan);
    return r;
}

static void run_drop(run *r)
{
    prle_model_destroy(r->model);
    prle_free(r->grads);
}

static double at(const void *values, prle_dtype dtype, int64_t i)
{
    return dtype == PRLE_F64 ? ((const double *)values)[i] : (double)((const float *)values)[i];
}

/* |a - b| / |b| in L2 over elements [first, first + n); |b| at least `floor`: a gradient that is zero but for rounding. */
static double distance(const void *a, const run *of_a, const void *b, int64_t first, int64_t n, double floor)
{
    double diff = 0, norm = 0;

    for (int64_t i = first; i < first + n; i++) {
        const double y = at(b, PRLE_F64, i), d = at(a, of_a->model->dtype, i) - y;
        diff += d * d;
        norm += y * y;
    }
    return sqrt(diff) / fmax(sqrt(norm), floor);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

typedef struct distances {
    double worst, median;
    const char *worst_name;
} distances;

static distances grads_compare(const run *r, const run *exact)
{
    const prle_graph *g = exact->model->graph;
    double all[MAX_TENSORS], whole = 0;
    distances d = {.worst = 0, .worst_name = ""};
    int n = 0;

    for (int64_t i = 0; i < g->n_weights; i++)
        whole += at(exact->grads, PRLE_F64, i) * at(exact->grads, PRLE_F64, i);
    for (int i = 0; i < g->n_segments; i++) {
        const prle_segment *s = &g->segment[i];
        if (s->kind != PRLE_SEGMENT_WEIGHT)
            continue;
        assert_true(n < MAX_TENSORS);
        all[n] = distance(r->grads, r, exact->grads, s->offset, s->count, 1e-5 * sqrt(whole));
        if (!(all[n] <= d.worst)) {
            d.worst = all[n];
            d.worst_name = s->name;
        }
        n++;
    }
    qsort(all, (size_t)n, sizeof *all, ascending);
    d.median = all[n / 2];
    return d;
}

static double stats_compare(const run *r, const run *exact)
{
    const int64_t n = exact->model->graph->n_stats;

    return n > 0 ? distance(r->model->stats, r, exact->model->stats, 0, n, 1e-30) : 0;
}

typedef struct outcome {
    distances cpu, gpu;
    double loss_off, cpu_loss_off, stats_off;
} outcome;

static outcome net_try(const char *net, prle_dtype dtype, bool batch_stats)
{
    const double begin = prle_clock_s();
    float *stats = NULL;

    if (is_efficientnet(net))
        stats_warm(net, &stats);
    run exact = run_make(net, prle_device_cpu(), PRLE_F64, batch_stats, stats);
    run cpu = run_make(net, prle_device_cpu(), dtype, batch_stats, stats);
    const double middle = prle_clock_s();
    run gpu = run_make(net, prle_cuda_device(), dtype, batch_stats, stats);
    const outcome o = {.cpu = grads_compare(&cpu, &exact),
                       .gpu = grads_compare(&gpu, &exact),
                       .loss_off = fabs(gpu.loss - exact.loss) / fabs(exact.loss),
                       .cpu_loss_off = fabs(cpu.loss - exact.loss) / fabs(exact.loss),
                       .stats_off = stats_compare(&gpu, &exact)};

    printf("%-16s %-4s %s: gradients off by median %.1e (CPU %.1e), worst %.1e (CPU %.1e) %s; loss %.1e (CPU %.1e), stats "
           "%.1e; %.1f + %.1f s\n",
           net, prle_dtype_name(dtype), batch_stats ? "training" : "frozen  ", o.gpu.median, o.cpu.median, o.gpu.worst,
           o.cpu.worst, o.gpu.worst_name, o.loss_off, o.cpu_loss_off, o.stats_off, middle - begin, prle_clock_s() - middle);
    fflush(stdout);
    assert_memory_equal(gpu.model->counters, cpu.model->counters,
                        (size_t)cpu.model->graph->n_counters * sizeof *cpu.model->counters);
    prle_free(stats);
    run_drop(&exact);
    run_drop(&cpu);
    run_drop(&gpu);
    return o;
}

/* The bars of the project for f32. Where a batch of two pixels is normalised, the processor's f32 loss can be further off than
 * 1e-4. */
static void f32_check(const char *net, bool batch_stats)
{
    const outcome o = net_try(net, PRLE_F32, batch_stats);

    if (!(o.loss_off <= fmax(1e-4, 2 * o.cpu_loss_off) && o.stats_off <= 1e-4))
        fail_msg("%s: loss off by %g (the processor's f32 by %g), statistics by %g", net, o.loss_off, o.cpu_loss_off,
                 o.stats_off);
    if (batch_stats && !(o.gpu.median <= 2 * o.cpu.median))
        fail_msg("%s: gradients are off by %g in the median, the processor's f32 by %g", net, o.gpu.median, o.cpu.median);
    if (!batch_stats && !(o.gpu.worst <= 5e-3))
        fail_msg("%s: the gradient of %s is off by %g", net, o.gpu.worst_name, o.gpu.worst);
}

/* bfloat16 between operators: as far from f64 as the processor's, which rounds at other places. */
static void bf16_check(const char *net)
{
    const outcome o = net_try(net, PRLE_BF16, false);

    if (!(o.loss_off <= 2e-2))
        fail_msg("%s: loss off by %g", net, o.loss_off);
    if (!(o.gpu.median <= 2 * o.cpu.median))
        fail_msg("%s: gradients are off by %g in the median, the processor's bfloat16 by %g", net, o.gpu.median, o.cpu.median);
}

static bool is_wanted(const char *net, const char *usual)
{
    const char *only = getenv("PRLE_NETS"), *schedule = getenv("CUDASIM_SCHED");
    char list[256], name[64];

    if (only == NULL)
        only = schedule != NULL && strncmp(schedule, "random", 6) == 0 ? "meso4" : usual;
    snprintf(list, sizeof list, ",%s,", only);
    snprintf(name, sizeof name, ",%s,", net);
    return strstr(list, name) != NULL;
}

static void test_frozen(void **state)
{
    (void)state;
    for (int i = 0; prle_net_words[i] != NULL; i++)
        if (is_wanted(prle_net_words[i],
                      "xception,resnet50,efficientnet_b4,efficientnet_b4_same,efficientnet_b4_symmetric,f3net,vgg16,meso4"))
            f32_check(prle_net_words[i], false);
}

static void test_training(void **state)
{
    (void)state;
    for (int i = 0; prle_net_words[i] != NULL; i++)
        if (is_wanted(prle_net_words[i], "xception,resnet50,efficientnet_b4,f3net,meso4"))
            f32_check(prle_net_words[i], true);
}

static void test_bf16(void **state)
{
    (void)state;
    for (int i = 0; prle_net_words[i] != NULL; i++)
        if (is_wanted(prle_net_words[i], "xception,meso4"))
            bf16_check(prle_net_words[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_frozen), cmocka_unit_test(test_training),
                                       cmocka_unit_test(test_bf16)};

    GPU_TESTS_RUN(tests);
}
