/* test_step_ranks_cuda.c - training steps on several GPUs: the same bits on every rank, captured or not, and what they cost. */
#include "tests/dist/ranks.h"
#include "tests/gpu.h"
#include "tests/jobs/step_fixture.h"

enum { STEPS = 6 };

static prle_comm *gpus;

/* Weights and statistics after STEPS steps, in the host's memory of f. */
static void steps_run(step_fixture *f, bool may_capture)
{
    prle_train_step_result results[PRLE_TRAIN_MAX_PENDING];
    int n = 0;

    step_begin(f, "meso4", prle_cuda_device(), world, gpus);
    if (!may_capture)
        f->step.repeated = NULL;
    for (int i = 0; i < STEPS; i++)
        step_queue(f, i);
    assert_all_ok(prle_train_step_results(&f->step, results, &n));
    assert_all(n == STEPS && results[STEPS - 1].n_masked == world->size);
    assert_all_ok(prle_model_pull(f->model));
}

static void test_same_bits(void **state)
{
    step_fixture plain = {.batch = 3, .pixels = 32}, captured = plain;

    (void)state;
    steps_run(&plain, false);
    steps_run(&captured, true);
    const int64_t weights_bytes = captured.model->graph->n_weights * (int64_t)sizeof(float);
    const int64_t stats_bytes = captured.model->graph->n_stats * (int64_t)sizeof(float);
    assert_all(ranks_same_bits(captured.model->weights, weights_bytes));
    assert_all(ranks_same_bits(captured.model->stats, stats_bytes));
    assert_all(memcmp(plain.model->weights, captured.model->weights, (size_t)weights_bytes) == 0);
    assert_all(memcmp(plain.model->stats, captured.model->stats, (size_t)stats_bytes) == 0);
    step_end(&plain);
    step_end(&captured);
}

/* One wait for all results, as on one GPU. */
static void test_counts(void **state)
{
    step_fixture f = {.batch = 2, .pixels = 32};
    prle_train_step_result results[PRLE_TRAIN_MAX_PENDING];
    cudasim_counts counts;
    int n = 0;

    (void)state;
    step_begin(&f, "meso4", prle_cuda_device(), world, gpus);
    for (int i = 0; i < STEPS; i++)
        step_queue(&f, i);
    assert_all_ok(prle_train_step_results(&f.step, results, &n));
    gpu_counts_reset();
    for (int i = 0; i < STEPS; i++)
        step_queue(&f, i);
    const bool simulated = gpu_counts(&counts);
    assert_all(!simulated || (counts.synchronisations == 0 && counts.allocations == 0 && counts.pageable_copies == 0));
    assert_all_ok(prle_train_step_results(&f.step, results, &n));
    assert_all(!gpu_counts(&counts) || counts.graph_launches == STEPS);
    step_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bits), cmocka_unit_test(test_counts)};
    cudasim_counts counts;

    ranks_begin();
    if (prle_comm_agree(world, prle_cuda_open(world->local_rank, true), "GPU") != PRLE_OK) {
        fprintf(stderr, "%s\n", prle_error_message());
        prle_cuda_close();
        return prle_dist_end(world, gpu_counts(&counts) ? 1 : 77); /* skipped where there are not enough */
    }
    if (prle_device_comm(prle_cuda_device(), &gpus, world) != PRLE_OK) {
        fprintf(stderr, "%s\n", prle_error_message());
        return prle_dist_end(world, 1);
    }
    const int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    prle_device_comm_destroy(gpus, world);
    prle_cuda_close();
    return ranks_end(n_failed);
}
