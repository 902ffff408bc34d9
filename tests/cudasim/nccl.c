/* nccl.c - NCCL between processes of one machine, over shared memory. All ranks must make the same calls: kind, count, type and
 * operation are compared before a byte moves. A collective never blocks inside the simulator: it is asked again until the others
 * have come, so that a program that polls and gives up can do so. Sums are made in the order of ranks, in double. */
#include <fcntl.h>
#include <nccl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/cudasim/ptx.h" /* number formats */

enum { MAX_RANKS = 16, CHUNK_BYTES = 1 << 18, NAME_BYTES = 64 };

typedef enum collective { ALL_REDUCE, BROADCAST } collective;

/** What a rank says it is about to do. */
typedef struct announcement {
    int kind, type, reduction, root;
    size_t n;
    uint64_t number;
} announcement;

typedef struct meeting {
    atomic_uint stage[MAX_RANKS]; /* steps each rank has done; all do the same ones */
    announcement said[MAX_RANKS];
    uint8_t chunk[MAX_RANKS][CHUNK_BYTES];
} meeting;

struct ncclComm {
    int rank, size;
    meeting *meeting;
    unsigned stage;
    uint64_t number; /* of collectives */
    time_t since;    /* when it began to wait */
    bool ready, aborted;
    char name[NAME_BYTES];
};

/* ---- steps ---- */

static void step_done(ncclComm_t c)
{
    atomic_store(&c->meeting->stage[c->rank], ++c->stage);
    c->since = time(NULL);
}

/* Seconds for which a rank is waited for: CUDASIM_PATIENCE. */
static long patience(void)
{
    const char *text = getenv("CUDASIM_PATIENCE");

    return text == NULL ? 120 : strtol(text, NULL, 10);
}

/* Have all ranks done as many steps? */
static bool all_there(ncclComm_t c)
{
    for (int r = 0; r < c->size; r++)
        if ((int)(atomic_load(&c->meeting->stage[r]) - c->stage) < 0) {
            if (time(NULL) - c->since > patience())
                sim_fatal("rank %d: collective %llu waits for rank %d for ever; a GPU would hang", c->rank,
                          (unsigned long long)c->number, r);
            return false;
        }
    return true;
}

/* ---- communicators ---- */

SIM_API ncclResult_t ncclGetVersion(int *out)
{
    *out = NCCL_VERSION_CODE;
    return ncclSuccess;
}

SIM_API const char *ncclGetErrorString(ncclResult_t result)
{
    switch (result) {
    case ncclSuccess: return "no error";
    case ncclInProgress: return "in progress";
    case ncclInvalidArgument: return "invalid argument";
    case ncclSystemError: return "system error";
    default: return "an NCCL error";
    }
}

SIM_API const char *ncclGetLastError(ncclComm_t comm)
{
    (void)comm;
    return "";
}

SIM_API ncclResult_t ncclGetUniqueId(ncclUniqueId *out)
{
    memset(out, 0, sizeof *out);
    snprintf(out->internal, NAME_BYTES, "/cudasim-%d-%u", (int)getpid(), (unsigned)sim_random());
    const int file = shm_open(out->internal, O_CREAT | O_EXCL | O_RDWR, 0600);
    if (file < 0 || ftruncate(file, sizeof(meeting)) != 0)
        return ncclSystemError;
    close(file);
    return ncclSuccess;
}

/* All have come: the meeting needs its name no longer. */
static bool comm_ready(ncclComm_t c)
{
    if (!c->ready && all_there(c)) {
        c->ready = true;
        if (c->rank == 0)
            shm_unlink(c->name);
    }
    return c->ready;
}

