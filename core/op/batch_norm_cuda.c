/* batch_norm_cuda.c - batch normalisation on the GPU, of rows of channels in f32 or bf16. Saved for the backward pass: the five
 * numbers per channel of prle_cuda_norm, and how many values all ranks had. Where the relu let the gradient through is read off
 * the output, or computed once more from the input where there is no residual.
 *
 * With a communicator, which sums doubles in the GPU's memory, two sums over ranks stand in the forward pass and one in the
 * backward pass, as in the reference; a rank without a share adds zeros. */
#include <string.h>

#include "core/alloc.h"
#include "core/op/impls_cuda.h"

enum { PER_CHANNEL = 5 }; /* floats */

typedef struct norm {
    prle_batch_norm_attrs attrs;
    prle_cuda_rows z;
} norm;

static bool supports(const prle_op_desc *desc, const char **why)
{
    const prle_comm *comm = desc->u.batch_norm.comm;

    if (!prle_cuda_supports(desc, why))
        return false;
    *why = "images and vectors only";
    if (desc->in[0].n != 2 && desc->in[0].n != 4)
        return false;
    *why = "its communicator sums in the host's memory, not in the GPU's";
    return comm == NULL || strcmp(comm->ops->name, "mpi") != 0;
}

/* ---- memory: saved [5 C floats, count]; scratch [the same, sums over ranks, the kernels' own] ---- */

static size_t count_at(const norm *s) { return (PER_CHANNEL * (size_t)s->z.C * sizeof(float) + 7) / 8 * 8; }
static size_t kept_bytes(const norm *s) { return count_at(s) + sizeof(double); }
static size_t ranks_bytes(const norm *s) { return s->attrs.comm != NULL ? (4 * (size_t)s->z.C + 1) * sizeof(double) : 0; }

static prle_cuda_norm norm_at(const norm *s, void *at)
{
    float *first = at;
    const int64_t C = s->z.C;

    return (prle_cuda_norm){first, first + C, first + 2 * C, first + 3 * C, first + 4 * C};
}

static double *count_of(const norm *s, void *kept) { return (double *)(void *)((char *)kept + count_at(s)); }

static prle_cuda_ranks ranks_at(const norm *s, const prle_op_args *args)
{
    double *first = (double *)(void *)((char *)args->scratch + kept_bytes(s));
    const int64_t C = s->z.C;

    return (prle_cuda_ranks){.mean = first, .square = first + C, .squares = first + 2 * C, .sums = first + 3 * C};
}

static void *work_of(const norm *s, const prle_op_args *args) { return (char *)args->scratch + kept_bytes(s) + ranks_bytes(s); }

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
    plan->scratch_bytes = kept_bytes(&s) + ranks_bytes(&s) + prle_norm_cuda_scratch(s.z);
    PRLE_TRY(PRLE_NEW(state, 1));
    *state = s;
    plan->state = state;
    return PRLE_OK;
}

/* ---- forward ---- */

static prle_status statistics_of_ranks(const norm *s, const prle_op_args *args, void *kept, prle_cuda_affine *affine,
                                       cudaStream_t stream)
{
    const prle_cuda_norm of = norm_at(s, kept);
    const prle_cuda_ranks ranks = ranks_at(s, args);
    const bool has_share = args->info->n_valid > 0;
    const int64_t C = s->z.C;

    if (has_share)
        PRLE_CUDA(prle_norm_rank_cuda(&ranks, args->in[0], s->z, work_of(s, args), stream));
    else
        PRLE_CUDA(cudaMemsetAsync(ranks.sums, 0, (size_t)(C + 1) * sizeof(double), stream));
    PRLE_TRY(prle_comm_sum(s->attrs.comm, ranks.sums, C + 1, PRLE_F64, "batch norm mean"));
    if (has_share)
        PRLE_CUDA(prle_norm_rank_squares_cuda(&ranks, s->z, stream));
    else
        PRLE_CUDA(cudaMemsetAsync(ranks.squares, 0, (size_t)C * sizeof(double), stream));
    PRLE_TRY(prle_comm_sum(s->attrs.comm, ranks.squares, C, PRLE_F64, "batch norm variance"));
    affine->moves = true;
    PRLE_CUDA(prle_norm_ranks_cuda(&of, count_of(s, kept), &ranks, affine, C, stream));
    return PRLE_OK;
}

