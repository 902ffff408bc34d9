/* handle_cudnn.c - the cuDNN handle, and its statuses as ours. */
#include <cudnn.h>
#include <stdio.h>

#include "core/device/device_cuda.h"

prle_status prle_cudnn_status(int status, const char *call, const char *file, int line, const char *func)
{
    char reason[512] = "";

    if (status == CUDNN_STATUS_SUCCESS)
        return PRLE_OK;
    cudnnGetLastErrorString(reason, sizeof reason);
    return prle_error_set(status == CUDNN_STATUS_ALLOC_FAILED ? PRLE_ENOMEM : PRLE_ECUDA, file, line, func, "%s: %s%s%s", call,
                          cudnnGetErrorString((cudnnStatus_t)status), reason[0] != '\0' ? ": " : "", reason);
}

prle_status prle_cudnn_create(cudnnHandle_t *out, cudaStream_t stream)
{
    PRLE_CUDNN(cudnnCreate(out));
    PRLE_CUDNN(cudnnSetStream(*out, stream));
    return PRLE_OK;
}

void prle_cudnn_destroy(cudnnHandle_t handle)
{
    if (handle != NULL)
        (void)cudnnDestroy(handle);
}

const char *prle_cudnn_version(void)
{
    static char text[32];
    const size_t v = cudnnGetVersion();

    snprintf(text, sizeof text, "%zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
    return text;
}
