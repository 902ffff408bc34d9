/* test_cam.c - attention maps of every method: closed form against the backward path (test_cam_parity.c compares both with
 * autograd), targets, scores, several nodes, one logit, constant maps, values that are not finite. */
#include <math.h>

#include "cam/cam.h"
#include "core/alloc.h"
#include "core/rng.h"
#include "tests/check.h"

enum { N = 2, PIXELS = 96 };

static prle_model *model_make(const char *net, int64_t classes, prle_dtype dtype)
{
    const prle_net_opts opts = {.height = PIXELS, .width = PIXELS, .classes = classes};
    prle_model *model = NULL;

    assert_ok(prle_model_create(&model, net, &opts, dtype));
    prle_model_init(model, 3);
    return model;
}

/* Patches of colour: noise gives flat maps. */
static void images_fill(float *images)
{
    for (int i = 0; i < N * 3; i++)
        for (int y = 0; y < PIXELS; y++)
            for (int x = 0; x < PIXELS; x++) {
                prle_rng rng = prle_rng_make(1, 0, (uint64_t)(i * 9 + y / 32 * 3 + x / 32), PRLE_RNG_TEST);
                images[(i * PIXELS + y) * PIXELS + x] = (float)prle_rng_range(&rng, -1, 1);
            }
}

static prle_nodes node_of(const prle_model *model, const char *name)
{
    prle_nodes nodes = {.n = 1};

    assert_ok(prle_graph_find(model->graph, name, &nodes.node[0]));
    return nodes;
}

/* Maps [N,h,w] of two images with these options; prle_free them. */
static double *maps_of(prle_model *model, prle_cam_opts opts, const uint8_t labels[N], int64_t *pixels, prle_cam_way *way)
{
    prle_cam_engine *engine = NULL;
    float *images = NULL;
    double *cam = NULL;
    int64_t h = 0, w = 0;

    opts.batch = 3; /* not N: the rest is padding */
    assert_ok(PRLE_NEW(images, N * 3 * PIXELS * PIXELS));
    images_fill(images);
    assert_ok(prle_cam_engine_create(&engine, model, &opts));
    if (way != NULL)
        *way = prle_cam_engine_way(engine);
    prle_cam_engine_size(engine, &h, &w);
    *pixels = h * w;
    assert_ok(PRLE_NEW(cam, N * h * w));
    assert_ok(prle_cam_engine_run(engine, images, labels, N, cam, NULL));
    prle_cam_engine_destroy(engine);
    prle_free(images);
    return cam;
}

static void assert_close(const double *a, const double *b, int64_t n, double tolerance)
{
    double worst = 0, most = 0;

    for (int64_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs(a[i] - b[i]));
        most = fmax(most, b[i]);
    }
    const bool ok = worst <= tolerance && most == 1;
    if (!ok)
        fail_msg("maps differ by %g; the largest value is %g", worst, most);
}

/* At this node, NULL for the network's own, for every method with a score. */
static void closed_form_agrees(const char *net, int64_t classes, prle_cam_target target, const char *node)
{
    prle_model *model = model_make(net, classes, PRLE_F32);
    const uint8_t labels[N] = {0, 1};
    int64_t pixels = 0;
    prle_cam_way way;

    for (int m = 0; prle_cam_method_words[m] != NULL; m++) {
        prle_cam_opts opts = {.target = target, .method = (prle_cam_method)m};
        if (node != NULL)
            opts.nodes = node_of(model, node);
        if (!prle_cam_method_has_score(opts.method))
            continue;
        double *closed = maps_of(model, opts, labels, &pixels, &way);
        assert_int_equal(way, PRLE_CAM_CLOSED);
        opts.general = true;
        double *general = maps_of(model, opts, labels, &pixels, &way);
        assert_int_equal(way, PRLE_CAM_BACKWARD);
        assert_close(closed, general, N * pixels, 1e-5);
        prle_free(closed);
        prle_free(general);
    }
    prle_model_destroy(model);
}

