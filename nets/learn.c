/* learn.c - see learn.h: on the host's memory by loss.c and optim.c, elsewhere by what the device brings. */
#include "nets/learn.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "nets/learn_impl.h"
#include "nets/loss.h"
#include "nets/optim_ref.h"

struct prle_learner {
    prle_model *model;
    prle_optim *optim;
    prle_learn_opts opts;
    const prle_learn_ops *ops; /* NULL: the host's memory */
    void *state;               /* of ops */
    prle_learn_in in;          /* of the current step */
    int n_pending;             /* the current step included */
    prle_learn_out *out;       /* [opts.n_pending] the host's */
};

static int rate_of(const prle_segment *s) { return (s->head ? LEARN_HEAD : 0) | (s->no_decay ? LEARN_NO_DECAY : 0); }

/* Segments that lie side by side and are of one class make one stretch. chunks NULL: only counts. */
static int64_t chunks_make(const prle_graph *g, learn_chunk *chunks)
{
    int64_t n = 0;

    for (int i = 0; i < g->n_segments;) {
        const prle_segment *s = &g->segment[i];
        int64_t end = s->offset;

        if (s->kind != PRLE_SEGMENT_WEIGHT) {
            i++;
            continue;
        }
        for (; i < g->n_segments && (g->segment[i].kind != PRLE_SEGMENT_WEIGHT ||
                                     (g->segment[i].offset == end && rate_of(&g->segment[i]) == rate_of(s)));
             i++)
            end += g->segment[i].kind == PRLE_SEGMENT_WEIGHT ? g->segment[i].count : 0;
        for (int64_t at = s->offset; at < end; at += LEARN_CHUNK, n++)
            if (chunks != NULL)
                chunks[n] = (learn_chunk){
                    .first = at, .count = (int32_t)(end - at < LEARN_CHUNK ? end - at : LEARN_CHUNK), .rate = rate_of(s)};
    }
    return n;
}

static prle_status device_setup(prle_learner *l)
{
    const prle_model *model = l->model;
    learn_setup setup = {.kind = l->optim->opts.kind,
                         .n_weights = model->graph->n_weights,
                         .max_batch = l->opts.max_batch,
                         .classes = model->opts.classes,
                         .n_slots = l->opts.n_pending,
                         .clip_norm = l->opts.clip_norm,
                         .n_chunks = chunks_make(model->graph, NULL),
                         .weights = model->there.weights,
                         .grads = model->grads,
                         .m = l->optim->there.m,
                         .v = l->optim->there.v};
    learn_chunk *chunks = NULL;

    PRLE_CHECK(model->device->learn != NULL, PRLE_ENOTSUP, "%s cannot train", model->device->name);
    PRLE_TRY(PRLE_NEW(chunks, setup.n_chunks));
    chunks_make(model->graph, chunks);
    setup.chunks = chunks;
    const prle_status st = model->device->learn->create(&l->state, &setup);
    if (st == PRLE_OK)
        l->ops = model->device->learn;
    prle_free(chunks);
    return st;
}

prle_status prle_learner_create(prle_learner **out, prle_model *model, prle_optim *optim, const prle_learn_opts *opts)
{
    prle_status st = PRLE_OK;
    prle_learner *l = NULL;

    PRLE_CHECK(model->grads != NULL, PRLE_EINVAL, "the model has no gradients");
    PRLE_CHECK(opts->n_pending >= 1, PRLE_EINVAL, "%d outstanding steps: at least 1", opts->n_pending);
    PRLE_TRY(PRLE_NEW(l, 1));
    l->model = model;
    l->optim = optim;
    l->opts = *opts;
    PRLE_TRY_OUT(PRLE_NEW(l->out, opts->n_pending));
    if (!model->device->host_memory)
        PRLE_TRY_OUT(device_setup(l));
    *out = l;
    l = NULL;
out:
    prle_learner_destroy(l);
    return st;
}

void prle_learner_destroy(prle_learner *l)
{
    if (l == NULL)
        return;
    if (l->ops != NULL)
        l->ops->destroy(l->state);
    prle_free(l->out);
    prle_free(l);
}

