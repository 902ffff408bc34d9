/* test_sampler.c - properties of the order and its shares, by counting, for many n, batches and sizes. */
#include "core/alloc.h"
#include "dist/sampler.h"
#include "tests/check.h"

enum { MAX_N = 600 };

static prle_sampler *make(int64_t n, int64_t batch, int rank, int size)
{
    const prle_sampler_opts opts = {.seed = 11, .n = n, .batch = batch, .rank = rank, .size = size};
    prle_sampler *sampler = NULL;

    assert_ok(prle_sampler_create(&sampler, &opts));
    return sampler;
}

/* The whole order of an epoch, from the steps of a single rank. */
static void order_of(prle_sampler *sampler, uint32_t epoch, uint32_t *order)
{
    int64_t at = 0;

    prle_sampler_epoch_set(sampler, epoch);
    for (int64_t step = 0; step < prle_sampler_steps(sampler); step++) {
        const prle_sampler_share share = prle_sampler_step(sampler, step);
        assert_int_equal(share.n, share.n_global);
        for (int64_t i = 0; i < share.n; i++)
            order[at++] = share.samples[i * share.stride];
    }
    assert_int_equal(at, prle_sampler_count(sampler));
}

static void check_permutation(const uint32_t *order, int64_t n)
{
    uint8_t seen[MAX_N] = {0};

    for (int64_t i = 0; i < n; i++) {
        assert_true(order[i] < n && !seen[order[i]]);
        seen[order[i]] = 1;
    }
}

/* Against the definition: rank r's share of step s are the order's positions s B + r, s B + r + size, ... */
static void check_shares(const uint32_t *order, int64_t n, int64_t batch, int size)
{
    for (int rank = 0; rank < size; rank++) {
        prle_sampler *sampler = make(n, batch, rank, size);
        prle_sampler_epoch_set(sampler, 3);
        assert_int_equal(prle_sampler_steps(sampler), (n + batch - 1) / batch);
        for (int64_t step = 0; step < prle_sampler_steps(sampler); step++) {
            const prle_sampler_share share = prle_sampler_step(sampler, step);
            const int64_t end = (step + 1) * batch < n ? (step + 1) * batch : n;
            int64_t taken = 0;
            assert_int_equal(share.n_global, end - step * batch);
            for (int64_t at = step * batch + rank; at < end; at += size)
                assert_int_equal(share.samples[share.stride * taken++], order[at]);
            assert_int_equal(share.n, taken);
        }
        prle_sampler_destroy(sampler);
    }
}

static void test_each_once_for_any_size(void **state)
{
    (void)state;
    static const int64_t counts[] = {1, 2, 3, 7, 16, 17, 100, 257};
    static const int64_t batches[] = {1, 2, 3, 5, 16, 64, 1000};
    static const int sizes[] = {1, 2, 3, 4, 8, 31};
    uint32_t order[MAX_N];

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (size_t j = 0; j < sizeof batches / sizeof *batches; j++) {
            prle_sampler *alone = make(counts[i], batches[j], 0, 1);
            order_of(alone, 3, order);
            prle_sampler_destroy(alone);
            check_permutation(order, counts[i]);
            for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
                check_shares(order, counts[i], batches[j], sizes[k]);
        }
}

static void test_epochs_and_seeds_differ(void **state)
{
    (void)state;
    uint32_t first[100], second[100], again[100];
    prle_sampler *sampler = make(100, 8, 0, 1), *other = NULL;
    const prle_sampler_opts opts = {.seed = 12, .n = 100, .batch = 8, .size = 1};

    order_of(sampler, 0, first);
    order_of(sampler, 1, second);
    assert_memory_not_equal(first, second, sizeof first);
    order_of(sampler, 0, again); /* going back, as a resumed run does */
    assert_memory_equal(first, again, sizeof first);
    assert_ok(prle_sampler_create(&other, &opts));
    order_of(other, 0, second);
    assert_memory_not_equal(first, second, sizeof first);
    prle_sampler_destroy(other);
    prle_sampler_destroy(sampler);
}

