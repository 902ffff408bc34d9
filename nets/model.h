/* model.h - a network's parameters: one flat buffer per kind, masters always in the canonical layout. */
#pragma once
#include "nets/graph.h"
#include "nets/net.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The graph with its numbers. Segments (graph->segment) say where each named tensor lies. Whoever changes weights or stats
 * increments `version`, so that plans repack what they derive from them.
 */
typedef struct prle_model {
    prle_graph *graph; /* owned */
    prle_net_opts opts;
    prle_dtype dtype;  /* F32 or F64: of weights, grads, stats */
    void *weights;     /* [graph->n_weights] */
    void *grads;       /* [graph->n_weights], NULL until prle_model_grads_require */
    void *stats;       /* [graph->n_stats] running means and variances */
    int64_t *counters; /* [graph->n_counters] num_batches_tracked */
    uint64_t version;
} prle_model;

/** Builds the network with all parameters zero. dtype: PRLE_F32 or PRLE_F64. */
PRLE_NODISCARD prle_status prle_model_create(prle_model **out, const char *net, const prle_net_opts *opts, prle_dtype dtype);
void prle_model_destroy(prle_model *model); /* NULL is fine */

/** Initial values as the originals have them; a function of (seed, segment) alone, computed in double. */
void prle_model_init(prle_model *model, uint64_t seed);

PRLE_NODISCARD prle_status prle_model_grads_require(prle_model *model);

/** Where a segment's elements begin, in the buffer of its kind (counters: an int64_t). Borrowed. */
void *prle_model_segment(const prle_model *model, int segment);

/** The first non-finite weight or statistic is PRLE_ENUMERIC, naming tensor and element. */
PRLE_NODISCARD prle_status prle_model_check_finite(const prle_model *model);

#ifdef __cplusplus
}
#endif
