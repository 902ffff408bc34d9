/* optim_ref.h - the per-element loops of the optimisers, once for each precision. Internal to nets/. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/** What is the same for all elements of a segment. */
typedef struct optim_coeffs {
    double lr, decay, beta1, beta2, eps, momentum;
    double correction1, correction2; /* 1 - beta^steps */
} optim_coeffs;

/** Of the step that optim->steps counts already. */
struct prle_optim;
optim_coeffs optim_coeffs_of(const struct prle_optim *optim, double lr, bool head, bool no_decay);

/* [n] elements of weights w, gradients g, moments m, v. */
#define PRLE_OPTIM_LOOPS(suffix, type)                                                                                           \
    void optim_adam_##suffix(type *w, const type *g, type *m, type *v, int64_t n, const optim_coeffs *c);                        \
    void optim_adamw_##suffix(type *w, const type *g, type *m, type *v, int64_t n, const optim_coeffs *c);                       \
    void optim_sgd_##suffix(type *w, const type *g, type *m, type *v, int64_t n, const optim_coeffs *c);
PRLE_OPTIM_LOOPS(f32, float)
PRLE_OPTIM_LOOPS(f64, double)
