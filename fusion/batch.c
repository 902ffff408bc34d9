/* batch.c - see batch.h: on the processor every thread fuses the images it puts. */
#include "fusion/batch.h"

#include "core/alloc.h"
#include "core/attention.h"

enum { STRETCH = 64 };

/* What one thread needs for one image. */
typedef struct worker {
    prle_fuser *fuser;
    uint16_t *q; /* [T,H,W] */
} worker;

typedef struct batch {
    prle_fuse_batch_desc desc;
    prle_fuse_native *native; /* [T] */
    worker *workers;          /* [threads] */
    uint16_t *rank;           /* [max_images,H,W] */
    uint8_t *attention;       /* [max_images,H,W] */
    uint32_t *area;           /* [max_images] */
} batch;

static void batch_destroy(void *of)
{
    batch *b = of;

    if (b == NULL)
        return;
    for (int i = 0; b->workers != NULL && i < b->desc.threads; i++) {
        prle_fuser_destroy(b->workers[i].fuser);
        prle_free(b->workers[i].q);
    }
    prle_free(b->workers);
    prle_free(b->native);
    prle_free(b->rank);
    prle_free(b->attention);
    prle_free(b->area);
    prle_free(b);
}

static prle_status batch_create(void **out, const prle_fuse_batch_desc *desc)
{
    const int64_t pixels = desc->H * desc->W;
    prle_status st = PRLE_OK;
    batch *b = NULL;

    PRLE_TRY(PRLE_NEW(b, 1));
    b->desc = *desc;
    PRLE_TRY_OUT(PRLE_NEW(b->native, desc->T));
    for (int t = 0; t < desc->T; t++)
        b->native[t] = desc->native[t];
    PRLE_TRY_OUT(PRLE_NEW(b->workers, desc->threads));
    for (int i = 0; i < desc->threads; i++) {
        PRLE_TRY_OUT(prle_fuser_create(&desc->opts, desc->T, desc->H, desc->W, &b->workers[i].fuser));
        PRLE_TRY_OUT(PRLE_NEW(b->workers[i].q, desc->T * pixels));
    }
    PRLE_TRY_OUT(PRLE_NEW(b->rank, desc->max_images * pixels));
    PRLE_TRY_OUT(PRLE_NEW(b->attention, desc->max_images * pixels));
    PRLE_TRY_OUT(PRLE_NEW(b->area, desc->max_images));
    *out = b;
    b = NULL;
out:
    batch_destroy(b);
    return st;
}

static prle_status batch_put(void *of, int thread, int64_t i, const float *const *native)
{
    batch *b = of;
    const worker *w = &b->workers[thread];
    const int64_t H = b->desc.H, W = b->desc.W;

    for (int t = 0; t < b->desc.T; t++)
        PRLE_TRY(prle_attention_quantise(native[t], b->native[t].height, b->native[t].width, H, W, w->q + t * H * W));
    return prle_fuser_run(w->fuser, w->q, b->rank + i * H * W, b->attention + i * H * W, &b->area[i]);
}

static prle_status batch_submit(void *of, int64_t first, int64_t n)
{
    (void)of, (void)first, (void)n; /* done as they were put */
    return PRLE_OK;
}

static prle_status batch_wait(void *of, prle_fuse_result *out)
{
    const batch *b = of;

    *out = (prle_fuse_result){.rank = b->rank, .attention = b->attention, .area = b->area};
    return PRLE_OK;
}

static const prle_fuse_batch_ops processor = {.stretch = STRETCH,
                                              .create = batch_create,
                                              .destroy = batch_destroy,
                                              .put = batch_put,
                                              .submit = batch_submit,
                                              .wait = batch_wait};

const prle_fuse_batch_ops *prle_fuse_batch_ops_of(const prle_device *device)
{
    return device->fuse != NULL ? device->fuse : &processor;
}
