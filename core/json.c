/* json.c - see json.h; the wrapper of jansson. A prle_json is a json_t: the names are cast, never looked into. */
#include "core/json.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/log.h"
#include "core/text.h"
#include "core/version.h"

static json_t *of(const prle_json *json) { return (json_t *)json; }

/* ---- jansson allocates through core/alloc.h, so that tests can count and fail it ---- */

static _Thread_local bool memory_ended; /* jansson calls it a syntax error, or leaves a hole in a dump */

static void *block_take(size_t n_bytes)
{
    void *block = NULL;

    if (prle_alloc(n_bytes, 1, (prle_any_ptr *)&block) != PRLE_OK)
        memory_ended = true;
    return block;
}

static void jansson_begin(void) { json_set_alloc_funcs(block_take, prle_free); }

static void jansson_setup(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, jansson_begin);
}

/* ---- out ---- */

/* Puts `value`, which it takes over, into the innermost open list or object. */
static void put(prle_json_writer *writer, const char *key, json_t *value)
{
    json_t *parent = writer->depth > 0 ? of(writer->open[writer->depth - 1]) : NULL;

    if (writer->st != PRLE_OK) {
        json_decref(value);
        return;
    }
    if (value == NULL) {
        writer->st = PRLE_FAIL(PRLE_ENOMEM, "out of memory for a JSON value");
        return;
    }
    const bool fits = parent == NULL           ? writer->root == NULL && key == NULL
                      : json_is_object(parent) ? key != NULL && json_object_get(parent, key) == NULL
                                               : key == NULL;
    if (!fits) {
        json_decref(value);
        writer->st = PRLE_FAIL(PRLE_EINVAL, "JSON: the key \"%s\" does not fit here or stands twice", key != NULL ? key : "");
        return;
    }
    const int failed = parent == NULL           ? 0
                       : json_is_object(parent) ? json_object_set_new(parent, key, value)
                                                : json_array_append_new(parent, value);
    if (failed) /* jansson has dropped the value */
        writer->st = PRLE_FAIL(PRLE_ENOMEM, "out of memory for a JSON value");
    else if (parent == NULL)
        writer->root = (prle_json *)value;
}

static void begin(prle_json_writer *writer, const char *key, json_t *value)
{
    put(writer, key, value);
    if (writer->st == PRLE_OK && writer->depth == PRLE_JSON_DEPTH)
        writer->st = PRLE_FAIL(PRLE_EINVAL, "JSON: nested deeper than %d", PRLE_JSON_DEPTH);
    if (writer->st == PRLE_OK)
        writer->open[writer->depth++] = (prle_json *)value;
}

void prle_json_begin_object(prle_json_writer *json, const char *key)
{
    jansson_setup();
    begin(json, key, json_object());
}

void prle_json_begin_list(prle_json_writer *json, const char *key)
{
    jansson_setup();
    begin(json, key, json_array());
}

void prle_json_end(prle_json_writer *json)
{
    if (json->st == PRLE_OK && json->depth == 0)
        json->st = PRLE_FAIL(PRLE_EINVAL, "JSON: ends more often than it begins");
    if (json->depth > 0)
        json->depth--;
}

void prle_json_add_bool(prle_json_writer *json, const char *key, bool value) { put(json, key, json_boolean(value)); }

void prle_json_add_int(prle_json_writer *json, const char *key, int64_t value) { put(json, key, json_integer(value)); }

void prle_json_add_double(prle_json_writer *json, const char *key, double value)
{
    put(json, key, isfinite(value) ? json_real(value) : json_null());
}

void prle_json_add_text(prle_json_writer *json, const char *key, const char *value)
{
    if (value != NULL && !prle_text_is_utf8(value)) {
        if (json->st == PRLE_OK)
            json->st = PRLE_FAIL(PRLE_EINVAL, "JSON: the text of \"%s\" is not UTF-8", key != NULL ? key : "");
        return;
    }
    put(json, key, value != NULL ? json_string(value) : json_null());
}

prle_status prle_json_take(prle_json_writer *json, bool indent, char **out)
{
    prle_status st = json->st;
    char *text = NULL;

    PRLE_CHECK_OUT(st == PRLE_OK, st, "%s", prle_error_message());
    PRLE_CHECK_OUT(json->root != NULL && json->depth == 0, PRLE_EINVAL, "JSON: not complete");
    memory_ended = false;
    text = json_dumps(of(json->root), JSON_ENCODE_ANY | JSON_REAL_PRECISION(17) | (indent ? JSON_INDENT(2) : JSON_COMPACT));
    PRLE_CHECK_OUT(text != NULL && !memory_ended, PRLE_ENOMEM, "out of memory for a JSON text");
    *out = text;
    text = NULL;
out:
    prle_free(text);
    prle_json_drop(json);
    return st;
}

void prle_json_drop(prle_json_writer *json)
{
    json_decref(of(json->root));
    *json = (prle_json_writer){0};
}

/* ---- a file of records ---- */

struct prle_jsonl {
    int fd;
    int64_t n_bytes;
    char *path;
};

/* The length of the file up to its last newline. */
static prle_status whole_lines(int fd, const char *path, int64_t size, int64_t *out)
{
    char block[4096];

    while (size > 0) {
        const int64_t begin = size > (int64_t)sizeof block ? size - (int64_t)sizeof block : 0;
        const ssize_t n = prle_io_fails() ? -1 : pread(fd, block, (size_t)(size - begin), (off_t)begin);
        PRLE_CHECK(n == size - begin, PRLE_EIO, "%s: cannot read: %s", path, n < 0 ? strerror(errno) : "it shrank");
        const char *newline = memrchr(block, '\n', (size_t)n);
        if (newline != NULL) {
            size = begin + (newline - block) + 1;
            break;
        }
        size = begin;
    }
    *out = size;
    return PRLE_OK;
}

