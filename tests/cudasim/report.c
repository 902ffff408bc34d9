/* report.c - messages, settings, random numbers, the lock, and how the process ends. */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/cudasim/sim.h"

enum { EXIT_REPORTED = 95, EXIT_FATAL = 97, EXIT_TOO_MANY = 98, MAX_REPORTS = 20 };

cudasim_counts sim_counts;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sim_schedule schedule = SIM_LAZY;
static uint64_t random_state = 88172645463325252u;
static _Thread_local cudaError_t last_error;

void sim_lock(void) { pthread_mutex_lock(&lock); }
void sim_unlock(void) { pthread_mutex_unlock(&lock); }

static void say(const char *kind, const char *format, va_list args)
{
    char line[1024];

    vsnprintf(line, sizeof line, format, args);
    fprintf(stderr, "cudasim: %s%s\n", kind, line);
}

void sim_report(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say("", format, args);
    va_end(args);
    if (++sim_counts.reports > MAX_REPORTS)
        _exit(EXIT_TOO_MANY);
}

void sim_fatal(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say("fatal: ", format, args);
    va_end(args);
    fflush(stdout);
    _exit(EXIT_FATAL);
}

void *sim_new(size_t n_bytes)
{
    void *p = calloc(1, n_bytes > 0 ? n_bytes : 1);

    if (p == NULL)
        sim_fatal("no memory for %zu bytes", n_bytes);
    return p;
}

void *sim_grow(void *list, size_t n, size_t item_bytes)
{
    if (n != 0 && (n < 16 || (n & (n - 1)) != 0))
        return list;
    list = realloc(list, (n < 16 ? 16 : 2 * n) * item_bytes);
    if (list == NULL)
        sim_fatal("no memory for %zu items", n);
    return list;
}

sim_schedule sim_schedule_get(void) { return schedule; }

uint32_t sim_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}

__attribute__((constructor)) static void settings_read(void)
{
    const char *word = getenv("CUDASIM_SCHED"), *seed = word == NULL ? NULL : strchr(word, ':');

    if (word == NULL || strcmp(word, "lazy") == 0)
        return;
    if (strcmp(word, "eager") == 0)
        schedule = SIM_EAGER;
    else if (strncmp(word, "random:", 7) == 0)
        schedule = SIM_RANDOM;
    else
        sim_fatal("CUDASIM_SCHED is '%s': eager, lazy or random:SEED", word);
    if (seed != NULL)
        random_state += strtoull(seed + 1, NULL, 10) * 0x9E3779B97F4A7C15u;
}

__attribute__((destructor)) static void account(void)
{
    sim_lock();
    sim_streams_check();
    const int leaks = sim_leaks();
    sim_unlock();
    if (leaks == 0 && sim_counts.reports == 0)
        return;
    fprintf(stderr, "cudasim: %lld reports, %d leaks\n", (long long)sim_counts.reports, leaks);
    fflush(stdout);
    _exit(EXIT_REPORTED);
}

cudaError_t sim_error(cudaError_t error)
{
    if (error != cudaSuccess)
        last_error = error;
    return error;
}

SIM_API cudaError_t cudaGetLastError(void)
{
    const cudaError_t error = last_error;

    last_error = cudaSuccess;
    return error;
}

SIM_API cudaError_t cudaPeekAtLastError(void) { return last_error; }

SIM_API const char *cudaGetErrorName(cudaError_t error)
{
    switch (error) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidSymbol: return "cudaErrorInvalidSymbol";
    case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
    case cudaErrorInvalidDeviceFunction: return "cudaErrorInvalidDeviceFunction";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorNotReady: return "cudaErrorNotReady";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
    default: return "a CUDA error";
    }
}

SIM_API const char *cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

SIM_API void cudasim_counts_get(cudasim_counts *out)
{
    sim_lock();
    *out = sim_counts;
    sim_unlock();
}

SIM_API void cudasim_counts_reset(void)
{
    sim_lock();
    sim_counts = (cudasim_counts){.reports = sim_counts.reports};
    sim_traffic_reset();
    sim_unlock();
}
