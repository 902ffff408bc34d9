/* status.h - status codes and the thread-local error record: who first knows an error writes its message, callers pass it up. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What a caller can act on; the words are in the error record. */
typedef enum prle_status {
    PRLE_OK = 0,
    PRLE_EINVAL = -1,  /* an argument or option is wrong: exit code 2 */
    PRLE_ESHAPE = -2,  /* sizes do not fit together */
    PRLE_ENOTSUP = -3, /* nothing here can do this */
    PRLE_ENOMEM = -4,
    PRLE_EIO = -5,     /* a system call on a file failed */
    PRLE_EFORMAT = -6, /* a file's content is wrong: exit code 3 */
    PRLE_ECUDA = -7,
    PRLE_ENCCL = -8,
    PRLE_EMPI = -9,
    PRLE_EPEER = -10, /* another rank failed; its message is the one to read */
    PRLE_ETIMEOUT = -11,
    PRLE_ENUMERIC = -12, /* NaN or infinity where none may be */
    PRLE_EDNNL = -13,
    PRLE_ESTOP = -14, /* asked to stop; a checkpoint was written: exit code 75 */
} prle_status;

#define PRLE_NODISCARD               __attribute__((warn_unused_result))
#define PRLE_PRINTF(fmt_at, args_at) __attribute__((format(printf, fmt_at, args_at)))

/** "PRLE_EIO", or "PRLE_E?" for a number that is none of ours. Static storage. */
const char *prle_status_name(prle_status status);

/** Writes the record (one line, values included; control characters become ?) and returns `code`. Called by the macros below. */
prle_status prle_error_set(prle_status code, const char *file, int line, const char *func, const char *fmt, ...)
    PRLE_PRINTF(5, 6);

/** Adds a place the error passed through (at most 8 are kept) and returns `code`. */
prle_status prle_error_trace(prle_status code, const char *file, int line, const char *func);

/** The last message of this thread, "" if none. Valid until the next error of this thread. */
const char *prle_error_message(void);

/** The message with its origin and trace lines, for `--log-level debug`. Same lifetime. */
const char *prle_error_details(void);

/** Replaces the message by "<prefix>: <message>", for a caller that knows the file or item; returns the record's code. */
prle_status prle_error_prefix(const char *fmt, ...) PRLE_PRINTF(1, 2);

void prle_error_clear(void);

/** Returns the status of `e` to the caller when it is not PRLE_OK. */
#define PRLE_TRY(e)                                                                                                              \
    do {                                                                                                                         \
        const prle_status try_status_ = (e);                                                                                     \
        if (try_status_ != PRLE_OK)                                                                                              \
            return (void)prle_error_trace(try_status_, __FILE__, __LINE__, __func__), try_status_;                               \
    } while (0)

/** Sets the local `st` and goes to the local label `out` when `e` fails. */
#define PRLE_TRY_OUT(e)                                                                                                          \
    do {                                                                                                                         \
        st = (e);                                                                                                                \
        if (st != PRLE_OK) {                                                                                                     \
            prle_error_trace(st, __FILE__, __LINE__, __func__);                                                                  \
            goto out;                                                                                                            \
        }                                                                                                                        \
    } while (0)

/** Writes the error record and gives its code: `return PRLE_FAIL(PRLE_EIO, "%s: ...", path);` The code stands at the end so that
 * the compiler sees it is not PRLE_OK: outputs left unset are then no false alarm. */
#define PRLE_FAIL(code, ...) ((void)prle_error_set((code), __FILE__, __LINE__, __func__, __VA_ARGS__), (code))

/** Checks of inputs and of the world: never compiled out. */
#define PRLE_CHECK(cond, code, ...)                                                                                              \
    do {                                                                                                                         \
        if (!(cond))                                                                                                             \
            return PRLE_FAIL(code, __VA_ARGS__);                                                                                 \
    } while (0)

#define PRLE_CHECK_OUT(cond, code, ...)                                                                                          \
    do {                                                                                                                         \
        if (!(cond)) {                                                                                                           \
            st = PRLE_FAIL(code, __VA_ARGS__);                                                                                   \
            goto out;                                                                                                            \
        }                                                                                                                        \
    } while (0)

/** Our own bugs only; no side effects inside. Ends the process through prle_fatal. */
#ifdef NDEBUG
#define PRLE_ASSERT(cond) ((void)(false && (cond))) /* compiled, never evaluated */
#else
#define PRLE_ASSERT(cond) ((cond) ? (void)0 : prle_fatal(__FILE__, __LINE__, "assertion failed: " #cond))
#endif

/** Last resort: logs and ends the process (and, when dist/ has set a hook, the whole MPI job). */
__attribute__((noreturn)) void prle_fatal(const char *file, int line, const char *message);

/** Called by prle_fatal before the process ends; dist/ sets it to MPI_Abort. NULL clears it. */
void prle_fatal_hook_set(void (*hook)(void));

#ifdef __cplusplus
}
#endif
