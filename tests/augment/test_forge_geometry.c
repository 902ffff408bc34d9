/* test_forge_geometry.c - affine maps, hulls, Delaunay by its defining property, warp fields. */
#include <math.h>

#include "augment/forge/warp.h"
#include "core/alloc.h"
#include "core/rng.h"
#include "tests/check.h"

enum { MAX_POINTS = 200 };

#define assert_close(a, b, tolerance)                                                                                            \
    do {                                                                                                                         \
        const double a_ = (a), b_ = (b);                                                                                         \
        if (!(fabs(a_ - b_) <= (tolerance)))                                                                                     \
            fail_msg("%s is %.12g, not %.12g", #a, a_, b_);                                                                      \
    } while (0)

static void test_affine(void **state)
{
    (void)state;
    const prle_affine a = {.xx = 1.5, .xy = -0.3, .x0 = 4, .yx = 0.2, .yy = 0.8, .y0 = -7};
    const prle_affine b = prle_affine_similarity(2, 0.7, (prle_point){1, 2}, (prle_point){-3, 5});
    const prle_affine flat = {.xx = 1, .xy = 2, .yx = 2, .yy = 4};
    const prle_affine chained = prle_affine_chain(&a, &b);
    const prle_point p = {3.25, -1.5}, ap = prle_affine_apply(&a, p), bap = prle_affine_apply(&b, ap),
                     cp = prle_affine_apply(&chained, p), to = prle_affine_apply(&b, (prle_point){1, 2});
    prle_affine inverse = {0}, untouched = a;

    assert_close(cp.x, bap.x, 1e-12);
    assert_close(cp.y, bap.y, 1e-12);
    assert_close(to.x, -3, 1e-12);
    assert_close(to.y, 5, 1e-12);
    assert_true(prle_affine_invert(&inverse, &a));
    const prle_point back = prle_affine_apply(&inverse, ap);
    assert_close(back.x, p.x, 1e-12);
    assert_close(back.y, p.y, 1e-12);
    assert_false(prle_affine_invert(&untouched, &flat));
    assert_memory_equal(&untouched, &a, sizeof a);
}

static void test_fit(void **state)
{
    (void)state;
    const prle_affine truth = prle_affine_similarity(1.7, -2.1, (prle_point){0, 0}, (prle_point){11, -4});
    prle_rng rng = prle_rng_make(1, 0, 0, PRLE_RNG_TEST);
    prle_point from[20], to[20];
    prle_affine fit;

    for (int i = 0; i < 20; i++) {
        from[i] = (prle_point){prle_rng_range(&rng, -50, 50), prle_rng_range(&rng, -50, 50)};
        to[i] = prle_affine_apply(&truth, from[i]);
    }
    assert_ok(prle_affine_fit(&fit, from, to, 20));
    assert_close(fit.xx, truth.xx, 1e-12);
    assert_close(fit.yx, truth.yx, 1e-12);
    assert_close(fit.x0, truth.x0, 1e-10);
    assert_close(fit.y0, truth.y0, 1e-10);
    for (int i = 0; i < 20; i++)
        from[i] = (prle_point){3, 3};
    assert_fails(prle_affine_fit(&fit, from, to, 20), PRLE_ENUMERIC, "one place");
}

static void test_hull(void **state)
{
    (void)state;
    const prle_point points[] = {{0, 0}, {4, 0}, {4, 3}, {0, 3}, {2, 1}, {2, 0}, {4, 3}, {1, 2}};
    const prle_point line[] = {{0, 0}, {1, 1}, {2, 2}, {1, 1}};
    prle_point hull[17];
    prle_half_plane plane[9];
    int64_t n = 0;

    assert_ok(prle_hull_make(hull, &n, points, 8));
    assert_int_equal(n, 4);
    assert_close(prle_hull_area(hull, n), 12, 1e-12);
    prle_hull_planes(plane, hull, n);
    assert_close(prle_hull_depth(plane, n, (prle_point){1, 1.4}), 1, 1e-12);
    assert_close(prle_hull_depth(plane, n, (prle_point){2, -0.5}), -0.5, 1e-12);
    assert_ok(prle_hull_make(hull, &n, line, 4));
    assert_int_equal(n, 2);
    assert_ok(prle_hull_make(hull, &n, line, 1));
    assert_int_equal(n, 1);
    assert_fails(prle_hull_make(hull, &n, line, 0), PRLE_EINVAL, "0 points");
}

/* Sum of the triangles = area of the hull; none has a point inside its circle; every corner order is the hull's. */
static void expect_delaunay(const prle_point *points, int64_t n, double tolerance)
{
    prle_triangle t[2 * MAX_POINTS];
    prle_point hull[2 * MAX_POINTS + 1];
    int64_t n_triangles = 0, n_hull = 0;
    double area = 0;

    assert_ok(prle_delaunay_make(t, &n_triangles, points, n));
    assert_ok(prle_hull_make(hull, &n_hull, points, n));
    assert_true(n_triangles <= 2 * n);
    for (int64_t i = 0; i < n_triangles; i++) {
        const prle_point a = points[t[i].corner[0]], b = points[t[i].corner[1]], c = points[t[i].corner[2]];
        const double twice = (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
        assert_true(twice > 0);
        area += twice / 2;
        const double bx = b.x - a.x, by = b.y - a.y, cx = c.x - a.x, cy = c.y - a.y, b2 = bx * bx + by * by,
                     c2 = cx * cx + cy * cy;
        const double ux = (cy * b2 - by * c2) / (2 * twice) * 1, uy = (bx * c2 - cx * b2) / (2 * twice) * 1;
        const double radius = hypot(ux, uy);
        for (int64_t k = 0; k < n; k++)
            if (!(hypot(points[k].x - a.x - ux, points[k].y - a.y - uy) >= radius * (1 - tolerance)))
                fail_msg("point %d lies in the circle of triangle %d", (int)k, (int)i);
    }
    assert_close(area, prle_hull_area(hull, n_hull), 1e-3 * prle_hull_area(hull, n_hull));
}

static void test_delaunay_random(void **state)
{
    (void)state;
    prle_point points[MAX_POINTS];

    for (uint64_t trial = 0; trial < 40; trial++) {
        prle_rng rng = prle_rng_make(2, 0, trial, PRLE_RNG_TEST);
        const int64_t n = 3 + prle_rng_below(&rng, MAX_POINTS - 3);
        for (int64_t i = 0; i < n; i++)
            points[i] = (prle_point){prle_rng_range(&rng, 0, 300), prle_rng_range(&rng, -200, 500)};
        expect_delaunay(points, n, 1e-6);
    }
}

/* Every four neighbours of a grid lie on one circle. */
static void test_delaunay_grid(void **state)
{
    (void)state;
    prle_point points[MAX_POINTS];
    prle_triangle t[2 * MAX_POINTS];
    int64_t n = 0;

    for (int i = 0; i < 100; i++)
        points[i] = points[100 + i] = (prle_point){i % 10, i / 10};
    expect_delaunay(points, 100, 1e-4);
    expect_delaunay(points, 200, 1e-4); /* each twice */
    assert_ok(prle_delaunay_make(t, &n, points, 200));
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < 3; k++)
            assert_true(t[i].corner[k] < 100);
}

static void test_delaunay_degenerate(void **state)
{
    (void)state;
    const prle_point line[] = {{0, 0}, {1, 2}, {2, 4}, {3, 6}, {3, 6}}, bad[] = {{0, 0}, {1, (double)NAN}, {2, 2}};
    prle_triangle t[10];
    int64_t n = 7;

    assert_ok(prle_delaunay_make(t, &n, line, 5));
    for (int64_t i = 0; i < n; i++) /* whatever is left on a line is thinner than anything that is drawn */
        assert_true(n == 0);
    assert_ok(prle_delaunay_make(t, &n, line, 2));
    assert_int_equal(n, 0);
    assert_fails(prle_delaunay_make(t, &n, bad, 3), PRLE_ENUMERIC, "point 1");
}

static prle_image coloured_image(int64_t side)
{
    prle_image image = {0};

    assert_ok(prle_image_init(&image, side, side, 3));
    for (int64_t i = 0; i < side * side * 3; i++)
        image.data[i] = (uint8_t)((i * i * 37 + 11 * i + 5) % 256);
    return image;
}

/* The mesh of points onto themselves shows the picture as it is; so does any affine motion of all of them through the mesh. */
static void test_warp(void **state)
{
    (void)state;
    enum { SIDE = 40, N = 30 };
    prle_image image = coloured_image(SIDE);
    prle_canvas canvas = {0}, expected = {0};
    prle_field field = {0};
    prle_point at[N], from[N];
    prle_triangle t[2 * N];
    const prle_affine same = {.xx = 1, .yy = 1}, motion = {.xx = 0.6, .xy = 0.1, .x0 = 7.3, .yx = -0.2, .yy = 0.7, .y0 = 10.1};
    prle_rng rng = prle_rng_make(3, 0, 0, PRLE_RNG_TEST);
    int64_t n = 0;

    assert_ok(prle_canvas_init(&canvas, SIDE));
    assert_ok(prle_canvas_init(&expected, SIDE));
    assert_ok(prle_field_init(&field, SIDE));
    for (int i = 0; i < N; i++) {
        const double corner[4][2] = {{0, 0}, {SIDE - 1, 0}, {0, SIDE - 1}, {SIDE - 1, SIDE - 1}};
        at[i] = i < 4 ? (prle_point){corner[i][0], corner[i][1]}
                      : (prle_point){prle_rng_range(&rng, 0, SIDE - 1), prle_rng_range(&rng, 0, SIDE - 1)};
        from[i] = prle_affine_apply(&motion, at[i]);
    }
    assert_ok(prle_delaunay_make(t, &n, at, N));
    prle_field_mesh(&field, t, n, at, at);
    prle_canvas_sample(&canvas, &image, &field);
    for (int64_t i = 0; i < SIDE * SIDE * 3; i++)
        assert_close((double)canvas.rgb[i], image.data[i], 0.01);
    prle_field_affine(&field, &motion);
    prle_canvas_sample(&expected, &image, &field);
    prle_field_affine(&field, &same);
    prle_field_mesh(&field, t, n, at, from);
    prle_canvas_sample(&canvas, &image, &field);
    for (int64_t i = 0; i < SIDE * SIDE * 3; i++)
        assert_close((double)canvas.rgb[i], (double)expected.rgb[i], 0.02);
    prle_field_deinit(&field);
    prle_canvas_deinit(&canvas);
    prle_canvas_deinit(&expected);
    prle_image_deinit(&image);
}

/* Outside, the photograph is mirrored; far outside, its edge stays. */
static void test_sample_outside(void **state)
{
    (void)state;
    prle_image image = coloured_image(4);
    prle_canvas canvas = {0};
    prle_field field = {0};
    const float places[4][2] = {{-1, 2}, {4, 0}, {1e9f, 3}, {1, -1e9f}};
    const int64_t shown[4] = {2 * 4 + 1, 2, 3 * 4, 3 * 4 + 1};

    assert_ok(prle_canvas_init(&canvas, 2));
    assert_ok(prle_field_init(&field, 2));
    memcpy(field.place, places, sizeof places);
    prle_canvas_sample(&canvas, &image, &field);
    for (int i = 0; i < 4; i++)
        assert_close((double)canvas.rgb[3 * i], image.data[3 * shown[i]], 1e-3);
    prle_field_deinit(&field);
    prle_canvas_deinit(&canvas);
    prle_image_deinit(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_affine),        cmocka_unit_test(test_fit),
        cmocka_unit_test(test_hull),          cmocka_unit_test(test_delaunay_random),
        cmocka_unit_test(test_delaunay_grid), cmocka_unit_test(test_delaunay_degenerate),
        cmocka_unit_test(test_warp),          cmocka_unit_test(test_sample_outside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
