/* pool_cuda.c - pooling of channels-last images on the GPU. Saved by maxima: one byte each, which element of the window it is. */
#include "core/alloc.h"
#include "core/op/impls_cuda.h"

typedef struct pool_state {
    prle_cuda_pool z;
    prle_cuda_image image; /* global */
} pool_state;

static bool supports(const prle_op_desc *desc, const char **why)
{
    if (!prle_cuda_supports(desc, why))
        return false;
    *why = "more than 2^31 - 1 elements";
    if (prle_shape_count(&desc->in[0]) > INT32_MAX || prle_shape_count(&desc->out) > INT32_MAX)
        return false;
    *why = "windows of more than 255 pixels";
    return desc->u.pool.global || desc->u.pool.bins > 0 || desc->u.pool.kernel <= 15;
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    const int64_t *x = desc->in[0].dim, *y = desc->out.dim;
    const prle_pool_attrs *a = &desc->u.pool;
    const prle_dtype dtype = plan->in[0].dtype;
    pool_state *s = NULL;

    PRLE_TRY(PRLE_NEW(s, 1));
    s->z = (prle_cuda_pool){.attrs = *a,
                            .B = x[0],
                            .C = x[1],
                            .H = x[2],
                            .W = x[3],
                            .P = a->global ? 1 : y[2],
                            .Q = a->global ? 1 : y[3],
                            .dtype = dtype};
    s->image = prle_cuda_image_of(&desc->in[0], dtype);
    plan->in[0] = plan->din[0] = prle_cuda_layout_nhwc(dtype, &desc->in[0]);
    plan->out = plan->dout = prle_cuda_layout(dtype, &desc->out);
    plan->saved_bytes = pass == PRLE_PASS_FORWARD && a->max ? (size_t)prle_shape_count(&desc->out) : 0;
    plan->state = s;
    return PRLE_OK;
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const pool_state *s = state;
    const bool forward = pass == PRLE_PASS_FORWARD;
    const prle_cuda *gpu = NULL;

    PRLE_TRY(prle_cuda_get(&gpu));
    if (s->z.attrs.global && forward)
        PRLE_CUDA(prle_mean_cuda(args->out, args->in[0], s->image, gpu->compute));
    else if (s->z.attrs.global)
        PRLE_CUDA(prle_mean_backward_cuda(args->din[0], args->dout, s->image, gpu->compute));
    else if (forward)
        PRLE_CUDA(prle_pool_forward_cuda(args->out, s->z.attrs.max ? args->saved : NULL, args->in[0], &s->z, gpu->compute));
    else
        PRLE_CUDA(prle_pool_backward_cuda(args->din[0], args->saved, args->dout, &s->z, gpu->compute));
    return PRLE_OK;
}

const prle_op_impl prle_pool_impl_cuda = {
    .name = "cuda", .kind = PRLE_OP_POOL, .supports = supports, .plan = plan_pass, .run = run};
