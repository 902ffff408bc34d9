/* stop.c - see stop.h. */
#include "dist/stop.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

enum { N_SIGNALS = 2 };

static const int signals[N_SIGNALS] = {SIGUSR1, SIGTERM};
static struct sigaction before[N_SIGNALS];
static volatile sig_atomic_t pending;
static int depth;

static void note(int number)
{
    (void)number;
    pending = 1;
}

prle_status prle_stop_begin(void)
{
    struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};

    if (depth++ > 0)
        return PRLE_OK;
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < N_SIGNALS; i++)
        PRLE_CHECK(sigaction(signals[i], &action, &before[i]) == 0, PRLE_EIO, "cannot catch %s: %s", strsignal(signals[i]),
                   strerror(errno));
    return PRLE_OK;
}

void prle_stop_end(void)
{
    if (--depth > 0)
        return;
    for (int i = 0; i < N_SIGNALS; i++)
        sigaction(signals[i], &before[i], NULL);
    pending = 0;
}

bool prle_stop_pending(void) { return pending != 0; }

prle_status prle_stop_requested(prle_comm *comm, bool *stop)
{
    int64_t any = prle_stop_pending();

    PRLE_TRY(prle_comm_max_i64(comm, &any, 1, "stop request"));
    *stop = any != 0;
    return PRLE_OK;
}
