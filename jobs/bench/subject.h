/* subject.h - a network with weights as they are drawn, a plan, and pictures of noise: what the suites of networks run. */
#pragma once
#include "jobs/bench/bench.h"
#include "jobs/train/step.h"

typedef struct prle_subject {
    prle_model *model;
    prle_plan *plan;
    int64_t batch;
    prle_normaliser pixels; /* what the network sees of a byte */
    uint8_t *images;        /* [batch,size,size,3] */
    uint8_t *labels;        /* [batch] 0, 1, 0, ... */
    /* of training */
    prle_optim *optim;
    prle_learner *learner;
    prle_grad_sum *grad_sum;
    prle_train_step step;
    double *ones;      /* [batch] */
    uint64_t *samples; /* [batch] */
    bool *masked;      /* [batch] */
} prle_subject;

/** *s must be {0}; deinit it also after a failure. Without a plan (cam makes its own): what = PRLE_SUBJECT_BARE. */
typedef enum prle_subject_what { PRLE_SUBJECT_BARE, PRLE_SUBJECT_INFERENCE, PRLE_SUBJECT_TRAINING } prle_subject_what;
PRLE_NODISCARD prle_status prle_subject_init(prle_subject *s, const prle_bench_opts *o, const char *net, prle_dtype dtype,
                                             prle_subject_what what);
void prle_subject_deinit(prle_subject *s);

/** Where a network of that type runs. */
const prle_device *prle_subject_device(const prle_bench_opts *o, prle_dtype dtype);

/* One run each, or a queued one (prle_device_wait); the context is the subject. */
prle_status prle_subject_infer(void *subject);
prle_status prle_subject_train(void *subject);
