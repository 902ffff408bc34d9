/* units.c - see units.h. */
#include "dist/units.h"

#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/log.h"
#include "core/rows.h"
#include "core/threads.h"
#include "dist/stop.h"
#include "dist/watchdog.h"

enum { ROUND_UNITS = 8, SLOTS = 2 }; /* units of each rank between two meetings of all; units in hand at a time */

/** A unit on its way to the disk. */
typedef struct writer {
    const prle_units_opts *opts;
    int64_t first, n;
    int slot;
    char *path;
    pthread_t thread;
    bool running;
    prle_status st; /* of the thread, whose error record is its own */
    char message[1024];
} writer;

/** One run of a stage, on one rank. */
typedef struct units_run {
    prle_comm *comm;
    const prle_units_opts *opts;
    int64_t n_units;
    int64_t *there; /* [n_units] 1 where a whole unit file lies, the same on every rank */
    int lock;       /* file descriptor, -1 for none: rank 0 alone holds it, from beginning to end */
    int presence;   /* likewise: the other ranks share it, so that a later run can wait until the last one has died */
    prle_units_progress progress;
    int slot; /* where the next unit is made */
    writer writer;
} units_run;

/* The unit whose file has that name; -1 when none has. */
static prle_status unit_of_name(const units_run *run, const char *name, int64_t *unit)
{
    const char *folder = run->opts->parts_dir;
    long long number = -1;
    char *path = NULL;

    *unit = -1;
    if (sscanf(name, "unit-%lld", &number) != 1 || number < 0)
        return PRLE_OK;
    PRLE_TRY(prle_rows_part_path(folder, number, &path));
    if (strcmp(path + strlen(folder) + 1, name) == 0)
        *unit = number;
    prle_free(path);
    return PRLE_OK;
}

static int64_t unit_first(const units_run *run, int64_t unit) { return unit * run->opts->items_per_unit; }

static int64_t unit_count(const units_run *run, int64_t unit)
{
    const int64_t left = run->opts->n_items - unit_first(run, unit);

    return left < run->opts->items_per_unit ? left : run->opts->items_per_unit;
}

static prle_status lock_take(const units_run *run, const char *name, bool shared, int *file)
{
    char *path = NULL;

    PRLE_TRY(prle_path_join(run->opts->parts_dir, name, &path));
    const prle_status st = prle_file_lock(path, shared, run->opts->lock_wait_s, file);
    prle_free(path);
    return st;
}

static void lock_drop(int *file)
{
    prle_file_close(*file);
    *file = -1;
}

static void locks_close(units_run *run)
{
    lock_drop(&run->presence);
    lock_drop(&run->lock);
}

/* Notes which units lie there. */
static prle_status folder_list(units_run *run)
{
    prle_strings names = {0};
    prle_status st = PRLE_OK;

    PRLE_TRY(prle_folder_list(run->opts->parts_dir, &names));
    for (int64_t i = 0; i < names.n; i++) {
        int64_t unit = -1;
        PRLE_TRY_OUT(unit_of_name(run, names.item[i], &unit));
        PRLE_CHECK_OUT(unit < run->n_units, PRLE_EFORMAT,
                       "%s/%s: this run has %lld units only, so the folder belongs to another one: remove it",
                       run->opts->parts_dir, names.item[i], (long long)run->n_units);
        if (unit >= 0)
            run->there[unit] = 1;
    }
out:
    prle_strings_deinit(&names);
    return st;
}

/* Rank 0's part of the beginning: no other run's rank 0 is alive, and then none of its other ranks. */
static prle_status folder_open(units_run *run)
{
    PRLE_TRY(prle_folder_make(run->opts->parts_dir));
    PRLE_TRY(lock_take(run, "lock", false, &run->lock));
    PRLE_TRY(lock_take(run, "presence", false, &run->presence));
    lock_drop(&run->presence);
    PRLE_TRY(prle_file_remove_stale(run->opts->parts_dir, NULL));
    return folder_list(run);
}

static prle_status folder_join(units_run *run) { return lock_take(run, "presence", true, &run->presence); }

static prle_status unit_check(units_run *run, int64_t unit, bool *whole)
{
    char *path = NULL;

    PRLE_TRY(prle_rows_part_path(run->opts->parts_dir, unit, &path));
    *whole = run->opts->check(run->opts->ctx, unit_first(run, unit), unit_count(run, unit), path) == PRLE_OK;
    if (!*whole)
        prle_log(PRLE_LOG_WARN, "dist", "%s: made again: %s", path, prle_error_message());
    prle_free(path);
    return PRLE_OK;
}

