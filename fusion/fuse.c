/* fuse.c - the four rules, row by row; every quantity is an integer, so the order of work cannot change a result. */
#include "fusion/fuse.h"

#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "core/attention.h"
#include "core/rankmap.h"
#include "core/simd.h"

enum { MILLION = 1000000, MAX_WINDOW = (2 * PRLE_FUSE_MAX_RADIUS + 1) * (2 * PRLE_FUSE_MAX_RADIUS + 1) };

struct prle_fuser {
    prle_fuse_opts opts;
    int T;
    int64_t H, W;
    prle_fuse_limits limits;
    int32_t window_limits[MAX_WINDOW + 1]; /* by n: prle_fuse_window_limit */
    uint32_t *value;                       /* [H,W] the fused map, times 32768 T */
    uint32_t *first;                       /* [32768 T + 1] scratch of the counting sort */
    int64_t rows_inside;                   /* the window height that inside and limit below were filled for */
    int32_t *inside, *limit;               /* [W] pixels of the window at each column, and limits[] of it */
    int32_t *column_sum, *box_sum;         /* [W] */
    uint16_t *column_lo, *column_hi;       /* [W] */
    uint16_t *box_lo, *box_hi;             /* [W] */
    uint16_t *top;                         /* [W] max over maps and window */
    int32_t *disagree;                     /* [W] g of Eq. 7: 0 or 1 */
};

/* ---- options ---- */

const char *const prle_fuse_rule_words[] = {
    [PRLE_FUSE_EXPAND] = "expand",
    [PRLE_FUSE_NEIGHBOR] = "neighbor",
    [PRLE_FUSE_AVERAGE] = "average",
    [PRLE_FUSE_HYSTERESIS] = "hysteresis",
    NULL,
};
_Static_assert(sizeof prle_fuse_rule_words / sizeof *prle_fuse_rule_words == PRLE_FUSE_N_RULES + 1, "a word for each");

static prle_status check_share(const char *name, double share)
{
    PRLE_CHECK(share >= 0.0 && share <= 1.0, PRLE_EINVAL, "%s %g: must be in [0,1]", name, share);
    return PRLE_OK;
}

static int64_t millionths(double share) { return (int64_t)rint(share * MILLION); }

static prle_status check(const prle_fuse_opts *opts, int T, int64_t H, int64_t W)
{
    PRLE_CHECK((int)opts->rule >= 0 && opts->rule < PRLE_FUSE_N_RULES, PRLE_EINVAL, "fusion rule %d: unknown", (int)opts->rule);
    PRLE_TRY(check_share("tau1", opts->tau1));
    PRLE_TRY(check_share("lambda", opts->lambda));
    PRLE_TRY(check_share("hyst_low", opts->hyst_low));
    PRLE_TRY(check_share("hyst_pair", opts->hyst_pair));
    PRLE_CHECK(opts->radius >= 1 && opts->radius <= PRLE_FUSE_MAX_RADIUS, PRLE_EINVAL, "radius %d: must be 1 ... %d",
               opts->radius, PRLE_FUSE_MAX_RADIUS);
    PRLE_CHECK(T >= 1 && T <= PRLE_FUSE_MAX_MAPS, PRLE_EINVAL, "a zoo of %d maps: must be 1 ... %d", T, PRLE_FUSE_MAX_MAPS);
    PRLE_CHECK(H >= 1 && W >= 1 && H <= PRLE_RANK_MAX_PIXELS && W <= PRLE_RANK_MAX_PIXELS && H * W <= PRLE_RANK_MAX_PIXELS,
               PRLE_ESHAPE,
               "maps of %lld x %lld: ranks are 16 bits wide, so H * W must be 1 ... %d; use faces of at most 256 x 256",
               (long long)H, (long long)W, PRLE_RANK_MAX_PIXELS);
    return PRLE_OK;
}

