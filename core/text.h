/* text.h - text that grows, the nearest word, UTF-8, numbers that read back as the same bits. */
#pragma once
#include <stddef.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The word of `words` (n, NULL entries skipped) that someone who typed `word` most likely meant, or NULL when none is near:
 * at most 1 + length / 4 insertions, deletions, substitutions or swaps of neighbours, or the only word that begins with it.
 */
const char *prle_text_nearest(const char *word, const char *const words[], int n);

bool prle_text_is_utf8(const char *text);

/** The fewest digits that read back as the same value; "nan", "inf", "-inf" otherwise. Returns text. */
const char *prle_text_double(double value, char text[32]);
const char *prle_text_float(float value, char text[32]);

/** A text that grows; begin with {0}. The first failure is kept and shown by prle_text_take, so that adding needs no checks. */
typedef struct prle_text {
    char *bytes; /* ends with a zero once anything was added */
    size_t n_bytes, room_bytes;
    prle_status st;
} prle_text;

void prle_text_add(prle_text *text, const char *fmt, ...) PRLE_PRINTF(2, 3);
void prle_text_add_bytes(prle_text *text, const char *bytes, size_t n_bytes);

/** Valid UTF-8 as a double-quoted string that JSON and YAML read back unchanged. */
void prle_text_add_quoted(prle_text *text, const char *utf8);

/**
 * Words, broken at spaces so that no line passes column `width`; the lines after the first, and those after a newline in `words`,
 * begin with `indent` spaces. `column` is how long the line already is. Ends with a newline.
 */
void prle_text_add_wrapped(prle_text *text, const char *words, int column, int indent, int width);

/** Gives the text away ("" when nothing was added), or what failed. *text is {0} again either way. */
PRLE_NODISCARD prle_status prle_text_take(prle_text *text, char **out);

void prle_text_drop(prle_text *text);

#ifdef __cplusplus
}
#endif
