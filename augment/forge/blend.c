/* blend.c - see blend.h. */
#include "augment/forge/blend.h"

#include <string.h>

#include "core/alloc.h"

prle_status prle_alpha_hull(float *alpha, int64_t side, const prle_point *points, int64_t n, double feather_px)
{
    prle_point *hull = NULL;
    prle_half_plane *plane = NULL;
    int64_t n_hull = 0;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(PRLE_NEW(hull, 2 * n + 1));
    PRLE_TRY_OUT(PRLE_NEW(plane, n + 1));
    PRLE_TRY_OUT(prle_hull_make(hull, &n_hull, points, n));
    if (n_hull >= 3)
        prle_hull_planes(plane, hull, n_hull);
    for (int64_t i = 0; i < side * side; i++) {
        const prle_point p = {(double)(i % side), (double)(i / side)};
        const double depth = n_hull < 3 ? 0 : prle_hull_depth(plane, n_hull, p) / feather_px;
        const float t = depth <= 0 ? 0 : depth >= 1 ? 1 : (float)depth;
        alpha[i] = t * t * (3 - 2 * t);
    }
out:
    prle_free(hull);
    prle_free(plane);
    return st;
}

void prle_blend_over(prle_canvas *base, const prle_canvas *top, const float *alpha)
{
    for (int64_t i = 0; i < base->side * base->side * 3; i++)
        base->rgb[i] += alpha[i / 3] * (top->rgb[i] - base->rgb[i]);
}

prle_status prle_pyramid_init(prle_pyramid *out, int64_t side, int64_t channels, int n_levels)
{
    prle_pyramid p = {.n_levels = n_levels, .channels = channels};
    int64_t total = 0;

    PRLE_CHECK(n_levels >= 1 && n_levels <= PRLE_PYRAMID_MAX_LEVELS, PRLE_EINVAL, "pyramid of %d levels: 1 to %d are allowed",
               n_levels, PRLE_PYRAMID_MAX_LEVELS);
    for (int k = 0; k < n_levels; k++, side = (side + 1) / 2) {
        p.side[k] = side;
        total += side * side * channels;
    }
    PRLE_TRY(PRLE_NEW(p.data, total));
    p.level[0] = p.data;
    for (int k = 1; k < n_levels; k++)
        p.level[k] = p.level[k - 1] + p.side[k - 1] * p.side[k - 1] * channels;
    *out = p;
    return PRLE_OK;
}

void prle_pyramid_deinit(prle_pyramid *pyramid)
{
    prle_free(pyramid->data);
    *pyramid = (prle_pyramid){0};
}

static int64_t clamped(int64_t i, int64_t side) { return i < 0 ? 0 : i >= side ? side - 1 : i; }

static void level_reduce(float *out, int64_t out_side, const float *in, int64_t side, int64_t channels)
{
    static const float weight[5] = {1 / 16.0f, 4 / 16.0f, 6 / 16.0f, 4 / 16.0f, 1 / 16.0f};

    for (int64_t y = 0; y < out_side; y++)
        for (int64_t x = 0; x < out_side; x++)
            for (int64_t c = 0; c < channels; c++) {
                float sum = 0;
                for (int i = 0; i < 5; i++) {
                    const float *row = in + clamped(2 * y + i - 2, side) * side * channels + c;
                    float row_sum = 0;
                    for (int j = 0; j < 5; j++)
                        row_sum += weight[j] * row[clamped(2 * x + j - 2, side) * channels];
                    sum += weight[i] * row_sum;
                }
                out[(y * out_side + x) * channels + c] = sum;
            }
}

/* The coarse neighbours of fine position i and their weights: 1 6 1 over 8 on a coarse pixel, 1 1 over 2 between two. */
static void neighbours(int64_t at[3], float weight[3], int64_t i, int64_t coarse_side)
{
    const bool between = i % 2 != 0;

    for (int k = 0; k < 3; k++)
        at[k] = clamped(i / 2 + k - 1, coarse_side);
    weight[0] = between ? 0.0f : 0.125f;
    weight[1] = between ? 0.5f : 0.75f;
    weight[2] = between ? 0.5f : 0.125f;
}

/* fine += sign * enlarged coarse */
static void level_add(float *fine, int64_t side, const float *coarse, int64_t coarse_side, int64_t channels, float sign)
{
    int64_t at_y[3], at_x[3];
    float weight_y[3], weight_x[3];

    for (int64_t y = 0; y < side; y++) {
        neighbours(at_y, weight_y, y, coarse_side);
        for (int64_t x = 0; x < side; x++) {
            neighbours(at_x, weight_x, x, coarse_side);
            for (int64_t c = 0; c < channels; c++) {
                float sum = 0;
                for (int i = 0; i < 3; i++)
                    for (int j = 0; j < 3; j++)
                        sum += weight_y[i] * weight_x[j] * coarse[(at_y[i] * coarse_side + at_x[j]) * channels + c];
                fine[(y * side + x) * channels + c] += sign * sum;
            }
        }
    }
}

void prle_pyramid_reduce(prle_pyramid *p, const float *image)
{
    memcpy(p->level[0], image, (size_t)(p->side[0] * p->side[0] * p->channels) * sizeof *image);
    for (int k = 1; k < p->n_levels; k++)
        level_reduce(p->level[k], p->side[k], p->level[k - 1], p->side[k - 1], p->channels);
}

void prle_pyramid_split(prle_pyramid *p)
{
    for (int k = 0; k + 1 < p->n_levels; k++)
        level_add(p->level[k], p->side[k], p->level[k + 1], p->side[k + 1], p->channels, -1.0f);
}

void prle_pyramid_join(prle_pyramid *p)
{
    for (int k = p->n_levels - 2; k >= 0; k--)
        level_add(p->level[k], p->side[k], p->level[k + 1], p->side[k + 1], p->channels, 1.0f);
}

prle_status prle_blender_init(prle_blender *out, int64_t side, int n_levels)
{
    prle_blender blender = {0};
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_pyramid_init(&blender.base, side, 3, n_levels));
    PRLE_TRY_OUT(prle_pyramid_init(&blender.top, side, 3, n_levels));
    PRLE_TRY_OUT(prle_pyramid_init(&blender.alpha, side, 1, n_levels));
    *out = blender;
    blender = (prle_blender){0};
out:
    prle_blender_deinit(&blender);
    return st;
}

void prle_blender_deinit(prle_blender *blender)
{
    prle_pyramid_deinit(&blender->base);
    prle_pyramid_deinit(&blender->top);
    prle_pyramid_deinit(&blender->alpha);
}

void prle_blend_bands(prle_canvas *base, const prle_canvas *top, const float *alpha, const float *share, prle_blender *blender)
{
    prle_pyramid *b = &blender->base, *t = &blender->top, *a = &blender->alpha;

    prle_pyramid_reduce(b, base->rgb);
    prle_pyramid_reduce(t, top->rgb);
    prle_pyramid_reduce(a, alpha);
    prle_pyramid_split(b);
    prle_pyramid_split(t);
    for (int k = 0; k < b->n_levels; k++)
        for (int64_t i = 0; i < b->side[k] * b->side[k] * 3; i++)
            b->level[k][i] += share[k] * a->level[k][i / 3] * (t->level[k][i] - b->level[k][i]);
    prle_pyramid_join(b);
    memcpy(base->rgb, b->level[0], (size_t)(base->side * base->side * 3) * sizeof *base->rgb);
}
