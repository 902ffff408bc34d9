/* batch_norm.h - batch normalisation over [B,H,W] for each channel: Ioffe and Szegedy, arXiv 1502.03167. */
#pragma once
#include <stdbool.h>

#include "core/comm.h"
#include "core/op/act.h"

/**
 *   batch statistics:    mean, var = of the batch (var biased);   running <- (1 - momentum) running + momentum (mean, unbiased
 * var) frozen:              mean, var = running, which do not change out = act( gamma (x - mean) / sqrt(var + eps) + beta + in1 )
 *
 * Parameters gamma [C], beta [C]; stats running mean [C], running variance [C].
 * With a communicator, sums run over all ranks (collective, in the order of the plan); a rank with n_valid = 0 takes part with
 * nothing. n_valid = 0 without a communicator: running statistics do not change.
 */
typedef struct prle_batch_norm_attrs {
    double eps, momentum;
    bool frozen;     /* use the running statistics */
    bool residual;   /* in1 is added before the activation */
    prle_act act;    /* NONE or RELU */
    prle_comm *comm; /* NULL: this rank's batch only */
} prle_batch_norm_attrs;