prle_status prle_fuse_limits_make(prle_fuse_limits *out, const prle_fuse_opts *opts, int T, int64_t H, int64_t W)
{
    const int64_t full = (int64_t)PRLE_ATTENTION_ONE * T;

    PRLE_TRY(check(opts, T, H, W));
    /* The largest integer sum that does not exceed the share of `full`: sum > share * full, exactly, is sum > this. And s < low
     * is sum < ceil(low * full). */
    *out = (prle_fuse_limits){
        .mean = (uint32_t)(millionths(opts->tau1) * full / MILLION),
        .low = (uint32_t)((millionths(opts->hyst_low) * full + MILLION - 1) / MILLION),
        .pair_millionths = millionths(opts->rule == PRLE_FUSE_HYSTERESIS ? opts->hyst_pair : opts->lambda),
    };
    return PRLE_OK;
}

prle_status prle_fuser_create(const prle_fuse_opts *opts, int T, int64_t H, int64_t W, prle_fuser **out)
{
    prle_status st = PRLE_OK;
    prle_fuse_limits limits = {0};
    prle_fuser *f = NULL;

    PRLE_TRY(prle_fuse_limits_make(&limits, opts, T, H, W));
    PRLE_TRY(PRLE_NEW(f, 1));
    *f = (prle_fuser){.opts = *opts, .T = T, .H = H, .W = W, .limits = limits};
    const int64_t full = (int64_t)PRLE_ATTENTION_ONE * T;
    for (int n = 0; n <= MAX_WINDOW; n++)
        f->window_limits[n] = prle_fuse_window_limit(&limits, n);
    PRLE_TRY_OUT(PRLE_NEW(f->value, H * W));
    PRLE_TRY_OUT(PRLE_NEW(f->first, full + 1));
    PRLE_TRY_OUT(PRLE_NEW(f->inside, W));
    PRLE_TRY_OUT(PRLE_NEW(f->limit, W));
    PRLE_TRY_OUT(PRLE_NEW(f->column_sum, W));
    PRLE_TRY_OUT(PRLE_NEW(f->box_sum, W));
    PRLE_TRY_OUT(PRLE_NEW(f->column_lo, W));
    PRLE_TRY_OUT(PRLE_NEW(f->column_hi, W));
    PRLE_TRY_OUT(PRLE_NEW(f->box_lo, W));
    PRLE_TRY_OUT(PRLE_NEW(f->box_hi, W));
    PRLE_TRY_OUT(PRLE_NEW(f->top, W));
    PRLE_TRY_OUT(PRLE_NEW(f->disagree, W));
    *out = f;
    f = NULL;
out:
    prle_fuser_destroy(f);
    return st;
}

void prle_fuser_destroy(prle_fuser *f)
{
    if (f == NULL)
        return;
    prle_free(f->value);
    prle_free(f->first);
    prle_free(f->inside);
    prle_free(f->limit);
    prle_free(f->column_sum);
    prle_free(f->box_sum);
    prle_free(f->column_lo);
    prle_free(f->column_hi);
    prle_free(f->box_lo);
    prle_free(f->box_hi);
    prle_free(f->top);
    prle_free(f->disagree);
    prle_free(f);
}

const uint32_t *prle_fuser_values(const prle_fuser *f) { return f->value; }

/* ---- windows ---- */

static inline uint16_t min16(uint16_t a, uint16_t b) { return a < b ? a : b; }
static inline uint16_t max16(uint16_t a, uint16_t b) { return a > b ? a : b; }

/* Sum, least and greatest of each column over n_rows rows. */
PRLE_SIMD_CLONES
static void columns(int32_t *restrict sum, uint16_t *restrict lo, uint16_t *restrict hi, const uint16_t *rows, int64_t n_rows,
                    int64_t W)
{
    for (int64_t x = 0; x < W; x++) {
        sum[x] = rows[x];
        lo[x] = hi[x] = rows[x];
    }
    for (int64_t y = 1; y < n_rows; y++) {
        const uint16_t *row = rows + y * W;

        for (int64_t x = 0; x < W; x++) {
            sum[x] += row[x];
            lo[x] = min16(lo[x], row[x]);
            hi[x] = max16(hi[x], row[x]);
        }
    }
}

