/* csv.h - tables of text with a header line (RFC 4180): manifests of photographs, landmarks, scores. Errors name file, line. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "core/text.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A table in memory; plain data, read it through the functions below. */
typedef struct prle_csv {
    char *name; /* of the file, for messages */
    char *text; /* the file, cut up in place */
    int64_t n_rows, n_columns;
    const char **field; /* [n_rows + 1, n_columns]: the header first */
    int64_t *line;      /* [n_rows + 1]: where each row starts, from 1 */
} prle_csv;

/**
 * Reads a whole table: fields by commas, "quoted" where they hold commas, quotes ("") or line breaks; LF or CRLF; a byte order
 * mark and empty lines are skipped. Yours to deinit.
 *
 * PRLE_EFORMAT with file and line: a row with more or fewer fields than the header, an open quote, text after a closing quote, a
 * zero byte, an empty or repeated column name, no header. PRLE_EIO: the file cannot be read.
 */
PRLE_NODISCARD prle_status prle_csv_load(prle_csv *out, const char *path);

/** The same from n_bytes bytes of memory (copied); `name` stands in messages. */
PRLE_NODISCARD prle_status prle_csv_parse(prle_csv *out, const char *name, const void *bytes, size_t n_bytes);
void prle_csv_deinit(prle_csv *csv); /* NULL and all-zero are fine */

/** Index of a column, or -1. */
int64_t prle_csv_find(const prle_csv *csv, const char *column);

/** Index of a column that must be there; PRLE_EFORMAT names it and those that are. */
PRLE_NODISCARD prle_status prle_csv_column(const prle_csv *csv, const char *column, int64_t *out);

/** Borrowed text of a field; row 0 ... n_rows-1 (the header is not a row), column 0 ... n_columns-1. */
const char *prle_csv_text(const prle_csv *csv, int64_t row, int64_t column);

/** A finite number; PRLE_EFORMAT with file, line, column and the text otherwise. */
PRLE_NODISCARD prle_status prle_csv_number(const prle_csv *csv, int64_t row, int64_t column, double *out);

/** The line in the file where a row starts. */
int64_t prle_csv_line(const prle_csv *csv, int64_t row);

/** A field of a table being written, quoted where it must be; commas and line ends are the caller's. */
void prle_csv_add_field(prle_text *text, const char *field);

#ifdef __cplusplus
}
#endif
