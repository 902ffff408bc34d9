/* test_stage.c - prle_fuse_run on 1, 2 and 4 ranks: same contents, goes on after failures, refuses what does not match. */
#include <signal.h>

#include "dist/stop.h"
#include "tests/dist/ranks.h"
#include "tests/faults.h"
#include "tests/fusion/zoo.h"

static char cams[192], out[192];
static const int all_members[ZOO_MEMBERS] = {0, 1, 2};

/* Rank 0 makes the zoo; every rank knows where. */
static int ranks_folder(void **state)
{
    int failed = world->rank == 0 ? folder_make(state) : 0;

    if (prle_comm_broadcast(world, test_folder, sizeof test_folder, 0, "folder") != PRLE_OK)
        return -1;
    snprintf(cams, sizeof cams, "%s", in_folder("cams"));
    snprintf(out, sizeof out, "%s", in_folder("maps.h5"));
    if (world->rank == 0)
        zoo_make(cams);
    return failed || prle_comm_barrier(world, "zoo") != PRLE_OK;
}

static int ranks_folder_remove(void **state)
{
    const bool all_done = prle_comm_barrier(world, "zoo") == PRLE_OK;

    return world->rank == 0 ? folder_remove(state) : !all_done;
}

static void out_remove(void) { assert_all(world->rank != 0 || prle_file_remove(out) == PRLE_OK); }

static prle_fuse_stage_opts stage_opts(void)
{
    prle_fuse_stage_opts opts = PRLE_FUSE_STAGE_OPTS_DEFAULT;

    opts.cams = cams;
    opts.out = out;
    opts.threads = 2;
    return opts;
}

static void out_check(const prle_fuse_opts *fuse, const int *members, int n)
{
    if (world->rank == 0)
        zoo_check(out, fuse, members, n);
    assert_all(true);
}

static void test_contents(void **state)
{
    (void)state;
    prle_fuse_stage_opts opts = stage_opts();
    prle_fuse_report report = {0};

    for (int rule = PRLE_FUSE_EXPAND; rule <= PRLE_FUSE_AVERAGE; rule += 2) {
        opts.fuse.rule = (prle_fuse_rule)rule;
        assert_all_ok(prle_fuse_run(&opts, world, &report));
        out_check(&opts.fuse, all_members, ZOO_MEMBERS);
        out_remove();
    }
}

static void test_report(void **state)
{
    (void)state;
    prle_fuse_stage_opts opts = stage_opts();
    prle_fuse_report report = {0};

    assert_all_ok(prle_fuse_run(&opts, world, &report));
    assert_all(!report.was_done && report.n_units == ZOO_UNITS && report.n_units_before == 0 && report.n_images == ZOO_IMAGES &&
               report.n_maps == ZOO_END - ZOO_FIRST && report.n_members == 3);
    assert_all(report.height == ZOO_H && report.width == ZOO_W);
    assert_all(report.n_empty == 15); /* every twelfth of 10 ... 189 */
    assert_all(report.share[0] == 0 && report.share[6] > 0 && report.share[6] <= 1);
    for (int k = 1; k < PRLE_FUSE_QUANTILES; k++)
        assert_all(report.share[k] >= report.share[k - 1]);
    assert_all(report.mean_share > report.share[0] && report.mean_share < report.share[6]);
    assert_all(ranks_same_bits(&report.share, sizeof report.share));

    /* again: nothing to do; with other settings: refused */
    assert_all_ok(prle_fuse_run(&opts, world, &report));
    assert_all(report.was_done && report.n_empty == 15);
    opts.fuse.tau1 = 0.25;
    const prle_status st = prle_fuse_run(&opts, world, &report);
    assert_all(st == (world->rank == 0 ? PRLE_EINVAL : PRLE_EPEER));
    if (world->rank == 0)
        assert_non_null(strstr(prle_error_message(), "is there already, made by rule expand (tau1 0.3, lambda 0.15, radius 1)"));
    out_remove();
}

static void test_zoo_selection(void **state)
{
    (void)state;
    char *names[] = {"gamma", "alpha"}, *unknown[] = {"alpha", "delta"}, *twice[] = {"alpha", "alpha"};
    const int members[] = {2, 0};
    prle_fuse_stage_opts opts = stage_opts();
    prle_fuse_report report = {0};

    opts.zoo = (prle_strings){.n = 2, .item = names};
    assert_all_ok(prle_fuse_run(&opts, world, &report));
    out_check(&opts.fuse, members, 2);
    out_remove();
    opts.zoo.item = unknown;
    assert_fails(prle_fuse_run(&opts, world, &report), PRLE_EINVAL, "\"delta\" has no maps in");
    assert_non_null(strstr(prle_error_message(), "there are alpha,beta,gamma"));
    opts.zoo.item = twice;
    assert_fails(prle_fuse_run(&opts, world, &report), PRLE_EINVAL, "\"alpha\" is named twice");
}

static void member_add(const char *name, const char *method, const char *faces, int64_t first, int64_t end)
{
    if (world->rank == 0)
        zoo_write(cams, name, method, 1, faces, first, end);
    assert_all(true);
}

