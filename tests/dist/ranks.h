/* ranks.h - assertions under MPI: the ranks agree first and then pass or fail together, so that none waits for one that left. */
#pragma once
#include "core/comm.h"
#include "dist/dist.h"
#include "tests/check.h"

static prle_comm *world;

/** Joins the ranks (a singleton without mpirun); only rank 0 keeps its stdout, so that one rank's report stands in the log. */
static inline void ranks_begin(void)
{
    const prle_dist_opts opts = {.force_mpi = true};

    if (prle_dist_begin(&opts, &world) != PRLE_OK) {
        fprintf(stderr, "%s\n", prle_error_details());
        exit(1);
    }
    if (world->rank != 0 && freopen("/dev/null", "w", stdout) == NULL)
        exit(1);
}

/** The exit code of main. */
static inline int ranks_end(int n_failed) { return prle_dist_end(world, n_failed != 0); }

/** The same bits on every rank: compares with rank 0's. Collective. */
static inline bool ranks_same_bits(const void *bytes, int64_t n_bytes)
{
    char *theirs = malloc((size_t)n_bytes + 1);

    if (world->rank == 0)
        memcpy(theirs, bytes, (size_t)n_bytes);
    const bool same =
        prle_comm_broadcast(world, theirs, n_bytes, 0, "compare") == PRLE_OK && memcmp(theirs, bytes, (size_t)n_bytes) == 0;
    free(theirs);
    return same;
}

/** The call succeeds on every rank. */
#define assert_all_ok(e)                                                                                                         \
    do {                                                                                                                         \
        const prle_status own_ = (e);                                                                                            \
        char text_[1024];                                                                                                        \
        snprintf(text_, sizeof text_, "%s", own_ != PRLE_OK ? prle_error_details() : "");                                        \
        const prle_status all_ = prle_comm_agree(world, own_, "test");                                                           \
        if (all_ != PRLE_OK)                                                                                                     \
            fail_msg("rank %d: %s: %s: %s", world->rank, #e, prle_status_name(own_), text_);                                     \
    } while (0)

/** The condition holds on every rank. */
#define assert_all(cond)                                                                                                         \
    do {                                                                                                                         \
        const bool own_ = (cond);                                                                                                \
        if (prle_comm_agree(world, own_ ? PRLE_OK : PRLE_EINVAL, "test") != PRLE_OK)                                             \
            fail_msg("rank %d: %s is %s", world->rank, #cond, own_ ? "true here, not on every rank" : "false");                  \
    } while (0)
