/* transform.c - flip, rotation, blur, colour and JPEG, and the draws that choose among them. */
#include "augment/transform.h"

#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "core/rng.h"
#include "core/simd.h"

const char *const prle_augment_words[] = {[PRLE_AUGMENT_NONE] = "none", [PRLE_AUGMENT_BENCH] = "bench", NULL};

static bool coin(prle_rng *rng) { return prle_rng_uniform(rng) < 0.5; }

static prle_colour_params colour_draw(prle_rng *rng)
{
    const bool wanted = coin(rng), hsv = coin(rng);
    double amount[3]; /* [-1,1) */

    for (int i = 0; i < 3; i++)
        amount[i] = prle_rng_range(rng, -1.0, 1.0);
    if (!wanted)
        return (prle_colour_params){.kind = PRLE_COLOUR_KEEP};
    if (!hsv)
        return (prle_colour_params){
            .kind = PRLE_COLOUR_LINEAR, .brightness = (float)(0.1 * amount[0]), .contrast = (float)(0.1 * amount[1])};
    return (prle_colour_params){.kind = PRLE_COLOUR_HSV,
                                .hue_deg = (float)(40.0 * amount[0]),
                                .saturation = (float)(30.0 / 255.0 * amount[1]),
                                .value = (float)(20.0 / 255.0 * amount[2])};
}

prle_augment_params prle_augment_draw(prle_augment kind, uint64_t seed, uint32_t epoch, uint64_t sample)
{
    prle_rng rng = prle_rng_make(seed, epoch, sample, PRLE_RNG_AUGMENT);
    prle_augment_params params = {0};

    if (kind == PRLE_AUGMENT_NONE)
        return params;
    params.flip = coin(&rng);
    const bool rotate = coin(&rng);
    const double angle_deg = prle_rng_range(&rng, -10.0, 10.0);
    const bool blur = coin(&rng);
    const int blur_size = 3 + 2 * (int)prle_rng_below(&rng, 3);
    params.colour = colour_draw(&rng);
    const bool jpeg = coin(&rng);
    const int quality = 40 + (int)prle_rng_below(&rng, 61);
    params.angle_deg = rotate ? angle_deg : 0.0;
    params.blur_size = blur ? blur_size : 0;
    params.jpeg_quality = jpeg ? quality : 0;
    return params;
}

void prle_augment_flip(prle_image *image)
{
    for (int64_t y = 0; y < image->height; y++) {
        uint8_t *row = image->data + y * image->width * 3;
        for (int64_t left = 0, right = image->width - 1; left < right; left++, right--) {
            uint8_t swap[3];
            memcpy(swap, row + 3 * left, 3);
            memcpy(row + 3 * left, row + 3 * right, 3);
            memcpy(row + 3 * right, swap, 3);
        }
    }
}

prle_status prle_augment_rotate(prle_image *out, const prle_image *in, double angle_deg)
{
    const double angle = angle_deg * 3.14159265358979323846 / 180.0, c = cos(angle), s = sin(angle);
    const double cx = 0.5 * (double)(in->width - 1), cy = 0.5 * (double)(in->height - 1);
    /* Rows run downwards: the picture turns anticlockwise when each output pixel looks clockwise. */
    const prle_affine map = {.xx = c, .xy = -s, .x0 = cx - c * cx + s * cy, .yx = s, .yy = c, .y0 = cy - s * cx - c * cy};

    return prle_image_warp(out, in, &map, PRLE_BORDER_EDGE);
}

enum { MAX_TAPS = 7 };

static void gaussian_fill(float weight[MAX_TAPS], int size)
{
    const double sigma = 0.3 * (0.5 * (size - 1) - 1.0) + 0.8;
    double raw[MAX_TAPS], sum = 0.0;

    for (int k = 0; k < size; k++) {
        const double d = k - size / 2;
        raw[k] = exp(-d * d / (2.0 * sigma * sigma));
        sum += raw[k];
    }
    for (int k = 0; k < size; k++)
        weight[k] = (float)(raw[k] / sum);
}

