/* test_maps_cuda.c - rank maps and the arithmetic of attention maps on the GPU against the CPU's: the same bits. */
#include <math.h>

#include "core/alloc.h"
#include "core/attention.h"
#include "core/attention_cuda.h"
#include "core/rankmap.h"
#include "core/rankmap_cuda.h"
#include "core/rng.h"
#include "tests/gpu.h"

static cudaStream_t stream(void)
{
    const prle_cuda *cuda = NULL;

    assert_ok(prle_cuda_get(&cuda));
    return cuda->compute;
}

/* ---- ranks ---- */

typedef enum kind { NOISE, EMPTY, CONSTANT, SINGLE, TIED, DESCENDING, ASCENDING, N_KINDS } kind;

static void values_fill(uint32_t *value, kind what, int64_t n, uint32_t most, uint64_t seed)
{
    prle_rng rng = prle_rng_make(seed, 0, 0, PRLE_RNG_TEST);

    for (int64_t i = 0; i < n; i++)
        switch (what) {
        case NOISE: value[i] = prle_rng_below(&rng, most + 1); break;
        case EMPTY: value[i] = 0; break;
        case CONSTANT: value[i] = most; break;
        case SINGLE: value[i] = i == n / 2 ? most : 0; break;
        case TIED: value[i] = most / 3 * prle_rng_below(&rng, 4); break;
        case DESCENDING: value[i] = (uint32_t)(n - i) < most ? (uint32_t)(n - i) : most; break;
        case ASCENDING: value[i] = (uint32_t)i < most ? (uint32_t)i : most; break;
        case N_KINDS: break;
        }
}

/* n_images of one kind, in one launch. */
static void ranks_check(kind what, int64_t n_images, int64_t n, uint32_t most)
{
    uint32_t *value = NULL, *first = NULL, *area = NULL;
    uint16_t *rank = NULL, *want = NULL;

    assert_ok(PRLE_NEW(value, n_images * n));
    assert_ok(PRLE_NEW(first, most + 1));
    assert_ok(PRLE_NEW(area, n_images));
    assert_ok(PRLE_NEW(rank, n_images * n));
    assert_ok(PRLE_NEW(want, n));
    for (int64_t i = 0; i < n_images; i++)
        values_fill(value + i * n, what, n, most, (uint64_t)(i + n));
    void *const on_device = gpu_put(value, (size_t)(n_images * n) * sizeof *value);
    void *const scratch = gpu_new((size_t)(n_images * n) * sizeof *value), *const areas =
                                                                               gpu_new((size_t)n_images * sizeof *area);
    void *const ranks = gpu_new((size_t)(n_images * n) * sizeof *rank);
    gpu_counts_reset();
    assert_ok(PRLE_CUDA_STATUS(prle_rank_from_values_cuda(on_device, n_images, n, most, scratch, ranks, areas, stream())));
    gpu_get(rank, ranks, (size_t)(n_images * n) * sizeof *rank);
    gpu_get(area, areas, (size_t)n_images * sizeof *area);
    int64_t inside = 0;
    for (int64_t i = 0; i < n_images; i++) {
        uint32_t want_area = 0;
        assert_ok(prle_rank_from_values(value + i * n, n, most, first, want, &want_area));
        assert_int_equal(area[i], want_area);
        assert_memory_equal(rank + i * n, want, (size_t)n * sizeof *want);
        inside += want_area;
    }
    if (n >= 1000)
        gpu_traffic_check("rank_from_values", 6 * n_images * n + 8 * inside);
    gpu_free(on_device);
    gpu_free(scratch);
    gpu_free(areas);
    gpu_free(ranks);
    prle_free(value);
    prle_free(first);
    prle_free(area);
    prle_free(rank);
    prle_free(want);
}

