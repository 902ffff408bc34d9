/* device_cuda.c - one GPU: opening it, its memory, copies through pinned staging, the table of functions. */
#include "core/device/device_cuda.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/device/flat_cuda.h"
#include "core/log.h"
#include "core/op/fold_cuda.h"

enum { BLAS_WORKSPACE_BYTES = 32 << 20 /* what NVIDIA advises for Hopper */, STEPS_AHEAD = 8, N_FED = 2 };

/* Pinned host memory that bytes pass through, so that no copy is pageable and the caller's memory is free at once. */
typedef struct stage {
    void *bytes;
    cudaEvent_t done; /* the copy that used it last is */
} stage;

enum { MAX_STAGES = STEPS_AHEAD, BULK_STAGES = 2, BULK_BYTES = 4 << 20 };

/* Stages that are used in turn. */
typedef struct ring {
    int n, next;
    size_t n_bytes; /* of each */
    stage stages[MAX_STAGES];
} ring;

/* A batch on its way: copied here beside what computes, then to its place when that is free. */
typedef struct fed {
    void *bytes;
    cudaEvent_t filled, emptied;
} fed;

static struct {
    prle_cuda pub;
    bool is_open;
    ring bulk, info, batches; /* copies of any size; prle_cuda_run; what is fed: a stage for each step that may be queued */
    fed fed[N_FED];
    int next_fed;
    fed *ahead; /* holds, or will, ahead_bytes of what is at ahead_from; NULL: no batch was begun ahead */
    const void *ahead_from;
    size_t ahead_bytes;
    cudaEvent_t all_done;                 /* what cuda_wait waits for */
    prle_status (*poll)(double waited_s); /* prle_cuda_poll_set */
    void *blas_workspace;
    prle_cuda_run *run;
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

void prle_cuda_poll_set(prle_status (*poll)(double waited_s)) { gpu.poll = poll; }

/* Waits only where there is something to wait for. */
prle_status prle_cuda_wait_event(cudaEvent_t event)
{
    const double begin_s = gpu.poll != NULL ? prle_clock_s() : 0;

    while (cudaEventQuery(event) == cudaErrorNotReady) {
        (void)cudaGetLastError(); /* that was no error */
        if (gpu.poll == NULL)
            PRLE_CUDA(cudaEventSynchronize(event));
        else
            PRLE_TRY(gpu.poll(prle_clock_s() - begin_s));
    }
    PRLE_CUDA(cudaEventQuery(event));
    return PRLE_OK;
}

static prle_status cuda_wait(void)
{
    PRLE_CUDA(cudaEventRecord(gpu.all_done, gpu.pub.compute));
    return prle_cuda_wait_event(gpu.all_done);
}

static prle_status ring_init(ring *r, int n, size_t n_bytes)
{
    *r = (ring){.n = n, .n_bytes = n_bytes};
    for (int i = 0; i < n; i++) {
        PRLE_CUDA(cudaHostAlloc(&r->stages[i].bytes, n_bytes, cudaHostAllocDefault));
        PRLE_CUDA(cudaEventCreateWithFlags(&r->stages[i].done, cudaEventDisableTiming));
    }
    return PRLE_OK;
}

static void ring_deinit(ring *r)
{
    for (int i = 0; i < r->n; i++) {
        if (r->stages[i].done != NULL)
            (void)cudaEventDestroy(r->stages[i].done);
        (void)cudaFreeHost(r->stages[i].bytes);
    }
    *r = (ring){.n = 0};
}

/* The next stage, when the copy that last used it is done. */
static prle_status ring_take(ring *r, stage **out)
{
    stage *s = &r->stages[r->next];

    r->next = (r->next + 1) % r->n;
    PRLE_TRY(prle_cuda_wait_event(s->done));
    *out = s;
    return PRLE_OK;
}

/* A full stage on its way. */
static prle_status stage_send(const stage *s, void *to_device, size_t n_bytes, cudaStream_t stream)
{
    PRLE_CUDA(cudaMemcpyAsync(to_device, s->bytes, n_bytes, cudaMemcpyHostToDevice, stream));
    PRLE_CUDA(cudaEventRecord(s->done, stream));
    return PRLE_OK;
}

static size_t chunk(size_t n_bytes, size_t at) { return n_bytes - at < BULK_BYTES ? n_bytes - at : BULK_BYTES; }

static prle_status cuda_copy_in(void *to_device, const void *from_host, size_t n_bytes)
{
    for (size_t at = 0; at < n_bytes; at += BULK_BYTES) {
        const size_t n = chunk(n_bytes, at);
        stage *s = NULL;

        PRLE_TRY(ring_take(&gpu.bulk, &s));
        memcpy(s->bytes, (const char *)from_host + at, n);
        PRLE_TRY(stage_send(s, (char *)to_device + at, n, gpu.pub.compute));
    }
    return PRLE_OK;
}

static void fed_deinit(void)
{
    gpu.ahead = NULL;
    for (int i = 0; i < N_FED; i++) {
        cuda_free(gpu.fed[i].bytes);
        if (gpu.fed[i].filled != NULL)
            (void)cudaEventDestroy(gpu.fed[i].filled);
        if (gpu.fed[i].emptied != NULL)
            (void)cudaEventDestroy(gpu.fed[i].emptied);
        gpu.fed[i] = (fed){.bytes = NULL};
    }
}

/* Room for batches of that size, when there is not enough yet. */
static prle_status fed_reserve(size_t n_bytes)
{
    if (n_bytes <= gpu.batches.n_bytes)
        return PRLE_OK;
    PRLE_TRY(cuda_wait());
    ring_deinit(&gpu.batches);
    fed_deinit();
    PRLE_TRY(ring_init(&gpu.batches, STEPS_AHEAD, n_bytes));
    for (int i = 0; i < N_FED; i++) {
        PRLE_TRY(cuda_alloc(n_bytes, &gpu.fed[i].bytes));
        PRLE_CUDA(cudaEventCreateWithFlags(&gpu.fed[i].filled, cudaEventDisableTiming));
        PRLE_CUDA(cudaEventCreateWithFlags(&gpu.fed[i].emptied, cudaEventDisableTiming));
    }
    return PRLE_OK;
}

/* memcpy by all threads: one alone moves a batch slower than a small network trains on it. */
static void copy_wide(char *to, const char *from, size_t n_bytes)
{
    const int64_t piece = 1 << 20, n = (int64_t)n_bytes;

#pragma omp parallel for if (n > 2 * piece)
    for (int64_t at = 0; at < n; at += piece)
        memcpy(to + at, from + at, (size_t)(n - at < piece ? n - at : piece));
}

/* Host to GPU on the copy stream, while earlier work computes. */
static prle_status upload(fed **out, const void *from_host, size_t n_bytes)
{
    stage *s = NULL;

    PRLE_TRY(fed_reserve(n_bytes));
    fed *f = &gpu.fed[gpu.next_fed];
    gpu.next_fed = (gpu.next_fed + 1) % N_FED;
    PRLE_TRY(ring_take(&gpu.batches, &s));
    copy_wide(s->bytes, from_host, n_bytes);
    PRLE_CUDA(cudaStreamWaitEvent(gpu.pub.copy, f->emptied, 0));
    PRLE_TRY(stage_send(s, f->bytes, n_bytes, gpu.pub.copy));
    PRLE_CUDA(cudaEventRecord(f->filled, gpu.pub.copy));
    *out = f;
    return PRLE_OK;
}

static prle_status cuda_feed_ahead(const void *from_host, size_t n_bytes)
{
    gpu.ahead = NULL;
    if (from_host == NULL || n_bytes == 0)
        return PRLE_OK;
    gpu.ahead_from = from_host;
    gpu.ahead_bytes = n_bytes;
    return upload(&gpu.ahead, from_host, n_bytes);
}

/* From where it was copied to, to its place among the computing. */
static prle_status cuda_feed(void *to_device, const void *from_host, size_t n_bytes)
{
    fed *f = gpu.ahead != NULL && gpu.ahead_from == from_host && gpu.ahead_bytes == n_bytes ? gpu.ahead : NULL;

    gpu.ahead = NULL;
    if (n_bytes == 0)
        return PRLE_OK;
    if (f == NULL)
        PRLE_TRY(upload(&f, from_host, n_bytes));
    PRLE_CUDA(cudaStreamWaitEvent(gpu.pub.compute, f->filled, 0));
    PRLE_CUDA(cudaMemcpyAsync(to_device, f->bytes, n_bytes, cudaMemcpyDeviceToDevice, gpu.pub.compute));
    PRLE_CUDA(cudaEventRecord(f->emptied, gpu.pub.compute));
    return PRLE_OK;
}

/* Host memory is written while the next chunk is on its way. */
static prle_status cuda_copy_out(void *to_host, const void *from_device, size_t n_bytes)
{
    stage *before = NULL, *s = NULL;

    for (size_t at = 0; at < n_bytes + BULK_BYTES; at += BULK_BYTES, before = s) {
        if (at < n_bytes) {
            PRLE_TRY(ring_take(&gpu.bulk, &s));
            PRLE_CUDA(cudaMemcpyAsync(s->bytes, (const char *)from_device + at, chunk(n_bytes, at), cudaMemcpyDeviceToHost,
                                      gpu.pub.compute));
            PRLE_CUDA(cudaEventRecord(s->done, gpu.pub.compute));
        }
        if (before == NULL)
            continue;
        PRLE_TRY(prle_cuda_wait_event(before->done));
        memcpy((char *)to_host + at - BULK_BYTES, before->bytes, chunk(n_bytes, at - BULK_BYTES));
    }
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
    stage *s = NULL;

    PRLE_CHECK(batch <= PRLE_CUDA_MAX_BATCH, PRLE_ENOTSUP, "a batch of %lld on one GPU: at most %d", (long long)batch,
               PRLE_CUDA_MAX_BATCH);
    PRLE_TRY(ring_take(&gpu.info, &s));
    prle_cuda_run *run = s->bytes;
    run->n_valid = info->n_valid;
    run->seed = info->seed;
    run->epoch = info->epoch;
    run->unused = 0;
    for (int64_t i = 0; i < batch; i++)
        run->samples[i] = info->samples != NULL && i < info->n_valid ? info->samples[i] : (uint64_t)i;
    return stage_send(s, gpu.run, offsetof(prle_cuda_run, samples) + (size_t)batch * sizeof *run->samples, gpu.pub.compute);
}

/* ---- capture ---- */

static prle_status cuda_capture(void **out, prle_status (*work)(void *ctx), void *ctx)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;

