/* batch_norm_cuda.c - batch normalisation on the GPU, of rows of channels in f32 or bf16. Saved for the backward pass: the five
 * numbers per channel of prle_cuda_norm. Where the relu let the gradient through is read off the output, or computed once more
 * from the input where there is no residual. */
#include "core/alloc.h"
#include "core/op/impls_cuda.h"

enum { PER_CHANNEL = 5 }; /* floats */

typedef struct norm {
    prle_batch_norm_attrs attrs;
    prle_cuda_rows z;
} norm;

static bool supports(const prle_op_desc *desc, const char **why)
{
    if (!prle_cuda_supports(desc, why))
        return false;
    *why = "images and vectors only";
    if (desc->in[0].n != 2 && desc->in[0].n != 4)
        return false;
    *why = "statistics of all ranks (--sync-bn) are not computed on the GPU";
    return desc->u.batch_norm.comm == NULL;
}

static size_t kept_bytes(const norm *s) { return PER_CHANNEL * (size_t)s->z.C * sizeof(float); }

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    const bool forward = pass == PRLE_PASS_FORWARD;
    norm s = {.attrs = desc->u.batch_norm, .z = prle_cuda_rows_of(&desc->in[0], plan->in[0].dtype)}, *state = NULL;

    plan->in[0] = plan->in[1] = plan->out = prle_cuda_layout(s.z.dtype, &desc->in[0]);
    for (int i = 0; i < 2; i++)
        plan->param[i] = plan->dparam[i] = prle_layout_plain(PRLE_F32, &desc->param[i]);
    plan->dout = plan->din[0] = plan->din[1] = plan->in[0];
    plan->uses_in = !forward;
    plan->uses_out = !forward && s.attrs.residual && s.attrs.act == PRLE_ACT_RELU;
    plan->saved_bytes = forward ? kept_bytes(&s) : 0;
    plan->scratch_bytes = kept_bytes(&s) + prle_norm_cuda_scratch(s.z);
    PRLE_TRY(PRLE_NEW(state, 1));
    *state = s;
    plan->state = state;
    return PRLE_OK;
}

static prle_cuda_norm norm_at(const norm *s, void *at)
{
    float *first = at;
    const int64_t C = s->z.C;

    return (prle_cuda_norm){first, first + C, first + 2 * C, first + 3 * C, first + 4 * C};
}

static void *work_of(const norm *s, const prle_op_args *args) { return (char *)args->scratch + kept_bytes(s); }

static prle_status forward(const norm *s, const prle_op_args *args, cudaStream_t stream)
{
    const prle_cuda_norm of = norm_at(s, args->saved != NULL ? args->saved : args->scratch);
    const float *gamma = args->param[0], *beta = args->param[1];
    float *mean = args->stats[0], *var = args->stats[1];

    if (s->attrs.frozen)
        PRLE_CUDA(prle_norm_running_cuda(&of, mean, var, gamma, beta, s->attrs.eps, s->z.C, stream));
    else
        PRLE_CUDA(prle_norm_batch_cuda(&of, mean, var, args->in[0], gamma, beta, &s->attrs, args->info->n_valid > 0, s->z,
                                       work_of(s, args), stream));
    PRLE_CUDA(prle_norm_apply_cuda(args->out, args->in[0], s->attrs.residual ? args->in[1] : NULL, &of,
                                   s->attrs.act == PRLE_ACT_RELU, s->z, stream));
    return PRLE_OK;
}

/* No share in this step, no gradient. */
static prle_status zero_gradients(const norm *s, const prle_op_args *args, cudaStream_t stream)
{
    const size_t image_bytes = (size_t)(s->z.rows * s->z.C) * prle_dtype_bytes(s->z.dtype);

    for (int i = 0; i < 2; i++) {
        if (args->din[i] != NULL)
            PRLE_CUDA(cudaMemsetAsync(args->din[i], 0, image_bytes, stream));
        if (args->dparam[i] != NULL)
            PRLE_CUDA(cudaMemsetAsync(args->dparam[i], 0, (size_t)s->z.C * sizeof(float), stream));
    }
    return PRLE_OK;
}

static prle_status backward(const norm *s, const prle_op_args *args, cudaStream_t stream)
{
    const prle_cuda_norm of = norm_at(s, args->saved);
    const bool relu = s->attrs.act == PRLE_ACT_RELU;
    const prle_cuda_norm_gradient g = {
        .x = args->in[0], .y = s->attrs.residual && relu ? args->out : NULL, .dy = args->dout, .relu = relu};
    void *dr = s->attrs.residual ? args->din[1] : NULL, *work = work_of(s, args);

    if (args->info->n_valid == 0)
        return zero_gradients(s, args, stream);
    if (!s->attrs.frozen || args->dparam[0] != NULL || args->dparam[1] != NULL)
        PRLE_CUDA(prle_norm_sums_cuda(args->dparam[0], args->dparam[1], &of, &g, s->z, work, stream));
    if (args->din[0] != NULL || dr != NULL)
        PRLE_CUDA(prle_norm_input_gradient_cuda(args->din[0], dr, &of, s->attrs.frozen, &g, s->z, work, stream));
    return PRLE_OK;
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_cuda *gpu = NULL;

    PRLE_TRY(prle_cuda_get(&gpu));
    return pass == PRLE_PASS_FORWARD ? forward(state, args, gpu->compute) : backward(state, args, gpu->compute);
}

const prle_op_impl prle_batch_norm_impl_cuda = {
    .name = "cuda", .kind = PRLE_OP_BATCH_NORM, .supports = supports, .plan = plan_pass, .run = run};
