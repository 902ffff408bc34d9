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

/* More batches than there is room for on the way, of growing size; each is doubled before the next overwrites it. */
static void test_feed(void **state)
{
    enum { N = 5000, BATCHES = 21 };
    const prle_cuda *cuda = NULL;
    float *batch = NULL, *got = NULL;
    void *input = NULL, *all = NULL;
    cudasim_counts counts;

    (void)state;
    assert_ok(prle_cuda_get(&cuda));
    assert_ok(PRLE_NEW(batch, N));
    assert_ok(PRLE_NEW(got, N * BATCHES));
    assert_ok(device()->alloc(N * sizeof *batch, &input));
    assert_ok(device()->alloc(N * BATCHES * sizeof *batch, &all));
    assert_ok(device()->zero(all, N * BATCHES * sizeof *batch));
    for (int b = 0; b < BATCHES; b++) {
        const int64_t n = b < 3 ? N / 2 : N;
        if (b == 4) {
            assert_ok(device()->wait());
            gpu_counts_reset();
        }
        for (int64_t i = 0; i < n; i++)
            batch[i] = (float)(b * N + i);
        assert_ok(device()->feed(input, batch, (size_t)n * sizeof *batch));
        memset(batch, 0, N * sizeof *batch); /* free at once */
        assert_ok(PRLE_CUDA_STATUS(prle_scale_cuda(input, n, 2, cuda->compute)));
        assert_ok(PRLE_CUDA_STATUS(
            cudaMemcpyAsync((float *)all + b * N, input, (size_t)n * sizeof *batch, cudaMemcpyDeviceToDevice, cuda->compute)));
        if (b == 11 && gpu_counts(&counts)) { /* as many as may be queued */
            assert_int_equal(counts.synchronisations, 0);
            assert_int_equal(counts.allocations, 0);
            assert_int_equal(counts.pageable_copies, 0);
        }
    }
    assert_ok(device()->copy_out(got, all, N * BATCHES * sizeof *got));
    for (int b = 0; b < BATCHES; b++)
        for (int64_t i = 0; i < (b < 3 ? N / 2 : N); i++)
            assert_true(got[b * N + i] == 2 * (float)(b * N + i));
    device()->free(input);
    device()->free(all);
    prle_free(batch);
    prle_free(got);
}

typedef struct doubling {
    float *values;
    int64_t n;
    prle_status st;
} doubling;

static prle_status double_twice(void *ctx)
{
    const doubling *d = ctx;
    const prle_cuda *cuda = NULL;

    PRLE_TRY(prle_cuda_get(&cuda));
    PRLE_CUDA(prle_scale_cuda(d->values, d->n, 2, cuda->compute));
    PRLE_CUDA(prle_scale_cuda(d->values, d->n, 2, cuda->compute));
    return d->st == PRLE_OK ? PRLE_OK : PRLE_FAIL(d->st, "planned to fail");
}

static void test_capture(void **state)
{
    float x[100];
    doubling d = {.n = 100};
    void *captured = NULL, *failed = NULL;
    cudasim_counts counts;

    (void)state;
    for (int i = 0; i < 100; i++)
        x[i] = (float)i;
    assert_ok(device()->alloc(sizeof x, (void **)&d.values));
    assert_ok(device()->copy_in(d.values, x, sizeof x));
    assert_ok(device()->capture(&captured, double_twice, &d));
    d.st = PRLE_ENOTSUP;
    assert_fails(device()->capture(&failed, double_twice, &d), PRLE_ENOTSUP, "planned to fail");
    assert_null(failed);
    gpu_counts_reset();
    for (int i = 0; i < 3; i++)
        assert_ok(device()->replay(captured));
    assert_ok(device()->copy_out(x, d.values, sizeof x));
    for (int i = 0; i < 100; i++)
        assert_true(x[i] == 64 * (float)i); /* 4^3: the capture itself has doubled nothing */
    if (gpu_counts(&counts)) {
        assert_int_equal(counts.graph_launches, 3);
        assert_int_equal(counts.graph_nodes, 6);
    }
    device()->capture_free(captured);
    device()->capture_free(NULL);
    device()->free(d.values);
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
    assert_fails(prle_cuda_open(0, true), PRLE_EINVAL, "open already");
    assert_fails(device()->alloc((size_t)1 << 45, &much), PRLE_ENOMEM, "do not fit");
    assert_null(much);
    assert_fails(PRLE_CUDA_STATUS(cudaErrorInvalidValue), PRLE_ECUDA, "cudaErrorInvalidValue");
    assert_fails(PRLE_CUDNN_STATUS(3000), PRLE_ECUDA, "3000: CUDNN_STATUS_NOT_SUPPORTED");
    assert_fails(PRLE_CUBLAS_STATUS(7), PRLE_ECUDA, "7: ");
    prle_cuda_close();
    assert_fails(prle_cuda_get(&cuda), PRLE_ECUDA, "no GPU is open");
    unsetenv("CUDA_VISIBLE_DEVICES"); /* where one GPU is shown, every rank takes that one */
    assert_fails(prle_cuda_open(99, true), PRLE_EINVAL, "rank 99 of this machine has no GPU");
    assert_ok(prle_cuda_open(0, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies), cmocka_unit_test(test_copies_are_pinned), cmocka_unit_test(test_scale),
        cmocka_unit_test(test_feed),   cmocka_unit_test(test_capture),           cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_errors),
    };
    GPU_TESTS_RUN(tests);
}
