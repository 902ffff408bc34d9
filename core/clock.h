/* clock.h - the time that only goes forward, for rates and deadlines. */
#pragma once
#include <stdint.h>
#include <time.h>

/** Since some moment in the past. */
static inline int64_t prle_clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
static inline double prle_clock_s(void) { return 1e-9 * (double)prle_clock_ns(); }