/* The same over 2r + 1 neighbouring columns, fewer at the ends. */
PRLE_SIMD_CLONES
static void boxes(int32_t *restrict sum, uint16_t *restrict lo, uint16_t *restrict hi, const int32_t *restrict column_sum,
                  const uint16_t *restrict column_lo, const uint16_t *restrict column_hi, int64_t r, int64_t W)
{
    memcpy(sum, column_sum, (size_t)W * sizeof *sum);
    memcpy(lo, column_lo, (size_t)W * sizeof *lo);
    memcpy(hi, column_hi, (size_t)W * sizeof *hi);
    for (int64_t d = 1; d <= r && d < W; d++)
        for (int64_t x = 0; x < W - d; x++) {
            sum[x] += column_sum[x + d];
            lo[x] = min16(lo[x], column_lo[x + d]);
            hi[x] = max16(hi[x], column_hi[x + d]);
        }
    for (int64_t d = 1; d <= r && d < W; d++)
        for (int64_t x = d; x < W; x++) {
            sum[x] += column_sum[x - d];
            lo[x] = min16(lo[x], column_lo[x - d]);
            hi[x] = max16(hi[x], column_hi[x - d]);
        }
}

/* Is there a column where n (hi - lo) exceeds the limit? And top = max(top, hi) on the way. */
PRLE_SIMD_CLONES
static bool any_rough(uint16_t *restrict top, const uint16_t *restrict lo, const uint16_t *restrict hi,
                      const int32_t *restrict inside, const int32_t *restrict limit, int64_t W)
{
    int32_t rough = 0;

    for (int64_t x = 0; x < W; x++) {
        top[x] = max16(top[x], hi[x]);
        rough |= inside[x] * (int32_t)(hi[x] - lo[x]) > limit[x];
    }
    return rough != 0;
}

/* disagree |= |sum - n q| > limit */
PRLE_SIMD_CLONES
static void compare_sums(int32_t *restrict disagree, const int32_t *restrict sum, const uint16_t *restrict q,
                         const int32_t *restrict inside, const int32_t *restrict limit, int64_t W)
{
    for (int64_t x = 0; x < W; x++) {
        const int32_t d = sum[x] - inside[x] * (int32_t)q[x];
        disagree[x] |= (d < 0 ? -d : d) > limit[x];
    }
}

/* sum[x] += |a[x + d] - q[x]| where x + d is inside the row */
PRLE_SIMD_CLONES
static void add_distances(int32_t *restrict sum, const uint16_t *a, const uint16_t *q, int64_t d, int64_t W)
{
    const int64_t begin = d < 0 ? -d : 0, end = d > 0 ? W - d : W;

    for (int64_t x = begin; x < end; x++) {
        const int32_t difference = (int32_t)a[x + d] - (int32_t)q[x];
        sum[x] += difference < 0 ? -difference : difference;
    }
}

/* The sums of Eq. 7 tap by tap. rows: the window's rows of map j; q: the centre row of map k. */
static void compare_taps(prle_fuser *f, const uint16_t *rows, int64_t n_rows, const uint16_t *q)
{
    const int64_t r = f->opts.radius, W = f->W;
    int32_t *sum = f->column_sum;

    memset(sum, 0, (size_t)W * sizeof *sum);
    for (int64_t y = 0; y < n_rows; y++)
        for (int64_t d = -r; d <= r; d++)
            add_distances(sum, rows + y * W, q, d, W);
    for (int64_t x = 0; x < W; x++)
        f->disagree[x] |= sum[x] > f->limit[x];
}

