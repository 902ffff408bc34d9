/* learn.h - what a training step does besides running its plan: loss and seed, the gradient's norm and clipping, the optimiser;
 * where the model's device computes. Results may come later than their steps: a GPU is not waited for. */
#pragma once
#include "nets/optim.h"
#include "nets/plan.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct prle_learner prle_learner;

typedef struct prle_learn_opts {
    int64_t max_batch; /* of the plans to come */
    double clip_norm;  /* largest norm of the gradient; 0: not clipped */
    int n_pending;     /* steps whose results may be outstanding, at least 1 */
} prle_learn_opts;

/** What a step is given, of the host's memory. */
typedef struct prle_learn_in {
    int64_t n;             /* samples of this rank, at most max_batch; 0: it has no share of the step */
    const uint8_t *labels; /* [n] 0 real, 1 fake */
    const double *weights; /* [n] in the loss */
    double scale;          /* 1 / samples of the whole step over all ranks */
    double lr;
} prle_learn_in;

/** What a step came to. */
typedef struct prle_learn_out {
    double loss; /* nats, of this rank's samples, with scale */
    double norm; /* L2 of the gradient before clipping */
} prle_learn_out;

/** model (with gradients) and optim are borrowed. PRLE_ENOTSUP where the model's device cannot train. */
PRLE_NODISCARD prle_status prle_learner_create(prle_learner **out, prle_model *model, prle_optim *optim,
                                               const prle_learn_opts *opts);
void prle_learner_destroy(prle_learner *learner); /* NULL is fine */

/* A step is these four in this order, with plan runs between them. Seed and update may be captured (prle_device.capture). */

/** Labels and weights must stay until prle_learner_update has returned. PRLE_EINVAL when n_pending results are outstanding. */
PRLE_NODISCARD prle_status prle_learner_begin(prle_learner *learner, const prle_learn_in *in);

/** After forward: prle_loss (loss.h) of the first n rows of the plan's output, and the plan's seed; further rows are zero. Where
 * the loss is not finite the seed is NaN, so that no rank moves its weights. */
PRLE_NODISCARD prle_status prle_learner_seed(prle_learner *learner, prle_plan *plan, int64_t plan_batch);

/** After backward, the gradients being summed over ranks: norm, clipping, optimiser. A gradient that is not finite leaves the
 * weights, and all that follow, as they are. */
PRLE_NODISCARD prle_status prle_learner_update(prle_learner *learner);

/** Notes on the host that the weights have moved. */
void prle_learner_end(prle_learner *learner);

/** Waits for the outstanding steps; out [n_pending] in their order, *n of them. */
PRLE_NODISCARD prle_status prle_learner_results(prle_learner *learner, prle_learn_out *out, int *n);

#ifdef __cplusplus
}
#endif
