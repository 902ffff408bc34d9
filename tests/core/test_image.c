/* test_image.c - decoders against known pixels, damage of every kind, resize against PyTorch and brute force, warp. */
#include <math.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/image.h"
#include "core/rng.h"
#include "tests/check.h"
#include "tests/core/image_fixtures.h"
#include "tests/faults.h"

/* A smooth picture with some colour: what a JPEG keeps. */
static prle_image smooth_image(int64_t height, int64_t width, int64_t channels)
{
    prle_image image = {0};

    assert_ok(prle_image_init(&image, height, width, channels));
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            for (int64_t c = 0; c < channels; c++)
                image.data[(y * width + x) * channels + c] =
                    (uint8_t)lrint(128 + 100 * sin(0.05 * (double)x + (double)c) * cos(0.04 * (double)y));
    return image;
}

static prle_image numbered_image(int64_t height, int64_t width, int64_t channels)
{
    prle_image image = {0};

    assert_ok(prle_image_init(&image, height, width, channels));
    for (int64_t i = 0; i < height * width * channels; i++)
        image.data[i] = (uint8_t)((i * i * 37 + 11 * i + 5) % 256);
    return image;
}

static int max_difference(const prle_image *a, const prle_image *b)
{
    int worst = 0;

    assert_int_equal(a->height, b->height);
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->channels, b->channels);
    for (size_t i = 0; i < prle_image_bytes(a); i++) {
        const int difference = abs(a->data[i] - b->data[i]);
        worst = difference > worst ? difference : worst;
    }
    return worst;
}

static void test_init(void **state)
{
    (void)state;
    prle_image image = {0};

    assert_fails(prle_image_init(&image, 0, 5, 3), PRLE_ESHAPE, "5 x 0 pixels");
    assert_fails(prle_image_init(&image, 5, PRLE_IMAGE_MAX_SIDE + 1, 3), PRLE_ESHAPE, "16385 x 5");
    assert_fails(prle_image_init(&image, 5, 5, 4), PRLE_ESHAPE, "4 channels");
    assert_null(image.data);
    prle_image_deinit(&image);
    prle_image_deinit(NULL);
}

static void test_png_round_trip(void **state)
{
    (void)state;
    const int64_t sizes[][3] = {{1, 1, 1}, {1, 1, 3}, {7, 5, 3}, {64, 33, 1}, {31, 64, 3}};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        prle_image in = numbered_image(sizes[i][0], sizes[i][1], sizes[i][2]), out = {0};
        prle_image_info info;
        uint8_t *bytes = NULL;
        size_t n_bytes = 0;
        assert_ok(prle_image_encode_png(&bytes, &n_bytes, &in));
        assert_ok(prle_image_info_read(&info, bytes, n_bytes));
        assert_true(info.format == PRLE_IMAGE_PNG && info.height == in.height && info.width == in.width &&
                    info.channels == in.channels);
        assert_ok(prle_image_decode(&out, bytes, n_bytes, (int)in.channels));
        assert_int_equal(max_difference(&in, &out), 0);
        prle_free(bytes);
        prle_image_deinit(&in);
        prle_image_deinit(&out);
    }
}

static void test_jpeg_round_trip(void **state)
{
    (void)state;
    const prle_jpeg_sampling samplings[] = {PRLE_JPEG_420, PRLE_JPEG_444};

    for (int channels = 1; channels <= 3; channels += 2)
        for (int i = 0; i < 2; i++) {
            prle_image in = smooth_image(61, 83, channels), out = {0};
            const prle_jpeg_opts opts = {.quality = 98, .sampling = samplings[i]};
            prle_image_info info;
            uint8_t *bytes = NULL;
            size_t n_bytes = 0;
            assert_ok(prle_image_encode_jpeg(&bytes, &n_bytes, &in, &opts));
            assert_ok(prle_image_info_read(&info, bytes, n_bytes));
            assert_true(info.format == PRLE_IMAGE_JPEG && info.height == 61 && info.width == 83 && info.channels == channels);
            assert_ok(prle_image_decode(&out, bytes, n_bytes, channels));
            assert_true(max_difference(&in, &out) <= (opts.sampling == PRLE_JPEG_444 || channels == 1 ? 3 : 12));
            prle_free(bytes);
            prle_image_deinit(&in);
            prle_image_deinit(&out);
        }
}