    PRLE_CUDA(cudaStreamBeginCapture(gpu.pub.compute, cudaStreamCaptureModeThreadLocal));
    prle_status st = work(ctx);
    if (st != PRLE_OK) { /* its message is the one to read */
        (void)cudaStreamEndCapture(gpu.pub.compute, &graph);
        (void)cudaGetLastError();
    } else {
        st = PRLE_CUDA_STATUS(cudaStreamEndCapture(gpu.pub.compute, &graph));
    }
    if (st == PRLE_OK)
        st = PRLE_CUDA_STATUS(cudaGraphGetNodes(graph, NULL, &gpu.pub.captured_nodes));
    if (st == PRLE_OK)
        st = PRLE_CUDA_STATUS(cudaGraphInstantiate(&exec, graph, 0));
    if (st == PRLE_OK)
        prle_log(PRLE_LOG_DEBUG, "device", "captured %zu kernels and copies", gpu.pub.captured_nodes);
    if (graph != NULL)
        (void)cudaGraphDestroy(graph);
    *out = exec;
    return st;
}

static prle_status cuda_replay(void *captured)
{
    PRLE_CUDA(cudaGraphLaunch(captured, gpu.pub.compute));
    return PRLE_OK;
}

static void cuda_capture_free(void *captured)
{
    if (captured != NULL && PRLE_CUDA_STATUS(cudaGraphExecDestroy(captured)) != PRLE_OK)
        prle_log(PRLE_LOG_ERROR, "device", "%s", prle_error_message());
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
                                   .feed = cuda_feed,
                                   .feed_ahead = cuda_feed_ahead,
                                   .capture = cuda_capture,
                                   .replay = cuda_replay,
                                   .capture_free = cuda_capture_free,
                                   .wait = cuda_wait,
                                   .run_info = cuda_run_info,
                                   .fold = cuda_fold,
                                   .scale = cuda_scale,
                                   .steps_ahead = STEPS_AHEAD,
                                   .learn = &prle_cuda_learn,
                                   .comm_create = prle_cuda_comm_create,
                                   .cam = &prle_cuda_cam_maps,
                                   .fuse = &prle_cuda_fuse_batch};

