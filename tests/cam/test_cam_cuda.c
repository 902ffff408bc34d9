/* test_cam_cuda.c - attention maps of whole networks on a GPU against the processor's: every method, both ways to gradients,
 * several nodes, a constant map, values that are not finite. */
#include <math.h>

#include "cam/cam.h"
#include "core/alloc.h"
#include "core/rng.h"
#include "tests/gpu.h"

enum { N = 2, BATCH = 3, PIXELS = 64 }; /* BATCH is not N: the rest is padding */

static prle_model *model_make(const char *net, const prle_device *device)
{
    const prle_net_opts opts = {.height = PIXELS, .width = PIXELS, .classes = 2};
    prle_model *model = NULL;

    assert_ok(prle_model_create(&model, net, &opts, PRLE_F32));
    assert_ok(prle_model_place(model, device));
    prle_model_init(model, 3);
    return model;
}

/* Patches of colour: noise gives flat maps. */
static void images_fill(float *images)
{
    for (int i = 0; i < N * 3; i++)
        for (int y = 0; y < PIXELS; y++)
            for (int x = 0; x < PIXELS; x++) {
                prle_rng rng = prle_rng_make(1, 0, (uint64_t)(i * 9 + y / 24 * 3 + x / 24), PRLE_RNG_TEST);
                images[(i * PIXELS + y) * PIXELS + x] = (float)prle_rng_range(&rng, -1, 1);
            }
}

static prle_nodes nodes_of(const prle_model *model, const char *const *names)
{
    prle_nodes nodes = {0};

    for (; names != NULL && names[nodes.n] != NULL; nodes.n++)
        assert_ok(prle_graph_find(model->graph, names[nodes.n], &nodes.node[nodes.n]));
    return nodes;
}

/* Maps [N,h,w] of two images; prle_free them. */
static double *maps_of(prle_model *model, const prle_cam_opts *opts, int64_t *pixels, prle_cam_way *way, double scores[N])
{
    static float images[N * 3 * PIXELS * PIXELS];
    static const uint8_t labels[N] = {0, 1};
    prle_cam_engine *engine = NULL;
    double *cam = NULL;
    int64_t h = 0, w = 0;

    images_fill(images);
    assert_ok(prle_cam_engine_create(&engine, model, opts));
    *way = prle_cam_engine_way(engine);
    prle_cam_engine_size(engine, &h, &w);
    *pixels = h * w;
    assert_ok(PRLE_NEW(cam, N * h * w));
    assert_ok(prle_cam_engine_run(engine, images, labels, N, cam, scores));
    prle_cam_engine_destroy(engine);
    return cam;
}

/* f32 sums in another order through a whole network, and a minimum and maximum that divide what is left: 1e-3 of [0,1]. */
static void maps_compare(prle_model *cpu, prle_model *gpu, const prle_cam_opts *opts, prle_cam_way wanted)
{
    double scores[2][N], worst = 0, most = 0;
    int64_t pixels = 0;
    prle_cam_way way;

    double *const want = maps_of(cpu, opts, &pixels, &way, scores[0]), *const got = maps_of(gpu, opts, &pixels, &way, scores[1]);
    assert_int_equal(way, wanted);
    for (int64_t i = 0; i < N * pixels; i++) {
        const double difference = fabs(got[i] - want[i]);
        worst = difference <= worst ? worst : difference; /* NaN stays */
        most = fmax(most, want[i]);
    }
    const bool ok = worst <= 1e-3 && most == 1 && fabs(scores[0][0] - scores[1][0]) <= 1e-5;
    if (!ok)
        fail_msg("%s, %s: maps differ by %g of %g", cpu->graph->name, prle_cam_method_words[opts->method], worst, most);
    prle_free(want);
    prle_free(got);
}

/* The methods from first to last; names of nodes, NULL for the network's own. */
static void network_check(const char *net, const char *const *names, bool general, prle_cam_method first, prle_cam_method last)
{
    prle_model *cpu = model_make(net, prle_device_cpu()), *gpu = model_make(net, prle_cuda_device());

    for (int m = (int)first; m <= (int)last; m++) {
        const bool scored = prle_cam_method_has_score((prle_cam_method)m);
        const prle_cam_opts opts = {.batch = BATCH,
                                    .target = m % 2 == 0 ? PRLE_CAM_LABEL : PRLE_CAM_ARGMAX,
                                    .method = (prle_cam_method)m,
                                    .nodes = nodes_of(cpu, names),
                                    .general = general};
        maps_compare(cpu, gpu, &opts, !scored ? PRLE_CAM_FORWARD : general ? PRLE_CAM_BACKWARD : PRLE_CAM_CLOSED);
    }
    prle_model_destroy(cpu);
    prle_model_destroy(gpu);
}