static void test_jpeg_options(void **state)
{
    (void)state;
    prle_image in = smooth_image(16, 16, 3);
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;

    assert_fails(prle_image_encode_jpeg(&bytes, &n_bytes, &in, &(prle_jpeg_opts){.quality = 0}), PRLE_EINVAL, "quality 0");
    assert_fails(prle_image_encode_jpeg(&bytes, &n_bytes, &in, &(prle_jpeg_opts){.quality = 101}), PRLE_EINVAL, "quality 101");
    assert_fails(prle_image_save("/tmp/prle_x.gif", &in, NULL), PRLE_EINVAL, "must end in .jpg");
    assert_null(bytes);
    prle_image_deinit(&in);
}

static void expect_pixels(const uint8_t *bytes, size_t n_bytes, int channels, const uint8_t *wanted, size_t n_wanted,
                          int tolerance)
{
    prle_image out = {0};

    assert_ok(prle_image_decode(&out, bytes, n_bytes, channels));
    assert_true(prle_image_bytes(&out) >= n_wanted);
    for (size_t i = 0; i < n_wanted; i++)
        if (!(abs(out.data[i] - wanted[i]) <= tolerance))
            fail_msg("byte %zu is %d, not %d", i, out.data[i], wanted[i]);
    prle_image_deinit(&out);
}

#define EXPECT(file, channels, tolerance, ...)                                                                                   \
    expect_pixels(file, sizeof file, channels, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), tolerance)

static void test_unusual_files(void **state)
{
    (void)state;
    EXPECT(cmyk_jpeg, 3, 2, 164, 134, 103, 164, 134, 103);
    EXPECT(cmyk_jpeg, 1, 2, 139, 139);
    EXPECT(gray16_png, 1, 0, 0, 100, 255, 128);
    EXPECT(gray16_png, 3, 0, 0, 0, 0, 100, 100, 100, 255, 255, 255, 128, 128, 128);
    EXPECT(palette_png, 3, 0, 10, 20, 30, 0, 0, 0, 35, 40, 45, 200, 100, 50);
    EXPECT(rgba_png, 3, 0, 200, 100, 50, 40, 20, 10);
    EXPECT(rgba_png, 1, 0, 124, 25);
    EXPECT(gray_alpha_png, 1, 0, 100, 90);
    EXPECT(gray_alpha_png, 3, 0, 100, 100, 100, 90, 90, 90);
    EXPECT(gray1_png, 1, 0, 255, 0, 255, 0);
    EXPECT(interlaced_png, 1, 0, 0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24, 30, 31, 32, 33, 34, 40, 41, 42, 43, 44);
}

/* Every shorter file is an error, and leaves nothing. */
static void expect_truncation_seen(const uint8_t *bytes, size_t n_bytes, size_t step)
{
    const int64_t live = prle_alloc_live();
    prle_image out = {0};

    for (size_t n = 0; n < n_bytes; n += step) {
        uint8_t *part = malloc(n > 0 ? n : 1); /* exactly as long, so that ASan sees a read past the end */
        assert_non_null(part);
        memcpy(part, bytes, n);
        if (prle_image_decode(&out, part, n, 3) != PRLE_EFORMAT)
            fail_msg("the first %zu of %zu bytes were not refused", n, n_bytes);
        free(part);
    }
    assert_null(out.data);
    assert_int_equal(prle_alloc_live(), live);
}

static void test_truncated(void **state)
{
    (void)state;
    prle_image in = smooth_image(40, 50, 3);
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;

    assert_ok(prle_image_encode_jpeg(&bytes, &n_bytes, &in, &PRLE_JPEG_OPTS_DEFAULT));
    expect_truncation_seen(bytes, n_bytes - 2, 7); /* the end marker alone may be missed: the pixels are whole */
    prle_free(bytes);
    assert_ok(prle_image_encode_png(&bytes, &n_bytes, &in));
    expect_truncation_seen(bytes, n_bytes, 13);
    prle_free(bytes);
    expect_truncation_seen(cmyk_jpeg, sizeof cmyk_jpeg - 4, 1);
    expect_truncation_seen(palette_png, sizeof palette_png, 1);
    prle_image_deinit(&in);
}

