/* dropout_cuda.c - dropout on the GPU, in whatever layout the input comes. Saved: one byte per draw, 1 = kept. */
#include "core/alloc.h"
#include "core/op/impls_cuda.h"

static bool supports(const prle_op_desc *desc, const char **why)
{
    if (!prle_cuda_supports(desc, why))
        return false;
    *why = "a batch larger than PRLE_CUDA_MAX_BATCH, or a sample of more than 2^31 - 1 elements";
    return prle_shape_count(&desc->in[0]) / desc->in[0].dim[0] <= INT32_MAX && desc->in[0].dim[0] <= PRLE_CUDA_MAX_BATCH;
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    prle_layout *image = pass == PRLE_PASS_FORWARD ? &plan->in[0] : &plan->dout;
    prle_cuda_dropout *z = NULL;

    if (pass == PRLE_PASS_BACKWARD) /* the draws lie as the output does */
        *image = plan->out;
    PRLE_TRY(PRLE_NEW(z, 1));
    *z = (prle_cuda_dropout){.image = prle_cuda_image_of(&desc->in[0], image->dtype),
                             .channels_last = prle_cuda_layout_is_nhwc(image),
                             .attrs = desc->u.dropout};
    plan->out = plan->din[0] = *image;
    plan->saved_bytes = (size_t)(desc->u.dropout.per_sample ? desc->out.dim[0] : prle_shape_count(&desc->out));
    plan->state = z;
    return PRLE_OK;
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_cuda_dropout *z = state;
    const prle_cuda *gpu = NULL;

    PRLE_TRY(prle_cuda_get(&gpu));
    if (pass == PRLE_PASS_FORWARD)
        PRLE_CUDA(prle_dropout_cuda(args->out, args->saved, args->in[0], z, gpu->run, gpu->compute));
    else
        PRLE_CUDA(prle_dropout_backward_cuda(args->din[0], args->saved, args->dout, z, gpu->compute));
    return PRLE_OK;
}

const prle_op_impl prle_dropout_impl_cuda = {
    .name = "cuda", .kind = PRLE_OP_DROPOUT, .supports = supports, .plan = plan_pass, .run = run};
