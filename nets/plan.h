/* plan.h - everything decided once (shapes, fusion, implementations, layouts, memory), so that running is a loop over steps. */
#pragma once
#include "core/device/device.h"
#include "core/normalise.h"
#include "nets/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct prle_plan prle_plan;

enum { PRLE_PLAN_MAX_NODES = 8 };

/** A set of nodes. */
typedef struct prle_nodes {
    int n;
    prle_node node[PRLE_PLAN_MAX_NODES];
} prle_nodes;

typedef struct prle_plan_opts {
    int64_t batch;
    prle_dtype dtype;   /* F32 or BF16 with an F32 model, F64 with an F64 model */
    bool batch_stats;   /* batch norm by the batch's statistics, which move the running ones; else running ones, folded where
                           possible */
    bool dropout;       /* else dropout is left out */
    bool param_grads;   /* backward reaches the parameters */
    prle_nodes keep;    /* values that can be read after forward; the output always can */
    prle_nodes wanted;  /* nodes whose gradients can be read after backward */
    prle_nodes seeds;   /* nodes at which gradients enter besides the output: of further terms of the loss */
    prle_comm *bn_comm; /* batch norm over all ranks (--sync-bn); NULL: over this rank's batch */
    const prle_normaliser *pixels; /* the batch comes as bytes and is normalised so, first of all (read by prle_plan_create
                                      alone); NULL: as numbers */
} prle_plan_opts;

/**
 * Plans `model` on `device`: the one the model is placed on (prle_model_place), or the processor. The plan borrows both; the
 * model's buffers must stay where they are (call prle_model_grads_require before a plan with param_grads). Log subsystem "plan"
 * says at debug what was chosen and why.
 *
 * Errors: PRLE_EINVAL (options that do not fit), PRLE_ENOTSUP, PRLE_ENOMEM. Not collective.
 */
PRLE_NODISCARD prle_status prle_plan_create(prle_plan **out, prle_model *model, const prle_device *device,
                                            const prle_plan_opts *opts);
void prle_plan_destroy(prle_plan *plan); /* NULL is fine */

/** Where the batch is before forward: [B,C,H,W] plain, float (double when the plan is F64), or, of pixels, bytes [B,H,W,3]; in
 * the device's memory, as all the pointers below. Contents do not survive forward. */
void *prle_plan_input(prle_plan *plan);

/** The batch: n images of the host's memory, [n,C,H,W], or bytes [n,H,W,3]; the rest of the plan's batch becomes zero. images is
 * free on return. */
PRLE_NODISCARD prle_status prle_plan_input_set(prle_plan *plan, const void *images, int64_t n);

/** Computes every kept value. info: n_valid, dropout keys; NULL means the whole batch, seed 0. Allocates nothing. Collective with
 * bn_comm. */
PRLE_NODISCARD prle_status prle_plan_forward(prle_plan *plan, const prle_op_run_info *info);

/** A kept node's value after forward, plain, float or double, [B,...]; NULL when the node is not kept. Borrowed. */
const void *prle_plan_value(const prle_plan *plan, prle_node node);
const void *prle_plan_output(const prle_plan *plan); /* logits [B, classes] */

/** The first n rows of logits after forward, into the host's memory: [n, classes]. */
PRLE_NODISCARD prle_status prle_plan_output_get(const prle_plan *plan, void *logits, int64_t n);

/** Where the caller writes d loss / d logits [B, classes] after forward and before backward; float or double. */
void *prle_plan_seed(prle_plan *plan);

/** The same of a node in opts.seeds: d (a term of the loss) / d (its value), plain, [B,...]; what comes from its readers is added
 * to it. Written before each backward, as the output's, which may be zero. NULL for another node. */
void *prle_plan_seed_at(prle_plan *plan, prle_node node);

/** Told when elements [offset, offset + n) of model->grads are final, roughly from the end of the buffer to its beginning. */
typedef prle_status (*prle_plan_grads_ready)(void *ctx, int64_t offset, int64_t n);

/** Gradients of the wanted nodes, and of the parameters into model->grads (overwritten), for the last forward's info. ready may
 * be NULL. Collective with bn_comm. */
PRLE_NODISCARD prle_status prle_plan_backward(prle_plan *plan, prle_plan_grads_ready ready, void *ctx);

/* prle_plan_forward in three parts, for a caller that lets the device repeat what it has queued (prle_device.capture): what the
 * host brings; the work, which alone may be captured, as backward may; what the host notes of it. */
PRLE_NODISCARD prle_status prle_plan_begin(prle_plan *plan, const prle_op_run_info *info);
PRLE_NODISCARD prle_status prle_plan_forward_run(prle_plan *plan);
void prle_plan_forward_end(prle_plan *plan);

/** A wanted node's gradient after backward, like prle_plan_value. */
const void *prle_plan_grad(const prle_plan *plan, prle_node node);

/** What the plan costs. */
typedef struct prle_plan_stats {
    int n_forward, n_backward, n_reorders; /* steps; reorders among them */
    size_t arena_bytes, packed_bytes, scratch_bytes;
} prle_plan_stats;
prle_plan_stats prle_plan_stats_get(const prle_plan *plan);

/** Where the time goes: one step of a plan. */
typedef struct prle_plan_profile {
    const char *node;  /* whose work it is; borrowed */
    prle_op_kind kind; /* what was done: the node's own operator, or a reorder or sum for it */
    prle_op_pass pass;
    bool backward;    /* part of the backward pass */
    const char *impl; /* "dnnl", "ref"; "pack": weights brought into the layouts that the steps read */
    double seconds;   /* of all runs since prle_plan_profile_begin */
    size_t bytes;     /* of one run, at least: each argument read or written once, scratch not counted */
    double flop;      /* of one run: 2 per multiply-accumulate of a convolution or linear layer, 0 for all else */
} prle_plan_profile;

/** From here on each step is timed, beginning at zero. A plan that nobody asks this of takes no times. */
PRLE_NODISCARD prle_status prle_plan_profile_begin(prle_plan *plan);
int prle_plan_profile_count(const prle_plan *plan); /* 0 before begin */
prle_plan_profile prle_plan_profile_get(const prle_plan *plan, int i);

#ifdef __cplusplus
}
#endif
