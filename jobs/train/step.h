/* step.h - one optimiser step: what `prle train` repeats and `prle bench train` times. */
#pragma once
#include "augment/loader.h"
#include "core/comm.h"
#include "dist/grad_sum.h"
#include "nets/learn.h"

enum { PRLE_TRAIN_MAX_PENDING = 64 }; /* steps whose results may be outstanding */

/** What a step works on; all borrowed but what the device has captured. */
typedef struct prle_train_step {
    prle_comm *comm;                        /* of the host's memory */
    prle_comm *device_comm;                 /* the same ranks, summing in the device's memory; comm where that is the host's */
    prle_model *model;                      /* with gradients */
    prle_learner *learner;                  /* of the model, with at most PRLE_TRAIN_MAX_PENDING outstanding steps */
    prle_grad_sum *grad_sum;                /* of the model's gradients */
    double class_weight[2];                 /* in the loss */
    bool sync_bn;                           /* statistics are equal on all ranks already */
    uint64_t seed;                          /* of dropout */
    double *weights;                        /* [largest plan_batch] scratch */
    const prle_plan *repeated;              /* the plan of whole steps, which a device may capture; NULL: none */
    int n_warm;                             /* of its steps so far, before the capture; begin with 0 */
    void *captured;                         /* prle_device.capture; begin with NULL */
    int n_pending;                          /* steps whose results are outstanding; begin with 0 */
    int64_t masked[PRLE_TRAIN_MAX_PENDING]; /* images of this rank, of each */
} prle_train_step;

typedef struct prle_train_step_result {
    double loss, norm; /* of the whole step, of all ranks: nats, L2 of the gradient before clipping */
    int64_t n_masked;
} prle_train_step_result;

/**
 * Forward, loss, backward, gradients summed over ranks while backward runs or after it, running statistics averaged, gradient
 * clipped, weights moved. A device that queues its work is not waited for.
 *
 * plan      in  of this step's size, with gradients; plan_batch: its batch
 * batch     in  this rank's share: plan_batch images, or none
 * n_global  in  images of the step over all ranks
 *
 * Allocates nothing. Collective.
 */
PRLE_NODISCARD prle_status prle_train_step_run(prle_train_step *s, prle_plan *plan, int64_t plan_batch, const prle_batch *batch,
                                               int64_t n_global, uint32_t epoch, double lr);

/**
 * What the steps since the last call came to, in order; *n of them. PRLE_ENUMERIC when loss or gradient of one are not finite: *n
 * is its place then, and the weights are as they were before it. Collective.
 */
PRLE_NODISCARD prle_status prle_train_step_results(prle_train_step *s, prle_train_step_result out[PRLE_TRAIN_MAX_PENDING],
                                                   int *n);

/** Before the plans and the model go. */
void prle_train_step_deinit(prle_train_step *s);
