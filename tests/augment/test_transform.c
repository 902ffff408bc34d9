/* test_transform.c - the bench augmentations against the formulas they stand for, and the spread of their draws. */
#include <math.h>

#include "augment/transform.h"
#include "core/alloc.h"
#include "core/normalise.h"
#include "core/rng.h"
#include "tests/check.h"

enum { H = 21, W = 34 };

static prle_image random_image(uint32_t which, int64_t height, int64_t width)
{
    prle_rng rng = prle_rng_make(4, which, 0, PRLE_RNG_TEST);
    prle_image image = {0};

    assert_ok(prle_image_init(&image, height, width, 3));
    for (size_t i = 0; i < prle_image_bytes(&image); i++)
        image.data[i] = (uint8_t)prle_rng_below(&rng, 256);
    return image;
}

static int64_t clip(int64_t at, int64_t n) { return at < 0 ? 0 : at >= n ? n - 1 : at; }

static double pixel(const prle_image *image, int64_t y, int64_t x, int64_t c)
{
    return image->data[(clip(y, image->height) * image->width + clip(x, image->width)) * 3 + c];
}

/* Rounding may go either way where the exact value lies half way between two bytes. */
static void assert_rounds(uint8_t have, double exact)
{
    const bool ok = fabs(have - fmin(fmax(exact, 0.0), 255.0)) <= 0.5 + 1e-3;

    if (!ok)
        fail_msg("%d is not %.4f rounded", have, exact);
}

static void test_draws(void **state)
{
    (void)state;
    enum { N = 20000 };
    int flip = 0, rotate = 0, blur[4] = {0}, linear = 0, hsv = 0, jpeg = 0, low = 0, high = 0;
    double angle = 0, quality = 0, brightness = 0, contrast = 0, hue = 0, saturation = 0, value = 0; /* sums of squares */

    for (uint64_t i = 0; i < N; i++) {
        const prle_augment_params p = prle_augment_draw(PRLE_AUGMENT_BENCH, 1, (uint32_t)(i % 7), i / 7);
        const prle_colour_params *c = &p.colour;
        const prle_augment_params again = prle_augment_draw(PRLE_AUGMENT_BENCH, 1, (uint32_t)(i % 7), i / 7);
        assert_true(again.flip == p.flip && again.blur_size == p.blur_size && again.jpeg_quality == p.jpeg_quality &&
                    again.angle_deg >= p.angle_deg && again.angle_deg <= p.angle_deg && again.colour.kind == c->kind);
        flip += p.flip;
        rotate += fabs(p.angle_deg) > 0;
        angle += p.angle_deg * p.angle_deg;
        assert_true(fabs(p.angle_deg) <= 10);
        assert_true(p.blur_size == 0 || p.blur_size == 3 || p.blur_size == 5 || p.blur_size == 7);
        blur[p.blur_size / 2]++;
        linear += c->kind == PRLE_COLOUR_LINEAR;
        hsv += c->kind == PRLE_COLOUR_HSV;
        brightness += pow((double)c->brightness, 2);
        contrast += pow((double)c->contrast, 2);
        hue += pow((double)c->hue_deg, 2);
        saturation += pow((double)c->saturation, 2);
        value += pow((double)c->value, 2);
        jpeg += p.jpeg_quality > 0;
        assert_true(p.jpeg_quality == 0 || (p.jpeg_quality >= 40 && p.jpeg_quality <= 100));
        quality += p.jpeg_quality;
        low += p.jpeg_quality == 40;
        high += p.jpeg_quality == 100;
    }
#define NEAR(have, want, tol) assert_true(fabs((double)(have) - (want)) <= (tol))
    NEAR(flip, N / 2, 290);
    NEAR(rotate, N / 2, 290);
    NEAR(sqrt(angle / rotate), 10 / sqrt(3), 0.15);
    for (int k = 1; k <= 3; k++)
        NEAR(blur[k], N / 6, 220);
    NEAR(linear, N / 4, 250);
    NEAR(hsv, N / 4, 250);
    NEAR(sqrt(brightness / linear), 0.1 / sqrt(3), 0.002);
    NEAR(sqrt(contrast / linear), 0.1 / sqrt(3), 0.002);
    NEAR(sqrt(hue / hsv), 40 / sqrt(3), 0.8);
    NEAR(sqrt(saturation / hsv), 30 / 255.0 / sqrt(3), 0.003);
    NEAR(sqrt(value / hsv), 20 / 255.0 / sqrt(3), 0.002);
    NEAR(jpeg, N / 2, 290);
    NEAR(quality / jpeg, 70, 0.8);
    NEAR(low, N / 122, 50);
    NEAR(high, N / 122, 50);
#undef NEAR
    const prle_augment_params none = prle_augment_draw(PRLE_AUGMENT_NONE, 1, 2, 3);
    assert_true(!none.flip && none.blur_size == 0 && none.jpeg_quality == 0 && none.colour.kind == PRLE_COLOUR_KEEP);
    assert_true(none.angle_deg >= 0 && none.angle_deg <= 0);
}

