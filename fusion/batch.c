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

/* As prle_fuse_result. */
typedef struct result {
    uint16_t *rank;     /* [max_images,H,W] */
    uint8_t *attention; /* [max_images,H,W] */
    uint32_t *area;     /* [max_images] */
} result;

typedef struct batch {
    prle_fuse_batch_desc desc;
    prle_fuse_native *native; /* [T] */
    worker *workers;          /* [threads] */
    result results[2];        /* of units in turn */
    int turn;
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
    for (int k = 0; k < 2; k++) {
        prle_free(b->results[k].rank);
        prle_free(b->results[k].attention);
        prle_free(b->results[k].area);
    }
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
    for (int k = 0; k < 2; k++) {
        PRLE_TRY_OUT(PRLE_NEW(b->results[k].rank, desc->max_images * pixels));
        PRLE_TRY_OUT(PRLE_NEW(b->results[k].attention, desc->max_images * pixels));
        PRLE_TRY_OUT(PRLE_NEW(b->results[k].area, desc->max_images));
    }
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
    const result *r = &b->results[b->turn];
    const int64_t H = b->desc.H, W = b->desc.W;

    for (int t = 0; t < b->desc.T; t++)
        PRLE_TRY(prle_attention_quantise(native[t], b->native[t].height, b->native[t].width, H, W, w->q + t * H * W));
    return prle_fuser_run(w->fuser, w->q, r->rank + i * H * W, r->attention + i * H * W, &r->area[i]);
}

static prle_status batch_submit(void *of, int64_t first, int64_t n)
{
    (void)of, (void)first, (void)n; /* done as they were put */
    return PRLE_OK;
}

static prle_status batch_wait(void *of, prle_fuse_result *out)
{
    batch *b = of;
    const result *r = &b->results[b->turn];

    *out = (prle_fuse_result){.rank = r->rank, .attention = r->attention, .area = r->area};
    b->turn = 1 - b->turn;
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
