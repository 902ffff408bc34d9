/* watchdog.c - a table of the operations under way, and a thread that looks at it. */
#include "dist/watchdog.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/threads.h"

enum {
    MAX_OPEN = 64,      /* operations under way in all threads; more are not watched */
    MAX_DEPTH = 8,      /* nested in one thread */
    ABORT_GRACE_S = 15, /* for MPI_Abort to end this process; SIGALRM does otherwise */
};

typedef struct operation {
    const char *what; /* NULL: a free entry */
    int64_t number;
    double start_s; /* on the awake clock */
} operation;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool runs, ends;
    int rank;
    double deadline_s, tick_s;
    double awake_s; /* time in which this process was not suspended */
    operation open[MAX_OPEN];
} dog = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* This thread's operations, innermost last: indices into dog.open, -1 when the table was full. */
static _Thread_local int stack[MAX_DEPTH], depth;
static _Thread_local int64_t n_collectives, n_others;

static void operation_open(const char *what, int64_t number)
{
    int at = -1;

    pthread_mutex_lock(&dog.lock);
    if (dog.runs)
        for (at = MAX_OPEN - 1; at >= 0 && dog.open[at].what != NULL; at--) {
        }
    if (at >= 0)
        dog.open[at] = (operation){.what = what, .number = number, .start_s = dog.awake_s};
    pthread_mutex_unlock(&dog.lock);
    if (depth < MAX_DEPTH)
        stack[depth] = at;
    depth++;
}

static void operation_close(void)
{
    depth--;
    if (depth >= MAX_DEPTH || stack[depth] < 0)
        return;
    pthread_mutex_lock(&dog.lock);
    dog.open[stack[depth]].what = NULL;
    pthread_mutex_unlock(&dog.lock);
}

static void watch_collective(const char *what, int begins)
{
    if (begins)
        operation_open(what, ++n_collectives);
    else
        operation_close();
}

void prle_watchdog_enter(const char *what) { operation_open(what, ++n_others); }

void prle_watchdog_leave(void) { operation_close(); }

/* The overdue operation that began last: the innermost of a nest. NULL when none is. */
static const operation *find_overdue(void)
{
    const operation *found = NULL;

    for (int i = 0; i < MAX_OPEN; i++) {
        const operation *op = &dog.open[i];
        if (op->what != NULL && dog.awake_s - op->start_s > dog.deadline_s && (found == NULL || op->start_s > found->start_s))
            found = op;
    }
    return found;
}

__attribute__((noreturn)) static void end_job(const operation *overdue)
{
    char host[64] = "", text[512];

    gethostname(host, sizeof host - 1);
    snprintf(text, sizeof text, "rank %d on %s: %s number %lld has not ended within %g s", dog.rank, host, overdue->what,
             (long long)overdue->number, dog.deadline_s);
    signal(SIGALRM, SIG_DFL);
    alarm(ABORT_GRACE_S);
    prle_fatal(__FILE__, __LINE__, text);
}

static void sleep_one_tick(void)
{
    const double until_s = prle_clock_s() + dog.tick_s;
    const struct timespec until = {.tv_sec = (time_t)until_s, .tv_nsec = (long)(1e9 * (until_s - (double)(time_t)until_s))};

    pthread_cond_timedwait(&dog.wake, &dog.lock, &until);
}

static void *watch_thread(void *unused)
{
    double last_s = prle_clock_s();

    (void)unused;
    pthread_mutex_lock(&dog.lock);
    while (!dog.ends) {
        sleep_one_tick();
        const double now_s = prle_clock_s(), gap_s = now_s - last_s;
        dog.awake_s += gap_s < 4 * dog.tick_s ? gap_s : dog.tick_s; /* a longer gap: the process was stopped */
        last_s = now_s;
        const operation *overdue = find_overdue();
        if (overdue != NULL)
            end_job(overdue);
    }
    pthread_mutex_unlock(&dog.lock);
    return NULL;
}

static prle_status deadline_choose(double given_s, double *deadline_s)
{
    const char *text = getenv("PRLE_DEADLINE");
    char *end = NULL;
    double s = given_s;

    if (s == 0 && text != NULL) {
        s = strtod(text, &end);
        PRLE_CHECK(end != text && *end == '\0', PRLE_EINVAL, "PRLE_DEADLINE=%s is no number of seconds", text);
    } else if (s == 0) {
        s = PRLE_DEADLINE_DEFAULT_S;
    }
    PRLE_CHECK(s >= 0.1 && s <= 1e6, PRLE_EINVAL, "a deadline of %g s: give 0.1 ... 1e6", s);
    *deadline_s = s;
    return PRLE_OK;
}

prle_status prle_watchdog_deadline(double *out_s) { return deadline_choose(dog.runs ? dog.deadline_s : 0, out_s); }

/* Deadlines are on the monotonic clock: a change of the date is no reason to end a job. */
static void condition_make(void)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&dog.wake, &attributes);
    pthread_condattr_destroy(&attributes);
}

prle_status prle_watchdog_begin(const prle_comm *comm, double deadline_s)
{
    PRLE_CHECK(!dog.runs, PRLE_EINVAL, "the watchdog runs already");
    PRLE_TRY(deadline_choose(deadline_s, &dog.deadline_s));
    dog.tick_s = dog.deadline_s / 20 < 1 ? dog.deadline_s / 20 : 1;
    dog.rank = comm->rank;
    dog.ends = false;
    dog.awake_s = 0;
    memset(dog.open, 0, sizeof dog.open);
    condition_make();
    PRLE_TRY(prle_thread_start(&dog.thread, watch_thread, NULL, "watchdog"));
    pthread_mutex_lock(&dog.lock);
    dog.runs = true;
    pthread_mutex_unlock(&dog.lock);
    prle_comm_watch_set(watch_collective);
    return PRLE_OK;
}

void prle_watchdog_end(void)
{
    if (!dog.runs)
        return;
    prle_comm_watch_set(NULL);
    pthread_mutex_lock(&dog.lock);
    dog.runs = false;
    dog.ends = true;
    pthread_cond_signal(&dog.wake);
    pthread_mutex_unlock(&dog.lock);
    pthread_join(dog.thread, NULL);
    pthread_cond_destroy(&dog.wake);
}
