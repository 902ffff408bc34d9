/* test_forge_blend.c - Lab against known colours, colour matching, alphas, pyramids. */
#include <math.h>

#include "augment/forge/blend.h"
#include "augment/forge/colour.h"
#include "core/alloc.h"
#include "core/rng.h"
#include "tests/check.h"

enum { SIDE = 45 };

static prle_canvas noise_canvas(uint64_t seed, double mean, double spread)
{
    prle_rng rng = prle_rng_make(seed, 0, 0, PRLE_RNG_TEST);
    prle_canvas canvas = {0};

    assert_ok(prle_canvas_init(&canvas, SIDE));
    for (int64_t i = 0; i < SIDE * SIDE * 3; i++)
        canvas.rgb[i] = (float)(mean + spread * prle_rng_range(&rng, -1, 1) + 10 * (double)(i % 3));
    return canvas;
}

static double max_difference(const float *a, const float *b, int64_t n)
{
    double worst = 0;

    for (int64_t i = 0; i < n; i++) {
        const double difference = fabs((double)a[i] - (double)b[i]);
        worst = difference <= worst ? worst : difference; /* NaN is kept */
    }
    return worst;
}

/* L*a*b* of the corners of sRGB (D65), as published by many tables, to two digits. */
static void test_lab_known(void **state)
{
    (void)state;
    const float known[][6] = {
        {255, 255, 255, 100.0f, 0.0f, 0.0f},   {0, 0, 0, 0, 0, 0},
        {255, 0, 0, 53.24f, 80.09f, 67.20f},   {0, 255, 0, 87.73f, -86.18f, 83.18f},
        {0, 0, 255, 32.30f, 79.19f, -107.86f}, {119, 119, 119, 50.03f, 0.0f, 0.0f},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        float lab[3];
        prle_lab_from_rgb(lab, known[i]);
        assert_true(max_difference(lab, known[i] + 3, 3) <= 0.03);
    }
}

static void test_lab_round_trip(void **state)
{
    (void)state;
    for (int r = 0; r <= 255; r += 15)
        for (int g = 0; g <= 255; g += 15)
            for (int b = 0; b <= 255; b += 15) {
                const float rgb[3] = {(float)r, (float)g, (float)b};
                float lab[3], back[3];
                prle_lab_from_rgb(lab, rgb);
                prle_lab_to_rgb(back, lab);
                assert_true(max_difference(rgb, back, 3) <= 0.05);
            }
}

static void test_colour_match(void **state)
{
    (void)state;
    prle_canvas like = noise_canvas(1, 120, 30), moved = noise_canvas(2, 150, 25), before = noise_canvas(2, 150, 25);
    float weight[SIDE * SIDE];

    for (int64_t i = 0; i < SIDE * SIDE; i++)
        weight[i] = i % SIDE < SIDE / 2 ? 1.0f : 0.0f;
    prle_colour_match(&moved, &like, weight);
    const prle_lab_stats wanted = prle_lab_stats_make(&like, weight), got = prle_lab_stats_make(&moved, weight);
    for (int c = 0; c < 3; c++) {
        assert_true(fabs(wanted.mean[c] - got.mean[c]) <= 0.1);
        assert_true(fabs(wanted.deviation[c] - got.deviation[c]) <= 0.1);
    }
    for (int64_t i = 0; i < SIDE * SIDE; i++)
        if (!(weight[i] > 0))
            assert_memory_equal(moved.rgb + 3 * i, before.rgb + 3 * i, 3 * sizeof *moved.rgb);
    memset(weight, 0, sizeof weight);
    prle_colour_match(&moved, &like, weight); /* nothing to match: nothing happens */
    assert_true(isfinite(moved.rgb[0]));
    prle_canvas_deinit(&like);
    prle_canvas_deinit(&moved);
    prle_canvas_deinit(&before);
}

static void test_alpha(void **state)
{
    (void)state;
    const prle_point square[] = {{10, 10}, {30, 10}, {30, 30}, {10, 30}}, line[] = {{1, 1}, {9, 9}};
    float alpha[SIDE * SIDE];

    assert_ok(prle_alpha_hull(alpha, SIDE, square, 4, 4));
    assert_true(alpha[20 * SIDE + 20] == 1.0f && alpha[14 * SIDE + 20] == 1.0f);
    assert_true(fabs((double)alpha[12 * SIDE + 20] - 0.5) <= 1e-6);
    assert_true(alpha[10 * SIDE + 20] == 0.0f && alpha[9 * SIDE + 20] == 0.0f && alpha[20 * SIDE + 31] == 0.0f);
    assert_ok(prle_alpha_hull(alpha, SIDE, line, 2, 4));
    for (int64_t i = 0; i < SIDE * SIDE; i++)
        assert_true(alpha[i] == 0.0f);
}

