/* mask.c - the draws of a mask, the region it hides, and what it is filled with. */
#include "augment/mask.h"

#include <string.h>

#include "augment/faces.h"
#include "augment/forge/geometry.h"
#include "augment/maps.h"
#include "core/rankmap.h"
#include "core/rng.h"
#include "core/simd.h"

const char *const prle_mask_kind_words[] = {
    [PRLE_MASK_NONE] = "none",     [PRLE_MASK_PRIMARY] = "primary",   [PRLE_MASK_FIXED] = "fixed",
    [PRLE_MASK_RANDOM] = "random", [PRLE_MASK_LANDMARK] = "landmark", NULL,
};
_Static_assert(sizeof prle_mask_kind_words / sizeof *prle_mask_kind_words == PRLE_MASK_N_KINDS + 1, "a word for each");

const char *const prle_mask_fill_words[] = {
    [PRLE_FILL_ZERO] = "zero", [PRLE_FILL_MEAN] = "mean", [PRLE_FILL_NOISE] = "noise", NULL};
_Static_assert(sizeof prle_mask_fill_words / sizeof *prle_mask_fill_words == PRLE_FILL_N_KINDS + 1, "a word for each");

prle_status prle_mask_opts_check(const prle_mask_opts *opts)
{
    PRLE_CHECK(opts->kind < PRLE_MASK_N_KINDS && opts->fill < PRLE_FILL_N_KINDS, PRLE_EINVAL,
               "mask of kind %d with fill %d: unknown", (int)opts->kind, (int)opts->fill);
    PRLE_CHECK(opts->p >= 0.0 && opts->p <= 1.0, PRLE_EINVAL, "mask p %g: the share of masked images must be in [0,1]", opts->p);
    PRLE_CHECK(opts->alpha_min >= 0.0 && opts->alpha_min < 1.0, PRLE_EINVAL, "mask alpha_min %g: must be in [0,1)",
               opts->alpha_min);
    PRLE_CHECK(isnan(opts->alpha) || (opts->alpha >= 0.0 && opts->alpha <= 1.0), PRLE_EINVAL, "mask alpha %g: must be in [0,1]",
               opts->alpha);
    PRLE_CHECK(isfinite(opts->gamma) && opts->gamma >= 0.0, PRLE_EINVAL,
               "mask gamma %g: the weight of masked images must be finite and not negative", opts->gamma);
    return PRLE_OK;
}

/* The share of the region that is hidden: U(alpha_min, 1] (paper, Stage 2). Always draws, so that what follows in the stream
 * does not depend on the options. */
static double alpha_draw(prle_rng *rng, const prle_mask_opts *opts)
{
    const double drawn = 1.0 - (1.0 - opts->alpha_min) * prle_rng_uniform(rng);

    if (!isnan(opts->alpha))
        return opts->alpha;
    return opts->kind == PRLE_MASK_FIXED ? 1.0 : drawn;
}

static bool wanted_draw(prle_rng *rng, const prle_mask_opts *opts)
{
    const double u = prle_rng_uniform(rng);

    return opts->kind != PRLE_MASK_NONE && (!isnan(opts->alpha) || u < opts->p);
}

bool prle_mask_wanted(const prle_mask_opts *opts, uint32_t epoch, uint64_t sample)
{
    prle_rng rng = prle_rng_make(opts->seed, epoch, sample, PRLE_RNG_MASK);

    return wanted_draw(&rng, opts);
}

/* Each of these marks the pixels of one kind in subject->hidden and sets alpha, n_pixels and lack; masked: when nothing lacks. */

static prle_status hide_rank(const prle_mask_subject *s, prle_mask_result *out)
{
    uint32_t count = 0;

    PRLE_TRY(prle_rank_count(s->area, out->alpha, &count));
    PRLE_TRY(prle_mask_from_rank(s->rank, s->height * s->width, s->area, out->alpha, s->hidden));
    out->n_pixels = count;
    return PRLE_OK;
}

static int64_t clamp(int64_t value, int64_t lo, int64_t hi) { return value < lo ? lo : value > hi ? hi : value; }

static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

