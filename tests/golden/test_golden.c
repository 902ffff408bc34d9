/* test_golden.c - the formula equals weights.py bit for bit; the comparator tells wrong tensors from right ones. */
#include <math.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/rng.h"
#include "tests/check.h"
#include "tests/golden/golden.h"

static prle_golden *ops;

static int setup(void **state)
{
    (void)state;
    return prle_golden_load(&ops, "tests/golden/ops.txt") == PRLE_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    prle_golden_destroy(ops);
    return 0;
}

static const prle_golden_tensor *recorded(const char *name)
{
    const prle_golden_tensor *t = prle_golden_find(ops, "formula", name);

    assert_non_null(t);
    return t;
}

/* y.weight [32,16,3,3], of which only the summary and four values are recorded. */
static const prle_golden_tensor *large(double **values)
{
    const prle_golden_tensor *t = recorded("y.weight");

    assert_int_equal(t->n_first, 4);
    assert_ok(PRLE_NEW(*values, prle_shape_count(&t->shape)));
    prle_golden_fill(*values, PRLE_F64, t->name, &t->shape);
    return t;
}

static void test_same_bits(void **state)
{
    (void)state;
    static const char *const names[] = {"t.weight", "u.weight", "v.bias", "w.running_mean", "x.running_var", "input"};
    double values[60];
    float single[60];

    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        const prle_golden_tensor *t = recorded(names[k]);
        const int64_t n = prle_shape_count(&t->shape);
        assert_int_equal(t->n_first, n);
        prle_golden_fill(values, PRLE_F64, t->name, &t->shape);
        prle_golden_fill(single, PRLE_F32, t->name, &t->shape);
        assert_memory_equal(values, t->first, (size_t)n * sizeof *values);
        assert_true(prle_golden_error(t, &t->shape, values, PRLE_F64) == 0);
        for (int64_t i = 0; i < n; i++)
            assert_true(single[i] == (float)values[i]);
    }
}

static void test_right_tensor(void **state)
{
    (void)state;
    double *values = NULL;
    float *single = NULL;
    const prle_golden_tensor *t = large(&values);

    assert_true(prle_golden_error(t, &t->shape, values, PRLE_F64) < 1e-14);
    assert_ok(prle_golden_check(t, &t->shape, values, PRLE_F64, 1e-14));
    assert_ok(PRLE_NEW(single, prle_shape_count(&t->shape)));
    prle_golden_fill(single, PRLE_F32, t->name, &t->shape);
    const double rounding = prle_golden_error(t, &t->shape, single, PRLE_F32);
    assert_true(rounding > 1e-9 && rounding < 1e-5);
    prle_free(single);
    prle_free(values);
}

/* Each wrong tensor is far above 1e-8, or NaN. */
static void test_wrong_tensors(void **state)
{
    (void)state;
    double *values = NULL, *wrong = NULL;
    const prle_golden_tensor *t = large(&values);
    const int64_t n = prle_shape_count(&t->shape);

    assert_ok(PRLE_NEW(wrong, n));
#define assert_wrong(expression)                                                                                                 \
    do {                                                                                                                         \
        for (int64_t i = 0; i < n; i++)                                                                                          \
            wrong[i] = (expression);                                                                                             \
        assert_true(prle_golden_error(t, &t->shape, wrong, PRLE_F64) > 1e-8);                                                    \
        assert_fails(prle_golden_check(t, &t->shape, wrong, PRLE_F64, 1e-8), PRLE_ENUMERIC, "formula y.weight");                 \
    } while (0)
    assert_wrong(-values[i]);
    assert_wrong(0.0);
    assert_wrong(values[(i + 1) % n]);
    assert_wrong(values[(i % 9) * 512 + i / 9]);                       /* transposed, [9,512] read as [512,9] */
    assert_wrong(values[i / 9 * 9 + i % 3 * 3 + i % 9 / 3]);           /* each kernel transposed */
    assert_wrong(values[i] * (1 + 2e-8));                              /* scaled a little */
    assert_wrong(i < n - 1 ? values[i] : -values[i]);                  /* one element of 4,608 */
    assert_wrong(i == 777 ? values[i] + 1e-6 * t->max : values[i]);    /* by little */
    assert_wrong(i == 8 ? values[9] : i == 9 ? values[8] : values[i]); /* two exchanged */
    assert_wrong(values[i] + (i % 2 ? 1e-6 : -1e-6) * t->max);         /* changes that cancel in the sum */
    prle_free(wrong);

    const double bad[] = {(double)NAN, HUGE_VAL, -HUGE_VAL};
    for (int k = 0; k < 3; k++) {
        const double kept = values[n - 1];
        values[n - 1] = bad[k];
        assert_true(isnan(prle_golden_error(t, &t->shape, values, PRLE_F64)));
        assert_fails(prle_golden_check(t, &t->shape, values, PRLE_F64, HUGE_VAL), PRLE_ENUMERIC, "not finite");
        values[n - 1] = kept;
    }
    const prle_shape transposed = PRLE_SHAPE(16, 32, 3, 3), empty = PRLE_SHAPE(0, 16, 3, 3), flat = PRLE_SHAPE(32 * 16 * 9);
    assert_true(isnan(prle_golden_error(t, &transposed, values, PRLE_F64)));
    assert_true(isnan(prle_golden_error(t, &flat, values, PRLE_F64)));
    assert_true(isnan(prle_golden_error(t, &empty, NULL, PRLE_F64)));
    assert_fails(prle_golden_check(t, &empty, NULL, PRLE_F64, 1), PRLE_ENUMERIC, "shape [0,16,3,3], recorded [32,16,3,3]");
    prle_free(values);
}

