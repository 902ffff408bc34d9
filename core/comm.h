/* comm.h - the abstract communicator: all that nets and stages know of other ranks. dist/ implements it over MPI. */
#pragma once
#include <stdint.h>

#include "core/status.h"
#include "core/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct prle_comm prle_comm;

/** What an implementation fills in. Every function is collective over the communicator's ranks. */
typedef struct prle_comm_ops {
    const char *name; /* "self", "mpi", "nccl" */
    /* In place, elementwise over ranks; the same bits on every rank. n elements of F32 or F64. */
    prle_status (*sum)(prle_comm *comm, void *values, int64_t n, prle_dtype dtype);
    prle_status (*max_i64)(prle_comm *comm, int64_t *values, int64_t n);
    prle_status (*sum_i64)(prle_comm *comm, int64_t *values, int64_t n);
    prle_status (*broadcast)(prle_comm *comm, void *bytes, int64_t n_bytes, int root);
    /* Blocks of any size to rank root, in rank order; *out (root only, caller frees with prle_free) and counts [size] in bytes.
     */
    prle_status (*gather)(prle_comm *comm, const void *bytes, int64_t n_bytes, int root, void **out, int64_t *counts_bytes);
    prle_status (*barrier)(prle_comm *comm);
    prle_status (*duplicate)(prle_comm *comm, prle_comm **out);
    void (*destroy)(prle_comm *comm);
    /* sum in two parts, of values in a GPU's memory: begin queues it behind what the GPU has been given so far, what it is given
     * after end sees all sums begun. NULL (both) where values lie in the host's memory. */
    prle_status (*sum_begin)(prle_comm *comm, void *values, int64_t n, prle_dtype dtype);
    prle_status (*sum_end)(prle_comm *comm);
} prle_comm_ops;

/** The head of every implementation's own structure. */
struct prle_comm {
    const prle_comm_ops *ops;
    int rank, size;             /* in the communicator */
    int local_rank, local_size; /* among the ranks that share this machine's memory */
    int cpu_sharers;            /* ranks of this machine that may run on this rank's CPUs, itself included */
    const char *what;           /* what the last call of it was for: "gradients" */
};

/** The communicator of a single rank; never fails, nothing to destroy (destroying it is fine). */
prle_comm *prle_comm_self(void);

/* The calls below forward to ops. `what` is shown by the watchdog and in errors: "gradients", "scores", ... */
PRLE_NODISCARD prle_status prle_comm_sum(prle_comm *comm, void *values, int64_t n, prle_dtype dtype, const char *what);
/** Whether the sums are of values in a GPU's memory, and may be begun before they are needed. */
static inline bool prle_comm_overlaps(const prle_comm *comm) { return comm->ops->sum_begin != NULL; }
PRLE_NODISCARD prle_status prle_comm_sum_begin(prle_comm *comm, void *values, int64_t n, prle_dtype dtype, const char *what);
PRLE_NODISCARD prle_status prle_comm_sum_end(prle_comm *comm);
PRLE_NODISCARD prle_status prle_comm_max_i64(prle_comm *comm, int64_t *values, int64_t n, const char *what);
PRLE_NODISCARD prle_status prle_comm_sum_i64(prle_comm *comm, int64_t *values, int64_t n, const char *what);
PRLE_NODISCARD prle_status prle_comm_broadcast(prle_comm *comm, void *bytes, int64_t n_bytes, int root, const char *what);
PRLE_NODISCARD prle_status prle_comm_gather(prle_comm *comm, const void *bytes, int64_t n_bytes, int root, void **out,
                                            int64_t *counts_bytes, const char *what);
PRLE_NODISCARD prle_status prle_comm_barrier(prle_comm *comm, const char *what);

/**
 * A second communicator of the same ranks, whose collectives do not mix with the first one's: for a thread of its own.
 * Collective. PRLE_ENOTSUP (on every rank) where the library does not allow calls from several threads. Destroy with
 * prle_comm_destroy.
 */
PRLE_NODISCARD prle_status prle_comm_duplicate(prle_comm *comm, prle_comm **out);

/**
 * Ends a phase: every rank learns the worst status of all. Collective; call it with your own status where others may have failed.
 * Returns `st` when this rank failed, PRLE_EPEER (message names the first failing rank) when only others did, PRLE_OK when none.
 */
PRLE_NODISCARD prle_status prle_comm_agree(prle_comm *comm, prle_status st, const char *what);

void prle_comm_destroy(prle_comm *comm); /* NULL is fine */

/** Who is told when a collective begins and ends: the watchdog in dist/. NULL clears. */
typedef void (*prle_comm_watch)(const char *what, int begins);
void prle_comm_watch_set(prle_comm_watch watch);

#ifdef __cplusplus
}
#endif