/* Flipped bytes: an error or a picture, never a crash; a PNG's checksums make it an error. */
static void test_corrupt(void **state)
{
    (void)state;
    prle_rng rng = prle_rng_make(1, 0, 0, PRLE_RNG_TEST);
    prle_image in = smooth_image(24, 24, 3), out = {0};
    uint8_t *jpeg = NULL, *png = NULL, damaged[4096];
    size_t n_jpeg = 0, n_png = 0;

    assert_ok(prle_image_encode_jpeg(&jpeg, &n_jpeg, &in, &PRLE_JPEG_OPTS_DEFAULT));
    assert_ok(prle_image_encode_png(&png, &n_png, &in));
    assert_true(n_jpeg <= sizeof damaged && n_png <= sizeof damaged);
    for (int i = 0; i < 300; i++) {
        memcpy(damaged, jpeg, n_jpeg);
        /* not the size (a picture of 16384 x 16384 is legal): that is tested below */
        const uint32_t at = prle_rng_below(&rng, (uint32_t)n_jpeg);
        if (at < 155 || at > 175)
            damaged[at] = (uint8_t)prle_rng_u32(&rng);
        if (prle_image_decode(&out, damaged, n_jpeg, 3) == PRLE_OK)
            prle_image_deinit(&out);
        memcpy(damaged, png, n_png);
        damaged[prle_rng_below(&rng, (uint32_t)n_png)] ^= 0x10;
        assert_fails(prle_image_decode(&out, damaged, n_png, 3), PRLE_EFORMAT, "");
    }
    prle_free(jpeg);
    prle_free(png);
    prle_image_deinit(&in);
}

static void test_refused(void **state)
{
    (void)state;
    prle_image out = {0};
    prle_image_info info;
    uint8_t huge[sizeof interlaced_png];

    assert_fails(prle_image_decode(&out, "GIF89a, not ours", 16, 3), PRLE_EFORMAT, "neither JPEG nor PNG");
    assert_fails(prle_image_decode(&out, NULL, 0, 3), PRLE_EFORMAT, "0 bytes");
    assert_fails(prle_image_decode(&out, cmyk_jpeg, sizeof cmyk_jpeg, 2), PRLE_ESHAPE, "2 channels");
    memcpy(huge, interlaced_png, sizeof huge);
    huge[18] = 0x40; /* width 5 -> 16389 */
    assert_fails(prle_image_info_read(&info, huge, sizeof huge), PRLE_EFORMAT, "16389 x 5 pixels");
    memcpy(huge, interlaced_png, sizeof huge);
    huge[18] = huge[22] = 0x30; /* 5 x 5 -> 12293 x 12293: 450 MB out of 101 bytes */
    assert_fails(prle_image_decode(&out, huge, sizeof huge, 3), PRLE_EFORMAT,
                 "claims 12293 x 12293 pixels, which its 101 bytes cannot hold");
    assert_fails(prle_image_decode(&out, cmyk_jpeg, 100, 3), PRLE_EFORMAT, "JPEG: ");
    assert_fails(prle_image_decode(&out, palette_png, sizeof palette_png - 14, 3), PRLE_EFORMAT, "ends early");
    assert_fails(prle_image_load(&out, "tests/check.h", 3), PRLE_EFORMAT, "tests/check.h: neither");
    assert_null(out.data);
}

static void test_decode_into(void **state)
{
    (void)state;
    prle_decoder *decoder = NULL;
    prle_image in = smooth_image(32, 40, 3), out = {0}, once = {0};
    uint8_t *bytes = NULL, buffer[32 * 40 * 3];
    size_t n_bytes = 0;

    out.data = buffer;
    assert_ok(prle_decoder_create(&decoder));
    assert_ok(prle_image_encode_jpeg(&bytes, &n_bytes, &in, &PRLE_JPEG_OPTS_DEFAULT));
    assert_ok(prle_image_decode(&once, bytes, n_bytes, 3));
    const int64_t count = prle_alloc_count();
    for (int i = 0; i < 5; i++)
        assert_ok(prle_decoder_decode_into(decoder, &out, sizeof buffer, bytes, n_bytes, 3));
    assert_int_equal(prle_alloc_count(), count);
    assert_int_equal(max_difference(&out, &once), 0);
    assert_fails(prle_decoder_decode_into(decoder, &out, sizeof buffer - 1, bytes, n_bytes, 3), PRLE_ESHAPE, "needs 3840 bytes");
    assert_fails(prle_decoder_decode_into(decoder, &out, sizeof buffer, bytes, n_bytes - 40, 3), PRLE_EFORMAT, "truncated");
    assert_ok(prle_decoder_decode_into(decoder, &out, sizeof buffer, cmyk_jpeg, sizeof cmyk_jpeg, 3));
    assert_true(out.height == 8 && out.width == 8 && out.channels == 3);
    assert_ok(prle_decoder_decode_into(decoder, &out, sizeof buffer, bytes, n_bytes, 3));
    assert_int_equal(max_difference(&out, &once), 0);
    prle_free(bytes);
    prle_image_deinit(&in);
    prle_image_deinit(&once);
    prle_decoder_destroy(decoder);
    prle_decoder_destroy(NULL);
}

