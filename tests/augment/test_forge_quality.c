/* test_forge_quality.c - the statistics on pictures whose answer is known, the regression against its optimality condition. */
#include <math.h>

#include "augment/forge/quality.h"
#include "core/alloc.h"
#include "core/file.h"
#include "core/rng.h"
#include "tests/check.h"

static void test_features(void **state)
{
    (void)state;
    prle_rng rng = prle_rng_make(1, 0, 0, PRLE_RNG_TEST);
    prle_image image = {0}, tiny = {0};
    double f[PRLE_QUALITY_FEATURES], smooth[PRLE_QUALITY_FEATURES], blocks[PRLE_QUALITY_FEATURES];

    assert_ok(prle_image_init(&image, 128, 128, 3));
    for (int64_t i = 0; i < 128 * 128; i++)
        image.data[3 * i] = image.data[3 * i + 1] = image.data[3 * i + 2] = (uint8_t)prle_rng_below(&rng, 256);
    assert_ok(prle_quality_features(f, &image));
    assert_true(fabs(f[0] - 127.5) <= 2 && fabs(f[3] - log(65535 / 12.0 + 1)) <= 0.05);
    assert_true(fabs(f[6]) <= 0.05);           /* white noise has no blocks, */
    assert_true(fabs(f[7]) <= 0.15);           /* a flat spectrum, */
    assert_true(fabs(f[8] - log(0.5)) <= 0.1); /* and half of its power in the finest octave */
    for (int64_t i = 0; i < 128 * 128; i++)
        memset(image.data + 3 * i, (int)(100 + 10 * ((i % 128 / 8 + i / 128 / 8) % 2)), 3);
    assert_ok(prle_quality_features(blocks, &image));
    assert_true(blocks[6] > 5);             /* all steps lie on block borders */
    for (int64_t i = 0; i < 128 * 128; i++) /* each pixel the mean of four: the fine half of the spectrum falls away */
        memset(image.data + 3 * i, (int)(prle_rng_below(&rng, 64) + prle_rng_below(&rng, 64) + 60), 3);
    for (int64_t i = 0; i < 126 * 128; i++)
        for (int c = 0; c < 3; c++)
            image.data[3 * i + c] = (uint8_t)((image.data[3 * i + c] + image.data[3 * i + 3 + c] + image.data[3 * i + 384 + c] +
                                               image.data[3 * i + 387 + c]) /
                                              4);
    assert_ok(prle_quality_features(smooth, &image));
    assert_true(smooth[7] < f[7] - 0.3 && smooth[8] < f[8] - 0.3);
    assert_ok(prle_image_init(&tiny, 8, 8, 3));
    assert_fails(prle_quality_features(f, &tiny), PRLE_ESHAPE, "16 pixels");
    prle_image_deinit(&image);
    prle_image_deinit(&tiny);
}

/* At the minimum the gradient of the penalised loss is zero. */
static void test_logistic(void **state)
{
    (void)state;
    enum { N = 400, K = 3 };
    const double truth[K + 1] = {1.5, -2, 0, 0.5};
    prle_rng rng = prle_rng_make(2, 0, 0, PRLE_RNG_TEST);
    double x[N * K], weight[K + 1] = {9, 9, 9, 9}, gradient[K + 1] = {0};
    uint8_t label[N];

    for (int i = 0; i < N; i++) {
        double z = truth[K];
        for (int j = 0; j < K; j++) {
            x[i * K + j] = prle_rng_normal(&rng);
            z += truth[j] * x[i * K + j];
        }
        label[i] = prle_rng_uniform(&rng) < 1 / (1 + exp(-z));
    }
    assert_ok(prle_logistic_fit(weight, x, label, N, K, 0.7));
    for (int i = 0; i < N; i++) {
        double z = weight[K];
        for (int j = 0; j < K; j++)
            z += weight[j] * x[i * K + j];
        for (int j = 0; j <= K; j++)
            gradient[j] += (1 / (1 + exp(-z)) - label[i]) * (j < K ? x[i * K + j] : 1);
    }
    for (int j = 0; j <= K; j++) {
        assert_true(fabs(gradient[j] + (j < K ? 0.7 * weight[j] : 0)) <= 1e-6);
        assert_true(fabs(weight[j] - truth[j]) <= 0.6);
    }
}

/* Classes that a line parts completely, and features that repeat each other: the ridge keeps an answer. */
static void test_logistic_hard(void **state)
{
    (void)state;
    const double x[8] = {-2, -2, -1, -1, 1, 1, 2, 2};
    const uint8_t label[4] = {0, 0, 1, 1}, one_class[4] = {1, 1, 1, 1};
    double weight[3];

    assert_ok(prle_logistic_fit(weight, x, label, 4, 2, 1));
    assert_true(weight[0] > 0 && fabs(weight[0] - weight[1]) <= 1e-9 && isfinite(weight[2]));
    assert_fails(prle_logistic_fit(weight, x, one_class, 4, 2, 1), PRLE_EINVAL, "one class");
}

static void test_bad_roots(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    const char strange[] = "path,identity\ntrain/odd/v/0000.jpg,a\n", few[] = "path,identity\ntrain/real/v/0000.jpg,a\n";
    prle_forge_quality quality;
    char root[64] = "/tmp/prle_quality_XXXXXX", path[96];

    assert_non_null(mkdtemp(root));
    snprintf(path, sizeof path, "%s/landmarks.csv", root);
    assert_fails(prle_forge_quality_measure(&quality, root), PRLE_EIO, "landmarks.csv");
    assert_ok(prle_file_write_atomic(path, strange, sizeof strange - 1));
    assert_fails(prle_forge_quality_measure(&quality, root), PRLE_EFORMAT,
                 "landmarks.csv:2: \"train/odd/v/0000.jpg\" is neither");
    assert_ok(prle_file_write_atomic(path, few, sizeof few - 1));
    assert_fails(prle_forge_quality_measure(&quality, root), PRLE_EFORMAT, "1 identities: 5 at least");
    assert_ok(prle_folder_remove(root));
    assert_int_equal(prle_alloc_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_features),
        cmocka_unit_test(test_logistic),
        cmocka_unit_test(test_logistic_hard),
        cmocka_unit_test(test_bad_roots),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