static void test_backward(void **state)
{
    static const char *const one[] = {"conv4", NULL}, *const two[] = {"conv4", "conv3", NULL}; /* of two sizes */

    (void)state;
    network_check("meso4", one, true, PRLE_CAM_GRADCAM, PRLE_CAM_N_METHODS - 1);
    network_check("meso4", two, true, PRLE_CAM_GRADCAM, PRLE_CAM_LAYERCAM);
}

/* A large network. What the closed form makes of batch norm and activation is the processor's code (cam/tail.c) and
 * test_method_cuda.c's. */
static void test_closed(void **state)
{
    (void)state;
    network_check("resnet50", NULL, false, PRLE_CAM_GRADCAM, PRLE_CAM_GRADCAM);
}

/* A map for every image of a batch is one launch for each node, one to normalise, one to resize; nothing is copied unpinned. */
static void test_counts(void **state)
{
    prle_model *model = model_make("meso4", prle_cuda_device());
    const prle_cam_opts opts = {.batch = BATCH};
    static float images[N * 3 * PIXELS * PIXELS];
    static const uint8_t labels[N] = {0, 1};
    prle_cam_engine *engine = NULL;
    double *cam = NULL;
    int64_t h = 0, w = 0;
    cudasim_counts counts;
    cudasim_traffic map, mean;

    (void)state;
    assert_ok(prle_cam_engine_create(&engine, model, &opts));
    prle_cam_engine_size(engine, &h, &w);
    assert_ok(PRLE_NEW(cam, N * h * w));
    for (int turn = 0; turn < 2; turn++) {
        gpu_counts_reset();
        assert_ok(prle_cam_engine_run(engine, images, labels, N, cam, NULL));
    }
    if (gpu_counts(&counts)) {
        gpu_traffic("cam_map", &map);
        gpu_traffic("attention_mean", &mean);
        assert_int_equal(map.launches, 1);
        assert_int_equal(mean.launches, 1);
        assert_int_equal(counts.allocations, 0);
        assert_int_equal(counts.pageable_copies, 0);
    }
    for (int64_t i = 0; i < N * h * w; i++)
        assert_true(cam[i] == 0 || h * w > 1); /* black images: finite */
    prle_cam_engine_destroy(engine);
    prle_free(cam);
    prle_model_destroy(model);
}

/* Other methods from the same pass, the processor's among them. */
static void test_again(void **state)
{
    static const char *const one[] = {"conv4", NULL};
    static float images[N * 3 * PIXELS * PIXELS];
    static const uint8_t labels[N] = {0, 1};
    static const prle_cam_method methods[] = {PRLE_CAM_EIGENCAM, PRLE_CAM_LAYERCAM, PRLE_CAM_GRADCAM};
    prle_model *model = model_make("meso4", prle_cuda_device());
    prle_cam_opts opts = {.batch = BATCH, .nodes = nodes_of(model, one), .general = true};
    prle_cam_engine *engine = NULL;
    double *cam = NULL, scores[N];
    int64_t pixels = 0, h = 0, w = 0;
    prle_cam_way way;

    (void)state;
    images_fill(images);
    assert_ok(prle_cam_engine_create(&engine, model, &opts));
    prle_cam_engine_size(engine, &h, &w);
    assert_ok(PRLE_NEW(cam, N * h * w));
    assert_ok(prle_cam_engine_run(engine, images, labels, N, cam, NULL));
    for (size_t k = 0; k < sizeof methods / sizeof *methods; k++) {
        opts.method = methods[k];
        double *const want = maps_of(model, &opts, &pixels, &way, scores);
        assert_ok(prle_cam_engine_again(engine, methods[k], labels, cam));
        assert_memory_equal(cam, want, (size_t)(N * pixels) * sizeof *cam);
        prle_free(want);
    }
    prle_cam_engine_destroy(engine);
    prle_free(cam);
    prle_model_destroy(model);
}

/* Bytes copied by two runs, of which the second's images are begun ahead, or others, or none (NULL); maps of both [2][N,h,w].
 * Nobody waits between the halves of the first. */
static int64_t two_runs(prle_cam_engine *engine, const void *first, const void *ahead, const void *second, double *cam,
                        int64_t map)
{
    static const uint8_t labels[N] = {0, 1};
    cudasim_counts counts = {0};

    gpu_counts_reset();
    assert_ok(prle_cam_engine_begin(engine, first, labels, N));
    if (ahead != NULL)
        assert_ok(prle_cam_engine_ahead(engine, ahead, N));
    if (gpu_counts(&counts))
        assert_int_equal(counts.synchronisations, 0);
    assert_ok(prle_cam_engine_end(engine, cam, NULL));
    assert_ok(prle_cam_engine_run(engine, second, labels, N, cam + map, NULL));
    assert_ok(prle_device_wait(prle_cuda_device()));
    (void)gpu_counts(&counts);
    return counts.copied_bytes;
}

