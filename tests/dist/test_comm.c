/* test_comm.c - the MPI communicator against closed forms, at sizes around its buckets. */
#include "core/alloc.h"
#include "core/rng.h"
#include "tests/dist/ranks.h"

enum { BUCKET_BYTES = 16 << 20 };

static void test_world(void **state)
{
    (void)state;
    int64_t ranks = 1;

    assert_all(world->rank >= 0 && world->rank < world->size);
    assert_all(world->local_rank >= 0 && world->local_rank < world->local_size && world->local_size <= world->size);
    assert_all(world->cpu_sharers >= 1 && world->cpu_sharers <= world->local_size);
    assert_all_ok(prle_comm_sum_i64(world, &ranks, 1, "count"));
    assert_all(ranks == world->size);
    assert_all_ok(prle_comm_barrier(world, "barrier"));
}

/* Small integers: every order of additions gives the same bits, so the closed form is exact. */
static void check_sum_exact(int64_t n, prle_dtype dtype)
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
    assert_all_ok(prle_comm_sum(world, values + bytes, n, dtype, "sum"));
    for (int64_t i = 0; i < n + 2; i++) {
        const bool guard = i == 0 || i == n + 1;
        const double want = (double)(guard ? i % 1000 + 3 * r : i % 1000 * world->size + 3 * triangle);
        const double got = dtype == PRLE_F32 ? (double)((float *)(void *)values)[i] : ((double *)(void *)values)[i];
        n_wrong += got != want;
    }
    prle_free(values);
    assert_all(n_wrong == 0);
}

static void test_sum_exact(void **state)
{
    (void)state;
    const int64_t edge = BUCKET_BYTES / (int64_t)sizeof(double);

    for (int64_t n = 0; n < 20; n++)
        check_sum_exact(n, n % 2 == 0 ? PRLE_F32 : PRLE_F64);
    check_sum_exact(300007, PRLE_F32);
    check_sum_exact(edge + 1, PRLE_F64);
}

static void check_sum_same_bits(int64_t n, prle_dtype dtype)
{
    prle_rng rng = prle_rng_make(7, 0, (uint64_t)world->rank, PRLE_RNG_TEST);
    const size_t bytes = prle_dtype_bytes(dtype);
    char *values = NULL;

    assert_all_ok(prle_alloc((size_t)n, bytes, (prle_any_ptr *)&values));
    for (int64_t i = 0; i < n; i++) {
        const double v = prle_rng_u32(&rng) * 1e-9 - 2.0; /* 32 random bits: no sum of two is exact in f32 */
        if (dtype == PRLE_F32)
            ((float *)(void *)values)[i] = (float)v;
        else
            ((double *)(void *)values)[i] = v;
    }
    assert_all_ok(prle_comm_sum(world, values, n, dtype, "sum"));
    const bool same = ranks_same_bits(values, n * (int64_t)bytes);
    prle_free(values);
    assert_all(same);
}

/* Random numbers: the sum depends on its order, which must be the same for all ranks whatever algorithm MPI takes. */
static void test_sum_same_bits(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 3, 5, 17, 100, 1001, 4096, 20000, 100003, 1000003};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        check_sum_same_bits(sizes[i], PRLE_F64);
        check_sum_same_bits(sizes[i], PRLE_F32);
    }
    check_sum_same_bits(5000001, PRLE_F32); /* two buckets */
}

static void test_sum_refuses(void **state)
{
    (void)state;
    uint16_t half[2] = {0};
    float value = 0;
    const bool refused = prle_comm_sum(world, half, 2, PRLE_BF16, "sum") == PRLE_ENOTSUP;
    const bool named = strstr(prle_error_message(), "bf16") != NULL;

    assert_all(refused && named);
    assert_all(prle_comm_sum(world, &value, -1, PRLE_F32, "sum") == PRLE_EINVAL);
}

static void test_i64(void **state)
{
    (void)state;
    const int64_t r = world->rank;
    int64_t max[2] = {r * 1000000000000, -r}, sum[2] = {r << 40, 1};

    assert_all_ok(prle_comm_max_i64(world, max, 2, "max"));
    assert_all(max[0] == (world->size - 1) * 1000000000000 && max[1] == 0);
    assert_all_ok(prle_comm_sum_i64(world, sum, 2, "sum"));
    assert_all(sum[0] == (int64_t)world->size * (world->size - 1) / 2 << 40 && sum[1] == world->size);
}

