/* test_stop.c - one rank gets a signal: all stop at the same step. */
#include <signal.h>

#include "dist/stop.h"
#include "tests/dist/ranks.h"

enum { N_STEPS = 20, SIGNAL_STEP = 5 };

/* Steps done before the ranks agree to stop; only rank `signalled` gets the signal. */
static int64_t steps_until_stop(int signalled, int number)
{
    for (int64_t step = 0; step < N_STEPS; step++) {
        bool stop = false;
        if (step == SIGNAL_STEP && world->rank == signalled)
            raise(number);
        if (prle_stop_requested(world, &stop) != PRLE_OK)
            return -1;
        if (stop)
            return step;
    }
    return N_STEPS;
}

static void check_signal(int number)
{
    const int signalled = world->size - 1;

    assert_all_ok(prle_stop_begin());
    assert_all(!prle_stop_pending());
    assert_all(steps_until_stop(signalled, number) == SIGNAL_STEP);
    assert_all(prle_stop_pending() == (world->rank == signalled));
    prle_stop_end();
    assert_all(!prle_stop_pending());
}

static void test_signals(void **state)
{
    (void)state;
    check_signal(SIGUSR1);
    check_signal(SIGTERM);
}

static void test_no_signal(void **state)
{
    (void)state;
    assert_all_ok(prle_stop_begin());
    assert_all(steps_until_stop(-1, SIGUSR1) == N_STEPS);
    prle_stop_end();
}

static int n_caught;

static void count(int number) { n_caught += number == SIGUSR1; }

static void test_gives_signals_back(void **state)
{
    (void)state;
    signal(SIGUSR1, count);
    assert_all_ok(prle_stop_begin());
    raise(SIGUSR1);
    assert_all(n_caught == 0);
    prle_stop_end();
    raise(SIGUSR1);
    assert_all(n_caught == 1 && !prle_stop_pending());
}

static void test_nests(void **state)
{
    (void)state;
    signal(SIGUSR1, SIG_DFL);
    assert_all_ok(prle_stop_begin());
    assert_all_ok(prle_stop_begin());
    prle_stop_end();
    raise(SIGUSR1); /* would end this process if the inner end had given it back */
    assert_all(prle_stop_pending());
    prle_stop_end();
    assert_all(!prle_stop_pending());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_no_signal),
        cmocka_unit_test(test_gives_signals_back),
        cmocka_unit_test(test_nests),
    };

    ranks_begin();
    return ranks_end(cmocka_run_group_tests(tests, NULL, NULL));
}
