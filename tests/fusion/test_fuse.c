/* test_fuse.c - fusion against a naive reading of the rules in fusion/fuse.h, pixel by pixel with cross-multiplied integers. */
#include "core/alloc.h"
#include "core/attention.h"
#include "core/rankmap.h"
#include "core/rng.h"
#include "fusion/fuse.h"
#include "tests/check.h"

enum { MAX_T = 5, MAX_PIXELS = 65536 };

/* ---- the naive reading: thresholds are millionths, maps are 32768ths ---- */

typedef struct reading {
    prle_fuse_rule rule;
    int64_t tau1, lambda, low, pair; /* millionths */
    int64_t r;
} reading;

typedef struct maps {
    int T;
    int64_t H, W;
    const uint16_t *q;
} maps;

static int64_t at(const maps *m, int t, int64_t y, int64_t x) { return m->q[(t * m->H + y) * m->W + x]; }

static bool inside(const maps *m, int64_t y, int64_t x) { return y >= 0 && y < m->H && x >= 0 && x < m->W; }

static int64_t total(const maps *m, int64_t y, int64_t x)
{
    int64_t sum = 0;
    for (int t = 0; t < m->T; t++)
        sum += at(m, t, y, x);
    return sum;
}

/* Is the window mean of |A_j(a) - A_k(x)| above the threshold? */
static bool pair_differs(const maps *m, int j, int k, int64_t y, int64_t x, int64_t r, int64_t threshold)
{
    int64_t sum = 0, n = 0;

    for (int64_t v = y - r; v <= y + r; v++)
        for (int64_t u = x - r; u <= x + r; u++)
            if (inside(m, v, u)) {
                sum += llabs(at(m, j, v, u) - at(m, k, y, x));
                n++;
            }
    return sum * 1000000 > threshold * 32768 * n;
}

static int64_t neighbor_value(const maps *m, const reading *how, int64_t y, int64_t x)
{
    bool g = false;
    int64_t most = 0;

    for (int j = 0; j < m->T && !g; j++)
        for (int k = 0; k < m->T && !g; k++)
            g = pair_differs(m, j, k, y, x, how->r, how->lambda);
    if (!g)
        return 0;
    for (int j = 0; j < m->T; j++)
        for (int64_t v = y - how->r; v <= y + how->r; v++)
            for (int64_t u = x - how->r; u <= x + how->r; u++)
                if (inside(m, v, u) && at(m, j, v, u) > most)
                    most = at(m, j, v, u);
    return most * m->T;
}

static int64_t hysteresis_value(const maps *m, const reading *how, int64_t y, int64_t x)
{
    const int64_t s = total(m, y, x);
    int64_t most = -1, value = 0;

    if (s * 1000000 > how->tau1 * 32768 * m->T)
        return s;
    if (s * 1000000 < how->low * 32768 * m->T)
        return 0;
    for (int k = 0; k < m->T; k++)
        for (int j = 0; j < m->T; j++) {
            for (int64_t v = y - how->r; v <= y + how->r; v++)
                for (int64_t u = x - how->r; u <= x + how->r; u++)
                    if (inside(m, v, u) && at(m, j, v, u) > most) {
                        most = at(m, j, v, u);
                        value = total(m, v, u);
                    }
            if (pair_differs(m, j, k, y, x, how->r, how->pair))
                return value;
        }
    return 0;
}

static int64_t fused_value(const maps *m, const reading *how, int64_t y, int64_t x)
{
    const int64_t s = total(m, y, x);
    const bool high = s * 1000000 > how->tau1 * 32768 * m->T;

    switch (how->rule) {
    case PRLE_FUSE_AVERAGE: return high ? s : 0;
    case PRLE_FUSE_NEIGHBOR: return neighbor_value(m, how, y, x);
    case PRLE_FUSE_EXPAND: return high ? s : neighbor_value(m, how, y, x);
    case PRLE_FUSE_HYSTERESIS: return hysteresis_value(m, how, y, x);
    case PRLE_FUSE_N_RULES: break;
    }
    return -1;
}

static const uint32_t *sorted_by; /* for qsort */

static int by_value_then_place(const void *a, const void *b)
{
    const uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;

    if (sorted_by[i] != sorted_by[j])
        return sorted_by[i] > sorted_by[j] ? -1 : 1;
    return i < j ? -1 : 1;
}

/* ---- buffers, shared by all tests ---- */