static void test_closed_form(void **state)
{
    (void)state;
    closed_form_agrees("resnet50", 2, PRLE_CAM_LABEL, NULL);
    closed_form_agrees("resnet50", 1, PRLE_CAM_LABEL, NULL);
    closed_form_agrees("xception", 2, PRLE_CAM_ARGMAX, NULL);
    closed_form_agrees("efficientnet_b4", 2, PRLE_CAM_LABEL, NULL);       /* dropout behind the pool */
    closed_form_agrees("xception", 2, PRLE_CAM_LABEL, "bn4");             /* relu behind it */
    closed_form_agrees("xception", 1, PRLE_CAM_LABEL, "conv4.pointwise"); /* batch norm and relu */
}

/* Where the way cannot be short, it is not; eigencam needs none. */
static void test_ways(void **state)
{
    (void)state;
    prle_model *model = model_make("xception", 2, PRLE_F32), *meso = model_make("meso4", 2, PRLE_F32);
    const uint8_t labels[N] = {0, 1};
    prle_cam_opts opts = {.nodes = node_of(model, "act3")}, both = {.nodes = node_of(model, "bn4")};
    int64_t pixels = 0;
    prle_cam_way way;

    prle_free(maps_of(model, opts, labels, &pixels, &way)); /* a convolution behind it */
    assert_int_equal(way, PRLE_CAM_BACKWARD);
    both.nodes.node[both.nodes.n++] = opts.nodes.node[0];
    prle_free(maps_of(model, both, labels, &pixels, &way)); /* one of two */
    assert_int_equal(way, PRLE_CAM_BACKWARD);
    both.nodes.node[1] = model->graph->cam;
    prle_free(maps_of(model, both, labels, &pixels, &way));
    assert_int_equal(way, PRLE_CAM_CLOSED);
    both.method = PRLE_CAM_EIGENCAM;
    both.general = true;
    prle_free(maps_of(model, both, labels, &pixels, &way));
    assert_int_equal(way, PRLE_CAM_FORWARD);
    prle_free(maps_of(meso, (prle_cam_opts){0}, labels, &pixels, &way));
    assert_int_equal(way, PRLE_CAM_BACKWARD);
    prle_model_destroy(model);
    prle_model_destroy(meso);
}

/* Behind the pool the gradient is one number a channel: HiResCAM is Grad-CAM there; the others are other maps. */
static void test_methods_differ(void **state)
{
    (void)state;
    prle_model *model = model_make("xception", 2, PRLE_F32);
    const uint8_t labels[N] = {0, 1};
    double *maps[PRLE_CAM_N_METHODS] = {0};
    int64_t pixels = 0;
    int n = 0;

    for (; prle_cam_method_words[n] != NULL; n++)
        maps[n] = maps_of(model, (prle_cam_opts){.method = (prle_cam_method)n}, labels, &pixels, NULL);
    assert_close(maps[PRLE_CAM_HIRESCAM], maps[PRLE_CAM_GRADCAM], N * pixels, 1e-12);
    for (int a = 0; a < n; a++)
        for (int b = 0; b < a; b++) {
            double distance = 0;
            for (int64_t i = 0; i < N * pixels; i++)
                distance = fmax(distance, fabs(maps[a][i] - maps[b][i]));
            if (a != PRLE_CAM_HIRESCAM || b != PRLE_CAM_GRADCAM)
                assert_true(distance > 1e-3);
        }
    for (int a = 0; a < n; a++)
        prle_free(maps[a]);
    prle_model_destroy(model);
}

/* Eigen-CAM explains no class. */
static void test_no_score(void **state)
{
    (void)state;
    prle_model *model = model_make("resnet50", 2, PRLE_F32);
    const uint8_t labels[N] = {0, 1};
    int64_t pixels = 0;
    prle_cam_opts opts = {.method = PRLE_CAM_EIGENCAM};
    double *label = maps_of(model, opts, labels, &pixels, NULL);
    opts.target = PRLE_CAM_FAKE;
    opts.score = PRLE_CAM_LOGIT;
    double *fake = maps_of(model, opts, labels, &pixels, NULL);

    assert_memory_equal(label, fake, (size_t)(N * pixels) * sizeof *label);
    prle_free(label);
    prle_free(fake);
    prle_model_destroy(model);
}

