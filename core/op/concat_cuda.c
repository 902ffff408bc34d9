/* concat_cuda.c - concatenation along channels on the GPU: one copy for each input, in the first input's element type. */
#include "core/op/impls_cuda.h"

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    const prle_dtype dtype = plan->in[0].dtype;

    (void)pass;
    if (desc->out.n != 2 && desc->out.n != 4)
        return PRLE_FAIL(PRLE_ENOTSUP, "concat of tensors with %d dimensions", desc->out.n);
    for (int i = 0; i < desc->n_in; i++)
        plan->in[i] = plan->din[i] = prle_cuda_layout(dtype, &desc->in[i]);
    plan->out = plan->dout = prle_cuda_layout(dtype, &desc->out);
    return prle_cuda_keep(desc, dtype, plan);
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_cuda_kept *k = state;
    const prle_cuda_rows z = prle_cuda_rows_of(&k->desc.out, k->dtype);
    const size_t element = prle_dtype_bytes(k->dtype);
    const prle_cuda *gpu = NULL;
    size_t at = 0; /* bytes into the wide rows */

    PRLE_TRY(prle_cuda_get(&gpu));
    for (int i = 0; i < k->desc.n_in; i++) {
        const int64_t n = k->desc.in[i].dim[1];

        if (pass == PRLE_PASS_FORWARD)
            PRLE_CUDA(prle_copy_channels_cuda((char *)args->out + at, z.C, args->in[i], n, n, z.rows, z.dtype, gpu->compute));
        else if (args->din[i] != NULL)
            PRLE_CUDA(
                prle_copy_channels_cuda(args->din[i], n, (const char *)args->dout + at, z.C, n, z.rows, z.dtype, gpu->compute));
        at += (size_t)n * element;
    }
    return PRLE_OK;
}

const prle_op_impl prle_concat_impl_cuda = {
    .name = "cuda", .kind = PRLE_OP_CONCAT, .supports = prle_cuda_supports, .plan = plan_pass, .run = run};
