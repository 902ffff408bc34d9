/* log.c - see log.h. */
#include "core/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 2048, SUBSYS_BYTES = 128, N_LEVELS = 5 };

static const char *const level_names[N_LEVELS] = {"error", "warn", "info", "debug", "trace"};

static struct {
    prle_log_level level;      /* of the named subsystems, or of all when none is named */
    char subsys[SUBSYS_BYTES]; /* ",dist,op," or "" */
    int rank, size;
} config = {.level = PRLE_LOG_INFO, .size = 1};

static _Atomic(const char *) line_before;

bool prle_log_enabled(prle_log_level level, const char *subsys)
{
    char key[SUBSYS_BYTES];

    if (level <= PRLE_LOG_WARN)
        return true;
    if (level == PRLE_LOG_INFO && config.rank != 0 && config.level < PRLE_LOG_DEBUG)
        return false;
    if (config.subsys[0] == '\0')
        return level <= config.level;
    snprintf(key, sizeof key, ",%s,", subsys);
    return level <= (strstr(config.subsys, key) != NULL ? config.level : PRLE_LOG_INFO);
}

void prle_log(prle_log_level level, const char *subsys, const char *fmt, ...)
{
    char line[LINE_BYTES], host[64] = "", ranks[96] = "";
    struct timespec now;
    struct tm date;
    va_list args;

    if (!prle_log_enabled(level, subsys))
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &date);
    if (config.size > 1) {
        gethostname(host, sizeof host - 1);
        snprintf(ranks, sizeof ranks, " %s %d/%d", host, config.rank, config.size);
    }
    const char *before = atomic_load(&line_before);
    int used = snprintf(line, sizeof line, "%s%02d:%02d:%02d.%03ld%s %s %s: ", before != NULL ? before : "", date.tm_hour,
                        date.tm_min, date.tm_sec, now.tv_nsec / 1000000, ranks, level_names[level], subsys);
    va_start(args, fmt);
    const int text = vsnprintf(line + used, sizeof line - (size_t)used - 1, fmt, args);
    va_end(args);
    used += text < 0 ? 0 : text;
    if (used > LINE_BYTES - 2)
        used = LINE_BYTES - 2;
    line[used] = '\n';
    fwrite(line, 1, (size_t)used + 1, stderr); /* one call: lines of threads do not mix */
}

prle_status prle_log_setup(const char *spec)
{
    const size_t n = strcspn(spec, ":");

    for (int i = 0; i < N_LEVELS; i++) {
        if (strlen(level_names[i]) != n || strncmp(level_names[i], spec, n) != 0)
            continue;
        PRLE_CHECK(strlen(spec + n) + 2 < SUBSYS_BYTES, PRLE_EINVAL, "log level \"%s\" names too many subsystems", spec);
        config.level = (prle_log_level)i;
        config.subsys[0] = '\0';
        if (spec[n] == ':')
            snprintf(config.subsys, sizeof config.subsys, ",%s,", spec + n + 1);
        return PRLE_OK;
    }
    return PRLE_FAIL(PRLE_EINVAL,
                     "log level \"%s\" is unknown: error, warn, info, debug or trace, then optionally :SUBSYSTEM,...", spec);
}

void prle_log_rank_set(int rank, int size)
{
    config.rank = rank;
    config.size = size;
}

void prle_log_before_set(const char *bytes) { atomic_store(&line_before, bytes); }
