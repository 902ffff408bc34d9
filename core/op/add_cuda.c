/* add_cuda.c - the sum of two tensors on the GPU, both in one layout. */
#include "core/op/impls_cuda.h"
#include "core/op/kernels_cuda.h"

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    if (pass == PRLE_PASS_BACKWARD) {
        plan->din[0] = plan->din[1] = plan->dout;
        plan->din_is_dout = true;
        return PRLE_OK;
    }
    if (plan->in[0].plain && !plan->in[1].plain) /* of two layouts the one that the neighbours have */
        plan->in[0] = plan->in[1];
    plan->in[1] = plan->out = plan->in[0];
    return prle_cuda_keep(desc, plan->in[0].dtype, plan);
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_cuda_kept *k = state;
    const prle_cuda *gpu = NULL;

    (void)pass;
    PRLE_TRY(prle_cuda_get(&gpu));
    PRLE_CUDA(prle_add_cuda(args->out, args->in[0], args->in[1], prle_shape_count(&k->desc.out), k->dtype, gpu->compute));
    return PRLE_OK;
}

const prle_op_impl prle_add_impl_cuda = {
    .name = "cuda", .kind = PRLE_OP_ADD, .supports = prle_cuda_supports, .plan = plan_pass, .run = run};
