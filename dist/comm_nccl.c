/* comm_nccl.c - core/comm.h over NCCL, for ranks that compute on GPUs: sums of values in their memory, beside what they compute.
 * All else (host memory, agreements) stays with the communicator it is made from. */
#include <math.h>
#include <nccl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/device/device_cuda.h"
#include "core/log.h"
#include "dist/watchdog.h"

enum { HOST_BYTES = 64, SPIN_NS = 50000 };
#define SPIN_S 1e-3 /* how long a wait polls without sleeping: most waits in training are shorter */

typedef struct nccl_comm {
    prle_comm base;    /* first: a prle_comm * is an nccl_comm * */
    prle_comm *parent; /* borrowed */
    const prle_cuda *cuda;
    ncclComm_t handle;       /* NULL once aborted */
    cudaEvent_t ready, done; /* what a sum waits for; what waits for sums */
    double deadline_s;
    int64_t n_sums;
    char host[HOST_BYTES];
} nccl_comm;

static nccl_comm *watched; /* the one whose peers host waits look after; one in a process */

static nccl_comm *of(prle_comm *comm) { return (nccl_comm *)comm; }

/* ---- trouble ---- */

/* Gives the communicator up, so that nothing on the GPU waits for a peer any more, and says so. */
static prle_status give_up(nccl_comm *c, prle_status code, const char *why)
{
    if (c->handle != NULL)
        (void)ncclCommAbort(c->handle);
    c->handle = NULL;
    return PRLE_FAIL(code, "rank %d on %s: %s, sum number %lld on GPU %s: %s", c->base.rank, c->host,
                     c->base.what != NULL ? c->base.what : "start", (long long)c->n_sums, c->cuda->bus, why);
}

static prle_status given_up(const nccl_comm *c)
{
    return PRLE_FAIL(PRLE_ENCCL, "rank %d on %s: the communicator of the GPUs was given up before", c->base.rank, c->host);
}

/* One look at a communicator that something waits for. */
static prle_status look(nccl_comm *c, double waited_s, ncclResult_t *state)
{
    char text[128];

    if (c->handle == NULL)
        return given_up(c);
    const ncclResult_t asked = ncclCommGetAsyncError(c->handle, state);
    if (asked != ncclSuccess)
        return give_up(c, PRLE_ENCCL, ncclGetErrorString(asked));
    if (*state != ncclSuccess && *state != ncclInProgress)
        return give_up(c, PRLE_ENCCL, ncclGetErrorString(*state));
    if (waited_s > c->deadline_s) {
        snprintf(text, sizeof text, "has not ended within %g s (PRLE_DEADLINE): a rank has died or hangs", c->deadline_s);
        return give_up(c, PRLE_ETIMEOUT, text);
    }
    if (waited_s > SPIN_S)
        nanosleep(&(struct timespec){.tv_nsec = SPIN_NS}, NULL);
    return PRLE_OK;
}

/* While the host waits for the GPU: core/device/device_cuda.h. */
static prle_status peers_watch(double waited_s)
{
    ncclResult_t state = ncclSuccess;

    return look(watched, waited_s, &state);
}

/* The end of a call of a communicator that never blocks. */
static prle_status settle(nccl_comm *c, ncclResult_t result)
{
    const double begin_s = prle_clock_s();

    if (result != ncclSuccess && result != ncclInProgress)
        return give_up(c, PRLE_ENCCL, ncclGetErrorString(result));
    while (result == ncclInProgress)
        PRLE_TRY(look(c, prle_clock_s() - begin_s, &result));
    return PRLE_OK;
}

/* ---- sums ---- */

static prle_status nccl_sum_begin(prle_comm *comm, void *values, int64_t n, prle_dtype dtype)
{
    nccl_comm *c = of(comm);

    PRLE_CHECK(dtype == PRLE_F32 || dtype == PRLE_F64, PRLE_ENOTSUP, "cannot sum %s over ranks: give f32 or f64",
               prle_dtype_name(dtype));
    PRLE_CHECK(n >= 0, PRLE_EINVAL, "cannot sum %lld elements", (long long)n);
    if (c->handle == NULL)
        return given_up(c);
    if (n == 0)
        return PRLE_OK;
    c->n_sums++;
    PRLE_CUDA(cudaEventRecord(c->ready, c->cuda->compute));
    PRLE_CUDA(cudaStreamWaitEvent(c->cuda->comm, c->ready, 0));
    return settle(c, ncclAllReduce(values, values, (size_t)n, dtype == PRLE_F32 ? ncclFloat32 : ncclFloat64, ncclSum, c->handle,
                                   c->cuda->comm));
}

static prle_status nccl_sum_end(prle_comm *comm)
{
    nccl_comm *c = of(comm);

    PRLE_CUDA(cudaEventRecord(c->done, c->cuda->comm));
    PRLE_CUDA(cudaStreamWaitEvent(c->cuda->compute, c->done, 0));
    return PRLE_OK;
}

static prle_status nccl_sum(prle_comm *comm, void *values, int64_t n, prle_dtype dtype)
{
    PRLE_TRY(nccl_sum_begin(comm, values, n, dtype));
    return nccl_sum_end(comm);
}

/* ---- what stays with the parent ---- */

static prle_status nccl_max_i64(prle_comm *comm, int64_t *values, int64_t n)
{
    return of(comm)->parent->ops->max_i64(of(comm)->parent, values, n);
}

static prle_status nccl_sum_i64(prle_comm *comm, int64_t *values, int64_t n)
{
    return of(comm)->parent->ops->sum_i64(of(comm)->parent, values, n);
}