static void test_ranks(void **state)
{
    static const int64_t sizes[] = {1, 2, 31, 32, 33, 511, 513, 1009, 4096};
    static const uint32_t zoos[] = {1, 2, 5, 64};

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t t = 0; t < sizeof zoos / sizeof *zoos; t++)
            ranks_check((kind)((s + t) % N_KINDS), 3, sizes[s], 32768 * zoos[t]);
    for (int what = 0; what < N_KINDS; what++)
        ranks_check((kind)what, 2, 1009, 32768 * 3);
    ranks_check(NOISE, 2, 100, 1); /* values of 0 and 1 only */
}

/* All 65,536 positions inside: the last rank is 0xFFFF. */
static void test_ranks_full(void **state)
{
    (void)state;
    ranks_check(CONSTANT, 1, PRLE_RANK_MAX_PIXELS, 32768);
    ranks_check(NOISE, 1, PRLE_RANK_MAX_PIXELS, 32768 * 5);
}

static void test_ranks_refused(void **state)
{
    (void)state;
    assert_int_equal(prle_rank_from_values_cuda(NULL, 1, PRLE_RANK_MAX_PIXELS + 1, 10, NULL, NULL, NULL, stream()),
                     cudaErrorInvalidValue);
    assert_int_equal(prle_rank_from_values_cuda(NULL, 1, 10, 1 << 23, NULL, NULL, NULL, stream()), cudaErrorInvalidValue);
}

/* ---- attention ---- */

static const int64_t sides[][4] = {{1, 1, 1, 1},     {1, 1, 5, 7},     {8, 8, 64, 64}, {7, 5, 37, 41},
                                   {16, 16, 16, 16}, {10, 10, 61, 64}, {19, 3, 7, 5}};
enum { N_SIDES = sizeof sides / sizeof *sides };

static void quantise_check(int64_t n, const int64_t side[4], uint64_t seed)
{
    const int64_t h = side[0], w = side[1], H = side[2], W = side[3], T = 3, member = 1;
    prle_rng rng = prle_rng_make(seed, 0, 0, PRLE_RNG_TEST);
    float *map = NULL;
    uint16_t *q = NULL, *want = NULL;

    assert_ok(PRLE_NEW(map, n * h * w));
    assert_ok(PRLE_NEW(q, n * T * H * W));
    assert_ok(PRLE_NEW(want, n * T * H * W));
    for (int64_t i = 0; i < n * h * w; i++)
        map[i] = i % 7 == 0 ? (float)(i % 2) : (float)prle_rng_uniform(&rng);
    void *const maps = gpu_put(map, (size_t)(n * h * w) * sizeof *map), *const out =
                                                                            gpu_put(q, (size_t)(n * T * H * W) * sizeof *q);
    gpu_counts_reset();
    assert_ok(PRLE_CUDA_STATUS(
        prle_attention_quantise_cuda(maps, n, h, w, H, W, (uint16_t *)out + member * H * W, T * H * W, stream())));
    gpu_get(q, out, (size_t)(n * T * H * W) * sizeof *q);
    for (int64_t i = 0; i < n; i++)
        assert_ok(prle_attention_quantise(map + i * h * w, h, w, H, W, want + (i * T + member) * H * W));
    assert_memory_equal(q, want, (size_t)(n * T * H * W) * sizeof *q); /* the other members' places are untouched */
    if (H * W > 4000)
        gpu_traffic_check("attention_quantise", n * (4 * h * w + 2 * H * W));
    gpu_free(maps);
    gpu_free(out);
    prle_free(map);
    prle_free(q);
    prle_free(want);
}

static void test_quantise(void **state)
{
    (void)state;
    for (int k = 0; k < N_SIDES; k++)
        quantise_check(3, sides[k], (uint64_t)k);
}