static void set_window_height(prle_fuser *f, int64_t n_rows)
{
    const int64_t r = f->opts.radius;

    if (f->rows_inside == n_rows)
        return;
    for (int64_t x = 0; x < f->W; x++) {
        const int64_t left = x < r ? x : r, right = f->W - 1 - x < r ? f->W - 1 - x : r;
        f->inside[x] = (int32_t)(n_rows * (left + 1 + right));
        f->limit[x] = f->window_limits[f->inside[x]];
    }
    f->rows_inside = n_rows;
}

/*
 * g and the greatest value of Eqs. 7 and 8 for row y, into f->disagree and f->top.
 *
 * With c = q_k(x) and lo, hi the extremes of map j in the window: outside [lo,hi] all differences have one sign, so the sum of
 * distances is |window sum - n c|; inside, no distance exceeds hi - lo. So where n (hi - lo) <= limit for the whole row, which
 * holds for maps resized from 8 x 8 or 16 x 16, one comparison with |window sum - n c| <= sum of distances decides, and the
 * map's own centre (j = k, always inside) never disagrees. Rows with steeper windows are summed tap by tap.
 */
static void neighbor_row(prle_fuser *f, const uint16_t *q, int64_t y)
{
    const int64_t r = f->opts.radius, H = f->H, W = f->W;
    const int64_t begin = y < r ? 0 : y - r, end = y + r < H ? y + r + 1 : H;

    set_window_height(f, end - begin);
    memset(f->top, 0, (size_t)W * sizeof *f->top);
    memset(f->disagree, 0, (size_t)W * sizeof *f->disagree);
    for (int j = 0; j < f->T; j++) {
        const uint16_t *rows = q + (j * H + begin) * W;

        columns(f->column_sum, f->column_lo, f->column_hi, rows, end - begin, W);
        boxes(f->box_sum, f->box_lo, f->box_hi, f->column_sum, f->column_lo, f->column_hi, r, W);
        const bool rough = any_rough(f->top, f->box_lo, f->box_hi, f->inside, f->limit, W);
        for (int k = 0; k < f->T; k++) {
            const uint16_t *centre = q + (k * H + y) * W;

            if (rough)
                compare_taps(f, rows, end - begin, centre);
            else if (k != j)
                compare_sums(f->disagree, f->box_sum, centre, f->inside, f->limit, W);
        }
    }
}

/* ---- rules ---- */

PRLE_SIMD_CLONES
static void mean_row(uint32_t *restrict value, const uint16_t *q, int T, int64_t map_size, int64_t W)
{
    for (int64_t x = 0; x < W; x++)
        value[x] = q[x];
    for (int t = 1; t < T; t++)
        for (int64_t x = 0; x < W; x++)
            value[x] += q[t * map_size + x];
}

PRLE_SIMD_CLONES
static void average_row(uint32_t *value, uint32_t limit, int64_t W)
{
    for (int64_t x = 0; x < W; x++)
        value[x] = value[x] > limit ? value[x] : 0;
}

/* Keeps sums above the limit; elsewhere T times the greatest neighbour where the detectors disagree. */
PRLE_SIMD_CLONES
static void expand_row(uint32_t *restrict value, const uint16_t *restrict top, const int32_t *restrict disagree, uint32_t limit,
                       uint32_t T, int64_t W)
{
    for (int64_t x = 0; x < W; x++) {
        const uint32_t neighbor = disagree[x] ? T * top[x] : 0;
        value[x] = value[x] > limit ? value[x] : neighbor;
    }
}

static uint32_t sum_at(const prle_fuser *f, const uint16_t *q, int64_t at)
{
    uint32_t sum = 0;

    for (int t = 0; t < f->T; t++)
        sum += q[t * f->H * f->W + at];
    return sum;
}

