/* device_cuda.c - one GPU: opening it, its memory, copies through pinned staging, the table of functions. */
#include "core/device/device_cuda.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/device/flat_cuda.h"
#include "core/log.h"
#include "core/op/fold_cuda.h"

enum { N_STAGES = 2, STAGE_BYTES = 4 << 20, BLAS_WORKSPACE_BYTES = 32 << 20 /* what NVIDIA advises for Hopper */ };

/* Pinned host memory that bytes pass through, so that no copy is pageable and the caller's memory is free at once. */
typedef struct stage {
    char *bytes;
    cudaEvent_t done; /* the copy that used it last is */
} stage;

static struct {
    prle_cuda pub;
    bool is_open;
    stage stages[N_STAGES];
    int next;
    void *blas_workspace;
    prle_cuda_run *run, run_staged; /* of the GPU; what is copied there next */
} gpu;

static const prle_device device;

prle_status prle_cuda_status(cudaError_t error, const char *call, const char *file, int line, const char *func)
{
    if (error == cudaSuccess)
        return PRLE_OK;
    (void)cudaGetLastError(); /* not to be reported again by the next launch */
    return prle_error_set(error == cudaErrorMemoryAllocation ? PRLE_ENOMEM : PRLE_ECUDA, file, line, func, "%s: %s (%s)", call,
                          cudaGetErrorString(error), cudaGetErrorName(error));
}

prle_status prle_cuda_get(const prle_cuda **out)
{
    PRLE_CHECK(gpu.is_open, PRLE_ECUDA, "no GPU is open in this process");
    *out = &gpu.pub;
    return PRLE_OK;
}

/* ---- layouts ---- */

static const char nhwc_tag[] = "nhwc";

prle_layout prle_cuda_layout_nhwc(prle_dtype dtype, const prle_shape *shape)
{
    prle_layout layout = prle_layout_plain(dtype, shape);

    layout.plain = false;
    memcpy(layout.vendor.bytes, nhwc_tag, sizeof nhwc_tag);
    return layout;
}

bool prle_cuda_layout_is_nhwc(const prle_layout *layout)
{
    return !layout->plain && memcmp(layout->vendor.bytes, nhwc_tag, sizeof nhwc_tag) == 0;
}

/* ---- memory ---- */

static prle_status cuda_alloc(size_t n_bytes, void **out)
{
    void *fresh = NULL;
    const cudaError_t error = n_bytes > 0 ? cudaMalloc(&fresh, n_bytes) : cudaSuccess;

    if (error == cudaErrorMemoryAllocation) {
        size_t left = 0, total = 0;
        (void)cudaGetLastError();
        PRLE_CUDA(cudaMemGetInfo(&left, &total));
        return PRLE_FAIL(PRLE_ENOMEM, "%s: %zu MiB do not fit into the %zu MiB that are free of %zu; a smaller --batch may help",
                         gpu.pub.name, n_bytes >> 20, left >> 20, total >> 20);
    }
    PRLE_CUDA(error);
    *out = fresh;
    return PRLE_OK;
}

static void cuda_free(void *ptr)
{
    if (PRLE_CUDA_STATUS(cudaFree(ptr)) != PRLE_OK)
        prle_log(PRLE_LOG_ERROR, "device", "%s", prle_error_message());
}

static prle_status cuda_zero(void *ptr, size_t n_bytes)
{
    if (n_bytes > 0)
        PRLE_CUDA(cudaMemsetAsync(ptr, 0, n_bytes, gpu.pub.compute));
    return PRLE_OK;
}

/* Waits only where there is something to wait for. */
static prle_status event_wait(cudaEvent_t event)
{
    if (cudaEventQuery(event) == cudaErrorNotReady) {
        (void)cudaGetLastError(); /* that was no error */
        PRLE_CUDA(cudaEventSynchronize(event));
    }
    return PRLE_OK;
}

/* The next staging buffer, when the copy that last used it is done. */
static prle_status stage_take(stage **out)
{
    stage *s = &gpu.stages[gpu.next];

    gpu.next = (gpu.next + 1) % N_STAGES;
    PRLE_TRY(event_wait(s->done));
    *out = s;
    return PRLE_OK;
}

static size_t chunk(size_t n_bytes, size_t at) { return n_bytes - at < STAGE_BYTES ? n_bytes - at : STAGE_BYTES; }

