/* local_spectrum_cuda.c - local frequency statistics on the GPU: the picture row-major in f32, as it comes from the input. */
#include "core/alloc.h"
#include "core/op/band_cuda.h"
#include "core/op/dct.h"
#include "core/op/impls_cuda.h"

typedef struct spectrum {
    prle_cuda_spectrum z;
    double *D; /* the GPU's: [window,window] */
} spectrum;

static bool supports(const prle_op_desc *desc, const char **why)
{
    if (!prle_cuda_supports(desc, why))
        return false;
    *why = "windows of more than PRLE_CUDA_MAX_WINDOW pixels a side, or strides of more than half that";
    return desc->u.local_spectrum.window <= PRLE_CUDA_MAX_WINDOW && 2 * desc->u.local_spectrum.stride <= PRLE_CUDA_MAX_WINDOW;
}

static void destroy(void *state)
{
    spectrum *s = state;

    if (s != NULL)
        prle_cuda_device()->free(s->D);
    prle_free(s);
}

static prle_status matrix_upload(spectrum *s, int64_t K)
{
    double host[PRLE_CUDA_MAX_WINDOW * PRLE_CUDA_MAX_WINDOW];
    const size_t n_bytes = (size_t)(K * K) * sizeof(double);

    for (int64_t k = 0; k < K; k++)
        for (int64_t i = 0; i < K; i++)
            host[k * K + i] = prle_dct_element(k, i, K);
    PRLE_TRY(prle_cuda_device()->alloc(n_bytes, (void **)&s->D));
    return prle_cuda_device()->copy_in(s->D, host, n_bytes);
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    const int64_t *x = desc->in[0].dim, *y = desc->out.dim;
    spectrum *s = NULL;
    prle_status st = PRLE_OK;

    plan->in[0] = plan->din[0] = prle_layout_plain(PRLE_F32, &desc->in[0]);
    plan->out = plan->dout = prle_layout_plain(PRLE_F32, &desc->out);
    for (int m = 0; m < desc->n_params; m++)
        plan->param[m] = plan->dparam[m] = prle_layout_plain(PRLE_F32, &desc->param[m]);
    plan->uses_in = pass == PRLE_PASS_BACKWARD;
    PRLE_TRY_OUT(PRLE_NEW(s, 1));
    s->z = (prle_cuda_spectrum){.attrs = desc->u.local_spectrum, .B = x[0], .H = x[2], .W = x[3], .P = y[2], .Q = y[3]};
    PRLE_TRY_OUT(matrix_upload(s, desc->u.local_spectrum.window));
    plan->scratch_bytes = prle_local_spectrum_cuda_scratch(&s->z);
    plan->state = s;
    s = NULL;
out:
    destroy(s);
    return st;
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const spectrum *s = state;
    prle_cuda_spectrum z = s->z;
    const prle_cuda *gpu = NULL;

    PRLE_TRY(prle_cuda_get(&gpu));
    z.D = s->D;
    for (int m = 0; m < z.attrs.bands.n; m++) {
        z.w[m] = args->param[m];
        z.dw[m] = args->dparam[m];
    }
    if (pass == PRLE_PASS_FORWARD)
        PRLE_CUDA(prle_local_spectrum_cuda(args->out, args->in[0], &z, args->scratch, gpu->compute));
    else
        PRLE_CUDA(prle_local_spectrum_backward_cuda(args->din[0], args->in[0], args->dout, &z, args->scratch, gpu->compute));
    return PRLE_OK;
}

const prle_op_impl prle_local_spectrum_impl_cuda = {
    .name = "cuda", .kind = PRLE_OP_LOCAL_SPECTRUM, .supports = supports, .plan = plan_pass, .run = run, .destroy = destroy};
