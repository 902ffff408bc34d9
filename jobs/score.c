/* score.c - see score.h. */
#include "jobs/score.h"

#include <string.h>

#include "core/alloc.h"
#include "dist/shard.h"
#include "nets/loss.h"
#include "nets/plan.h"

struct prle_scorer {
    prle_model *model;
    prle_score_opts opts;
    prle_plan *plan;
    prle_loader *loader;
    double *batch_scores; /* [opts.batch] */
};

prle_status prle_scorer_create(prle_scorer **out, prle_model *model, const prle_faces *faces, const prle_score_opts *opts)
{
    prle_status st = PRLE_OK;
    prle_scorer *s = NULL;
    const prle_plan_opts plan_opts = {.batch = opts->batch, .dtype = opts->dtype};
    prle_loader_opts loader_opts = PRLE_LOADER_OPTS_DEFAULT;

    PRLE_TRY(PRLE_NEW(s, 1));
    s->model = model;
    s->opts = *opts;
    loader_opts.height = model->opts.height;
    loader_opts.width = model->opts.width;
    loader_opts.dtype = model->dtype;
    loader_opts.mask = opts->mask;
    loader_opts.threads = opts->loader_threads;
    loader_opts.seed = loader_opts.mask.seed = opts->seed;
    memcpy(loader_opts.mean, opts->mean, sizeof loader_opts.mean);
    memcpy(loader_opts.std, opts->std, sizeof loader_opts.std);
    PRLE_TRY_OUT(PRLE_NEW(s->batch_scores, opts->batch));
    PRLE_TRY_OUT(prle_plan_create(&s->plan, model, prle_device_cpu(), &plan_opts));
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
    prle_free(s->batch_scores);
    prle_free(s);
}

/* This rank's images in order, and the sizes of its batches. */
static prle_status shard_begin(prle_scorer *s, const int64_t *index, const prle_shard *shard)
{
    prle_status st = PRLE_OK;
    const int64_t batch = s->opts.batch, n_batches = (shard->n + batch - 1) / batch;
    uint32_t *samples = NULL;
    int64_t *sizes = NULL;

    PRLE_TRY_OUT(PRLE_NEW(samples, shard->n));
    PRLE_TRY_OUT(PRLE_NEW(sizes, n_batches));
    for (int64_t i = 0; i < shard->n; i++)
        samples[i] = (uint32_t)index[prle_shard_item(shard, i)];
    for (int64_t i = 0; i < n_batches; i++)
        sizes[i] = i < n_batches - 1 ? batch : shard->n - i * batch;
    PRLE_TRY_OUT(prle_loader_begin(s->loader, 0, samples, sizes, n_batches));
out:
    prle_free(samples);
    prle_free(sizes);
    return st;
}

static prle_status batch_run(prle_scorer *s, const prle_batch *batch)
{
    const prle_net_opts *net = &s->model->opts;
    const size_t image_bytes = (size_t)(3 * net->height * net->width) * prle_dtype_bytes(s->model->dtype);
    char *input = prle_plan_input(s->plan);

    memcpy(input, batch->images, (size_t)batch->n * image_bytes);
    memset(input + (size_t)batch->n * image_bytes, 0, (size_t)(s->opts.batch - batch->n) * image_bytes);
    PRLE_TRY(prle_plan_forward(s->plan, NULL));
    prle_scores(prle_plan_output(s->plan), batch->n, net->classes, s->model->dtype, s->batch_scores);
    return PRLE_OK;
}

static prle_status shard_run(prle_scorer *s, const int64_t *index, const prle_shard *shard, prle_item_score *own, int ranks,
                             prle_progress *progress)
{
    const prle_batch *batch = NULL;

    PRLE_TRY(shard_begin(s, index, shard));
    for (int64_t done = 0; done < shard->n; done += batch->n) {
        PRLE_TRY(prle_loader_next(s->loader, &batch));
        PRLE_TRY(batch_run(s, batch));
        for (int64_t i = 0; i < batch->n; i++)
            own[done + i] = (prle_item_score){.item = prle_shard_item(shard, done + i), .score = s->batch_scores[i]};
        prle_progress_add(progress, batch->n * ranks);
    }
    return PRLE_OK;
}

prle_status prle_scorer_run(prle_scorer *s, double **scores, const int64_t *index, int64_t n, prle_comm *comm,
                            prle_progress *progress)
{
    prle_status st = PRLE_OK;
    const prle_shard shard = prle_shard_strided(n, comm->rank, comm->size);
    prle_item_score *own = NULL;

    PRLE_TRY_OUT(PRLE_NEW(own, shard.n));
    st = shard_run(s, index, &shard, own, comm->size, progress);
    PRLE_TRY_OUT(prle_comm_agree(comm, st, "scoring"));
    PRLE_TRY_OUT(prle_scores_gather(scores, comm, own, shard.n, n));
out:
    prle_free(own);
    return st;
}
