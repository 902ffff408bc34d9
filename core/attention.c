/* attention.c - integer weights and double sums: nothing here depends on the compiler's choice of instructions. */
#include "core/attention.h"

#include <math.h>

#include "core/alloc.h"
#include "core/simd.h"

/* For each output position along one axis: the two source positions, and the integer weight of the second out of 2 * n_out. */
typedef struct axis {
    int64_t *first, *second;
    double *weight;
} axis;

static void axis_deinit(axis *a)
{
    prle_free(a->first);
    prle_free(a->second);
    prle_free(a->weight);
}

static prle_status axis_init(axis *a, int64_t n_in, int64_t n_out)
{
    PRLE_TRY(PRLE_NEW(a->first, n_out));
    PRLE_TRY(PRLE_NEW(a->second, n_out));
    PRLE_TRY(PRLE_NEW(a->weight, n_out));
    for (int64_t i = 0; i < n_out; i++) {
        const int64_t position = (2 * i + 1) * n_in - n_out; /* in units of 1 / (2 n_out) source pixels */
        const int64_t clamped = position < 0 ? 0 : position;

        a->first[i] = clamped / (2 * n_out);
        a->second[i] = a->first[i] + 1 < n_in ? a->first[i] + 1 : a->first[i];
        a->weight[i] = (double)(clamped % (2 * n_out));
    }
    return PRLE_OK;
}

/* What both resizes need: every source row already stretched to W columns, times 2W. */
typedef struct stretched {
    axis rows, columns;
    double *lines; /* [h,W] */
    double *line;  /* [W]: one output row, times 4HW */
} stretched;

static void stretched_deinit(stretched *s)
{
    axis_deinit(&s->rows);
    axis_deinit(&s->columns);
    prle_free(s->lines);
    prle_free(s->line);
}

static prle_status stretched_init(stretched *s, const double *map, int64_t h, int64_t w, int64_t H, int64_t W)
{
    const double whole = 2.0 * (double)W;

    PRLE_TRY(axis_init(&s->rows, h, H));
    PRLE_TRY(axis_init(&s->columns, w, W));
    PRLE_TRY(PRLE_NEW(s->lines, h * W));
    PRLE_TRY(PRLE_NEW(s->line, W));
    for (int64_t y = 0; y < h; y++) {
        const double *row = map + y * w;
        double *line = s->lines + y * W;

        for (int64_t x = 0; x < W; x++) {
            const double a = s->columns.weight[x];
            line[x] = (whole - a) * row[s->columns.first[x]] + a * row[s->columns.second[x]];
        }
    }
    return PRLE_OK;
}

PRLE_SIMD_CLONES
static void blend(double *out, const double *top, const double *bottom, double whole, double b, int64_t n)
{
    const double rest = whole - b;

    for (int64_t x = 0; x < n; x++)
        out[x] = rest * top[x] + b * bottom[x];
}

static const double *stretched_row(const stretched *s, int64_t y, int64_t H, int64_t W)
{
    const double *top = s->lines + s->rows.first[y] * W, *bottom = s->lines + s->rows.second[y] * W;

    blend(s->line, top, bottom, 2.0 * (double)H, s->rows.weight[y], W);
    return s->line;
}

/* rint(32768 v / whole) for 0 <= v <= whole. Adding 1.5 * 2^52 leaves no bits for a fraction: rounds half to even, as rint
 * does, with the baseline's instructions too. */
PRLE_SIMD_CLONES
static void quantise_row(uint16_t *q, const double *v, double whole, int64_t n)
{
    const double shift = 0x1.8p52;

    for (int64_t x = 0; x < n; x++)
        q[x] = (uint16_t)(int32_t)((v[x] * PRLE_ATTENTION_ONE / whole + shift) - shift);
}

static prle_status check_sides(int64_t h, int64_t w)
{
    const int64_t limit = 1 << 20; /* keeps products of two sides far from overflow */

    PRLE_CHECK(h >= 1 && w >= 1 && h <= limit && w <= limit, PRLE_ESHAPE,
               "attention map of %lld x %lld: sides must be 1 ... %lld", (long long)h, (long long)w, (long long)limit);
    return PRLE_OK;
}

static prle_status check_finite(const double *map, int64_t h, int64_t w)
{
    for (int64_t i = 0; i < h * w; i++)
        PRLE_CHECK(isfinite(map[i]), PRLE_ENUMERIC, "attention map: value %g at row %lld, column %lld is not finite", map[i],
                   (long long)(i / w), (long long)(i % w));
    return PRLE_OK;
}

prle_status prle_attention_normalise(double *map, int64_t h, int64_t w)
{
    PRLE_TRY(check_sides(h, w));
    PRLE_TRY(check_finite(map, h, w));
    const int64_t n = h * w;
    double lo = map[0], hi = map[0];
    for (int64_t i = 1; i < n; i++) {
        lo = map[i] < lo ? map[i] : lo;
        hi = map[i] > hi ? map[i] : hi;
    }
    for (int64_t i = 0; i < n; i++)
        map[i] = hi > lo ? (map[i] / 2 - lo / 2) / (hi / 2 - lo / 2) : 0; /* halves: the range may not fit a double */
    return PRLE_OK;
}

prle_status prle_attention_resize(const double *map, int64_t h, int64_t w, int64_t H, int64_t W, double *out)
{
    prle_status st = PRLE_OK;
    stretched s = {0};
    const double whole = 4.0 * (double)H * (double)W;

    PRLE_TRY(check_sides(h, w));
    PRLE_TRY(check_sides(H, W));
    PRLE_TRY(check_finite(map, h, w));
    PRLE_TRY_OUT(stretched_init(&s, map, h, w, H, W));
    for (int64_t y = 0; y < H; y++) {
        const double *row = stretched_row(&s, y, H, W);
        for (int64_t x = 0; x < W; x++)
            out[y * W + x] = row[x] / whole;
    }
out:
    stretched_deinit(&s);
    return st;
}

prle_status prle_attention_check(const float *map, int64_t h, int64_t w)
{
    PRLE_TRY(check_sides(h, w));
    for (int64_t i = 0; i < h * w; i++)
        PRLE_CHECK(isfinite(map[i]), PRLE_ENUMERIC, "attention map: value %g at row %lld, column %lld is not finite",
                   (double)map[i], (long long)(i / w), (long long)(i % w));
    for (int64_t i = 0; i < h * w; i++)
        PRLE_CHECK(map[i] >= 0 && map[i] <= 1, PRLE_EINVAL,
                   "attention map: value %g at row %lld, column %lld is outside [0,1]: normalise the map first", (double)map[i],
                   (long long)(i / w), (long long)(i % w));
    return PRLE_OK;
}

prle_status prle_attention_quantise(const float *map, int64_t h, int64_t w, int64_t H, int64_t W, uint16_t *q)
{
    prle_status st = PRLE_OK;
    stretched s = {0};
    double *wide = NULL;
    const double whole = 4.0 * (double)H * (double)W;

    PRLE_TRY(prle_attention_check(map, h, w));
    PRLE_TRY(check_sides(H, W));
    PRLE_TRY(PRLE_NEW(wide, h * w));
    for (int64_t i = 0; i < h * w; i++)
        wide[i] = (double)map[i];
    PRLE_TRY_OUT(stretched_init(&s, wide, h, w, H, W));
    for (int64_t y = 0; y < H; y++)
        quantise_row(q + y * W, stretched_row(&s, y, H, W), whole, W);
out:
    stretched_deinit(&s);
    prle_free(wide);
    return st;
}
