/* resample.c - the geometry of image.h: resize by separable weights, crop, affine warp. */
#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "core/image.h"
#include "core/simd.h"

/* One side of a resize: output i is the sum over k < n_taps of weight[i * n_taps + k] * input[start[i] + k]. */
typedef struct axis {
    int64_t n_out, n_taps;
    int64_t *start; /* [n_out] */
    float *weight;  /* [n_out,n_taps], unused ones 0 */
} axis;

struct prle_resizer {
    axis x, y;
    int64_t channels, in_height, in_width;
    float *rows; /* [in_height, out_width, channels]: resized along x only */
};

static void axis_deinit(axis *a)
{
    prle_free(a->start);
    prle_free(a->weight);
}

/* In single precision, as PyTorch computes it: the same index and weight to the last bit. */
static void bilinear_fill(axis *a, int64_t n_in)
{
    const float scale = (float)n_in / (float)a->n_out;

    for (int64_t i = 0; i < a->n_out; i++) {
        const float at = fmaxf(scale * ((float)i + 0.5f) - 0.5f, 0.0f);
        const int64_t left = (int64_t)at;
        const float share = at - (float)left;
        a->start[i] = left < n_in - 1 ? left : (n_in >= 2 ? n_in - 2 : 0);
        if (a->n_taps == 1) {
            a->weight[i] = 1.0f;
        } else if (left < n_in - 1) {
            a->weight[2 * i] = 1.0f - share;
            a->weight[2 * i + 1] = share;
        } else {
            a->weight[2 * i + 1] = 1.0f;
        }
    }
}

static void area_fill(axis *a, int64_t n_in)
{
    const double scale = (double)n_in / (double)a->n_out;

    for (int64_t i = 0; i < a->n_out; i++) {
        const double lo = (double)i * scale, hi = (double)(i + 1) * scale;
        const int64_t first = (int64_t)lo;
        a->start[i] = first <= n_in - a->n_taps ? first : n_in - a->n_taps;
        for (int64_t k = 0; k < a->n_taps; k++) {
            const double cell = (double)(a->start[i] + k);
            a->weight[i * a->n_taps + k] = (float)(fmax(fmin(hi, cell + 1.0) - fmax(lo, cell), 0.0) / scale);
        }
    }
}

static prle_status axis_init(axis *a, int64_t n_out, int64_t n_in, prle_resize_kind kind)
{
    const bool area = kind == PRLE_RESIZE_AREA && n_out < n_in;
    const int64_t wanted = area ? (n_in + n_out - 1) / n_out + 1 : 2;

    a->n_out = n_out;
    a->n_taps = wanted < n_in ? wanted : n_in;
    PRLE_TRY(PRLE_NEW(a->start, n_out));
    PRLE_TRY(PRLE_NEW(a->weight, n_out * a->n_taps));
    if (area)
        area_fill(a, n_in);
    else
        bilinear_fill(a, n_in);
    return PRLE_OK;
}

static prle_status sides_check(int64_t height, int64_t width)
{
    PRLE_CHECK(height >= 1 && width >= 1 && height <= PRLE_IMAGE_MAX_SIDE && width <= PRLE_IMAGE_MAX_SIDE, PRLE_ESHAPE,
               "resize from or to %lld x %lld pixels: sides of 1 to %d are allowed", (long long)width, (long long)height,
               PRLE_IMAGE_MAX_SIDE);
    return PRLE_OK;
}

prle_status prle_resizer_create(prle_resizer **out, int64_t out_height, int64_t out_width, int64_t in_height, int64_t in_width,
                                int64_t channels, prle_resize_kind kind)
{
    prle_resizer *r = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(sides_check(out_height, out_width));
    PRLE_TRY(sides_check(in_height, in_width));
    PRLE_CHECK(channels == 1 || channels == 3, PRLE_ESHAPE, "resize of %lld channels: 1 or 3 are allowed", (long long)channels);
    PRLE_TRY(PRLE_NEW(r, 1));
    r->channels = channels;
    r->in_height = in_height;
    r->in_width = in_width;
    PRLE_TRY_OUT(axis_init(&r->x, out_width, in_width, kind));
    PRLE_TRY_OUT(axis_init(&r->y, out_height, in_height, kind));
    PRLE_TRY_OUT(PRLE_NEW(r->rows, in_height * out_width * channels));
    *out = r;
    r = NULL;
out:
    prle_resizer_destroy(r);
    return st;
}

