/* gpu.h - what every test of GPU code includes: it opens the GPU, or the simulator that runs under the program
 * (tests/simulate.sh), and has the simulator's counts. A test's main is `GPU_TESTS_RUN(tests)`. */
#pragma once
#include <dlfcn.h>

#include "core/device/device_cuda.h"
#include "tests/check.h"
#include "tests/cudasim/cudasim.h"

/** The simulator's counts since gpu_counts_reset; false (nothing set) on a real GPU. */
static inline bool gpu_counts(cudasim_counts *out)
{
    void (*get)(cudasim_counts *) = NULL;

    *(void **)&get = dlsym(RTLD_DEFAULT, "cudasim_counts_get");
    if (get != NULL)
        get(out);
    return get != NULL;
}

static inline void gpu_counts_reset(void)
{
    void (*reset)(void) = NULL;

    *(void **)&reset = dlsym(RTLD_DEFAULT, "cudasim_counts_reset");
    if (reset != NULL)
        reset();
}

/** Bytes that kernels with `part` in their name moved since the reset; false on a real GPU. */
static inline bool gpu_traffic(const char *part, cudasim_traffic *out)
{
    void (*get)(const char *, cudasim_traffic *) = NULL;

    *(void **)&get = dlsym(RTLD_DEFAULT, "cudasim_traffic_get");
    if (get != NULL)
        get(part, out);
    return get != NULL;
}

/** The kernels named so moved at most 1.2 x the least. Nothing is checked on a real GPU, which does not say. */
static inline void gpu_traffic_check(const char *part, int64_t least_bytes)
{
    cudasim_traffic t;

    if (!gpu_traffic(part, &t))
        return;
    const double moved = (double)(t.distinct_read_bytes + t.distinct_written_bytes);
    if (t.launches == 0 || !(moved <= 1.2 * (double)least_bytes))
        fail_msg("%s: %lld launches moved %.0f bytes; the least is %lld", part, (long long)t.launches, moved,
                 (long long)least_bytes);
}

/* ---- buffers on the GPU ---- */

static inline void *gpu_new(size_t n_bytes)
{
    void *out = NULL;

    assert_ok(prle_cuda_device()->alloc(n_bytes, &out));
    return out;
}

static inline void *gpu_put(const void *from, size_t n_bytes)
{
    void *const out = gpu_new(n_bytes);

    assert_ok(prle_cuda_device()->copy_in(out, from, n_bytes));
    return out;
}

static inline void gpu_get(void *to, const void *from, size_t n_bytes)
{
    assert_ok(prle_cuda_device()->copy_out(to, from, n_bytes));
}

static inline void gpu_free(void *buffer) { prle_cuda_device()->free(buffer); }

/* ---- the suite ---- */

static inline int gpu_suite_begin(void **state)
{
    cudasim_counts counts;

    (void)state;
    const prle_status st = prle_cuda_open(0, true);
    if (st == PRLE_ENOTSUP && !gpu_counts(&counts))
        skip_all(prle_error_message());
    assert_ok(st);
    return 0;
}

static inline int gpu_suite_end(void **state)
{
    (void)state;
    prle_cuda_close();
    return 0;
}

#define GPU_TESTS_RUN(tests) return cmocka_run_group_tests(tests, gpu_suite_begin, gpu_suite_end)
