/* progress.h - how far a long job is: count, rate and time left on stderr, one line rewritten on a terminal. */
#pragma once
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum prle_progress_style {
    PRLE_PROGRESS_AUTO,     /* by isatty(stderr) */
    PRLE_PROGRESS_TERMINAL, /* one line, rewritten at most 10 times a second */
    PRLE_PROGRESS_LINES,    /* log lines, at most one each interval_s */
} prle_progress_style;

typedef struct prle_progress_opts {
    const char *what; /* "cam xception"; copied */
    const char *unit; /* "images"; copied */
    int64_t total;    /* 0: unknown, no time left is shown */
    int64_t done;     /* what earlier runs did: counted, but not in the rate */
    int rank;         /* others than 0 show nothing */
    double interval_s;
    prle_progress_style style;
} prle_progress_opts;

#define PRLE_PROGRESS_OPTS_DEFAULT                                                                                               \
    {                                                                                                                            \
        .unit = "images", .interval_s = 10                                                                                       \
    }

typedef struct prle_progress prle_progress;

/** Nothing is shown where log level info is not (--log-level warn). One terminal line at a time. */
PRLE_NODISCARD prle_status prle_progress_create(prle_progress **out, const prle_progress_opts *opts);

/** n more are done. Any thread; shows the state when it is time. NULL is fine: a library may be called without. */
void prle_progress_add(prle_progress *progress, int64_t n);

/** Words after the rate, "loss 0.31": shown from the next time on. Any thread; NULL is fine. */
void prle_progress_note(prle_progress *progress, const char *fmt, ...) PRLE_PRINTF(2, 3);

/** The last line: total time and mean rate. NULL is fine. */
void prle_progress_end(prle_progress *progress);

/** Leaves the terminal's line behind as it is; no last line unless prle_progress_end was called. NULL is fine. */
void prle_progress_destroy(prle_progress *progress);

#ifdef __cplusplus
}
#endif
