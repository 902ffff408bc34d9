/* test_cam.c - the Grad-CAM engine: closed form against the backward path (which tests/nets/test_parity_*.c compare with
 * autograd), targets, scores, several nodes, one logit, values that are not finite. */
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

/* Maps [N,h,w] of two images with these options; prle_free them. */
static float *maps_of(prle_model *model, prle_cam_opts opts, const uint8_t labels[N], int64_t *pixels)
{
    prle_cam_engine *engine = NULL;
    float *images = NULL, *cam = NULL;
    int64_t h = 0, w = 0;

    opts.batch = 3; /* not N: the rest is padding */
    assert_ok(PRLE_NEW(images, N * 3 * PIXELS * PIXELS));
    images_fill(images);
    assert_ok(prle_cam_engine_create(&engine, model, &opts));
    assert_int_equal(prle_cam_engine_is_closed_form(engine),
                     !opts.general && opts.nodes.n <= 1 && model->graph->cam != -1 && strcmp(model->graph->name, "meso4") != 0);
    prle_cam_engine_size(engine, &h, &w);
    *pixels = h * w;
    assert_ok(PRLE_NEW(cam, N * h * w));
    assert_ok(prle_cam_engine_run(engine, images, labels, N, cam, NULL));
    prle_cam_engine_destroy(engine);
    prle_free(images);
    return cam;
}

static void assert_close(const float *a, const float *b, int64_t n, double tolerance)
{
    double worst = 0, largest = 0;

    for (int64_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
        largest = fmax(largest, (double)b[i]);
    }
    const bool ok = worst <= tolerance && largest == 1.0;
    if (!ok)
        fail_msg("maps differ by %g; the largest value is %g", worst, largest);
}

static void closed_form_agrees(const char *net, int64_t classes, prle_cam_target target)
{
    prle_model *model = model_make(net, classes, PRLE_F32);
    const uint8_t labels[N] = {0, 1};
    int64_t pixels = 0;
    float *closed = maps_of(model, (prle_cam_opts){.target = target}, labels, &pixels);
    float *general = maps_of(model, (prle_cam_opts){.target = target, .general = true}, labels, &pixels);

    assert_close(closed, general, N * pixels, 1e-5);
    prle_free(closed);
    prle_free(general);
    prle_model_destroy(model);
}

static void test_closed_form(void **state)
{
    (void)state;
    closed_form_agrees("resnet50", 2, PRLE_CAM_LABEL);
    closed_form_agrees("resnet50", 1, PRLE_CAM_LABEL);
    closed_form_agrees("xception", 2, PRLE_CAM_ARGMAX);
}

/* LABEL explains each image's own class; FAKE explains class 1 for all: equal where the label is 1, not where it is 0. */
static void test_targets(void **state)
{
    (void)state;
    prle_model *model = model_make("resnet50", 2, PRLE_F32);
    const uint8_t labels[N] = {0, 1};
    int64_t pixels = 0;
    float *label = maps_of(model, (prle_cam_opts){.target = PRLE_CAM_LABEL}, labels, &pixels);
    float *fake = maps_of(model, (prle_cam_opts){.target = PRLE_CAM_FAKE}, labels, &pixels);
    float *logit = maps_of(model, (prle_cam_opts){.target = PRLE_CAM_FAKE, .score = PRLE_CAM_LOGIT}, labels, &pixels);

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
    float *both = maps_of(model, opts, labels, &pixels);
    assert_int_equal(pixels, PIXELS / 4 * PIXELS / 4);
    for (int b = 0; b < N; b++) {
        float low = 1, high = 0;
        for (int64_t i = b * pixels; i < (b + 1) * pixels; i++) {
            low = fminf(low, both[i]);
            high = fmaxf(high, both[i]);
        }
        assert_true(low == 0.0f && high == 1.0f);
    }
    prle_free(both);
    prle_model_destroy(model);
}

static void test_errors(void **state)
{
    (void)state;
    prle_model *model = model_make("meso4", 2, PRLE_F32);
    prle_cam_engine *engine = NULL;
    const uint8_t labels[N] = {0, 1};
    float *images = NULL, *cam = NULL;
    prle_cam_opts opts = {.batch = N, .nodes = {.n = 1, .node = {model->graph->output}}};

    assert_fails(prle_cam_engine_create(&engine, model, &opts), PRLE_EINVAL, "fc2 is no image");
    opts.nodes.n = 0;
    assert_ok(PRLE_NEW(images, N * 3 * PIXELS * PIXELS));
    assert_ok(PRLE_NEW(cam, N * PIXELS * PIXELS));
    images_fill(images);
    ((float *)prle_model_segment(model, prle_graph_segment_find(model->graph, "fc2.weight")))[5] = NAN;
    assert_ok(prle_cam_engine_create(&engine, model, &opts));
    assert_fails(prle_cam_engine_run(engine, images, labels, N, cam, NULL), PRLE_ENUMERIC, "image 0 of the batch");
    prle_cam_engine_destroy(engine);
    prle_free(images);
    prle_free(cam);
    prle_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_closed_form), cmocka_unit_test(test_targets),
                                       cmocka_unit_test(test_nodes), cmocka_unit_test(test_errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
