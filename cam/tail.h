/* tail.h - gradients without a backward pass, where little stands between a node and the logits. */
#pragma once
#include "nets/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A node H with nothing behind it but [batch norm] - [activation f] - global mean - [dropout] - linear. In inference mode
 *
 *   y_k = s_k (H_k - mean_k) + beta_k,  s_k = gamma_k / sqrt(var_k + eps),    z_c = 1/P sum_k W[c,k] sum_p f(y_k[p]) + b_c
 *
 * so that a score with d score / d z_c = seed_c has the gradient
 *
 *   g_k[p] = c_k f'(y_k[p]) s_k,   c_k = 1/P sum_c seed_c W[c,k]
 *
 * where s = 1 and y = H without a batch norm, and f' = 1 without an activation.
 *
 * Behind the activation it is c_k at every pixel. There HiResCAM is Grad-CAM; Layer-CAM is Grad-CAM with weights max(c_k, 0);
 * Grad-CAM++'s weights are P max(c_k, 0) c_k^2 / (2 c_k^2 + c_k^3 sum_p H_k[p] + 1e-6).
 */
typedef struct prle_cam_tail {
    prle_node batch_norm, act; /* -1 where there is none */
    int head;                  /* segment of W [classes,C] */
} prle_cam_tail;

/** False where the node's tail is another. */
bool prle_cam_tail_find(prle_cam_tail *out, const prle_graph *graph, prle_node node);

/** One channel of it: g[p] = weight f'(scale (H[p] - mean) + beta) scale. */
typedef struct prle_cam_tail_channel {
    double weight; /* c_k */
    double scale, mean, beta;
} prle_cam_tail_channel;

/** Channel k of a node of P pixels, for seed [classes]. */
prle_cam_tail_channel prle_cam_tail_channel_get(const prle_cam_tail *tail, const prle_model *model, const double *seed, int64_t k,
                                                int64_t channels, int64_t pixels);

prle_act_attrs prle_cam_tail_act(const prle_cam_tail *tail, const prle_model *model); /* f; PRLE_ACT_NONE where there is none */

/**
 * gradients  out  [C,P]
 * values     in   [C,P]     H
 * seed       in   [classes]
 */
void prle_cam_tail_gradients(double *gradients, const prle_cam_tail *tail, const prle_model *model, const double *values,
                             const double *seed, int64_t channels, int64_t pixels);

#ifdef __cplusplus
}
#endif
