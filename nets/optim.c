/* optim.c - see optim.h: walks the segments in chunks, which threads share. */
#include "nets/optim.h"

#include <math.h>

#include "core/alloc.h"
#include "nets/optim_ref.h"

enum { CHUNK = 1 << 16 }; /* elements: fixed, so that the order of sums does not depend on threads */

prle_status prle_optim_create(prle_optim **out, const prle_model *model, const prle_optim_opts *opts)
{
    prle_status st = PRLE_OK;
    prle_optim *optim = NULL;
    const prle_device *device = model->device;
    const size_t n = (size_t)model->graph->n_weights, size = prle_dtype_bytes(model->dtype);

    PRLE_TRY(PRLE_NEW(optim, 1));
    optim->opts = *opts;
    optim->n = model->graph->n_weights;
    optim->dtype = model->dtype;
    optim->device = device;
    optim->version = 1;
    PRLE_TRY_OUT(prle_alloc(n, size, (prle_any_ptr *)&optim->m));
    if (opts->kind != PRLE_OPTIM_SGD)
        PRLE_TRY_OUT(prle_alloc(n, size, (prle_any_ptr *)&optim->v));
    optim->there.m = device->host_memory ? optim->m : NULL;
    optim->there.v = device->host_memory ? optim->v : NULL;
    if (!device->host_memory)
        PRLE_TRY_OUT(device->alloc(n * size, &optim->there.m));
    if (!device->host_memory && optim->v != NULL)
        PRLE_TRY_OUT(device->alloc(n * size, &optim->there.v));
    *out = optim;
    optim = NULL;
out:
    prle_optim_destroy(optim);
    return st;
}

void prle_optim_destroy(prle_optim *optim)
{
    if (optim == NULL)
        return;
    if (optim->device != NULL && !optim->device->host_memory) {
        optim->device->free(optim->there.m);
        optim->device->free(optim->there.v);
    }
    prle_free(optim->m);
    prle_free(optim->v);
    prle_free(optim);
}

static size_t state_bytes(const prle_optim *optim) { return (size_t)optim->n * prle_dtype_bytes(optim->dtype); }

prle_status prle_optim_pull(prle_optim *optim)
{
    if (!optim->there.ahead)
        return PRLE_OK;
    PRLE_CHECK(optim->version == optim->there.version, PRLE_EINVAL,
               "the optimiser's state was changed on the host while %s had a newer one", optim->device->name);
    PRLE_TRY(optim->device->copy_out(optim->m, optim->there.m, state_bytes(optim)));
    if (optim->v != NULL)
        PRLE_TRY(optim->device->copy_out(optim->v, optim->there.v, state_bytes(optim)));
    optim->there.ahead = false;
    return PRLE_OK;
}

prle_status prle_optim_bring(prle_optim *optim)
{
    if (optim->device->host_memory || optim->version == optim->there.version)
        return PRLE_OK;
    PRLE_TRY(prle_optim_pull(optim)); /* refuses when both have changed */
    PRLE_TRY(optim->device->copy_in(optim->there.m, optim->m, state_bytes(optim)));
    if (optim->v != NULL)
        PRLE_TRY(optim->device->copy_in(optim->there.v, optim->v, state_bytes(optim)));
    optim->there.version = optim->version;
    return PRLE_OK;
}

static void update_f32(prle_optim_kind kind, float *w, const float *g, float *m, float *v, int64_t n, const optim_coeffs *c)
{
    switch (kind) {
    case PRLE_OPTIM_ADAM: optim_adam_f32(w, g, m, v, n, c); break;
    case PRLE_OPTIM_ADAMW: optim_adamw_f32(w, g, m, v, n, c); break;
    case PRLE_OPTIM_SGD: optim_sgd_f32(w, g, m, v, n, c); break;
    }
}

