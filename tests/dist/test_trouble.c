/* test_trouble.c - a rank in trouble; test_trouble.sh starts it under mpirun and judges how the job ends. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "core/comm.h"
#include "dist/dist.h"
#include "dist/watchdog.h"

enum { DEADLINE_S = 2, CODE = 3 };

/* Each returns the rank's exit code. */
static int stopped(prle_comm *world)
{
    if (world->rank == 1)
        raise(SIGSTOP);
    return prle_comm_barrier(world, "barrier of the test") != PRLE_OK;
}

static int alone(prle_comm *world)
{
    if (world->rank == 1)
        return CODE;
    return prle_comm_barrier(world, "barrier of the test") != PRLE_OK;
}

static int together(prle_comm *world)
{
    return prle_comm_agree(world, world->rank == 1 ? PRLE_EIO : PRLE_OK, "phase") != PRLE_OK ? CODE : 0;
}

static int fatal(prle_comm *world)
{
    if (world->rank == 1)
        prle_fatal(__FILE__, __LINE__, "the test's last word");
    return prle_comm_barrier(world, "barrier of the test") != PRLE_OK;
}

static int size(prle_comm *world)
{
    printf("%s %d\n", world->ops->name, world->size);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(prle_comm *world);
        double deadline_s;
    } modes[] = {
        {"stopped", stopped, DEADLINE_S}, {"alone", alone, 0}, {"together", together, 0}, {"fatal", fatal, 0}, {"size", size, 0},
    };
    prle_comm *world = NULL;
    int code = 2;

    if (prle_dist_begin(NULL, &world) != PRLE_OK) {
        fprintf(stderr, "%s\n", prle_error_message());
        return 2;
    }
    for (size_t i = 0; argc == 2 && i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(argv[1], modes[i].name) != 0)
            continue;
        if (prle_watchdog_begin(world, modes[i].deadline_s) != PRLE_OK)
            return 2;
        code = modes[i].run(world);
        prle_watchdog_end();
    }
    return prle_dist_end(world, code);
}
