/* act_math.h - per-element arithmetic of the activations. */
#pragma once
#include "core/op/act.h"
#include "core/op/real.h"

PRLE_HD static inline real act_sigmoid(real x)
{
    const real e = real_exp(-real_abs(x)); /* in (0,1]: never overflows */

    return (x >= 0 ? 1 : e) / (1 + e);
}

PRLE_HD static inline real act_elem(const prle_act_attrs *a, real x)
{
    switch (a->act) {
    case PRLE_ACT_RELU: return x < 0 ? 0 : x; /* NaN stays, so that it is seen */
    case PRLE_ACT_LEAKY_RELU: return x > 0 ? x : (real)a->slope * x;
    case PRLE_ACT_SIGMOID: return act_sigmoid(x);
    case PRLE_ACT_SWISH: return x * act_sigmoid(x);
    case PRLE_ACT_NONE:
    case PRLE_N_ACTS: break;
    }
    return x;
}

/* Derivative at x. At 0, relu has slope 0 and leaky relu `slope`, as in PyTorch. */
PRLE_HD static inline real act_elem_grad(const prle_act_attrs *a, real x)
{
    const real s = a->act == PRLE_ACT_SIGMOID || a->act == PRLE_ACT_SWISH ? act_sigmoid(x) : 0;

    switch (a->act) {
    case PRLE_ACT_RELU: return x > 0 ? 1 : 0;
    case PRLE_ACT_LEAKY_RELU: return x > 0 ? 1 : (real)a->slope;
    case PRLE_ACT_SIGMOID: return s * (1 - s);
    case PRLE_ACT_SWISH: return s * (1 + x * (1 - s));
    case PRLE_ACT_NONE:
    case PRLE_N_ACTS: break;
    }
    return 1;
}
