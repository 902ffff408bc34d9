/* test_threads.c - the number of threads, and the program started again to wait passively. */
#include <omp.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/threads.h"
#include "tests/check.h"

static void test_available(void **state)
{
    (void)state;
    cpu_set_t before, one;

    assert_in_range(prle_threads_available(), 1, 4096);
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &before))
            CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(prle_threads_available(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

/* Threads that a parallel region really gets. */
static int region_threads(void)
{
    int n = 0;

#pragma omp parallel reduction(+ : n)
    n += 1;
    return n;
}

static void test_setup(void **state)
{
    (void)state;
    int n = 0;

    unsetenv("OMP_NUM_THREADS");
    assert_ok(prle_threads_setup(0, 1, &n));
    assert_int_equal(n, prle_threads_available());
    assert_ok(prle_threads_setup(0, 1000, &n));
    assert_int_equal(n, 1);
    assert_int_equal(region_threads(), 1);
    assert_ok(prle_threads_setup(3, 1000, &n));
    assert_int_equal(n, 3);
    assert_int_equal(region_threads(), 3);
    setenv("OMP_NUM_THREADS", "2,4", 1);
    assert_ok(prle_threads_setup(0, 1000, &n));
    assert_int_equal(n, 2);
    assert_int_equal(region_threads(), 2);
    unsetenv("OMP_NUM_THREADS");
}

static void test_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {"many", "0", "-1", "2x", "1e3", "99999999999999999999"};
    int n = 7;

    assert_fails(prle_threads_setup(-1, 1, &n), PRLE_EINVAL, "-1 threads");
    assert_fails(prle_threads_setup(5000, 1, &n), PRLE_EINVAL, "5000 threads");
    assert_fails(prle_threads_setup(1, 0, &n), PRLE_EINVAL, "0 ranks");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        setenv("OMP_NUM_THREADS", bad[i], 1);
        assert_fails(prle_threads_setup(0, 1, &n), PRLE_EINVAL, bad[i]);
    }
    unsetenv("OMP_NUM_THREADS");
    assert_int_equal(n, 7);
}

/* Runs this program as a child that calls prle_threads_wait_setup(n_threads); true when it then finds the policy set. */
static bool child_waits_passively(const char *n_threads, const char *local_ranks)
{
    int status = -1;

    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        setenv("OMPI_COMM_WORLD_LOCAL_SIZE", local_ranks, 1);
        execl("/proc/self/exe", "test_threads", n_threads, (char *)NULL);
        _Exit(9);
    }
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
    return WEXITSTATUS(status) == 1;
}

static int child_main(char **argv)
{
    if (prle_threads_wait_setup(atoi(argv[1]), argv) != PRLE_OK)
        return 2;
    return getenv("OMP_WAIT_POLICY") != NULL && strcmp(getenv("OMP_WAIT_POLICY"), "passive") == 0;
}

static void test_waits_passively(void **state)
{
    (void)state;
    assert_true(child_waits_passively("2", "4096"));
    assert_false(child_waits_passively("1", "4096")); /* one thread waits for none */
    assert_false(child_waits_passively("0", "1"));
    setenv("OMP_WAIT_POLICY", "active", 1);
    assert_false(child_waits_passively("2", "4096"));
    unsetenv("OMP_WAIT_POLICY");
}

static void *signals_blocked(void *out)
{
    sigset_t set;

    pthread_sigmask(SIG_SETMASK, NULL, &set);
    *(bool *)out = sigismember(&set, SIGUSR1) && sigismember(&set, SIGTERM);
    return NULL;
}

static void test_helper_thread_gets_no_signals(void **state)
{
    (void)state;
    bool in_thread = false, here = true;
    pthread_t thread;

    assert_ok(prle_thread_start(&thread, signals_blocked, &in_thread, "test"));
    assert_int_equal(pthread_join(thread, NULL), 0);
    signals_blocked(&here);
    assert_true(in_thread && !here);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_available),
        cmocka_unit_test(test_setup),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_waits_passively),
        cmocka_unit_test(test_helper_thread_gets_no_signals),
    };

    if (argc > 1)
        return child_main(argv);
    unsetenv("OMP_WAIT_POLICY");
    unsetenv("GOMP_SPINCOUNT");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
