/* test_op_cuda_bytes.c - what the operators' kernels move through global memory, counted by the simulator: at most 1.2 x the
 * least that kernels_cuda.h states beside each. Images of 2 x 33 x 35 pixels with 64 channels, in either element type. */
#include "core/op/band_cuda.h"
#include "core/op/kernels_cuda.h"
#include "tests/gpu.h"

enum { B = 2, H = 33, W = 35, C = 64, ROWS = B * H * W, N = ROWS * C };

static const prle_dtype types[] = {PRLE_F32, PRLE_BF16};

/* Zeroed memory of the GPU, all freed at the end of a test. */
static void *pool[16];
static int n_pool;

static void *zeros(size_t n_bytes)
{
    void *buffer = NULL;

    assert_true(n_pool < 16);
    assert_ok(prle_cuda_device()->alloc(n_bytes, &buffer));
    assert_ok(prle_cuda_device()->zero(buffer, n_bytes));
    return pool[n_pool++] = buffer;
}

static int pool_free(void **state)
{
    (void)state;
    while (n_pool > 0)
        prle_cuda_device()->free(pool[--n_pool]);
    return 0;
}

static void *image(prle_dtype dtype) { return zeros(N * prle_dtype_bytes(dtype)); }

static cudaStream_t stream(void)
{
    const prle_cuda *gpu = NULL;

    assert_ok(prle_cuda_get(&gpu));
    return gpu->compute;
}

/* One launch of the kernels that have `part` in their names moves `least` bytes, or up to 1.2 x that. */
#define MOVES(part, least, launch)                                                                                               \
    do {                                                                                                                         \
        assert_ok(prle_cuda_device()->wait());                                                                                   \
        gpu_counts_reset();                                                                                                      \
        assert_int_equal((launch), cudaSuccess);                                                                                 \
        assert_ok(prle_cuda_device()->wait());                                                                                   \
        gpu_traffic_check(part, (int64_t)(least));                                                                               \
    } while (0)

static void test_reorder(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        const prle_dtype from = types[i % 2], to = types[i / 2];
        const size_t each = prle_dtype_bytes(from) + prle_dtype_bytes(to);
        void *a = image(from), *b = image(to);

        MOVES("transpose_squares", N * each, prle_transpose_cuda(b, to, a, from, B, C, H * W, stream()));
        MOVES("transpose_squares", N * each, prle_transpose_cuda(b, to, a, from, B, H * W, C, stream()));
        MOVES("transpose_few_rows", B * 3 * 2048 * each, prle_transpose_cuda(b, to, a, from, B, 3, 2048, stream()));
        MOVES("transpose_few_columns", B * 3 * 2048 * each, prle_transpose_cuda(b, to, a, from, B, 2048, 3, stream()));
        if (from != to)
            MOVES("convert", N * each, prle_convert_cuda(b, to, a, from, N, stream()));
        pool_free(NULL);
    }
}

static void test_elements(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const prle_dtype t = types[i];
        const size_t E = prle_dtype_bytes(t);
        const prle_act_attrs swish = {.act = PRLE_ACT_SWISH};
        const prle_cuda_rows rows = {ROWS, C, t};
        void *a = image(t), *b = image(t), *y = image(t), *bias = zeros(C * sizeof(float)),
             *scratch = zeros(prle_sums_cuda_scratch(rows));

        MOVES("map", 2 * N * E, prle_act_cuda(y, a, swish, N, t, stream()));
        MOVES("map", 3 * N * E, prle_act_backward_cuda(y, a, b, swish, N, t, stream()));
        MOVES("map", 3 * N * E, prle_add_cuda(y, a, b, N, t, stream()));
        MOVES("epilogue", 2 * N * E, prle_epilogue_cuda(y, NULL, bias, swish, rows, stream()));
        MOVES("epilogue", 3 * N * E, prle_epilogue_cuda(y, a, bias, swish, rows, stream()));
        MOVES("sums_of", N * E, prle_sums_cuda(bias, a, rows, scratch, stream()));
        MOVES("copy_channels", 2 * ROWS * 40 * E, prle_copy_channels_cuda(y, C, a, 40, 40, ROWS, t, stream()));
        pool_free(NULL);
    }
}

static void test_norm(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const prle_dtype t = types[i];
        const size_t E = prle_dtype_bytes(t);
        const prle_cuda_rows rows = {ROWS, C, t};
        float *c = zeros(9 * C * sizeof(float));
        const prle_cuda_norm norm = {c, c + C, c + 2 * C, c + 3 * C, c + 4 * C};
        float *gamma = c + 7 * C, *beta = c + 8 * C;
        const prle_cuda_affine affine = {.gamma = gamma,
                                         .beta = beta,
                                         .running_mean = c + 5 * C,
                                         .running_var = c + 6 * C,
                                         .eps = 1e-5,
                                         .momentum = 0.1,
                                         .moves = true};
        void *x = image(t), *dy = image(t), *y = image(t), *r = image(t), *scratch = zeros(prle_norm_cuda_scratch(rows));
        const prle_cuda_norm_gradient plain = {.x = x, .dy = dy, .relu = true},
                                      residual = {.x = x, .y = y, .dy = dy, .relu = true};

        MOVES("statistics", N * E, prle_norm_batch_cuda(&norm, x, &affine, rows, scratch, stream()));
        MOVES("statistics_running", 9 * C * 4, prle_norm_running_cuda(&norm, &affine, C, stream()));
        MOVES("apply", 2 * N * E, prle_norm_apply_cuda(y, x, NULL, &norm, true, rows, stream()));
        MOVES("apply", 3 * N * E, prle_norm_apply_cuda(y, x, r, &norm, true, rows, stream()));
        MOVES("gradient_sums", 2 * N * E, prle_norm_sums_cuda(gamma, beta, NULL, &norm, &plain, rows, scratch, stream()));
        MOVES("gradient_sums", 3 * N * E, prle_norm_sums_cuda(gamma, beta, NULL, &norm, &residual, rows, scratch, stream()));
        MOVES("input_gradient", 3 * N * E, prle_norm_input_gradient_cuda(r, NULL, &norm, false, &plain, rows, scratch, stream()));
        pool_free(NULL);
    }
}

