/* progress.c - see progress.h. */
#include "core/progress.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"

enum { LINE_BYTES = 256, NAME_BYTES = 64, NOTE_BYTES = 96 };

static const int64_t second_ns = 1000000000;
static const char terminal_line_clear[] = "\r\033[K";

struct prle_progress {
    char what[NAME_BYTES], unit[NAME_BYTES];
    int64_t total, done_before, begin_ns, interval_ns;
    bool shown, on_terminal, line_open;
    atomic_int_fast64_t done, next_ns;
    pthread_mutex_t lock; /* note and the line on the terminal */
    char note[NOTE_BYTES];
};

/* "12.3 s", "3 min 20 s", "2 h 05 min" */
static const char *duration_text(double s, char text[32])
{
    if (s < 99.95)
        snprintf(text, 32, "%.1f s", s);
    else if (s < 6000)
        snprintf(text, 32, "%d min %02d s", (int)s / 60, (int)s % 60);
    else
        snprintf(text, 32, "%lld h %02d min", (long long)(s / 3600), (int)((long long)(s / 60) % 60));
    return text;
}

static double rate_of(const prle_progress *progress, int64_t done, int64_t now)
{
    const double s = (double)(now - progress->begin_ns) / (double)second_ns;
    return s > 0 ? (double)(done - progress->done_before) / s : 0;
}

static void state_print(const prle_progress *progress, int64_t now, char line[LINE_BYTES])
{
    const int64_t done = atomic_load(&progress->done);
    const double rate = rate_of(progress, done, now);
    const char *comma = progress->note[0] != '\0' ? ", " : "";
    char left[32];

    if (progress->total > 0 && rate > 0 && done <= progress->total)
        snprintf(line, LINE_BYTES, "%s: %lld/%lld %s (%.0f %%), %.4g %s/s, %s left%s%s", progress->what, (long long)done,
                 (long long)progress->total, progress->unit, 100.0 * (double)done / (double)progress->total, rate, progress->unit,
                 duration_text((double)(progress->total - done) / rate, left), comma, progress->note);
    else
        snprintf(line, LINE_BYTES, "%s: %lld %s, %.4g %s/s%s%s", progress->what, (long long)done, progress->unit, rate,
                 progress->unit, comma, progress->note);
}

/* A longer line would wrap, and only its last row could be removed. */
static int terminal_width(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col - 1 : 79;
}

/* Under the lock. */
static void state_show(prle_progress *progress, int64_t now)
{
    char line[LINE_BYTES];

    state_print(progress, now, line);
    if (progress->on_terminal) {
        fprintf(stderr, "%s%.*s", terminal_line_clear, terminal_width(), line);
        fflush(stderr);
        progress->line_open = true;
        prle_log_before_set(terminal_line_clear);
    } else {
        prle_log(PRLE_LOG_INFO, "progress", "%s", line);
    }
}

prle_status prle_progress_create(prle_progress **out, const prle_progress_opts *opts)
{
    prle_progress *progress = NULL;

    PRLE_CHECK(opts->what != NULL && opts->unit != NULL && opts->interval_s >= 0, PRLE_EINVAL,
               "progress needs a name and a unit");
    PRLE_TRY(PRLE_NEW(progress, 1));
    snprintf(progress->what, sizeof progress->what, "%s", opts->what);
    snprintf(progress->unit, sizeof progress->unit, "%s", opts->unit);
    progress->total = opts->total;
    progress->done_before = opts->done;
    progress->shown = opts->rank == 0 && prle_log_enabled(PRLE_LOG_INFO, "progress");
    progress->on_terminal = opts->style == PRLE_PROGRESS_TERMINAL || (opts->style == PRLE_PROGRESS_AUTO && isatty(STDERR_FILENO));
    progress->interval_ns = progress->on_terminal ? second_ns / 10 : (int64_t)(opts->interval_s * (double)second_ns);
    progress->begin_ns = prle_clock_ns();
    atomic_init(&progress->done, opts->done);
    atomic_init(&progress->next_ns, progress->begin_ns + progress->interval_ns);
    pthread_mutex_init(&progress->lock, NULL);
    *out = progress;
    return PRLE_OK;
}

void prle_progress_add(prle_progress *progress, int64_t n)
{
    if (progress == NULL)
        return;
    atomic_fetch_add(&progress->done, n);
    const int64_t now = prle_clock_ns();
    int_fast64_t next = atomic_load(&progress->next_ns);
    if (!progress->shown || now < next || !atomic_compare_exchange_strong(&progress->next_ns, &next, now + progress->interval_ns))
        return; /* one thread shows each state */
    pthread_mutex_lock(&progress->lock);
    state_show(progress, now);
    pthread_mutex_unlock(&progress->lock);
}

void prle_progress_note(prle_progress *progress, const char *fmt, ...)
{
    va_list args;

    if (progress == NULL)
        return;
    pthread_mutex_lock(&progress->lock);
    va_start(args, fmt);
    vsnprintf(progress->note, sizeof progress->note, fmt, args);
    va_end(args);
    pthread_mutex_unlock(&progress->lock);
}

void prle_progress_end(prle_progress *progress)
{
    char time[32];

    if (progress == NULL || !progress->shown)
        return;
    const int64_t now = prle_clock_ns(), n = atomic_load(&progress->done) - progress->done_before;
    pthread_mutex_lock(&progress->lock);
    if (progress->on_terminal)
        fputs(terminal_line_clear, stderr);
    progress->line_open = false;
    prle_log_before_set(NULL);
    prle_log(PRLE_LOG_INFO, "progress", "%s: %lld %s in %s, %.4g %s/s", progress->what, (long long)n, progress->unit,
             duration_text((double)(now - progress->begin_ns) / (double)second_ns, time),
             rate_of(progress, n + progress->done_before, now), progress->unit);
    pthread_mutex_unlock(&progress->lock);
}

void prle_progress_destroy(prle_progress *progress)
{
    if (progress == NULL)
        return;
    if (progress->line_open) {
        prle_log_before_set(NULL);
        fputc('\n', stderr);
    }
    pthread_mutex_destroy(&progress->lock);
    prle_free(progress);
}