const prle_device *prle_cuda_device(void) { return &device; }

/* ---- opening ---- */

/* One line for each thing that may be missing. *ordinal: as asked for, then the one to take. */
static prle_status device_find(int *ordinal)
{
    int n = 0, driver = 0, runtime = 0;
    const cudaError_t error = cudaGetDeviceCount(&n);

    (void)cudaGetLastError();
    PRLE_CUDA(cudaDriverGetVersion(&driver));
    PRLE_CUDA(cudaRuntimeGetVersion(&runtime));
    PRLE_CHECK(driver > 0, PRLE_ENOTSUP, "there is no NVIDIA driver on this machine, or it does not work");
    PRLE_CHECK(error != cudaErrorInsufficientDriver, PRLE_ENOTSUP,
               "the NVIDIA driver serves CUDA %d.%d, this build needs CUDA %d.%d: install a newer driver", driver / 1000,
               driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    PRLE_CHECK(error != cudaErrorNoDevice, PRLE_ENOTSUP,
               "there is an NVIDIA driver, but no GPU that this process may use (CUDA_VISIBLE_DEVICES?)");
    PRLE_CUDA(error);
    if (n == 1 && getenv("CUDA_VISIBLE_DEVICES") != NULL)
        *ordinal = 0; /* a launcher that shows each rank a GPU of its own; should two share one, NCCL's start says so */
    PRLE_CHECK(*ordinal < n, PRLE_EINVAL, "rank %d of this machine has no GPU: %d GPUs are here; start at most one rank for each",
               *ordinal, n);
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
    PRLE_TRY(ring_init(&gpu.bulk, BULK_STAGES, BULK_BYTES));
    PRLE_TRY(ring_init(&gpu.info, STEPS_AHEAD, sizeof(prle_cuda_run)));
    PRLE_CUDA(cudaEventCreateWithFlags(&gpu.all_done, cudaEventDisableTiming));
    PRLE_CUDA(cudaMalloc((void **)&gpu.run, sizeof *gpu.run));
    PRLE_CUDA(cudaMemsetAsync(gpu.run, 0, sizeof *gpu.run, p->compute));
    p->run = gpu.run;
    PRLE_CUDA(cudaMalloc(&gpu.blas_workspace, BLAS_WORKSPACE_BYTES));
    PRLE_TRY(prle_cudnn_create(&p->dnn, p->compute));
    return prle_cublas_create(&p->blas, p->compute, p->tf32, gpu.blas_workspace, BLAS_WORKSPACE_BYTES);
}

prle_status prle_cuda_open(int ordinal, bool deterministic)
{
    PRLE_CHECK(!gpu.is_open, PRLE_EINVAL, "GPU %d is open already", gpu.pub.device);
    PRLE_TRY(device_find(&ordinal));
    gpu.is_open = true; /* from here on there is something to close */
    gpu.pub.deterministic = deterministic;
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
    ring_deinit(&gpu.bulk);
    ring_deinit(&gpu.info);
    ring_deinit(&gpu.batches);
    fed_deinit();
    (void)cudaFree(gpu.run);
    if (gpu.all_done != NULL)
        (void)cudaEventDestroy(gpu.all_done);
    (void)cudaFree(gpu.blas_workspace);
    memset(&gpu, 0, sizeof gpu);
}
