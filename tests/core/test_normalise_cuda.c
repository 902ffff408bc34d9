/* test_normalise_cuda.c - bytes to numbers on the GPU against core/normalise.c: the same bits, channels-last. */
#include "core/alloc.h"
#include "core/normalise.h"
#include "core/op/kernels_cuda.h"
#include "tests/gpu.h"

/* To nearest, ties to even; of finite values. */
static uint16_t bf16_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

/* n pixels of images; every byte in every channel occurs for n >= 256. */
static void normalise_check(int64_t n, prle_dtype dtype)
{
    static const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
    const prle_normaliser normaliser = prle_normaliser_make(mean, std);
    const size_t width = prle_dtype_bytes(dtype), n_bytes = (size_t)(3 * n) * width;
    const prle_cuda *cuda = NULL;
    uint8_t *in = NULL, *got = NULL;
    float *want = NULL;
    int64_t wrong = 0;

    assert_ok(prle_cuda_get(&cuda));
    assert_ok(PRLE_NEW(in, 3 * n));
    assert_ok(PRLE_NEW(got, n_bytes));
    assert_ok(PRLE_NEW(want, 3 * n));
    for (int64_t i = 0; i < 3 * n; i++)
        in[i] = (uint8_t)(i / 3 * 7 + i % 3 * 50);
    prle_normaliser_run(&normaliser, want, PRLE_F32, in, n); /* [3,n] */
    void *const table = gpu_put(normaliser.f32, sizeof normaliser.f32), *const bytes = gpu_put(in, (size_t)(3 * n));
    void *const out = gpu_new(n_bytes);
    gpu_counts_reset();
    assert_ok(PRLE_CUDA_STATUS(prle_normalise_cuda(table, bytes, n, out, dtype, cuda->compute)));
    gpu_get(got, out, n_bytes);
    for (int64_t i = 0; i < 3 * n; i++) {
        const float value = want[i % 3 * n + i / 3];
        const uint16_t rounded = bf16_of(value);
        wrong += memcmp(got + (size_t)i * width, dtype == PRLE_F32 ? (const void *)&value : &rounded, width) != 0;
    }
    assert_int_equal(wrong, 0);
    if (n > 30000)
        gpu_traffic_check("normalise_bytes", 3 * n + (int64_t)n_bytes + 3072);
    gpu_free(table);
    gpu_free(bytes);
    gpu_free(out);
    prle_free(in);
    prle_free(got);
    prle_free(want);
}

static void test_normalise(void **state)
{
    static const int64_t sizes[] = {1, 5, 16, 17, 257, 2 * 37 * 41, 2 * 128 * 128};

    (void)state;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        normalise_check(sizes[k], PRLE_F32);
        normalise_check(sizes[k], PRLE_BF16);
    }
    assert_int_equal(prle_normalise_cuda(NULL, NULL, 1, NULL, PRLE_F64, NULL), cudaErrorInvalidValue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_normalise)};

    GPU_TESTS_RUN(tests);
}
