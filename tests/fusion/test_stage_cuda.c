/* test_stage_cuda.c - prle_fuse_run on a GPU: maps.h5 holds what the processor's fusing, image by image, gives. */
#include "fusion/batch.h"
#include "tests/fusion/zoo.h"
#include "tests/gpu.h"

static const int all_members[ZOO_MEMBERS] = {0, 1, 2};

static void test_stage(void **state)
{
    prle_fuse_stage_opts opts = PRLE_FUSE_STAGE_OPTS_DEFAULT;
    prle_fuse_report report = {0};
    cudasim_counts counts;
    char cams[192], out[192];

    (void)state;
    snprintf(cams, sizeof cams, "%s", in_folder("cams"));
    snprintf(out, sizeof out, "%s", in_folder("maps.h5"));
    zoo_make(cams);
    opts.cams = cams;
    opts.out = out;
    opts.threads = 2;
    opts.device = prle_cuda_device();
    assert_ok(prle_cuda_device()->wait()); /* for what opening it has queued */
    for (int rule = PRLE_FUSE_EXPAND; rule < PRLE_FUSE_N_RULES; rule++) {
        opts.fuse.rule = (prle_fuse_rule)rule;
        gpu_counts_reset();
        assert_ok(prle_fuse_run(&opts, prle_comm_self(), &report));
        assert_int_equal(report.n_units, ZOO_UNITS);
        zoo_check(out, &opts.fuse, all_members, ZOO_MEMBERS);
        if (gpu_counts(&counts)) { /* 180 images in stretches of 16: 4 + 4 + 4 of them, of 3 + 1 + 1 launches and 4 copies */
            assert_int_equal(counts.launches, 12 * (ZOO_MEMBERS + 2));
            assert_int_equal(counts.copies, 12 * 4);
            assert_int_equal(counts.pageable_copies, 0);
        }
        assert_ok(prle_file_remove(out));
    }
}

/* A stretch begins at a multiple of its size; a batch may be given up with work under way. */
static void test_given_up(void **state)
{
    const prle_fuse_native native[1] = {{2, 2}};
    const prle_fuse_batch_desc desc = {
        .opts = PRLE_FUSE_OPTS_DEFAULT, .T = 1, .H = 8, .W = 8, .native = native, .max_images = 20, .threads = 1};
    const prle_fuse_batch_ops *ops = prle_fuse_batch_ops_of(prle_cuda_device());
    const float map[4] = {0, 1, 0.5f, 0.25f}, *maps[1] = {map};
    void *batch = NULL;

    (void)state;
    assert_int_equal(ops->stretch, 16);
    assert_ok(ops->create(&batch, &desc));
    for (int i = 0; i < 20; i++)
        assert_ok(ops->put(batch, 0, i, maps));
    assert_ok(ops->submit(batch, 0, 16));
    assert_fails(ops->submit(batch, 8, 4), PRLE_EINVAL, "4 images from 8");
    assert_ok(ops->submit(batch, 16, 4));
    ops->destroy(batch);
}

/* Stretches submitted one after another, units without end: none writes where another is still copied from. */
static void test_overlap(void **state)
{
    enum { IMAGES = 64, SIDE = 8, ROUNDS = 20 };
    const prle_fuse_native native[1] = {{2, 2}};
    const prle_fuse_batch_desc desc = {
        .opts = PRLE_FUSE_OPTS_DEFAULT, .T = 1, .H = SIDE, .W = SIDE, .native = native, .max_images = IMAGES, .threads = 1};
    const prle_fuse_batch_ops *ops[2] = {prle_fuse_batch_ops_of(prle_device_cpu()), prle_fuse_batch_ops_of(prle_cuda_device())};
    prle_rng rng = prle_rng_make(8, 0, 0, PRLE_RNG_TEST);
    prle_fuse_result result[2];
    void *batch[2] = {NULL, NULL};

    (void)state;
    for (int k = 0; k < 2; k++)
        assert_ok(ops[k]->create(&batch[k], &desc));
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < IMAGES; i++) {
            float map[4];
            const float *maps[1] = {map};
            for (int p = 0; p < 4; p++)
                map[p] = (float)prle_rng_uniform(&rng);
            for (int k = 0; k < 2; k++)
                assert_ok(ops[k]->put(batch[k], 0, i, maps));
        }
        for (int k = 0; k < 2; k++) {
            for (int64_t at = 0; at < IMAGES; at += ops[k]->stretch)
                assert_ok(ops[k]->submit(batch[k], at, ops[k]->stretch));
            assert_ok(ops[k]->wait(batch[k], &result[k]));
        }
        assert_memory_equal(result[1].rank, result[0].rank, IMAGES * SIDE * SIDE * sizeof *result[0].rank);
        assert_memory_equal(result[1].attention, result[0].attention, IMAGES * SIDE * SIDE);
        assert_memory_equal(result[1].area, result[0].area, IMAGES * sizeof *result[0].area);
    }
    for (int k = 0; k < 2; k++)
        ops[k]->destroy(batch[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_stage, folder_make, folder_remove),
                                       cmocka_unit_test(test_given_up), cmocka_unit_test(test_overlap)};

    GPU_TESTS_RUN(tests);
}
