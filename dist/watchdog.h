/* watchdog.h - no wait without a deadline: a thread that ends the job when an operation of this rank takes too long. */
#pragma once
#include "core/comm.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PRLE_DEADLINE_DEFAULT_S 600.0

/**
 * Starts this rank's watchdog. From here on every collective of any prle_comm is watched, and what lies between
 * prle_watchdog_enter and _leave. An operation that lasts longer than the deadline is fatal: the log says
 * "rank R on HOST: OPERATION number N has not ended within S s" and prle_fatal ends the job (MPI_Abort under MPI).
 *
 * The clock stands still while this process is suspended: a stopped rank is reported by those that wait for it.
 *
 * comm        in  whose rank is named
 * deadline_s  in  > 0; 0 takes the environment's PRLE_DEADLINE, else PRLE_DEADLINE_DEFAULT_S
 * PRLE_EINVAL for a deadline below 0.1 s or not a number. Not collective; once per process.
 */
PRLE_NODISCARD prle_status prle_watchdog_begin(const prle_comm *comm, double deadline_s);

/** The deadline for waits of other kinds: the running watchdog's, else what prle_watchdog_begin would take for 0. */
PRLE_NODISCARD prle_status prle_watchdog_deadline(double *out_s);

/** Stops watching and joins the thread; fine when never begun. */
void prle_watchdog_end(void);

/** Around an operation that may hang (a wait for a loader thread, a file on a dead server). Per thread; pairs nest, 8 deep.
 * `what` must live until the matching leave. Nothing happens while no watchdog runs. */
void prle_watchdog_enter(const char *what);
void prle_watchdog_leave(void);

#ifdef __cplusplus
}
#endif
