/* units.h - runs an offline stage (cam, fuse) in small committed units over all ranks: kill it any time, run it again, it goes
 * on. */
#pragma once
#include "core/comm.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PRLE_UNIT_ITEMS = 64 }; /* items in a unit: a commit costs a few per cent at most */

/** How far the stage is. */
typedef struct prle_units_progress {
    int64_t own_done, own_total; /* units of this rank in this run */
    int64_t all_done, all_total; /* of all ranks in this run; all_done as of the last exchange */
    int64_t n_units;             /* of the stage: n_units - all_total were committed by earlier runs */
} prle_units_progress;

/** Unit u holds items [first, first + n), first = u * items_per_unit; its file is prle_rows_part_path's (core/rows.h). */
typedef struct prle_units_opts {
    const char *parts_dir; /* the unit files' folder; made when missing, removed when the stage is finished */
    int64_t n_items;
    int64_t items_per_unit;
    double lock_wait_s; /* how long to wait for ranks of an earlier run that are still dying */
    void *ctx;          /* the first argument of each call below, all but commit from the calling thread */

    /** Makes the unit, in the stage's own memory number `slot`, 0 or 1: each holds one unit until it is committed. Called on the
     * unit's rank. */
    prle_status (*make)(void *ctx, int64_t first, int64_t n, int slot);

    /** Commits what was made in that slot: the file appears at `path` when whole and fsynced, by way of prle_file_temp_path, as
     * every writer of core does it (prle_rows_part_write, prle_file_write_atomic). Called by a thread of its own, while the next
     * unit is made in the other slot; of one unit at a time. */
    prle_status (*commit)(void *ctx, int64_t first, int64_t n, int slot, const char *path);

    /** PRLE_OK when the unit file that lies there is whole and of this stage (same weights, same store); else it is made again
     * and the message logged. Called on any rank. */
    prle_status (*check)(void *ctx, int64_t first, int64_t n, const char *path);

    /** Rank 0, when all units are there: commits the stage's result. Calls prle_units_beat at least every minute. */
    prle_status (*finish)(void *ctx, const char *parts_dir, int64_t n_units, prle_comm *comm);

    /** Told at the start and after each commit of this rank; NULL for nobody. */
    void (*progress)(void *ctx, const prle_units_progress *progress);
} prle_units_opts;

#define PRLE_UNITS_OPTS_DEFAULT ((prle_units_opts){.items_per_unit = PRLE_UNIT_ITEMS, .lock_wait_s = 15})

/**
 * Runs the stage. Rank 0 lists what is committed, the i-th missing unit belongs to rank i mod size, and a unit file appears under
 * its name only when whole: written under a temporary name, fsynced, renamed, folder fsynced. Who made which unit does not show
 * in the result, so a stage may go on with another number of ranks. What a killed run left half-done is removed at the start.
 *
 * The ranks meet every few units, with nothing left to commit: one that hangs is missed within the watchdog's deadline, a stop
 * request (dist/stop.h) reaches all. When a unit fails, its rank begins no more of them, the others do theirs, then all return.
 *
 * PRLE_ESTOP    on every rank when a stop was asked for and units are missing; what is committed stays
 * PRLE_EPEER    another rank failed
 * PRLE_EFORMAT  the folder has units beyond this stage: it belongs to another one
 * PRLE_EIO      another run works in the folder, or a file operation failed
 * else          what make, commit or finish returned on this rank
 * Collective.
 *
 * The caller looks first whether the result is there already: a run killed between finish and the removal of the folder leaves
 * both.
 */
PRLE_NODISCARD prle_status prle_units_run(prle_comm *comm, const prle_units_opts *opts);

/** Inside finish: lets the waiting ranks know that rank 0 is alive. */
PRLE_NODISCARD prle_status prle_units_beat(prle_comm *comm);

#ifdef __cplusplus
}
#endif
