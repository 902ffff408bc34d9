/* test_heatmap.c - the colour scale rises in lightness, overlays and masks do what the formulas say. */
#include <math.h>

#include "core/alloc.h"
#include "core/heatmap.h"
#include "tests/check.h"

/* CIE L* of an sRGB colour. */
static double lightness(const uint8_t rgb[3])
{
    static const double weight[] = {0.2126, 0.7152, 0.0722};
    double y = 0;

    for (int c = 0; c < 3; c++) {
        const double v = rgb[c] / 255.0;
        y += weight[c] * (v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4));
    }
    return y > 0.008856 ? 116 * cbrt(y) - 16 : 903.3 * y;
}

static void test_colors(void **state)
{
    (void)state;
    uint8_t colors[256][3];

    prle_heatmap_colors(colors);
    assert_true(lightness(colors[0]) < 12 && lightness(colors[255]) > 88);
    for (int i = 16; i < 256; i += 16) {
        const double step = lightness(colors[i]) - lightness(colors[i - 16]);
        assert_true(step > 2 && step < 8); /* about 80 / 16 each */
    }
    for (int i = 1; i < 256; i++)
        for (int c = 0; c < 3; c++)
            assert_true(abs(colors[i][c] - colors[i - 1][c]) <= 12); /* no jump that would look like an edge */
}

static void test_overlay(void **state)
{
    (void)state;
    prle_image image = {0}, attention = {0}, out = {0}, small = {0};
    uint8_t colors[256][3];

    prle_heatmap_colors(colors);
    assert_ok(prle_image_init(&image, 16, 16, 3));
    assert_ok(prle_image_init(&out, 16, 16, 3));
    assert_ok(prle_image_init(&attention, 16, 16, 1));
    assert_ok(prle_image_init(&small, 15, 16, 1));
    for (int i = 0; i < 768; i++)
        image.data[i] = (uint8_t)(i * 7);
    for (int i = 0; i < 256; i++)
        attention.data[i] = (uint8_t)i;
    assert_ok(prle_heatmap_overlay(&out, &image, &attention, 0));
    assert_memory_equal(out.data, image.data, 768);
    assert_ok(prle_heatmap_overlay(&out, &image, &attention, 1));
    assert_memory_equal(out.data, colors, 768);
    assert_ok(prle_heatmap_overlay(&out, &image, &attention, 0.5));
    for (int i = 0; i < 768; i++)
        assert_int_equal(out.data[i], (image.data[i] + colors[i / 3][i % 3] + 1) / 2);
    assert_fails(prle_heatmap_overlay(&out, &image, &small, 0.5), PRLE_ESHAPE, "the attention is 15 x 16 x 1");
    assert_fails(prle_heatmap_overlay(&out, &attention, &attention, 0.5), PRLE_ESHAPE, "the picture is 16 x 16 x 1");
    assert_fails(prle_heatmap_overlay(&out, &image, &attention, (double)NAN), PRLE_EINVAL, "strength");
    prle_image_deinit(&image);
    prle_image_deinit(&out);
    prle_image_deinit(&attention);
    prle_image_deinit(&small);
}

/* A map of one column resized to 16 x 4, by its own formula, and what is not a map. */
static void test_overlay_map(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    float map[2] = {0.25f, 1.0f};
    prle_image image = {0}, out = {0};
    uint8_t colors[256][3];

    prle_heatmap_colors(colors);
    assert_ok(prle_image_init(&image, 4, 4, 3));
    assert_ok(prle_image_init(&out, 4, 4, 3));
    assert_ok(prle_heatmap_overlay_map(&out, &image, map, 2, 1, 1));
    const double rows[4] = {0.25, 0.4375, 0.8125, 1}; /* centres at -1/4, 1/4, 3/4, 5/4 of the map's rows */
    for (int64_t i = 0; i < 48; i++)
        assert_int_equal(out.data[i], colors[lrint(255 * rows[i / 12])][i % 3]);
    map[1] = (float)NAN;
    assert_fails(prle_heatmap_overlay_map(&out, &image, map, 2, 1, 1), PRLE_ENUMERIC, "row 1");
    map[1] = 1.5f;
    assert_fails(prle_heatmap_overlay_map(&out, &image, map, 2, 1, 1), PRLE_EINVAL, "outside [0,1]");
    map[1] = 1.0f;
    for (int nth = 1; nth <= 3; nth++) {
        prle_alloc_fail_at(nth);
        assert_fails(prle_heatmap_overlay_map(&out, &image, map, 2, 1, 1), PRLE_ENOMEM, "");
    }
    prle_alloc_fail_at(0);
    prle_image_deinit(&image);
    prle_image_deinit(&out);
    assert_int_equal(prle_alloc_live(), live);
}

static void test_hide(void **state)
{
    (void)state;
    prle_image image = {0}, other = {0};
    const uint8_t mask[4] = {0, 1, 0, 1}, want[12] = {1, 2, 3, 0, 0, 0, 7, 8, 9, 0, 0, 0};

    assert_ok(prle_image_init(&image, 2, 2, 3));
    assert_ok(prle_image_init(&other, 2, 3, 3));
    for (int i = 0; i < 12; i++)
        image.data[i] = (uint8_t)(i + 1);
    assert_fails(prle_heatmap_hide(&other, &image, mask), PRLE_ESHAPE, "the result is 2 x 3 x 3");
    assert_ok(prle_heatmap_hide(&image, &image, mask));
    assert_memory_equal(image.data, want, sizeof want);
    prle_image_deinit(&image);
    prle_image_deinit(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_colors),
        cmocka_unit_test(test_overlay),
        cmocka_unit_test(test_overlay_map),
        cmocka_unit_test(test_hide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
