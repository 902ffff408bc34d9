/* test_stage_kill.c - `prle fuse` killed at twenty moments and started again: no committed unit is made twice, no map differs. */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/fusion/zoo.h"

enum { KILLS = 20 };

static prle_fuse_stage_opts stage_opts(void)
{
    prle_fuse_stage_opts opts = PRLE_FUSE_STAGE_OPTS_DEFAULT;

    opts.cams = in_folder("cams");
    opts.out = in_folder("maps.h5");
    return opts;
}

/* Whether it was still at work. The parent never starts OpenMP threads, which a fork would lose, before its own last run. */
static bool run_and_kill(const prle_fuse_stage_opts *opts, int64_t after_ns)
{
    const pid_t pid = fork();
    int status = 0;

    assert_true(pid >= 0);
    if (pid == 0) {
        prle_fuse_report report;
        _exit(prle_fuse_run(opts, prle_comm_self(), &report) == PRLE_OK ? 0 : 1);
    }
    nanosleep(&(struct timespec){.tv_nsec = after_ns}, NULL);
    kill(pid, SIGKILL);
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0); /* never failed by itself */
    return WIFSIGNALED(status);
}

static int64_t units_there(void)
{
    prle_strings names = {0};
    int64_t n = 0;

    if (!prle_folder_exists(in_folder("maps.h5.parts")))
        return 0;
    assert_ok(prle_folder_list(in_folder("maps.h5.parts"), &names));
    for (int64_t i = 0; i < names.n; i++) {
        const size_t length = strlen(names.item[i]);
        n += strncmp(names.item[i], "unit-", 5) == 0 && length > 3 && strcmp(names.item[i] + length - 3, ".h5") == 0;
    }
    prle_strings_deinit(&names);
    return n;
}

static void test_killed(void **state)
{
    (void)state;
    static const int members[ZOO_MEMBERS] = {0, 1, 2};
    prle_rng rng = prle_rng_make(8, 0, 0, PRLE_RNG_TEST);
    prle_fuse_report report = {0};
    int64_t there = 0;
    int killed = 0;

    zoo_make(in_folder("cams"));
    while (killed < KILLS) {
        const prle_fuse_stage_opts opts = stage_opts();
        killed += run_and_kill(&opts, 1000000 + prle_rng_below(&rng, 20000000));
        const int64_t now = units_there();
        if (prle_file_exists(in_folder("maps.h5"))) { /* it was faster: begin again */
            zoo_check(in_folder("maps.h5"), &opts.fuse, members, ZOO_MEMBERS);
            assert_ok(prle_file_remove(in_folder("maps.h5")));
            assert_ok(prle_folder_remove(in_folder("maps.h5.parts")));
            there = 0;
            continue;
        }
        assert_true(now >= there); /* what is committed stays */
        there = now;
    }
    const prle_fuse_stage_opts opts = stage_opts();
    assert_ok(prle_fuse_run(&opts, prle_comm_self(), &report));
    assert_int_equal(report.n_units_before, there); /* and no committed unit is made again */
    zoo_check(in_folder("maps.h5"), &opts.fuse, members, ZOO_MEMBERS);
    assert_false(prle_folder_exists(in_folder("maps.h5.parts")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_killed)};

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
