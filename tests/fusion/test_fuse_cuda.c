/* test_fuse_cuda.c - the fusion rules on the GPU, a batch of images a launch, against the CPU's image by image: the same
 * integers. */
#include "core/alloc.h"
#include "core/attention.h"
#include "core/rng.h"
#include "fusion/fuse_cuda.h"
#include "tests/gpu.h"

enum { IMAGES = 2 };

typedef enum kind { NOISE, EMPTY, CONSTANT, SINGLE, TIED, SMOOTH, N_KINDS } kind;

static void maps_fill(uint16_t *q, kind what, int T, int64_t H, int64_t W, uint64_t seed)
{
    prle_rng rng = prle_rng_make(seed, 0, 0, PRLE_RNG_TEST);
    const int64_t place = prle_rng_below(&rng, (uint32_t)(H * W));
    const uint16_t level = (uint16_t)prle_rng_below(&rng, 32769);

    for (int t = 0; t < T; t++) {
        uint16_t *map = q + t * H * W;
        float native[64];

        for (int i = 0; i < 64; i++)
            native[i] = (float)(prle_rng_uniform(&rng) * prle_rng_uniform(&rng));
        for (int64_t i = 0; i < H * W; i++)
            switch (what) {
            case NOISE: map[i] = (uint16_t)prle_rng_below(&rng, 32769); break;
            case CONSTANT: map[i] = level; break;
            case SINGLE: map[i] = i == place ? 32768 : 0; break;
            case TIED: map[i] = (uint16_t)(4096 * prle_rng_below(&rng, 9)); break;
            default: map[i] = 0; break;
            }
        if (what == SMOOTH)
            assert_ok(prle_attention_quantise(native, 8, 8, H, W, map));
    }
}

static void fuse_check(kind what, int T, int64_t H, int64_t W, const prle_fuse_opts *opts)
{
    const int64_t n = H * W;
    const prle_cuda *cuda = NULL;
    prle_fuse_limits limits = {0};
    prle_fuser *fuser = NULL;
    uint16_t *q = NULL, *rank = NULL;
    uint32_t *value = NULL, area = 0;
    uint8_t *attention = NULL, *want = NULL;

    assert_ok(prle_cuda_get(&cuda));
    assert_ok(PRLE_NEW(q, IMAGES * T * n));
    assert_ok(PRLE_NEW(rank, n));
    assert_ok(PRLE_NEW(value, IMAGES * n));
    assert_ok(PRLE_NEW(attention, IMAGES * n));
    assert_ok(PRLE_NEW(want, n));
    for (int i = 0; i < IMAGES; i++)
        maps_fill(q + i * T * n, what, T, H, W, (uint64_t)(100 * T + i));
    void *const maps = gpu_put(q, (size_t)(IMAGES * T * n) * sizeof *q), *const values =
                                                                             gpu_new((size_t)(IMAGES * n) * sizeof *value);
    void *const attentions = gpu_new((size_t)(IMAGES * n));
    assert_ok(prle_fuse_limits_make(&limits, opts, T, H, W));
    gpu_counts_reset();
    assert_ok(PRLE_CUDA_STATUS(prle_fuse_cuda(opts, &limits, maps, IMAGES, T, H, W, values, attentions, cuda->compute)));
    gpu_get(value, values, (size_t)(IMAGES * n) * sizeof *value);
    gpu_get(attention, attentions, (size_t)(IMAGES * n));
    if (n > 2000)
        gpu_traffic_check("fuse_maps", IMAGES * n * (2 * T + 5));
    assert_ok(prle_fuser_create(opts, T, H, W, &fuser));
    for (int i = 0; i < IMAGES; i++) {
        assert_ok(prle_fuser_run(fuser, q + i * T * n, rank, want, &area));
        assert_memory_equal(value + i * n, prle_fuser_values(fuser), (size_t)n * sizeof *value);
        assert_memory_equal(attention + i * n, want, (size_t)n);
    }
    prle_fuser_destroy(fuser);
    gpu_free(maps);
    gpu_free(values);
    gpu_free(attentions);
    prle_free(q);
    prle_free(rank);
    prle_free(value);
    prle_free(attention);
    prle_free(want);
}

static const prle_fuse_opts thresholds[] = {
    PRLE_FUSE_OPTS_DEFAULT,
    {.tau1 = 0.123457, .lambda = 0.333333, .radius = 2, .hyst_low = 0.05, .hyst_pair = 1e-6},
    {.tau1 = 0, .lambda = 0, .radius = 1, .hyst_low = 0, .hyst_pair = 0},
    {.tau1 = 1, .lambda = 1, .radius = 7, .hyst_low = 1, .hyst_pair = 1},
    {.tau1 = 0.125, .lambda = 0.125, .radius = 3, .hyst_low = 0.125, .hyst_pair = 0.125}, /* hit exactly by the tied maps */
};
enum { N_THRESHOLDS = sizeof thresholds / sizeof *thresholds };

/* Every rule, of zoos of 1 ... 6 and the largest; the kinds of maps and the thresholds go round. */
static void test_rules(void **state)
{
    static const int64_t sizes[][2] = {{1, 1}, {1, 7}, {7, 1}, {5, 3}, {13, 31}, {11, 33}};
    static const int zoos[] = {1, 2, 3, 4, 5, 6, 64};
    int turn = 0;

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t t = 0; t < sizeof zoos / sizeof *zoos; t++)
            for (int rule = PRLE_FUSE_EXPAND; rule < PRLE_FUSE_N_RULES; rule++, turn++) {
                prle_fuse_opts opts = thresholds[turn % N_THRESHOLDS];
                opts.rule = (prle_fuse_rule)rule;
                if (zoos[t] == 64 && (sizes[s][0] > 5 || rule == PRLE_FUSE_HYSTERESIS))
                    continue; /* 4096 pairs: for minutes */
                fuse_check((kind)(turn % N_KINDS), zoos[t], sizes[s][0], sizes[s][1], &opts);
            }
}

/* Each kind of map under each rule, at one size that is no multiple of a block's. */
static void test_kinds(void **state)
{
    (void)state;
    for (int what = 0; what < N_KINDS; what++)
        for (int rule = PRLE_FUSE_EXPAND; rule < PRLE_FUSE_N_RULES; rule++)
            for (int k = 0; k < N_THRESHOLDS; k += 2) {
                prle_fuse_opts opts = thresholds[k];
                opts.rule = (prle_fuse_rule)rule;
                fuse_check((kind)what, 3, 17, 37, &opts);
            }
}

static void test_large(void **state)
{
    prle_fuse_opts opts = PRLE_FUSE_OPTS_DEFAULT;

    (void)state;
    fuse_check(SMOOTH, 3, 96, 101, &opts);
    fuse_check(NOISE, 2, 64, 64, &opts);
    opts.rule = PRLE_FUSE_AVERAGE;
    fuse_check(NOISE, 5, 128, 128, &opts);
    opts.rule = PRLE_FUSE_HYSTERESIS;
    fuse_check(SMOOTH, 3, 61, 67, &opts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules), cmocka_unit_test(test_kinds), cmocka_unit_test(test_large)};

    GPU_TESTS_RUN(tests);
}
