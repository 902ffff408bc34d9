/* log.h - one line per event to stderr: time, host, rank/size, level, subsystem, text. Never stdout, which belongs to jobs/. */
#pragma once
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum prle_log_level {
    PRLE_LOG_ERROR,
    PRLE_LOG_WARN,
    PRLE_LOG_INFO,
    PRLE_LOG_DEBUG,
    PRLE_LOG_TRACE,
} prle_log_level;

/** Lower case, `name value`, no newline. `subsys` is the room or library: "core", "op", "dist", ... Thread-safe. */
void prle_log(prle_log_level level, const char *subsys, const char *fmt, ...) PRLE_PRINTF(3, 4);

bool prle_log_enabled(prle_log_level level, const char *subsys);

/**
 * What is shown: "info", "debug", or "debug:dist,op" (that level for those subsystems, info for the rest).
 * PRLE_EINVAL names the accepted levels. The environment variable PRLE_LOG, where set, is read first by prle.
 */
PRLE_NODISCARD prle_status prle_log_setup(const char *spec);

/** The rank and size shown in each line; below debug, ranks other than 0 show warnings and errors only. */
void prle_log_rank_set(int rank, int size);

/** Written before each line, NULL for nothing: progress.c has its line on the terminal removed first. Static storage. */
void prle_log_before_set(const char *bytes);

#ifdef __cplusplus
}
#endif
