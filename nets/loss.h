/* loss.h - the training loss on logits, and the score: the probability of "fake". */
#pragma once
#include "core/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Cross-entropy, summed over a batch with weights, and its gradient (Eqs. 2 and 13 of arXiv 2307.12534):
 *
 *   two logits   l_i = logsumexp(z_i) - z_i[y_i]                                softmax, fake is class 1
 *   one logit    l_i = max(z_i,0) - z_i y_i + log1p(exp(-|z_i|))                sigmoid, overflow-free
 *   loss = scale * sum_i weight_i l_i        dlogits = d loss / d logits
 *
 * logits   in   [B, classes] float or double; classes 1 or 2
 * labels   in   [B] 0 real, 1 fake
 * weights  in   [B] of each sample (gamma of masked ones, class weights); NULL: all 1
 * scale    in   1 / samples of the whole step over all ranks, so that summing gradients over ranks is the mean
 * dlogits  out  [B, classes], overwritten; NULL when not wanted
 * returns  loss in nats, computed in double; NaN when a logit is NaN
 */
double prle_loss(const void *logits, int64_t batch, int64_t classes, prle_dtype dtype, const uint8_t *labels,
                 const double *weights, double scale, void *dlogits);

/** score_i = P(fake) in [0,1] of each sample: softmax of two logits or sigmoid of one. scores [B] out. */
void prle_scores(const void *logits, int64_t batch, int64_t classes, prle_dtype dtype, double *scores);

#ifdef __cplusplus
}
#endif