static void member_remove(const char *name)
{
    char path[256];

    assert_all(true); /* nobody reads it any more */
    snprintf(path, sizeof path, "%s/%s.h5", cams, name);
    assert_all(world->rank != 0 || prle_file_remove(path) == PRLE_OK);
}

static void test_strangers(void **state)
{
    (void)state;
    static const struct {
        const char *faces;
        int64_t first, end;
        const char *message;
    } strangers[] = {
        {"fedcba9876543210", ZOO_FIRST, ZOO_END, "maps of the face store fedcba9876543210"},
        {ZOO_FACES, ZOO_FIRST, ZOO_END - 1, "179 images have a map, but 180 in"},
        {ZOO_FACES, ZOO_FIRST + 1, ZOO_END + 1, "image 10 has a map in one of"},
    };
    prle_fuse_stage_opts opts = stage_opts();
    prle_fuse_report report = {0};

    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        member_add("zeta", "gradcam", strangers[i].faces, strangers[i].first, strangers[i].end);
        assert_fails(prle_fuse_run(&opts, world, &report), PRLE_EFORMAT, strangers[i].message);
        member_remove("zeta");
    }
    opts.cams = test_folder;
    assert_fails(prle_fuse_run(&opts, world, &report), PRLE_EINVAL, "run `prle cam` first");
    opts = stage_opts();
    opts.fuse.lambda = 2;
    assert_fails(prle_fuse_run(&opts, world, &report), PRLE_EINVAL, "lambda 2");
    assert_all(!prle_file_exists(out));
}

/* Maps of another method are fused, and told of. */
static void test_unlike(void **state)
{
    (void)state;
    prle_fuse_stage_opts opts = stage_opts();
    prle_fuse_report report = {0};

    member_add("zeta", "gradcam", ZOO_FACES, ZOO_FIRST, ZOO_END);
    assert_all_ok(prle_fuse_run(&opts, world, &report));
    assert_all(report.n_members == 4 && report.n_unlike == 0);
    out_remove();
    member_remove("zeta");
    member_add("zeta", "layercam", ZOO_FACES, ZOO_FIRST, ZOO_END);
    assert_all_ok(prle_fuse_run(&opts, world, &report));
    assert_all(report.n_members == 4 && report.n_unlike == 1);
    out_remove();
    member_remove("zeta");
}

/* File calls of the last rank fail one after another: never a torn file, and the next run makes only what is missing. */
static void test_goes_on_after_failures(void **state)
{
    (void)state;
    prle_fuse_stage_opts opts = stage_opts();
    prle_fuse_report report = {0};
    bool failed = true;

    opts.fuse.rule = PRLE_FUSE_AVERAGE;
    for (int64_t nth = 1; failed; nth *= 5) {
        if (world->rank == world->size - 1)
            prle_io_fail_at(nth);
        const prle_status st = prle_fuse_run(&opts, world, &report);
        prle_io_fail_at(0);
        failed = st != PRLE_OK;
        assert_all(world->rank == world->size - 1 || st == PRLE_OK || st == PRLE_EPEER);
        assert_all_ok(prle_fuse_run(&opts, world, &report));
        assert_all(report.n_maps == ZOO_END - ZOO_FIRST && report.n_empty == 15);
        assert_all(failed || report.was_done);
        assert_all(report.was_done || report.n_units == ZOO_UNITS);
        if (!failed)
            out_check(&opts.fuse, all_members, ZOO_MEMBERS);
        out_remove();
    }
}

static prle_status stage_work(void *user)
{
    prle_fuse_report report = {0};

    return prle_fuse_run(user, world, &report);
}

static void stage_check(void *user, bool done)
{
    const prle_fuse_stage_opts *opts = user;

    if (done)
        out_check(&opts->fuse, all_members, ZOO_MEMBERS);
    assert_true(!done || prle_file_exists(out));
    assert_ok(prle_folder_remove(in_folder("maps.h5.parts")));
    out_remove();
}

/* Alone, so that no rank waits for one that gave up. */
static void test_every_call_fails(void **state)
{
    (void)state;
    prle_fuse_stage_opts opts = stage_opts();

    opts.threads = 1;
    opts.fuse.rule = PRLE_FUSE_AVERAGE;
    if (world->size == 1)
        faults_sparse(stage_work, stage_check, &opts);
}

/* A stop request leaves whole units; the next run makes the others. */
static void test_stop(void **state)
{
    (void)state;
    prle_fuse_stage_opts opts = stage_opts();
    prle_fuse_report report = {0};

    assert_all_ok(prle_stop_begin());
    raise(SIGUSR1);
    assert_fails(prle_fuse_run(&opts, world, &report), PRLE_ESTOP, "run again to go on");
    prle_stop_end();
    assert_all(!prle_file_exists(out));
    assert_all_ok(prle_fuse_run(&opts, world, &report));
    out_remove();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contents),         cmocka_unit_test(test_report), cmocka_unit_test(test_zoo_selection),
        cmocka_unit_test(test_strangers),        cmocka_unit_test(test_unlike), cmocka_unit_test(test_goes_on_after_failures),
        cmocka_unit_test(test_every_call_fails), cmocka_unit_test(test_stop),
    };

    ranks_begin();
    return ranks_end(cmocka_run_group_tests(tests, ranks_folder, ranks_folder_remove));
}
