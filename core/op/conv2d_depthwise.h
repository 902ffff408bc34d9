/* conv2d_depthwise.h - between conv2d_depthwise.c, which plans and shares out the work, and its kernels. */
#pragma once
#include "core/op/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A depthwise convolution: x [B,C,H,W] -> y [B,C,P,Q], a kernel [K,K] for each channel, all in blocks of the kernels' `block`
 * channels: planes of [H,W,block], weights [C/block,K,K,block] in f32, lanes beyond C zero. */
typedef struct prle_depthwise {
    int64_t B, C, H, W, P, Q;
    int64_t blocks; /* C / block, rounded up */
    int K, stride;
    int64_t top, left; /* padding before the image, less than K */
    bool bf16;         /* x, y and their gradients lie in memory as bfloat16 */
    bool bias, residual;
    prle_act_attrs in_act, act; /* in_act: none or swish */
    int64_t groups;             /* WEIGHTS: parts of the batch whose sums are kept apart; of the shapes alone, so sums are too */
} prle_depthwise;

/** One instruction set. Rows are those of all planes of a tensor, as they lie in memory; work is scratch of `work_floats`. */
typedef struct prle_depthwise_kernels {
    const char *name;
    int block;

    /** Floats of scratch for one call of that pass. */
    int64_t (*work_floats)(const prle_depthwise *z, prle_op_pass pass);

    /** Rows first ... last-1 of y [B,blocks,P]: in[0], in[1], param, out. */
    void (*forward)(const prle_depthwise *z, const prle_op_args *args, int64_t first, int64_t last, float *work);

    /** Rows first ... last-1 of dx [B,blocks,H]: dout, param[0], din[0]. */
    void (*backward)(const prle_depthwise *z, const prle_op_args *args, int64_t first, int64_t last, float *work);

    /** Sums first ... last-1 of sums [groups,blocks,K K + 1,block]: over a part of the batch, for a block of channels, the
     * weights' gradients and, with bias, its own. in[0], dout. */
    void (*weights)(const prle_depthwise *z, const prle_op_args *args, float *sums, int64_t first, int64_t last, float *work);
} prle_depthwise_kernels;

/* conv2d_depthwise_simd.c, compiled for each. */
extern const prle_depthwise_kernels prle_depthwise_avx512, prle_depthwise_avx2, prle_depthwise_base;

#ifdef __cplusplus
}
#endif
