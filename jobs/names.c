/* names.c - see names.h. */
#include "jobs/names.h"

#include <string.h>

#include "core/alloc.h"

static prle_status name_add(prle_strings *names, const char *path, bool whole)
{
    size_t n = strlen(path), first = 0;
    char *name = NULL;

    while (n > 1 && path[n - 1] == '/')
        n--;
    if (n > 3 && strncmp(path + n - 3, ".h5", 3) == 0)
        n -= 3;
    for (size_t i = 0; !whole && i + 1 < n; i++)
        if (path[i] == '/')
            first = i + 1;
    PRLE_TRY(prle_asprintf(&name, "%.*s", (int)(n - first), path + first));
    for (char *at = name; *at != '\0'; at++)
        if (*at == '/')
            *at = '-';
    const prle_status st = prle_strings_add(names, name);
    prle_free(name);
    return st;
}

/* The first name that stands there twice, or -1. */
static int64_t twice(const prle_strings *names)
{
    for (int64_t i = 0; i < names->n; i++)
        if (prle_strings_find(names, names->item[i]) != i)
            return i;
    return -1;
}

prle_status prle_short_names(prle_strings *names, const prle_strings *paths)
{
    prle_status st = PRLE_OK;
    prle_strings list = {0};

    for (int64_t i = 0; i < paths->n; i++)
        PRLE_TRY_OUT(name_add(&list, paths->item[i], false));
    if (twice(&list) >= 0) {
        prle_strings_deinit(&list);
        for (int64_t i = 0; i < paths->n; i++)
            PRLE_TRY_OUT(name_add(&list, paths->item[i], true));
    }
    PRLE_CHECK_OUT(twice(&list) < 0, PRLE_EINVAL, "%s is given twice", paths->item[twice(&list)]);
    *names = list;
    list = (prle_strings){0};
out:
    prle_strings_deinit(&list);
    return st;
}
