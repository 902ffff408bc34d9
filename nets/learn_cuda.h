/* learn_cuda.h - kernels of a training step besides its plan. Launchers queue on `stream` and return cudaGetLastError(). */
#pragma once
#include <cuda_runtime_api.h>

#include "nets/learn_impl.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LEARN_NORM_CHUNK = 1 << 14 }; /* gradients that one block sums: fixed, so that the order of sums is */

/** What the host writes for each step, in one copy: labels and weights stand behind it. */
typedef struct learn_given {
    learn_step step;
    double values[]; /* [max_batch] weights, then [max_batch] labels as bytes */
} learn_given;

/** What leads from the norm to the update. */
typedef struct learn_verdict {
    float factor; /* by which gradients are scaled: clipping */
    int failed;   /* a gradient was not finite: no weight moves any more */
} learn_verdict;

/** Loss and seed: prle_learner_seed. logits, seed [plan_batch,classes]. One block. */
cudaError_t prle_learn_seed_cuda(const learn_given *given, const float *logits, float *seed, prle_learn_out *out,
                                 int64_t max_batch, int64_t plan_batch, int64_t classes, cudaStream_t stream);

/** L2 norm of grads [n] in double; parts: room for (n + LEARN_NORM_CHUNK - 1) / LEARN_NORM_CHUNK of them. Moves at least 4 n
 * bytes. */
cudaError_t prle_learn_norm_cuda(const learn_given *given, const float *grads, int64_t n, double *parts, double clip_norm,
                                 prle_learn_out *out, learn_verdict *verdict, cudaStream_t stream);

/**
 * weights, m, v [n_weights] <- a step of the optimiser, in one launch; v NULL for SGD. Moves at least, for each weight, 28 bytes
 * (Adam: reads weight, gradient and two moments, writes all but the gradient) or 20 (SGD).
 */
cudaError_t prle_learn_update_cuda(prle_optim_kind kind, const learn_given *given, const learn_verdict *verdict,
                                   const learn_chunk *chunks, int64_t n_chunks, float *weights, const float *grads, float *m,
                                   float *v, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
