/* learn_cuda.c - prle_device.learn of the GPU: buffers of a training step, and its kernels in order. */
#include <string.h>

#include "core/alloc.h"
#include "core/device/device_cuda.h"
#include "nets/learn_cuda.h"

extern const prle_learn_ops prle_cuda_learn; /* core/device/device_cuda.c names it */

/* Everything but `pinned` and `results` is the GPU's. */
typedef struct learn_state {
    const prle_cuda *cuda;
    learn_setup setup; /* chunks: the GPU's copy */
    learn_chunk *chunks;
    learn_given *given;
    prle_learn_out *out; /* [n_slots] */
    double *parts;
    learn_verdict *verdict;
    learn_given **pinned;    /* [n_slots] each its own: a slot's copy is over when its result has been read */
    prle_learn_out *results; /* [n_slots] */
} learn_state;

static size_t given_bytes(const learn_setup *s) { return sizeof(learn_given) + (size_t)s->max_batch * (sizeof(double) + 1); }

static void state_destroy(void *state)
{
    const prle_device *device = prle_cuda_device();
    learn_state *s = state;

    if (s == NULL)
        return;
    device->free(s->chunks);
    device->free(s->given);
    device->free(s->out);
    device->free(s->parts);
    device->free(s->verdict);
    for (int i = 0; i < s->setup.n_slots && s->pinned != NULL; i++)
        (void)cudaFreeHost(s->pinned[i]);
    prle_free(s->pinned);
    (void)cudaFreeHost(s->results);
    prle_free(s);
}

static prle_status buffers_make(learn_state *s)
{
    const prle_device *device = prle_cuda_device();
    const learn_setup *setup = &s->setup;
    const size_t chunks_bytes = (size_t)setup->n_chunks * sizeof *s->chunks;
    const size_t n_parts = (size_t)((setup->n_weights + LEARN_NORM_CHUNK - 1) / LEARN_NORM_CHUNK);

    PRLE_TRY(device->alloc(chunks_bytes, (void **)&s->chunks));
    PRLE_TRY(device->copy_in(s->chunks, setup->chunks, chunks_bytes));
    PRLE_TRY(device->alloc(given_bytes(setup), (void **)&s->given));
    PRLE_TRY(device->alloc((size_t)setup->n_slots * sizeof *s->out, (void **)&s->out));
    PRLE_TRY(device->zero(s->out, (size_t)setup->n_slots * sizeof *s->out));
    PRLE_TRY(device->alloc(n_parts * sizeof *s->parts, (void **)&s->parts));
    PRLE_TRY(device->alloc(sizeof *s->verdict, (void **)&s->verdict));
    PRLE_TRY(device->zero(s->verdict, sizeof *s->verdict));
    PRLE_TRY(PRLE_NEW(s->pinned, setup->n_slots));
    for (int i = 0; i < setup->n_slots; i++)
        PRLE_CUDA(cudaHostAlloc((void **)&s->pinned[i], given_bytes(setup), cudaHostAllocDefault));
    PRLE_CUDA(cudaHostAlloc((void **)&s->results, (size_t)setup->n_slots * sizeof *s->results, cudaHostAllocDefault));
    return PRLE_OK;
}

static prle_status create(void **state, const learn_setup *setup)
{
    learn_state *s = NULL;

    PRLE_TRY(PRLE_NEW(s, 1));
    s->setup = *setup;
    prle_status st = prle_cuda_get(&s->cuda);
    if (st == PRLE_OK)
        st = buffers_make(s);
    if (st != PRLE_OK) {
        state_destroy(s);
        return st;
    }
    *state = s;
    return PRLE_OK;
}

static prle_status begin(void *state, const learn_step *step, const uint8_t *labels, const double *weights)
{
    learn_state *s = state;
    learn_given *given = s->pinned[step->slot];

    given->step = *step;
    if (step->n > 0) {
        memcpy(given->values, weights, (size_t)step->n * sizeof *weights);
        memcpy(given->values + s->setup.max_batch, labels, (size_t)step->n);
    }
    PRLE_CUDA(cudaMemcpyAsync(s->given, given, given_bytes(&s->setup), cudaMemcpyHostToDevice, s->cuda->compute));
    return PRLE_OK;
}

static prle_status seed(void *state, const float *logits, float *dlogits, int64_t plan_batch)
{
    const learn_state *s = state;

    PRLE_CUDA(prle_learn_seed_cuda(s->given, logits, dlogits, s->out, s->setup.max_batch, plan_batch, s->setup.classes,
                                   s->cuda->compute));
    return PRLE_OK;
}

static prle_status update(void *state)
{
    const learn_state *s = state;
    const learn_setup *u = &s->setup;

    PRLE_CUDA(
        prle_learn_norm_cuda(s->given, u->grads, u->n_weights, s->parts, u->clip_norm, s->out, s->verdict, s->cuda->compute));
    PRLE_CUDA(prle_learn_update_cuda(u->kind, s->given, s->verdict, s->chunks, u->n_chunks, u->weights, u->grads, u->m, u->v,
                                     s->cuda->compute));
    return PRLE_OK;
}

static prle_status results(void *state, prle_learn_out *out)
{
    const learn_state *s = state;
    const size_t n_bytes = (size_t)s->setup.n_slots * sizeof *out;

    PRLE_CUDA(cudaMemcpyAsync(s->results, s->out, n_bytes, cudaMemcpyDeviceToHost, s->cuda->compute));
    PRLE_TRY(prle_device_wait(prle_cuda_device()));
    memcpy(out, s->results, n_bytes);
    return PRLE_OK;
}

const prle_learn_ops prle_cuda_learn = {
    .create = create, .destroy = state_destroy, .begin = begin, .seed = seed, .update = update, .results = results};