static void test_load_and_save(void **state)
{
    (void)state;
    char path[64];
    prle_image in = numbered_image(9, 11, 3), out = {0};

    snprintf(path, sizeof path, "/tmp/prle_image_%d.PNG", (int)getpid());
    assert_ok(prle_image_save(path, &in, NULL));
    assert_ok(prle_image_load(&out, path, 3));
    assert_int_equal(max_difference(&in, &out), 0);
    unlink(path);
    prle_image_deinit(&in);
    prle_image_deinit(&out);
}

static prle_status encode_work(void *user)
{
    uint8_t *bytes = NULL;
    size_t n_bytes;

    PRLE_TRY(prle_image_encode_png(&bytes, &n_bytes, user));
    prle_free(bytes);
    PRLE_TRY(prle_image_encode_jpeg(&bytes, &n_bytes, user, &PRLE_JPEG_OPTS_DEFAULT));
    prle_free(bytes);
    return PRLE_OK;
}

static void test_encoding_fails(void **state)
{
    (void)state;
    prle_image image = {0};

    assert_ok(prle_image_init(&image, 8, 8, 3));
    faults_each(encode_work, NULL, &image);
    prle_image_deinit(&image);
}

/* The nth allocation fails, for every n: an error, nothing kept. */
static void test_allocations_fail(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    prle_image out = {0};
    bool done = false;

    for (int64_t nth = 1; !done; nth++) {
        prle_alloc_fail_at(nth);
        const prle_status st = prle_image_decode(&out, palette_png, sizeof palette_png, 3);
        done = st == PRLE_OK;
        prle_alloc_fail_at(0);
        if (!done)
            assert_null(out.data);
        assert_true(nth < 100);
    }
    prle_image_deinit(&out);
    assert_int_equal(prle_alloc_live(), live);
}

/* Half a level of rounding, and a little for single precision at a tie. */
static void expect_hundredths(const prle_image *out, const uint16_t *wanted, size_t n)
{
    assert_int_equal(prle_image_bytes(out), n);
    for (size_t i = 0; i < n; i++)
        if (!(abs(100 * out->data[i] - wanted[i]) <= 51))
            fail_msg("byte %zu is %d, not %.2f", i, out->data[i], wanted[i] / 100.0);
}

static void test_resize_like_torch(void **state)
{
    (void)state;
    prle_image small = numbered_image(3, 4, 3), large = numbered_image(7, 9, 3), up = {0}, down = {0};

    assert_ok(prle_image_init(&up, 5, 7, 3));
    assert_ok(prle_image_init(&down, 3, 4, 3));
    assert_ok(prle_image_resize(&up, &small, PRLE_RESIZE_BILINEAR));
    expect_hundredths(&up, torch_up, sizeof torch_up / sizeof torch_up[0]);
    assert_ok(prle_image_resize(&down, &large, PRLE_RESIZE_BILINEAR));
    expect_hundredths(&down, torch_down, sizeof torch_down / sizeof torch_down[0]);
    assert_ok(prle_image_resize(&up, &small, PRLE_RESIZE_AREA)); /* both sides grow: bilinear */
    expect_hundredths(&up, torch_up, sizeof torch_up / sizeof torch_up[0]);
    prle_image_deinit(&small);
    prle_image_deinit(&large);
    prle_image_deinit(&up);
    prle_image_deinit(&down);
}

/* The area mean by brute force: every input pixel cut into out_height x out_width cells. */
static void test_resize_area(void **state)
{
    (void)state;
    const int64_t sizes[][4] = {{6, 8, 3, 4}, {7, 9, 3, 4}, {5, 5, 1, 1}, {9, 4, 9, 3}, {13, 1, 5, 1}};

    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        const int64_t H = sizes[k][0], W = sizes[k][1], h = sizes[k][2], w = sizes[k][3];
        prle_image in = numbered_image(H, W, 3), out = {0};
        assert_ok(prle_image_init(&out, h, w, 3));
        assert_ok(prle_image_resize(&out, &in, PRLE_RESIZE_AREA));
        for (int64_t i = 0; i < h * w * 3; i++) {
            const int64_t y = i / 3 / w, x = i / 3 % w;
            double sum = 0;
            for (int64_t yy = y * H; yy < (y + 1) * H; yy++)
                for (int64_t xx = x * W; xx < (x + 1) * W; xx++)
                    sum += in.data[((yy / h) * W + xx / w) * 3 + i % 3];
            assert_true(fabs(sum / (double)(H * W) - out.data[i]) <= 0.5001); /* rounding, and single precision at a tie */
        }
        prle_image_deinit(&in);
        prle_image_deinit(&out);
    }
}