typedef struct fixture {
    uint16_t *q;                  /* [MAX_T,MAX_PIXELS] */
    uint16_t *rank, *want_rank;   /* [MAX_PIXELS] */
    uint8_t *attention, *mask;    /* [MAX_PIXELS] */
    uint32_t *want_value, *order; /* [MAX_PIXELS] */
} fixture;

static int setup(void **state)
{
    fixture *f = NULL;
    assert_ok(PRLE_NEW(f, 1));
    assert_ok(PRLE_NEW(f->q, MAX_T * MAX_PIXELS));
    assert_ok(PRLE_NEW(f->rank, MAX_PIXELS));
    assert_ok(PRLE_NEW(f->want_rank, MAX_PIXELS));
    assert_ok(PRLE_NEW(f->attention, MAX_PIXELS));
    assert_ok(PRLE_NEW(f->mask, MAX_PIXELS));
    assert_ok(PRLE_NEW(f->want_value, MAX_PIXELS));
    assert_ok(PRLE_NEW(f->order, MAX_PIXELS));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    prle_free(f->q);
    prle_free(f->rank);
    prle_free(f->want_rank);
    prle_free(f->attention);
    prle_free(f->mask);
    prle_free(f->want_value);
    prle_free(f->order);
    prle_free(f);
    assert_int_equal(prle_alloc_live(), 0);
    return 0;
}

/* Fuses f->q both ways and compares values, ranks, areas, 8-bit maps and masks. */
static void check_fusion(fixture *f, int T, int64_t H, int64_t W, const reading *how)
{
    static const double alphas[] = {0.0, 1e-9, 0.1, 0.25, 0.3, 0.5, 0.7, 0.999, 1.0};
    const maps m = {.T = T, .H = H, .W = W, .q = f->q};
    const int64_t n = H * W;
    const prle_fuse_opts opts = {.rule = how->rule,
                                 .tau1 = (double)how->tau1 / 1e6,
                                 .lambda = (double)how->lambda / 1e6,
                                 .radius = (int)how->r,
                                 .hyst_low = (double)how->low / 1e6,
                                 .hyst_pair = (double)how->pair / 1e6};
    prle_fuser *fuser = NULL;
    uint32_t area = 77, want_area = 0, wrong = 0;

    assert_ok(prle_fuser_create(&opts, T, H, W, &fuser));
    assert_ok(prle_fuser_run(fuser, f->q, f->rank, f->attention, &area));
    for (int64_t i = 0; i < n; i++) {
        f->want_value[i] = (uint32_t)fused_value(&m, how, i / W, i % W);
        f->want_rank[i] = 0xFFFF;
        if (f->want_value[i] > 0)
            f->order[want_area++] = (uint32_t)i;
    }
    sorted_by = f->want_value;
    qsort(f->order, want_area, sizeof *f->order, by_value_then_place);
    for (uint32_t i = 0; i < want_area; i++)
        f->want_rank[f->order[i]] = (uint16_t)i;
    assert_memory_equal(prle_fuser_values(fuser), f->want_value, (size_t)n * sizeof *f->want_value);
    assert_int_equal(area, want_area);
    assert_memory_equal(f->rank, f->want_rank, (size_t)n * sizeof *f->rank);
    for (int64_t i = 0; i < n; i++) {
        const int64_t full = 32768 * T, twice = 2 * (255 * (int64_t)f->want_value[i] % full),
                      low = 255 * (int64_t)f->want_value[i] / full;
        wrong += f->attention[i] != low + (twice > full || (twice == full && low % 2 == 1));
    }
    assert_int_equal(wrong, 0);
    for (size_t a = 0; a < sizeof alphas / sizeof *alphas; a++) {
        uint32_t count = 0, hidden = 0, highest = 0;
        assert_ok(prle_rank_count(area, alphas[a], &count));
        assert_ok(prle_mask_from_rank(f->rank, n, area, alphas[a], f->mask));
        for (int64_t i = 0; i < n; i++)
            hidden += f->mask[i];
        assert_int_equal(hidden, count);
        for (uint32_t i = 0; i < count; i++)
            highest += f->mask[f->order[i]];
        assert_int_equal(highest, count);
    }
    prle_fuser_destroy(fuser);
}

/* ---- maps ---- */

typedef enum kind { NOISE, CONSTANT, SINGLE, TIED, SMOOTH, N_KINDS } kind;

