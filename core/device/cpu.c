/* cpu.c - the processor as a device: host memory, and the ordered lists of implementations. */
#include <string.h>

#include "core/alloc.h"
#include "core/device/device.h"
#include "core/op/impls.h"

static const prle_op_impl *const best_first[] = {PRLE_IMPLS_OWN PRLE_IMPLS_DNNL PRLE_IMPLS_REF NULL};
static const prle_op_impl *const reference[] = {PRLE_IMPLS_REF NULL};

static prle_status cpu_alloc(size_t n_bytes, void **out) { return prle_alloc(n_bytes, 1, out); }

static prle_status cpu_copy(void *to, const void *from, size_t n_bytes)
{
    if (n_bytes > 0)
        memcpy(to, from, n_bytes);
    return PRLE_OK;
}

static prle_status cpu_zero(void *ptr, size_t n_bytes)
{
    if (n_bytes > 0)
        memset(ptr, 0, n_bytes);
    return PRLE_OK;
}

static prle_status cpu_scale(void *values, int64_t n, prle_dtype dtype, double factor)
{
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) {
        if (dtype == PRLE_F64)
            ((double *)values)[i] *= factor;
        else
            ((float *)values)[i] *= (float)factor;
    }
    return PRLE_OK;
}

/* Half of the last cache that a processor's cores share, or a little less: the same on all, so that results are. */
enum { CACHE_BYTES = 16 << 20 };

static const prle_device cpu = {.name = "cpu",
                                .impls = best_first,
                                .has_bf16 = prle_dnnl_has_bf16,
                                .alloc = cpu_alloc,
                                .free = prle_free,
                                .zero = cpu_zero,
                                .copy_in = cpu_copy,
                                .copy_out = cpu_copy,
                                .feed = cpu_copy,
                                .host_memory = true,
                                .fold = prle_fold,
                                .scale = cpu_scale,
                                .cache_bytes = CACHE_BYTES,
                                .steps_ahead = 1};
static const prle_device cpu_ref = {.name = "cpu",
                                    .impls = reference,
                                    .alloc = cpu_alloc,
                                    .free = prle_free,
                                    .zero = cpu_zero,
                                    .copy_in = cpu_copy,
                                    .copy_out = cpu_copy,
                                    .feed = cpu_copy,
                                    .host_memory = true,
                                    .fold = prle_fold,
                                    .scale = cpu_scale,
                                    .cache_bytes = CACHE_BYTES,
                                    .steps_ahead = 1};

const prle_device *prle_device_cpu(void) { return &cpu; }
const prle_device *prle_device_cpu_ref(void) { return &cpu_ref; }
