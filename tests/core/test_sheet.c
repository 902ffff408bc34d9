/* test_sheet.c - every tile stands where it should, white between; other sizes are brought to the tile's. */
#include "core/alloc.h"
#include "core/sheet.h"
#include "tests/check.h"

static void fill(prle_image *image, int64_t height, int64_t width, int64_t channels, int seed)
{
    assert_ok(prle_image_init(image, height, width, channels));
    for (size_t i = 0; i < prle_image_bytes(image); i++)
        image->data[i] = (uint8_t)(seed + 5 * (int)i);
}

static void test_places(void **state)
{
    (void)state;
    enum { H = 3, W = 5, G = PRLE_SHEET_GAP };
    const int64_t live = prle_alloc_live();
    prle_sheet sheet;
    prle_image colour = {0}, gray = {0};

    fill(&colour, H, W, 3, 10);
    fill(&gray, H, W, 1, 77);
    assert_ok(prle_sheet_init(&sheet, 2, 3, H, W));
    assert_true(sheet.image.height == 2 * (H + G) + G && sheet.image.width == 3 * (W + G) + G && sheet.image.channels == 3);
    assert_ok(prle_sheet_put(&sheet, 0, 0, &colour));
    assert_ok(prle_sheet_put(&sheet, 1, 2, &gray));
    for (int64_t y = 0; y < sheet.image.height; y++)
        for (int64_t x = 0; x < sheet.image.width; x++)
            for (int64_t c = 0; c < 3; c++) {
                const int64_t y0 = y - G, x0 = x - G, y1 = y - (2 * G + H), x1 = x - (3 * G + 2 * W);
                int want = 255;
                if (y0 >= 0 && y0 < H && x0 >= 0 && x0 < W)
                    want = colour.data[(y0 * W + x0) * 3 + c];
                if (y1 >= 0 && y1 < H && x1 >= 0 && x1 < W)
                    want = gray.data[y1 * W + x1];
                assert_int_equal(sheet.image.data[(y * sheet.image.width + x) * 3 + c], want);
            }
    prle_image_deinit(&colour);
    prle_image_deinit(&gray);
    prle_sheet_deinit(&sheet);
    assert_int_equal(prle_alloc_live(), live);
}

static void test_fitted(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    prle_sheet sheet;
    prle_image big = {0}, small = {0};

    fill(&big, 8, 8, 3, 3);
    assert_ok(prle_image_init(&small, 4, 4, 3));
    assert_ok(prle_image_resize(&small, &big, PRLE_RESIZE_AREA));
    assert_ok(prle_sheet_init(&sheet, 1, 1, 4, 4));
    assert_ok(prle_sheet_put(&sheet, 0, 0, &big));
    for (int64_t y = 0; y < 4; y++)
        assert_memory_equal(sheet.image.data + ((PRLE_SHEET_GAP + y) * sheet.image.width + PRLE_SHEET_GAP) * 3,
                            small.data + y * 12, 12);
    prle_alloc_fail_at(1);
    assert_fails(prle_sheet_put(&sheet, 0, 0, &big), PRLE_ENOMEM, "");
    prle_alloc_fail_at(0);
    prle_image_deinit(&big);
    prle_image_deinit(&small);
    prle_sheet_deinit(&sheet);
    assert_int_equal(prle_alloc_live(), live);
}

static void test_refused(void **state)
{
    (void)state;
    prle_sheet sheet = {0};
    prle_image tile = {0};

    assert_fails(prle_sheet_init(&sheet, 0, 1, 4, 4), PRLE_ESHAPE, "sheet of 0 x 1 pictures");
    assert_fails(prle_sheet_init(&sheet, 1, 1, 4, INT64_MAX), PRLE_ESHAPE, "each must be");
    assert_fails(prle_sheet_init(&sheet, 1, 100, 256, 256), PRLE_ESHAPE, "sheet of 1 rows of 100 pictures: picture of 26004 x");
    assert_ok(prle_sheet_init(&sheet, 2, 3, 4, 4));
    fill(&tile, 4, 4, 1, 0);
    assert_fails(prle_sheet_put(&sheet, 2, 0, &tile), PRLE_EINVAL, "place (2, 0) of a sheet of 2 x 3");
    assert_fails(prle_sheet_put(&sheet, 0, -1, &tile), PRLE_EINVAL, "place (0, -1)");
    prle_image_deinit(&tile);
    prle_sheet_deinit(&sheet);
    prle_sheet_deinit(&sheet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_fitted),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