static void test_flip(void **state)
{
    (void)state;
    for (int64_t width = 1; width <= 6; width++) {
        prle_image in = random_image(1, 3, width), out = random_image(1, 3, width);
        prle_augment_flip(&out);
        for (int64_t y = 0; y < 3; y++)
            for (int64_t x = 0; x < width; x++)
                assert_memory_equal(out.data + (y * width + x) * 3, in.data + (y * width + width - 1 - x) * 3, 3);
        prle_image_deinit(&in);
        prle_image_deinit(&out);
    }
}

static void test_rotate(void **state)
{
    (void)state;
    prle_image in = random_image(2, H, W), out = random_image(3, H, W);

    for (double angle = -10; angle <= 10; angle += 4) {
        const double a = angle * acos(-1) / 180, cy = (H - 1) / 2.0, cx = (W - 1) / 2.0;
        assert_ok(prle_augment_rotate(&out, &in, angle));
        for (int64_t y = 0; y < H; y++) {
            for (int64_t x = 0; x < W; x++) {
                /* Rows run downwards, so clockwise in (x, y) is anticlockwise to the eye: the source of a point lies clockwise.
                 */
                const double sx = cx + cos(a) * ((double)x - cx) - sin(a) * ((double)y - cy);
                const double sy = cy + sin(a) * ((double)x - cx) + cos(a) * ((double)y - cy);
                const int64_t x0 = (int64_t)floor(sx), y0 = (int64_t)floor(sy);
                const double fx = sx - (double)x0, fy = sy - (double)y0;
                for (int64_t c = 0; c < 3; c++)
                    assert_rounds(out.data[(y * W + x) * 3 + c],
                                  (1 - fy) * ((1 - fx) * pixel(&in, y0, x0, c) + fx * pixel(&in, y0, x0 + 1, c)) +
                                      fy * ((1 - fx) * pixel(&in, y0 + 1, x0, c) + fx * pixel(&in, y0 + 1, x0 + 1, c)));
            }
        }
    }
    memset(in.data, 0, prle_image_bytes(&in)); /* a white dot to the right of the centre goes up */
    memset(in.data + (H / 2 * W + W - 3) * 3, 255, 3);
    assert_ok(prle_augment_rotate(&out, &in, 10));
    double above = 0, below = 0;
    for (int64_t y = 0; y < H; y++)
        for (int64_t x = 0; x < W; x++)
            *(y < H / 2 ? &above : &below) += pixel(&out, y, x, 0);
    assert_true(above > 150 && below < 10);
    prle_image_deinit(&in);
    prle_image_deinit(&out);
}

