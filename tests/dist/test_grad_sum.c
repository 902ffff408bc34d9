/* test_grad_sum.c - plain and threaded sums give the same bits, whatever the order in which gradients become final. */
#include <math.h>

#include "core/alloc.h"
#include "core/rng.h"
#include "dist/grad_sum.h"
#include "tests/dist/ranks.h"

enum { BUCKET_BYTES = 4096, N = 5000, N_STEPS = 4 };

/* Random numbers of this rank; `step` gives others. */
static void fill(double *values, int64_t n, uint32_t step)
{
    prle_rng rng = prle_rng_make(3, step, (uint64_t)world->rank, PRLE_RNG_TEST);

    for (int64_t i = 0; i < n; i++)
        values[i] = prle_rng_normal(&rng);
}

static void narrow(const double *values, int64_t n, prle_dtype dtype, void *out)
{
    for (int64_t i = 0; i < n; i++)
        if (dtype == PRLE_F32)
            ((float *)out)[i] = (float)values[i];
        else
            ((double *)out)[i] = values[i];
}

/* How backward names what is final: nothing; all at once; segments from the end; single steps out of order. */
typedef enum naming { NONE, WHOLE, SEGMENTS, SHUFFLED, N_NAMINGS } naming;

static void name_ready(prle_grad_sum *sum, int64_t n, naming how)
{
    enum { SEGMENT = 37 };
    uint32_t order[N / SEGMENT + 1];
    const uint32_t n_segments = (uint32_t)((n + SEGMENT - 1) / SEGMENT);
    prle_rng rng = prle_rng_make(4, 0, (uint64_t)world->rank, PRLE_RNG_TEST); /* ranks differ in order */

    if (how == WHOLE)
        prle_grad_sum_ready(sum, 0, n);
    for (uint32_t i = 0; i < n_segments; i++)
        order[i] = n_segments - 1 - i;
    if (how == SHUFFLED)
        prle_rng_shuffle(&rng, order, n_segments);
    for (uint32_t i = 0; (how == SEGMENTS || how == SHUFFLED) && i < n_segments; i++) {
        const int64_t first = (int64_t)order[i] * SEGMENT, left = n - first;
        prle_grad_sum_ready(sum, first, left < SEGMENT ? left : SEGMENT);
    }
}

/* N_STEPS sums of n numbers in that mode, one after another into results. */
static prle_status run(prle_grad_sum_mode mode, naming how, prle_dtype dtype, int64_t n, double *values, char *results)
{
    const prle_grad_sum_opts opts = {.mode = mode, .bucket_bytes = BUCKET_BYTES};
    const size_t n_bytes = (size_t)n * prle_dtype_bytes(dtype);
    prle_grad_sum *sum = NULL;
    char *buffer = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_alloc((size_t)n, prle_dtype_bytes(dtype), (prle_any_ptr *)&buffer));
    PRLE_TRY_OUT(prle_grad_sum_create(&sum, world, buffer, n, dtype, &opts));
    PRLE_CHECK_OUT(prle_grad_sum_mode_get(sum) == mode, PRLE_EINVAL, "another mode");
    for (uint32_t step = 0; step < N_STEPS; step++) {
        fill(values, n, step);
        narrow(values, n, dtype, buffer);
        name_ready(sum, n, how);
        PRLE_TRY_OUT(prle_grad_sum_wait(sum));
        if (n > 0)
            memcpy(results + step * n_bytes, buffer, n_bytes);
    }
out:
    prle_grad_sum_destroy(sum);
    prle_free(buffer);
    return st;
}

