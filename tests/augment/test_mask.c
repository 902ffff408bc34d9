/* test_mask.c - masks: how alpha and p are spread, how many pixels, which ones, and what they become. */
#include <math.h>

#include "augment/faces.h"
#include "augment/maps.h"
#include "augment/mask.h"
#include "core/rankmap.h"
#include "core/rng.h"
#include "tests/check.h"

enum { H = 40, W = 56, CELLS = H * W };

static uint8_t image[3 * CELLS], hidden[CELLS];
static uint16_t rank[CELLS];

static uint8_t pixel_of(int64_t i) { return (uint8_t)(1 + i % 250); } /* never black */

/* A random map of `area` positions. */
static void map_make(uint32_t area)
{
    prle_rng rng = prle_rng_make(7, area, 0, PRLE_RNG_TEST);
    uint32_t place[CELLS];

    for (uint32_t i = 0; i < CELLS; i++)
        place[i] = i;
    prle_rng_shuffle(&rng, place, CELLS);
    for (uint32_t i = 0; i < CELLS; i++)
        rank[place[i]] = i < area ? (uint16_t)i : (uint16_t)PRLE_RANK_NONE;
}

static prle_mask_subject subject_make(uint32_t area)
{
    for (int64_t i = 0; i < 3 * CELLS; i++)
        image[i] = pixel_of(i);
    memset(hidden, 0xEE, sizeof hidden);
    return (prle_mask_subject){.image = image,
                               .height = H,
                               .width = W,
                               .mean = {10, 20, 30},
                               .with_maps = true,
                               .area = area,
                               .rank = rank,
                               .hidden = hidden};
}

static prle_mask_result apply(const prle_mask_subject *subject, const prle_mask_opts *opts)
{
    prle_mask_result result = {0};

    assert_ok(prle_mask_apply(subject, opts, &result));
    return result;
}

/* Pixels that are black now; every other is what it was. */
static int64_t n_black(void)
{
    int64_t n = 0;

    for (int64_t i = 0; i < CELLS; i++) {
        const bool black = image[3 * i] == 0 && image[3 * i + 1] == 0 && image[3 * i + 2] == 0;
        n += black;
        for (int64_t k = 3 * i; k < 3 * i + 3; k++)
            assert_true(black || image[k] == pixel_of(k));
        assert_int_equal(hidden[i], black);
    }
    return n;
}

/* Share masked, mean, variance and range of alpha, against the moments of the uniform distribution. */
static void test_draws(void **state)
{
    (void)state;
    enum { N = 20000 };
    prle_mask_opts opts = PRLE_MASK_OPTS_DEFAULT;
    double sum = 0, square = 0, low = 2, high = -1;
    int n = 0, bins[10] = {0}, same = 0;

    opts.kind = PRLE_MASK_PRIMARY;
    opts.p = 0.3;
    map_make(10);
    for (int i = 0; i < N; i++) {
        prle_mask_subject subject = {.image = image, .height = 1, .width = 10, .with_maps = true, .area = 10, .rank = rank};
        subject.hidden = hidden;
        subject.epoch = (uint32_t)(i % 100);
        subject.sample = (uint64_t)(i / 100);
        const prle_mask_result result = apply(&subject, &opts);
        assert_int_equal(result.masked, prle_mask_wanted(&opts, subject.epoch, subject.sample));
        if (!result.masked)
            continue;
        n++;
        sum += result.alpha;
        square += result.alpha * result.alpha;
        low = fmin(low, result.alpha);
        high = fmax(high, result.alpha);
        bins[(int)(10 * result.alpha) % 10]++;
        same += result.n_pixels == (int64_t)(10 * result.alpha);
    }
    assert_true(fabs(n / (double)N - 0.3) <= 0.013); /* four standard deviations */
    assert_true(fabs(sum / n - 0.5) <= 0.015 && fabs(square / n - 1.0 / 3) <= 0.016);
    assert_true(low > 0 && low <= 0.005 && high <= 1 && high >= 0.995);
    for (int b = 0; b < 10; b++)
        assert_in_range(bins[b], n / 10 - 95, n / 10 + 95);
    assert_int_equal(same, n);
}