static void fill(uint16_t *q, kind what, int T, int64_t H, int64_t W, uint64_t seed)
{
    prle_rng rng = prle_rng_make(seed, 0, 0, PRLE_RNG_TEST);
    const uint32_t place = prle_rng_below(&rng, (uint32_t)(H * W)), level = prle_rng_below(&rng, 32769);

    for (int t = 0; t < T; t++) {
        uint16_t *map = q + t * H * W;
        float native[64];

        for (int i = 0; i < 64; i++)
            native[i] = (float)(prle_rng_uniform(&rng) * prle_rng_uniform(&rng) * prle_rng_uniform(&rng));
        for (uint32_t i = 0; i < (uint32_t)(H * W); i++)
            switch (what) {
            case NOISE: map[i] = (uint16_t)prle_rng_below(&rng, 32769); break;
            case CONSTANT: map[i] = (uint16_t)level; break;
            case SINGLE: map[i] = i == place ? 32768 : 0; break;
            case TIED: map[i] = (uint16_t)(4096 * prle_rng_below(&rng, 5)); break;
            default: break;
            }
        if (what == SMOOTH)
            assert_ok(prle_attention_quantise(native, 8, 8, H, W, map));
    }
}

/* ---- tests ---- */

static void test_small_sizes(void **state)
{
    static const int64_t sizes[][2] = {{1, 1}, {1, 7}, {7, 1}, {2, 2}, {3, 5}, {13, 31}};
    static const reading thresholds[] = {
        {.tau1 = 300000, .lambda = 150000, .low = 100000, .pair = 200000, .r = 1},
        {.tau1 = 123457, .lambda = 333333, .low = 50000, .pair = 1, .r = 2},
        {.tau1 = 0, .lambda = 0, .low = 0, .pair = 0, .r = 1},
        {.tau1 = 1000000, .lambda = 1000000, .low = 1000000, .pair = 1000000, .r = 2},
        {.tau1 = 125000, .lambda = 125000, .low = 125000, .pair = 125000, .r = 3}, /* hit exactly by the tied maps */
    };

    for (size_t size = 0; size < sizeof sizes / sizeof *sizes; size++)
        for (int T = 1; T <= MAX_T; T++)
            for (int what = 0; what < N_KINDS; what++) {
                fill((*(fixture **)state)->q, (kind)what, T, sizes[size][0], sizes[size][1], (uint64_t)(T * 100 + what));
                for (size_t i = 0; i < sizeof thresholds / sizeof *thresholds; i++)
                    for (int rule = PRLE_FUSE_EXPAND; rule < PRLE_FUSE_N_RULES; rule++) {
                        reading how = thresholds[i];
                        how.rule = (prle_fuse_rule)rule;
                        check_fusion(*state, T, sizes[size][0], sizes[size][1], &how);
                    }
            }
}

static void test_full_size(void **state)
{
    static const struct {
        kind what;
        prle_fuse_rule rule;
    } cases[] = {
        {SMOOTH, PRLE_FUSE_EXPAND}, {SMOOTH, PRLE_FUSE_HYSTERESIS}, {TIED, PRLE_FUSE_AVERAGE}, {NOISE, PRLE_FUSE_NEIGHBOR}};
    fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const reading how = {.rule = cases[i].rule, .tau1 = 300000, .lambda = 150000, .low = 100000, .pair = 200000, .r = 1};
        fill(f->q, cases[i].what, 3, 256, 256, 9);
        check_fusion(f, 3, 256, 256, &how);
    }
}

/* V may be the whole image: the last rank is then 0xFFFF and still inside. */
static void test_whole_image(void **state)
{
    fixture *f = *state;
    const reading how = {.rule = PRLE_FUSE_AVERAGE, .tau1 = 300000, .lambda = 150000, .low = 0, .pair = 0, .r = 1};

    for (int64_t i = 0; i < MAX_PIXELS; i++)
        f->q[i] = 20000;
    check_fusion(f, 1, 256, 256, &how);
    assert_int_equal(f->rank[MAX_PIXELS - 1], 0xFFFF);
}

