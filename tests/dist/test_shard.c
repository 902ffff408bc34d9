/* test_shard.c - shards cover all items once; scores come back by item, and what is lost or doubled is named. */
#include "core/alloc.h"
#include "dist/shard.h"
#include "tests/dist/ranks.h"

enum { MAX_ITEMS = 300 };

static void check_cover(prle_shard (*make)(int64_t, int, int), int64_t n_items, int size)
{
    int seen[MAX_ITEMS] = {0};

    for (int rank = 0; rank < size; rank++) {
        const prle_shard shard = make(n_items, rank, size);
        assert_in_range(shard.n, n_items / size, (n_items + size - 1) / size);
        for (int64_t i = 0; i < shard.n; i++) {
            const int64_t item = prle_shard_item(&shard, i);
            assert_in_range(item, 0, n_items - 1);
            seen[item]++;
        }
    }
    for (int64_t item = 0; item < n_items; item++)
        assert_int_equal(seen[item], 1);
}

static void test_shards_cover(void **state)
{
    (void)state;
    for (int64_t n_items = 0; n_items <= MAX_ITEMS; n_items += n_items < 20 ? 1 : 35)
        for (int size = 1; size <= 33; size++) {
            check_cover(prle_shard_contiguous, n_items, size);
            check_cover(prle_shard_strided, n_items, size);
        }
}

static double score_of(int64_t item) { return (double)(item * 37 % 101) / 7; }

/* This rank's scores by `shard`, last item first, into own; room for one more. */
static int64_t scores_make(const prle_shard *shard, prle_item_score own[MAX_ITEMS + 1])
{
    for (int64_t i = 0; i < shard->n; i++) {
        const int64_t item = prle_shard_item(shard, shard->n - 1 - i);
        own[i] = (prle_item_score){.item = item, .score = score_of(item)};
    }
    return shard->n;
}

static void check_gather(prle_shard shard, int64_t n_items)
{
    prle_item_score own[MAX_ITEMS + 1];
    double *scores = NULL;
    int64_t n_wrong = 0;
    const int64_t n_own = scores_make(&shard, own);

    assert_all_ok(prle_scores_gather(&scores, world, own, n_own, n_items));
    for (int64_t item = 0; item < n_items; item++)
        n_wrong += scores[item] != score_of(item);
    prle_free(scores);
    assert_all(n_wrong == 0);
}

static void test_gather(void **state)
{
    (void)state;
    static const int64_t counts[] = {0, 1, 3, 4, 100, MAX_ITEMS};
    const int64_t live = prle_alloc_live();

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        check_gather(prle_shard_contiguous(counts[i], world->rank, world->size), counts[i]);
        check_gather(prle_shard_strided(counts[i], world->rank, world->size), counts[i]);
    }
    assert_all(prle_alloc_live() == live);
}

/* The last rank hands in a wrong list; rank 0 names the item, the others say where to look. */
static void check_refused(int64_t n_items, int64_t drop, prle_item_score extra, const char *text)
{
    const prle_shard shard = prle_shard_strided(n_items, world->rank, world->size);
    const bool last = world->rank == world->size - 1;
    prle_item_score own[MAX_ITEMS + 1];
    double *scores = NULL;
    int64_t n_own = scores_make(&shard, own);

    if (last)
        n_own -= drop;
    if (last && extra.score > 0)
        own[n_own++] = extra;
    const prle_status st = prle_scores_gather(&scores, world, own, n_own, n_items);
    const bool named = world->rank != 0 || strstr(prle_error_message(), text) != NULL;
    assert_all(st == (world->rank == 0 ? PRLE_EINVAL : PRLE_EPEER) && named && scores == NULL);
}

static void test_refuses(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();

    check_refused(50, 1, (prle_item_score){0}, "was scored by no rank");
    check_refused(50, 0, (prle_item_score){.item = 13, .score = 1}, "item 13 was scored twice");
    check_refused(50, 0, (prle_item_score){.item = 50, .score = 1}, "item 50 of 50");
    check_refused(50, 0, (prle_item_score){.item = -1, .score = 1}, "item -1 of 50");
    assert_all(prle_alloc_live() == live);
}

/* One rank is out of memory at its nth allocation: no rank hangs, none keeps anything. */
static void test_without_memory(void **state)
{
    (void)state;
    const prle_shard shard = prle_shard_strided(50, world->rank, world->size);
    const int64_t live = prle_alloc_live();
    prle_item_score own[MAX_ITEMS + 1];
    double *scores = NULL;
    const int64_t n_own = scores_make(&shard, own);

    for (int failing = 0; failing < world->size; failing++)
        for (int nth = 1; nth <= 2; nth++) {
            if (world->rank == failing)
                prle_alloc_fail_at(nth);
            const prle_status st = prle_scores_gather(&scores, world, own, n_own, 50);
            prle_alloc_fail_at(0);
            assert_all(st == (world->rank == failing ? PRLE_ENOMEM : PRLE_EPEER) && scores == NULL);
            assert_all(prle_alloc_live() == live);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shards_cover),
        cmocka_unit_test(test_gather),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_without_memory),
    };

    ranks_begin();
    return ranks_end(cmocka_run_group_tests(tests, NULL, NULL));
}