static void test_alpha(void **state)
{
    (void)state;
    prle_mask_opts opts = PRLE_MASK_OPTS_DEFAULT;
    prle_mask_subject subject = subject_make(100);

    map_make(100);
    opts.kind = PRLE_MASK_PRIMARY;
    opts.p = 1;
    opts.alpha_min = 0.5;
    for (subject.sample = 0; subject.sample < 300; subject.sample++) {
        const prle_mask_result result = apply(&subject, &opts);
        assert_true(result.masked && result.alpha > 0.5 && result.alpha <= 1);
    }
    opts.p = 0;
    assert_false(apply(&subject, &opts).masked);
    for (double alpha = 0; alpha <= 1; alpha += 0.25) { /* given: p has no say */
        opts.alpha = alpha;
        const prle_mask_result result = apply(&subject, &opts);
        assert_true(result.masked && result.alpha >= alpha && result.alpha <= alpha);
        assert_int_equal(result.n_pixels, (int64_t)(100 * alpha));
    }
    opts = PRLE_MASK_OPTS_DEFAULT;
    opts.kind = PRLE_MASK_FIXED;
    opts.p = 1;
    const prle_mask_result result = apply(&subject, &opts);
    assert_true(result.masked && result.alpha >= 1 && result.n_pixels == 100);
    opts.kind = PRLE_MASK_NONE;
    assert_false(apply(&subject, &opts).masked);
    assert_false(prle_mask_wanted(&opts, 0, 0));
}

/* Exactly floor(alpha |V|) pixels, and those of the lowest ranks. */
static void test_primary_count(void **state)
{
    (void)state;
    static const uint32_t areas[] = {1, 2, 7, 333, CELLS};
    prle_mask_opts opts = PRLE_MASK_OPTS_DEFAULT;

    opts.kind = PRLE_MASK_PRIMARY;
    for (size_t a = 0; a < sizeof areas / sizeof areas[0]; a++) {
        map_make(areas[a]);
        for (int k = 0; k <= 16; k++) {
            opts.alpha = k / 16.0;
            const prle_mask_subject subject = subject_make(areas[a]);
            const prle_mask_result result = apply(&subject, &opts);
            const int64_t expected = (int64_t)areas[a] * k / 16;
            assert_true(result.masked);
            assert_int_equal(result.n_pixels, expected);
            assert_int_equal(n_black(), expected);
            for (int64_t i = 0; i < CELLS; i++)
                assert_int_equal(hidden[i], rank[i] < expected);
        }
    }
}

static void test_lacks(void **state)
{
    (void)state;
    prle_mask_opts opts = PRLE_MASK_OPTS_DEFAULT;
    const prle_mask_kind kinds[] = {PRLE_MASK_PRIMARY, PRLE_MASK_FIXED, PRLE_MASK_RANDOM};

    opts.p = 1;
    for (int k = 0; k < 3; k++) {
        opts.kind = kinds[k];
        prle_mask_subject subject = subject_make(0);
        prle_mask_result result = apply(&subject, &opts);
        assert_true(!result.masked && result.lack == PRLE_MASK_LACKS_AREA && result.n_pixels == 0);
        subject.area = PRLE_MAPS_NO_AREA;
        result = apply(&subject, &opts);
        assert_true(!result.masked && result.lack == PRLE_MASK_LACKS_MAP);
        subject.area = CELLS + 1;
        assert_fails(prle_mask_apply(&subject, &opts, &result), PRLE_EFORMAT, "area 2241");
        memset(hidden, 0, sizeof hidden);
        assert_int_equal(n_black(), 0);
    }
    opts.kind = PRLE_MASK_LANDMARK;
    const prle_mask_subject subject = subject_make(0);
    const prle_mask_result result = apply(&subject, &opts);
    assert_true(!result.masked && result.lack == PRLE_MASK_LACKS_LANDMARKS);
}