static prle_status hide_rectangle(const prle_mask_subject *s, prle_rng *rng, prle_mask_result *out)
{
    const double aspect = prle_rng_range(rng, 0.5, 2.0), at_y = prle_rng_uniform(rng), at_x = prle_rng_uniform(rng);
    uint32_t count = 0;

    if (s->with_maps)
        PRLE_TRY(prle_rank_count(s->area, out->alpha, &count));
    else
        count = (uint32_t)(0.2 * out->alpha * (double)(s->height * s->width));
    memset(s->hidden, 0, (size_t)(s->height * s->width));
    out->n_pixels = count;
    if (count == 0)
        return PRLE_OK;
    const int64_t width = clamp(llrint(sqrt(count / aspect)), divide_up(count, s->height), s->width);
    const int64_t height = divide_up(count, width);
    const int64_t y0 = (int64_t)(at_y * (double)(s->height - height + 1)), x0 = (int64_t)(at_x * (double)(s->width - width + 1));
    for (int64_t y = 0, left = count; y < height; y++, left -= width)
        memset(s->hidden + (y0 + y) * s->width + x0, 1, (size_t)(left < width ? left : width));
    return PRLE_OK;
}

enum { HULL_POINTS = 20 }; /* of the largest region */

/* Borders included. */
static bool hull_contains(const prle_point *hull, int64_t n_hull, prle_point p)
{
    for (int64_t i = 0; i < n_hull; i++) {
        const prle_point a = hull[i], b = hull[(i + 1) % n_hull];
        if ((b.x - a.x) * (p.y - a.y) - (b.y - a.y) * (p.x - a.x) < 0)
            return false;
    }
    return true;
}

/* First and last pixel of 0 ... n - 1 within [lo,hi]. */
static void pixel_range(double lo, double hi, int64_t n, int64_t *first, int64_t *last)
{
    *first = (int64_t)fmin(fmax(ceil(lo), 0.0), (double)n);
    *last = (int64_t)fmax(fmin(floor(hi), (double)(n - 1)), -1.0);
}

/* Marks every pixel whose centre lies in the hull of points that need not lie in the image, and counts them. */
static prle_status hull_fill(const prle_mask_subject *s, const prle_point *p, int64_t n, int64_t *n_pixels)
{
    prle_point hull[2 * HULL_POINTS + 1];
    prle_point lo = {HUGE_VAL, HUGE_VAL}, hi = {-HUGE_VAL, -HUGE_VAL};
    int64_t x0, x1, y0, y1, n_hull = 0, count = 0;

    PRLE_TRY(prle_hull_make(hull, &n_hull, p, n));
    for (int64_t i = 0; i < n; i++) {
        lo = (prle_point){fmin(lo.x, p[i].x), fmin(lo.y, p[i].y)};
        hi = (prle_point){fmax(hi.x, p[i].x), fmax(hi.y, p[i].y)};
    }
    pixel_range(lo.y, hi.y, s->height, &y0, &y1);
    pixel_range(lo.x, hi.x, s->width, &x0, &x1);
    for (int64_t y = y0; y <= y1; y++) {
        for (int64_t x = x0; x <= x1; x++) {
            const bool inside = hull_contains(hull, n_hull, (prle_point){(double)x, (double)y});
            s->hidden[y * s->width + x] = inside;
            count += inside;
        }
    }
    *n_pixels = count;
    return PRLE_OK;
}

static prle_status hide_landmark(const prle_mask_subject *s, prle_rng *rng, prle_mask_result *out)
{
    static const struct {
        int first, last;
    } regions[] = {{27, 35}, {36, 47}, {48, 67}}; /* nose, eyes, mouth */
    const uint32_t region = prle_rng_below(rng, 3);
    prle_point p[HULL_POINTS];
    int64_t n = 0;

    for (int k = regions[region].first; k <= regions[region].last; k++, n++) {
        p[n] = s->landmarks == NULL ? (prle_point){(double)NAN, (double)NAN}
                                    : (prle_point){(double)s->landmarks[2 * k], (double)s->landmarks[2 * k + 1]};
        if (!isfinite(p[n].x) || !isfinite(p[n].y)) {
            out->lack = PRLE_MASK_LACKS_LANDMARKS;
            return PRLE_OK;
        }
    }
    memset(s->hidden, 0, (size_t)(s->height * s->width));
    PRLE_TRY(hull_fill(s, p, n, &out->n_pixels));
    out->alpha = 1.0;
    return PRLE_OK;
}

