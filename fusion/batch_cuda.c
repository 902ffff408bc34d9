/* batch_cuda.c - see batch.h: a GPU fuses a stretch of images in one launch per step, while the next ones are read and the last
 * ones copied out. Native maps go up; ranks, areas and 8-bit maps come down; maps at full size stay there. */
#include <string.h>

#include "core/alloc.h"
#include "core/attention_cuda.h"
#include "core/device/device_cuda.h"
#include "core/rankmap_cuda.h"
#include "fusion/batch.h"
#include "fusion/fuse_cuda.h"

enum { STRETCH = 16, SLOTS = 2, ALIGNMENT = 256 };

/* What a stretch has of its own, so that two may be under way. */
typedef struct slot {
    float *up;            /* pinned: native maps on their way, member after member, [STRETCH,h,w] each */
    cudaEvent_t uploaded; /* `up` is free */
    uint16_t *rank;       /* device [STRETCH,H,W], until copied out */
    uint8_t *attention;   /* device [STRETCH,H,W] */
    uint32_t *area;       /* device [STRETCH] */
    cudaEvent_t computed, copied;
} slot;

/* As prle_fuse_result. */
typedef struct result {
    void *pinned;       /* what the others point into; of its own, so that it is read while the other result is copied to */
    uint16_t *rank;     /* [max_images,H,W] */
    uint8_t *attention; /* [max_images,H,W] */
    uint32_t *area;     /* [max_images] */
} result;

typedef struct batch {
    prle_fuse_batch_desc desc;
    prle_fuse_limits limits;
    const prle_cuda *cuda;
    prle_fuse_native size[PRLE_FUSE_MAX_MAPS];
    int64_t offset[PRLE_FUSE_MAX_MAPS + 1]; /* of each member's values among all of one image; the last: how many */
    slot slots[SLOTS];
    int turn;
    float *maps;       /* what was put, stretch after stretch, each as `up` */
    void *device;      /* what the pointers below and those of slots to the device point into */
    float *native;     /* device: a stretch, as `up` */
    uint16_t *q;       /* device [STRETCH,T,H,W] */
    uint32_t *value;   /* device [STRETCH,H,W] */
    uint32_t *scratch; /* device [STRETCH,H,W] */
    result results[2]; /* of units in turn */
    int unit;          /* 0 or 1: whose turn it is */
} batch;

/* ---- memory ---- */

/* A block that is shared out: with base NULL only measured. */
typedef struct block {
    char *base;
    size_t used;
} block;