static void test_fills(void **state)
{
    (void)state;
    prle_mask_opts opts = PRLE_MASK_OPTS_DEFAULT;
    prle_mask_subject subject = subject_make(1000);
    uint8_t first[sizeof image];
    int counts[4] = {0};

    map_make(1000);
    opts.kind = PRLE_MASK_FIXED;
    opts.p = 1;
    opts.fill = PRLE_FILL_MEAN;
    apply(&subject, &opts);
    for (int64_t i = 0; i < 3 * CELLS; i++)
        assert_int_equal(image[i], hidden[i / 3] ? subject.mean[i % 3] : pixel_of(i));
    opts.fill = PRLE_FILL_NOISE;
    subject = subject_make(1000);
    assert_int_equal(apply(&subject, &opts).n_pixels, 1000);
    for (int64_t i = 0; i < 3 * CELLS; i++) {
        assert_true(hidden[i / 3] || image[i] == pixel_of(i));
        if (hidden[i / 3])
            counts[image[i] / 64]++;
    }
    for (int q = 0; q < 4; q++)
        assert_in_range(counts[q], 650, 850);
    memcpy(first, image, sizeof first);
    subject = subject_make(1000);
    apply(&subject, &opts);
    assert_memory_equal(image, first, sizeof first);
    subject = subject_make(1000);
    subject.epoch = 1;
    apply(&subject, &opts);
    assert_memory_not_equal(image, first, sizeof first);
}

/* The rows and columns that the mask touches. */
static void bounds(int64_t *y0, int64_t *y1, int64_t *x0, int64_t *x1)
{
    *y0 = H;
    *x0 = W;
    *y1 = *x1 = -1;
    for (int64_t i = 0; i < CELLS; i++) {
        if (!hidden[i])
            continue;
        *y0 = i / W < *y0 ? i / W : *y0;
        *y1 = i / W > *y1 ? i / W : *y1;
        *x0 = i % W < *x0 ? i % W : *x0;
        *x1 = i % W > *x1 ? i % W : *x1;
    }
}

/* Just as many pixels as the map would give, in a rectangle whose last row may be short, of the wanted aspect where it fits. */
static void test_rectangle(void **state)
{
    (void)state;
    static const uint32_t areas[] = {1, 2, 3, 12, 100, 900, CELLS - 1, CELLS};
    prle_mask_opts opts = PRLE_MASK_OPTS_DEFAULT;
    int64_t y0, y1, x0, x1;
    bool tall = false, wide = false;
    double sum_y = 0, sum_x = 0;

    opts.kind = PRLE_MASK_RANDOM;
    opts.p = 1;
    for (size_t a = 0; a < sizeof areas / sizeof areas[0]; a++) {
        for (uint64_t sample = 0; sample < 60; sample++) {
            prle_mask_subject subject = subject_make(areas[a]);
            subject.sample = sample;
            subject.rank = NULL;
            const prle_mask_result result = apply(&subject, &opts);
            assert_true(result.masked);
            assert_int_equal(result.n_pixels, (int64_t)(result.alpha * areas[a]));
            if (result.n_pixels == 0)
                continue;
            assert_int_equal(n_black(), result.n_pixels);
            bounds(&y0, &y1, &x0, &x1);
            const int64_t h = y1 - y0 + 1, w = x1 - x0 + 1;
            assert_true(h * w >= result.n_pixels && h * w - result.n_pixels < w);
            if (result.n_pixels >= 100 && h < H && w < W) {
                const double aspect = (double)h / (double)w;
                assert_true(aspect >= 0.4 && aspect <= 2.5);
                tall = tall || aspect > 1.6;
                wide = wide || aspect < 0.65;
            }
        }
    }
    assert_true(tall && wide);
    opts.alpha = 1;
    for (uint64_t sample = 0; sample < 2000; sample++) { /* one pixel: its place is uniform */
        prle_mask_subject subject = subject_make(1);
        subject.sample = sample;
        apply(&subject, &opts);
        bounds(&y0, &y1, &x0, &x1);
        sum_y += (double)y0;
        sum_x += (double)x0;
    }
    assert_true(fabs(sum_y / 2000 - 0.5 * (H - 1)) <= 1.05 && fabs(sum_x / 2000 - 0.5 * (W - 1)) <= 1.45);
    prle_mask_subject subject = subject_make(0);
    subject.with_maps = false;
    subject.area = PRLE_MAPS_NO_AREA;
    assert_int_equal(apply(&subject, &opts).n_pixels, CELLS / 5); /* no maps: a fifth of the image */
    opts.alpha = 0.5;
    assert_int_equal(apply(&subject, &opts).n_pixels, CELLS / 10);
}