static void test_resizer_allocates_nothing(void **state)
{
    (void)state;
    prle_resizer *resizer = NULL;
    prle_image in = numbered_image(32, 32, 3), out = {0};

    assert_ok(prle_image_init(&out, 20, 45, 3));
    assert_ok(prle_resizer_create(&resizer, 20, 45, 32, 32, 3, PRLE_RESIZE_BILINEAR));
    const int64_t count = prle_alloc_count();
    prle_resizer_run(resizer, out.data, in.data);
    assert_int_equal(prle_alloc_count(), count);
    prle_resizer_destroy(resizer);
    prle_resizer_destroy(NULL);
    assert_fails(prle_resizer_create(&resizer, 0, 4, 4, 4, 3, PRLE_RESIZE_AREA), PRLE_ESHAPE, "4 x 0 pixels");
    prle_image_deinit(&in);
    prle_image_deinit(&out);
}

static void test_crop(void **state)
{
    (void)state;
    prle_image in = numbered_image(6, 7, 3), out = {0};

    assert_ok(prle_image_init(&out, 2, 3, 3));
    assert_ok(prle_image_crop(&out, &in, 4, 4));
    for (int64_t y = 0; y < 2; y++)
        assert_memory_equal(out.data + y * 9, in.data + ((4 + y) * 7 + 4) * 3, 9);
    assert_fails(prle_image_crop(&out, &in, 5, 4), PRLE_ESHAPE, "leaves the picture");
    assert_fails(prle_image_crop(&out, &in, 0, -1), PRLE_ESHAPE, "x -1");
    prle_image_deinit(&in);
    prle_image_deinit(&out);
}

static void test_warp(void **state)
{
    (void)state;
    const prle_affine same = {.xx = 1, .yy = 1}, transpose = {.xy = 1, .yx = 1}, half = {.xx = 1, .x0 = 0.5, .yy = 1};
    const prle_affine far = {.xx = 1, .x0 = 1e30, .yy = 1};
    prle_image in = numbered_image(9, 9, 3), out = {0};

    assert_ok(prle_image_init(&out, 9, 9, 3));
    assert_ok(prle_image_warp(&out, &in, &same, PRLE_BORDER_EDGE));
    assert_int_equal(max_difference(&in, &out), 0);
    assert_ok(prle_image_warp(&out, &in, &transpose, PRLE_BORDER_ZERO));
    for (int64_t i = 0; i < 81; i++)
        assert_memory_equal(out.data + i * 3, in.data + (i % 9 * 9 + i / 9) * 3, 3);
    assert_ok(prle_image_warp(&out, &in, &half, PRLE_BORDER_ZERO));
    assert_true(fabs(out.data[0] - (in.data[0] + in.data[3]) / 2.0) <= 0.5);
    assert_true(fabs(out.data[24] - in.data[24] / 2.0) <= 0.5); /* the last column fades to black */
    assert_ok(prle_image_warp(&out, &in, &half, PRLE_BORDER_EDGE));
    assert_int_equal(out.data[24], in.data[24]);
    assert_ok(prle_image_warp(&out, &in, &far, PRLE_BORDER_EDGE));
    assert_memory_equal(out.data, in.data + 24, 3);
    assert_ok(prle_image_warp(&out, &in, &far, PRLE_BORDER_ZERO));
    assert_int_equal(out.data[0], 0);
    assert_fails(prle_image_warp(&out, &in, &(prle_affine){.xx = (double)NAN}, PRLE_BORDER_EDGE), PRLE_ENUMERIC, "not finite");
    prle_image_deinit(&in);
    prle_image_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_png_round_trip),
        cmocka_unit_test(test_jpeg_round_trip),
        cmocka_unit_test(test_jpeg_options),
        cmocka_unit_test(test_unusual_files),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_corrupt),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_decode_into),
        cmocka_unit_test(test_load_and_save),
        cmocka_unit_test(test_allocations_fail),
        cmocka_unit_test(test_encoding_fails),
        cmocka_unit_test(test_resize_like_torch),
        cmocka_unit_test(test_resize_area),
        cmocka_unit_test(test_resizer_allocates_nothing),
        cmocka_unit_test(test_crop),
        cmocka_unit_test(test_warp),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