static void *share(block *of, int64_t count, size_t size)
{
    const size_t at = of->used;

    of->used += ((size_t)count * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return of->base != NULL ? of->base + at : NULL;
}

static int64_t stretch_values(const batch *b) { return STRETCH * b->offset[b->desc.T]; }

static void device_share(batch *b, block *of)
{
    const int64_t all = STRETCH * b->desc.H * b->desc.W;

    b->native = share(of, stretch_values(b), sizeof *b->native);
    b->q = share(of, all * b->desc.T, sizeof *b->q);
    b->value = share(of, all, sizeof *b->value);
    b->scratch = share(of, all, sizeof *b->scratch);
    for (int k = 0; k < SLOTS; k++) {
        b->slots[k].rank = share(of, all, sizeof *b->slots[k].rank);
        b->slots[k].attention = share(of, all, sizeof *b->slots[k].attention);
        b->slots[k].area = share(of, STRETCH, sizeof *b->slots[k].area);
    }
}

static void result_share(const batch *b, result *r, block *of)
{
    const int64_t all = b->desc.max_images * b->desc.H * b->desc.W;

    r->rank = share(of, all, sizeof *r->rank);
    r->attention = share(of, all, sizeof *r->attention);
    r->area = share(of, b->desc.max_images, sizeof *r->area);
}

static prle_status result_make(const batch *b, result *r)
{
    block pinned = {0};

    result_share(b, r, &pinned);
    PRLE_CUDA(cudaHostAlloc(&r->pinned, pinned.used, cudaHostAllocDefault));
    result_share(b, r, &(block){.base = r->pinned});
    return PRLE_OK;
}

static prle_status slot_make(slot *s, int64_t n_values)
{
    PRLE_CUDA(cudaHostAlloc((void **)&s->up, (size_t)n_values * sizeof *s->up, cudaHostAllocDefault));
    PRLE_CUDA(cudaEventCreateWithFlags(&s->uploaded, cudaEventDisableTiming));
    PRLE_CUDA(cudaEventCreateWithFlags(&s->computed, cudaEventDisableTiming));
    PRLE_CUDA(cudaEventCreateWithFlags(&s->copied, cudaEventDisableTiming));
    return PRLE_OK;
}

static prle_status memory_make(batch *b)
{
    const int64_t stretches = (b->desc.max_images + STRETCH - 1) / STRETCH;
    block device = {0};

    PRLE_TRY(PRLE_NEW(b->maps, stretches * stretch_values(b)));
    device_share(b, &device);
    PRLE_TRY(prle_cuda_device()->alloc(device.used, &b->device));
    device_share(b, &(block){.base = b->device});
    for (int k = 0; k < 2; k++)
        PRLE_TRY(result_make(b, &b->results[k]));
    for (int k = 0; k < SLOTS; k++)
        PRLE_TRY(slot_make(&b->slots[k], stretch_values(b)));
    return PRLE_OK;
}

/* ---- the batch ---- */

static void slot_destroy(slot *s)
{
    (void)cudaFreeHost(s->up);
    if (s->uploaded != NULL)
        (void)cudaEventDestroy(s->uploaded);
    if (s->computed != NULL)
        (void)cudaEventDestroy(s->computed);
    if (s->copied != NULL)
        (void)cudaEventDestroy(s->copied);
}

static void batch_destroy(void *of)
{
    batch *b = of;

    if (b == NULL)
        return;
    (void)cudaStreamSynchronize(b->cuda->compute); /* after an error work may be left */
    (void)cudaStreamSynchronize(b->cuda->copy);
    for (int k = 0; k < SLOTS; k++)
        slot_destroy(&b->slots[k]);
    prle_cuda_device()->free(b->device);
    for (int k = 0; k < 2; k++)
        (void)cudaFreeHost(b->results[k].pinned);
    prle_free(b->maps);
    prle_free(b);
}

static prle_status batch_create(void **out, const prle_fuse_batch_desc *desc)
{
    prle_status st = PRLE_OK;
    const prle_cuda *cuda = NULL;
    prle_fuse_limits limits;
    batch *b = NULL;

    PRLE_TRY(prle_cuda_get(&cuda));
    PRLE_TRY(prle_fuse_limits_make(&limits, &desc->opts, desc->T, desc->H, desc->W));
    PRLE_TRY(PRLE_NEW(b, 1));
    b->desc = *desc;
    b->limits = limits;
    b->cuda = cuda;
    for (int t = 0; t < desc->T; t++) {
        b->size[t] = desc->native[t];
        b->offset[t + 1] = b->offset[t] + desc->native[t].height * desc->native[t].width;
    }
    PRLE_TRY_OUT(memory_make(b));
    *out = b;
    b = NULL;
out:
    batch_destroy(b);
    return st;
}

static prle_status batch_put(void *of, int thread, int64_t i, const float *const *native)
{
    const batch *b = of;

    (void)thread;
    for (int t = 0; t < b->desc.T; t++) {
        const int64_t size = b->offset[t + 1] - b->offset[t];
        memcpy(b->maps + i / STRETCH * stretch_values(b) + STRETCH * b->offset[t] + i % STRETCH * size, native[t],
               (size_t)size * sizeof(float));
    }
    return PRLE_OK;
}

/* A stretch's maps onto their way; what was never put (of a short stretch) is zero. */
static prle_status upload(const batch *b, const slot *s, int64_t first)
{
    const size_t n_bytes = (size_t)stretch_values(b) * sizeof(float);

    PRLE_TRY(prle_cuda_wait_event(s->uploaded));
    memcpy(s->up, b->maps + first / STRETCH * stretch_values(b), n_bytes);
    PRLE_CUDA(cudaMemcpyAsync(b->native, s->up, n_bytes, cudaMemcpyHostToDevice, b->cuda->compute));
    PRLE_CUDA(cudaEventRecord(s->uploaded, b->cuda->compute));
    return PRLE_OK;
}

/* A stretch's native maps to ranks and areas, on the compute stream. */
static prle_status fuse(const batch *b, const slot *s, int64_t n)
{
    const int T = b->desc.T;
    const int64_t H = b->desc.H, W = b->desc.W;
    const cudaStream_t stream = b->cuda->compute;

    for (int t = 0; t < T; t++)
        PRLE_CUDA(prle_attention_quantise_cuda(b->native + STRETCH * b->offset[t], n, b->size[t].height, b->size[t].width, H, W,
                                               b->q + t * H * W, T * H * W, stream));
    PRLE_CUDA(prle_fuse_cuda(&b->desc.opts, &b->limits, b->q, n, T, H, W, b->value, s->attention, stream));
    PRLE_CUDA(
        prle_rank_from_values_cuda(b->value, n, H * W, (uint32_t)(PRLE_ATTENTION_ONE * T), b->scratch, s->rank, s->area, stream));
    return PRLE_OK;
}

static prle_status copy_out(const batch *b, const slot *s, int64_t first, int64_t n)
{
    const int64_t pixels = b->desc.H * b->desc.W;
    const result *to = &b->results[b->unit];
    const cudaStream_t stream = b->cuda->copy;

    PRLE_CUDA(cudaMemcpyAsync(to->rank + first * pixels, s->rank, (size_t)(n * pixels) * sizeof *s->rank, cudaMemcpyDeviceToHost,
                              stream));
    PRLE_CUDA(
        cudaMemcpyAsync(to->attention + first * pixels, s->attention, (size_t)(n * pixels), cudaMemcpyDeviceToHost, stream));
    PRLE_CUDA(cudaMemcpyAsync(to->area + first, s->area, (size_t)n * sizeof *s->area, cudaMemcpyDeviceToHost, stream));
    return PRLE_OK;
}

static prle_status batch_submit(void *of, int64_t first, int64_t n)
{
    batch *b = of;
    slot *s = &b->slots[b->turn];

    PRLE_CHECK(first % STRETCH == 0 && n >= 1 && n <= STRETCH, PRLE_EINVAL, "%lld images from %lld: give %d at a time",
               (long long)n, (long long)first, STRETCH);
    b->turn = (b->turn + 1) % SLOTS;
    PRLE_TRY(upload(b, s, first));
    PRLE_CUDA(cudaStreamWaitEvent(b->cuda->compute, s->copied, 0));
    PRLE_TRY(fuse(b, s, n));
    PRLE_CUDA(cudaEventRecord(s->computed, b->cuda->compute));
    PRLE_CUDA(cudaStreamWaitEvent(b->cuda->copy, s->computed, 0));
    PRLE_TRY(copy_out(b, s, first, n));
    PRLE_CUDA(cudaEventRecord(s->copied, b->cuda->copy));
    return PRLE_OK;
}

static prle_status batch_wait(void *of, prle_fuse_result *out)
{
    batch *b = of;
    const result *r = &b->results[b->unit];

    for (int k = 0; k < SLOTS; k++)
        PRLE_TRY(prle_cuda_wait_event(b->slots[k].copied));
    *out = (prle_fuse_result){.rank = r->rank, .attention = r->attention, .area = r->area};
    b->unit = 1 - b->unit;
    return PRLE_OK;
}

const struct prle_fuse_batch_ops prle_cuda_fuse_batch = {.stretch = STRETCH,
                                                         .create = batch_create,
                                                         .destroy = batch_destroy,
                                                         .put = batch_put,
                                                         .submit = batch_submit,
                                                         .wait = batch_wait};
