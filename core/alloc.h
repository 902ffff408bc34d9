/* alloc.h - the only door to malloc: zeroed, 64-byte aligned, counted, and able to fail on purpose in tests. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void *prle_any_ptr __attribute__((may_alias));

/** count * size zeroed bytes, 64-byte aligned, into *out; count 0 gives NULL. PRLE_ENOMEM on overflow or when memory ends. */
PRLE_NODISCARD prle_status prle_alloc(size_t count, size_t size, prle_any_ptr *out);

/** Grows *ptr from old_count to new_count elements, keeping the content and zeroing the new part; *ptr is unchanged on failure.
 */
PRLE_NODISCARD prle_status prle_realloc(size_t old_count, size_t new_count, size_t size, prle_any_ptr *ptr);

/** A copy of a string; NULL gives NULL. */
PRLE_NODISCARD prle_status prle_strdup(const char *text, char **out);

/** printf into a fresh string. */
PRLE_NODISCARD prle_status prle_asprintf(char **out, const char *fmt, ...) PRLE_PRINTF(2, 3);

void prle_free(void *ptr); /* NULL is fine */

/** `PRLE_TRY(PRLE_NEW(p, n));`: n elements of what p points to. */
#define PRLE_NEW(ptr, count) prle_alloc((size_t)(count), sizeof *(ptr), (prle_any_ptr *)&(ptr))

/** a * b, or PRLE_ENOMEM when it does not fit. */
PRLE_NODISCARD prle_status prle_size_mul(size_t a, size_t b, size_t *out);

/** Tests: the nth allocation from now (1 = the next) fails; 0 turns it off. */
void prle_alloc_fail_at(int64_t nth);

/** Allocations since the process started, for tests that allow none in a step. */
int64_t prle_alloc_count(void);

/** Blocks now held, for tests that look for leaks. */
int64_t prle_alloc_live(void);

/** Once, at the start of main and before MPI_Init: keeps glibc from giving big blocks back (fresh pages are dear on virtual
 * machines). */
void prle_alloc_setup(void);

#ifdef __cplusplus
}
#endif
