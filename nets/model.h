/* model.h - a network's parameters: one flat buffer per kind, masters always in the canonical layout. */
#pragma once
#include "core/device/device.h"
#include "nets/graph.h"
#include "nets/net.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A model's numbers where its device computes: the host's own where the device's memory is the host's. */
typedef struct prle_model_there {
    void *weights, *stats;
    uint64_t version; /* of the model, when this was last equal to the host's or newer */
    bool ahead;       /* newer than the host's */
} prle_model_there;

/**
 * The graph with its numbers. Segments (graph->segment) say where each named tensor lies. Files are read and written through the
 * host's numbers. Whoever changes those, weights or stats, increments `version`; whoever changes the device's calls
 * prle_model_moved. So plans remake what they derive from them, and bring from one side to the other what has changed.
 */
typedef struct prle_model {
    prle_graph *graph; /* owned */
    prle_net_opts opts;
    prle_dtype dtype;  /* F32 or F64: of weights, grads, stats */
    void *weights;     /* [graph->n_weights], as stats in the host's memory */
    void *grads;       /* [graph->n_weights] in the device's memory, NULL until prle_model_grads_require */
    void *stats;       /* [graph->n_stats] running means and variances */
    int64_t *counters; /* [graph->n_counters] num_batches_tracked */
    uint64_t version;
    const prle_device *device; /* prle_device_cpu() until prle_model_place */
    prle_model_there there;
} prle_model;

/** Builds the network with all parameters zero. dtype: PRLE_F32 or PRLE_F64. */
PRLE_NODISCARD prle_status prle_model_create(prle_model **out, const char *net, const prle_net_opts *opts, prle_dtype dtype);
void prle_model_destroy(prle_model *model); /* NULL is fine */

/** Initial values as the originals have them; a function of (seed, segment) alone, computed in double. */
void prle_model_init(prle_model *model, uint64_t seed);

/**
 * From here on the model's plans and its training compute on `device`. Before gradients and plans; F32 only where the device's
 * memory is its own. The device must stay open until the model is destroyed.
 */
PRLE_NODISCARD prle_status prle_model_place(prle_model *model, const prle_device *device);

PRLE_NODISCARD prle_status prle_model_grads_require(prle_model *model);

/**
 * Numbers for a plan on `device`: copies to it what the host has changed, or to the host what the model's device has. Nothing
 * when nothing has. PRLE_EINVAL when both sides have changed.
 */
PRLE_NODISCARD prle_status prle_model_bring(prle_model *model, const prle_device *device);

/** The host's numbers are up to date: before they are read or changed. */
PRLE_NODISCARD prle_status prle_model_pull(prle_model *model);

/** Weights or stats in that device's memory were changed. */
void prle_model_moved(prle_model *model, const prle_device *device);

/** Where a segment's elements begin, in the buffer of its kind (counters: an int64_t). Borrowed. */
void *prle_model_segment(const prle_model *model, int segment);

/** The first non-finite weight or statistic is PRLE_ENUMERIC, naming tensor and element. */
PRLE_NODISCARD prle_status prle_model_check_finite(const prle_model *model);

#ifdef __cplusplus
}
#endif