/* OpenCV's getGaussianKernel(3), (5), (7) without a sigma, in closed form: sigma 0.8, 1.1, 1.4. */
static void test_blur(void **state)
{
    (void)state;
    static const int64_t heights[] = {1, 2, H};
    float row[3 * (W + 6)];

    for (int size = 3; size <= 7; size += 2) {
        for (int h = 0; h < 3; h++) {
            prle_image in = random_image((uint32_t)size, heights[h], W), out = random_image(3, heights[h], W);
            const double sigma = 0.5 + 0.15 * (size - 1);
            double total = 0;
            for (int k = -(size / 2); k <= size / 2; k++)
                total += exp(-k * k / (2 * sigma * sigma));
            prle_augment_blur(&out, &in, size, row);
            for (int64_t at = 0; at < heights[h] * W * 3; at++) {
                double sum = 0;
                for (int j = -(size / 2); j <= size / 2; j++)
                    for (int i = -(size / 2); i <= size / 2; i++)
                        sum += exp(-(i * i + j * j) / (2 * sigma * sigma)) * pixel(&in, at / 3 / W + j, at / 3 % W + i, at % 3);
                assert_rounds(out.data[at], sum / (total * total));
            }
            memset(in.data, 255, prle_image_bytes(&in)); /* white stays white: no wrap beyond 255 */
            prle_augment_blur(&out, &in, size, row);
            assert_memory_equal(out.data, in.data, prle_image_bytes(&in));
            prle_image_deinit(&in);
            prle_image_deinit(&out);
        }
    }
}

static void test_linear(void **state)
{
    (void)state;
    prle_image in = random_image(5, H, W), out = random_image(5, H, W);
    const prle_colour_params p = {.kind = PRLE_COLOUR_LINEAR, .brightness = 0.09f, .contrast = -0.07f};

    prle_augment_colour(&out, &p);
    for (size_t i = 0; i < prle_image_bytes(&in); i++)
        assert_rounds(out.data[i], in.data[i] * 0.93 + 255 * 0.09);
    prle_augment_colour(&in, &(prle_colour_params){.kind = PRLE_COLOUR_LINEAR, .brightness = 0.1f, .contrast = 0.1f});
    for (size_t i = 0; i < prle_image_bytes(&in); i++)
        assert_true(in.data[i] >= 25);
    prle_image_deinit(&in);
    prle_image_deinit(&out);
}

/* The sector formulas, in double: C = V S, X = C (1 - |H mod 2 - 1|), m = V - C. */
static void hsv_to_rgb(double h, double s, double v, double out[3])
{
    const double sector = fmod(h / 60 + 6, 6), c = v * s, x = c * (1 - fabs(fmod(sector, 2) - 1)), m = v - c;
    const double rgb[6][3] = {{c, x, 0}, {x, c, 0}, {0, c, x}, {0, x, c}, {x, 0, c}, {c, 0, x}};

    for (int k = 0; k < 3; k++)
        out[k] = rgb[(int)sector % 6][k] + m;
}

static void test_hsv(void **state)
{
    (void)state;
    const prle_colour_params keep = {.kind = PRLE_COLOUR_HSV};
    prle_image in = random_image(6, H, W), out = random_image(6, H, W);

    prle_augment_colour(&out, &keep); /* there and back again */
    assert_memory_equal(out.data, in.data, prle_image_bytes(&in));
    for (int h = 0; h < 720; h++) { /* colours of known hue, turned and shifted */
        const double hue = h / 2.0, s = 0.5 + 0.4 * sin(h), v = 0.5 + 0.3 * cos(h), dh = 40 * sin(3 * h), ds = 0.1, dv = -0.07;
        double before[3], after[3];
        uint8_t rgb[3];
        prle_image one = {.height = 1, .width = 1, .channels = 3, .data = rgb};
        hsv_to_rgb(hue, s, v, before);
        for (int k = 0; k < 3; k++)
            rgb[k] = (uint8_t)lrint(255 * before[k]);
        prle_augment_colour(&one, &(prle_colour_params){PRLE_COLOUR_HSV, 0, 0, (float)dh, (float)ds, (float)dv});
        hsv_to_rgb(hue + dh, fmin(s + ds, 1), v + dv, after);
        for (int k = 0; k < 3; k++)
            assert_true(fabs(rgb[k] - 255 * after[k]) <= 2); /* the bytes before have been rounded */
    }
    uint8_t gray[3] = {90, 90, 90};
    prle_image one = {.height = 1, .width = 1, .channels = 3, .data = gray};
    prle_augment_colour(&one, &(prle_colour_params){.kind = PRLE_COLOUR_HSV, .hue_deg = 30, .saturation = 0.1f, .value = 0.1f});
    for (int k = 0; k < 3; k++)
        assert_rounds(gray[k], 90 + 25.5);
    prle_image_deinit(&in);
    prle_image_deinit(&out);
}

