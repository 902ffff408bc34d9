/* comm_mpi.c - core/comm.h over MPI; the only file that knows MPI. */
#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/alloc.h"
#include "core/log.h"
#include "dist/dist.h"

enum {
    BUCKET_BYTES = 16 << 20, /* per MPI call: counts stay far below INT_MAX, and MPI's own scratch stays small and is kept */
    END_GRACE_MS = 5000,
    GATHER_TAG = 1,
};

typedef struct mpi_comm {
    prle_comm base; /* first: a prle_comm * is an mpi_comm * */
    MPI_Comm handle;
} mpi_comm;

static prle_status mpi_status(int code, const char *call, const char *file, int line, const char *func)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;

    if (code == MPI_SUCCESS)
        return PRLE_OK;
    MPI_Error_string(code, text, &length);
    return prle_error_set(PRLE_EMPI, file, line, func, "%.*s: %s", (int)strcspn(call, "("), call, text);
}

/** The status of an MPI call, with the call's name and MPI's text. */
#define PRLE_MPI(e) mpi_status((e), #e, __FILE__, __LINE__, __func__)

static MPI_Comm handle_of(prle_comm *comm) { return ((mpi_comm *)comm)->handle; }

/* In place, in buckets. MPI demands identical results on all ranks (MPI 3.1, 5.9.6), and Open MPI's algorithms keep that for sums
 * of floating-point numbers: each element is either added up in one place, or pairs of ranks add the same two parts. */
static prle_status all_reduce(prle_comm *comm, void *values, int64_t n, size_t elem_bytes, MPI_Datatype type, MPI_Op op)
{
    const int64_t bucket = BUCKET_BYTES / (int64_t)elem_bytes;

    PRLE_CHECK(n >= 0, PRLE_EINVAL, "cannot reduce %lld elements", (long long)n);
    for (int64_t done = 0; done < n; done += bucket) {
        const int count = (int)(n - done < bucket ? n - done : bucket);
        char *at = (char *)values + (size_t)done * elem_bytes;
        PRLE_TRY(PRLE_MPI(MPI_Allreduce(MPI_IN_PLACE, at, count, type, op, handle_of(comm))));
    }
    return PRLE_OK;
}

static prle_status mpi_sum(prle_comm *comm, void *values, int64_t n, prle_dtype dtype)
{
    switch (dtype) {
    case PRLE_F32: return all_reduce(comm, values, n, sizeof(float), MPI_FLOAT, MPI_SUM);
    case PRLE_F64: return all_reduce(comm, values, n, sizeof(double), MPI_DOUBLE, MPI_SUM);
    case PRLE_BF16: break;
    }
    return PRLE_FAIL(PRLE_ENOTSUP, "cannot sum %s over ranks: give f32 or f64", prle_dtype_name(dtype));
}

static prle_status mpi_max_i64(prle_comm *comm, int64_t *values, int64_t n)
{
    return all_reduce(comm, values, n, sizeof *values, MPI_INT64_T, MPI_MAX);
}

static prle_status mpi_sum_i64(prle_comm *comm, int64_t *values, int64_t n)
{
    return all_reduce(comm, values, n, sizeof *values, MPI_INT64_T, MPI_SUM);
}

static prle_status mpi_broadcast(prle_comm *comm, void *bytes, int64_t n_bytes, int root)
{
    PRLE_CHECK(n_bytes >= 0, PRLE_EINVAL, "cannot broadcast %lld bytes", (long long)n_bytes);
    for (int64_t done = 0; done < n_bytes; done += BUCKET_BYTES) {
        const int count = (int)(n_bytes - done < BUCKET_BYTES ? n_bytes - done : BUCKET_BYTES);
        PRLE_TRY(PRLE_MPI(MPI_Bcast((char *)bytes + done, count, MPI_BYTE, root, handle_of(comm))));
    }
    return PRLE_OK;
}

static prle_status block_send(prle_comm *comm, const char *bytes, int64_t n_bytes, int to)
{
    for (int64_t done = 0; done < n_bytes; done += BUCKET_BYTES) {
        const int count = (int)(n_bytes - done < BUCKET_BYTES ? n_bytes - done : BUCKET_BYTES);
        PRLE_TRY(PRLE_MPI(MPI_Send(bytes + done, count, MPI_BYTE, to, GATHER_TAG, handle_of(comm))));
    }
    return PRLE_OK;
}

static prle_status block_receive(prle_comm *comm, char *bytes, int64_t n_bytes, int from)
{
    for (int64_t done = 0; done < n_bytes; done += BUCKET_BYTES) {
        const int count = (int)(n_bytes - done < BUCKET_BYTES ? n_bytes - done : BUCKET_BYTES);
        PRLE_TRY(PRLE_MPI(MPI_Recv(bytes + done, count, MPI_BYTE, from, GATHER_TAG, handle_of(comm), MPI_STATUS_IGNORE)));
    }
    return PRLE_OK;
}

