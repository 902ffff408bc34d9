/* stop.h - asked to stop (SIGUSR1: Slurm's time limit; SIGTERM: cancelled): all ranks hear of it at the same step. */
#pragma once
#include "core/comm.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * From here on SIGUSR1 and SIGTERM only set this process's flag. mpirun and srun pass both on to every rank. Calls nest.
 * jobs/main.c begins for a command and does not end: a signal that comes when its work is done must not make a killed run of it.
 */
PRLE_NODISCARD prle_status prle_stop_begin(void);

/** The outermost end gives the signals back to whoever had them and clears the flag. */
void prle_stop_end(void);

/** Whether this rank has got a signal; the others may not have yet. Not collective. */
bool prle_stop_pending(void);

/** *stop is true, on every rank, once any rank has got a signal: checkpoint, then exit with 75. One all-reduce. Collective. */
PRLE_NODISCARD prle_status prle_stop_requested(prle_comm *comm, bool *stop);

#ifdef __cplusplus
}
#endif