/* A resized 8 x 8 or 16 x 16 map changes too slowly for the printed rule with one detector. */
static void test_neighbor_of_one_is_empty(void **state)
{
    fixture *f = *state;
    prle_rng rng = prle_rng_make(3, 0, 0, PRLE_RNG_TEST);
    prle_fuse_opts opts = PRLE_FUSE_OPTS_DEFAULT;
    prle_fuser *fuser = NULL;
    uint32_t area = 0;

    opts.rule = PRLE_FUSE_NEIGHBOR;
    assert_ok(prle_fuser_create(&opts, 1, 256, 256, &fuser));
    for (int64_t side = 8; side <= 16; side += 8) {
        float map[256];
        for (int i = 0; i < side * side; i++) /* the steepest map there is: each cell 0 or 1 */
            map[i] = (float)prle_rng_below(&rng, 2);
        assert_ok(prle_attention_quantise(map, side, side, 256, 256, f->q));
        assert_ok(prle_fuser_run(fuser, f->q, f->rank, NULL, &area));
        assert_int_equal(area, 0);
    }
    prle_fuser_destroy(fuser);
}

static void test_bad_input(void **state)
{
    fixture *f = *state;
    prle_fuse_opts opts = PRLE_FUSE_OPTS_DEFAULT;
    prle_fuser *fuser = NULL;
    uint32_t area = 7;

    assert_fails(prle_fuser_create(&opts, 3, 256, 257, &fuser), PRLE_ESHAPE, "256 x 257");
    assert_fails(prle_fuser_create(&opts, 3, 0, 8, &fuser), PRLE_ESHAPE, "0 x 8");
    assert_fails(prle_fuser_create(&opts, 0, 8, 8, &fuser), PRLE_EINVAL, "zoo of 0");
    opts.tau1 = 1.5;
    assert_fails(prle_fuser_create(&opts, 3, 8, 8, &fuser), PRLE_EINVAL, "tau1 1.5");
    opts = (prle_fuse_opts)PRLE_FUSE_OPTS_DEFAULT;
    opts.lambda = -0.1;
    assert_fails(prle_fuser_create(&opts, 3, 8, 8, &fuser), PRLE_EINVAL, "lambda -0.1");
    opts = (prle_fuse_opts)PRLE_FUSE_OPTS_DEFAULT;
    opts.radius = 0;
    assert_fails(prle_fuser_create(&opts, 3, 8, 8, &fuser), PRLE_EINVAL, "radius 0");
    opts = (prle_fuse_opts)PRLE_FUSE_OPTS_DEFAULT;
    opts.rule = PRLE_FUSE_N_RULES;
    assert_fails(prle_fuser_create(&opts, 3, 8, 8, &fuser), PRLE_EINVAL, "rule 4");
    assert_null(fuser);
    opts = (prle_fuse_opts)PRLE_FUSE_OPTS_DEFAULT;
    assert_ok(prle_fuser_create(&opts, 2, 4, 5, &fuser));
    memset(f->q, 0, 40 * sizeof *f->q);
    f->q[20 + 13] = 32769;
    assert_fails(prle_fuser_run(fuser, f->q, f->rank, f->attention, &area), PRLE_EINVAL, "map 1: value 32769 at row 2, column 3");
    assert_int_equal(area, 7);
    prle_fuser_destroy(fuser);
}

/* Every allocation of create fails once; nothing leaks. Fusing allocates nothing. */
static void test_allocations(void **state)
{
    fixture *f = *state;
    const prle_fuse_opts opts = PRLE_FUSE_OPTS_DEFAULT;
    const int64_t live = prle_alloc_live();
    prle_fuser *fuser = NULL;
    uint32_t area = 0;
    int64_t nth = 0;

    do {
        prle_alloc_fail_at(++nth);
        const prle_status st = prle_fuser_create(&opts, 3, 16, 16, &fuser);
        prle_alloc_fail_at(0);
        if (st == PRLE_OK)
            break;
        assert_int_equal(st, PRLE_ENOMEM);
        assert_null(fuser);
        assert_int_equal(prle_alloc_live(), live);
    } while (nth < 100);
    assert_in_range(nth, 5, 99);
    fill(f->q, NOISE, 3, 16, 16, 1);
    const int64_t count = prle_alloc_count();
    assert_ok(prle_fuser_run(fuser, f->q, f->rank, f->attention, &area));
    assert_int_equal(prle_alloc_count(), count);
    prle_fuser_destroy(fuser);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_sizes), cmocka_unit_test(test_full_size),
        cmocka_unit_test(test_whole_image), cmocka_unit_test(test_neighbor_of_one_is_empty),
        cmocka_unit_test(test_bad_input),   cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
