/* folder.h - a private folder for one test program: give folder_make and folder_remove to cmocka_run_group_tests. */
#pragma once
#include <unistd.h>

#include "core/file.h"
#include "tests/check.h"

static char test_folder[64];

/* In memory where there is such a place: tests commit many files, and each fsync of a disk takes milliseconds. */
static inline int folder_make(void **state)
{
    (void)state;
    snprintf(test_folder, sizeof test_folder, "%s/prle_test_XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    return mkdtemp(test_folder) == NULL ? -1 : 0;
}

static inline int folder_remove(void **state)
{
    (void)state;
    return prle_folder_remove(test_folder) == PRLE_OK ? 0 : -1;
}

/** The path of a name in the folder; good for eight more calls. */
static inline const char *in_folder(const char *name)
{
    static char path[8][192];
    static int turn;

    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof path[turn], "%s/%s", test_folder, name);
    return path[turn];
}
