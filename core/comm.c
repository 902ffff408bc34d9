/* comm.c - forwarding with the watchdog's bell, the agreement, and the communicator of one rank. */
#include "core/comm.h"

#include <string.h>

#include "core/alloc.h"

static prle_comm_watch watch;

void prle_comm_watch_set(prle_comm_watch to) { watch = to; }

/* The bell is rung before a collective and after it. */
static void watch_begin(prle_comm *comm, const char *what)
{
    comm->what = what;
    if (watch != NULL)
        watch(what, 1);
}

static prle_status watch_end(const char *what, prle_status st)
{
    if (watch != NULL)
        watch(what, 0);
    return st;
}

prle_status prle_comm_sum(prle_comm *comm, void *values, int64_t n, prle_dtype dtype, const char *what)
{
    watch_begin(comm, what);
    return watch_end(what, comm->ops->sum(comm, values, n, dtype));
}

/* These two wait for nobody. */
prle_status prle_comm_sum_begin(prle_comm *comm, void *values, int64_t n, prle_dtype dtype, const char *what)
{
    comm->what = what;
    return comm->ops->sum_begin(comm, values, n, dtype);
}

prle_status prle_comm_sum_end(prle_comm *comm) { return comm->ops->sum_end(comm); }

prle_status prle_comm_max_i64(prle_comm *comm, int64_t *values, int64_t n, const char *what)
{
    watch_begin(comm, what);
    return watch_end(what, comm->ops->max_i64(comm, values, n));
}

prle_status prle_comm_sum_i64(prle_comm *comm, int64_t *values, int64_t n, const char *what)
{
    watch_begin(comm, what);
    return watch_end(what, comm->ops->sum_i64(comm, values, n));
}

prle_status prle_comm_broadcast(prle_comm *comm, void *bytes, int64_t n_bytes, int root, const char *what)
{
    watch_begin(comm, what);
    return watch_end(what, comm->ops->broadcast(comm, bytes, n_bytes, root));
}

prle_status prle_comm_gather(prle_comm *comm, const void *bytes, int64_t n_bytes, int root, void **out, int64_t *counts_bytes,
                             const char *what)
{
    watch_begin(comm, what);
    return watch_end(what, comm->ops->gather(comm, bytes, n_bytes, root, out, counts_bytes));
}

prle_status prle_comm_barrier(prle_comm *comm, const char *what)
{
    watch_begin(comm, what);
    return watch_end(what, comm->ops->barrier(comm));
}

prle_status prle_comm_duplicate(prle_comm *comm, prle_comm **out)
{
    const char *const what = "duplicate";

    watch_begin(comm, what);
    return watch_end(what, comm->ops->duplicate(comm, out));
}

prle_status prle_comm_agree(prle_comm *comm, prle_status st, const char *what)
{
    /* Greater means worse; among failing ranks the lowest wins, so that all name the same one. */
    int64_t worst = st == PRLE_OK ? 0 : comm->size - comm->rank;

    if (comm->size == 1)
        return st;
    const prle_status reduced = prle_comm_max_i64(comm, &worst, 1, what);
    if (st != PRLE_OK)
        return st;
    PRLE_TRY(reduced);
    PRLE_CHECK(worst == 0, PRLE_EPEER, "%s: rank %d failed (its own message says why)", what, comm->size - (int)worst);
    return PRLE_OK;
}

void prle_comm_destroy(prle_comm *comm)
{
    if (comm != NULL)
        comm->ops->destroy(comm);
}

static prle_status self_sum(prle_comm *comm, void *values, int64_t n, prle_dtype dtype)
{
    (void)comm, (void)values, (void)n, (void)dtype;
    return PRLE_OK;
}

static prle_status self_i64(prle_comm *comm, int64_t *values, int64_t n)
{
    (void)comm, (void)values, (void)n;
    return PRLE_OK;
}

static prle_status self_broadcast(prle_comm *comm, void *bytes, int64_t n_bytes, int root)
{
    (void)comm, (void)bytes, (void)n_bytes, (void)root;
    return PRLE_OK;
}

static prle_status self_gather(prle_comm *comm, const void *bytes, int64_t n_bytes, int root, void **out, int64_t *counts_bytes)
{
    char *copy = NULL;

    (void)comm, (void)root;
    PRLE_TRY(PRLE_NEW(copy, n_bytes));
    if (n_bytes > 0)
        memcpy(copy, bytes, (size_t)n_bytes);
    counts_bytes[0] = n_bytes;
    *out = copy;
    return PRLE_OK;
}

static prle_status self_barrier(prle_comm *comm)
{
    (void)comm;
    return PRLE_OK;
}

static prle_status self_duplicate(prle_comm *comm, prle_comm **out)
{
    *out = comm; /* nothing to mix up */
    return PRLE_OK;
}

static void self_destroy(prle_comm *comm) { (void)comm; }

prle_comm *prle_comm_self(void)
{
    static const prle_comm_ops ops = {
        .name = "self",
        .sum = self_sum,
        .max_i64 = self_i64,
        .sum_i64 = self_i64,
        .broadcast = self_broadcast,
        .gather = self_gather,
        .barrier = self_barrier,
        .duplicate = self_duplicate,
        .destroy = self_destroy,
    };
    static prle_comm self = {.ops = &ops, .rank = 0, .size = 1, .local_rank = 0, .local_size = 1, .cpu_sharers = 1};
    return &self;
}
