/* json.h - JSON out (--json answers, one record per line in log.jsonl) and in (headers of foreign files, old records). */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- out ---- */

enum { PRLE_JSON_DEPTH = 16 };

/**
 * A value under construction; begin with {0}. The first failure is kept and shown by prle_json_take, so adding needs no checks:
 *
 *     prle_json_writer json = {0};
 *     prle_json_begin_object(&json, NULL);
 *     prle_json_add_int(&json, "step", 7);
 *     prle_json_add_double(&json, "loss_nats", loss);
 *     prle_json_end(&json);
 *     PRLE_TRY(prle_json_take(&json, false, &text));
 */
typedef struct prle_json_writer {
    struct prle_json *root, *open[PRLE_JSON_DEPTH];
    int depth;
    prle_status st;
} prle_json_writer;

/* `key`: the name in the object around it, unique there; NULL in a list and for the outermost value. */
void prle_json_begin_object(prle_json_writer *json, const char *key);
void prle_json_begin_list(prle_json_writer *json, const char *key);
void prle_json_end(prle_json_writer *json);
void prle_json_add_bool(prle_json_writer *json, const char *key, bool value);
void prle_json_add_int(prle_json_writer *json, const char *key, int64_t value);
void prle_json_add_double(prle_json_writer *json, const char *key, double value);    /* reads back exactly; NaN, infinity: null */
void prle_json_add_text(prle_json_writer *json, const char *key, const char *value); /* UTF-8; NULL: null */

/** The text, in one line or indented, without a newline at its end; or what failed. The writer is {0} again either way. */
PRLE_NODISCARD prle_status prle_json_take(prle_json_writer *json, bool indent, char **out);

void prle_json_drop(prle_json_writer *json);

/* ---- a file of records, one a line ---- */

typedef struct prle_jsonl prle_jsonl;

/**
 * Opens a log for more records. keep_bytes: how much of an existing file stays: 0 none, -1 all whole lines (a torn last one is
 * cut), or what prle_jsonl_bytes gave earlier, so that a resumed run continues where its checkpoint was.
 */
PRLE_NODISCARD prle_status prle_jsonl_open(prle_jsonl **out, const char *path, int64_t keep_bytes);

/** Takes the writer's object and writes it as one line with one system call: readers and a killed process see whole lines. */
PRLE_NODISCARD prle_status prle_jsonl_append(prle_jsonl *log, prle_json_writer *json);

int64_t prle_jsonl_bytes(const prle_jsonl *log);

void prle_jsonl_close(prle_jsonl *log); /* NULL is fine */

/* ---- in ---- */

/** A value; all but the outermost are borrowed from it. */
typedef struct prle_json prle_json;

/** `name` stands for the file in messages. Duplicate keys are refused. PRLE_EFORMAT names line and reason. */
PRLE_NODISCARD prle_status prle_json_parse(const char *name, const char *text, size_t n_bytes, prle_json **out);
PRLE_NODISCARD prle_status prle_json_load(const char *path, prle_json **out);
void prle_json_destroy(prle_json *root); /* NULL is fine */

/* Each accepts NULL for `json` and any kind of value, and says NULL, 0 or false where it does not fit: chains need one check. */
const prle_json *prle_json_get(const prle_json *object, const char *key);
const prle_json *prle_json_item(const prle_json *list, int64_t i);
int64_t prle_json_count(const prle_json *json);                             /* items of a list, entries of an object */
const char *prle_json_next_key(const prle_json *object, const char *after); /* in file order; NULL begins and ends */
const char *prle_json_text(const prle_json *json);
bool prle_json_int(const prle_json *json, int64_t *out);
bool prle_json_double(const prle_json *json, double *out); /* of an integer too */
bool prle_json_bool(const prle_json *json, bool *out);

#ifdef __cplusplus
}
#endif