/* Images that are copied while others are computed: the same maps; nobody waits between the two halves of a run, and nothing is
 * copied twice. Images that were not the ones expected are not taken for those. */
static void ahead_check(const prle_normaliser *pixels)
{
    static float images[3][N * 3 * PIXELS * PIXELS];
    static const uint8_t labels[N] = {0, 1};
    static const char *const node[] = {"conv2", NULL}; /* large maps, which differ */
    prle_model *model = model_make("meso4", prle_cuda_device());
    const prle_cam_opts opts = {
        .batch = BATCH, .target = PRLE_CAM_ARGMAX, .nodes = nodes_of(model, node), .general = true, .pixels = pixels};
    const int64_t images_bytes = N * 3 * PIXELS * PIXELS * (pixels != NULL ? 1 : (int64_t)sizeof images[0][0]);
    prle_cam_engine *engine = NULL;
    double *cam = NULL, *want[3] = {NULL};
    int64_t h = 0, w = 0;

    assert_ok(prle_cam_engine_create(&engine, model, &opts));
    prle_cam_engine_size(engine, &h, &w);
    assert_ok(PRLE_NEW(cam, 2 * N * h * w));
    for (int k = 0; k < 3; k++) {
        images_fill(images[k]);
        for (int i = 0; i < N * 3 * PIXELS * PIXELS; i++)
            images[k][i] *= i % (7 + k) == 0 ? -1 : 1;
        for (int i = 0; i < N * 3 * PIXELS * PIXELS && pixels != NULL; i++) /* stripes */
            ((uint8_t *)images[k])[i] = (uint8_t)(i / (211 + 100 * k) * 77);
        assert_ok(PRLE_NEW(want[k], N * h * w));
        assert_ok(prle_cam_engine_run(engine, images[k], labels, N, want[k], NULL));
        assert_true(k == 0 || memcmp(want[k], want[0], (size_t)(N * h * w) * sizeof *cam) != 0);
    }
    const int64_t usual = two_runs(engine, images[0], NULL, images[1], cam, N * h * w);
    for (int other = 0; other < 2; other++) {
        const int second = other ? 2 : 1;
        const int64_t n_bytes = two_runs(engine, images[0], images[1], images[second], cam, N * h * w);
        assert_int_equal(n_bytes, usual + (other && usual > 0 ? images_bytes : 0));
        assert_memory_equal(cam, want[0], (size_t)(N * h * w) * sizeof *cam);
        assert_memory_equal(cam + N * h * w, want[second], (size_t)(N * h * w) * sizeof *cam);
    }
    prle_cam_engine_destroy(engine);
    prle_free(cam);
    for (int k = 0; k < 3; k++)
        prle_free(want[k]);
    prle_model_destroy(model);
}

static void test_ahead(void **state)
{
    const prle_normaliser pixels = prle_normaliser_make((const float[3]){0.5f, 0.5f, 0.5f}, (const float[3]){0.5f, 0.5f, 0.5f});

    (void)state;
    ahead_check(NULL);
    ahead_check(&pixels);
}

/* An image with a NaN is named, with the place in its map. */
static void test_not_finite(void **state)
{
    prle_model *model = model_make("meso4", prle_cuda_device());
    const prle_cam_opts opts = {.batch = BATCH};
    static float images[N * 3 * PIXELS * PIXELS];
    static const uint8_t labels[N] = {0, 1};
    prle_cam_engine *engine = NULL;
    double *cam = NULL;
    int64_t h = 0, w = 0;

    (void)state;
    images_fill(images);
    images[3 * PIXELS * PIXELS] = NAN;
    assert_ok(prle_cam_engine_create(&engine, model, &opts));
    prle_cam_engine_size(engine, &h, &w);
    assert_ok(PRLE_NEW(cam, N * h * w));
    assert_fails(prle_cam_engine_run(engine, images, labels, N, cam, NULL), PRLE_ENUMERIC,
                 "meso4: map of image 1 of the batch: attention map: value");
    prle_cam_engine_destroy(engine);
    prle_free(cam);
    prle_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_backward), cmocka_unit_test(test_closed),
                                       cmocka_unit_test(test_counts),   cmocka_unit_test(test_again),
                                       cmocka_unit_test(test_ahead),    cmocka_unit_test(test_not_finite)};

    GPU_TESTS_RUN(tests);
}