static void test_broadcast(void **state)
{
    (void)state;
    const int64_t n = BUCKET_BYTES + 12345;
    const int root = world->size - 1;
    unsigned char *bytes = NULL;
    int64_t n_wrong = 0;

    assert_all_ok(PRLE_NEW(bytes, n));
    for (int64_t i = 0; world->rank == root && i < n; i++)
        bytes[i] = (unsigned char)(i * 7 % 251);
    assert_all_ok(prle_comm_broadcast(world, bytes, n, root, "bytes"));
    for (int64_t i = 0; i < n; i++)
        n_wrong += bytes[i] != (unsigned char)(i * 7 % 251);
    prle_free(bytes);
    assert_all(n_wrong == 0);
    assert_all_ok(prle_comm_broadcast(world, NULL, 0, 0, "nothing"));
}

/* Rank r sends r * step bytes of value r + 1; rank 0 sends none. */
static void check_gather(int64_t step, int root)
{
    const int64_t own = world->rank * step;
    int64_t counts[64] = {0}, at = 0, n_wrong = 0;
    unsigned char *mine = NULL;
    void *all = NULL;

    assert_all_ok(PRLE_NEW(mine, own));
    for (int64_t i = 0; i < own; i++)
        mine[i] = (unsigned char)(world->rank + 1);
    assert_all_ok(prle_comm_gather(world, mine, own, root, &all, counts, "blocks"));
    for (int r = 0; world->rank == root && r < world->size; r++) {
        n_wrong += counts[r] != r * step;
        for (int64_t i = 0; i < counts[r]; i++)
            n_wrong += ((unsigned char *)all)[at + i] != (unsigned char)(r + 1);
        at += counts[r];
    }
    n_wrong += world->rank != root && all != NULL;
    prle_free(all);
    prle_free(mine);
    assert_all(n_wrong == 0);
}

static void test_gather(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();

    check_gather(0, 0);
    check_gather(3, 0);
    check_gather(100001, world->size - 1);
    check_gather(BUCKET_BYTES / 2 + 1, 0);
    assert_all(prle_alloc_live() == live);
}

/* The root has no memory: it says so, the others hear of it, and the communicator is fit for the next call. */
static void test_gather_without_memory(void **state)
{
    (void)state;
    int64_t counts[64] = {0}, one = 1;
    void *all = NULL;

    if (world->rank == 0)
        prle_alloc_fail_at(1);
    const prle_status st = prle_comm_gather(world, "abc", 3, 0, &all, counts, "blocks");
    prle_alloc_fail_at(0);
    assert_all(st == (world->rank == 0 ? PRLE_ENOMEM : PRLE_EPEER) && all == NULL);
    assert_all_ok(prle_comm_sum_i64(world, &one, 1, "count"));
    assert_all(one == world->size);
}

static void test_agree(void **state)
{
    (void)state;
    const bool fails = world->rank == world->size - 1;
    const prle_status st = prle_comm_agree(world, fails ? PRLE_EIO : PRLE_OK, "phase");
    const bool named = fails || strstr(prle_error_message(), "phase: rank ") != NULL;

    assert_all(st == (fails ? PRLE_EIO : PRLE_EPEER) && named);
    assert_all_ok(prle_comm_agree(world, PRLE_OK, "phase"));
}

static void test_duplicate(void **state)
{
    (void)state;
    prle_comm *twin = NULL;
    float value = 1;

    assert_all_ok(prle_comm_duplicate(world, &twin));
    assert_all(twin->rank == world->rank && twin->size == world->size);
    assert_all_ok(prle_comm_sum(twin, &value, 1, PRLE_F32, "sum"));
    assert_all(value == (float)world->size);
    prle_comm_destroy(twin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_world),       cmocka_unit_test(test_sum_exact),
        cmocka_unit_test(test_sum_refuses), cmocka_unit_test(test_sum_same_bits),
        cmocka_unit_test(test_i64),         cmocka_unit_test(test_broadcast),
        cmocka_unit_test(test_gather),      cmocka_unit_test(test_gather_without_memory),
        cmocka_unit_test(test_agree),       cmocka_unit_test(test_duplicate),
    };

    prle_alloc_setup();
    ranks_begin();
    return ranks_end(cmocka_run_group_tests(tests, NULL, NULL));
}