static prle_status nccl_broadcast(prle_comm *comm, void *bytes, int64_t n_bytes, int root)
{
    return of(comm)->parent->ops->broadcast(of(comm)->parent, bytes, n_bytes, root);
}

static prle_status nccl_gather(prle_comm *comm, const void *bytes, int64_t n_bytes, int root, void **out, int64_t *counts_bytes)
{
    return of(comm)->parent->ops->gather(of(comm)->parent, bytes, n_bytes, root, out, counts_bytes);
}

static prle_status nccl_barrier(prle_comm *comm) { return of(comm)->parent->ops->barrier(of(comm)->parent); }

static prle_status nccl_duplicate(prle_comm *comm, prle_comm **out)
{
    (void)comm, (void)out;
    return PRLE_FAIL(PRLE_ENOTSUP, "sums on GPUs need no communication thread");
}

/* A healthy communicator ends with its work done; one with trouble is gone already. */
static void nccl_destroy(prle_comm *comm)
{
    nccl_comm *c = of(comm);

    if (watched == c) {
        watched = NULL;
        prle_cuda_poll_set(NULL);
    }
    c->base.what = "end";
    if (c->handle != NULL && settle(c, ncclCommFinalize(c->handle)) != PRLE_OK)
        prle_log(PRLE_LOG_WARN, "dist", "%s", prle_error_message());
    if (c->handle != NULL)
        (void)ncclCommDestroy(c->handle);
    if (c->ready != NULL)
        (void)cudaEventDestroy(c->ready);
    if (c->done != NULL)
        (void)cudaEventDestroy(c->done);
    prle_free(c);
}

static const prle_comm_ops nccl_ops = {
    .name = "nccl",
    .sum = nccl_sum,
    .max_i64 = nccl_max_i64,
    .sum_i64 = nccl_sum_i64,
    .broadcast = nccl_broadcast,
    .gather = nccl_gather,
    .barrier = nccl_barrier,
    .duplicate = nccl_duplicate,
    .destroy = nccl_destroy,
    .sum_begin = nccl_sum_begin,
    .sum_end = nccl_sum_end,
};

/* ---- creation ---- */

/* Where a rank computes. */
typedef struct place {
    char host[HOST_BYTES], bus[16];
} place;

static prle_status places_compare(const place *places, int size)
{
    for (int b = 1; b < size; b++)
        for (int a = 0; a < b; a++)
            PRLE_CHECK(memcmp(&places[a], &places[b], sizeof *places) != 0, PRLE_EINVAL,
                       "ranks %d and %d would share GPU %s of %s: start at most one rank for each GPU", a, b, places[a].bus,
                       places[a].host);
    return PRLE_OK;
}

/* No two ranks on one GPU; NCCL cannot do it, and would say less. */
static prle_status places_check(const nccl_comm *c)
{
    prle_comm *parent = c->parent;
    prle_status st = PRLE_OK;
    int64_t *counts = NULL;
    void *places = NULL;
    place own = {0};

    memcpy(own.host, c->host, sizeof own.host);
    memcpy(own.bus, c->cuda->bus, sizeof own.bus);
    PRLE_TRY_OUT(PRLE_NEW(counts, parent->size));
    PRLE_TRY_OUT(prle_comm_gather(parent, &own, sizeof own, 0, &places, counts, "GPUs of the ranks"));
    if (parent->rank == 0)
        st = places_compare(places, parent->size);
    PRLE_TRY_OUT(prle_comm_agree(parent, st, "GPUs of the ranks"));
out:
    prle_free(counts);
    prle_free(places);
    return st;
}

static prle_status connect(nccl_comm *c)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    prle_status st = PRLE_OK;
    ncclUniqueId id;

    memset(&id, 0, sizeof id);
    config.blocking = 0;
    if (c->base.rank == 0) {
        const ncclResult_t made = ncclGetUniqueId(&id);
        if (made != ncclSuccess)
            st = give_up(c, PRLE_ENCCL, ncclGetErrorString(made));
    }
    PRLE_TRY(prle_comm_agree(c->parent, st, "start of NCCL"));
    PRLE_TRY(prle_comm_broadcast(c->parent, &id, sizeof id, 0, "start of NCCL"));
    return settle(c, ncclCommInitRankConfig(&c->handle, c->base.size, id, c->base.rank, &config));
}

prle_status prle_cuda_comm_create(prle_comm **out, prle_comm *host)
{
    prle_status st = PRLE_OK;
    nccl_comm *c = NULL;

    PRLE_TRY(PRLE_NEW(c, 1));
    c->base = *host;
    c->base.ops = &nccl_ops;
    c->base.what = "start";
    c->parent = host;
    gethostname(c->host, sizeof c->host - 1);
    PRLE_TRY_OUT(prle_cuda_get(&c->cuda));
    PRLE_TRY_OUT(prle_watchdog_deadline(&c->deadline_s));
    PRLE_TRY_OUT(places_check(c));
    PRLE_TRY_OUT(PRLE_CUDA_STATUS(cudaEventCreateWithFlags(&c->ready, cudaEventDisableTiming)));
    PRLE_TRY_OUT(PRLE_CUDA_STATUS(cudaEventCreateWithFlags(&c->done, cudaEventDisableTiming)));
    PRLE_TRY_OUT(connect(c));
    watched = c;
    prle_cuda_poll_set(peers_watch);
    *out = &c->base;
    c = NULL;
out:
    if (c != NULL)
        nccl_destroy(&c->base);
    return st;
}