static prle_status cuda_copy_in(void *to_device, const void *from_host, size_t n_bytes)
{
    for (size_t at = 0; at < n_bytes; at += STAGE_BYTES) {
        const size_t n = chunk(n_bytes, at);
        stage *s = NULL;

        PRLE_TRY(stage_take(&s));
        memcpy(s->bytes, (const char *)from_host + at, n);
        PRLE_CUDA(cudaMemcpyAsync((char *)to_device + at, s->bytes, n, cudaMemcpyHostToDevice, gpu.pub.compute));
        PRLE_CUDA(cudaEventRecord(s->done, gpu.pub.compute));
    }
    return PRLE_OK;
}

/* Host memory is written while the next chunk is on its way. */
static prle_status cuda_copy_out(void *to_host, const void *from_device, size_t n_bytes)
{
    stage *before = NULL, *s = NULL;

    for (size_t at = 0; at < n_bytes + STAGE_BYTES; at += STAGE_BYTES, before = s) {
        if (at < n_bytes) {
            PRLE_TRY(stage_take(&s));
            PRLE_CUDA(cudaMemcpyAsync(s->bytes, (const char *)from_device + at, chunk(n_bytes, at), cudaMemcpyDeviceToHost,
                                      gpu.pub.compute));
            PRLE_CUDA(cudaEventRecord(s->done, gpu.pub.compute));
        }
        if (before == NULL)
            continue;
        PRLE_TRY(event_wait(before->done));
        memcpy((char *)to_host + at - STAGE_BYTES, before->bytes, chunk(n_bytes, at - STAGE_BYTES));
    }
    return PRLE_OK;
}

static prle_status cuda_wait(void)
{
    PRLE_CUDA(cudaStreamSynchronize(gpu.pub.compute));
    return PRLE_OK;
}

static prle_status cuda_scale(void *values, int64_t n, prle_dtype dtype, double factor)
{
    PRLE_CHECK(dtype == PRLE_F32, PRLE_ENOTSUP, "%s: numbers in %s", device.name, prle_dtype_name(dtype));
    PRLE_CUDA(prle_scale_cuda(values, n, (float)factor, gpu.pub.compute));
    return PRLE_OK;
}

static prle_status cuda_fold(const prle_fold_args *args)
{
    PRLE_CHECK(args->dtype == PRLE_F32, PRLE_ENOTSUP, "%s: weights in %s", device.name, prle_dtype_name(args->dtype));
    PRLE_CUDA(prle_fold_cuda(args, gpu.pub.compute));
    return PRLE_OK;
}

/* Only the samples there are. */
static prle_status cuda_run_info(const prle_op_run_info *info, int64_t batch)
{
    prle_cuda_run *run = &gpu.run_staged;

    PRLE_CHECK(batch <= PRLE_CUDA_MAX_BATCH, PRLE_ENOTSUP, "a batch of %lld on one GPU: at most %d", (long long)batch,
               PRLE_CUDA_MAX_BATCH);
    run->n_valid = info->n_valid;
    run->seed = info->seed;
    run->epoch = info->epoch;
    for (int64_t i = 0; i < batch; i++)
        run->samples[i] = info->samples != NULL && i < info->n_valid ? info->samples[i] : (uint64_t)i;
    return cuda_copy_in(gpu.run, run, offsetof(prle_cuda_run, samples) + (size_t)batch * sizeof *run->samples);
}

static bool has_bf16(void) { return true; }

extern const struct prle_learn_ops prle_cuda_learn; /* nets/learn_cuda.c */

static const prle_device device = {.name = "cuda",
                                   .impls = prle_cuda_impls,
                                   .has_bf16 = has_bf16,
                                   .alloc = cuda_alloc,
                                   .free = cuda_free,
                                   .zero = cuda_zero,
                                   .copy_in = cuda_copy_in,
                                   .copy_out = cuda_copy_out,
                                   .wait = cuda_wait,
                                   .run_info = cuda_run_info,
                                   .fold = cuda_fold,
                                   .scale = cuda_scale,
                                   .steps_ahead = 8,
                                   .learn = &prle_cuda_learn};

const prle_device *prle_cuda_device(void) { return &device; }

/* ---- opening ---- */

