/* faults.h - each allocation, and each file or HDF5 call, of a piece of work fails once. */
#pragma once
#include "core/alloc.h"
#include "core/file.h"
#include "tests/check.h"

/**
 * Runs work(user) with its 1st, 2nd, ... allocation failing until it has no such one any more, then the same with its file and
 * HDF5 calls. Every run that fails says so and keeps no block; after each, check(user, done) looks at what is left (NULL: nothing
 * to see) and makes all as it was. sparse: for work that takes long, leaves out more and more (every sixteenth of those before).
 */
static inline void faults_run(prle_status (*work)(void *user), void (*check)(void *user, bool done), void *user, bool sparse)
{
    const int64_t live = prle_alloc_live();

    for (int kind = 0; kind < 2; kind++) {
        void (*fail_at)(int64_t) = kind == 0 ? prle_alloc_fail_at : prle_io_fail_at;
        int64_t (*count)(void) = kind == 0 ? prle_alloc_count : prle_io_count;
        bool reached = true; /* the nth call came: some that fail are done without */
        for (int64_t nth = 1; reached; nth += 1 + (sparse ? nth / 16 : 0)) {
            const int64_t before = count();
            fail_at(nth);
            const prle_status st = work(user);
            fail_at(0);
            reached = st != PRLE_OK || count() - before >= nth;
            if (st != PRLE_OK)
                assert_int_not_equal(strlen(prle_error_message()), 0);
            assert_int_equal(prle_alloc_live(), live);
            if (check != NULL)
                check(user, st == PRLE_OK);
            assert_true(nth < 20000);
        }
    }
}

static inline void faults_each(prle_status (*work)(void *user), void (*check)(void *user, bool done), void *user)
{
    faults_run(work, check, user, false);
}

static inline void faults_sparse(prle_status (*work)(void *user), void (*check)(void *user, bool done), void *user)
{
    faults_run(work, check, user, true);
}
