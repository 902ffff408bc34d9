/* test_attention.c - normalise, resize, quantise: against PyTorch's figures and an exact integer reading. */
#include <math.h>

#include "core/alloc.h"
#include "core/attention.h"
#include "core/rng.h"
#include "tests/check.h"

enum { MAX_SOURCE = 256, MAX_TARGET = 65536 };

static void test_normalise(void **state)
{
    (void)state;
    double map[] = {-3, 1, 5, 0, -1, 3}, constant[] = {2.5, 2.5, 2.5, 2.5}, one = 7;
    double wide[] = {-1.7e308, 0, 1.7e308};
    const double want[] = {0, 0.5, 1, 0.375, 0.25, 0.75};

    assert_ok(prle_attention_normalise(map, 2, 3));
    assert_memory_equal(map, want, sizeof map);
    assert_ok(prle_attention_normalise(constant, 2, 2));
    for (int i = 0; i < 4; i++)
        assert_true(constant[i] == 0 && !signbit(constant[i]));
    assert_ok(prle_attention_normalise(&one, 1, 1));
    assert_true(one == 0);
    assert_ok(prle_attention_normalise(wide, 1, 3)); /* the range does not fit a double */
    assert_true(wide[0] == 0 && wide[1] == 0.5 && wide[2] == 1);
}

/*
 * v[i] = ((37 i + 11) mod 64) / 64 through torch 1.13 interpolate(mode="bilinear", align_corners=False) in float64:
 * three values, sum_i out[i] ((i^2 + 3) mod 17), and sum_i rint(32768 out[i]).
 */
static const struct {
    int64_t h, w, H, W;
    double value[3], projection;
    int64_t q_sum;
} torch_cases[] = {
    {8, 8, 256, 256, {0.171875, 0.369140625, 0.324462890625}, 225790.25219726562, 1056964608},
    {16, 16, 256, 256, {0.171875, 0.5234375, 0.42626953125}, 225777.671875, 1056964608},
    {7, 5, 13, 31, {0.171875, 0, 0.54198976426799017}, 1366.4914314516127, 6406590},
    {16, 12, 10, 9, {0.24947916666666664, 0.58281249999999996, 0.27447916666666627}, 303.10052083333335, 1458278},
    {1, 1, 3, 4, {0.171875, 0.171875, 0.171875}, 14.265625, 67584},
    {1, 6, 5, 11, {0.171875, 0.6171875, 0.57741477272727271}, 159.78764204545459, 814435},
    {9, 4, 256, 100, {0.171875, 0.4273681640625, 0.56246582031249992}, 86648.819438476567, 405598400},
};

static void test_resize_equals_torch(void **state)
{
    (void)state;
    double map[MAX_SOURCE], *out = NULL;
    float single[MAX_SOURCE];
    uint16_t *q = NULL;

    assert_ok(PRLE_NEW(out, MAX_TARGET));
    assert_ok(PRLE_NEW(q, MAX_TARGET));
    for (size_t c = 0; c < sizeof torch_cases / sizeof *torch_cases; c++) {
        const int64_t h = torch_cases[c].h, w = torch_cases[c].w, H = torch_cases[c].H, W = torch_cases[c].W, n = H * W;
        double projection = 0;
        int64_t q_sum = 0;

        for (int64_t i = 0; i < h * w; i++)
            map[i] = (double)(single[i] = (float)((i * 37 + 11) % 64) / 64.0f);
        assert_ok(prle_attention_resize(map, h, w, H, W, out));
        assert_ok(prle_attention_quantise(single, h, w, H, W, q));
        for (int64_t i = 0; i < n; i++) {
            projection += out[i] * (double)((i * i + 3) % 17);
            q_sum += q[i];
        }
        assert_true(fabs(out[0] - torch_cases[c].value[0]) <= 1e-15);
        assert_true(fabs(out[n / 2] - torch_cases[c].value[1]) <= 1e-15);
        assert_true(fabs(out[n * 2 / 3] - torch_cases[c].value[2]) <= 1e-15);
        assert_true(fabs(projection - torch_cases[c].projection) <= 1e-12 * torch_cases[c].projection);
        assert_int_equal(q_sum, torch_cases[c].q_sum);
    }
    prle_free(out);
    prle_free(q);
}