static int64_t clamp(int64_t at, int64_t n) { return at < 0 ? 0 : at >= n ? n - 1 : at; }

/* out[i] = sum over k of weight[k] in[k][i], k ascending. */
PRLE_SIMD_CLONES
static void bytes_sum(float *restrict out, const uint8_t *const *in, const float *weight, int n_taps, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = weight[0] * (float)in[0][i];
    for (int k = 1; k < n_taps; k++) {
        const uint8_t *restrict from = in[k];
        for (int64_t i = 0; i < n; i++)
            out[i] += weight[k] * (float)from[i];
    }
}

/* out[i] = sum over k of weight[k] in[i + 3 k], rounded; weights are positive and sum to 1: never below 0, never above 255.49. */
PRLE_SIMD_CLONES
static void floats_sum(uint8_t *restrict out, const float *restrict in, const float *weight, int n_taps, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float sum = weight[0] * in[i];
        for (int k = 1; k < n_taps; k++)
            sum += weight[k] * in[i + 3 * k];
        out[i] = (uint8_t)(sum + 0.5f);
    }
}

void prle_augment_blur(prle_image *out, const prle_image *in, int size, float *row)
{
    const int64_t radius = size / 2, n_row = in->width * 3;
    const uint8_t *from[MAX_TAPS];
    float weight[MAX_TAPS];

    gaussian_fill(weight, size);
    for (int64_t y = 0; y < in->height; y++) {
        for (int k = 0; k < size; k++)
            from[k] = in->data + clamp(y + k - radius, in->height) * n_row;
        bytes_sum(row + 3 * radius, from, weight, size, n_row);
        for (int64_t x = 0; x < radius; x++) {
            memcpy(row + 3 * x, row + 3 * radius, 3 * sizeof *row);
            memcpy(row + 3 * (radius + in->width + x), row + 3 * (radius + in->width - 1), 3 * sizeof *row);
        }
        floats_sum(out->data + y * n_row, row, weight, size, n_row);
    }
}

static uint8_t to_byte(float value) { return (uint8_t)lrintf(fminf(fmaxf(value, 0.0f), 255.0f)); }

static void linear_apply(prle_image *image, float brightness, float contrast)
{
    const size_t n = prle_image_bytes(image);
    uint8_t table[256];

    for (int x = 0; x < 256; x++)
        table[x] = to_byte((float)x * (1.0f + contrast) + 255.0f * brightness);
    for (size_t i = 0; i < n; i++)
        image->data[i] = table[image->data[i]];
}

/* Hue in sixths of the circle from red, [0,6). */
typedef struct hsv {
    float h, s, v;
} hsv;

static hsv hsv_from_rgb(const uint8_t rgb[3])
{
    const float r = (float)rgb[0] / 255.0f, g = (float)rgb[1] / 255.0f, b = (float)rgb[2] / 255.0f;
    const float v = fmaxf(r, fmaxf(g, b)), range = v - fminf(r, fminf(g, b));
    hsv out = {0, 0, v};

    if (range <= 0.0f)
        return out;
    out.s = range / v;
    if (v <= r)
        out.h = (g - b) / range + (g < b ? 6.0f : 0.0f);
    else if (v <= g)
        out.h = (b - r) / range + 2.0f;
    else
        out.h = (r - g) / range + 4.0f;
    return out;
}

/* One channel of the hexagonal model, n = 5 red, 3 green, 1 blue: V - V S max(0, min(k, 4 - k, 1)), k = (n + H) mod 6. */
static uint8_t hsv_channel(const hsv *c, float n)
{
    const float sum = n + c->h, k = sum >= 6.0f ? sum - 6.0f : sum;

    return to_byte(255.0f * (c->v - c->v * c->s * fmaxf(0.0f, fminf(fminf(k, 4.0f - k), 1.0f))));
}

static float unit_clip(float value) { return fminf(fmaxf(value, 0.0f), 1.0f); }

