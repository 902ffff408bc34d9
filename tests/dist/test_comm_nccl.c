/* test_comm_nccl.c - sums over the ranks' GPUs against closed forms and MPI's; gradients while work is queued. With an argument:
 * one rank in trouble, for test_comm_nccl.sh. */
#include <math.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/rng.h"
#include "dist/grad_sum.h"
#include "dist/watchdog.h"
#include "tests/dist/ranks.h"
#include "tests/gpu.h"

static prle_comm *gpus;

/* ---- sums ---- */

/* Small integers: every order of additions gives the same bits. On the device at an odd element, with guards around. */
static void sum_exact_check(int64_t n, prle_dtype dtype)
{
    const int64_t r = world->rank, triangle = (int64_t)world->size * (world->size - 1) / 2;
    const size_t bytes = prle_dtype_bytes(dtype);
    char *values = NULL;
    int64_t n_wrong = 0;

    assert_all_ok(prle_alloc((size_t)n + 2, bytes, (prle_any_ptr *)&values));
    for (int64_t i = 0; i < n + 2; i++) {
        const double v = (double)(i % 1000 + 3 * r);
        if (dtype == PRLE_F32)
            ((float *)(void *)values)[i] = (float)v;
        else
            ((double *)(void *)values)[i] = v;
    }
    char *const there = gpu_put(values, (size_t)(n + 2) * bytes);
    assert_all_ok(prle_comm_sum(gpus, there + bytes, n, dtype, "sum"));
    gpu_get(values, there, (size_t)(n + 2) * bytes);
    for (int64_t i = 0; i < n + 2; i++) {
        const bool guard = i == 0 || i == n + 1;
        const double want = (double)(guard ? i % 1000 + 3 * r : i % 1000 * world->size + 3 * triangle);
        const double got = dtype == PRLE_F32 ? (double)((float *)(void *)values)[i] : ((double *)(void *)values)[i];
        n_wrong += got != want;
    }
    gpu_free(there);
    prle_free(values);
    assert_all(n_wrong == 0);
}

static void test_sum_exact(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 10; n++)
        sum_exact_check(n, n % 2 == 0 ? PRLE_F32 : PRLE_F64);
    sum_exact_check(300007, PRLE_F32);
    sum_exact_check(70001, PRLE_F64);
}

/* Random numbers: the same bits on every rank, and MPI's sums but for rounding. */
static void test_sum_random(void **state)
{
    enum { N = 20011 };
    static float values[N], theirs[N];
    prle_rng rng = prle_rng_make(5, 0, (uint64_t)world->rank, PRLE_RNG_TEST);
    double worst = 0;

    (void)state;
    for (int i = 0; i < N; i++)
        values[i] = theirs[i] = (float)prle_rng_normal(&rng);
    void *const there = gpu_put(values, sizeof values);
    assert_all_ok(prle_comm_sum(gpus, there, N, PRLE_F32, "sum"));
    gpu_get(values, there, sizeof values);
    gpu_free(there);
    assert_all_ok(prle_comm_sum(world, theirs, N, PRLE_F32, "sum"));
    for (int i = 0; i < N; i++)
        worst = fmax(worst, fabs((double)values[i] - (double)theirs[i]));
    assert_all(worst <= 4e-6); /* a few roundings of numbers below 16 */
    assert_all(ranks_same_bits(values, sizeof values));
}

