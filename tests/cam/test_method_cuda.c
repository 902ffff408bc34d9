/* test_method_cuda.c - attention maps of a batch on the GPU against cam/method.c and cam/tail.c, image by image in double. */
#include <math.h>

#include "cam/method_cuda.h"
#include "core/alloc.h"
#include "core/rng.h"
#include "tests/gpu.h"
#define REAL_IS_DOUBLE 1
#include "core/op/act_math.h"

enum { IMAGES = 3 };

/* One layer of a batch, and how it is explained. */
typedef struct layer {
    int64_t channels, pixels;
    float *values, *gradients; /* [IMAGES,C,P] */
    prle_cam_channel *channel; /* [C] */
    uint8_t explained[IMAGES];
    prle_act_attrs act;
} layer;

static void layer_init(layer *l, int64_t channels, int64_t pixels, prle_act act)
{
    prle_rng rng = prle_rng_make((uint64_t)(channels * 1000 + pixels), 0, 0, PRLE_RNG_TEST);

    *l = (layer){.channels = channels, .pixels = pixels, .explained = {1, 0, 1}, .act = {.act = act, .slope = 0.1}};
    assert_ok(PRLE_NEW(l->values, IMAGES * channels * pixels));
    assert_ok(PRLE_NEW(l->gradients, IMAGES * channels * pixels));
    assert_ok(PRLE_NEW(l->channel, channels));
    for (int64_t i = 0; i < IMAGES * channels * pixels; i++) {
        l->values[i] = (float)(prle_rng_uniform(&rng) * 2 - 0.5);
        l->gradients[i] = (float)(prle_rng_uniform(&rng) * 0.02 - 0.01);
    }
    for (int64_t k = 0; k < channels; k++)
        l->channel[k] = (prle_cam_channel){.weight = {prle_rng_uniform(&rng) - 0.5, prle_rng_uniform(&rng) - 0.5},
                                           .scale = prle_rng_uniform(&rng) + 0.5,
                                           .mean = prle_rng_uniform(&rng),
                                           .beta = prle_rng_uniform(&rng) - 0.5};
}

static void layer_deinit(layer *l)
{
    prle_free(l->values);
    prle_free(l->gradients);
    prle_free(l->channel);
}

/* g of the closed form, as cam/tail.h has it. */
static double closed_gradient(const layer *l, int image, int64_t k, double value)
{
    const prle_cam_channel *c = &l->channel[k];

    return c->weight[l->explained[image]] * act_elem_grad(&l->act, c->scale * (value - c->mean) + c->beta) * c->scale;
}

static void want_map(const layer *l, int image, prle_cam_method method, bool closed, double *map)
{
    const int64_t n = l->channels * l->pixels;
    double *values = NULL, *gradients = NULL;

    assert_ok(PRLE_NEW(values, n));
    assert_ok(PRLE_NEW(gradients, n));
    for (int64_t i = 0; i < n; i++) {
        values[i] = (double)l->values[image * n + i];
        gradients[i] = closed ? closed_gradient(l, image, i / l->pixels, values[i]) : (double)l->gradients[image * n + i];
    }
    prle_cam_method_run(method, map, values, gradients, l->channels, l->pixels, NULL);
    prle_free(values);
    prle_free(gradients);
}

/* Sums in double in another order: to 1e-12 of the largest value of the map. */
static void maps_compare(const double *got, const double *want, int64_t n)
{
    double most = 0;

    for (int64_t p = 0; p < n; p++)
        most = want[p] > most ? want[p] : most;
    for (int64_t p = 0; p < n; p++) {
        const bool ok = fabs(got[p] - want[p]) <= 1e-12 * (most + 1e-3);
        if (!ok)
            fail_msg("pixel %lld: %.17g, not %.17g", (long long)p, got[p], want[p]);
    }
}

