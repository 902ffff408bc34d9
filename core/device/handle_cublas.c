/* handle_cublas.c - the cuBLAS handle, and its statuses as ours. */
#include <cublas_v2.h>
#include <stdio.h>

#include "core/device/device_cuda.h"

prle_status prle_cublas_status(int status, const char *call, const char *file, int line, const char *func)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return PRLE_OK;
    return prle_error_set(status == CUBLAS_STATUS_ALLOC_FAILED ? PRLE_ENOMEM : PRLE_ECUDA, file, line, func, "%s: %s", call,
                          cublasGetStatusString((cublasStatus_t)status));
}

prle_status prle_cublas_create(cublasHandle_t *out, cudaStream_t stream, bool tf32, void *workspace, size_t n_bytes)
{
    PRLE_CUBLAS(cublasCreate(out));
    PRLE_CUBLAS(cublasSetStream(*out, stream));
    PRLE_CUBLAS(cublasSetWorkspace(*out, workspace, n_bytes)); /* after the stream, which resets it; a capture may not allocate */
    PRLE_CUBLAS(cublasSetMathMode(*out, tf32 ? CUBLAS_TF32_TENSOR_OP_MATH : CUBLAS_DEFAULT_MATH));
    return PRLE_OK;
}

void prle_cublas_destroy(cublasHandle_t handle)
{
    if (handle != NULL)
        (void)cublasDestroy(handle);
}

const char *prle_cublas_version(cublasHandle_t handle)
{
    static char text[32];
    int v = 0;

    if (cublasGetVersion(handle, &v) != CUBLAS_STATUS_SUCCESS)
        return "unknown";
    snprintf(text, sizeof text, "%d.%d.%d", v / 10000, v / 100 % 100, v % 100);
    return text;
}
