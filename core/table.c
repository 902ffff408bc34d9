/* table.c - see table.h. */
#include "core/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/text.h"

enum { MAX_COLUMNS = 64, CELL_BYTES = 512 };

void prle_table_add(prle_table *table, const char *fmt, ...)
{
    char cell[CELL_BYTES];
    va_list args;

    if (table->st != PRLE_OK)
        return;
    va_start(args, fmt);
    vsnprintf(cell, sizeof cell, fmt, args);
    va_end(args);
    table->st = prle_strings_add(&table->cells, cell);
}

/* Characters, not bytes: "±" is one wide. */
static int width_of(const char *utf8)
{
    int n = 0;

    for (; *utf8 != '\0'; utf8++)
        n += ((unsigned char)*utf8 & 0xC0) != 0x80;
    return n;
}

static void spaces_add(prle_text *text, int n) { prle_text_add(text, "%*s", n > 0 ? n : 0, ""); }

/* In Markdown a bar would end the cell. */
static void cell_text_add(prle_text *text, const char *cell, bool markdown)
{
    for (; *cell != '\0'; cell++) {
        if (markdown && *cell == '|')
            prle_text_add(text, "\\");
        prle_text_add_bytes(text, cell, 1);
    }
}

static void cell_add(prle_text *text, const char *cell, char align, int width, bool last, bool markdown)
{
    const int padding = width - width_of(cell);

    if (align == 'r')
        spaces_add(text, padding);
    cell_text_add(text, cell, markdown);
    if (align != 'r' && (markdown || !last)) /* no spaces at the end of a line */
        spaces_add(text, padding);
}

static void row_add(prle_text *text, const prle_table *table, char *const *row, const int *widths, bool markdown)
{
    const int n = (int)strlen(table->columns);

    prle_text_add(text, "%s", markdown ? "| " : "");
    for (int c = 0; c < n; c++) {
        cell_add(text, row[c], table->columns[c], widths[c], c == n - 1, markdown);
        prle_text_add(text, "%s", c < n - 1 ? (markdown ? " | " : "  ") : (markdown ? " |\n" : "\n"));
    }
}

static void rule_add(prle_text *text, const prle_table *table, const int *widths, bool markdown)
{
    const int n = (int)strlen(table->columns);

    prle_text_add(text, "%s", markdown ? "|" : "");
    for (int c = 0; c < n; c++) {
        const int dashes = widths[c] + (markdown ? 2 - (table->columns[c] == 'r') : 0);
        for (int i = 0; i < dashes; i++)
            prle_text_add(text, "-");
        prle_text_add(text, "%s", markdown ? (table->columns[c] == 'r' ? ":|" : "|") : c < n - 1 ? "  " : "");
    }
    prle_text_add(text, "\n");
}

prle_status prle_table_take(prle_table *table, prle_table_style style, char **out)
{
    const int n = (int)strlen(table->columns);
    const bool markdown = style == PRLE_TABLE_MARKDOWN;
    int widths[MAX_COLUMNS] = {0};
    prle_text text = {0};
    prle_status st = table->st;

    PRLE_CHECK_OUT(st == PRLE_OK, st, "%s", prle_error_message());
    PRLE_CHECK_OUT(n >= 1 && n <= MAX_COLUMNS && table->cells.n > 0 && table->cells.n % n == 0, PRLE_EINVAL,
                   "table of %d columns: %lld cells are no whole rows", n, (long long)table->cells.n);
    for (int64_t i = 0; i < table->cells.n; i++) {
        const int width = width_of(table->cells.item[i]);
        if (width > widths[i % n])
            widths[i % n] = width;
    }
    for (int64_t i = 0; i < table->cells.n; i += n) {
        row_add(&text, table, table->cells.item + i, widths, markdown);
        if (i == 0)
            rule_add(&text, table, widths, markdown);
    }
    PRLE_TRY_OUT(prle_text_take(&text, out));
out:
    prle_table_drop(table);
    return st;
}

void prle_table_drop(prle_table *table)
{
    prle_strings_deinit(&table->cells);
    table->st = PRLE_OK;
}
