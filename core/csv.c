/* csv.c - see csv.h. One pass cuts the text into fields in place; quoted fields only ever get shorter. */
#include "core/csv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/file.h"

typedef struct parser {
    prle_csv *csv;
    char *at;     /* next byte */
    int64_t line; /* of `at`, from 1 */
    int64_t n_fields, n_records;
    int64_t field_capacity, line_capacity;
} parser;

/* Room for one more element. */
static prle_status grow(int64_t n, int64_t *capacity, size_t size, prle_any_ptr *items)
{
    const int64_t wanted = *capacity > 0 ? 2 * *capacity : 256;

    if (n < *capacity)
        return PRLE_OK;
    PRLE_TRY(prle_realloc((size_t)n, (size_t)wanted, size, items));
    *capacity = wanted;
    return PRLE_OK;
}

static bool ends_field(char c) { return c == ',' || c == '\n' || c == '\r' || c == '\0'; }

/* p->at stands on the opening quote; afterwards behind the closing one, and *field is closed with a zero. */
static prle_status quoted_cut(parser *p, char **field)
{
    const int64_t first_line = p->line;
    char *to = p->at, *from = p->at + 1;

    *field = to;
    while (*from != '"' || from[1] == '"') {
        PRLE_CHECK(*from != '\0', PRLE_EFORMAT, "%s:%lld: a quote is opened and never closed", p->csv->name,
                   (long long)first_line);
        if (*from == '\n')
            p->line++;
        if (*from == '"')
            from++;
        *to++ = *from++;
    }
    PRLE_CHECK(ends_field(from[1]), PRLE_EFORMAT, "%s:%lld: text after a closing quote", p->csv->name, (long long)p->line);
    *to = '\0';
    p->at = from + 1;
    return PRLE_OK;
}

/* One field; *last tells whether the record ends with it. */
static prle_status field_cut(parser *p, bool *last)
{
    char *field = p->at;

    if (*p->at == '"')
        PRLE_TRY(quoted_cut(p, &field));
    else
        while (!ends_field(*p->at))
            p->at++;
    const char end = *p->at;
    *p->at = '\0';
    if (end != '\0')
        p->at++;
    if (end == '\r' && *p->at == '\n')
        p->at++;
    if (end == '\n' || end == '\r')
        p->line++;
    PRLE_TRY(grow(p->n_fields, &p->field_capacity, sizeof *p->csv->field, (prle_any_ptr *)&p->csv->field));
    p->csv->field[p->n_fields++] = field;
    *last = end != ',';
    return PRLE_OK;
}

static prle_status record_cut(parser *p)
{
    const int64_t first_line = p->line, first_field = p->n_fields;

    PRLE_TRY(grow(p->n_records, &p->line_capacity, sizeof *p->csv->line, (prle_any_ptr *)&p->csv->line));
    for (bool last = false; !last;)
        PRLE_TRY(field_cut(p, &last));
    const int64_t n = p->n_fields - first_field;
    if (p->n_records == 0)
        p->csv->n_columns = n;
    PRLE_CHECK(n == p->csv->n_columns, PRLE_EFORMAT, "%s:%lld: %lld fields, the header has %lld", p->csv->name,
               (long long)first_line, (long long)n, (long long)p->csv->n_columns);
    p->csv->line[p->n_records++] = first_line;
    return PRLE_OK;
}

static void line_ends_skip(parser *p)
{
    for (; *p->at == '\n' || *p->at == '\r'; p->at++)
        p->line += *p->at == '\n' || p->at[1] != '\n';
}

static prle_status header_check(const prle_csv *csv)
{
    for (int64_t i = 0; i < csv->n_columns; i++) {
        PRLE_CHECK(csv->field[i][0] != '\0', PRLE_EFORMAT, "%s:%lld: column %lld has no name", csv->name, (long long)csv->line[0],
                   (long long)i + 1);
        PRLE_CHECK(prle_csv_find(csv, csv->field[i]) == i, PRLE_EFORMAT, "%s:%lld: column \"%s\" is there twice", csv->name,
                   (long long)csv->line[0], csv->field[i]);
    }
    return PRLE_OK;
}

