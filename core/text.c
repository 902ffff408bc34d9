/* text.c - see text.h. */
#include "core/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"

enum { MAX_WORD = 63, SURROGATES = 0xD800, SURROGATES_END = 0xDFFF, LAST_CODE_POINT = 0x10FFFF };

static int smaller(int a, int b) { return a < b ? a : b; }

/* Optimal string alignment distance; words longer than MAX_WORD are compared by their beginnings. */
static int distance(const char *a, const char *b)
{
    const int n = smaller((int)strlen(a), MAX_WORD), m = smaller((int)strlen(b), MAX_WORD);
    int d[MAX_WORD + 1][MAX_WORD + 1];

    for (int i = 0; i <= n; i++)
        d[i][0] = i;
    for (int j = 0; j <= m; j++)
        d[0][j] = j;
    for (int i = 1; i <= n; i++)
        for (int j = 1; j <= m; j++) {
            const int edit = smaller(d[i - 1][j], d[i][j - 1]) + 1;
            d[i][j] = smaller(edit, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = smaller(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[n][m];
}

const char *prle_text_nearest(const char *word, const char *const words[], int n)
{
    const size_t length = strlen(word);
    const char *best = NULL, *longer = NULL;
    int best_distance = 2 + (int)(length / 4), n_longer = 0;

    if (length > MAX_WORD)
        return NULL;
    for (int i = 0; i < n; i++) {
        if (words[i] == NULL)
            continue;
        const int d = distance(word, words[i]);
        if (d < best_distance && d < (int)length) {
            best = words[i];
            best_distance = d;
        }
        if (length >= 2 && strncmp(words[i], word, length) == 0) {
            longer = words[i];
            n_longer++;
        }
    }
    return best == NULL && n_longer == 1 ? longer : best;
}

/* The code point at *at, which moves past it; -1 where the bytes are no UTF-8. */
static int32_t code_point_next(const unsigned char **at)
{
    static const int32_t smallest[4] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *p = *at;
    const int n_more = p[0] < 0x80 ? 0 : p[0] < 0xC0 ? -1 : p[0] < 0xE0 ? 1 : p[0] < 0xF0 ? 2 : p[0] < 0xF8 ? 3 : -1;

    if (n_more < 0)
        return -1;
    int32_t code = n_more == 0 ? p[0] : p[0] & (0x3F >> n_more);
    for (int i = 1; i <= n_more; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return -1;
        code = code << 6 | (p[i] & 0x3F);
    }
    *at = p + n_more + 1;
    if (code < smallest[n_more] || code > LAST_CODE_POINT || (code >= SURROGATES && code <= SURROGATES_END))
        return -1;
    return code;
}

bool prle_text_is_utf8(const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0';)
        if (code_point_next(&at) < 0)
            return false;
    return true;
}

const char *prle_text_double(double value, char text[32])
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, value);
        if (!isfinite(value) || strtod(text, NULL) == value)
            break;
    }
    return text;
}

const char *prle_text_float(float value, char text[32])
{
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, 32, "%.*g", digits, (double)value);
        if (!isfinite(value) || strtof(text, NULL) == value)
            break;
    }
    return text;
}

/* Controls, line breaks of Unicode and what YAML calls not printable are written as escapes. */
static bool needs_escape(int32_t code)
{
    return code < 0x20 || (code >= 0x7F && code <= 0xA0) || code == 0x2028 || code == 0x2029 || code == 0xFEFF ||
           (code >= 0xFFFE && code <= 0xFFFF);
}

void prle_text_add_bytes(prle_text *text, const char *bytes, size_t n_bytes)
{
    if (text->st != PRLE_OK)
        return;
    if (text->n_bytes + n_bytes + 1 > text->room_bytes) {
        const size_t room = 2 * text->room_bytes + n_bytes + 256;
        text->st = prle_realloc(text->room_bytes, room, 1, (prle_any_ptr *)&text->bytes);
        if (text->st != PRLE_OK)
            return;
        text->room_bytes = room;
    }
    memcpy(text->bytes + text->n_bytes, bytes, n_bytes);
    text->n_bytes += n_bytes;
    text->bytes[text->n_bytes] = '\0';
}

void prle_text_add(prle_text *text, const char *fmt, ...)
{
    char short_text[256], *long_text = NULL;
    va_list args, again;

    va_start(args, fmt);
    va_copy(again, args);
    const int n = vsnprintf(short_text, sizeof short_text, fmt, args);
    va_end(args);
    if (n < (int)sizeof short_text) {
        prle_text_add_bytes(text, short_text, n < 0 ? 0 : (size_t)n);
    } else if (text->st == PRLE_OK) {
        text->st = PRLE_NEW(long_text, n + 1);
        if (text->st == PRLE_OK) {
            vsnprintf(long_text, (size_t)n + 1, fmt, again);
            prle_text_add_bytes(text, long_text, (size_t)n);
        }
        prle_free(long_text);
    }
    va_end(again);
}

void prle_text_add_quoted(prle_text *text, const char *utf8)
{
    prle_text_add(text, "\"");
    for (const unsigned char *at = (const unsigned char *)utf8; *at != '\0';) {
        const unsigned char *begin = at;
        const int32_t code = code_point_next(&at);
        if (code < 0)
            break;
        if (code == '"' || code == '\\')
            prle_text_add(text, "\\%c", (char)code);
        else if (code == '\n')
            prle_text_add(text, "\\n");
        else if (code == '\t')
            prle_text_add(text, "\\t");
        else if (needs_escape(code))
            prle_text_add(text, "\\u%04X", (unsigned)code);
        else
            prle_text_add_bytes(text, (const char *)begin, (size_t)(at - begin));
    }
    prle_text_add(text, "\"");
}

void prle_text_add_wrapped(prle_text *text, const char *words, int column, int indent, int width)
{
    bool line_begins = true;

    while (*words != '\0') {
        const int n = (int)strcspn(words, " \n");
        const bool breaks = n == 0 ? *words == '\n' : !line_begins && column + 1 + n > width;
        if (breaks) {
            prle_text_add(text, "\n%*s", indent, "");
            column = indent;
            line_begins = true;
        }
        if (n > 0) {
            prle_text_add(text, "%s%.*s", line_begins ? "" : " ", n, words);
            column += n + !line_begins;
            line_begins = false;
        }
        words += n > 0 ? n : 1;
    }
    prle_text_add(text, "\n");
}

prle_status prle_text_take(prle_text *text, char **out)
{
    if (text->st == PRLE_OK && text->bytes == NULL)
        prle_text_add_bytes(text, "", 0);
    const prle_status st = text->st;
    if (st == PRLE_OK) {
        *out = text->bytes;
        text->bytes = NULL;
    }
    prle_text_drop(text);
    return st;
}

void prle_text_drop(prle_text *text)
{
    prle_free(text->bytes);
    *text = (prle_text){0};
}
