/* test_units_kill.c - a stage whose ranks die on a timer; test_units_kill.sh runs it again and again and looks at the folder. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/rows.h"
#include "dist/dist.h"
#include "dist/units.h"

enum { UNIT_US = 1500 };

static const char *log_path, *result_path;

/* A line in the log first, in one write: whatever is killed afterwards, the call is on record. */
static prle_status call_note(int64_t unit)
{
    char line[64];

    const int log = open(log_path, O_WRONLY | O_APPEND | O_CREAT, 0666);
    const int length = snprintf(line, sizeof line, "unit-%06lld.h5\n", (long long)unit);
    PRLE_CHECK(log >= 0 && write(log, line, (size_t)length) == length, PRLE_EIO, "%s: cannot write", log_path);
    close(log);
    return PRLE_OK;
}

static prle_status make(void *ctx, int64_t first, int64_t n, int slot)
{
    (void)ctx, (void)slot;
    return call_note(first / n);
}

static prle_status commit(void *ctx, int64_t first, int64_t n, int slot, const char *path)
{
    const struct timespec work = {.tv_nsec = UNIT_US * 1000L};
    char *tmp_path = NULL;

    (void)ctx, (void)slot;
    PRLE_TRY(prle_file_temp_path(path, &tmp_path));
    FILE *file = fopen(tmp_path, "w");
    PRLE_CHECK(file != NULL, PRLE_EIO, "%s: cannot write", tmp_path);
    fprintf(file, "items %lld", (long long)first);
    fflush(file);
    nanosleep(&work, NULL); /* half a file lies there for a while */
    fprintf(file, " ... %lld\n", (long long)(first + n - 1));
    fclose(file);
    const prle_status st = prle_file_publish(tmp_path, path);
    prle_free(tmp_path);
    return st;
}

static prle_status check(void *ctx, int64_t first, int64_t n, const char *path)
{
    long long from = -1, to = -1;
    FILE *file = fopen(path, "r");

    (void)ctx;
    PRLE_CHECK(file != NULL, PRLE_EIO, "%s: cannot read", path);
    const int read = fscanf(file, "items %lld ... %lld\n", &from, &to);
    fclose(file);
    PRLE_CHECK(read == 2 && from == first && to == first + n - 1, PRLE_EFORMAT, "%s: torn", path);
    return PRLE_OK;
}

static prle_status finish(void *ctx, const char *parts_dir, int64_t n_units, prle_comm *comm)
{
    char *path = NULL, *all = NULL;
    size_t used = 0;
    prle_status st = PRLE_OK;

    (void)ctx;
    PRLE_TRY(PRLE_NEW(all, 64 * n_units));
    for (int64_t unit = 0; unit < n_units; unit++) {
        uint8_t *text = NULL;
        size_t n_bytes = 0;
        PRLE_TRY_OUT(prle_rows_part_path(parts_dir, unit, &path));
        PRLE_TRY_OUT(prle_file_read_all(path, &text, &n_bytes));
        memcpy(all + used, text, n_bytes);
        used += n_bytes;
        prle_free(text);
        prle_free(path);
        PRLE_TRY_OUT(prle_units_beat(comm));
    }
    PRLE_TRY_OUT(prle_file_write_atomic(result_path, all, used));
out:
    prle_free(all);
    return st;
}

static void die(int number)
{
    (void)number;
    kill(getpid(), SIGKILL);
}

/* FOLDER N_UNITS RANK MS: rank RANK kills itself after MS milliseconds; a RANK below 0 lets all live. */
int main(int argc, char **argv)
{
    prle_units_opts opts = PRLE_UNITS_OPTS_DEFAULT;
    char parts[200], log[200], result[200];
    prle_comm *world = NULL;

    if (argc != 5 || prle_dist_begin(NULL, &world) != PRLE_OK)
        return 2;
    snprintf(parts, sizeof parts, "%s/parts", argv[1]);
    snprintf(log, sizeof log, "%s/log", argv[1]);
    snprintf(result, sizeof result, "%s/result", argv[1]);
    log_path = log;
    result_path = result;
    opts.parts_dir = parts;
    opts.items_per_unit = 4;
    opts.n_items = 4 * atoll(argv[2]);
    opts.make = make;
    opts.commit = commit;
    opts.check = check;
    opts.finish = finish;
    if (atoi(argv[3]) == world->rank) {
        const long ms = atol(argv[4]);
        const struct itimerval timer = {.it_value = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000}};
        signal(SIGALRM, die);
        setitimer(ITIMER_REAL, &timer, NULL);
    }
    const prle_status st = prle_units_run(world, &opts);
    if (st != PRLE_OK)
        fprintf(stderr, "%s\n", prle_error_message());
    return prle_dist_end(world, st != PRLE_OK);
}