/* The exact value of one output pixel for a map of 1/2^11 steps, rounded half to even in integers. */
static int64_t exact_q(const int64_t *map, int64_t h, int64_t w, int64_t H, int64_t W, int64_t y, int64_t x)
{
    const int64_t py = (2 * y + 1) * h - H > 0 ? (2 * y + 1) * h - H : 0, px = (2 * x + 1) * w - W > 0 ? (2 * x + 1) * w - W : 0;
    const int64_t y0 = py / (2 * H), x0 = px / (2 * W), b = py % (2 * H), a = px % (2 * W);
    const int64_t y1 = y0 + 1 < h ? y0 + 1 : y0, x1 = x0 + 1 < w ? x0 + 1 : x0;
    const int64_t top = (2 * W - a) * map[y0 * w + x0] + a * map[y0 * w + x1];
    const int64_t bottom = (2 * W - a) * map[y1 * w + x0] + a * map[y1 * w + x1];
    const int64_t numerator = 16 * ((2 * H - b) * top + b * bottom), whole = 4 * H * W; /* 32768 / 2^11 = 16 */
    const int64_t low = numerator / whole, twice = 2 * (numerator % whole);

    return low + (twice > whole || (twice == whole && low % 2 == 1));
}

static void test_quantise_is_exact(void **state)
{
    (void)state;
    static const int64_t sizes[][4] = {{8, 8, 256, 256}, {3, 7, 31, 13}, {16, 16, 128, 128}, {8, 8, 8, 8}, {16, 16, 5, 3}};
    prle_rng rng = prle_rng_make(5, 0, 0, PRLE_RNG_TEST);
    int64_t exact[MAX_SOURCE];
    float map[MAX_SOURCE];
    uint16_t *q = NULL;

    assert_ok(PRLE_NEW(q, MAX_TARGET));
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const int64_t h = sizes[s][0], w = sizes[s][1], H = sizes[s][2], W = sizes[s][3];
        for (int64_t i = 0; i < h * w; i++) {
            exact[i] = prle_rng_below(&rng, 2049);
            map[i] = (float)exact[i] / 2048.0f;
        }
        assert_ok(prle_attention_quantise(map, h, w, H, W, q));
        for (int64_t i = 0; i < H * W; i++)
            assert_int_equal(q[i], exact_q(exact, h, w, H, W, i / W, i % W));
    }
    prle_free(q);
}

static void test_bad_values(void **state)
{
    (void)state;
    double map[6] = {0, 0.5, 1, 0.25, (double)NAN, 0.75}, kept[6], out[4];
    float single[6] = {0.0f, 0.5f, 1.0f, 0.25f, NAN, 0.75f};
    uint16_t q[4];

    memcpy(kept, map, sizeof map);
    assert_fails(prle_attention_normalise(map, 2, 3), PRLE_ENUMERIC, "row 1, column 1");
    assert_memory_equal(map, kept, sizeof map);
    assert_fails(prle_attention_resize(map, 2, 3, 2, 2, out), PRLE_ENUMERIC, "row 1, column 1");
    assert_fails(prle_attention_quantise(single, 2, 3, 2, 2, q), PRLE_ENUMERIC, "row 1, column 1");
    map[4] = 0;
    single[4] = 0;
    map[2] = -(double)INFINITY;
    assert_fails(prle_attention_normalise(map, 2, 3), PRLE_ENUMERIC, "row 0, column 2");
    single[2] = 1.5f;
    assert_fails(prle_attention_quantise(single, 2, 3, 2, 2, q), PRLE_EINVAL, "outside [0,1]");
    single[2] = 1.0f;
    assert_fails(prle_attention_quantise(single, 2, 3, 0, 2, q), PRLE_ESHAPE, "0 x 2");
    assert_fails(prle_attention_normalise(map, 0, 3), PRLE_ESHAPE, "0 x 3");
}

/* Every allocation fails once; nothing leaks. */
static void test_allocations(void **state)
{
    (void)state;
    const float map[4] = {0.0f, 1.0f, 0.5f, 0.25f};
    uint16_t q[9];
    const int64_t live = prle_alloc_live();
    int64_t nth = 0;
    prle_status st;

    do {
        prle_alloc_fail_at(++nth);
        st = prle_attention_quantise(map, 2, 2, 3, 3, q);
        prle_alloc_fail_at(0);
        assert_true(st == PRLE_OK || st == PRLE_ENOMEM);
        assert_int_equal(prle_alloc_live(), live);
    } while (st != PRLE_OK && nth < 100);
    assert_in_range(nth, 2, 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normalise),  cmocka_unit_test(test_resize_equals_torch), cmocka_unit_test(test_quantise_is_exact),
        cmocka_unit_test(test_bad_values), cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
