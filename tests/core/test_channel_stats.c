/* test_channel_stats.c - mean and variance by channel against sums in double, in every layout. */
#include <math.h>

#include "core/alloc.h"
#include "core/op/channel_stats.h"
#include "core/rng.h"
#include "tests/check.h"

static const float *pixel(const float *x, const prle_channels *z, int64_t b, int64_t c, int64_t p)
{
    return &x[b * z->batch + c / z->block * z->slice + p * z->block + c % z->block];
}

/* Values of size 1 around `offset`. Tolerances: the mean to the rounding of a run of 64 sums, the variance likewise about its own
 * mean, so that the offset costs only what the values themselves lost by being rounded. */
static void check(int64_t B, int64_t C, int64_t plane, int64_t block, double offset)
{
    const int64_t n_blocks = (C + block - 1) / block, slice = plane * block + 3; /* gaps between planes */
    const prle_channels z = {.B = B, .C = C, .plane = plane, .block = block, .slice = slice, .batch = n_blocks * slice + 5};
    const double n = (double)(B * plane);
    prle_rng rng = prle_rng_make(1, 0, (uint64_t)(C * plane), PRLE_RNG_TEST);
    float *x = NULL;
    double *mean = NULL, *var = NULL, *scratch = NULL;

    assert_ok(PRLE_NEW(x, B * z.batch));
    assert_ok(PRLE_NEW(mean, C));
    assert_ok(PRLE_NEW(var, C));
    assert_ok(PRLE_NEW(scratch, prle_channel_stats_scratch(&z)));
    for (int64_t i = 0; i < B * z.batch; i++) /* filled up lanes and gaps too: they must not count */
        x[i] = (float)(offset + prle_rng_normal(&rng));
    prle_channel_stats(mean, var, x, PRLE_F32, &z, scratch);
    for (int64_t c = 0; c < C; c++) {
        double exact_mean = 0, exact_var = 0;
        for (int64_t b = 0; b < B; b++)
            for (int64_t p = 0; p < plane; p++)
                exact_mean += (double)*pixel(x, &z, b, c, p) / n;
        for (int64_t b = 0; b < B; b++)
            for (int64_t p = 0; p < plane; p++)
                exact_var += pow((double)*pixel(x, &z, b, c, p) - exact_mean, 2) / n;
        const double mean_error = fabs(mean[c] - exact_mean), var_error = fabs(var[c] - exact_var);
        const bool ok = mean_error <= 1e-6 * (1 + fabs(offset)) && var_error <= 1e-6 * (1 + fabs(offset)) * (exact_var + 1e-12);
        if (!ok)
            fail_msg("[%d,%d,%d] block %d offset %g channel %d: mean %.12g, exact %.12g; var %.12g, exact %.12g", (int)B, (int)C,
                     (int)plane, (int)block, offset, (int)c, mean[c], exact_mean, var[c], exact_var);
    }
    prle_free(scratch);
    prle_free(var);
    prle_free(mean);
    prle_free(x);
}

static void test_layouts(void **state)
{
    (void)state;
    static const int64_t blocks[] = {1, 2, 8, 16};

    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        check(1, 1, 1, blocks[i], 0);
        check(3, 13, 1, blocks[i], 0);
        check(2, 16, 15, blocks[i], 1);
        check(2, 7, 16, blocks[i], 0);
        check(3, 19, 49, blocks[i], -2);
        check(2, 3, 1025, blocks[i], 0); /* one more than a run */
        check(1, 9, 2111, blocks[i], 1);
    }
}

/* What sums in f32 get wrong: many values, and a mean far from zero. */
static void test_many_values(void **state)
{
    (void)state;
    check(4, 8, 256 * 256, 8, 0.5);
    check(4, 2, 256 * 256, 1, 0.5);
    check(2, 8, 64 * 64, 8, 100);
}

static void test_constant(void **state)
{
    (void)state;
    const prle_channels z = {.B = 2, .C = 8, .plane = 1000, .block = 8, .slice = 8000, .batch = 8000};
    float *x = NULL;
    double mean[8], var[8], *scratch = NULL;

    assert_ok(PRLE_NEW(x, 16000));
    assert_ok(PRLE_NEW(scratch, prle_channel_stats_scratch(&z)));
    for (int i = 0; i < 16000; i++)
        x[i] = 0.5F;
    prle_channel_stats(mean, var, x, PRLE_F32, &z, scratch);
    for (int c = 0; c < 8; c++)
        assert_true(mean[c] == 0.5 && var[c] == 0);
    x[12345] = NAN;
    prle_channel_stats(mean, var, x, PRLE_F32, &z, scratch);
    assert_true(isnan(mean[12345 % 8]) && isnan(var[12345 % 8]) && mean[0] == 0.5);
    prle_free(scratch);
    prle_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_many_values),
        cmocka_unit_test(test_constant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