void prle_resizer_destroy(prle_resizer *resizer)
{
    if (resizer == NULL)
        return;
    axis_deinit(&resizer->x);
    axis_deinit(&resizer->y);
    prle_free(resizer->rows);
    prle_free(resizer);
}

/* Nearest, ties to even: 3 * 2^22 is so large that the sum has no digits behind the point. */
static inline uint8_t to_byte(float value)
{
    const float inside = value < 0.0f ? 0.0f : value > 255.0f ? 255.0f : value;

    return (uint8_t)(int32_t)((inside + 12582912.0f) - 12582912.0f);
}

static void row_resize(const axis *a, float *out, const uint8_t *in, int64_t channels)
{
    for (int64_t i = 0; i < a->n_out; i++) {
        const float *weight = a->weight + i * a->n_taps;
        for (int64_t c = 0; c < channels; c++) {
            const uint8_t *from = in + a->start[i] * channels + c;
            float sum = 0.0f;
            for (int64_t k = 0; k < a->n_taps; k++)
                sum += weight[k] * (float)from[k * channels];
            out[i * channels + c] = sum;
        }
    }
}

/* The common case of row_resize, loops unrolled: two taps, three channels. */
static void row_resize_rgb(const axis *a, float *restrict out, const uint8_t *restrict in)
{
    for (int64_t i = 0; i < a->n_out; i++) {
        const float left = a->weight[2 * i], right = a->weight[2 * i + 1];
        const uint8_t *from = in + a->start[i] * 3;
        for (int c = 0; c < 3; c++)
            out[3 * i + c] = left * (float)from[c] + right * (float)from[3 + c];
    }
}

/* One row of the result: the weighted sum of n_taps rows, first tap first. */
PRLE_SIMD_CLONES
static void rows_mix(uint8_t *restrict out, const float *restrict rows, const float *weight, int64_t n_taps, int64_t n_row)
{
    if (n_taps == 2) {
        const float upper = weight[0], lower = weight[1];
        for (int64_t j = 0; j < n_row; j++)
            out[j] = to_byte(upper * rows[j] + lower * rows[n_row + j]);
        return;
    }
    for (int64_t j = 0; j < n_row; j++) {
        float sum = 0.0f;
        for (int64_t k = 0; k < n_taps; k++)
            sum += weight[k] * rows[k * n_row + j];
        out[j] = to_byte(sum);
    }
}

void prle_resizer_run(prle_resizer *resizer, uint8_t *out, const uint8_t *in)
{
    const axis *x = &resizer->x, *y = &resizer->y;
    const int64_t channels = resizer->channels, n_row = x->n_out * channels;

    for (int64_t i = 0; i < resizer->in_height; i++) {
        const uint8_t *from = in + i * resizer->in_width * channels;
        if (channels == 3 && x->n_taps == 2)
            row_resize_rgb(x, resizer->rows + i * n_row, from);
        else
            row_resize(x, resizer->rows + i * n_row, from, channels);
    }
    for (int64_t i = 0; i < y->n_out; i++)
        rows_mix(out + i * n_row, resizer->rows + y->start[i] * n_row, y->weight + i * y->n_taps, y->n_taps, n_row);
}

prle_status prle_image_resize(prle_image *out, const prle_image *in, prle_resize_kind kind)
{
    prle_resizer *resizer = NULL;

    PRLE_CHECK(out->channels == in->channels, PRLE_ESHAPE, "resize of %lld channels into %lld", (long long)in->channels,
               (long long)out->channels);
    PRLE_TRY(prle_resizer_create(&resizer, out->height, out->width, in->height, in->width, in->channels, kind));
    prle_resizer_run(resizer, out->data, in->data);
    prle_resizer_destroy(resizer);
    return PRLE_OK;
}