static void test_pyramid_is_lossless(void **state)
{
    (void)state;
    prle_canvas in = noise_canvas(3, 128, 100);

    for (int n_levels = 1; n_levels <= 7; n_levels++) {
        prle_pyramid p = {0};
        assert_ok(prle_pyramid_init(&p, SIDE, 3, n_levels));
        prle_pyramid_reduce(&p, in.rgb);
        prle_pyramid_split(&p);
        prle_pyramid_join(&p);
        assert_true(max_difference(p.level[0], in.rgb, SIDE * SIDE * 3) <= 1e-3);
        prle_pyramid_deinit(&p);
    }
    prle_pyramid none = {0};
    assert_fails(prle_pyramid_init(&none, SIDE, 3, 9), PRLE_EINVAL, "9 levels");
    prle_canvas_deinit(&in);
}

/* A constant picture stays itself at every size: the weights sum to one up and down. */
static void test_pyramid_of_constant(void **state)
{
    (void)state;
    prle_pyramid p = {0};
    float image[SIDE * SIDE];

    for (int64_t i = 0; i < SIDE * SIDE; i++)
        image[i] = 42;
    assert_ok(prle_pyramid_init(&p, SIDE, 1, 5));
    prle_pyramid_reduce(&p, image);
    for (int k = 0; k < 5; k++)
        for (int64_t i = 0; i < p.side[k] * p.side[k]; i++)
            assert_true(fabs((double)p.level[k][i] - 42) <= 1e-4);
    prle_pyramid_split(&p);
    for (int64_t i = 0; i < SIDE * SIDE; i++)
        assert_true(fabs((double)p.level[0][i]) <= 1e-4);
    prle_pyramid_deinit(&p);
}

static void test_bands(void **state)
{
    (void)state;
    const float all[5] = {1, 1, 1, 1, 1}, none[5] = {0, 0, 0, 0, 0}, half[5] = {0.5f, 0.5f, 0.5f, 0.5f, 0.5f};
    prle_canvas top = noise_canvas(4, 128, 100);
    prle_blender blender = {0};
    float alpha[SIDE * SIDE];

    for (int64_t i = 0; i < SIDE * SIDE; i++)
        alpha[i] = 1;
    assert_ok(prle_blender_init(&blender, SIDE, 5));
    const float *const shares[] = {all, none, half};
    for (int k = 0; k < 3; k++) {
        prle_canvas base = noise_canvas(5, 100, 90), before = noise_canvas(5, 100, 90);
        prle_blend_bands(&base, &top, alpha, shares[k], &blender);
        for (int64_t i = 0; i < SIDE * SIDE * 3; i++)
            before.rgb[i] += shares[k][0] * (top.rgb[i] - before.rgb[i]);
        assert_true(max_difference(base.rgb, before.rgb, SIDE * SIDE * 3) <= 1e-3);
        prle_canvas_deinit(&base);
        prle_canvas_deinit(&before);
    }
    prle_blender_deinit(&blender);
    prle_canvas_deinit(&top);
}

static void test_over(void **state)
{
    (void)state;
    prle_canvas base = noise_canvas(6, 100, 50), top = noise_canvas(7, 100, 50), before = noise_canvas(6, 100, 50);
    float alpha[SIDE * SIDE] = {0};

    alpha[5] = 1;
    alpha[6] = 0.25f;
    prle_blend_over(&base, &top, alpha);
    assert_memory_equal(base.rgb, before.rgb, 15 * sizeof *base.rgb);
    assert_true(max_difference(base.rgb + 15, top.rgb + 15, 3) <= 1e-4);
    assert_true(fabs((double)base.rgb[18] - 0.75 * (double)before.rgb[18] - 0.25 * (double)top.rgb[18]) <= 1e-4);
    prle_canvas_deinit(&base);
    prle_canvas_deinit(&top);
    prle_canvas_deinit(&before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lab_known),
        cmocka_unit_test(test_lab_round_trip),
        cmocka_unit_test(test_colour_match),
        cmocka_unit_test(test_alpha),
        cmocka_unit_test(test_pyramid_is_lossless),
        cmocka_unit_test(test_pyramid_of_constant),
        cmocka_unit_test(test_bands),
        cmocka_unit_test(test_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