static void update_f64(prle_optim_kind kind, double *w, const double *g, double *m, double *v, int64_t n, const optim_coeffs *c)
{
    switch (kind) {
    case PRLE_OPTIM_ADAM: optim_adam_f64(w, g, m, v, n, c); break;
    case PRLE_OPTIM_ADAMW: optim_adamw_f64(w, g, m, v, n, c); break;
    case PRLE_OPTIM_SGD: optim_sgd_f64(w, g, m, v, n, c); break;
    }
}

/* Elements [at, at + n) of all buffers. */
static void update(prle_optim *optim, prle_model *model, int64_t at, int64_t n, const optim_coeffs *c)
{
    if (optim->dtype == PRLE_F64)
        update_f64(optim->opts.kind, (double *)model->weights + at, (const double *)model->grads + at, (double *)optim->m + at,
                   optim->v != NULL ? (double *)optim->v + at : NULL, n, c);
    else
        update_f32(optim->opts.kind, (float *)model->weights + at, (const float *)model->grads + at, (float *)optim->m + at,
                   optim->v != NULL ? (float *)optim->v + at : NULL, n, c);
}

optim_coeffs optim_coeffs_of(const prle_optim *optim, double lr, bool head, bool no_decay)
{
    const prle_optim_opts *o = &optim->opts;

    return (optim_coeffs){.lr = lr * (head ? o->head_lr_factor : 1),
                          .decay = no_decay && !o->decay_all ? 0 : o->weight_decay,
                          .beta1 = o->beta1,
                          .beta2 = o->beta2,
                          .eps = o->eps,
                          .momentum = o->momentum,
                          .correction1 = 1 - pow(o->beta1, (double)optim->steps),
                          .correction2 = 1 - pow(o->beta2, (double)optim->steps)};
}

void prle_optim_step(prle_optim *optim, prle_model *model, double lr)
{
    optim->steps++;
    for (int i = 0; i < model->graph->n_segments; i++) {
        const prle_segment *s = &model->graph->segment[i];

        if (s->kind != PRLE_SEGMENT_WEIGHT)
            continue;
        const optim_coeffs c = optim_coeffs_of(optim, lr, s->head, s->no_decay);
#pragma omp parallel for if (s->count > 2 * CHUNK)
        for (int64_t at = 0; at < s->count; at += CHUNK)
            update(optim, model, s->offset + at, s->count - at < CHUNK ? s->count - at : CHUNK, &c);
    }
    model->version++;
}

/* In lanes, so that sums do not wait for each other; their order is fixed all the same. */
static double chunk_square_sum(const prle_model *model, int64_t at, int64_t n)
{
    enum { LANES = 16 };
    double lane[LANES] = {0}, sum = 0;
    const float *f32 = model->grads;
    const double *f64 = model->grads;

    for (int64_t i = 0; i < n - n % LANES; i += LANES)
        for (int k = 0; k < LANES; k++) {
            const double g = model->dtype == PRLE_F64 ? f64[at + i + k] : (double)f32[at + i + k];
            lane[k] += g * g;
        }
    for (int64_t i = n - n % LANES; i < n; i++) {
        const double g = model->dtype == PRLE_F64 ? f64[at + i] : (double)f32[at + i];
        sum += g * g;
    }
    for (int k = 0; k < LANES; k++)
        sum += lane[k];
    return sum;
}

double prle_grad_norm(const prle_model *model)
{
    enum { ROUND = 64 }; /* chunks whose sums are held at a time */
    const int64_t n = model->graph->n_weights;
    double parts[ROUND], sum = 0;

    for (int64_t base = 0; base < n; base += (int64_t)ROUND * CHUNK) {
#pragma omp parallel for
        for (int k = 0; k < ROUND; k++) {
            const int64_t at = base + (int64_t)k * CHUNK, left = n - at;
            parts[k] = left <= 0 ? 0 : chunk_square_sum(model, at, left < CHUNK ? left : CHUNK);
        }
        for (int k = 0; k < ROUND; k++)
            sum += parts[k];
    }
    return sqrt(sum);
}

void prle_grad_scale(prle_model *model, double factor)
{
    (void)model->device->scale(model->grads, model->graph->n_weights, model->dtype, factor); /* the host's cannot fail */
}