/* Units that lie there are checked by all ranks, each its share; what is not whole counts as missing. */
static prle_status units_check(units_run *run)
{
    int64_t n_there = 0;
    prle_status st = PRLE_OK;

    for (int64_t unit = 0; unit < run->n_units; unit++) {
        bool whole = false;
        if (!run->there[unit])
            continue;
        if (n_there++ % run->comm->size == run->comm->rank && st == PRLE_OK)
            st = unit_check(run, unit, &whole);
        run->there[unit] = whole;
    }
    PRLE_TRY(prle_comm_agree(run->comm, st, "unit list"));
    return prle_comm_sum_i64(run->comm, run->there, run->n_units, "unit list");
}

/* All ranks agree on what is there. */
static prle_status units_list(units_run *run)
{
    prle_comm *comm = run->comm;
    const int64_t n_bytes = run->n_units * (int64_t)sizeof *run->there;
    prle_status st = PRLE_NEW(run->there, run->n_units);

    if (st == PRLE_OK && comm->rank == 0)
        st = folder_open(run);
    PRLE_TRY(prle_comm_agree(comm, st, "unit list"));
    st = comm->rank == 0 ? PRLE_OK : folder_join(run);
    PRLE_TRY(prle_comm_agree(comm, st, "unit list"));
    PRLE_TRY(prle_comm_broadcast(comm, run->there, n_bytes, 0, "unit list"));
    return units_check(run);
}

static void progress_tell(const units_run *run)
{
    if (run->opts->progress != NULL)
        run->opts->progress(run->opts->ctx, &run->progress);
}

/* ---- commits, beside the making of the next unit ---- */

static void *commit_work(void *arg)
{
    writer *w = arg;

    w->st = w->opts->commit(w->opts->ctx, w->first, w->n, w->slot, w->path);
    if (w->st == PRLE_OK && !prle_file_exists(w->path))
        w->st = PRLE_FAIL(PRLE_EIO, "%s: was not committed", w->path);
    if (w->st != PRLE_OK)
        snprintf(w->message, sizeof w->message, "%s", prle_error_message());
    return NULL;
}

static prle_status items_prefix(int64_t first, int64_t n)
{
    return prle_error_prefix("items %lld ... %lld", (long long)first, (long long)(first + n - 1));
}

/* Waits for the unit that is being committed, if any. */
static prle_status commit_end(units_run *run)
{
    writer *w = &run->writer;

    if (!w->running)
        return PRLE_OK;
    prle_watchdog_enter("committing a work unit");
    pthread_join(w->thread, NULL);
    prle_watchdog_leave();
    w->running = false;
    prle_free(w->path);
    w->path = NULL;
    if (w->st != PRLE_OK) {
        (void)PRLE_FAIL(w->st, "%s", w->message);
        return items_prefix(w->first, w->n);
    }
    run->progress.own_done++;
    progress_tell(run);
    return PRLE_OK;
}

static prle_status commit_begin(units_run *run, int64_t unit)
{
    writer *w = &run->writer;

    w->opts = run->opts;
    w->first = unit_first(run, unit);
    w->n = unit_count(run, unit);
    w->slot = run->slot;
    PRLE_TRY(prle_rows_part_path(run->opts->parts_dir, unit, &w->path));
    const prle_status st = prle_thread_start(&w->thread, commit_work, w, "commit");
    w->running = st == PRLE_OK;
    if (!w->running) {
        prle_free(w->path);
        w->path = NULL;
    }
    run->slot = (run->slot + 1) % SLOTS;
    return st;
}

/* Makes a unit while the one before is committed, and begins to commit it. */
static prle_status unit_do(units_run *run, int64_t unit)
{
    const int64_t first = unit_first(run, unit), n = unit_count(run, unit);

    prle_watchdog_enter("work unit");
    prle_status st = run->opts->make(run->opts->ctx, first, n, run->slot);
    prle_watchdog_leave();
    if (st != PRLE_OK)
        return items_prefix(first, n);
    PRLE_TRY(commit_end(run));
    return commit_begin(run, unit);
}

