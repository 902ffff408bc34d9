/* impls_cuda.h - every operator implementation of the GPU, and what they share. */
#pragma once
#include "core/device/device_cuda.h"
#include "core/op/kernels_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What every implementation here refuses: other arithmetic than f32, empty tensors. */
bool prle_cuda_supports(const prle_op_desc *desc, const char **why);

/** How a tensor of this shape lies among the GPU's operators: images channels last, all else row-major. */
prle_layout prle_cuda_layout(prle_dtype dtype, const prle_shape *shape);

/** It lies as rows of channels: channels last, or a row-major vector. */
bool prle_cuda_layout_is_rows(const prle_layout *layout);

/** The state of an operator that has nothing else to plan: the description and the element type of its images. */
typedef struct prle_cuda_kept {
    prle_op_desc desc;
    prle_dtype dtype;
} prle_cuda_kept;
PRLE_NODISCARD prle_status prle_cuda_keep(const prle_op_desc *desc, prle_dtype dtype, prle_op_plan *plan);

/** A tensor [B,C] or [B,C,H,W] as rows, and as an image. */
prle_cuda_rows prle_cuda_rows_of(const prle_shape *shape, prle_dtype dtype);
prle_cuda_image prle_cuda_image_of(const prle_shape *shape, prle_dtype dtype);

/* core/op/<op>_cuda.c, _cudnn.c, _cublas.c */
extern const prle_op_impl prle_conv2d_impl_cudnn, prle_batch_norm_impl_cuda, prle_act_impl_cuda, prle_pool_impl_cuda,
    prle_add_impl_cuda, prle_concat_impl_cuda, prle_gate_impl_cuda, prle_linear_impl_cublas, prle_dropout_impl_cuda,
    prle_flatten_impl_cuda, prle_reorder_impl_cuda, prle_dct_impl_cublas, prle_band_filter_impl_cuda,
    prle_local_spectrum_impl_cuda, prle_normalise_impl_cuda;

#ifdef __cplusplus
}
#endif
