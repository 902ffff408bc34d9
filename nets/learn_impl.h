/* learn_impl.h - what a device with memory of its own does for learn.c. Internal to nets/. */
#pragma once
#include "nets/learn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Segments differ by two bits: head, and without decay. */
enum { LEARN_HEAD = 1, LEARN_NO_DECAY = 2, LEARN_N_RATES = 4, LEARN_CHUNK = 8192 };

/** Coefficients of one class of segments, rounded as optim_ref.c rounds them. */
typedef struct learn_rate {
    float adam_lr; /* lr / correction1 */
    float lr;      /* SGD */
    float decay;   /* Adam, SGD: of the weight, added to the gradient */
    float keep;    /* AdamW: 1 - lr decay */
} learn_rate;

/** What changes from step to step; the device reads it in its own memory. */
typedef struct learn_step {
    int64_t n, slot; /* samples; where the result goes */
    double scale;
    float beta1, rest1, beta2, rest2; /* beta, 1 - beta */
    float root2;                      /* sqrt(correction2) */
    float eps, momentum;
    learn_rate rate[LEARN_N_RATES];
} learn_step;

/** A stretch of the weights, all of one class; at most LEARN_CHUNK elements. */
typedef struct learn_chunk {
    int64_t first;
    int32_t count, rate;
} learn_chunk;

typedef struct learn_setup {
    prle_optim_kind kind;
    int64_t n_weights, max_batch, classes;
    int n_slots;
    double clip_norm;
    const learn_chunk *chunks; /* [n_chunks]; the device keeps a copy */
    int64_t n_chunks;
    float *weights, *grads, *m, *v; /* [n_weights] the device's */
} learn_setup;

/** prle_device.learn. Everything is queued but results, which waits. */
typedef struct prle_learn_ops {
    prle_status (*create)(void **state, const learn_setup *setup);
    void (*destroy)(void *state); /* NULL is fine */
    prle_status (*begin)(void *state, const learn_step *step, const uint8_t *labels, const double *weights);
    prle_status (*seed)(void *state, const float *logits, float *seed, int64_t plan_batch);
    prle_status (*update)(void *state);
    prle_status (*results)(void *state, prle_learn_out *out); /* [n_slots] */
} prle_learn_ops;

#ifdef __cplusplus
}
#endif