/* The missing unit after `unit` that belongs to this rank; n_units when there is none. *n_missing counts those passed. */
static int64_t next_own(const units_run *run, int64_t unit, int64_t *n_missing)
{
    for (unit++; unit < run->n_units; unit++)
        if (!run->there[unit] && (*n_missing)++ % run->comm->size == run->comm->rank)
            break;
    return unit;
}

/* All ranks come here the same number of times, with or without units left. */
static prle_status ranks_meet(units_run *run, bool *stop)
{
    int64_t totals[2] = {run->progress.own_done, prle_stop_pending()};

    PRLE_TRY(prle_comm_sum_i64(run->comm, totals, 2, "round of units"));
    run->progress.all_done = totals[0];
    *stop = totals[1] > 0;
    return PRLE_OK;
}

/* Returns this rank's own status; PRLE_ESTOP, on all ranks, when units are left because of a stop request. */
static prle_status units_process(units_run *run)
{
    const int64_t most = (run->progress.all_total + run->comm->size - 1) / run->comm->size; /* units of the busiest rank */
    int64_t n_missing = 0, unit = next_own(run, -1, &n_missing);
    prle_status st = PRLE_OK;
    bool stop = false;

    for (int64_t at = 0; at < most && !stop; at += ROUND_UNITS) {
        for (int i = 0; i < ROUND_UNITS && unit < run->n_units && st == PRLE_OK && !prle_stop_pending(); i++) {
            st = unit_do(run, unit);
            unit = next_own(run, unit, &n_missing);
        }
        const prle_status ended = commit_end(run);
        if (ended != PRLE_OK)
            st = ended;
        const prle_status met = ranks_meet(run, &stop);
        if (met != PRLE_OK)
            return st != PRLE_OK ? st : met;
    }
    PRLE_TRY(st);
    PRLE_CHECK(!stop || run->progress.all_done == run->progress.all_total, PRLE_ESTOP,
               "stopped as asked, %lld of %lld units still missing: run again to go on",
               (long long)(run->progress.all_total - run->progress.all_done), (long long)run->n_units);
    return PRLE_OK;
}

prle_status prle_units_beat(prle_comm *comm)
{
    int64_t goes_on = 1;

    return prle_comm_broadcast(comm, &goes_on, sizeof goes_on, 0, "end of the stage");
}

/* Rank 0 finishes; the others listen to its beats until the one that says it is done. */
static prle_status units_finish(units_run *run)
{
    int64_t goes_on = 0;
    prle_status st = PRLE_OK;

    if (run->comm->rank == 0) {
        st = run->opts->finish(run->opts->ctx, run->opts->parts_dir, run->n_units, run->comm);
        locks_close(run); /* a file held open keeps its folder alive on NFS */
        if (st == PRLE_OK)
            st = prle_folder_remove(run->opts->parts_dir);
    }
    do {
        PRLE_TRY(prle_comm_broadcast(run->comm, &goes_on, sizeof goes_on, 0, "end of the stage"));
    } while (goes_on);
    return prle_comm_agree(run->comm, st, "end of the stage");
}

static prle_status opts_check(const prle_units_opts *o)
{
    PRLE_CHECK(o->n_items >= 0 && o->items_per_unit >= 1, PRLE_EINVAL, "%lld items in units of %lld", (long long)o->n_items,
               (long long)o->items_per_unit);
    return PRLE_OK;
}

static void progress_start(units_run *run)
{
    int64_t n_missing = 0;

    for (int64_t unit = next_own(run, -1, &n_missing); unit < run->n_units; unit = next_own(run, unit, &n_missing))
        run->progress.own_total++;
    run->progress.all_total = n_missing;
    run->progress.n_units = run->n_units;
    progress_tell(run);
}

prle_status prle_units_run(prle_comm *comm, const prle_units_opts *opts)
{
    units_run run = {.comm = comm, .opts = opts, .lock = -1, .presence = -1};
    prle_status st = PRLE_OK;

    PRLE_TRY(opts_check(opts));
    run.n_units = (opts->n_items + opts->items_per_unit - 1) / opts->items_per_unit;
    PRLE_TRY_OUT(units_list(&run));
    progress_start(&run);
    st = units_process(&run);
    if (comm->rank != 0)
        locks_close(&run); /* from here on only rank 0 touches the folder */
    PRLE_TRY_OUT(prle_comm_agree(comm, st, "work units"));
    PRLE_TRY_OUT(units_finish(&run));
out:
    locks_close(&run);
    prle_free(run.there);
    return st;
}