static void hsv_apply(prle_image *image, const prle_colour_params *params)
{
    const float turn = params->hue_deg / 60.0f;

    for (uint8_t *rgb = image->data, *end = rgb + prle_image_bytes(image); rgb < end; rgb += 3) {
        hsv c = hsv_from_rgb(rgb);
        c.h += turn;
        c.h += c.h < 0.0f ? 6.0f : c.h >= 6.0f ? -6.0f : 0.0f;
        c.s = c.s > 0.0f ? unit_clip(c.s + params->saturation) : 0.0f; /* gray has no hue to bring out */
        c.v = unit_clip(c.v + params->value);
        rgb[0] = hsv_channel(&c, 5.0f);
        rgb[1] = hsv_channel(&c, 3.0f);
        rgb[2] = hsv_channel(&c, 1.0f);
    }
}

void prle_augment_colour(prle_image *image, const prle_colour_params *params)
{
    if (params->kind == PRLE_COLOUR_LINEAR)
        linear_apply(image, params->brightness, params->contrast);
    else if (params->kind == PRLE_COLOUR_HSV)
        hsv_apply(image, params);
}

struct prle_augmenter {
    prle_image spare;
    float *row; /* [W + MAX_TAPS - 1, 3] */
    prle_jpeg_encoder *encoder;
    prle_decoder *decoder;
};

prle_status prle_augmenter_create(prle_augmenter **out, int64_t height, int64_t width)
{
    prle_augmenter *augmenter = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(PRLE_NEW(augmenter, 1));
    PRLE_TRY_OUT(prle_image_init(&augmenter->spare, height, width, 3));
    PRLE_TRY_OUT(PRLE_NEW(augmenter->row, (width + MAX_TAPS - 1) * 3));
    PRLE_TRY_OUT(prle_jpeg_encoder_create(&augmenter->encoder));
    PRLE_TRY_OUT(prle_decoder_create(&augmenter->decoder));
    *out = augmenter;
    augmenter = NULL;
out:
    prle_augmenter_destroy(augmenter);
    return st;
}

void prle_augmenter_destroy(prle_augmenter *augmenter)
{
    if (augmenter == NULL)
        return;
    prle_image_deinit(&augmenter->spare);
    prle_free(augmenter->row);
    prle_jpeg_encoder_destroy(augmenter->encoder);
    prle_decoder_destroy(augmenter->decoder);
    prle_free(augmenter);
}

/* A copy of the image, for the transforms that cannot work in place. */
static const prle_image *spare_copy(prle_augmenter *augmenter, const prle_image *image)
{
    memcpy(augmenter->spare.data, image->data, prle_image_bytes(image));
    return &augmenter->spare;
}

static prle_status jpeg_apply(prle_augmenter *augmenter, prle_image *image, int quality)
{
    const prle_jpeg_opts opts = {.quality = quality, .sampling = PRLE_JPEG_420};
    const uint8_t *bytes = NULL;
    size_t n_bytes = 0;

    PRLE_TRY(prle_jpeg_encoder_run(augmenter->encoder, &bytes, &n_bytes, image, &opts));
    return prle_decoder_decode_into(augmenter->decoder, image, prle_image_bytes(image), bytes, n_bytes, 3);
}

prle_status prle_augmenter_run(prle_augmenter *augmenter, prle_image *image, const prle_augment_params *params)
{
    PRLE_CHECK(image->height == augmenter->spare.height && image->width == augmenter->spare.width && image->channels == 3,
               PRLE_ESHAPE, "augmentation of %lld x %lld x %lld, made for %lld x %lld x 3", (long long)image->width,
               (long long)image->height, (long long)image->channels, (long long)augmenter->spare.width,
               (long long)augmenter->spare.height);
    if (params->flip)
        prle_augment_flip(image);
    if (params->angle_deg < 0.0 || params->angle_deg > 0.0)
        PRLE_TRY(prle_augment_rotate(image, spare_copy(augmenter, image), params->angle_deg));
    if (params->blur_size > 0)
        prle_augment_blur(image, spare_copy(augmenter, image), params->blur_size, augmenter->row);
    prle_augment_colour(image, &params->colour);
    if (params->jpeg_quality > 0)
        PRLE_TRY(jpeg_apply(augmenter, image, params->jpeg_quality));
    return PRLE_OK;
}