/* Over many epochs every sample comes first about equally often. */
static void test_order_is_uniform(void **state)
{
    (void)state;
    prle_sampler *sampler = make(10, 10, 0, 1);
    int counts[10] = {0};

    for (uint32_t epoch = 0; epoch < 10000; epoch++) {
        prle_sampler_epoch_set(sampler, epoch);
        counts[prle_sampler_step(sampler, 0).samples[0]]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(counts[i], 850, 1150); /* 5 standard deviations of 30 */
    prle_sampler_destroy(sampler);
}

static void test_balanced(void **state)
{
    (void)state;
    enum { N = 100, N_FIRST = 7, N_SECOND = 23, N_MOST = N - N_FIRST - N_SECOND };
    uint8_t classes[N];
    uint32_t order[3 * N_MOST], again[3 * N_MOST];
    int per_sample[N] = {0}, per_class[3] = {0}, in_front[3] = {0};
    prle_sampler *sampler = NULL;

    for (int i = 0; i < N; i++)
        classes[i] = (uint8_t)(i < N_FIRST ? 0 : i < N_FIRST + N_SECOND ? 1 : 2);
    const prle_sampler_opts opts = {.seed = 5, .n = N, .batch = 16, .size = 1, .classes = classes, .n_classes = 3};
    assert_ok(prle_sampler_create(&sampler, &opts));
    assert_int_equal(prle_sampler_count(sampler), 3 * N_MOST);
    order_of(sampler, 2, order);
    for (int i = 0; i < 3 * N_MOST; i++) {
        per_sample[order[i]]++;
        per_class[classes[order[i]]]++;
        in_front[classes[order[i]]] += i < 3 * N_MOST / 2;
    }
    for (int c = 0; c < 3; c++) {
        assert_int_equal(per_class[c], N_MOST);
        assert_in_range(in_front[c], N_MOST / 4, 3 * N_MOST / 4); /* mixed, not class after class */
    }
    for (int i = 0; i < N; i++)
        assert_in_range(per_sample[i],
                        N_MOST / (i < N_FIRST              ? N_FIRST
                                  : i < N_FIRST + N_SECOND ? N_SECOND
                                                           : N_MOST),
                        (N_MOST - 1) / (i < N_FIRST              ? N_FIRST
                                        : i < N_FIRST + N_SECOND ? N_SECOND
                                                                 : N_MOST) +
                            1);
    order_of(sampler, 3, again);
    assert_memory_not_equal(order, again, sizeof order);
    order_of(sampler, 2, again);
    assert_memory_equal(order, again, sizeof order);
    prle_sampler_destroy(sampler);
}

static void test_no_allocation_in_an_epoch(void **state)
{
    (void)state;
    prle_sampler *sampler = make(100, 8, 1, 3);
    const int64_t before = prle_alloc_count();

    prle_sampler_epoch_set(sampler, 1);
    (void)prle_sampler_step(sampler, 4);
    assert_int_equal(prle_alloc_count(), before);
    prle_sampler_destroy(sampler);
}

static void test_refuses(void **state)
{
    (void)state;
    static const uint8_t classes[] = {0, 0, 2};
    prle_sampler *sampler = NULL;
    prle_sampler_opts opts = {.n = 0, .batch = 1, .size = 1};

    assert_fails(prle_sampler_create(&sampler, &opts), PRLE_EINVAL, "0 samples");
    opts.n = (int64_t)UINT32_MAX + 1;
    assert_fails(prle_sampler_create(&sampler, &opts), PRLE_EINVAL, "4294967296 samples");
    opts = (prle_sampler_opts){.n = 3, .batch = 0, .size = 1};
    assert_fails(prle_sampler_create(&sampler, &opts), PRLE_EINVAL, "batch 0");
    opts = (prle_sampler_opts){.n = 3, .batch = 1, .rank = 2, .size = 2};
    assert_fails(prle_sampler_create(&sampler, &opts), PRLE_EINVAL, "rank 2 of 2");
    opts = (prle_sampler_opts){.n = 3, .batch = 1, .size = 1, .classes = classes, .n_classes = 3};
    assert_fails(prle_sampler_create(&sampler, &opts), PRLE_EINVAL, "class 1 has no samples");
    opts.n_classes = 2;
    assert_fails(prle_sampler_create(&sampler, &opts), PRLE_EINVAL, "sample 2 has class 2 of 2");
    assert_null(sampler);
}

static void test_every_allocation_fails_once(void **state)
{
    (void)state;
    static const uint8_t classes[] = {0, 1, 1};
    const prle_sampler_opts opts = {.n = 3, .batch = 2, .size = 1, .classes = classes, .n_classes = 2};
    const int64_t live = prle_alloc_live(), before = prle_alloc_count();
    prle_sampler *sampler = NULL;

    assert_ok(prle_sampler_create(&sampler, &opts));
    const int64_t n_allocs = prle_alloc_count() - before;
    prle_sampler_destroy(sampler);
    sampler = NULL;
    for (int64_t nth = 1; nth <= n_allocs; nth++) {
        prle_alloc_fail_at(nth);
        assert_fails(prle_sampler_create(&sampler, &opts), PRLE_ENOMEM, "");
        assert_null(sampler);
    }
    prle_alloc_fail_at(0);
    assert_int_equal(prle_alloc_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_once_for_any_size),
        cmocka_unit_test(test_epochs_and_seeds_differ),
        cmocka_unit_test(test_order_is_uniform),
        cmocka_unit_test(test_balanced),
        cmocka_unit_test(test_no_allocation_in_an_epoch),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