prle_status prle_csv_parse(prle_csv *out, const char *name, const void *bytes, size_t n_bytes)
{
    const size_t n_mark = n_bytes >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    prle_csv csv = {0};
    parser p = {.csv = &csv, .line = 1};
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_strdup(name, &csv.name));
    PRLE_CHECK_OUT(n_bytes == 0 || memchr(bytes, 0, n_bytes) == NULL, PRLE_EFORMAT, "%s: holds a zero byte: not a text file",
                   name);
    PRLE_TRY_OUT(PRLE_NEW(csv.text, n_bytes + 1));
    if (n_bytes > 0)
        memcpy(csv.text, bytes, n_bytes);
    p.at = csv.text + n_mark;
    for (line_ends_skip(&p); *p.at != '\0'; line_ends_skip(&p))
        PRLE_TRY_OUT(record_cut(&p));
    PRLE_CHECK_OUT(p.n_records > 0, PRLE_EFORMAT, "%s: empty: a header line is expected", name);
    csv.n_rows = p.n_records - 1;
    PRLE_TRY_OUT(header_check(&csv));
    *out = csv;
    csv = (prle_csv){0};
out:
    prle_csv_deinit(&csv);
    return st;
}

prle_status prle_csv_load(prle_csv *out, const char *path)
{
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;

    PRLE_TRY(prle_file_read_all(path, &bytes, &n_bytes));
    const prle_status st = prle_csv_parse(out, path, bytes, n_bytes);
    prle_free(bytes);
    return st;
}

void prle_csv_deinit(prle_csv *csv)
{
    if (csv == NULL)
        return;
    prle_free(csv->name);
    prle_free(csv->text);
    prle_free(csv->field);
    prle_free(csv->line);
    *csv = (prle_csv){0};
}

int64_t prle_csv_find(const prle_csv *csv, const char *column)
{
    for (int64_t i = 0; i < csv->n_columns; i++)
        if (strcmp(csv->field[i], column) == 0)
            return i;
    return -1;
}

prle_status prle_csv_column(const prle_csv *csv, const char *column, int64_t *out)
{
    const int64_t found = prle_csv_find(csv, column);

    PRLE_CHECK(found >= 0, PRLE_EFORMAT, "%s:%lld: no column \"%s\" among %lld, the first being \"%s\"", csv->name,
               (long long)csv->line[0], column, (long long)csv->n_columns, csv->field[0]);
    *out = found;
    return PRLE_OK;
}

const char *prle_csv_text(const prle_csv *csv, int64_t row, int64_t column)
{
    PRLE_ASSERT(row >= 0 && row < csv->n_rows && column >= 0 && column < csv->n_columns);
    return csv->field[(row + 1) * csv->n_columns + column];
}

prle_status prle_csv_number(const prle_csv *csv, int64_t row, int64_t column, double *out)
{
    const char *text = prle_csv_text(csv, row, column);
    char *end = NULL;
    const double value = strtod(text, &end);

    while (*end == ' ' || *end == '\t')
        end++;
    PRLE_CHECK(end != text && *end == '\0' && isfinite(value), PRLE_EFORMAT, "%s:%lld: column \"%s\": \"%.40s\" is not a number",
               csv->name, (long long)prle_csv_line(csv, row), csv->field[column], text);
    *out = value;
    return PRLE_OK;
}

int64_t prle_csv_line(const prle_csv *csv, int64_t row) { return csv->line[row + 1]; }

void prle_csv_add_field(prle_text *text, const char *field)
{
    if (strpbrk(field, ",\"\r\n") == NULL) {
        prle_text_add_bytes(text, field, strlen(field));
        return;
    }
    prle_text_add_bytes(text, "\"", 1);
    for (const char *at = field; *at != '\0'; at++)
        prle_text_add_bytes(text, *at == '"' ? "\"\"" : at, *at == '"' ? 2 : 1);
    prle_text_add_bytes(text, "\"", 1);
}
