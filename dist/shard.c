/* shard.c - see shard.h. */
#include "dist/shard.h"

#include "core/alloc.h"

prle_shard prle_shard_contiguous(int64_t n_items, int rank, int size)
{
    const int64_t each = n_items / size, rest = n_items % size; /* the first `rest` ranks have one more */

    return (prle_shard){.first = rank * each + (rank < rest ? rank : rest), .stride = 1, .n = each + (rank < rest)};
}

prle_shard prle_shard_strided(int64_t n_items, int rank, int size)
{
    return (prle_shard){.first = rank, .stride = size, .n = n_items > rank ? (n_items - rank - 1) / size + 1 : 0};
}

/* Puts the pairs in their places; each place must be hit once. */
static prle_status scores_place(const prle_item_score *pairs, int64_t n_pairs, double *scores, int64_t n_items)
{
    uint8_t *seen = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(PRLE_NEW(seen, n_items));
    for (int64_t i = 0; i < n_pairs; i++) {
        const int64_t item = pairs[i].item;
        PRLE_CHECK_OUT(item >= 0 && item < n_items, PRLE_EINVAL, "a score for item %lld of %lld", (long long)item,
                       (long long)n_items);
        PRLE_CHECK_OUT(!seen[item], PRLE_EINVAL, "item %lld was scored twice", (long long)item);
        seen[item] = 1;
        scores[item] = pairs[i].score;
    }
    for (int64_t item = 0; item < n_items; item++)
        PRLE_CHECK_OUT(seen[item], PRLE_EINVAL, "item %lld of %lld was scored by no rank", (long long)item, (long long)n_items);
out:
    prle_free(seen);
    return st;
}

/* Rank 0 gathers and checks. The others' part is to send. */
static prle_status scores_collect(prle_comm *comm, const prle_item_score *own, int64_t n_own, int64_t *counts_bytes,
                                  double *scores, int64_t n_items)
{
    void *all = NULL;
    int64_t n_bytes = 0;
    prle_status st = PRLE_OK;

    PRLE_TRY(prle_comm_gather(comm, own, n_own * (int64_t)sizeof *own, 0, &all, counts_bytes, "scores"));
    if (comm->rank == 0) {
        for (int r = 0; r < comm->size; r++)
            n_bytes += counts_bytes[r];
        st = scores_place(all, n_bytes / (int64_t)sizeof *own, scores, n_items);
    }
    prle_free(all);
    return st;
}

prle_status prle_scores_gather(double **out, prle_comm *comm, const prle_item_score *own, int64_t n_own, int64_t n_items)
{
    double *scores = NULL;
    int64_t *counts_bytes = NULL;
    prle_status st = PRLE_NEW(scores, n_items);

    if (st == PRLE_OK)
        st = PRLE_NEW(counts_bytes, comm->size);
    PRLE_TRY_OUT(prle_comm_agree(comm, st, "memory for the scores"));
    st = scores_collect(comm, own, n_own, counts_bytes, scores, n_items);
    PRLE_TRY_OUT(prle_comm_agree(comm, st, "scores"));
    PRLE_TRY_OUT(prle_comm_broadcast(comm, scores, n_items * (int64_t)sizeof *scores, 0, "scores"));
    *out = scores;
    scores = NULL;
out:
    prle_free(counts_bytes);
    prle_free(scores);
    return st;
}