/* In a tensor recorded whole, the error is max|a - b| / max|b| itself. */
static void test_exact_error(void **state)
{
    (void)state;
    double values[60];
    const prle_golden_tensor *t = recorded("t.weight");

    prle_golden_fill(values, PRLE_F64, t->name, &t->shape);
    values[59] += 0.25;
    assert_true(fabs(prle_golden_error(t, &t->shape, values, PRLE_F64) - 0.25 / t->max) < 1e-15);
}

/* The estimate against the true max|d| for changes of one element and of all: not under a tenth, not much above the L2 norm. */
static void test_estimate_is_sound(void **state)
{
    (void)state;
    double *values = NULL, *wrong = NULL;
    const prle_golden_tensor *t = large(&values);
    const int64_t n = prle_shape_count(&t->shape);
    prle_rng rng = prle_rng_make(4, 0, 0, PRLE_RNG_TEST);
    int n_low = 0;

    assert_ok(PRLE_NEW(wrong, n));
    for (int round = 0; round < 400; round++) {
        double square = 0, max = 0;
        const uint32_t only = prle_rng_below(&rng, (uint32_t)n);
        for (int64_t i = 0; i < n; i++) {
            const double d = round % 2 == 0 && i != only ? 0 : 1e-3 * prle_rng_normal(&rng);
            wrong[i] = values[i] + d;
            square += d * d;
            max = fmax(max, fabs(d));
        }
        const double estimate = prle_golden_error(t, &t->shape, wrong, PRLE_F64) * t->scale;
        n_low += estimate < max / 10;
        assert_true(estimate < 5 * sqrt(square));
    }
    assert_true(n_low <= 2);
    prle_free(wrong);
    prle_free(values);
}

/* --- reading -------------------------------------------------------------------------------------------------------------- */

static char path[64];

static void write_file(const char *text)
{
    snprintf(path, sizeof path, "/tmp/test_golden_%d.txt", (int)getpid());
    assert_ok(prle_file_write_atomic(path, text, strlen(text)));
}

