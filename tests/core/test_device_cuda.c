/* test_device_cuda.c - a GPU as a device: memory, copies of all sizes, layouts, errors in words, kernels over flat buffers. */
#include "core/alloc.h"
#include "core/device/flat_cuda.h"
#include "tests/gpu.h"

static const prle_device *device(void) { return prle_cuda_device(); }

static unsigned char pattern(size_t i) { return (unsigned char)(i * 2654435761u >> 13); }

static void copies_check(size_t n)
{
    unsigned char *from = NULL, *to = NULL;
    void *there = NULL;

    assert_ok(PRLE_NEW(from, n + 1));
    assert_ok(PRLE_NEW(to, n + 1));
    for (size_t i = 0; i < n; i++)
        from[i] = pattern(i);
    to[n] = 77;
    assert_ok(device()->alloc(n, &there));
    assert_ok(device()->copy_in(there, from, n));
    memset(from, 0, n); /* the caller's memory is free at once */
    assert_ok(device()->copy_out(to, there, n));
    for (size_t i = 0; i < n; i++)
        assert_int_equal(to[i], pattern(i));
    assert_int_equal(to[n], 77);
    assert_ok(device()->zero(there, n));
    assert_ok(device()->copy_out(to, there, n));
    for (size_t i = 0; i < n; i++)
        assert_int_equal(to[i], 0);
    device()->free(there);
    prle_free(from);
    prle_free(to);
}

static void test_copies(void **state)
{
    const size_t chunk = 4 << 20;

    (void)state;
    copies_check(0);
    copies_check(1);
    copies_check(12345);
    copies_check(chunk);
    copies_check(2 * chunk + 1);
    copies_check(3 * chunk - 7);
}

static void test_copies_are_pinned(void **state)
{
    float x[100] = {1};
    void *there = NULL;
    cudasim_counts counts;

    (void)state;
    assert_ok(device()->alloc(sizeof x, &there));
    gpu_counts_reset();
    for (int i = 0; i < 10; i++)
        assert_ok(device()->copy_in(there, x, sizeof x));
    assert_ok(device()->copy_out(x, there, sizeof x));
    if (gpu_counts(&counts)) {
        assert_int_equal(counts.copies, 11);
        assert_int_equal(counts.copied_bytes, 11 * sizeof x);
        assert_int_equal(counts.pageable_copies, 0);
        assert_int_equal(counts.allocations, 0);
    }
    device()->free(there);
}

static void test_scale(void **state)
{
    static const int64_t sizes[] = {0, 1, 2, 255, 257, 10007, 600000};
    const prle_cuda *cuda = NULL;

    (void)state;
    assert_ok(prle_cuda_get(&cuda));
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        const int64_t n = sizes[k];
        float *x = NULL;
        void *there = NULL;

        assert_ok(PRLE_NEW(x, n));
        for (int64_t i = 0; i < n; i++)
            x[i] = (float)(i % 1000) - 300;
        assert_ok(device()->alloc((size_t)n * sizeof *x, &there));
        assert_ok(device()->copy_in(there, x, (size_t)n * sizeof *x));
        gpu_counts_reset();
        assert_ok(PRLE_CUDA_STATUS(prle_scale_cuda(there, n, 0.25f, cuda->compute)));
        assert_ok(device()->copy_out(x, there, (size_t)n * sizeof *x));
        for (int64_t i = 0; i < n; i++)
            assert_true(x[i] == 0.25f * ((float)(i % 1000) - 300));
        if (n > 1000)
            gpu_traffic_check("scale_kernel", 8 * n);
        device()->free(there);
        prle_free(x);
    }
}

static void test_layouts(void **state)
{
    const prle_shape shape = PRLE_SHAPE(2, 3, 5, 7);
    const prle_layout nhwc = prle_cuda_layout_nhwc(PRLE_F32, &shape), plain = prle_layout_plain(PRLE_F32, &shape);

    (void)state;
    assert_true(prle_cuda_layout_is_nhwc(&nhwc));
    assert_false(prle_cuda_layout_is_nhwc(&plain));
    assert_false(prle_layout_equal(&nhwc, &plain));
    assert_int_equal(nhwc.n_bytes, plain.n_bytes);
    assert_int_equal(prle_cuda_layout_nhwc(PRLE_BF16, &shape).n_bytes, plain.n_bytes / 2);
}

static void test_errors(void **state)
{
    void *much = NULL;
    const prle_cuda *cuda = NULL;

    (void)state;
    assert_fails(prle_cuda_open(0), PRLE_EINVAL, "open already");
    assert_fails(device()->alloc((size_t)1 << 45, &much), PRLE_ENOMEM, "do not fit");
    assert_null(much);
    assert_fails(PRLE_CUDA_STATUS(cudaErrorInvalidValue), PRLE_ECUDA, "cudaErrorInvalidValue");
    assert_fails(PRLE_CUDNN_STATUS(3000), PRLE_ECUDA, "3000: CUDNN_STATUS_NOT_SUPPORTED");
    assert_fails(PRLE_CUBLAS_STATUS(7), PRLE_ECUDA, "7: ");
    prle_cuda_close();
    assert_fails(prle_cuda_get(&cuda), PRLE_ECUDA, "no GPU is open");
    assert_fails(prle_cuda_open(99), PRLE_EINVAL, "rank 99 of this machine has no GPU");
    assert_ok(prle_cuda_open(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies), cmocka_unit_test(test_copies_are_pinned),
        cmocka_unit_test(test_scale),  cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_errors),
    };
    GPU_TESTS_RUN(tests);
}