/* LABEL explains each image's own class; FAKE explains class 1 for all: equal where the label is 1, not where it is 0. */
static void test_targets(void **state)
{
    (void)state;
    prle_model *model = model_make("resnet50", 2, PRLE_F32);
    const uint8_t labels[N] = {0, 1};
    int64_t pixels = 0;
    double *label = maps_of(model, (prle_cam_opts){.target = PRLE_CAM_LABEL}, labels, &pixels, NULL);
    double *fake = maps_of(model, (prle_cam_opts){.target = PRLE_CAM_FAKE}, labels, &pixels, NULL);
    double *logit = maps_of(model, (prle_cam_opts){.target = PRLE_CAM_FAKE, .score = PRLE_CAM_LOGIT}, labels, &pixels, NULL);

    assert_memory_equal(label + pixels, fake + pixels, (size_t)pixels * sizeof *label);
    assert_memory_not_equal(label, fake, (size_t)pixels * sizeof *label);
    assert_memory_not_equal(logit, fake, (size_t)(N * pixels) * sizeof *label);
    prle_free(label);
    prle_free(fake);
    prle_free(logit);
    prle_model_destroy(model);
}

/* Several nodes: the size of the largest, normalised again. In double and single precision alike. */
static void test_nodes(void **state)
{
    (void)state;
    prle_model *model = model_make("meso4", 2, PRLE_F32);
    const uint8_t labels[N] = {1, 1};
    int64_t pixels = 0;
    prle_cam_opts opts = {.nodes = {.n = 2}};

    assert_ok(prle_graph_find(model->graph, "pool2", &opts.nodes.node[0]));
    assert_ok(prle_graph_find(model->graph, "pool4", &opts.nodes.node[1]));
    double *both = maps_of(model, opts, labels, &pixels, NULL);
    assert_int_equal(pixels, PIXELS / 4 * PIXELS / 4);
    for (int b = 0; b < N; b++) {
        double low = 1, high = 0;
        for (int64_t i = b * pixels; i < (b + 1) * pixels; i++) {
            low = fmin(low, both[i]);
            high = fmax(high, both[i]);
        }
        assert_true(low == 0 && high == 1);
    }
    prle_free(both);
    prle_model_destroy(model);
}

/* One image at a time gives the maps that a batch gives. */
static void test_batch_of_one(void **state)
{
    (void)state;
    prle_model *model = model_make("meso4", 2, PRLE_F32);
    const uint8_t labels[N] = {0, 1};
    int64_t pixels = 0;
    float *images = NULL;
    double *one = NULL;

    assert_ok(PRLE_NEW(images, N * 3 * PIXELS * PIXELS));
    images_fill(images);
    for (int m = 0; prle_cam_method_words[m] != NULL; m++) {
        prle_cam_engine *engine = NULL;
        prle_cam_opts opts = {.method = (prle_cam_method)m};
        double *both = maps_of(model, opts, labels, &pixels, NULL);
        opts.batch = 1;
        assert_ok(PRLE_NEW(one, N * pixels));
        assert_ok(prle_cam_engine_create(&engine, model, &opts));
        for (int i = 0; i < N; i++)
            assert_ok(prle_cam_engine_run(engine, images + i * 3 * PIXELS * PIXELS, &labels[i], 1, one + i * pixels, NULL));
        assert_close(one, both, N * pixels, 1e-4);
        prle_cam_engine_destroy(engine);
        prle_free(both);
        prle_free(one);
    }
    prle_free(images);
    prle_model_destroy(model);
}

/* Without convolutions' weights every value is the same at every pixel: a map of nothing, by any method. */
static void test_constant_maps(void **state)
{
    (void)state;
    prle_model *model = model_make("xception", 2, PRLE_F32);
    const int pointwise = prle_graph_segment_find(model->graph, "conv4.pointwise.weight");
    float *beta = prle_model_segment(model, prle_graph_segment_find(model->graph, "bn4.bias"));
    const uint8_t labels[N] = {0, 1};
    int64_t pixels = 0;

    memset(prle_model_segment(model, pointwise), 0, (size_t)model->graph->segment[pointwise].count * sizeof(float));
    for (int k = 0; k < 2048; k++)
        beta[k] = (float)k / 1000;
    for (int m = 0; prle_cam_method_words[m] != NULL; m++) {
        double *maps = maps_of(model, (prle_cam_opts){.method = (prle_cam_method)m}, labels, &pixels, NULL);
        for (int64_t i = 0; i < N * pixels; i++)
            assert_true(maps[i] == 0);
        prle_free(maps);
    }
    prle_model_destroy(model);
}

