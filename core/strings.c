/* strings.c - see strings.h. */
#include "core/strings.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"

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
