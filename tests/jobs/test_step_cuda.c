/* test_step_cuda.c - what a training step costs a GPU besides arithmetic: launches, copies, waits, allocations. */
#include <math.h>

#include "tests/gpu.h"
#include "tests/jobs/step_fixture.h"

/* ---- the captured step is the step ---- */

enum { STEPS = 10 };

/* Losses and norms of STEPS steps whose results are read every `every`. */
static void steps_run(const prle_device *device, bool may_capture, int every, prle_train_step_result out[STEPS])
{
    step_fixture f = {.batch = 4, .pixels = 32};
    prle_train_step_result results[PRLE_TRAIN_MAX_PENDING];
    int done = 0;

    step_begin(&f, "meso4", device, prle_comm_self(), prle_comm_self());
    if (!may_capture)
        f.step.repeated = NULL;
    for (int i = 0; i < STEPS; i++) {
        int n = 0;
        step_queue(&f, i);
        if ((i + 1) % every != 0 && i + 1 < STEPS)
            continue;
        assert_ok(prle_train_step_results(&f.step, results, &n));
        for (int k = 0; k < n; k++)
            out[done++] = results[k];
    }
    assert_int_equal(done, STEPS);
    assert_true(f.step.captured == NULL || may_capture);
    step_end(&f);
}

static void test_captured_is_the_same(void **state)
{
    prle_train_step_result plain[STEPS], captured[STEPS], late[STEPS], cpu[STEPS];

    (void)state;
    steps_run(prle_device_cpu(), true, 1, cpu);
    steps_run(prle_cuda_device(), false, 1, plain);
    steps_run(prle_cuda_device(), true, 1, captured);
    steps_run(prle_cuda_device(), true, 8, late);
    for (int i = 0; i < STEPS; i++) {
        assert_true(captured[i].loss == plain[i].loss && captured[i].norm == plain[i].norm);
        assert_true(late[i].loss == plain[i].loss && late[i].norm == plain[i].norm);
        assert_int_equal(late[i].n_masked, 1);
        if (!(plain[i].loss > 0 && fabs(plain[i].loss - cpu[i].loss) <= 1e-3 * cpu[i].loss))
            fail_msg("step %d: loss %g, the processor's %g", i, plain[i].loss, cpu[i].loss);
    }
}

/* ---- counts ---- */

/* Eight steps, results read once: one wait, nothing allocated, everything pinned. */
static void test_counts(void **state)
{
    step_fixture f = {.batch = 4, .pixels = 32};
    prle_train_step_result results[PRLE_TRAIN_MAX_PENDING];
    const prle_cuda *cuda = NULL;
    cudasim_counts counts;
    int n = 0;

    (void)state;
    assert_ok(prle_cuda_get(&cuda));
    step_begin(&f, "meso4", prle_cuda_device(), prle_comm_self(), prle_comm_self());
    for (int i = 0; i < 8; i++)
        step_queue(&f, i);
    assert_ok(prle_train_step_results(&f.step, results, &n));
    gpu_counts_reset();
    const int64_t host_allocations = prle_alloc_count();
    for (int i = 0; i < 8; i++)
        step_queue(&f, i);
    assert_int_equal(prle_alloc_count(), host_allocations);
    if (gpu_counts(&counts)) {
        assert_int_equal(counts.synchronisations, 0);
        assert_int_equal(counts.allocations, 0);
        assert_int_equal(counts.pageable_copies, 0);
    }
    assert_ok(prle_train_step_results(&f.step, results, &n));
    assert_int_equal(n, 8);
    if (gpu_counts(&counts)) {
        const int64_t image_bytes = 4 * 3 * 32 * 32;
        assert_int_equal(counts.synchronisations, 1);
        assert_int_equal(counts.graph_launches, 8);
        assert_int_equal(counts.graph_nodes, 8 * (int64_t)cuda->captured_nodes);
        printf("meso4: a step copies %lld bytes, of which pictures %lld twice (to the GPU, then to their place)\n",
               (long long)counts.copied_bytes / 8, (long long)image_bytes);
    }
    step_end(&f);
}

/* ---- launches of every network's step: kernels, library calls, copies ---- */

static prle_status work(void *ctx)
{
    step_fixture *f = ctx;

    PRLE_TRY(prle_plan_forward_run(f->plan));
    PRLE_TRY(prle_learner_seed(f->learner, f->plan, f->batch));
    PRLE_TRY(prle_plan_backward(f->plan, NULL, NULL));
    return prle_learner_update(f->learner);
}

static void test_launches(void **state)
{
    static const struct {
        const char *net;
        size_t most;
    } bounds[] = {{"meso4", 88},
                  {"resnet50", 629},
                  {"xception", 676},
                  {"efficientnet_b4", 2098},
                  {"efficientnet_b4_same", 2098},
                  {"efficientnet_b4_symmetric", 2098},
                  {"f3net", 690},
                  {"f3net_both", 1367},
                  {"vgg16", 174},
                  {"vgg16_bn", 226},
                  {"vgg19", 204},
                  {"vgg19_bn", 268}};
    const prle_cuda *cuda = NULL;
    const char *schedule = getenv("CUDASIM_SCHED");
    cudasim_counts counts;

    (void)state;
    if (schedule != NULL && strncmp(schedule, "random", 6) == 0)
        return; /* when work is done does not change how much there is */
    assert_ok(prle_cuda_get(&cuda));
    assert_null(prle_net_words[sizeof bounds / sizeof *bounds]); /* every network is here */
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        step_fixture f = {.batch = 2, .pixels = 64};
        void *captured = NULL;

        step_begin(&f, bounds[i].net, prle_cuda_device(), prle_comm_self(), prle_comm_self());
        if (!gpu_counts(&counts)) /* kernels are loaded when first used, which a capture forbids; the simulator has them all */
            step_queue(&f, 0);
        assert_ok(prle_cuda_device()->capture(&captured, work, &f));
        prle_cuda_device()->capture_free(captured);
        printf("%-16s %zu launches a step, of %d + %d plan steps\n", bounds[i].net, cuda->captured_nodes,
               prle_plan_stats_get(f.plan).n_forward, prle_plan_stats_get(f.plan).n_backward);
        fflush(stdout);
        if (gpu_counts(&counts) && !(cuda->captured_nodes <= bounds[i].most)) /* a library's call may be several kernels */
            fail_msg("%s: %zu launches, at most %zu are expected", bounds[i].net, cuda->captured_nodes, bounds[i].most);
        step_end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_captured_is_the_same),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_launches),
    };
    GPU_TESTS_RUN(tests);
}
