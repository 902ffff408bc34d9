/* clock.h - the time that only goes forward, for rates and deadlines. */
#pragma once
#include <time.h>

/** Seconds since some moment in the past. */
static inline double prle_clock_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