static void maps_check(const layer *l, prle_cam_method method, bool closed)
{
    const int64_t n = IMAGES * l->channels * l->pixels;
    const size_t map_bytes = (size_t)(IMAGES * l->pixels) * sizeof(double);
    const prle_cuda *cuda = NULL;
    double *got = NULL, *want = NULL;

    assert_ok(prle_cuda_get(&cuda));
    assert_ok(PRLE_NEW(got, IMAGES * l->pixels));
    assert_ok(PRLE_NEW(want, l->pixels));
    void *const values = gpu_put(l->values, (size_t)n * sizeof(float)), *const gradients =
                                                                            gpu_put(l->gradients, (size_t)n * sizeof(float));
    void *const channel = gpu_put(l->channel, (size_t)l->channels * sizeof *l->channel);
    void *const explained = gpu_put(l->explained, sizeof l->explained), *const map = gpu_new(map_bytes);
    const prle_cam_gradients from = {
        .array = closed ? NULL : gradients, .channel = channel, .explained = explained, .act = l->act};
    gpu_counts_reset();
    assert_ok(PRLE_CUDA_STATUS(prle_cam_method_cuda(method, values, &from, IMAGES, l->channels, l->pixels, map, cuda->compute)));
    gpu_get(got, map, map_bytes);
    if (l->channels * l->pixels > 5000)
        gpu_traffic_check("cam_map", 4 * n * (closed ? 1 : 2) + (int64_t)map_bytes + (closed ? 40 * l->channels * IMAGES : 0));
    for (int i = 0; i < IMAGES; i++) {
        want_map(l, i, method, closed, want);
        maps_compare(got + i * l->pixels, want, l->pixels);
    }
    gpu_free(values);
    gpu_free(gradients);
    gpu_free(channel);
    gpu_free(explained);
    gpu_free(map);
    prle_free(got);
    prle_free(want);
}

static void test_methods(void **state)
{
    static const int64_t sizes[][2] = {{1, 1}, {3, 5}, {7, 49}, {8, 32}, {67, 101}, {300, 64}, {37, 361}};

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        layer l;
        layer_init(&l, sizes[s][0], sizes[s][1], (prle_act)(s % PRLE_N_ACTS));
        for (int method = PRLE_CAM_GRADCAM; method < PRLE_CAM_N_METHODS; method++) {
            if (!prle_cam_method_cuda_has((prle_cam_method)method))
                continue;
            maps_check(&l, (prle_cam_method)method, false);
            maps_check(&l, (prle_cam_method)method, true);
        }
        layer_deinit(&l);
    }
}

/* A value or gradient that is not finite shows in the map of its image, and in no other. */
static void test_not_finite(void **state)
{
    const prle_cuda *cuda = NULL;
    double got[IMAGES * 5];
    layer l;

    (void)state;
    assert_ok(prle_cuda_get(&cuda));
    for (int method = PRLE_CAM_GRADCAM; method < PRLE_CAM_N_METHODS; method++) {
        if (!prle_cam_method_cuda_has((prle_cam_method)method))
            continue;
        layer_init(&l, 3, 5, PRLE_ACT_NONE);
        l.values[15 + 7] = NAN;
        l.gradients[30 + 2] = NAN;
        void *const values = gpu_put(l.values, 45 * sizeof(float)), *const gradients = gpu_put(l.gradients, 45 * sizeof(float));
        void *const map = gpu_new(sizeof got);
        const prle_cam_gradients from = {.array = gradients};
        assert_ok(
            PRLE_CUDA_STATUS(prle_cam_method_cuda((prle_cam_method)method, values, &from, IMAGES, 3, 5, map, cuda->compute)));
        gpu_get(got, map, sizeof got);
        for (int p = 0; p < 5; p++)
            assert_true(isfinite(got[p]));
        assert_true(isnan(got[5 + 2]) && isnan(got[10 + 2]));
        gpu_free(values);
        gpu_free(gradients);
        gpu_free(map);
        layer_deinit(&l);
    }
}

static void test_refused(void **state)
{
    const prle_cam_gradients none = {0};

    (void)state;
    for (int method = 0; method < PRLE_CAM_N_METHODS; method++) /* maps.h relies on it: what the GPU says it has, it computes */
        assert_int_equal(prle_cam_method_cuda((prle_cam_method)method, NULL, &none, 0, 1, 1, NULL, NULL),
                         prle_cam_method_cuda_has((prle_cam_method)method) ? cudaSuccess : cudaErrorInvalidValue);
    assert_true(prle_cam_method_cuda_has(PRLE_CAM_GRADCAM));
    assert_false(prle_cam_method_cuda_has(PRLE_CAM_EIGENCAM));
    assert_int_equal(prle_cam_method_cuda(PRLE_CAM_GRADCAM, NULL, &none, 1, PRLE_CAM_CUDA_MAX_CHANNELS + 1, 1, NULL, NULL),
                     cudaErrorInvalidValue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_methods), cmocka_unit_test(test_not_finite),
                                       cmocka_unit_test(test_refused)};

    GPU_TESTS_RUN(tests);
}