/* The release's scan for one pixel between the thresholds: the pairs in order, up to the first that is accepted. */
static uint32_t hysteresis_scan(const prle_fuser *f, const uint16_t *q, int64_t y, int64_t x)
{
    const int64_t r = f->opts.radius, H = f->H, W = f->W;
    const int64_t y0 = y < r ? 0 : y - r, y1 = y + r < H ? y + r : H - 1;
    const int64_t x0 = x < r ? 0 : x - r, x1 = x + r < W ? x + r : W - 1;
    const int64_t inside = (y1 - y0 + 1) * (x1 - x0 + 1);
    int32_t largest = -1;
    int64_t largest_at = 0;

    for (int k = 0; k < f->T; k++)
        for (int j = 0; j < f->T; j++) {
            const int32_t centre = q[(k * H + y) * W + x];
            int32_t sum = 0;

            for (int64_t v = y0; v <= y1; v++)
                for (int64_t u = x0; u <= x1; u++) {
                    const int32_t a = q[(j * H + v) * W + u];
                    sum += a < centre ? centre - a : a - centre;
                    if (a > largest) {
                        largest = a;
                        largest_at = v * W + u;
                    }
                }
            if (sum > f->window_limits[inside])
                return sum_at(f, q, largest_at);
        }
    return 0;
}

static void hysteresis_row(const prle_fuser *f, const uint16_t *q, int64_t y, uint32_t *value)
{
    for (int64_t x = 0; x < f->W; x++)
        if (value[x] < f->limits.low)
            value[x] = 0;
        else if (value[x] <= f->limits.mean)
            value[x] = hysteresis_scan(f, q, y, x);
}

/* rint(255 v / full), ties to even; see quantise_row in core/attention.c. */
PRLE_SIMD_CLONES
static void quantise(uint8_t *restrict attention, const uint32_t *restrict value, double full, int64_t n)
{
    const double shift = 0x1.8p52;

    for (int64_t i = 0; i < n; i++)
        attention[i] = (uint8_t)(int32_t)((255.0 * (double)(int32_t)value[i] / full + shift) - shift);
}

PRLE_SIMD_CLONES
static bool any_above_one(const uint16_t *q, int64_t n)
{
    uint16_t most = 0;

    for (int64_t i = 0; i < n; i++)
        most = max16(most, q[i]);
    return most > PRLE_ATTENTION_ONE;
}

static prle_status check_range(const prle_fuser *f, const uint16_t *q)
{
    const int64_t map_size = f->H * f->W, n = f->T * map_size;
    int64_t at = 0;

    if (!any_above_one(q, n))
        return PRLE_OK;
    while (q[at] <= PRLE_ATTENTION_ONE)
        at++;
    return PRLE_FAIL(PRLE_EINVAL, "map %lld: value %u at row %lld, column %lld is above %d", (long long)(at / map_size), q[at],
                     (long long)(at % map_size / f->W), (long long)(at % f->W), PRLE_ATTENTION_ONE);
}

prle_status prle_fuser_run(prle_fuser *f, const uint16_t *q, uint16_t *rank, uint8_t *attention, uint32_t *area)
{
    const int64_t H = f->H, W = f->W;
    const uint32_t full = (uint32_t)PRLE_ATTENTION_ONE * (uint32_t)f->T;

    PRLE_TRY(check_range(f, q));
    for (int64_t y = 0; y < H; y++) {
        uint32_t *value = f->value + y * W;

        mean_row(value, q + y * W, f->T, H * W, W);
        switch (f->opts.rule) {
        case PRLE_FUSE_AVERAGE: average_row(value, f->limits.mean, W); break;
        case PRLE_FUSE_HYSTERESIS: hysteresis_row(f, q, y, value); break;
        case PRLE_FUSE_NEIGHBOR:
        case PRLE_FUSE_EXPAND:
            neighbor_row(f, q, y);
            /* no mean exceeds `full`: the printed rule is the expanded one with nothing kept */
            expand_row(value, f->top, f->disagree, f->opts.rule == PRLE_FUSE_EXPAND ? f->limits.mean : full, (uint32_t)f->T, W);
            break;
        case PRLE_FUSE_N_RULES: break;
        }
    }
    if (attention != NULL)
        quantise(attention, f->value, (double)full, H * W);
    return prle_rank_from_values(f->value, H * W, full, f->first, rank, area);
}
