/* dist.h - joins the other ranks at the start of a command and leaves them at its end: MPI behind core/comm.h. */
#pragma once
#include "core/comm.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct prle_dist_opts {
    bool force_mpi; /* start MPI even when no launcher is seen (tests; a singleton) */
} prle_dist_opts;

#define PRLE_DIST_OPTS_DEFAULT ((prle_dist_opts){.force_mpi = false})

/**
 * Joins the ranks started by mpirun or srun; call it once, at the start of main, after prle_alloc_setup.
 *
 * Without a launcher, or with one that started a single task, MPI is not touched and *world is prle_comm_self(). Otherwise MPI is
 * initialised (MPI_THREAD_MULTIPLE where the library gives it), its errors become PRLE_EMPI with MPI's text, prle_log names rank
 * and size, and prle_fatal ends the whole job by MPI_Abort.
 *
 * opts   in   NULL for the defaults
 * world  out  borrowed; prle_dist_end ends it
 * PRLE_EINVAL when the launcher started more tasks than MPI sees (srun without --mpi=pmix): each would take itself for the whole
 * job. Collective over all tasks of the launcher.
 */
PRLE_NODISCARD prle_status prle_dist_begin(const prle_dist_opts *opts, prle_comm **world);

/**
 * Leaves the job; the last call before main returns what this does: the greatest exit code of all ranks. Collective.
 *
 * A rank that failed alone (exit_code not 0 while others still wait for it in a collective) ends the whole job with its exit code
 * after a grace of 5 s; where all ranks come here, the job ends in the ordinary way, whatever their codes.
 */
int prle_dist_end(prle_comm *world, int exit_code);

/** "Open MPI v4.1.4"; MPI need not be up. Static storage. */
const char *prle_version_mpi(void);

#ifdef __cplusplus
}
#endif