static prle_mask_lack lack_of_map(const prle_mask_subject *s, const prle_mask_opts *opts)
{
    if (!prle_mask_needs_rank(opts->kind) && !(opts->kind == PRLE_MASK_RANDOM && s->with_maps))
        return PRLE_MASK_LACKS_NOTHING;
    if (s->area == PRLE_MAPS_NO_AREA)
        return PRLE_MASK_LACKS_MAP;
    return s->area == 0 ? PRLE_MASK_LACKS_AREA : PRLE_MASK_LACKS_NOTHING;
}

static prle_status hide(const prle_mask_subject *s, const prle_mask_opts *opts, prle_rng *rng, prle_mask_result *out)
{
    out->lack = lack_of_map(s, opts);
    if (out->lack != PRLE_MASK_LACKS_NOTHING)
        return PRLE_OK;
    PRLE_CHECK(!s->with_maps || s->area <= s->height * s->width || s->area == PRLE_MAPS_NO_AREA, PRLE_EFORMAT,
               "map of %lld pixels with area %u: damaged, run `prle fuse` again", (long long)(s->height * s->width), s->area);
    switch (opts->kind) {
    case PRLE_MASK_PRIMARY:
    case PRLE_MASK_FIXED: return hide_rank(s, out);
    case PRLE_MASK_RANDOM: return hide_rectangle(s, rng, out);
    case PRLE_MASK_LANDMARK: return hide_landmark(s, rng, out);
    case PRLE_MASK_NONE:
    case PRLE_MASK_N_KINDS: break;
    }
    return PRLE_OK;
}

PRLE_SIMD_CLONES
static void fill_colour(uint8_t *restrict image, const uint8_t *restrict hidden, int64_t n, const uint8_t *colour)
{
    const uint8_t r = colour[0], g = colour[1], b = colour[2];

    for (int64_t i = 0; i < n; i++) {
        image[3 * i] = hidden[i] != 0 ? r : image[3 * i];
        image[3 * i + 1] = hidden[i] != 0 ? g : image[3 * i + 1];
        image[3 * i + 2] = hidden[i] != 0 ? b : image[3 * i + 2];
    }
}

/* One 32-bit draw a hidden pixel, in raster order. */
static void fill_noise(uint8_t *image, const uint8_t *hidden, int64_t n, prle_rng *rng)
{
    for (int64_t i = 0; i < n; i++) {
        if (hidden[i] == 0)
            continue;
        const uint32_t bytes = prle_rng_u32(rng);
        image[3 * i] = (uint8_t)bytes;
        image[3 * i + 1] = (uint8_t)(bytes >> 8);
        image[3 * i + 2] = (uint8_t)(bytes >> 16);
    }
}

static void fill(const prle_mask_subject *s, prle_mask_fill kind, prle_rng *rng)
{
    static const uint8_t black[3];
    const int64_t n = s->height * s->width;

    switch (kind) {
    case PRLE_FILL_ZERO: fill_colour(s->image, s->hidden, n, black); break;
    case PRLE_FILL_MEAN: fill_colour(s->image, s->hidden, n, s->mean); break;
    case PRLE_FILL_NOISE: fill_noise(s->image, s->hidden, n, rng); break;
    case PRLE_FILL_N_KINDS: break;
    }
}

prle_status prle_mask_apply(const prle_mask_subject *subject, const prle_mask_opts *opts, prle_mask_result *out)
{
    prle_rng rng = prle_rng_make(opts->seed, subject->epoch, subject->sample, PRLE_RNG_MASK);
    prle_mask_result result = {0};

    if (wanted_draw(&rng, opts)) {
        result.alpha = alpha_draw(&rng, opts);
        PRLE_TRY(hide(subject, opts, &rng, &result));
        result.masked = result.lack == PRLE_MASK_LACKS_NOTHING;
        if (result.masked)
            fill(subject, opts->fill, &rng);
        else
            result.alpha = 0.0;
    }
    *out = result;
    return PRLE_OK;
}
