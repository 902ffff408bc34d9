/* flatten_cuda.c - [B,C,H,W] to [B,CHW] on the GPU: from the image as it lies straight to row-major vectors, and back. */
#include "core/alloc.h"
#include "core/op/impls_cuda.h"

typedef struct flatten_state {
    prle_cuda_image z;
    bool plain; /* the image is row-major already */
} flatten_state;

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    flatten_state *s = NULL;

    (void)pass;
    PRLE_TRY(PRLE_NEW(s, 1));
    *s = (flatten_state){.z = prle_cuda_image_of(&desc->in[0], plan->in[0].dtype), .plain = plan->in[0].plain};
    plan->din[0] = plan->in[0];
    plan->out = plan->dout = prle_layout_plain(s->z.dtype, &desc->out);
    plan->state = s;
    return PRLE_OK;
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const flatten_state *s = state;
    const prle_cuda_image *z = &s->z;
    const bool forward = pass == PRLE_PASS_FORWARD;
    const void *from = forward ? args->in[0] : args->dout;
    void *to = forward ? args->out : args->din[0];
    const prle_cuda *gpu = NULL;

    PRLE_TRY(prle_cuda_get(&gpu));
    if (s->plain || z->C == 1 || z->plane == 1)
        PRLE_CUDA(prle_convert_cuda(to, z->dtype, from, z->dtype, z->batch * z->plane * z->C, gpu->compute));
    else
        PRLE_CUDA(prle_transpose_cuda(to, z->dtype, from, z->dtype, z->batch, forward ? z->plane : z->C,
                                      forward ? z->C : z->plane, gpu->compute));
    return PRLE_OK;
}

const prle_op_impl prle_flatten_impl_cuda = {
    .name = "cuda", .kind = PRLE_OP_FLATTEN, .supports = prle_cuda_supports, .plan = plan_pass, .run = run};
