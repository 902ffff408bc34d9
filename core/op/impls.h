/* impls.h - every operator implementation of the CPU, in the order they are tried. */
#pragma once
#include "core/op/op.h"

/* Each core/op/<op>_ref.c gives two, one per precision. */
#define PRLE_REF_PAIR(name) extern const prle_op_impl prle_##name##_ref_f32, prle_##name##_ref_f64
PRLE_REF_PAIR(conv2d);
PRLE_REF_PAIR(batch_norm);
PRLE_REF_PAIR(act);
PRLE_REF_PAIR(pool);
PRLE_REF_PAIR(add);
PRLE_REF_PAIR(concat);
PRLE_REF_PAIR(gate);
PRLE_REF_PAIR(linear);
PRLE_REF_PAIR(dropout);
PRLE_REF_PAIR(flatten);
PRLE_REF_PAIR(reorder);
PRLE_REF_PAIR(normalise);
PRLE_REF_PAIR(dct);
PRLE_REF_PAIR(band_filter);
PRLE_REF_PAIR(local_spectrum);

#define PRLE_IMPLS_REF                                                                                                           \
    &prle_conv2d_ref_f32, &prle_conv2d_ref_f64, &prle_batch_norm_ref_f32, &prle_batch_norm_ref_f64, &prle_act_ref_f32,           \
        &prle_act_ref_f64, &prle_pool_ref_f32, &prle_pool_ref_f64, &prle_add_ref_f32, &prle_add_ref_f64, &prle_concat_ref_f32,   \
        &prle_concat_ref_f64, &prle_gate_ref_f32, &prle_gate_ref_f64, &prle_linear_ref_f32, &prle_linear_ref_f64,                \
        &prle_dropout_ref_f32, &prle_dropout_ref_f64, &prle_flatten_ref_f32, &prle_flatten_ref_f64, &prle_reorder_ref_f32,       \
        &prle_reorder_ref_f64, &prle_dct_ref_f32, &prle_dct_ref_f64, &prle_band_filter_ref_f32, &prle_band_filter_ref_f64,       \
        &prle_local_spectrum_ref_f32, &prle_local_spectrum_ref_f64, &prle_normalise_ref_f32, &prle_normalise_ref_f64,

/** oneDNN computes on bfloat16 with the processor's own instructions. ONEDNN_MAX_CPU_ISA=AVX512_CORE (or less) denies it. */
bool prle_dnnl_has_bf16(void);

/* core/op/<op>_dnnl.c */
extern const prle_op_impl prle_conv2d_dnnl, prle_batch_norm_dnnl, prle_act_dnnl, prle_pool_dnnl, prle_add_dnnl, prle_concat_dnnl,
    prle_gate_dnnl, prle_linear_dnnl, prle_dropout_dnnl, prle_reorder_dnnl, prle_dct_dnnl;

#define PRLE_IMPLS_DNNL                                                                                                          \
    &prle_conv2d_dnnl, &prle_batch_norm_dnnl, &prle_act_dnnl, &prle_pool_dnnl, &prle_add_dnnl, &prle_concat_dnnl,                \
        &prle_gate_dnnl, &prle_linear_dnnl, &prle_dropout_dnnl, &prle_reorder_dnnl, &prle_dct_dnnl,

/* Kernels of our own, before oneDNN's: core/op/conv2d_depthwise.c */
extern const prle_op_impl prle_conv2d_depthwise;

#define PRLE_IMPLS_OWN &prle_conv2d_depthwise,
