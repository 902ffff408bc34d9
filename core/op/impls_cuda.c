/* impls_cuda.c - every operator implementation of the GPU, in the order they are tried, and what they share. */
#include "core/op/impls_cuda.h"

#include "core/alloc.h"

const prle_op_impl *const prle_cuda_impls[] = {&prle_conv2d_impl_cudnn,
                                               &prle_batch_norm_impl_cuda,
                                               &prle_act_impl_cuda,
                                               &prle_pool_impl_cuda,
                                               &prle_add_impl_cuda,
                                               &prle_concat_impl_cuda,
                                               &prle_gate_impl_cuda,
                                               &prle_linear_impl_cublas,
                                               &prle_dropout_impl_cuda,
                                               &prle_flatten_impl_cuda,
                                               &prle_dct_impl_cublas,
                                               &prle_band_filter_impl_cuda,
                                               &prle_local_spectrum_impl_cuda,
                                               &prle_reorder_impl_cuda,
                                               &prle_normalise_impl_cuda,
                                               NULL};

bool prle_cuda_supports(const prle_op_desc *desc, const char **why)
{
    if (desc->dtype != PRLE_F32) {
        *why = "the GPU computes in f32 here";
        return false;
    }
    for (int i = 0; i < desc->n_in; i++) {
        if (prle_shape_count(&desc->in[i]) == 0) {
            *why = "empty input";
            return false;
        }
    }
    return true;
}

prle_layout prle_cuda_layout(prle_dtype dtype, const prle_shape *shape)
{
    return shape->n == 4 ? prle_cuda_layout_nhwc(dtype, shape) : prle_layout_plain(dtype, shape);
}

bool prle_cuda_layout_is_rows(const prle_layout *layout) { return layout->shape.n == 2 || prle_cuda_layout_is_nhwc(layout); }

prle_status prle_cuda_keep(const prle_op_desc *desc, prle_dtype dtype, prle_op_plan *plan)
{
    prle_cuda_kept *kept = NULL;

    PRLE_TRY(PRLE_NEW(kept, 1));
    *kept = (prle_cuda_kept){.desc = *desc, .dtype = dtype};
    plan->state = kept;
    return PRLE_OK;
}

prle_cuda_rows prle_cuda_rows_of(const prle_shape *shape, prle_dtype dtype)
{
    const int64_t C = shape->dim[1];

    return (prle_cuda_rows){.rows = prle_shape_count(shape) / C, .C = C, .dtype = dtype};
}

prle_cuda_image prle_cuda_image_of(const prle_shape *shape, prle_dtype dtype)
{
    const int64_t B = shape->dim[0], C = shape->dim[1];

    return (prle_cuda_image){.batch = B, .plane = prle_shape_count(shape) / (B * C), .C = C, .dtype = dtype};
}
