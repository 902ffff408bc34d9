/* optim.h - optimisers over a model's flat buffers: one pass each step. */
#pragma once
#include "nets/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum prle_optim_kind {
    PRLE_OPTIM_ADAM,  /* Kingma and Ba, arXiv 1412.6980; weight decay is added to the gradient */
    PRLE_OPTIM_ADAMW, /* Loshchilov and Hutter, arXiv 1711.05101; weights shrink by 1 - lr decay */
    PRLE_OPTIM_SGD,   /* v <- momentum v + g;  w <- w - lr v */
} prle_optim_kind;

typedef struct prle_optim_opts {
    prle_optim_kind kind;
    double beta1, beta2, eps; /* Adam, AdamW */
    double momentum;          /* SGD */
    double weight_decay;      /* not on biases and batch norms (segments with no_decay) unless decay_all */
    bool decay_all;
    double head_lr_factor; /* learning rate of the head, relative */
} prle_optim_opts;
#define PRLE_OPTIM_OPTS_DEFAULT                                                                                                  \
    ((prle_optim_opts){.kind = PRLE_OPTIM_ADAM, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .momentum = 0.9, .head_lr_factor = 1})

/** State: as many elements as weights, of the model's type. Two sides as in prle_model: files see the host's. */
typedef struct prle_optim {
    prle_optim_opts opts;
    void *m, *v;   /* first and second moments; SGD: m is the velocity, v is NULL */
    int64_t steps; /* done */
    int64_t n;
    prle_dtype dtype;
    uint64_t version;          /* whoever changes m or v of the host increments it */
    const prle_device *device; /* the model's */
    struct {
        void *m, *v; /* where the device computes: the host's own where that is the host's memory */
        uint64_t version;
        bool ahead;
    } there;
} prle_optim;

/** For the device that the model is placed on. */
PRLE_NODISCARD prle_status prle_optim_create(prle_optim **out, const prle_model *model, const prle_optim_opts *opts);
void prle_optim_destroy(prle_optim *optim); /* NULL is fine */

/** The device has the state: before its optimiser runs. */
PRLE_NODISCARD prle_status prle_optim_bring(prle_optim *optim);

/** The host has the state: before it is read or changed. */
PRLE_NODISCARD prle_status prle_optim_pull(prle_optim *optim);

/* What follows works on the host's memory, for a model that is placed there; nets/learn.h serves any device. */

/** weights <- step(weights, grads) with this learning rate; moves the model's version. The same bits whatever the threads. */
void prle_optim_step(prle_optim *optim, prle_model *model, double lr);

/** L2 norm of all gradients, in double, in a fixed order whatever the threads. */
double prle_grad_norm(const prle_model *model);

/** Scales all gradients, e.g. by max_norm / norm. */
void prle_grad_scale(prle_model *model, double factor);

#ifdef __cplusplus
}
#endif