/* One line for each thing that may be missing. */
static prle_status device_find(int ordinal)
{
    int n = 0, driver = 0, runtime = 0;
    const cudaError_t error = cudaGetDeviceCount(&n);

    (void)cudaGetLastError();
    PRLE_CUDA(cudaDriverGetVersion(&driver));
    PRLE_CUDA(cudaRuntimeGetVersion(&runtime));
    PRLE_CHECK(error != cudaErrorInsufficientDriver, PRLE_ENOTSUP,
               "the NVIDIA driver serves CUDA %d.%d, this build needs CUDA %d.%d: install a newer driver", driver / 1000,
               driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    PRLE_CHECK(error != cudaErrorNoDevice, PRLE_ENOTSUP,
               "there is an NVIDIA driver, but no GPU that this process may use (CUDA_VISIBLE_DEVICES?)");
    PRLE_CUDA(error);
    PRLE_CHECK(ordinal < n, PRLE_EINVAL, "rank %d of this machine has no GPU: %d GPUs are here; start at most one rank for each",
               ordinal, n);
    return PRLE_OK;
}

static prle_status properties_read(int ordinal)
{
    prle_cuda *p = &gpu.pub;
    struct cudaDeviceProp properties;
    const char *tf32 = getenv("PRLE_TF32");

    PRLE_CUDA(cudaSetDevice(ordinal));
    PRLE_CUDA(cudaGetDeviceProperties(&properties, ordinal));
    PRLE_CUDA(cudaDeviceGetPCIBusId(p->bus, sizeof p->bus, ordinal));
    memcpy(p->name, properties.name, sizeof p->name);
    p->device = ordinal;
    p->n_sm = properties.multiProcessorCount;
    p->arch = 10 * properties.major + properties.minor;
    p->deterministic = true;
    p->tf32 = tf32 == NULL || strcmp(tf32, "0") != 0;
    PRLE_CHECK(p->arch >= 80, PRLE_ENOTSUP, "%s is of compute capability %d.%d; 8.0 is the least this build serves", p->name,
               properties.major, properties.minor);
    return PRLE_OK;
}

static prle_status parts_make(void)
{
    prle_cuda *p = &gpu.pub;
    int least = 0, greatest = 0;

    PRLE_CUDA(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    PRLE_CUDA(cudaStreamCreateWithPriority(&p->compute, cudaStreamNonBlocking, least));
    PRLE_CUDA(cudaStreamCreateWithPriority(&p->copy, cudaStreamNonBlocking, least));
    PRLE_CUDA(cudaStreamCreateWithPriority(&p->comm, cudaStreamNonBlocking, greatest)); /* short kernels that others wait for */
    for (int i = 0; i < N_STAGES; i++) {
        PRLE_CUDA(cudaHostAlloc((void **)&gpu.stages[i].bytes, STAGE_BYTES, cudaHostAllocDefault));
        PRLE_CUDA(cudaEventCreateWithFlags(&gpu.stages[i].done, cudaEventDisableTiming));
    }
    PRLE_CUDA(cudaMalloc((void **)&gpu.run, sizeof *gpu.run));
    PRLE_CUDA(cudaMemsetAsync(gpu.run, 0, sizeof *gpu.run, p->compute));
    p->run = gpu.run;
    PRLE_CUDA(cudaMalloc(&gpu.blas_workspace, BLAS_WORKSPACE_BYTES));
    PRLE_TRY(prle_cudnn_create(&p->dnn, p->compute));
    return prle_cublas_create(&p->blas, p->compute, p->tf32, gpu.blas_workspace, BLAS_WORKSPACE_BYTES);
}

prle_status prle_cuda_open(int ordinal)
{
    PRLE_CHECK(!gpu.is_open, PRLE_EINVAL, "GPU %d is open already", gpu.pub.device);
    PRLE_TRY(device_find(ordinal));
    gpu.is_open = true; /* from here on there is something to close */
    prle_status st = properties_read(ordinal);
    if (st == PRLE_OK)
        st = parts_make();
    if (st != PRLE_OK)
        prle_cuda_close();
    return st;
}

static void stream_destroy(cudaStream_t stream)
{
    if (stream == NULL)
        return;
    (void)cudaStreamSynchronize(stream);
    (void)cudaStreamDestroy(stream);
}

void prle_cuda_close(void)
{
    if (!gpu.is_open)
        return;
    prle_cublas_destroy(gpu.pub.blas);
    prle_cudnn_destroy(gpu.pub.dnn);
    stream_destroy(gpu.pub.compute);
    stream_destroy(gpu.pub.copy);
    stream_destroy(gpu.pub.comm);
    for (int i = 0; i < N_STAGES; i++) {
        if (gpu.stages[i].done != NULL)
            (void)cudaEventDestroy(gpu.stages[i].done);
        (void)cudaFreeHost(gpu.stages[i].bytes);
    }
    (void)cudaFree(gpu.run);
    (void)cudaFree(gpu.blas_workspace);
    memset(&gpu, 0, sizeof gpu);
}
