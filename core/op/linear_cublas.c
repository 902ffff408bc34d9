/* linear_cublas.c - the fully connected layer by cuBLAS on row-major tensors, which are column-major transposes to it. In bf16
 * the output is f32 all the same: logits are what a loss is computed from. */
#include <cublas_v2.h>

#include "core/op/impls_cuda.h"

/* c [m,n] = a [m,k] b [k,n], column-major; ta, tb: a, b lie transposed. */
typedef struct product {
    cublasOperation_t ta, tb;
    int64_t m, n, k;
    const void *a, *b;
    prle_dtype operands;
    void *c;
    prle_dtype result;
} product;

static cudaDataType type_of(prle_dtype dtype) { return dtype == PRLE_BF16 ? CUDA_R_16BF : CUDA_R_32F; }

static prle_status multiply(const prle_cuda *gpu, const product *p)
{
    const float one = 1, zero = 0;
    const cublasComputeType_t how = gpu->tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    const int m = (int)p->m, n = (int)p->n, k = (int)p->k;

    PRLE_CUBLAS(cublasGemmEx(gpu->blas, p->ta, p->tb, m, n, k, &one, p->a, type_of(p->operands), p->ta == CUBLAS_OP_N ? m : k,
                             p->b, type_of(p->operands), p->tb == CUBLAS_OP_N ? k : n, &zero, p->c, type_of(p->result), m,
                             p->operands == PRLE_F32 ? how : CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
    return PRLE_OK;
}

static bool supports(const prle_op_desc *desc, const char **why)
{
    if (!prle_cuda_supports(desc, why))
        return false;
    *why = "a dimension of more than 2^31 - 1";
    return desc->in[0].dim[0] <= INT32_MAX && desc->in[0].dim[1] <= INT32_MAX && desc->out.dim[1] <= INT32_MAX;
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    plan->in[0] = plan->din[0] = prle_layout_plain(desc->memory, &desc->in[0]);
    plan->out = prle_layout_plain(PRLE_F32, &desc->out);
    plan->dout = prle_layout_plain(desc->memory, &desc->out);
    for (int i = 0; i < desc->n_params; i++)
        plan->param[i] = plan->dparam[i] = prle_layout_plain(PRLE_F32, &desc->param[i]);
    plan->param[0] = prle_layout_plain(desc->memory, &desc->param[0]);
    plan->uses_in = pass == PRLE_PASS_WEIGHTS;
    plan->scratch_bytes = pass == PRLE_PASS_WEIGHTS ? prle_sums_cuda_scratch(prle_cuda_rows_of(&desc->out, desc->memory)) : 0;
    return prle_cuda_keep(desc, desc->memory, plan);
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_cuda_kept *kept = state;
    const prle_op_desc *desc = &kept->desc;
    const int64_t B = desc->in[0].dim[0], C = desc->in[0].dim[1], K = desc->out.dim[1];
    const prle_dtype t = kept->dtype;
    const prle_cuda *gpu = NULL;

    PRLE_TRY(prle_cuda_get(&gpu));
    switch (pass) {
    case PRLE_PASS_FORWARD: {
        const product p = {CUBLAS_OP_T, CUBLAS_OP_N, K, B, C, args->param[0], args->in[0], t, args->out, PRLE_F32};
        PRLE_TRY(multiply(gpu, &p));
        if (desc->u.linear.bias)
            PRLE_CUDA(prle_epilogue_cuda(args->out, NULL, args->param[1], (prle_act_attrs){.act = PRLE_ACT_NONE},
                                         prle_cuda_rows_of(&desc->out, PRLE_F32), gpu->compute));
        return PRLE_OK;
    }
    case PRLE_PASS_BACKWARD: {
        const product p = {CUBLAS_OP_N, CUBLAS_OP_N, C, B, K, args->param[0], args->dout, t, args->din[0], t};
        return multiply(gpu, &p);
    }
    default: {
        const product p = {CUBLAS_OP_N, CUBLAS_OP_T, C, K, B, args->in[0], args->dout, t, args->dparam[0], PRLE_F32};
        PRLE_TRY(multiply(gpu, &p));
        if (args->dparam[1] != NULL)
            PRLE_CUDA(prle_sums_cuda(args->dparam[1], args->dout, prle_cuda_rows_of(&desc->out, t), args->scratch, gpu->compute));
        return PRLE_OK;
    }
    }
}

const prle_op_impl prle_linear_impl_cublas = {
    .name = "cublas", .kind = PRLE_OP_LINEAR, .supports = supports, .plan = plan_pass, .run = run};