static void test_images(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const prle_dtype t = types[i];
        const size_t E = prle_dtype_bytes(t);
        const prle_cuda_image z = {B, H * W, C, t};
        const prle_cuda_pool max = {.attrs = {.max = true, .kernel = 3, .stride = 2, .pad = 1},
                                    .B = B,
                                    .C = C,
                                    .H = H,
                                    .W = W,
                                    .P = 17,
                                    .Q = 18,
                                    .dtype = t};
        enum { N_OUT = B * 17 * 18 * C };
        const prle_cuda_dropout drop = {.image = z, .channels_last = true, .attrs = {.p = 0.5}};
        const prle_cuda_dropout whole = {.image = z, .channels_last = true, .attrs = {.p = 0.5, .per_sample = true}};
        const prle_cuda *gpu = NULL;
        void *x = image(t), *y = image(t), *dy = image(t), *small = zeros(B * C * E), *other = zeros(B * C * E),
             *bytes = zeros(N);

        assert_ok(prle_cuda_get(&gpu));
        MOVES("gate_forward", 2 * N * E, prle_gate_cuda(y, x, small, z, stream()));
        MOVES("gate_backward", 3 * N * E, prle_gate_backward_cuda(y, other, x, small, dy, z, stream()));
        MOVES("mean_forward", N * E, prle_mean_cuda(small, x, z, stream()));
        MOVES("mean_backward", N * E, prle_mean_backward_cuda(y, small, z, stream()));
        MOVES("pool_forward", (N + N_OUT) * E + N_OUT, prle_pool_forward_cuda(y, bytes, x, &max, stream()));
        MOVES("pool_backward", (N + N_OUT) * E + N_OUT, prle_pool_backward_cuda(x, bytes, y, &max, stream()));
        MOVES("drop", 2 * N * E + N, prle_dropout_cuda(y, bytes, x, &drop, gpu->run, stream()));
        MOVES("drop_backward", 2 * N * E + N, prle_dropout_backward_cuda(y, bytes, x, &drop, stream()));
        MOVES("drop", 2 * N * E, prle_dropout_cuda(y, bytes, x, &whole, gpu->run, stream()));
        pool_free(NULL);
    }
}

/* F3-Net's: two pictures of 64 x 64, four bands; parameters and the matrix come on top of the images. */
static void test_spectra(void **state)
{
    (void)state;
    enum { S = 64, IN = 2 * 3 * S * S, BANDS = 4, PLACES = 32 };
    float *w = zeros(2 * BANDS * S * S * sizeof(float)), *x = zeros(IN * sizeof(float)), *y = zeros(BANDS * IN * sizeof(float)),
          *dx = zeros(IN * sizeof(float));
    prle_cuda_band_filter filter = {.bands = {BANDS, {{0, 9}, {9, 20}, {20, 64}, {0, 126}}}, .B = 2, .C = 3, .H = S, .W = S};
    prle_cuda_spectrum spectrum = {.attrs = {.window = 10, .stride = 2, .pad = 4, .bands = filter.bands},
                                   .B = 2,
                                   .H = S,
                                   .W = S,
                                   .P = PLACES,
                                   .Q = PLACES,
                                   .D = zeros(100 * sizeof(double))};

    for (int m = 0; m < BANDS; m++) {
        filter.w[m] = spectrum.w[m] = w + m * S * S;
        filter.dw[m] = spectrum.dw[m] = w + (BANDS + m) * S * S;
    }
    void *scratch = zeros(prle_local_spectrum_cuda_scratch(&spectrum));
    MOVES("filter", ((1 + BANDS) * IN + BANDS * S * S) * sizeof(float), prle_band_filter_cuda(y, x, &filter, stream()));
    MOVES("filter", ((2 + BANDS) * IN + 2 * BANDS * S * S) * sizeof(float),
          prle_band_filter_backward_cuda(dx, x, y, &filter, stream()));
    MOVES("forward", (IN + 2 * BANDS * PLACES * PLACES) * sizeof(float),
          prle_local_spectrum_cuda(y, x, &spectrum, scratch, stream()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_reorder, pool_free), cmocka_unit_test_teardown(test_elements, pool_free),
        cmocka_unit_test_teardown(test_norm, pool_free), cmocka_unit_test_teardown(test_images, pool_free),
        cmocka_unit_test_teardown(test_spectra, pool_free)};

    GPU_TESTS_RUN(tests);
}