/* The same values that optim_ref.c makes of its coefficients, element by element. */
static learn_step step_make(const prle_learner *l)
{
    learn_step step = {.n = l->in.n, .slot = l->n_pending - 1, .scale = l->in.scale};

    for (int i = 0; i < LEARN_N_RATES; i++) {
        const optim_coeffs c = optim_coeffs_of(l->optim, l->in.lr, (i & LEARN_HEAD) != 0, (i & LEARN_NO_DECAY) != 0);
        step.rate[i] = (learn_rate){.adam_lr = (float)(c.lr / c.correction1),
                                    .lr = (float)c.lr,
                                    .decay = (float)c.decay,
                                    .keep = (float)(1 - c.lr * c.decay)};
        step.beta1 = (float)c.beta1;
        step.rest1 = (float)(1 - c.beta1);
        step.beta2 = (float)c.beta2;
        step.rest2 = (float)(1 - c.beta2);
        step.root2 = (float)sqrt(c.correction2);
        step.eps = (float)c.eps;
        step.momentum = (float)c.momentum;
    }
    return step;
}

prle_status prle_learner_begin(prle_learner *l, const prle_learn_in *in)
{
    PRLE_CHECK(l->n_pending < l->opts.n_pending, PRLE_EINVAL, "the results of %d steps are outstanding", l->n_pending);
    PRLE_CHECK(in->n >= 0 && in->n <= l->opts.max_batch, PRLE_EINVAL, "a step of %" PRId64 " samples: at most %" PRId64, in->n,
               l->opts.max_batch);
    l->in = *in;
    l->n_pending++;
    if (l->ops == NULL)
        return PRLE_OK;
    PRLE_TRY(prle_optim_bring(l->optim));
    l->optim->steps++;
    const learn_step step = step_make(l);
    return l->ops->begin(l->state, &step, in->labels, in->weights);
}

static void host_seed(prle_learner *l, prle_plan *plan, int64_t plan_batch)
{
    const int64_t classes = l->model->opts.classes, n = l->in.n;
    const prle_dtype dtype = l->model->dtype;
    const size_t row = (size_t)classes * prle_dtype_bytes(dtype);
    char *seed = prle_plan_seed(plan);

    memset(seed + (size_t)n * row, 0, (size_t)(plan_batch - n) * row);
    const double loss = prle_loss(prle_plan_output(plan), n, classes, dtype, l->in.labels, l->in.weights, l->in.scale, seed);
    for (int64_t i = 0; i < n * classes && !isfinite(loss); i++) {
        if (dtype == PRLE_F64)
            ((double *)(void *)seed)[i] = (double)NAN;
        else
            ((float *)(void *)seed)[i] = NAN;
    }
    l->out[l->n_pending - 1].loss = loss;
}

prle_status prle_learner_seed(prle_learner *l, prle_plan *plan, int64_t plan_batch)
{
    if (l->ops != NULL)
        return l->ops->seed(l->state, prle_plan_output(plan), prle_plan_seed(plan), plan_batch);
    host_seed(l, plan, plan_batch);
    return PRLE_OK;
}

/* Steps behind one that failed do nothing either, as on a device that nobody waits for. */
static bool host_failed(const prle_learner *l)
{
    for (int i = 0; i < l->n_pending; i++)
        if (!isfinite(l->out[i].norm))
            return true;
    return false;
}

static void host_update(prle_learner *l)
{
    const double norm = prle_grad_norm(l->model);

    l->out[l->n_pending - 1].norm = norm;
    if (host_failed(l))
        return;
    if (l->opts.clip_norm > 0 && norm > l->opts.clip_norm)
        prle_grad_scale(l->model, l->opts.clip_norm / norm);
    prle_optim_step(l->optim, l->model, l->in.lr);
}

prle_status prle_learner_update(prle_learner *l)
{
    if (l->ops == NULL) {
        host_update(l);
        return PRLE_OK;
    }
    return l->ops->update(l->state);
}

void prle_learner_end(prle_learner *l)
{
    if (l->ops == NULL) /* prle_optim_step has noted it */
        return;
    prle_model_moved(l->model, l->model->device);
    l->optim->there.version = ++l->optim->version;
    l->optim->there.ahead = true;
}

prle_status prle_learner_results(prle_learner *l, prle_learn_out *out, int *n)
{
    if (l->ops != NULL)
        PRLE_TRY(l->ops->results(l->state, l->out));
    memcpy(out, l->out, (size_t)l->n_pending * sizeof *out);
    *n = l->n_pending;
    l->n_pending = 0;
    return PRLE_OK;
}