/* Element 5 of `segment` becomes no number once the engine is there: each method, by either way, names the image. */
static void assert_not_finite(const char *net, const char *segment)
{
    prle_model *model = model_make(net, 2, PRLE_F32);
    const uint8_t labels[N] = {0, 1};
    float *images = NULL;
    double *cam = NULL;

    assert_ok(PRLE_NEW(images, N * 3 * PIXELS * PIXELS));
    assert_ok(PRLE_NEW(cam, N * PIXELS * PIXELS));
    images_fill(images);
    float *weight = (float *)prle_model_segment(model, prle_graph_segment_find(model->graph, segment)) + 5;
    const float good = *weight;
    for (int run = 0; prle_cam_method_words[run / 2] != NULL; run++) {
        prle_cam_engine *engine = NULL;
        const prle_cam_opts opts = {.batch = N, .method = (prle_cam_method)(run / 2), .general = run % 2};
        if (!prle_cam_method_has_score(opts.method))
            continue; /* the weight is behind the node */
        assert_ok(prle_cam_engine_create(&engine, model, &opts));
        *weight = NAN;
        model->version++;
        assert_fails(prle_cam_engine_run(engine, images, labels, N, cam, NULL), PRLE_ENUMERIC, "image 0 of the batch");
        prle_cam_engine_destroy(engine);
        engine = NULL;
        assert_fails(prle_cam_engine_create(&engine, model, &opts), PRLE_ENUMERIC, segment);
        *weight = good;
    }
    prle_free(images);
    prle_free(cam);
    prle_model_destroy(model);
}

static void test_not_finite(void **state)
{
    (void)state;
    assert_not_finite("meso4", "fc2.weight");
    assert_not_finite("xception", "fc.weight");
}

static void test_errors(void **state)
{
    (void)state;
    prle_model *model = model_make("meso4", 2, PRLE_F32);
    prle_cam_engine *engine = NULL;
    prle_cam_opts opts = {.batch = N, .nodes = {.n = 1, .node = {model->graph->output}}};

    assert_fails(prle_cam_engine_create(&engine, model, &opts), PRLE_EINVAL, "fc2 is no image");
    opts.nodes.node[0] = model->graph->n_nodes;
    assert_fails(prle_cam_engine_create(&engine, model, &opts), PRLE_EINVAL, "there are");
    prle_model_destroy(model);
}

static prle_status engine_work(void *user)
{
    prle_cam_engine *engine = NULL;

    PRLE_TRY(prle_cam_engine_create(&engine, user, &PRLE_CAM_OPTS_DEFAULT));
    prle_cam_engine_destroy(engine);
    return PRLE_OK;
}

/* Each of the engine's own: its first, and those after the plan, whose are failed in tests/nets/test_plan.c. */
static void test_every_allocation_fails(void **state)
{
    (void)state;
    prle_model *model = model_make("meso4", 2, PRLE_F32);
    const int64_t before = prle_alloc_count();

    assert_ok(engine_work(model));
    const int64_t n = prle_alloc_count() - before, live = prle_alloc_live();
    for (int64_t nth = 1; nth <= n; nth = nth == 1 ? n - 7 : nth + 1) {
        prle_alloc_fail_at(nth);
        assert_fails(engine_work(model), PRLE_ENOMEM, "out of memory");
        prle_alloc_fail_at(0);
        assert_int_equal(prle_alloc_live(), live);
    }
    assert_ok(engine_work(model));
    prle_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_closed_form),
                                       cmocka_unit_test(test_ways),
                                       cmocka_unit_test(test_methods_differ),
                                       cmocka_unit_test(test_no_score),
                                       cmocka_unit_test(test_targets),
                                       cmocka_unit_test(test_nodes),
                                       cmocka_unit_test(test_batch_of_one),
                                       cmocka_unit_test(test_constant_maps),
                                       cmocka_unit_test(test_not_finite),
                                       cmocka_unit_test(test_errors),
                                       cmocka_unit_test(test_every_allocation_fails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
