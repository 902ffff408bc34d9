/* normalise_cuda.c - pictures of bytes to what networks see, channels last as they come; in f32 or, for who wants that, bf16. */
#include "core/op/impls_cuda.h"
#include "core/op/kernels_cuda.h"

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    PRLE_CHECK(pass == PRLE_PASS_FORWARD, PRLE_ENOTSUP, "bytes have no gradient");
    if (!prle_cuda_layout_is_nhwc(&plan->out))
        plan->out = prle_cuda_layout_nhwc(PRLE_F32, &desc->out);
    return prle_cuda_keep(desc, plan->out.dtype, plan);
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_cuda_kept *s = state;
    const prle_cuda *gpu = NULL;

    (void)pass;
    PRLE_TRY(prle_cuda_get(&gpu));
    PRLE_CUDA(
        prle_normalise_cuda(args->param[0], args->in[0], prle_shape_count(&s->desc.out) / 3, args->out, s->dtype, gpu->compute));
    return PRLE_OK;
}

const prle_op_impl prle_normalise_impl_cuda = {
    .name = "cuda", .kind = PRLE_OP_NORMALISE, .supports = prle_cuda_supports, .plan = plan_pass, .run = run};