static prle_status cut(prle_jsonl *log, int64_t keep_bytes)
{
    struct stat info;

    PRLE_CHECK(!prle_io_fails() && fstat(log->fd, &info) == 0, PRLE_EIO, "%s: cannot stat: %s", log->path, strerror(errno));
    PRLE_CHECK(keep_bytes <= info.st_size, PRLE_EFORMAT, "%s: has %lld bytes, the checkpoint knows of %lld", log->path,
               (long long)info.st_size, (long long)keep_bytes);
    if (keep_bytes < 0)
        PRLE_TRY(whole_lines(log->fd, log->path, info.st_size, &keep_bytes));
    PRLE_CHECK(!prle_io_fails() && ftruncate(log->fd, (off_t)keep_bytes) == 0, PRLE_EIO, "%s: cannot cut: %s", log->path,
               strerror(errno));
    log->n_bytes = keep_bytes;
    return PRLE_OK;
}

prle_status prle_jsonl_open(prle_jsonl **out, const char *path, int64_t keep_bytes)
{
    prle_jsonl *log = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(PRLE_NEW(log, 1));
    log->fd = prle_io_fails() ? -1 : open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    PRLE_CHECK_OUT(log->fd >= 0, PRLE_EIO, "%s: cannot open for writing: %s", path, strerror(errno));
    PRLE_TRY_OUT(prle_strdup(path, &log->path));
    PRLE_TRY_OUT(cut(log, keep_bytes));
    *out = log;
    log = NULL;
out:
    prle_jsonl_close(log);
    return st;
}

prle_status prle_jsonl_append(prle_jsonl *log, prle_json_writer *json)
{
    char *text = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(prle_json_take(json, false, &text));
    const size_t n = strlen(text) + 1;
    text[n - 1] = '\n'; /* in place of the zero */
    const ssize_t written = prle_io_fails() ? -1 : write(log->fd, text, n);
    if (written != (ssize_t)n) {
        st = PRLE_FAIL(PRLE_EIO, "%s: cannot write: %s", log->path, prle_io_reason(written < 0 ? errno : ENOSPC));
        if (ftruncate(log->fd, (off_t)log->n_bytes) != 0) /* no half a line stays; the next run would cut it, too */
            prle_log(PRLE_LOG_WARN, "core", "%s: cannot cut: %s", log->path, strerror(errno));
        goto out;
    }
    log->n_bytes += written;
out:
    prle_free(text);
    return st;
}

int64_t prle_jsonl_bytes(const prle_jsonl *log) { return log->n_bytes; }

void prle_jsonl_close(prle_jsonl *log)
{
    if (log == NULL)
        return;
    if (log->fd >= 0)
        close(log->fd);
    prle_free(log->path);
    prle_free(log);
}

/* ---- in ---- */

prle_status prle_json_parse(const char *name, const char *text, size_t n_bytes, prle_json **out)
{
    json_error_t error;

    jansson_setup();
    memory_ended = false;
    json_t *root = json_loadb(text, n_bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    PRLE_CHECK(root != NULL || !memory_ended, PRLE_ENOMEM, "%s: out of memory", name);
    PRLE_CHECK(root != NULL, PRLE_EFORMAT, "%s:%d: %s", name, error.line, error.text);
    *out = (prle_json *)root;
    return PRLE_OK;
}

prle_status prle_json_load(const char *path, prle_json **out)
{
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;

    PRLE_TRY(prle_file_read_all(path, &bytes, &n_bytes));
    const prle_status st = prle_json_parse(path, (const char *)bytes, n_bytes, out);
    prle_free(bytes);
    return st;
}

void prle_json_destroy(prle_json *root) { json_decref(of(root)); }

const prle_json *prle_json_get(const prle_json *object, const char *key)
{
    return (const prle_json *)json_object_get(of(object), key);
}

const prle_json *prle_json_item(const prle_json *list, int64_t i)
{
    return i < 0 ? NULL : (const prle_json *)json_array_get(of(list), (size_t)i);
}

int64_t prle_json_count(const prle_json *json) { return (int64_t)(json_array_size(of(json)) + json_object_size(of(json))); }

const char *prle_json_next_key(const prle_json *object, const char *after)
{
    json_t *json = of(object);
    void *at = after == NULL ? json_object_iter(json) : json_object_iter_next(json, json_object_iter_at(json, after));

    return at != NULL ? json_object_iter_key(at) : NULL;
}

const char *prle_json_text(const prle_json *json) { return json_string_value(of(json)); }

bool prle_json_int(const prle_json *json, int64_t *out)
{
    if (!json_is_integer(of(json)))
        return false;
    *out = json_integer_value(of(json));
    return true;
}

bool prle_json_double(const prle_json *json, double *out)
{
    if (!json_is_number(of(json)))
        return false;
    *out = json_number_value(of(json));
    return true;
}

bool prle_json_bool(const prle_json *json, bool *out)
{
    if (!json_is_boolean(of(json)))
        return false;
    *out = json_is_true(of(json));
    return true;
}

const char *prle_version_jansson(void) { return jansson_version_str(); }
