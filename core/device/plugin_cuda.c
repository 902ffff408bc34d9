/* plugin_cuda.c - the one thing that libprle_cuda.so exports. PRLE_GIT_REVISION comes from cmake/PrleCuda.cmake. */
#include <stdio.h>

#include "core/device/device_cuda.h"
#include "core/device/plugin.h"
#include "core/log.h"

extern const prle_plugin prle_cuda_plugin;

static prle_status cuda_open(const prle_device **out, const prle_device_opts *opts)
{
    const prle_cuda *cuda = NULL;

    PRLE_TRY(prle_cuda_open(opts->ordinal, opts->deterministic));
    PRLE_TRY(prle_cuda_get(&cuda));
    prle_log(PRLE_LOG_INFO, "device", "computing on GPU %d, %s", cuda->device, cuda->name);
    *out = prle_cuda_device();
    return PRLE_OK;
}

/* "13.0" of 13000. */
static void version_add(void (*add)(void *ctx, const char *key, const char *text), void *ctx, const char *key, int version)
{
    char text[32];

    snprintf(text, sizeof text, "%d.%d", version / 1000, version % 1000 / 10);
    add(ctx, key, text);
}

static void cuda_describe(void (*add)(void *ctx, const char *key, const char *text), void *ctx)
{
    const prle_cuda *cuda = NULL;
    char text[64];
    int version = 0;
    size_t left = 0, total = 0;

    if (prle_cuda_get(&cuda) != PRLE_OK)
        return;
    add(ctx, "name", cuda->name);
    add(ctx, "bus", cuda->bus);
    snprintf(text, sizeof text, "%d.%d, %d multiprocessors", cuda->arch / 10, cuda->arch % 10, cuda->n_sm);
    add(ctx, "compute_capability", text);
    if (cudaMemGetInfo(&left, &total) == cudaSuccess) {
        snprintf(text, sizeof text, "%zu MiB, %zu MiB free", total >> 20, left >> 20);
        add(ctx, "memory", text);
    }
    if (cudaDriverGetVersion(&version) == cudaSuccess)
        version_add(add, ctx, "driver_cuda", version);
    if (cudaRuntimeGetVersion(&version) == cudaSuccess)
        version_add(add, ctx, "runtime_cuda", version);
    add(ctx, "cudnn", prle_cudnn_version());
    add(ctx, "cublas", prle_cublas_version(cuda->blas));
}

const prle_plugin prle_cuda_plugin = {.abi = PRLE_PLUGIN_ABI,
                                      .revision = PRLE_GIT_REVISION,
                                      .open = cuda_open,
                                      .close = prle_cuda_close,
                                      .describe = cuda_describe};
