/* test_pixels_cuda.c - batches of bytes, normalised on the GPU: what networks make of them is what they make of numbers. */
#include <stdlib.h>

#include "tests/gpu.h"
#include "tests/nets/pixels.h"

static void test_bytes_as_numbers(void **state)
{
    const char *schedule = getenv("CUDASIM_SCHED");

    (void)state;
    pixels_check(prle_cuda_device(), "meso4", PRLE_F32, true);
    pixels_check(prle_cuda_device(), "meso4", PRLE_BF16, true);
    if (schedule == NULL || strncmp(schedule, "random", 6) != 0)    /* once: it takes long there */
        pixels_check(prle_cuda_device(), "f3net", PRLE_BF16, true); /* operators that want numbers read its input, in f32 */
}

/* Nothing stands between the bytes and the layout that the first convolution reads; the batch comes as one copy of bytes. */
static void test_no_detour(void **state)
{
    const prle_normaliser pixels = prle_normaliser_make((const float[3]){0.5F, 0.5F, 0.5F}, (const float[3]){0.5F, 0.5F, 0.5F});
    const prle_net_opts net_opts = {.height = PIXELS_SIDE, .width = PIXELS_SIDE, .classes = 2};
    const prle_plan_opts opts = {.batch = PIXELS_BATCH, .dtype = PRLE_BF16, .pixels = &pixels};
    const uint8_t bytes[PIXELS_BATCH * PIXELS_PLANE * 3] = {0};
    prle_model *model = NULL;
    prle_plan *plan = NULL;
    cudasim_counts counts;

    (void)state;
    assert_ok(prle_model_create(&model, "meso4", &net_opts, PRLE_F32));
    assert_ok(prle_model_place(model, prle_cuda_device()));
    prle_model_init(model, 1);
    assert_ok(prle_plan_create(&plan, model, prle_cuda_device(), &opts));
    assert_int_equal(prle_plan_profile_count(plan), 0);
    assert_ok(prle_plan_profile_begin(plan));
    const prle_plan_profile first = prle_plan_profile_get(plan, 0), second = prle_plan_profile_get(plan, 1);
    assert_int_equal(first.kind, PRLE_OP_NORMALISE);
    assert_int_equal(second.kind, PRLE_OP_CONV2D);
    assert_ok(prle_device_wait(prle_cuda_device()));
    gpu_counts_reset();
    assert_ok(prle_plan_input_set(plan, bytes, PIXELS_BATCH));
    assert_ok(prle_device_wait(prle_cuda_device()));
    if (gpu_counts(&counts)) {
        assert_int_equal(counts.copies, 2); /* to the GPU beside its work, and to the plan's input */
        assert_int_equal(counts.copied_bytes, 2 * sizeof bytes);
        assert_int_equal(counts.pageable_copies, 0);
    }
    prle_plan_destroy(plan);
    prle_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bytes_as_numbers), cmocka_unit_test(test_no_detour)};

    GPU_TESTS_RUN(tests);
}
