/* test_principal.c - the first principal component: against layers made from known components, of any shape, gap and sign. */
#include <math.h>

#include "cam/principal.h"
#include "core/alloc.h"
#include "tests/check.h"

enum { MAX_SIDE = 64 };

/* Orthonormal functions with mean zero: w_j[i] = sqrt(2/n) cos(pi j (2 i + 1) / 2 n), j >= 1 (the DCT-II). */
static double wave(int64_t j, int64_t i, int64_t n)
{
    return sqrt(2.0 / (double)n) * cos(acos(-1) * (double)j * (double)(2 * i + 1) / (double)(2 * n));
}

/* H[k,p] = offset_k + sum_r s_r u_r[p] v_r[k]: u_r and v_r waves 1 + r over pixels and channels, s_0 = 1, s_1 = second, falling
 * on. */
static void layer_make(double *values, int64_t channels, int64_t pixels, double second)
{
    const int64_t rank = (channels < pixels ? channels : pixels) - 1 < 4 ? (channels < pixels ? channels : pixels) - 1 : 4;

    for (int64_t k = 0; k < channels; k++)
        for (int64_t p = 0; p < pixels; p++) {
            double sum = (double)(k % 5);
            for (int64_t r = 0; r < rank; r++)
                sum += (r == 0 ? 1 : second * pow(0.9, (double)(r - 1))) * wave(r + 1, p, pixels) * wave(r + 1, k, channels);
            values[k * pixels + p] = sum;
        }
}

static double *map_of(const double *values, int64_t channels, int64_t pixels)
{
    double *map = NULL, *scratch = NULL;

    assert_ok(PRLE_NEW(map, pixels));
    assert_ok(PRLE_NEW(scratch, prle_principal_scratch(channels, pixels)));
    prle_principal_map(map, values, channels, pixels, scratch);
    prle_free(scratch);
    return map;
}

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* The distance of map from the line of wave 1, of unit vectors. */
static double distance(const double *map, int64_t pixels)
{
    const double norm = sqrt(dot(map, map, pixels));
    double sum = 0, square = 0;

    for (int64_t p = 0; p < pixels; p++)
        sum += map[p] / norm * wave(1, p, pixels);
    for (int64_t p = 0; p < pixels; p++) {
        const double d = map[p] / norm - (sum < 0 ? -1 : 1) * wave(1, p, pixels);
        square += d * d;
    }
    return sqrt(square);
}

static void test_direction(void **state)
{
    (void)state;
    static const struct {
        int64_t channels, pixels;
        double second, tolerance; /* eigenvalues 1 and second^2 */
    } cases[] = {{8, 4, 0.5, 1e-13},        {4, 8, 0.5, 1e-13},     {64, 49, 0.9, 1e-13},
                 {3, 64, 0.99, 1e-12},      {33, 33, 0.999, 1e-11}, {64, 16, 0.99999, 1e-9},
                 {16, 64, 0.9999999, 1e-7}, {2, 2, 0, 1e-13},       {5, 2, 0, 1e-13}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double values[MAX_SIDE * MAX_SIDE];
        layer_make(values, cases[i].channels, cases[i].pixels, cases[i].second);
        double *map = map_of(values, cases[i].channels, cases[i].pixels);
        const double d = distance(map, cases[i].pixels);
        const bool ok = d <= cases[i].tolerance;
        if (!ok)
            fail_msg("%d x %d, second %g: off by %g", (int)cases[i].channels, (int)cases[i].pixels, cases[i].second, d);
        prle_free(map);
    }
}

/* H = offset + a map times one factor a channel: the map itself comes back, high where the layer is more active, whatever the
 * balance of the factors' signs; a channel's offset does not matter. */
static void test_sign(void **state)
{
    (void)state;
    enum { C = 6, P = 9 };
    static const double shape[P] = {0, 1, 2, 0, 5, 3, 0, 1, 0}, factors[2][C] = {{1, 2, 3, 1, -1, 1}, {-1, -2, 1, -3, 1, 0}};

    for (int f = 0; f < 2; f++) {
        double values[C * P], activity = 0;
        for (int i = 0; i < C * P; i++)
            values[i] = 10 * (i / P) + factors[f][i / P] * shape[i % P];
        for (int k = 0; k < C; k++)
            activity += factors[f][k];
        double *map = map_of(values, C, P);
        for (int p = 0; p < P; p++) {
            const double centred = shape[p] - 12.0 / P, largest = shape[4] - 12.0 / P;
            assert_true(fabs(map[p] / fabs(map[4]) - (activity > 0 ? 1 : -1) * centred / largest) <= 1e-12);
        }
        prle_free(map);
    }
}

/* Channels that cancel, and extremes of one size: the first of them is positive. */
static void test_no_sign_of_its_own(void **state)
{
    (void)state;
    const double values[2 * 4] = {1, -1, 1, -1, -1, 1, -1, 1};
    double *map = map_of(values, 2, 4);

    assert_true(map[0] > 0 && map[1] < 0 && fabs(map[0] + map[1]) <= 1e-14 && fabs(map[0] - map[2]) <= 1e-14);
    prle_free(map);
}

static void test_nothing_there(void **state)
{
    (void)state;
    double values[5 * 7];

    for (int i = 0; i < 5 * 7; i++)
        values[i] = 0.1 * (i / 7); /* constant over the pixels, with means that are rounded */
    double *map = map_of(values, 5, 7);
    for (int p = 0; p < 7; p++)
        assert_true(map[p] == 0);
    prle_free(map);
    map = map_of(values, 5, 1); /* a single pixel */
    assert_true(map[0] == 0);
    prle_free(map);
    values[11] = (double)NAN;
    map = map_of(values, 5, 7);
    assert_true(isnan(map[0]));
    prle_free(map);
    values[11] = (double)INFINITY;
    map = map_of(values, 5, 7);
    assert_true(isnan(map[0]));
    prle_free(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_direction), cmocka_unit_test(test_sign),
                                       cmocka_unit_test(test_no_sign_of_its_own), cmocka_unit_test(test_nothing_there)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