static void check_bits(prle_dtype dtype, int64_t n)
{
    const size_t n_bytes = (size_t)n * prle_dtype_bytes(dtype) * N_STEPS;
    static double values[N];
    static char plain[N * sizeof(double) * N_STEPS], threaded[N * sizeof(double) * N_STEPS];

    assert_all_ok(run(PRLE_GRAD_SUM_PLAIN, SEGMENTS, dtype, n, values, plain));
    assert_all(ranks_same_bits(plain, (int64_t)n_bytes));
    for (naming how = NONE; how < N_NAMINGS; how++) {
        memset(threaded, 0, sizeof threaded);
        assert_all_ok(run(PRLE_GRAD_SUM_THREAD, how, dtype, n, values, threaded));
        assert_all(memcmp(plain, threaded, n_bytes) == 0);
    }
}

/* The last plain result against sums made here, rank after rank. */
static void check_value(int64_t n)
{
    static double values[N], own[N], sums[N];
    static char results[N * sizeof(double) * N_STEPS];
    double worst = 0;

    assert_all_ok(run(PRLE_GRAD_SUM_PLAIN, NONE, PRLE_F64, n, values, results));
    fill(own, n, N_STEPS - 1);
    memset(sums, 0, sizeof sums);
    for (int r = 0; r < world->size; r++) {
        memcpy(values, own, sizeof own);
        assert_all_ok(prle_comm_broadcast(world, values, n * (int64_t)sizeof *values, r, "values"));
        for (int64_t i = 0; i < n; i++)
            sums[i] += values[i];
    }
    for (int64_t i = 0; i < n; i++) {
        double got;
        memcpy(&got, results + ((N_STEPS - 1) * (size_t)n + (size_t)i) * sizeof got, sizeof got);
        worst = fmax(worst, fabs(got - sums[i]));
    }
    assert_all(worst <= 1e-14); /* a few roundings of numbers below 10 */
}

static void test_same_bits(void **state)
{
    (void)state;
    static const int64_t counts[] = {0, 1, 511, 512, 513, 1024, N};
    const int64_t live = prle_alloc_live();

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        check_bits(PRLE_F64, counts[i]);
        check_bits(PRLE_F32, counts[i]);
    }
    check_value(N);
    assert_all(prle_alloc_live() == live);
}

/* What AUTO becomes when so many ranks share this machine. */
static prle_grad_sum_mode auto_mode(int local_size)
{
    float buffer[8] = {0};
    const int true_local_size = world->local_size;
    prle_grad_sum_mode mode = PRLE_GRAD_SUM_AUTO;
    prle_grad_sum *sum = NULL;

    world->local_size = local_size;
    if (prle_grad_sum_create(&sum, world, buffer, 8, PRLE_F32, NULL) == PRLE_OK)
        mode = prle_grad_sum_mode_get(sum);
    world->local_size = true_local_size;
    prle_grad_sum_destroy(sum);
    return mode;
}

static void test_auto(void **state)
{
    (void)state;
    assert_all(auto_mode(world->size) == PRLE_GRAD_SUM_PLAIN);
    assert_all(auto_mode(world->size - 1) == PRLE_GRAD_SUM_THREAD);
}

/* The world's communicator stays free while the thread sums. */
static void test_other_collectives_meanwhile(void **state)
{
    (void)state;
    const prle_grad_sum_opts opts = {.mode = PRLE_GRAD_SUM_THREAD, .bucket_bytes = 1 << 16};
    const int64_t n = 1 << 18;
    prle_grad_sum *sum = NULL;
    double *buffer = NULL;
    int64_t n_wrong = 0;

    assert_all_ok(PRLE_NEW(buffer, n));
    assert_all_ok(prle_grad_sum_create(&sum, world, buffer, n, PRLE_F64, &opts));
    for (int64_t i = 0; i < n; i++)
        buffer[i] = (double)(i % 1000);
    prle_grad_sum_ready(sum, 0, n);
    for (int i = 0; i < 200; i++) {
        int64_t one = 1;
        n_wrong += prle_comm_sum_i64(world, &one, 1, "count") != PRLE_OK || one != world->size;
    }
    const prle_status st = prle_grad_sum_wait(sum);
    for (int64_t i = 0; i < n; i++)
        n_wrong += buffer[i] != (double)(i % 1000 * world->size);
    prle_grad_sum_destroy(sum);
    prle_free(buffer);
    assert_all_ok(st);
    assert_all(n_wrong == 0);
}

