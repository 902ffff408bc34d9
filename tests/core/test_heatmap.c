/* test_heatmap.c - the colour scale rises in lightness, overlays and masks do what the formulas say. */
#include <math.h>

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
        cmocka_unit_test(test_hide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