/* What is of the host's memory goes to the parent. */
static void test_others(void **state)
{
    int64_t ones = 1, most = world->rank, *counts = NULL;
    void *ranks = NULL;
    int word = world->rank == 0 ? 42 : 0;
    prle_comm *twin = NULL;
    float x = 0;

    (void)state;
    assert_all(gpus->rank == world->rank && gpus->size == world->size && prle_comm_overlaps(gpus));
    assert_all_ok(prle_comm_sum_i64(gpus, &ones, 1, "count"));
    assert_all_ok(prle_comm_max_i64(gpus, &most, 1, "most"));
    assert_all_ok(prle_comm_broadcast(gpus, &word, sizeof word, 0, "word"));
    assert_all_ok(PRLE_NEW(counts, world->size));
    assert_all_ok(prle_comm_gather(gpus, &world->rank, sizeof world->rank, 0, &ranks, counts, "ranks"));
    assert_all_ok(prle_comm_barrier(gpus, "barrier"));
    assert_all(ones == world->size && most == world->size - 1 && word == 42);
    for (int r = 0; world->rank == 0 && r < world->size; r++)
        assert_int_equal(((int *)ranks)[r], r);
    prle_free(counts);
    prle_free(ranks);
    assert_fails(prle_comm_duplicate(gpus, &twin), PRLE_ENOTSUP, "no communication thread");
    assert_fails(prle_comm_sum(gpus, &x, 1, PRLE_BF16, "sum"), PRLE_ENOTSUP, "bf16");
    assert_fails(prle_comm_sum(gpus, &x, -1, PRLE_F32, "sum"), PRLE_EINVAL, "-1 elements");
}

/* ---- gradients ---- */

enum { N_GRADS = 5000, BUCKET_BYTES = 4096, N_STEPS = 3 };

/* N_STEPS steps: gradients appear on the compute stream piece by piece from the end, named as they do; then all is halved. */
static prle_status steps_run(prle_grad_sum_mode mode, int64_t piece, float *results)
{
    const prle_device *device = prle_cuda_device();
    const prle_grad_sum_opts opts = {.mode = mode, .bucket_bytes = BUCKET_BYTES};
    static float values[N_GRADS];
    float *const there = gpu_new(sizeof values);
    prle_grad_sum *sum = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_grad_sum_create(&sum, gpus, there, N_GRADS, PRLE_F32, &opts));
    for (uint32_t step = 0; step < N_STEPS; step++) {
        prle_rng rng = prle_rng_make(6, step, (uint64_t)world->rank, PRLE_RNG_TEST);
        for (int i = 0; i < N_GRADS; i++)
            values[i] = (float)prle_rng_normal(&rng);
        for (int64_t end = N_GRADS; end > 0; end -= piece) {
            const int64_t first = end > piece ? end - piece : 0;
            PRLE_TRY_OUT(device->copy_in(there + first, values + first, (size_t)(end - first) * sizeof *values));
            prle_grad_sum_ready(sum, first, end - first);
        }
        PRLE_TRY_OUT(prle_grad_sum_wait(sum));
        PRLE_TRY_OUT(device->copy_out(results + step * N_GRADS, there, sizeof values));
    }
out:
    prle_grad_sum_destroy(sum);
    gpu_free(there);
    return st;
}

static void test_gradients(void **state)
{
    static float plain[N_STEPS * N_GRADS], streamed[N_STEPS * N_GRADS];
    static const int64_t pieces[] = {N_GRADS, 37, 1024, 1700};

    (void)state;
    assert_all_ok(steps_run(PRLE_GRAD_SUM_PLAIN, 100, plain));
    assert_all(ranks_same_bits(plain, sizeof plain));
    for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
        memset(streamed, 0, sizeof streamed);
        assert_all_ok(steps_run(k == 0 ? PRLE_GRAD_SUM_AUTO : PRLE_GRAD_SUM_STREAM, pieces[k], streamed));
        assert_all(memcmp(plain, streamed, sizeof plain) == 0);
    }
}