static int n_sums_left;
static const prle_comm_ops *true_ops;

static prle_status failing_sum(prle_comm *comm, void *values, int64_t n, prle_dtype dtype)
{
    PRLE_CHECK(n_sums_left-- > 0, PRLE_EMPI, "the link is gone");
    return true_ops->sum(comm, values, n, dtype);
}

/* A failure in the thread comes out of wait with its words; the next step is a new one. */
static void check_failure(prle_grad_sum_mode mode)
{
    const prle_grad_sum_opts opts = {.mode = mode, .bucket_bytes = BUCKET_BYTES};
    static double buffer[N];
    prle_comm_ops ops = *world->ops;
    prle_grad_sum *sum = NULL;

    true_ops = world->ops;
    ops.sum = failing_sum;
    world->ops = &ops; /* the duplicate takes them over */
    n_sums_left = 3;
    assert_ok(prle_grad_sum_create(&sum, world, buffer, N, PRLE_F64, &opts));
    prle_grad_sum_ready(sum, 0, N);
    const prle_status st = prle_grad_sum_wait(sum);
    const bool named = strstr(prle_error_message(), "the link is gone") != NULL;
    n_sums_left = 1000;
    const prle_status next = prle_grad_sum_wait(sum);
    prle_grad_sum_destroy(sum);
    world->ops = true_ops;
    assert_all(st == PRLE_EMPI && named);
    assert_all_ok(next);
}

static void test_failure(void **state)
{
    (void)state;
    check_failure(PRLE_GRAD_SUM_PLAIN);
    check_failure(PRLE_GRAD_SUM_THREAD);
}

static void test_no_allocation_in_a_step(void **state)
{
    (void)state;
    for (prle_grad_sum_mode mode = PRLE_GRAD_SUM_PLAIN; mode <= PRLE_GRAD_SUM_THREAD; mode++) {
        const prle_grad_sum_opts opts = {.mode = mode, .bucket_bytes = BUCKET_BYTES};
        static float buffer[N];
        prle_grad_sum *sum = NULL;
        assert_all_ok(prle_grad_sum_create(&sum, world, buffer, N, PRLE_F32, &opts));
        const int64_t before = prle_alloc_count();
        prle_grad_sum_ready(sum, 100, N - 100);
        const prle_status st = prle_grad_sum_wait(sum);
        const int64_t after = prle_alloc_count();
        prle_grad_sum_destroy(sum);
        assert_all_ok(st);
        assert_all(after == before);
    }
}

static void test_refuses(void **state)
{
    (void)state;
    float buffer[4];
    prle_grad_sum *sum = NULL;
    prle_grad_sum_opts opts = PRLE_GRAD_SUM_OPTS_DEFAULT;

    assert_all(prle_grad_sum_create(&sum, world, buffer, 4, PRLE_BF16, NULL) == PRLE_ENOTSUP);
    assert_all(prle_grad_sum_create(&sum, world, buffer, -1, PRLE_F32, NULL) == PRLE_EINVAL);
    opts.bucket_bytes = (16 << 20) + 1;
    assert_all(prle_grad_sum_create(&sum, world, buffer, 4, PRLE_F32, &opts) == PRLE_EINVAL);
    opts.bucket_bytes = 3;
    assert_all(prle_grad_sum_create(&sum, world, buffer, 4, PRLE_F32, &opts) == PRLE_EINVAL && sum == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_auto),
        cmocka_unit_test(test_other_collectives_meanwhile),
        cmocka_unit_test(test_failure),
        cmocka_unit_test(test_no_allocation_in_a_step),
        cmocka_unit_test(test_refuses),
    };

    prle_alloc_setup();
    ranks_begin();
    return ranks_end(cmocka_run_group_tests(tests, NULL, NULL));
}
