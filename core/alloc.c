/* alloc.c - see alloc.h. */
#include "core/alloc.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

static atomic_int_fast64_t n_allocs, n_live, fail_at;

static bool fails_on_purpose(void)
{
    if (atomic_load(&fail_at) == 0)
        return false;
    return atomic_fetch_sub(&fail_at, 1) == 1;
}

prle_status prle_size_mul(size_t a, size_t b, size_t *out)
{
    size_t product;

    PRLE_CHECK(!__builtin_mul_overflow(a, b, &product), PRLE_ENOMEM, "size %zu x %zu does not fit", a, b);
    *out = product;
    return PRLE_OK;
}

prle_status prle_alloc(size_t count, size_t size, prle_any_ptr *out)
{
    size_t n_bytes;

    PRLE_TRY(prle_size_mul(count, size, &n_bytes));
    if (n_bytes == 0) {
        *out = NULL;
        return PRLE_OK;
    }
    PRLE_CHECK(n_bytes <= SIZE_MAX - ALIGNMENT, PRLE_ENOMEM, "cannot allocate %zu bytes", n_bytes);
    void *ptr = fails_on_purpose() ? NULL : aligned_alloc(ALIGNMENT, (n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    PRLE_CHECK(ptr != NULL, PRLE_ENOMEM, "out of memory: cannot allocate %zu bytes", n_bytes);
    memset(ptr, 0, n_bytes);
    atomic_fetch_add(&n_allocs, 1);
    atomic_fetch_add(&n_live, 1);
    *out = ptr;
    return PRLE_OK;
}

prle_status prle_realloc(size_t old_count, size_t new_count, size_t size, prle_any_ptr *ptr)
{
    prle_any_ptr grown = NULL;

    PRLE_TRY(prle_alloc(new_count, size, &grown));
    if (grown != NULL && *ptr != NULL)
        memcpy(grown, *ptr, (old_count < new_count ? old_count : new_count) * size);
    prle_free(*ptr);
    *ptr = grown;
    return PRLE_OK;
}

prle_status prle_strdup(const char *text, char **out)
{
    char *copy = NULL;

    if (text != NULL) {
        PRLE_TRY(PRLE_NEW(copy, strlen(text) + 1));
        memcpy(copy, text, strlen(text) + 1);
    }
    *out = copy;
    return PRLE_OK;
}

prle_status prle_asprintf(char **out, const char *fmt, ...)
{
    va_list args;
    char *text = NULL;

    va_start(args, fmt);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    PRLE_CHECK(n >= 0, PRLE_EINVAL, "cannot format \"%s\"", fmt);
    PRLE_TRY(PRLE_NEW(text, (size_t)n + 1));
    va_start(args, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, args);
    va_end(args);
    *out = text;
    return PRLE_OK;
}

void prle_free(void *ptr)
{
    if (ptr == NULL)
        return;
    atomic_fetch_sub(&n_live, 1);
    free(ptr);
}

void prle_alloc_fail_at(int64_t nth) { atomic_store(&fail_at, nth); }
int64_t prle_alloc_count(void) { return atomic_load(&n_allocs); }
int64_t prle_alloc_live(void) { return atomic_load(&n_live); }

void prle_alloc_setup(void)
{
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, -1);
}
