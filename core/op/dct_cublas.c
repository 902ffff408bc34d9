/* dct_cublas.c - the cosine transform by cuBLAS: one matrix product for the rows of all planes, and one for the columns of each.
 * In f32 proper always: what TF32 leaves of a high frequency is noise. */
#include <cublas_v2.h>

#include "core/alloc.h"
#include "core/op/dct.h"
#include "core/op/impls_cuda.h"

typedef struct transform {
    int64_t planes, height, width;
    bool inverse;
    float *matrix; /* the GPU's: D_H [H,H], D_W [W,W] */
} transform;

static bool supports(const prle_op_desc *desc, const char **why)
{
    const int64_t *x = desc->in[0].dim;

    if (!prle_cuda_supports(desc, why))
        return false;
    *why = "more than 2^31 - 1 rows";
    return x[0] * x[1] * x[2] <= INT32_MAX && x[3] <= INT32_MAX;
}

static void destroy(void *state)
{
    transform *t = state;

    if (t != NULL)
        prle_cuda_device()->free(t->matrix);
    prle_free(t);
}

static void matrix_fill(float *out, int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        for (int64_t i = 0; i < n; i++)
            out[k * n + i] = (float)prle_dct_element(k, i, n);
}

static prle_status matrices_upload(transform *t)
{
    const int64_t H = t->height, W = t->width;
    const size_t n_bytes = (size_t)(H * H + W * W) * sizeof(float);
    float *host = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(PRLE_NEW(host, H * H + W * W));
    matrix_fill(host, H);
    matrix_fill(host + H * H, W);
    PRLE_TRY_OUT(prle_cuda_device()->alloc(n_bytes, (void **)&t->matrix));
    PRLE_TRY_OUT(prle_cuda_device()->copy_in(t->matrix, host, n_bytes));
out:
    prle_free(host);
    return st;
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    const int64_t *x = desc->in[0].dim;
    transform *t = NULL;
    prle_status st = PRLE_OK;

    plan->in[0] = plan->out = plan->dout = plan->din[0] = prle_layout_plain(PRLE_F32, &desc->in[0]);
    PRLE_TRY_OUT(PRLE_NEW(t, 1));
    *t = (transform){
        .planes = x[0] * x[1], .height = x[2], .width = x[3], .inverse = desc->u.dct.inverse != (pass == PRLE_PASS_BACKWARD)};
    PRLE_TRY_OUT(matrices_upload(t));
    plan->scratch_bytes = (size_t)prle_shape_count(&desc->in[0]) * sizeof(float);
    plan->state = t;
    t = NULL;
out:
    destroy(t);
    return st;
}

/* in D_W^T, then D_H of that; inverse: in D_W, D_H^T of that. To cuBLAS every matrix here is its transpose. */
static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const transform *t = state;
    const int H = (int)t->height, W = (int)t->width, rows = (int)(t->planes * t->height);
    const float *in = pass == PRLE_PASS_FORWARD ? args->in[0] : args->dout, *D_H = t->matrix,
                *D_W = t->matrix + t->height * t->height;
    float *out = pass == PRLE_PASS_FORWARD ? args->out : args->din[0], *half = args->scratch;
    const float one = 1, zero = 0;
    const prle_cuda *gpu = NULL;

    PRLE_TRY(prle_cuda_get(&gpu));
    PRLE_CUBLAS(cublasGemmEx(gpu->blas, t->inverse ? CUBLAS_OP_N : CUBLAS_OP_T, CUBLAS_OP_N, W, rows, W, &one, D_W, CUDA_R_32F, W,
                             in, CUDA_R_32F, W, &zero, half, CUDA_R_32F, W, CUBLAS_COMPUTE_32F_PEDANTIC, CUBLAS_GEMM_DEFAULT));
    PRLE_CUBLAS(cublasGemmStridedBatchedEx(gpu->blas, CUBLAS_OP_N, t->inverse ? CUBLAS_OP_T : CUBLAS_OP_N, W, H, H, &one, half,
                                           CUDA_R_32F, W, (long long)H * W, D_H, CUDA_R_32F, H, 0, &zero, out, CUDA_R_32F, W,
                                           (long long)H * W, (int)t->planes, CUBLAS_COMPUTE_32F_PEDANTIC, CUBLAS_GEMM_DEFAULT));
    return PRLE_OK;
}

const prle_op_impl prle_dct_impl_cublas = {
    .name = "cublas", .kind = PRLE_OP_DCT, .supports = supports, .plan = plan_pass, .run = run, .destroy = destroy};