/* Sums are queued, not waited for: the host neither waits nor allocates, and there is one library call for each bucket. */
static void test_gradients_counts(void **state)
{
    const prle_grad_sum_opts opts = {.mode = PRLE_GRAD_SUM_AUTO, .bucket_bytes = BUCKET_BYTES};
    prle_grad_sum *sum = NULL;
    cudasim_counts counts;

    (void)state;
    float *const there = gpu_new(N_GRADS * sizeof(float));
    assert_ok(prle_cuda_device()->zero(there, N_GRADS * sizeof(float)));
    assert_all_ok(prle_grad_sum_create(&sum, gpus, there, N_GRADS, PRLE_F32, &opts));
    assert_all(prle_grad_sum_mode_get(sum) == PRLE_GRAD_SUM_STREAM);
    assert_ok(prle_cuda_device()->wait());
    gpu_counts_reset();
    const int64_t allocations = prle_alloc_count();
    prle_grad_sum_ready(sum, 1000, 4000);
    prle_grad_sum_ready(sum, 0, 1000);
    assert_ok(prle_grad_sum_wait(sum));
    assert_int_equal(prle_alloc_count(), allocations);
    if (gpu_counts(&counts)) {
        assert_int_equal(counts.synchronisations, 0);
        assert_int_equal(counts.allocations, 0);
        assert_int_equal(counts.copies, 0);
    }
    assert_ok(prle_cuda_device()->wait());
    if (gpu_counts(&counts))
        assert_int_equal(counts.library_calls, (N_GRADS * 4 + BUCKET_BYTES - 1) / BUCKET_BYTES);
    prle_grad_sum_destroy(sum);
    gpu_free(there);
    assert_fails(prle_grad_sum_create(&sum, world, &counts, 1, PRLE_F32, &(prle_grad_sum_opts){PRLE_GRAD_SUM_STREAM, 4096}),
                 PRLE_ENOTSUP, "on GPUs only");
}

/* ---- trouble ---- */

/* Each rank sums once more; the last one does it with another count, or hangs before. */
static prle_status trouble(const char *kind)
{
    const bool culprit = world->rank == world->size - 1;
    float values[16] = {0};
    void *there = NULL;

    PRLE_TRY(prle_cuda_device()->alloc(sizeof values, &there));
    PRLE_TRY(prle_cuda_device()->zero(there, sizeof values));
    if (culprit && strcmp(kind, "hangs") == 0)
        pause();
    PRLE_TRY(prle_comm_sum(gpus, there, culprit && strcmp(kind, "counts") == 0 ? 7 : 16, PRLE_F32, "gradients"));
    const prle_status st = prle_cuda_device()->copy_out(values, there, sizeof values);
    prle_cuda_device()->free(there);
    return st;
}

static int trouble_run(const char *kind)
{
    prle_status st = prle_cuda_comm_create(&gpus, world);

    if (st == PRLE_OK)
        st = trouble(kind);
    if (st != PRLE_OK)
        fprintf(stderr, "%s: %s\n", prle_status_name(st), prle_error_message());
    prle_comm_destroy(gpus);
    prle_cuda_close();
    return prle_dist_end(world, st == PRLE_OK ? 0 : 3);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sum_exact), cmocka_unit_test(test_sum_random),       cmocka_unit_test(test_others),
        cmocka_unit_test(test_gradients), cmocka_unit_test(test_gradients_counts),
    };
    cudasim_counts counts;

    ranks_begin();
    const prle_status st = prle_cuda_open(argc > 1 && strcmp(argv[1], "shared") == 0 ? 0 : world->local_rank, true);
    if (st != PRLE_OK)
        fprintf(stderr, "%s\n", prle_error_message());
    if (prle_comm_agree(world, st, "GPU") != PRLE_OK) {
        prle_cuda_close();
        return prle_dist_end(world, gpu_counts(&counts) ? 3 : 77); /* skipped where there are not enough */
    }
    if (argc > 1)
        return trouble_run(argv[1]);
    if (prle_comm_agree(world, prle_cuda_comm_create(&gpus, world), "NCCL") != PRLE_OK) {
        fprintf(stderr, "%s\n", prle_error_message());
        return prle_dist_end(world, 1);
    }
    const int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    prle_comm_destroy(gpus);
    prle_cuda_close();
    return ranks_end(n_failed);
}
