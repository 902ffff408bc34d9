/* test_watchdog.c - the deadline in one process: fires on what is late, sleeps with a suspended process, else rests. */
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/comm.h"
#include "dist/watchdog.h"
#include "tests/check.h"

static void pause_ms(int ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

    nanosleep(&pause, NULL);
}

static int fine(void)
{
    if (prle_watchdog_begin(prle_comm_self(), 0.5) != PRLE_OK)
        return 1;
    for (int i = 0; i < 12; i++) {
        prle_watchdog_enter("short");
        prle_watchdog_enter("inner");
        pause_ms(60);
        prle_watchdog_leave();
        prle_watchdog_leave();
    }
    prle_watchdog_end();
    prle_watchdog_enter("unwatched");
    pause_ms(700);
    prle_watchdog_leave();
    return 0;
}

static int late(void)
{
    if (prle_watchdog_begin(prle_comm_self(), 0.3) != PRLE_OK)
        return 1;
    prle_watchdog_enter("first");
    prle_watchdog_leave();
    prle_watchdog_enter("loader");
    pause_ms(20000);
    return 0;
}

/* Stopped for three deadlines in the middle of an operation that itself takes no time. */
static int suspended(void)
{
    const pid_t self = getpid();

    if (prle_watchdog_begin(prle_comm_self(), 0.6) != PRLE_OK)
        return 1;
    prle_watchdog_enter("collective");
    if (fork() == 0) {
        pause_ms(1800);
        kill(self, SIGCONT);
        _Exit(0);
    }
    raise(SIGSTOP);
    pause_ms(100);
    prle_watchdog_leave();
    prle_watchdog_end();
    return 0;
}

/* Runs `body` in a child with its stderr in text; returns the wait status. */
static int run_child(int (*body)(void), char text[1024])
{
    int ends[2], status = -1;
    size_t used = 0;

    fflush(NULL);
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        _Exit(body());
    }
    close(ends[1]);
    for (ssize_t n = 1; n > 0 && used<1023; used += n> 0 ? (size_t)n : 0)
        n = read(ends[0], text + used, 1023 - used);
    text[used] = '\0';
    close(ends[0]);
    waitpid(child, &status, 0);
    return status;
}

static void test_fine(void **state)
{
    (void)state;
    char text[1024];

    assert_int_equal(run_child(fine, text), 0);
    assert_string_equal(text, "");
}

static void test_late(void **state)
{
    (void)state;
    char text[1024];
    const int status = run_child(late, text);

    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "rank 0 on "));
    assert_non_null(strstr(text, ": loader number 2 has not ended within 0.3 s"));
}

static void test_suspended(void **state)
{
    (void)state;
    char text[1024];

    assert_int_equal(run_child(suspended, text), 0);
    assert_string_equal(text, "");
}

static void test_bad_deadlines(void **state)
{
    (void)state;
    assert_fails(prle_watchdog_begin(prle_comm_self(), -1), PRLE_EINVAL, "-1 s");
    assert_fails(prle_watchdog_begin(prle_comm_self(), (double)NAN), PRLE_EINVAL, "nan");
    setenv("PRLE_DEADLINE", "soon", 1);
    assert_fails(prle_watchdog_begin(prle_comm_self(), 0), PRLE_EINVAL, "PRLE_DEADLINE=soon");
    setenv("PRLE_DEADLINE", "30", 1);
    assert_ok(prle_watchdog_begin(prle_comm_self(), 0));
    assert_fails(prle_watchdog_begin(prle_comm_self(), 0), PRLE_EINVAL, "already");
    prle_watchdog_end();
    prle_watchdog_end();
    unsetenv("PRLE_DEADLINE");
    assert_ok(prle_watchdog_begin(prle_comm_self(), 0));
    prle_watchdog_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fine),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_suspended),
        cmocka_unit_test(test_bad_deadlines),
    };

    unsetenv("PRLE_DEADLINE");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