SIM_API ncclResult_t ncclCommInitRankConfig(ncclComm_t *out, int size, ncclUniqueId id, int rank, ncclConfig_t *config)
{
    if (size < 1 || size > MAX_RANKS || rank < 0 || rank >= size)
        return ncclInvalidArgument;
    const int file = shm_open(id.internal, O_RDWR, 0600);
    if (file < 0)
        return ncclSystemError;
    ncclComm_t c = sim_new(sizeof *c);
    c->rank = rank;
    c->size = size;
    snprintf(c->name, sizeof c->name, "%.*s", NAME_BYTES - 1, id.internal);
    c->meeting = mmap(NULL, sizeof(meeting), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (c->meeting == MAP_FAILED)
        sim_fatal("no shared memory for NCCL");
    step_done(c);
    *out = c;
    if (config != NULL && config->blocking == 0)
        return comm_ready(c) ? ncclSuccess : ncclInProgress;
    while (!comm_ready(c))
        usleep(100);
    return ncclSuccess;
}

SIM_API ncclResult_t ncclCommInitRank(ncclComm_t *out, int size, ncclUniqueId id, int rank)
{
    return ncclCommInitRankConfig(out, size, id, rank, NULL);
}

SIM_API ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *out)
{
    sim_lock();
    *out = comm->aborted ? ncclInternalError : comm_ready(comm) ? ncclSuccess : ncclInProgress;
    sim_unlock();
    return ncclSuccess;
}

static void comm_free(ncclComm_t c)
{
    if (!c->ready && c->rank == 0)
        shm_unlink(c->name);
    munmap(c->meeting, sizeof(meeting));
    free(c);
}

SIM_API ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    (void)comm;
    return ncclSuccess;
}

SIM_API ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    sim_lock();
    sim_drain_all();
    comm_free(comm);
    sim_unlock();
    return ncclSuccess;
}

/* What waits ends at once, its result undefined. */
SIM_API ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    sim_lock();
    comm->aborted = true;
    sim_drain_all();
    comm_free(comm);
    sim_unlock();
    return ncclSuccess;
}

SIM_API ncclResult_t ncclCommCount(const ncclComm_t comm, int *out)
{
    *out = comm->size;
    return ncclSuccess;
}

SIM_API ncclResult_t ncclCommUserRank(const ncclComm_t comm, int *out)
{
    *out = comm->rank;
    return ncclSuccess;
}

/* ---- collectives ---- */

typedef enum phase { ANNOUNCE, COMPARE, SEND, RECEIVE, NEXT, OVER } phase;

typedef struct call {
    ncclComm_t comm;
    announcement what;
    const void *send;
    void *receive;
    phase phase;
    size_t at; /* elements done */
} call;

static ptx_type number_type(int type)
{
    switch (type) {
    case ncclFloat32: return (ptx_type){PTX_FLOAT, 4, 1};
    case ncclFloat64: return (ptx_type){PTX_FLOAT, 8, 1};
    case ncclFloat16: return (ptx_type){PTX_HALF, 2, 1};
    case ncclBfloat16: return (ptx_type){PTX_BFLOAT, 2, 1};
    case ncclInt32: return (ptx_type){PTX_SIGNED, 4, 1};
    case ncclInt64: return (ptx_type){PTX_SIGNED, 8, 1};
    case ncclUint8: return (ptx_type){PTX_UNSIGNED, 1, 1};
    default: sim_fatal("NCCL's type %d is not simulated", type);
    }
}

static double element(const uint8_t *from, ptx_type type)
{
    uint64_t bits = 0;

    memcpy(&bits, from, type.bytes);
    return ptx_is_float(type)        ? ptx_to_double(bits, type)
           : type.kind == PTX_SIGNED ? (double)ptx_signed(bits, type.bytes)
                                     : (double)bits;
}

static void element_set(uint8_t *to, ptx_type type, double value)
{
    const uint64_t bits = ptx_is_float(type) ? ptx_from_double(value, type) : (uint64_t)(int64_t)value;

    memcpy(to, &bits, type.bytes);
}

static double combined(int reduction, double a, double b)
{
    switch (reduction) {
    case ncclSum: return a + b;
    case ncclMax: return a > b ? a : b;
    case ncclMin: return a < b ? a : b;
    default: sim_fatal("NCCL's reduction %d is not simulated", reduction);
    }
}

static void chunk_reduce(const call *l, uint8_t *to, size_t n)
{
    const ptx_type type = number_type(l->what.type);

    for (size_t i = 0; i < n; i++) {
        double all = element(l->comm->meeting->chunk[0] + i * type.bytes, type);
        for (int r = 1; r < l->comm->size; r++)
            all = combined(l->what.reduction, all, element(l->comm->meeting->chunk[r] + i * type.bytes, type));
        element_set(to + i * type.bytes, type, all);
    }
}

