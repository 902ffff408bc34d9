/* gate_cuda.c - channel gate of channels-last images on the GPU; the factors in the image's element type. */
#include "core/op/impls_cuda.h"

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    const prle_dtype dtype = plan->in[0].dtype;

    plan->in[0] = plan->out = plan->dout = plan->din[0] = prle_cuda_layout_nhwc(dtype, &desc->in[0]);
    plan->in[1] = plan->din[1] = prle_cuda_layout_nhwc(dtype, &desc->in[1]);
    plan->uses_in = pass == PRLE_PASS_BACKWARD;
    return prle_cuda_keep(desc, dtype, plan);
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_cuda_kept *k = state;
    const prle_cuda_image z = prle_cuda_image_of(&k->desc.in[0], k->dtype);
    const prle_cuda *gpu = NULL;

    PRLE_TRY(prle_cuda_get(&gpu));
    if (pass == PRLE_PASS_FORWARD)
        PRLE_CUDA(prle_gate_cuda(args->out, args->in[0], args->in[1], z, gpu->compute));
    else
        PRLE_CUDA(prle_gate_backward_cuda(args->din[0], args->din[1], args->in[0], args->in[1], args->dout, z, gpu->compute));
    return PRLE_OK;
}

const prle_op_impl prle_gate_impl_cuda = {
    .name = "cuda", .kind = PRLE_OP_GATE, .supports = prle_cuda_supports, .plan = plan_pass, .run = run};
