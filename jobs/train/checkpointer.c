/* checkpointer.c - see checkpointer.h. */
#include "jobs/train/checkpointer.h"

#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/threads.h"
#include "dist/watchdog.h"

struct prle_checkpointer {
    const char *folder;
    prle_comm *comm;
    prle_model *model;
    prle_optim *optim;
    double seconds;

    /* What is being written, rank 0 only: copies with the originals' descriptions. */
    prle_model model_copy;
    prle_optim optim_copy;
    prle_checkpoint_info info;
    prle_run_state state;
    bool best;

    pthread_t thread;
    bool running;
    prle_status st; /* of the thread */
    char message[1024];
};

static prle_status copies_make(prle_checkpointer *c)
{
    const prle_graph *g = c->model->graph;
    const size_t size = prle_dtype_bytes(c->model->dtype);

    c->model_copy = *c->model;
    c->optim_copy = *c->optim;
    c->model_copy.weights = c->model_copy.grads = c->model_copy.stats = c->optim_copy.m = c->optim_copy.v = NULL;
    c->model_copy.counters = NULL;
    PRLE_TRY(prle_alloc((size_t)g->n_weights, size, (prle_any_ptr *)&c->model_copy.weights));
    PRLE_TRY(prle_alloc((size_t)g->n_stats, size, (prle_any_ptr *)&c->model_copy.stats));
    PRLE_TRY(PRLE_NEW(c->model_copy.counters, g->n_counters));
    PRLE_TRY(prle_alloc((size_t)c->optim->n, size, (prle_any_ptr *)&c->optim_copy.m));
    if (c->optim->v != NULL)
        PRLE_TRY(prle_alloc((size_t)c->optim->n, size, (prle_any_ptr *)&c->optim_copy.v));
    return PRLE_OK;
}

prle_status prle_checkpointer_create(prle_checkpointer **out, const char *folder, prle_model *model, prle_optim *optim,
                                     prle_comm *comm)
{
    prle_status st = PRLE_OK;
    prle_checkpointer *c = NULL;

    PRLE_TRY(PRLE_NEW(c, 1));
    *c = (prle_checkpointer){.folder = folder, .comm = comm, .model = model, .optim = optim};
    if (comm->rank == 0)
        PRLE_TRY_OUT(copies_make(c));
    *out = c;
    c = NULL;
out:
    prle_checkpointer_destroy(c);
    return st;
}

static prle_status copies_fill(prle_checkpointer *c)
{
    const prle_graph *g = c->model->graph;
    const size_t size = prle_dtype_bytes(c->model->dtype);

    PRLE_TRY(prle_model_pull(c->model));
    PRLE_TRY(prle_optim_pull(c->optim));
    memcpy(c->model_copy.weights, c->model->weights, (size_t)g->n_weights * size);
    memcpy(c->model_copy.stats, c->model->stats, (size_t)g->n_stats * size);
    memcpy(c->model_copy.counters, c->model->counters, (size_t)g->n_counters * sizeof *c->model->counters);
    memcpy(c->optim_copy.m, c->optim->m, (size_t)c->optim->n * size);
    if (c->optim->v != NULL)
        memcpy(c->optim_copy.v, c->optim->v, (size_t)c->optim->n * size);
    c->optim_copy.steps = c->optim->steps;
    return PRLE_OK;
}

static prle_status files_write(const prle_checkpointer *c)
{
    if (c->best)
        PRLE_TRY(prle_run_save_best(c->folder, &c->model_copy, &c->info, &c->state));
    return prle_run_save_last(c->folder, &c->model_copy, &c->info, &c->optim_copy, &c->state);
}

static void *work(void *arg)
{
    prle_checkpointer *c = arg;

    c->st = files_write(c);
    if (c->st != PRLE_OK) /* the error record is the thread's own */
        snprintf(c->message, sizeof c->message, "%s", prle_error_message());
    return NULL;
}

static prle_status finish(prle_checkpointer *c)
{
    if (!c->running)
        return PRLE_OK;
    prle_watchdog_enter("writing a checkpoint");
    pthread_join(c->thread, NULL);
    prle_watchdog_leave();
    c->running = false;
    return c->st == PRLE_OK ? PRLE_OK : PRLE_FAIL(c->st, "%s", c->message);
}

static prle_status begin(prle_checkpointer *c, const prle_checkpoint_info *info, const prle_run_state *state, bool best)
{
    PRLE_TRY(finish(c));
    PRLE_TRY(copies_fill(c));
    c->info = *info;
    c->state = *state;
    c->best = best;
    PRLE_TRY(prle_thread_start(&c->thread, work, c, "checkpoint"));
    c->running = true;
    return PRLE_OK;
}

prle_status prle_checkpointer_save(prle_checkpointer *c, const prle_checkpoint_info *info, const prle_run_state *state, bool best)
{
    const double before = prle_clock_s();
    const prle_status st = c->comm->rank == 0 ? begin(c, info, state, best) : PRLE_OK;

    c->seconds += c->comm->rank == 0 ? prle_clock_s() - before : 0;
    return prle_comm_agree(c->comm, st, "checkpoint");
}

prle_status prle_checkpointer_wait(prle_checkpointer *c)
{
    const double before = prle_clock_s();
    const prle_status st = finish(c);

    c->seconds += c->comm->rank == 0 ? prle_clock_s() - before : 0;
    return prle_comm_agree(c->comm, st, "checkpoint");
}

double prle_checkpointer_seconds(const prle_checkpointer *c) { return c->seconds; }

void prle_checkpointer_destroy(prle_checkpointer *c)
{
    if (c == NULL)
        return;
    if (c->running)
        pthread_join(c->thread, NULL);
    prle_free(c->model_copy.weights);
    prle_free(c->model_copy.stats);
    prle_free(c->model_copy.counters);
    prle_free(c->optim_copy.m);
    prle_free(c->optim_copy.v);
    prle_free(c);
}
