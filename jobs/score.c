/* score.c - see score.h. */
#include "jobs/score.h"

#include <string.h>

#include "core/alloc.h"
#include "dist/shard.h"
#include "dist/stop.h"
#include "nets/loss.h"
#include "nets/plan.h"

struct prle_scorer {
    prle_model *model;
    prle_score_opts opts;
    prle_plan *plan;
    prle_loader *loader;
    double *logits, *batch_scores; /* room for [opts.batch, classes], [opts.batch] */
};

prle_status prle_scorer_create(prle_scorer **out, prle_model *model, const prle_faces *faces, const prle_score_opts *opts)
{
    prle_status st = PRLE_OK;
    prle_scorer *s = NULL;
    const prle_normaliser pixels = prle_normaliser_make(opts->mean, opts->std);
    const prle_plan_opts plan_opts = {.batch = opts->batch, .dtype = opts->dtype, .pixels = &pixels};
    prle_loader_opts loader_opts = PRLE_LOADER_OPTS_DEFAULT;

    PRLE_TRY(PRLE_NEW(s, 1));
    s->model = model;
    s->opts = *opts;
    loader_opts.height = model->opts.height;
    loader_opts.width = model->opts.width;
    loader_opts.mask = opts->mask;
    loader_opts.threads = opts->loader_threads;
    loader_opts.seed = loader_opts.mask.seed = opts->seed;
    memcpy(loader_opts.mean, opts->mean, sizeof loader_opts.mean);
    PRLE_TRY_OUT(PRLE_NEW(s->logits, opts->batch * model->opts.classes));
    PRLE_TRY_OUT(PRLE_NEW(s->batch_scores, opts->batch));
    PRLE_TRY_OUT(prle_plan_create(&s->plan, model, model->device, &plan_opts));
    PRLE_TRY_OUT(prle_loader_create(&s->loader, faces, opts->maps, &loader_opts, opts->batch));
    *out = s;
    s = NULL;
out:
    prle_scorer_destroy(s);
    return st;
}

void prle_scorer_destroy(prle_scorer *s)
{
    if (s == NULL)
        return;
    prle_loader_destroy(s->loader);
    prle_plan_destroy(s->plan);
    prle_free(s->logits);
    prle_free(s->batch_scores);
    prle_free(s);
}

/* Batches are cut from the whole list and dealt out whole: an image has the same place in the same batch for any number of
 * ranks. oneDNN's sums differ in their last bits from place to place. */
typedef struct deal {
    const int64_t *index; /* [n] */
    int64_t n, batch;
    int rank, size;
    prle_shard shard; /* of the batches */
} deal;

static int64_t first_of(const deal *d, int64_t i) { return prle_shard_item(&d->shard, i) * d->batch; }

static int64_t size_of(const deal *d, int64_t i)
{
    const int64_t left = d->n - first_of(d, i);

    return left < d->batch ? left : d->batch;
}

/* Images of the batches that all ranks do together with this rank's i-th. */
static int64_t round_of(const deal *d, int64_t i)
{
    const int64_t left = d->n - first_of(d, i) + d->rank * d->batch;

    return left < d->size * d->batch ? left : d->size * d->batch;
}

static int64_t images_of(const deal *d)
{
    int64_t n = 0;

    for (int64_t i = 0; i < d->shard.n; i++)
        n += size_of(d, i);
    return n;
}

static prle_status pass_begin(prle_scorer *s, const deal *d)
{
    prle_status st = PRLE_OK;
    uint32_t *samples = NULL;
    int64_t *sizes = NULL, at = 0;

    PRLE_TRY_OUT(PRLE_NEW(samples, images_of(d)));
    PRLE_TRY_OUT(PRLE_NEW(sizes, d->shard.n));
    for (int64_t i = 0; i < d->shard.n; i++) {
        sizes[i] = size_of(d, i);
        for (int64_t j = 0; j < sizes[i]; j++)
            samples[at++] = (uint32_t)d->index[first_of(d, i) + j];
    }
    PRLE_TRY_OUT(prle_loader_begin(s->loader, 0, samples, sizes, d->shard.n));
out:
    prle_free(samples);
    prle_free(sizes);
    return st;
}

static prle_status batch_run(prle_scorer *s, const prle_batch *batch)
{
    PRLE_TRY(prle_plan_input_set(s->plan, batch->images, batch->n));
    PRLE_TRY(prle_plan_forward(s->plan, NULL));
    PRLE_TRY(prle_plan_output_get(s->plan, s->logits, batch->n));
    prle_scores(s->logits, batch->n, s->model->opts.classes, s->model->dtype, s->batch_scores);
    return PRLE_OK;
}

static prle_status pass_run(prle_scorer *s, const deal *d, prle_item_score *own, prle_progress *progress)
{
    const prle_batch *batch = NULL;

    PRLE_TRY(pass_begin(s, d));
    for (int64_t i = 0; i < d->shard.n; i++) {
        PRLE_CHECK(!prle_stop_pending(), PRLE_ESTOP, "asked to stop while scoring");
        PRLE_TRY(prle_loader_next(s->loader, &batch));
        PRLE_TRY(batch_run(s, batch));
        for (int64_t j = 0; j < batch->n; j++)
            *own++ = (prle_item_score){.item = first_of(d, i) + j, .score = s->batch_scores[j]};
        prle_progress_add(progress, round_of(d, i));
    }
    return PRLE_OK;
}

prle_status prle_scorer_run(prle_scorer *s, double **scores, const int64_t *index, int64_t n, prle_comm *comm,
                            prle_progress *progress)
{
    prle_status st = PRLE_OK;
    const int64_t batch = s->opts.batch;
    const deal d = {.index = index,
                    .n = n,
                    .batch = batch,
                    .rank = comm->rank,
                    .size = comm->size,
                    .shard = prle_shard_strided((n + batch - 1) / batch, comm->rank, comm->size)};
    prle_item_score *own = NULL;
    int64_t stopped = 0;

    PRLE_TRY_OUT(PRLE_NEW(own, images_of(&d)));
    st = pass_run(s, &d, own, progress);
    stopped = st == PRLE_ESTOP;
    PRLE_TRY_OUT(prle_comm_agree(comm, st == PRLE_ESTOP ? PRLE_OK : st, "scoring"));
    PRLE_TRY_OUT(prle_comm_max_i64(comm, &stopped, 1, "stop"));
    PRLE_CHECK_OUT(stopped == 0, PRLE_ESTOP, "asked to stop while scoring");
    PRLE_TRY_OUT(prle_scores_gather(scores, comm, own, images_of(&d), n));
out:
    prle_free(own);
    return st;
}
