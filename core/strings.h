/* strings.h - a growing list of strings that it owns: folder listings, name tables, string datasets. */
#pragma once
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Start with `prle_strings names = {0};`. Read n and item freely; change them only through the calls below. */
typedef struct prle_strings {
    int64_t n, capacity;
    char **item; /* [n] */
} prle_strings;

/** Appends a copy of text; the list is unchanged on failure. */
PRLE_NODISCARD prle_status prle_strings_add(prle_strings *list, const char *text);

/** Moves all of `more` to the end of `list` and leaves `more` empty; both are unchanged on failure. */
PRLE_NODISCARD prle_status prle_strings_append(prle_strings *list, prle_strings *more);

/** By strcmp: bytes, not locale, so every machine has the same order. */
void prle_strings_sort(prle_strings *list);

/** The index of the first equal string, -1 when there is none. A walk over the list. */
int64_t prle_strings_find(const prle_strings *list, const char *text);

/** Frees everything and leaves an empty list. */
void prle_strings_deinit(prle_strings *list);

/** A list of different strings, found by hash: tables of names and their numbers. Start with `prle_names names = {0};`. */
typedef struct prle_names {
    prle_strings list; /* in the order of their first coming */
    int64_t *slot;     /* [n_slots] open addressing: 1 + index, 0 where free */
    int64_t n_slots;
} prle_names;

/** The index of text, added when it is new. Unchanged on failure. */
PRLE_NODISCARD prle_status prle_names_intern(prle_names *names, const char *text, int64_t *index);

/** The index of text, or -1. */
int64_t prle_names_find(const prle_names *names, const char *text);

void prle_names_deinit(prle_names *names);

#ifdef __cplusplus
}
#endif