/* Room for all blocks on the root; the others learn whether there is any before they send. */
static prle_status gather_room(prle_comm *comm, const int64_t *counts_bytes, int root, char **room)
{
    prle_status st = PRLE_OK;
    int64_t total = 0;

    if (comm->rank == root) {
        for (int r = 0; r < comm->size; r++)
            total += counts_bytes[r];
        st = PRLE_NEW(*room, total);
    }
    int ok = st == PRLE_OK;
    PRLE_TRY(PRLE_MPI(MPI_Bcast(&ok, 1, MPI_INT, root, handle_of(comm))));
    PRLE_TRY(st);
    PRLE_CHECK(ok, PRLE_EPEER, "rank %d has no memory for what it gathers", root);
    return PRLE_OK;
}

static prle_status mpi_gather(prle_comm *comm, const void *bytes, int64_t n_bytes, int root, void **out, int64_t *counts_bytes)
{
    prle_status st = PRLE_OK;
    char *room = NULL;
    int64_t at = 0;

    PRLE_TRY(PRLE_MPI(MPI_Gather(&n_bytes, 1, MPI_INT64_T, counts_bytes, 1, MPI_INT64_T, root, handle_of(comm))));
    PRLE_TRY(gather_room(comm, counts_bytes, root, &room));
    if (comm->rank != root)
        return block_send(comm, bytes, n_bytes, root);
    for (int r = 0; r < comm->size; r++) {
        if (r != root)
            PRLE_TRY_OUT(block_receive(comm, room + at, counts_bytes[r], r));
        else if (n_bytes > 0)
            memcpy(room + at, bytes, (size_t)n_bytes);
        at += counts_bytes[r];
    }
    *out = room;
    room = NULL;
out:
    prle_free(room);
    return st;
}

static prle_status mpi_barrier(prle_comm *comm) { return PRLE_MPI(MPI_Barrier(handle_of(comm))); }

static prle_status mpi_duplicate(prle_comm *comm, prle_comm **out)
{
    mpi_comm *twin = NULL;
    int provided = MPI_THREAD_SINGLE;

    PRLE_TRY(PRLE_MPI(MPI_Query_thread(&provided)));
    PRLE_CHECK(provided == MPI_THREAD_MULTIPLE, PRLE_ENOTSUP, "this MPI library allows no calls from several threads");
    PRLE_TRY(PRLE_NEW(twin, 1));
    twin->base = *comm;
    const prle_status st = PRLE_MPI(MPI_Comm_dup(handle_of(comm), &twin->handle));
    if (st != PRLE_OK) {
        prle_free(twin);
        return st;
    }
    *out = &twin->base;
    return PRLE_OK;
}

static void mpi_destroy(prle_comm *comm)
{
    if (PRLE_MPI(MPI_Comm_free(&((mpi_comm *)comm)->handle)) != PRLE_OK)
        prle_log(PRLE_LOG_WARN, "dist", "%s", prle_error_message());
    prle_free(comm);
}

static const prle_comm_ops mpi_ops = {
    .name = "mpi",
    .sum = mpi_sum,
    .max_i64 = mpi_max_i64,
    .sum_i64 = mpi_sum_i64,
    .broadcast = mpi_broadcast,
    .gather = mpi_gather,
    .barrier = mpi_barrier,
    .duplicate = mpi_duplicate,
    .destroy = mpi_destroy,
};

/* Ranks of this machine whose CPUs overlap ours: all of them with --bind-to none, ourselves alone when each is bound. */
static prle_status count_sharers(MPI_Comm local, int local_rank, int local_size, int *sharers)
{
    prle_status st = PRLE_OK;
    cpu_set_t *sets = NULL, common;
    int n = 0;

    PRLE_TRY(PRLE_NEW(sets, local_size));
    PRLE_CHECK_OUT(sched_getaffinity(0, sizeof *sets, &sets[local_rank]) == 0, PRLE_EIO,
                   "cannot read this process's CPU affinity");
    PRLE_TRY_OUT(PRLE_MPI(MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, sets, (int)sizeof *sets, MPI_BYTE, local)));
    for (int r = 0; r < local_size; r++) {
        CPU_AND(&common, &sets[r], &sets[local_rank]);
        n += CPU_COUNT(&common) > 0;
    }
    *sharers = n;
out:
    prle_free(sets);
    return st;
}

static prle_status locality_find(mpi_comm *world)
{
    prle_comm *base = &world->base;
    MPI_Comm local = MPI_COMM_NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(PRLE_MPI(MPI_Comm_split_type(world->handle, MPI_COMM_TYPE_SHARED, base->rank, MPI_INFO_NULL, &local)));
    PRLE_TRY_OUT(PRLE_MPI(MPI_Comm_rank(local, &base->local_rank)));
    PRLE_TRY_OUT(PRLE_MPI(MPI_Comm_size(local, &base->local_size)));
    PRLE_TRY_OUT(count_sharers(local, base->local_rank, base->local_size, &base->cpu_sharers));
out:
    MPI_Comm_free(&local);
    return st;
}

