/* status.c - the thread-local error record. */
#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"

enum { MESSAGE_BYTES = 1024, DETAIL_BYTES = 3072, TRACE_LINES = 8 };

static _Thread_local struct {
    prle_status code;
    int lines;
    char message[MESSAGE_BYTES];
    char details[DETAIL_BYTES];
} record;

static void (*fatal_hook)(void);

const char *prle_status_name(prle_status status)
{
    switch (status) {
    case PRLE_OK: return "PRLE_OK";
    case PRLE_EINVAL: return "PRLE_EINVAL";
    case PRLE_ESHAPE: return "PRLE_ESHAPE";
    case PRLE_ENOTSUP: return "PRLE_ENOTSUP";
    case PRLE_ENOMEM: return "PRLE_ENOMEM";
    case PRLE_EIO: return "PRLE_EIO";
    case PRLE_EFORMAT: return "PRLE_EFORMAT";
    case PRLE_ECUDA: return "PRLE_ECUDA";
    case PRLE_ENCCL: return "PRLE_ENCCL";
    case PRLE_EMPI: return "PRLE_EMPI";
    case PRLE_EPEER: return "PRLE_EPEER";
    case PRLE_ETIMEOUT: return "PRLE_ETIMEOUT";
    case PRLE_ENUMERIC: return "PRLE_ENUMERIC";
    case PRLE_EDNNL: return "PRLE_EDNNL";
    case PRLE_ESTOP: return "PRLE_ESTOP";
    }
    return "PRLE_E?";
}

static void detail_add(const char *file, int line, const char *func)
{
    if (record.lines >= TRACE_LINES)
        return;
    const size_t used = strlen(record.details);
    snprintf(record.details + used, sizeof record.details - used, "\n    at %s (%s:%d)", func, file, line);
    record.lines++;
}

/* Texts of a file may stand in a message: they cannot break its line, nor speak to the terminal. */
static void keep_one_line(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7F)
            *text = '?';
}

prle_status prle_error_set(prle_status code, const char *file, int line, const char *func, const char *fmt, ...)
{
    char text[MESSAGE_BYTES]; /* the arguments may point into the record */
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    keep_one_line(text);
    record.code = code;
    record.lines = 0;
    memcpy(record.message, text, sizeof text);
    record.details[0] = '\0';
    detail_add(file, line, func);
    return code;
}

prle_status prle_error_trace(prle_status code, const char *file, int line, const char *func)
{
    detail_add(file, line, func);
    return code;
}

const char *prle_error_message(void) { return record.message; }

const char *prle_error_details(void)
{
    static _Thread_local char text[MESSAGE_BYTES + DETAIL_BYTES + 32];

    snprintf(text, sizeof text, "%s [%s]%s", record.message, prle_status_name(record.code), record.details);
    return text;
}

prle_status prle_error_prefix(const char *fmt, ...)
{
    char text[MESSAGE_BYTES];
    va_list args;

    va_start(args, fmt);
    int used = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (used < 0 || used >= MESSAGE_BYTES)
        used = MESSAGE_BYTES - 1;
    snprintf(text + used, sizeof text - (size_t)used, ": %s", record.message);
    keep_one_line(text);
    memcpy(record.message, text, sizeof text);
    return record.code;
}

void prle_error_clear(void)
{
    record.code = PRLE_OK;
    record.lines = 0;
    record.message[0] = record.details[0] = '\0';
}

void prle_fatal_hook_set(void (*hook)(void)) { fatal_hook = hook; }

void prle_fatal(const char *file, int line, const char *message)
{
    prle_log(PRLE_LOG_ERROR, "fatal", "%s (%s:%d)", message, file, line);
    if (fatal_hook != NULL)
        fatal_hook();
    abort();
}
