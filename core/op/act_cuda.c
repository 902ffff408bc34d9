/* act_cuda.c - activations on the GPU, in whatever layout and element type the input comes. */
#include "core/op/impls_cuda.h"
#include "core/op/kernels_cuda.h"

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    plan->out = plan->dout = plan->din[0] = plan->in[0];
    plan->uses_in = pass == PRLE_PASS_BACKWARD;
    return prle_cuda_keep(desc, plan->in[0].dtype, plan);
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_cuda_kept *k = state;
    const int64_t n = prle_shape_count(&k->desc.out);
    const prle_cuda *gpu = NULL;

    PRLE_TRY(prle_cuda_get(&gpu));
    if (pass == PRLE_PASS_FORWARD)
        PRLE_CUDA(prle_act_cuda(args->out, args->in[0], k->desc.u.act, n, k->dtype, gpu->compute));
    else
        PRLE_CUDA(prle_act_backward_cuda(args->din[0], args->in[0], args->dout, k->desc.u.act, n, k->dtype, gpu->compute));
    return PRLE_OK;
}

const prle_op_impl prle_act_impl_cuda = {
    .name = "cuda", .kind = PRLE_OP_ACT, .supports = prle_cuda_supports, .plan = plan_pass, .run = run};
