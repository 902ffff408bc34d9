/* fold.h - a batch norm by running statistics, folded into the convolution before it. */
#pragma once
#include "core/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 *   to[k,...] = weight[k,...] s_k      to_bias[k] = beta_k + (bias_k - mean_k) s_k      s_k = gamma_k / sqrt(var_k + eps)
 *
 * computed in double.
 */
typedef struct prle_fold_args {
    prle_dtype dtype; /* F32 or F64, of all of them */
    int64_t k, per_k; /* output channels; weights of each */
    double eps;
    const void *weight, *bias;             /* [k,per_k]; [k] or NULL: 0 */
    const void *gamma, *beta, *mean, *var; /* [k] */
    void *to, *to_bias;                    /* [k,per_k], [k] */
} prle_fold_args;

/** On the host's memory. Never fails. */
prle_status prle_fold(const prle_fold_args *args);

#ifdef __cplusplus
}
#endif