/* A point is in the convex hull exactly when it is in a triangle of the points (Caratheodory). */
static bool in_triangle(const float *a, const float *b, const float *c, double x, double y)
{
    const float *corner[4] = {a, b, c, a};
    bool left = true, right = true;
    double low_x = (double)a[0], high_x = low_x, low_y = (double)a[1], high_y = low_y;

    for (int i = 0; i < 3; i++) {
        const double px = (double)corner[i][0], py = (double)corner[i][1];
        const double side = ((double)corner[i + 1][0] - px) * (y - py) - ((double)corner[i + 1][1] - py) * (x - px);
        left = left && side >= 0;
        right = right && side <= 0;
        low_x = fmin(low_x, px);
        high_x = fmax(high_x, px);
        low_y = fmin(low_y, py);
        high_y = fmax(high_y, py);
    }
    return (left || right) && x >= low_x && x <= high_x && y >= low_y && y <= high_y;
}

static bool in_hull(const float *p, int n, double x, double y)
{
    for (int a = 0; a < n; a++)
        for (int b = a; b < n; b++)
            for (int c = b; c < n; c++)
                if (in_triangle(p + 2 * a, p + 2 * b, p + 2 * c, x, y))
                    return true;
    return false;
}

static const struct {
    int first, n;
} regions[3] = {{27, 9}, {36, 12}, {48, 20}};

/* The region whose brute-force hull equals the mask, or -1. */
static int region_hidden(const float *landmarks)
{
    for (int r = 0; r < 3; r++) {
        bool same = true;
        for (int64_t i = 0; same && i < CELLS; i++)
            same = hidden[i] == in_hull(landmarks + 2 * regions[r].first, regions[r].n, (double)(i % W),
                                        (double)(i / W)); /* quarters: exact */
        if (same)
            return r;
    }
    return -1;
}

static void test_landmark(void **state)
{
    (void)state;
    prle_mask_opts opts = PRLE_MASK_OPTS_DEFAULT;
    float landmarks[2 * PRLE_FACES_LANDMARKS];
    int seen[3] = {0};

    opts.kind = PRLE_MASK_LANDMARK;
    opts.p = 1;
    for (uint32_t turn = 0; turn < 12; turn++) {
        prle_rng rng = prle_rng_make(9, turn, 0, PRLE_RNG_TEST);
        const uint32_t spread = turn == 0 ? 1 : turn == 1 ? 5 : 48; /* points alone, short lines, wide clouds */
        for (int k = 0; k < PRLE_FACES_LANDMARKS; k++) {
            landmarks[2 * k] = 20.0f + 0.25f * (float)prle_rng_below(&rng, spread);
            landmarks[2 * k + 1] = turn == 1 ? 17.0f : 30.0f + 0.25f * (float)prle_rng_below(&rng, spread); /* partly outside */
        }
        prle_mask_subject subject = subject_make(0);
        subject.sample = turn;
        subject.landmarks = landmarks;
        const prle_mask_result result = apply(&subject, &opts);
        assert_true(result.masked && result.alpha >= 1);
        assert_int_equal(n_black(), result.n_pixels);
        const int region = region_hidden(landmarks);
        assert_in_range(region, 0, 2);
        seen[region] += turn > 1; /* the small ones look alike */
    }
    assert_true(seen[0] > 0 && seen[1] > 0 && seen[2] > 0);
}

