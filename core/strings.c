/* strings.c - see strings.h. */
#include "core/strings.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"

static prle_status make_room(prle_strings *list, int64_t n_more)
{
    int64_t grown = list->capacity < 8 ? 8 : list->capacity;

    while (grown < list->n + n_more)
        grown *= 2;
    if (grown == list->capacity)
        return PRLE_OK;
    PRLE_TRY(prle_realloc((size_t)list->n, (size_t)grown, sizeof *list->item, (prle_any_ptr *)&list->item));
    list->capacity = grown;
    return PRLE_OK;
}

prle_status prle_strings_add(prle_strings *list, const char *text)
{
    char *copy = NULL;

    PRLE_TRY(make_room(list, 1));
    PRLE_TRY(prle_strdup(text, &copy));
    list->item[list->n++] = copy;
    return PRLE_OK;
}

prle_status prle_strings_append(prle_strings *list, prle_strings *more)
{
    PRLE_TRY(make_room(list, more->n));
    for (int64_t i = 0; i < more->n; i++)
        list->item[list->n++] = more->item[i];
    prle_free(more->item);
    *more = (prle_strings){0};
    return PRLE_OK;
}

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

void prle_strings_sort(prle_strings *list)
{
    if (list->n > 1)
        qsort(list->item, (size_t)list->n, sizeof *list->item, compare);
}

int64_t prle_strings_find(const prle_strings *list, const char *text)
{
    for (int64_t i = 0; i < list->n; i++)
        if (strcmp(list->item[i], text) == 0)
            return i;
    return -1;
}

void prle_strings_deinit(prle_strings *list)
{
    for (int64_t i = 0; i < list->n; i++)
        prle_free(list->item[i]);
    prle_free(list->item);
    *list = (prle_strings){0};
}

/* The slot where text stands or would stand; n_slots is a power of two and never full. */
static int64_t slot_of(const prle_strings *list, const int64_t *slot, int64_t n_slots, const char *text)
{
    int64_t at = (int64_t)(prle_hash(PRLE_HASH_INIT, text, strlen(text)) & (uint64_t)(n_slots - 1));

    while (slot[at] != 0 && strcmp(list->item[slot[at] - 1], text) != 0)
        at = (at + 1) & (n_slots - 1);
    return at;
}

static prle_status slots_grow(prle_names *names)
{
    const int64_t grown = names->n_slots == 0 ? 16 : 2 * names->n_slots;
    int64_t *slot = NULL;

    PRLE_TRY(PRLE_NEW(slot, grown));
    for (int64_t i = 0; i < names->list.n; i++)
        slot[slot_of(&names->list, slot, grown, names->list.item[i])] = i + 1;
    prle_free(names->slot);
    names->slot = slot;
    names->n_slots = grown;
    return PRLE_OK;
}

prle_status prle_names_intern(prle_names *names, const char *text, int64_t *index)
{
    if (2 * (names->list.n + 1) > names->n_slots)
        PRLE_TRY(slots_grow(names));
    const int64_t at = slot_of(&names->list, names->slot, names->n_slots, text);
    if (names->slot[at] == 0) {
        PRLE_TRY(prle_strings_add(&names->list, text));
        names->slot[at] = names->list.n;
    }
    *index = names->slot[at] - 1;
    return PRLE_OK;
}

int64_t prle_names_find(const prle_names *names, const char *text)
{
    if (names->n_slots == 0)
        return -1;
    return names->slot[slot_of(&names->list, names->slot, names->n_slots, text)] - 1;
}

void prle_names_deinit(prle_names *names)
{
    prle_strings_deinit(&names->list);
    prle_free(names->slot);
    *names = (prle_names){0};
}
