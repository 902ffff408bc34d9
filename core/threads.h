/* threads.h - how many threads a rank computes with: decided here, once, and told to OpenMP; and threads beside those. */
#pragma once
#include <pthread.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** CPUs this process may use: its affinity mask, and no more than its control group's CPU quota (containers). At least 1. */
int prle_threads_available(void);

/**
 * Sets the threads of every parallel region from here on, in the calling thread and those it starts.
 *
 * requested    in   threads of this rank; 0 chooses: OMP_NUM_THREADS where set, else available CPUs / cpu_sharers, at least 1
 * cpu_sharers  in   ranks that share this rank's CPUs (prle_comm.cpu_sharers)
 * n_threads    out  what was set
 * PRLE_EINVAL for a negative number or an OMP_NUM_THREADS that is none. Not collective: ranks may differ.
 */
PRLE_NODISCARD prle_status prle_threads_setup(int requested, int cpu_sharers, int *n_threads);

/** Threads of the next parallel region that the calling thread opens. At least 1. */
int prle_threads_current(void);

/**
 * Makes idle OpenMP threads sleep instead of spin where this machine's ranks ask for more threads than it has CPUs. The OpenMP
 * runtime reads that choice only when a program starts, so it is set in the environment and the program is started again in this
 * process: call it before MPI, threads or open files. Returns at once when there are CPUs enough or the user has chosen
 * (OMP_WAIT_POLICY, GOMP_SPINCOUNT).
 *
 * requested  in  as for prle_threads_setup; the number of local ranks is read from the launcher's environment
 * argv       in  as main got it
 */
PRLE_NODISCARD prle_status prle_threads_wait_setup(int requested, char **argv);

/** pthread_create for a helper thread: it gets no signals, which belong to the main thread. `what` names it in the error. */
PRLE_NODISCARD prle_status prle_thread_start(pthread_t *thread, void *(*run)(void *), void *arg, const char *what);

#ifdef __cplusplus
}
#endif