static void mean_check(int64_t n, const int64_t side[4], uint64_t seed)
{
    enum { PARTS = 2 };
    const int64_t h = side[0], w = side[1], H = side[2], W = side[3];
    const size_t in_bytes = (size_t)(n * h * w) * sizeof(double), out_bytes = (size_t)(n * H * W) * sizeof(double);
    prle_rng rng = prle_rng_make(seed, 0, 0, PRLE_RNG_TEST);
    double *map = NULL, *got = NULL, *want = NULL, *part = NULL;

    assert_ok(PRLE_NEW(map, n * h * w));
    assert_ok(PRLE_NEW(got, n * H * W));
    assert_ok(PRLE_NEW(want, n * H * W));
    assert_ok(PRLE_NEW(part, H * W));
    void *const out = gpu_new(out_bytes);
    for (int k = 0; k < PARTS; k++) {
        for (int64_t i = 0; i < n * h * w; i++)
            map[i] = prle_rng_uniform(&rng) - 0.3;
        void *const maps = gpu_put(map, in_bytes);
        gpu_counts_reset();
        assert_ok(PRLE_CUDA_STATUS(prle_attention_mean_cuda(maps, n, h, w, H, W, PARTS, k == 0, out, stream())));
        for (int64_t i = 0; i < n; i++) {
            assert_ok(prle_attention_resize(map + i * h * w, h, w, H, W, part));
            for (int64_t p = 0; p < H * W; p++)
                want[i * H * W + p] = (k > 0 ? want[i * H * W + p] : 0) + part[p] / PARTS;
        }
        gpu_get(got, out, out_bytes);
        if (H * W > 1000)
            gpu_traffic_check("attention_mean", n * 8 * (h * w + (k == 0 ? 1 : 2) * H * W));
        gpu_free(maps);
    }
    assert_memory_equal(got, want, out_bytes);
    gpu_counts_reset();
    assert_ok(PRLE_CUDA_STATUS(prle_attention_normalise_cuda(out, n, H * W, stream())));
    for (int64_t i = 0; i < n; i++)
        assert_ok(prle_attention_normalise(want + i * H * W, H, W));
    gpu_get(got, out, out_bytes);
    assert_memory_equal(got, want, out_bytes);
    if (H * W > 1000)
        gpu_traffic_check("attention_normalise", n * 16 * H * W);
    gpu_free(out);
    prle_free(map);
    prle_free(got);
    prle_free(want);
    prle_free(part);
}

static void test_mean_and_normalise(void **state)
{
    (void)state;
    for (int k = 0; k < N_SIDES; k++)
        mean_check(2, sides[k], 50 + (uint64_t)k);
}

/* One map with a value that is not finite stays as it is; the others do not care. A constant one becomes 0; one whose range fits
 * no double is no different. */
static void test_not_finite(void **state)
{
    enum { N = 6, PIXELS = 300 };
    static double map[N][PIXELS], got[N][PIXELS];

    (void)state;
    for (int i = 0; i < N; i++)
        for (int p = 0; p < PIXELS; p++)
            map[i][p] = i == 4 ? 3 : i == 5 ? (p - 150) * 1e306 : p;
    map[1][299] = (double)NAN;
    map[2][0] = (double)INFINITY;
    map[3][150] = (double)NAN;
    void *const maps = gpu_put(map, sizeof map);
    assert_ok(PRLE_CUDA_STATUS(prle_attention_normalise_cuda(maps, N, PIXELS, stream())));
    gpu_get(got, maps, sizeof got);
    for (int i = 1; i < 4; i++)
        assert_memory_equal(got[i], map[i], sizeof got[i]);
    assert_true(got[0][0] == 0 && got[0][299] == 1 && got[4][0] == 0 && got[4][299] == 0);
    assert_ok(prle_attention_normalise(map[5], 1, PIXELS));
    assert_memory_equal(got[5], map[5], sizeof got[5]);
    gpu_free(maps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks),    cmocka_unit_test(test_ranks_full),         cmocka_unit_test(test_ranks_refused),
        cmocka_unit_test(test_quantise), cmocka_unit_test(test_mean_and_normalise), cmocka_unit_test(test_not_finite),
    };
    GPU_TESTS_RUN(tests);
}
