/* step.h - one optimiser step: what `prle train` repeats and `prle bench train` times. */
#pragma once
#include "augment/loader.h"
#include "core/comm.h"
#include "dist/grad_sum.h"
#include "nets/optim.h"
#include "nets/plan.h"

/** What a step works on; all borrowed. */
typedef struct prle_train_step {
    prle_comm *comm;
    prle_model *model; /* with gradients */
    prle_optim *optim;
    prle_grad_sum *grad_sum; /* of the model's gradients */
    double class_weight[2];  /* in the loss */
    double clip_norm;        /* largest norm of the gradient; 0: not clipped */
    bool sync_bn;            /* statistics are equal on all ranks already */
    uint64_t seed;           /* of dropout */
    double *weights;         /* [largest plan_batch] scratch */
} prle_train_step;

typedef struct prle_train_step_result {
    double loss, norm; /* of the whole step, of all ranks: nats, L2 of the gradient before clipping */
    int64_t n_masked;
} prle_train_step_result;

/**
 * Forward, loss, backward, gradients summed over ranks while backward runs or after it, running statistics averaged, gradient
 * clipped, weights moved.
 *
 * plan      in  of this step's size, with gradients; plan_batch: its batch
 * batch     in  this rank's share: plan_batch images, or none
 * n_global  in  images of the step over all ranks
 *
 * PRLE_ENUMERIC when the loss or the gradient is not finite; the weights are as before then. Allocates nothing. Collective.
 */
PRLE_NODISCARD prle_status prle_train_step_run(const prle_train_step *s, prle_plan *plan, int64_t plan_batch,
                                               const prle_batch *batch, int64_t n_global, uint32_t epoch, double lr,
                                               prle_train_step_result *out);
