/* shard.h - evaluation over ranks: who scores which item, and all scores back in order, each item exactly once. */
#pragma once
#include "core/comm.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A rank's items: first + i * stride for 0 <= i < n. */
typedef struct prle_shard {
    int64_t first, stride, n;
} prle_shard;

/** Items [first, first + n), blocks in rank order, sizes differing by one at most. n_items >= 0, 0 <= rank < size. */
prle_shard prle_shard_contiguous(int64_t n_items, int rank, int size);

/** Items rank, rank + size, ...: even where neighbours are alike (frames of a video). */
prle_shard prle_shard_strided(int64_t n_items, int rank, int size);

static inline int64_t prle_shard_item(const prle_shard *shard, int64_t i) { return shard->first + i * shard->stride; }

typedef struct prle_item_score {
    int64_t item; /* 0 ... n_items - 1 */
    double score;
} prle_item_score;

/**
 * All ranks' scores, by item.
 *
 * scores   out  [n_items]  on every rank; prle_free it
 * own      in   [n_own]    this rank's, in any order
 * n_items  in              the same on every rank
 * PRLE_EINVAL on rank 0, PRLE_EPEER elsewhere, when an item is out of range, comes twice or not at all. Collective.
 */
PRLE_NODISCARD prle_status prle_scores_gather(double **scores, prle_comm *comm, const prle_item_score *own, int64_t n_own,
                                              int64_t n_items);

#ifdef __cplusplus
}
#endif
