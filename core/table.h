/* table.h - small tables as aligned text or Markdown. */
#pragma once
#include "core/status.h"
#include "core/strings.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum prle_table_style {
    PRLE_TABLE_TEXT,     /* columns two spaces apart, a line of dashes under the header */
    PRLE_TABLE_MARKDOWN, /* | a | b | */
} prle_table_style;

/**
 * Cells row by row, the header first. The first failure is kept and shown by prle_table_take:
 *
 *     prle_table table = {.columns = "lrr"};
 *     prle_table_add(&table, "set");
 *     prle_table_add(&table, "AUC");
 *     ...
 *     PRLE_TRY(prle_table_take(&table, PRLE_TABLE_TEXT, &text));
 */
typedef struct prle_table {
    const char *columns; /* a letter for each: l left, r right */
    prle_strings cells;
    prle_status st;
} prle_table;

/** The next cell; UTF-8. */
void prle_table_add(prle_table *table, const char *fmt, ...) PRLE_PRINTF(2, 3);

/** The text, which ends with a newline, or what failed (PRLE_EINVAL: the last row is not full). The table is empty afterwards. */
PRLE_NODISCARD prle_status prle_table_take(prle_table *table, prle_table_style style, char **out);

void prle_table_drop(prle_table *table);

#ifdef __cplusplus
}
#endif
