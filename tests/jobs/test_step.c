/* test_step.c - what weights do to a step's loss: those of classes and of images multiply, and the images of all ranks divide. */
#include <math.h>

#include "tests/jobs/step_fixture.h"

/* Cross-entropy of one image's two logits. */
static double entropy(const float *logits, uint8_t label)
{
    const double margin = (double)logits[1 - label] - (double)logits[label];

    return margin > 0 ? margin + log1p(exp(-margin)) : log1p(exp(margin));
}

static void loss_is_weighted(const double class_weight[2], const double image_weight[STEP_MAX_BATCH], int64_t n_global)
{
    step_fixture f = {.batch = 4, .pixels = 64};
    prle_train_step_result result[PRLE_TRAIN_MAX_PENDING];
    const uint64_t samples[] = {1, 2, 3, 4};
    prle_rng rng = prle_rng_make(3, 0, 0, PRLE_RNG_TEST);
    double want = 0;
    int n = 0;

    step_begin(&f, "meso4", prle_device_cpu(), prle_comm_self(), prle_comm_self());
    memcpy(f.step.class_weight, class_weight, sizeof f.step.class_weight);
    for (int64_t k = 0; k < f.batch * 3 * f.pixels * f.pixels; k++)
        f.images[k] = (uint8_t)prle_rng_range(&rng, 0, 256);
    const prle_batch batch = {.n = f.batch,
                              .images = f.images,
                              .labels = step_labels,
                              .weights = image_weight,
                              .samples = samples,
                              .masked = step_masked};
    assert_ok(prle_train_step_run(&f.step, f.plan, f.batch, &batch, n_global, 0, 1e-3));
    assert_ok(prle_train_step_results(&f.step, result, &n));
    assert_int_equal(n, 1);
    assert_int_equal(result[0].n_masked, 1);
    const float *logits = prle_plan_output(f.plan);
    for (int64_t i = 0; i < f.batch; i++)
        want += class_weight[step_labels[i]] * image_weight[i] * entropy(logits + 2 * i, step_labels[i]) / (double)n_global;
    const bool ok = fabs(result[0].loss - want) <= 1e-6 * want; /* logits are floats */
    if (!ok)
        fail_msg("loss %.9g, expected %.9g", result[0].loss, want);
    step_end(&f);
}

/* Not by the sum of the weights: a share of a step must weigh the same on every rank. */
static void test_weights(void **state)
{
    (void)state;
    const double other[STEP_MAX_BATCH] = {0.25, 1, 2, 1};

    loss_is_weighted((double[]){1, 1}, step_ones, 4);
    loss_is_weighted((double[]){0.6, 3}, step_ones, 4);
    loss_is_weighted((double[]){0.6, 3}, other, 4);
    loss_is_weighted((double[]){1, 1}, other, 10); /* the other six are on other ranks */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_weights)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
