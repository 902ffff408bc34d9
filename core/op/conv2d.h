/* conv2d.h - 2-D convolution (cross-correlation), grouped, with zero padding that may differ on the two sides. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "core/op/act.h"

/**
 *   out[b,k,p,q] = act( bias[k] + in1[b,k,p,q] + sum_{c,r,s} weight[k,c,r,s] x[b,c,y,z] ),   x = in_act(in0), zeros around it,
 *   y = p stride - pad_top + r,  z = q stride - pad_left + s
 *
 * c runs over the channels of k's group. Parameters weight [K, C/groups, R, S] and, with bias, bias [K].
 * in1 (residual), in_act and act exist in inference plans only, where the plan has fused them in; they have no backward pass.
 */
typedef struct prle_conv2d_attrs {
    int64_t n_out, kernel_h, kernel_w, stride;
    int64_t pad_top, pad_left, pad_bottom, pad_right;
    int64_t groups;
    bool bias;
    bool residual;         /* in1 is added before the activation */
    prle_act_attrs in_act; /* of in0 */
    prle_act_attrs act;    /* of the result */
} prle_conv2d_attrs;