prle_status prle_image_crop(prle_image *out, const prle_image *in, int64_t y, int64_t x)
{
    PRLE_CHECK(out->channels == in->channels && y >= 0 && x >= 0 && y <= in->height - out->height && x <= in->width - out->width,
               PRLE_ESHAPE, "crop of %lld x %lld x %lld at x %lld, y %lld leaves the picture of %lld x %lld x %lld",
               (long long)out->width, (long long)out->height, (long long)out->channels, (long long)x, (long long)y,
               (long long)in->width, (long long)in->height, (long long)in->channels);
    const int64_t n_row = out->width * out->channels;
    for (int64_t i = 0; i < out->height; i++)
        memcpy(out->data + i * n_row, in->data + ((y + i) * in->width + x) * in->channels, (size_t)n_row);
    return PRLE_OK;
}

/* The pixel's first byte, or NULL outside under PRLE_BORDER_ZERO. */
static const uint8_t *pixel_at(const prle_image *in, int64_t y, int64_t x, prle_border border)
{
    const int64_t yy = y < 0 ? 0 : y >= in->height ? in->height - 1 : y, xx = x < 0 ? 0 : x >= in->width ? in->width - 1 : x;

    if (border == PRLE_BORDER_ZERO && (yy != y || xx != x))
        return NULL;
    return in->data + (yy * in->width + xx) * in->channels;
}

static void sample_at_border(uint8_t *out, const prle_image *in, int64_t x0, int64_t y0, const float weight[4],
                             prle_border border)
{
    float sum[3] = {0, 0, 0};

    for (int k = 0; k < 4; k++) {
        const uint8_t *p = pixel_at(in, y0 + k / 2, x0 + k % 2, border);
        for (int64_t c = 0; p != NULL && c < in->channels; c++)
            sum[c] += weight[k] * (float)p[c];
    }
    for (int64_t c = 0; c < in->channels; c++)
        out[c] = to_byte(sum[c]);
}

static double within(double value, double least, double most) { return value < least ? least : value > most ? most : value; }

static void sample_bilinear(uint8_t *out, const prle_image *in, double x, double y, prle_border border)
{
    /* Anything further out than two pixels sees the border only; the clamp keeps the cast to integers legal. */
    const double cx = within(x, -2.0, (double)in->width + 1.0), cy = within(y, -2.0, (double)in->height + 1.0);
    const int64_t x0 = (int64_t)(cx + 2.0) - 2, y0 = (int64_t)(cy + 2.0) - 2;
    const float fx = (float)(cx - (double)x0), fy = (float)(cy - (double)y0);
    const float weight[4] = {(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx};

    if (x0 < 0 || y0 < 0 || x0 + 1 >= in->width || y0 + 1 >= in->height) {
        sample_at_border(out, in, x0, y0, weight, border);
        return;
    }
    const uint8_t *p = in->data + (y0 * in->width + x0) * in->channels, *q = p + in->width * in->channels;
    for (int64_t c = 0; c < in->channels; c++)
        out[c] = to_byte(weight[0] * (float)p[c] + weight[1] * (float)p[c + in->channels] + weight[2] * (float)q[c] +
                         weight[3] * (float)q[c + in->channels]);
}

prle_status prle_image_warp(prle_image *out, const prle_image *in, const prle_affine *map, prle_border border)
{
    const double probe = map->xx + map->xy + map->x0 + map->yx + map->yy + map->y0;

    PRLE_CHECK(out->channels == in->channels, PRLE_ESHAPE, "warp of %lld channels into %lld", (long long)in->channels,
               (long long)out->channels);
    PRLE_CHECK(isfinite(probe), PRLE_ENUMERIC, "affine map with a value that is not finite");
    for (int64_t y = 0; y < out->height; y++)
        for (int64_t x = 0; x < out->width; x++)
            sample_bilinear(out->data + (y * out->width + x) * out->channels, in,
                            map->xx * (double)x + map->xy * (double)y + map->x0,
                            map->yx * (double)x + map->yy * (double)y + map->y0, border);
    return PRLE_OK;
}
