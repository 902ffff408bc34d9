/* colour.c - see colour.h. */
#include "augment/forge/colour.h"

#include <math.h>

#define MAX_STRETCH 1.5

enum { ENOUGH_SIDE = 128 }; /* of larger pictures every third pixel tells the statistics */

/* Of the white point D65, 2 degrees. */
static const float white[3] = {0.95047f, 1.0f, 1.08883f};

static float within(float value, float most) { return value < 0 ? 0 : value > most ? most : value; }

static float linear_of(float value)
{
    const float v = within(value, 255.0f) / 255.0f;

    return v <= 0.04045f ? v / 12.92f : powf((v + 0.055f) / 1.055f, 2.4f);
}

static float gamma_of(float linear)
{
    const float v = within(linear, 1.0f);

    return 255.0f * (v <= 0.0031308f ? 12.92f * v : 1.055f * powf(v, 1.0f / 2.4f) - 0.055f);
}

/* The cube root with its straight piece near black, and its inverse. */
static float root_of(float t) { return t > 216.0f / 24389.0f ? cbrtf(t) : (24389.0f / 27.0f * t + 16.0f) / 116.0f; }
static float cube_of(float f) { return f > 6.0f / 29.0f ? f * f * f : (116.0f * f - 16.0f) * 27.0f / 24389.0f; }

void prle_lab_from_rgb(float lab[3], const float rgb[3])
{
    const float r = linear_of(rgb[0]), g = linear_of(rgb[1]), b = linear_of(rgb[2]);
    const float x = root_of((0.4124564f * r + 0.3575761f * g + 0.1804375f * b) / white[0]),
                y = root_of((0.2126729f * r + 0.7151522f * g + 0.0721750f * b) / white[1]),
                z = root_of((0.0193339f * r + 0.1191920f * g + 0.9503041f * b) / white[2]);

    lab[0] = 116.0f * y - 16.0f;
    lab[1] = 500.0f * (x - y);
    lab[2] = 200.0f * (y - z);
}

void prle_lab_to_rgb(float rgb[3], const float lab[3])
{
    const float fy = (lab[0] + 16.0f) / 116.0f;
    const float x = white[0] * cube_of(fy + lab[1] / 500.0f), y = white[1] * cube_of(fy),
                z = white[2] * cube_of(fy - lab[2] / 200.0f);

    rgb[0] = gamma_of(3.2404542f * x - 1.5371385f * y - 0.4985314f * z);
    rgb[1] = gamma_of(-0.9692660f * x + 1.8760108f * y + 0.0415560f * z);
    rgb[2] = gamma_of(0.0556434f * x - 0.2040259f * y + 1.0572252f * z);
}

prle_lab_stats prle_lab_stats_make(const prle_canvas *canvas, const float *weight)
{
    const int64_t stride = canvas->side < ENOUGH_SIDE ? 1 : 3;
    prle_lab_stats stats = {0};
    double sum[3] = {0}, square[3] = {0};

    for (int64_t i = 0; i < canvas->side * canvas->side; i += stride) {
        float lab[3];
        if (!(weight[i] > 0))
            continue;
        prle_lab_from_rgb(lab, canvas->rgb + 3 * i);
        stats.weight += (double)weight[i];
        for (int c = 0; c < 3; c++) {
            sum[c] += (double)weight[i] * (double)lab[c];
            square[c] += (double)weight[i] * (double)lab[c] * (double)lab[c];
        }
    }
    for (int c = 0; c < 3 && stats.weight > 0; c++) {
        stats.mean[c] = sum[c] / stats.weight;
        stats.deviation[c] = sqrt(fmax(square[c] / stats.weight - stats.mean[c] * stats.mean[c], 0));
    }
    return stats;
}

void prle_colour_match(prle_canvas *canvas, const prle_canvas *like, const float *weight)
{
    const prle_lab_stats own = prle_lab_stats_make(canvas, weight), wanted = prle_lab_stats_make(like, weight);
    float stretch[3];

    for (int c = 0; c < 3; c++) {
        const double ratio = own.deviation[c] > 0 ? wanted.deviation[c] / own.deviation[c] : 1;
        stretch[c] = (float)fmin(fmax(ratio, 1 / MAX_STRETCH), MAX_STRETCH);
    }
    for (int64_t i = 0; i < canvas->side * canvas->side; i++) {
        float lab[3];
        if (!(weight[i] > 0))
            continue;
        prle_lab_from_rgb(lab, canvas->rgb + 3 * i);
        for (int c = 0; c < 3; c++)
            lab[c] = (lab[c] - (float)own.mean[c]) * stretch[c] + (float)wanted.mean[c];
        prle_lab_to_rgb(canvas->rgb + 3 * i, lab);
    }
}
