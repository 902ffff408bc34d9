/* test_schedule.c - learning rates: warm-up, then constant, cosine or steps. */
#include <math.h>

#include "jobs/train/schedule.h"
#include "tests/check.h"

static void rate_is(const prle_schedule *s, int64_t step, int64_t epoch, double want)
{
    const double got = prle_schedule_lr(s, step, 100, epoch), diff = fabs(got - want);
    const bool ok = diff <= 1e-15;

    if (!ok)
        fail_msg("step %d of epoch %d: rate %.17g, expected %.17g", (int)step, (int)epoch, got, want);
}

static void test_constant(void **state)
{
    (void)state;
    const prle_schedule s = {.kind = PRLE_SCHEDULE_CONSTANT, .lr = 0.02};

    rate_is(&s, 0, 0, 0.02);
    rate_is(&s, 99, 7, 0.02);
}

/* A straight line that meets the rate at the end of the warm-up, whatever comes after it. */
static void test_warm_up(void **state)
{
    (void)state;
    for (int kind = PRLE_SCHEDULE_CONSTANT; prle_schedule_words[kind] != NULL; kind++) {
        const prle_schedule s = {
            .kind = (prle_schedule_kind)kind, .lr = 0.02, .warmup_steps = 4, .step_epochs = 1, .step_factor = 0.5};
        rate_is(&s, 0, 0, 0.005);
        rate_is(&s, 2, 0, 0.015);
        rate_is(&s, 3, 0, 0.02);
        rate_is(&s, 4, 0, 0.02);
    }
}

/* Half a cosine over the 80 steps after the warm-up: halfway at their middle, not quite 0 at the last. */
static void test_cosine(void **state)
{
    (void)state;
    const prle_schedule s = {.kind = PRLE_SCHEDULE_COSINE, .lr = 0.02, .warmup_steps = 20};

    rate_is(&s, 20, 0, 0.02);
    rate_is(&s, 40, 0, 0.01 * (1 + sqrt(0.5)));
    rate_is(&s, 60, 0, 0.01);
    rate_is(&s, 100, 0, 0);
    assert_true(prle_schedule_lr(&s, 99, 100, 0) > 0);
}

static void test_steps(void **state)
{
    (void)state;
    const prle_schedule s = {.kind = PRLE_SCHEDULE_STEP, .lr = 0.02, .step_epochs = 3, .step_factor = 0.1};

    rate_is(&s, 0, 0, 0.02);
    rate_is(&s, 50, 2, 0.02);
    rate_is(&s, 51, 3, 0.002);
    rate_is(&s, 99, 8, 0.0002);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_constant), cmocka_unit_test(test_warm_up),
                                       cmocka_unit_test(test_cosine), cmocka_unit_test(test_steps)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