static void test_scale(void **state)
{
    (void)state;
    prle_golden *golden = NULL;
    const double noise[2] = {0, 1e-9}, zero[2] = {0};
    const prle_shape two = PRLE_SHAPE(2), scalar = {0};

    write_file("prle.golden 1\n"
               "a grad/x 2 5 4 1 1 1 3 4\n"
               "a grad/y 2 1e-9 1e-9 0 0 0 1e-9 0\n" /* a true zero: measured against grad/x */
               "a gradient/z 2 1e-9 1e-9 0 0 0 1e-9 0\n"
               "b grad/y 2 1e-9 1e-9 0 0 0 1e-9 0\n"
               "b zero/y 2 0 0 0 0 0 0 0\n"
               "b loss scalar 0.5 0.5 0 0 0 0.5\n");
    assert_ok(prle_golden_load(&golden, path));
    assert_int_equal(golden->n, 6);
    assert_true(prle_golden_find(golden, "a", "grad/x")->scale == 4);
    assert_true(prle_golden_find(golden, "a", "grad/y")->scale == 4);
    assert_true(prle_golden_find(golden, "a", "gradient/z")->scale == 1e-9);
    assert_true(prle_golden_find(golden, "b", "grad/y")->scale == 1e-9);
    assert_true(prle_golden_error(&golden->tensor[1], &two, noise, PRLE_F64) == 1e-9 / 4);
    assert_true(prle_golden_error(&golden->tensor[2], &two, noise, PRLE_F64) == 1);
    assert_true(isnan(prle_golden_error(&golden->tensor[4], &two, zero, PRLE_F64)));
    assert_fails(prle_golden_check(&golden->tensor[4], &two, zero, PRLE_F64, 1), PRLE_ENUMERIC, "mistrusted");
    const double half = 0.5;
    assert_true(prle_golden_error(&golden->tensor[5], &scalar, &half, PRLE_F64) == 0);
    assert_null(prle_golden_find(golden, "b", "grad/x"));
    prle_golden_destroy(golden);
    unlink(path);
}

static void test_bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "not a golden file"},
        {"prle.golden 2\na x 2 1 1 0 0 0 1\n", "not a golden file"},
        {"prle.golden 1\na x 2 1 1 0 0 0 1", ":2: cut short"},
        {"prle.golden 1\na x 2 1 1 0 0 0 1\na\n", ":3: set or name"},
        {"prle.golden 1\na x 2 1 1 0 0 0 1\n\n", ":3: set or name"},
        {"prle.golden 1\nthis-set-has-a-very-long-name x 2 1 1 0 0 0 1\n", ":2: set or name"},
        {"prle.golden 1\na x 2y 1 1 0 0 0 1\n", ":2: not a shape"},
        {"prle.golden 1\na x 2x 1 1 0 0 0 1\n", ":2: not a shape"},
        {"prle.golden 1\na x 0 1 1 0 0 0 1\n", ":2: not a shape"},
        {"prle.golden 1\na x 1x1x1x1x1 1 1 0 0 0 1\n", ":2: not a shape"},
        {"prle.golden 1\na x 99999999999999999999 1 1 0 0 0 1\n", ":2: not a shape"},
        {"prle.golden 1\na x 2 1\n", ":2: norm or max"},
        {"prle.golden 1\na x 2 nan 1 0 0 0 1\n", ":2: norm or max"},
        {"prle.golden 1\na x 2 1 1 0 0\n", ":2: a probe"},
        {"prle.golden 1\na x 2 1 1 0 0 0 1 1.2.3\n", ":2: a value"},
        {"prle.golden 1\na x 2 1 1 0 0 0 1  1\n", ":2: a value"},
        {"prle.golden 1\na x 2 1 1 0 0 0\n", ":2: number of values"},
        {"prle.golden 1\na x 2 1 1 0 0 0 1 1 1\n", ":2: number of values"},
    };
    prle_golden *golden = NULL;
    const int64_t live = prle_alloc_live();

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file(bad[i].text);
        assert_fails(prle_golden_load(&golden, path), PRLE_EFORMAT, bad[i].message);
        assert_null(golden);
    }
    unlink(path);
    assert_fails(prle_golden_load(&golden, path), PRLE_EIO, path);
    for (int nth = 1; nth <= 4; nth++) {
        prle_alloc_fail_at(nth);
        assert_fails(prle_golden_load(&golden, "tests/golden/ops.txt"), PRLE_ENOMEM, "");
    }
    prle_alloc_fail_at(0);
    assert_int_equal(prle_alloc_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),   cmocka_unit_test(test_right_tensor),      cmocka_unit_test(test_wrong_tensors),
        cmocka_unit_test(test_exact_error), cmocka_unit_test(test_estimate_is_sound), cmocka_unit_test(test_scale),
        cmocka_unit_test(test_bad_files),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
