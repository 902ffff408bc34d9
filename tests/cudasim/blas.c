/* blas.c - cuBLAS's matrix products, by plain loops: column-major, f32, f16 and bf16 in and out, sums in double. */
#include <cublas_v2.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cudasim/ptx.h" /* number formats */

struct cublasContext {
    cudaStream_t stream;
};

SIM_API cublasStatus_t cublasCreate_v2(cublasHandle_t *out)
{
    *out = sim_new(sizeof **out);
    return CUBLAS_STATUS_SUCCESS;
}

SIM_API cublasStatus_t cublasDestroy_v2(cublasHandle_t handle)
{
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

SIM_API cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

SIM_API cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode)
{
    (void)handle;
    (void)mode;
    return CUBLAS_STATUS_SUCCESS;
}

SIM_API cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void *workspace, size_t n_bytes)
{
    (void)handle;
    sim_lock();
    if (workspace != NULL && (!sim_is_ours(workspace) || (uint64_t)workspace % 256 != 0))
        sim_fatal("cublasSetWorkspace: %p is no device memory aligned to 256 bytes", workspace);
    if (n_bytes > 0)
        sim_device(workspace, n_bytes, SIM_WRITE, "cublasSetWorkspace");
    sim_unlock();
    return CUBLAS_STATUS_SUCCESS;
}

SIM_API cublasStatus_t cublasGetVersion_v2(cublasHandle_t handle, int *out)
{
    (void)handle;
    *out = CUBLAS_VERSION;
    return CUBLAS_STATUS_SUCCESS;
}

SIM_API const char *cublasGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS ? "CUBLAS_STATUS_SUCCESS" : "a cuBLAS error";
}

/** One of the three matrices: `rows` x `columns` as it lies, before it is transposed. */
typedef struct matrix {
    const void *at;
    ptx_type type;
    int64_t rows, columns, leading, stride;
    bool transposed;
} matrix;

typedef struct gemm {
    matrix a, b, c;
    int64_t m, n, k, count;
    double alpha, beta;
} gemm;

static ptx_type number_type(cudaDataType type)
{
    switch (type) {
    case CUDA_R_32F: return (ptx_type){PTX_FLOAT, 4, 1};
    case CUDA_R_16F: return (ptx_type){PTX_HALF, 2, 1};
    case CUDA_R_16BF: return (ptx_type){PTX_BFLOAT, 2, 1};
    default: sim_fatal("cuBLAS's type %d is not simulated", (int)type);
    }
}

/* The columns of one matrix of the batch are checked one by one: what lies between them belongs to somebody else. */
static uint8_t *view(const matrix *x, int64_t i, sim_access access, const char *who)
{
    const char *first = (const char *)x->at + i * x->stride * x->type.bytes;

    for (int64_t c = 0; c < x->columns; c++)
        sim_device(first + c * x->leading * x->type.bytes, (size_t)(x->rows * x->type.bytes), access, who);
    return sim_view((uint64_t)first);
}

static double get(const matrix *x, const uint8_t *view, int64_t row, int64_t column)
{
    const int64_t r = x->transposed ? column : row, c = x->transposed ? row : column;
    uint64_t bits = 0;

    memcpy(&bits, view + (c * x->leading + r) * x->type.bytes, x->type.bytes);
    return ptx_to_double(bits, x->type);
}

static void product(const gemm *g, int64_t i)
{
    const uint8_t *a = view(&g->a, i, SIM_READ, "cuBLAS's A"), *b = view(&g->b, i, SIM_READ, "cuBLAS's B");
    uint8_t *c = g->beta != 0 ? view(&g->c, i, SIM_READ, "cuBLAS's C, read for beta") : NULL;

    c = view(&g->c, i, SIM_WRITE, "cuBLAS's C");
    for (int64_t col = 0; col < g->n; col++) {
        for (int64_t row = 0; row < g->m; row++) {
            double sum = 0;
            for (int64_t k = 0; k < g->k; k++)
                sum += get(&g->a, a, row, k) * get(&g->b, b, k, col);
            const double all = g->alpha * sum + (g->beta != 0 ? g->beta * get(&g->c, c, row, col) : 0);
            const uint64_t bits = ptx_from_double(all, g->c.type);
            memcpy(c + (col * g->c.leading + row) * g->c.type.bytes, &bits, g->c.type.bytes);
        }
    }
}

static bool gemm_run(void *argument)
{
    const gemm *g = argument;

    for (int64_t i = 0; i < g->count && g->m > 0 && g->n > 0; i++)
        product(g, i);
    sim_counts.library_calls++;
    return true;
}

static matrix operand(const void *at, cudaDataType type, cublasOperation_t op, int64_t rows, int64_t columns, int64_t leading,
                      int64_t stride)
{
    const bool t = op != CUBLAS_OP_N;

    return (matrix){.at = at,
                    .type = number_type(type),
                    .rows = t ? columns : rows,
                    .columns = t ? rows : columns,
                    .leading = leading,
                    .stride = stride,
                    .transposed = t};
}

SIM_API cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n,
                                                  int k, const void *alpha, const void *a, cudaDataType a_type, int lda,
                                                  long long stride_a, const void *b, cudaDataType b_type, int ldb,
                                                  long long stride_b, const void *beta, void *c, cudaDataType c_type, int ldc,
                                                  long long stride_c, int count, cublasComputeType_t compute,
                                                  cublasGemmAlgo_t algorithm)
{
    static const sim_work work = {.run = gemm_run, .what = "cuBLAS product", .capturable = true};
    const gemm g = {.a = operand(a, a_type, ta, m, k, lda, stride_a),
                    .b = operand(b, b_type, tb, k, n, ldb, stride_b),
                    .c = operand(c, c_type, CUBLAS_OP_N, m, n, ldc, stride_c),
                    .m = m,
                    .n = n,
                    .k = k,
                    .count = count,
                    .alpha = (double)*(const float *)alpha,
                    .beta = (double)*(const float *)beta};

    (void)algorithm;
    if (m < 0 || n < 0 || k < 0 || count < 0 || lda < g.a.rows || ldb < g.b.rows || ldc < m) {
        sim_report("cuBLAS product of m %d, n %d, k %d: leading dimensions %d, %d, %d are too small", m, n, k, lda, ldb, ldc);
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_FAST_TF32 && compute != CUBLAS_COMPUTE_32F_PEDANTIC)
        sim_fatal("cuBLAS's compute type %d is not simulated", (int)compute);
    sim_lock();
    const cudaError_t error = sim_submit(handle->stream, &work, &g, sizeof g);
    sim_unlock();
    return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

SIM_API cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                                    const void *alpha, const void *a, cudaDataType a_type, int lda, const void *b,
                                    cudaDataType b_type, int ldb, const void *beta, void *c, cudaDataType c_type, int ldc,
                                    cublasComputeType_t compute, cublasGemmAlgo_t algorithm)
{
    return cublasGemmStridedBatchedEx(handle, ta, tb, m, n, k, alpha, a, a_type, lda, 0, b, b_type, ldb, 0, beta, c, c_type, ldc,
                                      0, 1, compute, algorithm);
}
