/* heatmap.c - a colour scale walked through Oklab (B. Ottosson, 2020): lightness straight up, hue through the warm colours. */
#include "core/heatmap.h"

#include <math.h>

#include "core/alloc.h"
#include "core/attention.h"

static uint8_t srgb8(double linear)
{
    const double v = linear < 0 ? 0 : linear > 1 ? 1 : linear;

    return (uint8_t)lrint(255.0 * (v <= 0.0031308 ? 12.92 * v : 1.055 * pow(v, 1 / 2.4) - 0.055));
}

static double cube(double v) { return v * v * v; }

static void oklab_to_srgb8(double L, double a, double b, uint8_t out[3])
{
    const double l = cube(L + 0.3963377774 * a + 0.2158037573 * b);
    const double m = cube(L - 0.1055613458 * a - 0.0638541728 * b);
    const double s = cube(L - 0.0894841775 * a - 1.2914855480 * b);

    out[0] = srgb8(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s);
    out[1] = srgb8(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s);
    out[2] = srgb8(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s);
}

void prle_heatmap_colors(uint8_t out[256][3])
{
    const double degree = 0.017453292519943295;

    for (int i = 0; i < 256; i++) {
        const double v = i / 255.0;
        const double lightness = 0.2 + 0.75 * v, hue = (280 + 185 * v) * degree;
        const double chroma = 0.09 + 0.29 * v - 0.24 * v * v; /* as strong as sRGB can show along this path */

        oklab_to_srgb8(lightness, chroma * cos(hue), chroma * sin(hue), out[i]);
    }
}

static prle_status check_same(const char *what, const prle_image *image, int64_t height, int64_t width, int64_t channels)
{
    PRLE_CHECK(image->height == height && image->width == width && image->channels == channels, PRLE_ESHAPE,
               "heat map: %s is %lld x %lld x %lld, expected %lld x %lld x %lld", what, (long long)image->height,
               (long long)image->width, (long long)image->channels, (long long)height, (long long)width, (long long)channels);
    return PRLE_OK;
}

prle_status prle_heatmap_overlay(prle_image *out, const prle_image *image, const prle_image *attention, double strength)
{
    const int64_t n = image->height * image->width;
    uint8_t colors[256][3];

    PRLE_TRY(check_same("the picture", image, image->height, image->width, 3));
    PRLE_TRY(check_same("the result", out, image->height, image->width, 3));
    PRLE_TRY(check_same("the attention", attention, image->height, image->width, 1));
    PRLE_CHECK(strength >= 0.0 && strength <= 1.0, PRLE_EINVAL, "heat map: strength %g must be in [0,1]", strength);
    prle_heatmap_colors(colors);
    for (int64_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++) {
            const double below = image->data[3 * i + c], above = colors[attention->data[i]][c];
            out->data[3 * i + c] = (uint8_t)((1 - strength) * below + strength * above + 0.5);
        }
    return PRLE_OK;
}

prle_status prle_heatmap_overlay_map(prle_image *out, const prle_image *image, const float *map, int64_t h, int64_t w,
                                     double strength)
{
    prle_status st = PRLE_OK;
    const int64_t n = image->height * image->width;
    prle_image attention = {0};
    uint16_t *q = NULL;

    PRLE_TRY_OUT(prle_image_init(&attention, image->height, image->width, 1));
    PRLE_TRY_OUT(PRLE_NEW(q, n));
    PRLE_TRY_OUT(prle_attention_quantise(map, h, w, image->height, image->width, q));
    for (int64_t i = 0; i < n; i++)
        attention.data[i] = (uint8_t)((q[i] * 255 + PRLE_ATTENTION_ONE / 2) / PRLE_ATTENTION_ONE);
    PRLE_TRY_OUT(prle_heatmap_overlay(out, image, &attention, strength));
out:
    prle_free(q);
    prle_image_deinit(&attention);
    return st;
}

prle_status prle_heatmap_hide(prle_image *out, const prle_image *image, const uint8_t *mask)
{
    const int64_t n = image->height * image->width, channels = image->channels;

    PRLE_TRY(check_same("the result", out, image->height, image->width, channels));
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < channels; c++)
            out->data[i * channels + c] = mask[i] ? 0 : image->data[i * channels + c];
    return PRLE_OK;
}