static prle_status forward(const norm *s, const prle_op_args *args, cudaStream_t stream)
{
    void *kept = args->saved != NULL ? args->saved : args->scratch;
    const prle_cuda_norm of = norm_at(s, kept);
    prle_cuda_affine affine = {.gamma = args->param[0],
                               .beta = args->param[1],
                               .running_mean = args->stats[0],
                               .running_var = args->stats[1],
                               .eps = s->attrs.eps,
                               .momentum = s->attrs.momentum,
                               .moves = args->info->n_valid > 0};

    if (s->attrs.frozen)
        PRLE_CUDA(prle_norm_running_cuda(&of, &affine, s->z.C, stream));
    else if (s->attrs.comm == NULL)
        PRLE_CUDA(prle_norm_batch_cuda(&of, args->in[0], &affine, s->z, work_of(s, args), stream));
    else
        PRLE_TRY(statistics_of_ranks(s, args, kept, &affine, stream));
    PRLE_CUDA(prle_norm_apply_cuda(args->out, args->in[0], s->attrs.residual ? args->in[1] : NULL, &of,
                                   s->attrs.act == PRLE_ACT_RELU, s->z, stream));
    return PRLE_OK;
}

/* ---- backward ---- */

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

/* The parameters' gradients are this rank's part: ranks are summed with all other gradients. */
static prle_status gradient_sums(const norm *s, const prle_op_args *args, const prle_cuda_norm_gradient *g, cudaStream_t stream)
{
    const prle_cuda_norm of = norm_at(s, args->saved);
    const bool ranks = s->attrs.comm != NULL && !s->attrs.frozen, has_share = args->info->n_valid > 0;
    double *sums = ranks ? ranks_at(s, args).mean : NULL; /* [2 C]: mean and square, side by side */
    void *work = work_of(s, args);

    if (has_share && (!s->attrs.frozen || args->dparam[0] != NULL || args->dparam[1] != NULL))
        PRLE_CUDA(prle_norm_sums_cuda(args->dparam[0], args->dparam[1], sums, &of, g, s->z, work, stream));
    if (!ranks)
        return PRLE_OK;
    if (!has_share)
        PRLE_CUDA(cudaMemsetAsync(sums, 0, 2 * (size_t)s->z.C * sizeof(double), stream));
    PRLE_TRY(prle_comm_sum(s->attrs.comm, sums, 2 * s->z.C, PRLE_F64, "batch norm gradient"));
    PRLE_CUDA(prle_norm_ranks_sums_cuda(sums, count_of(s, args->saved), &of, s->z, work, stream));
    return PRLE_OK;
}

static prle_status backward(const norm *s, const prle_op_args *args, cudaStream_t stream)
{
    const prle_cuda_norm of = norm_at(s, args->saved);
    const bool relu = s->attrs.act == PRLE_ACT_RELU;
    const prle_cuda_norm_gradient g = {
        .x = args->in[0], .y = s->attrs.residual && relu ? args->out : NULL, .dy = args->dout, .relu = relu};
    void *dr = s->attrs.residual ? args->din[1] : NULL;

    PRLE_TRY(gradient_sums(s, args, &g, stream));
    if (args->info->n_valid == 0)
        return zero_gradients(s, args, stream);
    if (args->din[0] != NULL || dr != NULL)
        PRLE_CUDA(prle_norm_input_gradient_cuda(args->din[0], dr, &of, s->attrs.frozen, &g, s->z, work_of(s, args), stream));
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