static double distance(const prle_image *a, const prle_image *b)
{
    double sum = 0;

    for (size_t i = 0; i < prle_image_bytes(a); i++)
        sum += fabs((double)a->data[i] - b->data[i]);
    return sum / (double)prle_image_bytes(a);
}

/* The augmenter is its parts in their order, allocates nothing, and JPEG is that of core/image.h. */
static void test_augmenter(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    prle_augmenter *augmenter = NULL;
    prle_image have = random_image(8, H, W), want = random_image(8, H, W), spare = random_image(8, H, W), back = {0};
    float row[3 * (W + 6)];
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    const prle_augment_params params = {.flip = true,
                                        .angle_deg = -7,
                                        .blur_size = 5,
                                        .colour = {.kind = PRLE_COLOUR_HSV, .hue_deg = 20, .value = 0.05f},
                                        .jpeg_quality = 60};

    assert_ok(prle_augmenter_create(&augmenter, H, W));
    assert_ok(prle_augmenter_run(augmenter, &have, &params));
    prle_augment_flip(&want);
    assert_ok(prle_augment_rotate(&spare, &want, -7));
    prle_augment_blur(&want, &spare, 5, row);
    prle_augment_colour(&want, &params.colour);
    assert_ok(prle_image_encode_jpeg(&bytes, &n_bytes, &want, &(prle_jpeg_opts){60, PRLE_JPEG_420}));
    assert_ok(prle_image_decode(&back, bytes, n_bytes, 3));
    assert_memory_equal(have.data, back.data, prle_image_bytes(&have));
    assert_true(distance(&have, &want) > 0.5);
    const int64_t count = prle_alloc_count();
    for (uint64_t i = 0; i < 50; i++) {
        const prle_augment_params drawn = prle_augment_draw(PRLE_AUGMENT_BENCH, 1, 0, i);
        assert_ok(prle_augmenter_run(augmenter, &have, &drawn));
    }
    assert_int_equal(prle_alloc_count(), count);
    prle_image_deinit(&want);
    assert_ok(prle_image_init(&want, H, W + 1, 3));
    assert_fails(prle_augmenter_run(augmenter, &want, &params), PRLE_ESHAPE, "35 x 21 x 3, made for 34 x 21 x 3");
    prle_image_deinit(&have);
    prle_image_deinit(&want);
    prle_image_deinit(&spare);
    prle_image_deinit(&back);
    prle_free(bytes);
    prle_augmenter_destroy(augmenter);
    assert_int_equal(prle_alloc_live(), live);
}

static void test_normalise(void **state)
{
    (void)state;
    const float mean[3] = {0.485f, 0.456f, 0.5f}, std[3] = {0.229f, 0.224f, 0.5f};
    const prle_normaliser normaliser = prle_normaliser_make(mean, std);
    uint8_t in[3 * 256];
    float f32[3 * 256];
    double f64[3 * 256];

    for (int x = 0; x < 256; x++)
        for (int c = 0; c < 3; c++)
            in[3 * x + c] = (uint8_t)(x + c * 50);
    prle_normaliser_run(&normaliser, f32, PRLE_F32, in, 256);
    prle_normaliser_run(&normaliser, f64, PRLE_F64, in, 256);
    for (int x = 0; x < 256; x++) {
        for (int c = 0; c < 3; c++) {
            const double want = (in[3 * x + c] / 255.0 - (double)mean[c]) / (double)std[c];
            assert_true(fabs(f64[c * 256 + x] - want) <= 1e-15 && fabs((double)f32[c * 256 + x] - want) <= 2e-7);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draws),     cmocka_unit_test(test_flip),      cmocka_unit_test(test_rotate),
        cmocka_unit_test(test_blur),      cmocka_unit_test(test_linear),    cmocka_unit_test(test_hsv),
        cmocka_unit_test(test_augmenter), cmocka_unit_test(test_normalise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