static void test_landmark_places(void **state)
{
    (void)state;
    prle_mask_opts opts = PRLE_MASK_OPTS_DEFAULT;
    float landmarks[2 * PRLE_FACES_LANDMARKS];
    prle_mask_subject subject = subject_make(0);
    int n_masked = 0;

    opts.kind = PRLE_MASK_LANDMARK;
    opts.p = 1;
    subject.landmarks = landmarks;
    for (int k = 0; k < PRLE_FACES_LANDMARKS; k++) { /* far outside and all around: the whole image */
        landmarks[2 * k] = k % 2 == 0 ? -3e38f : 3e38f;
        landmarks[2 * k + 1] = k / 2 % 2 == 0 ? -3e38f : 3e38f;
    }
    assert_int_equal(apply(&subject, &opts).n_pixels, CELLS);
    for (int k = 0; k < PRLE_FACES_LANDMARKS; k++)
        landmarks[2 * k] = 1e9f;
    assert_int_equal(apply(&subject, &opts).n_pixels, 0); /* to the right of it */
    landmarks[2 * 50] = NAN;                              /* one point of the mouth is unknown: nose and eyes are still masked */
    for (subject.sample = 0; subject.sample < 300; subject.sample++) {
        const prle_mask_result result = apply(&subject, &opts);
        n_masked += result.masked;
        assert_int_equal(result.lack, result.masked ? PRLE_MASK_LACKS_NOTHING : PRLE_MASK_LACKS_LANDMARKS);
    }
    assert_in_range(n_masked, 165, 235);
}

static void test_opts(void **state)
{
    (void)state;
    const double none = (double)NAN;
    const struct {
        double p, alpha_min, alpha, gamma;
        const char *message;
    } wrong[] = {
        {-0.1, 0, none, 1, "p -0.1"},       {1.1, 0, none, 1, "p 1.1"},       {none, 0, none, 1, "p nan"},
        {0.5, -1, none, 1, "alpha_min -1"}, {0.5, 1, none, 1, "alpha_min 1"}, {0.5, 0, 1.5, 1, "alpha 1.5"},
        {0.5, 0, -0.5, 1, "alpha -0.5"},    {0.5, 0, none, -2, "gamma -2"},   {0.5, 0, none, HUGE_VAL, "gamma inf"},
    };

    const prle_mask_opts no_kind = {.kind = PRLE_MASK_N_KINDS, .alpha = none},
                         no_fill = {.fill = PRLE_FILL_N_KINDS, .alpha = none};

    assert_ok(prle_mask_opts_check(&PRLE_MASK_OPTS_DEFAULT));
    assert_fails(prle_mask_opts_check(&no_kind), PRLE_EINVAL, "kind 5 with fill 0: unknown");
    assert_fails(prle_mask_opts_check(&no_fill), PRLE_EINVAL, "kind 0 with fill 3: unknown");
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        prle_mask_opts opts = PRLE_MASK_OPTS_DEFAULT;
        opts.p = wrong[i].p;
        opts.alpha_min = wrong[i].alpha_min;
        opts.alpha = wrong[i].alpha;
        opts.gamma = wrong[i].gamma;
        assert_fails(prle_mask_opts_check(&opts), PRLE_EINVAL, wrong[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draws),    cmocka_unit_test(test_alpha),           cmocka_unit_test(test_primary_count),
        cmocka_unit_test(test_lacks),    cmocka_unit_test(test_fills),           cmocka_unit_test(test_rectangle),
        cmocka_unit_test(test_landmark), cmocka_unit_test(test_landmark_places), cmocka_unit_test(test_opts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
