/* band_filter_cuda.c - the learnt filters on the GPU: spectra row-major in f32, as the cosine transform leaves them. */
#include "core/op/band_cuda.h"
#include "core/op/impls_cuda.h"

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    plan->in[0] = plan->din[0] = prle_layout_plain(PRLE_F32, &desc->in[0]);
    plan->out = plan->dout = prle_layout_plain(PRLE_F32, &desc->out);
    for (int m = 0; m < desc->n_params; m++)
        plan->param[m] = plan->dparam[m] = prle_layout_plain(PRLE_F32, &desc->param[m]);
    plan->uses_in = pass == PRLE_PASS_BACKWARD;
    return prle_cuda_keep(desc, PRLE_F32, plan);
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_op_desc *desc = &((const prle_cuda_kept *)state)->desc;
    const int64_t *x = desc->in[0].dim;
    prle_cuda_band_filter z = {.bands = desc->u.band_filter.bands, .B = x[0], .C = x[1], .H = x[2], .W = x[3]};
    const prle_cuda *gpu = NULL;

    PRLE_TRY(prle_cuda_get(&gpu));
    for (int m = 0; m < z.bands.n; m++) {
        z.w[m] = args->param[m];
        z.dw[m] = args->dparam[m];
    }
    if (pass == PRLE_PASS_FORWARD)
        PRLE_CUDA(prle_band_filter_cuda(args->out, args->in[0], &z, gpu->compute));
    else
        PRLE_CUDA(prle_band_filter_backward_cuda(args->din[0], args->in[0], args->dout, &z, gpu->compute));
    return PRLE_OK;
}

const prle_op_impl prle_band_filter_impl_cuda = {
    .name = "cuda", .kind = PRLE_OP_BAND_FILTER, .supports = prle_cuda_supports, .plan = plan_pass, .run = run};