static void compare(const call *l)
{
    const ncclComm_t c = l->comm;

    for (int r = 0; r < c->size; r++) {
        const announcement *other = &c->meeting->said[r];
        if (memcmp(other, &l->what, sizeof *other) != 0)
            sim_fatal("rank %d: collective %llu is kind %d of %zu elements of type %d, reduction %d; rank %d's is %d of %zu of "
                      "type %d, %d",
                      c->rank, (unsigned long long)l->what.number, l->what.kind, l->what.n, l->what.type, l->what.reduction, r,
                      other->kind, other->n, other->type, other->reduction);
    }
}

static size_t chunk_of(const call *l)
{
    const size_t most = CHUNK_BYTES / (size_t)ptx_width(number_type(l->what.type)), left = l->what.n - l->at;

    return left < most ? left : most;
}

static void chunk_send(const call *l)
{
    const size_t width = (size_t)ptx_width(number_type(l->what.type)), n = chunk_of(l);

    if (n > 0 && (l->what.kind == ALL_REDUCE || l->comm->rank == l->what.root))
        memcpy(l->comm->meeting->chunk[l->comm->rank],
               sim_device((const char *)l->send + l->at * width, n * width, SIM_READ, "NCCL's send buffer"), n * width);
}

static void chunk_receive(const call *l)
{
    const size_t width = (size_t)ptx_width(number_type(l->what.type)), n = chunk_of(l);
    uint8_t *to = sim_device((char *)l->receive + l->at * width, n * width, SIM_WRITE, "NCCL's receive buffer");

    if (n == 0)
        return;
    if (l->what.kind == ALL_REDUCE)
        chunk_reduce(l, to, n);
    else
        memcpy(to, l->comm->meeting->chunk[l->what.root], n * width);
}

/* The next phase, if the others have come as far. False: not yet. */
static bool advance(call *l)
{
    const ncclComm_t c = l->comm;

    if (l->phase != ANNOUNCE && !all_there(c))
        return false;
    switch (l->phase) {
    case ANNOUNCE:
        l->what.number = ++c->number;
        c->meeting->said[c->rank] = l->what;
        l->phase = COMPARE;
        break;
    case COMPARE:
        compare(l);
        l->phase = l->what.n > 0 ? SEND : NEXT;
        break;
    case SEND:
        chunk_send(l);
        l->phase = RECEIVE;
        break;
    case RECEIVE:
        chunk_receive(l);
        l->phase = NEXT;
        break;
    case NEXT: /* the chunks may be overwritten */
        l->at += chunk_of(l);
        l->phase = l->at < l->what.n ? SEND : OVER;
        return true;
    case OVER: return true;
    }
    step_done(c);
    return true;
}

static bool call_run(void *argument)
{
    call *l = argument;

    while (l->phase != OVER && !l->comm->aborted)
        if (!advance(l))
            return false;
    l->phase = ANNOUNCE; /* a captured call runs again */
    l->at = 0;
    sim_counts.library_calls++;
    return true;
}

static ncclResult_t submit(collective kind, const void *send, void *receive, size_t n, ncclDataType_t type, int reduction,
                           int root, ncclComm_t comm, cudaStream_t stream)
{
    static const sim_work work = {.run = call_run, .what = "NCCL collective", .capturable = true};
    call l = {.comm = comm, .send = send, .receive = receive};

    memset(&l.what, 0, sizeof l.what); /* compared byte by byte */
    l.what.kind = (int)kind;
    l.what.type = (int)type;
    l.what.reduction = reduction;
    l.what.root = root;
    l.what.n = n;
    sim_lock();
    if (!comm_ready(comm))
        sim_fatal("a collective on a communicator that is not ready: poll ncclCommGetAsyncError first");
    const cudaError_t error = sim_submit(stream, &work, &l, sizeof l);
    sim_unlock();
    return error == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

SIM_API ncclResult_t ncclAllReduce(const void *send, void *receive, size_t n, ncclDataType_t type, ncclRedOp_t reduction,
                                   ncclComm_t comm, cudaStream_t stream)
{
    return submit(ALL_REDUCE, send, receive, n, type, (int)reduction, 0, comm, stream);
}

SIM_API ncclResult_t ncclBroadcast(const void *send, void *receive, size_t n, ncclDataType_t type, int root, ncclComm_t comm,
                                   cudaStream_t stream)
{
    return submit(BROADCAST, send, receive, n, type, 0, root, comm, stream);
}
