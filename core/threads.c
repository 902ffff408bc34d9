/* threads.c - see threads.h. */
#include "core/threads.h"

#include <errno.h>
#include <omp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"

enum { MAX_THREADS = 4096 };

/* The CPU quota of this process's control group (version 2) in whole CPUs, rounded up; 0 when there is none. */
static int quota_cpus(void)
{
    char group[512] = "", path[640];
    long long quota = 0, period = 0;

    FILE *file = fopen("/proc/self/cgroup", "re");
    if (file == NULL)
        return 0;
    const int named = fscanf(file, "0::%511s", group);
    fclose(file);
    if (named != 1)
        return 0;
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
    file = fopen(path, "re");
    if (file == NULL)
        return 0;
    const int read = fscanf(file, "%lld %lld", &quota, &period); /* "max 100000" where there is no limit */
    fclose(file);
    return read == 2 && quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}

int prle_threads_available(void)
{
    cpu_set_t set;
    const int quota = quota_cpus();
    int n = 1;

    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = CPU_COUNT(&set);
    return quota > 0 && quota < n ? quota : n;
}

/* OMP_NUM_THREADS may be a list, one number for each level of nesting; the first is ours. */
static prle_status environment_threads(int *n)
{
    const char *text = getenv("OMP_NUM_THREADS");
    char *end = NULL;

    *n = 0;
    if (text == NULL || text[0] == '\0')
        return PRLE_OK;
    const long value = strtol(text, &end, 10);
    PRLE_CHECK(end != text && (*end == '\0' || *end == ',') && value >= 1 && value <= MAX_THREADS, PRLE_EINVAL,
               "OMP_NUM_THREADS=%s is no number of threads: give 1 ... %d", text, MAX_THREADS);
    *n = (int)value;
    return PRLE_OK;
}

static prle_status threads_choose(int requested, int cpu_sharers, int *n_threads)
{
    int n = requested;

    PRLE_CHECK(requested >= 0 && requested <= MAX_THREADS, PRLE_EINVAL, "%d threads: give 1 ... %d, or 0 to choose", requested,
               MAX_THREADS);
    PRLE_CHECK(cpu_sharers >= 1, PRLE_EINVAL, "%d ranks share the cpus: at least 1", cpu_sharers);
    if (n == 0)
        PRLE_TRY(environment_threads(&n));
    if (n == 0)
        n = prle_threads_available() / cpu_sharers;
    *n_threads = n > 0 ? n : 1;
    return PRLE_OK;
}

prle_status prle_threads_setup(int requested, int cpu_sharers, int *n_threads)
{
    int n;

    PRLE_TRY(threads_choose(requested, cpu_sharers, &n));
    omp_set_dynamic(0); /* the number of threads decides the order of sums: never the runtime's choice */
    omp_set_num_threads(n);
    prle_log(PRLE_LOG_DEBUG, "core", "threads %d, cpus %d, ranks sharing them %d", n, prle_threads_available(), cpu_sharers);
    *n_threads = n;
    return PRLE_OK;
}

int prle_threads_current(void) { return omp_get_max_threads(); }

/* Ranks on this machine, as mpirun or srun tells its tasks; 1 without either. */
static int launched_local_ranks(void)
{
    const char *text = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");

    if (text == NULL)
        text = getenv("SLURM_STEP_TASKS_PER_NODE"); /* "4" or "4(x2),3": nodes alike, or nearly */
    const long n = text != NULL ? strtol(text, NULL, 10) : 1;
    return n >= 1 && n <= MAX_THREADS ? (int)n : 1;
}

prle_status prle_threads_wait_setup(int requested, char **argv)
{
    const int ranks = launched_local_ranks(), cpus = prle_threads_available();
    int n;

    if (getenv("OMP_WAIT_POLICY") != NULL || getenv("GOMP_SPINCOUNT") != NULL)
        return PRLE_OK;
    PRLE_TRY(threads_choose(requested, ranks, &n));
    if (n == 1 || (int64_t)n * ranks <= cpus)
        return PRLE_OK;
    PRLE_CHECK(setenv("OMP_WAIT_POLICY", "passive", 1) == 0, PRLE_ENOMEM, "cannot set OMP_WAIT_POLICY");
    execv("/proc/self/exe", argv);
    return PRLE_FAIL(PRLE_EIO, "cannot start %s again with OMP_WAIT_POLICY=passive (%s): set it yourself", argv[0],
                     strerror(errno));
}

prle_status prle_thread_start(pthread_t *thread, void *(*run)(void *), void *arg, const char *what)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the new thread inherits it */
    const int failed = pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    PRLE_CHECK(failed == 0, PRLE_ENOMEM, "cannot start the %s thread: %s", what, strerror(failed));
    return PRLE_OK;
}