static void abort_job(void) { MPI_Abort(MPI_COMM_WORLD, 1); }

static prle_status world_create(prle_comm **out)
{
    mpi_comm *world = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(PRLE_NEW(world, 1));
    world->base.ops = &mpi_ops;
    world->handle = MPI_COMM_NULL;
    PRLE_TRY_OUT(PRLE_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &world->handle)));
    PRLE_TRY_OUT(PRLE_MPI(MPI_Comm_rank(world->handle, &world->base.rank)));
    PRLE_TRY_OUT(PRLE_MPI(MPI_Comm_size(world->handle, &world->base.size)));
    PRLE_TRY_OUT(locality_find(world));
    *out = &world->base;
    world = NULL;
out:
    prle_free(world);
    return st;
}

/* Tasks the launcher says it started; 1 when there is none. */
static long launched_tasks(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *text = getenv(names[i]);
        if (text != NULL && strtol(text, NULL, 10) > 1)
            return strtol(text, NULL, 10);
    }
    return 1;
}

static bool launcher_of_unknown_size(void)
{
    return getenv("PMIX_RANK") != NULL && getenv("OMPI_COMM_WORLD_SIZE") == NULL && getenv("SLURM_STEP_NUM_TASKS") == NULL;
}

prle_status prle_dist_begin(const prle_dist_opts *opts, prle_comm **world)
{
    const prle_dist_opts given = opts != NULL ? *opts : PRLE_DIST_OPTS_DEFAULT;
    const long n_tasks = launched_tasks();
    prle_comm *joined = NULL;
    int provided = MPI_THREAD_SINGLE;

    if (n_tasks == 1 && !launcher_of_unknown_size() && !given.force_mpi) {
        *world = prle_comm_self();
        return PRLE_OK;
    }
    /* A waiting rank lets loader threads have its core; spinning ones were measured to be 3 to 7 times slower on a busy machine.
     */
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
    PRLE_TRY(PRLE_MPI(MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &provided)));
    PRLE_TRY(PRLE_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN)));
    prle_fatal_hook_set(abort_job);
    PRLE_TRY(world_create(&joined));
    prle_log_rank_set(joined->rank, joined->size);
    if (joined->size < n_tasks) {
        const int size = joined->size;
        (void)prle_dist_end(joined, 0);
        return PRLE_FAIL(PRLE_EINVAL, "the launcher started %ld tasks but MPI sees %d: start with srun --mpi=pmix or mpirun",
                         n_tasks, size);
    }
    prle_log(PRLE_LOG_DEBUG, "dist", "mpi threads %s, rank %d of %d on this machine, %d sharing its cpus",
             provided == MPI_THREAD_MULTIPLE ? "multiple" : "limited", joined->local_rank, joined->local_size,
             joined->cpu_sharers);
    *world = joined;
    return PRLE_OK;
}

/* True when all ranks have come to the end: *exit_code becomes the greatest of all, which is a reason rather than "a peer
 * failed". A failed rank waits only for the grace. Sleeps between looks: the others may compute. */
static bool all_ended(prle_comm *world, int *exit_code)
{
    const bool failed = *exit_code != 0;
    const int own = *exit_code;
    const struct timespec pause = {.tv_nsec = 1000000};
    MPI_Request request = MPI_REQUEST_NULL;
    int ended = 0;

    if (MPI_Iallreduce(&own, exit_code, 1, MPI_INT, MPI_MAX, handle_of(world), &request) != MPI_SUCCESS)
        return false;
    for (int ms = 0; !failed || ms < END_GRACE_MS; ms++) {
        if (MPI_Test(&request, &ended, MPI_STATUS_IGNORE) != MPI_SUCCESS)
            return false;
        if (ended)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

int prle_dist_end(prle_comm *world, int exit_code)
{
    int job_code = exit_code;

    if (world == NULL || world->ops != &mpi_ops)
        return exit_code;
    if (!all_ended(world, &job_code)) {
        prle_log(PRLE_LOG_ERROR, "dist", "this rank failed alone and ends the job, exit code %d", exit_code);
        MPI_Abort(MPI_COMM_WORLD, exit_code != 0 ? exit_code : 1);
    }
    prle_comm_destroy(world);
    prle_fatal_hook_set(NULL);
    MPI_Finalize();
    return job_code;
}

const char *prle_version_mpi(void)
{
    static _Thread_local char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int n = 0;

    if (MPI_Get_library_version(text, &n) != MPI_SUCCESS)
        return "unknown";
    text[strcspn(text, ",\n")] = '\0'; /* then come package and build host */
    return text;
}
