/* pixels.h - a plan that takes bytes beside one that takes the same pictures as numbers: the same bits everywhere. */
#pragma once
#include "core/alloc.h"
#include "core/rng.h"
#include "nets/net.h"
#include "nets/plan.h"
#include "tests/check.h"

enum { PIXELS_SIDE = 32, PIXELS_BATCH = 3, PIXELS_PLANE = PIXELS_SIDE * PIXELS_SIDE };

/* What a step of one plan came to, in the host's memory. */
typedef struct pixels_step {
    uint8_t logits[2 * PIXELS_BATCH * sizeof(double)];
    uint8_t *grads;
    size_t n_bytes;
} pixels_step;

static inline pixels_step pixels_step_run(prle_model *model, const prle_plan_opts *opts, const void *images)
{
    const prle_device *device = model->device;
    pixels_step s = {.n_bytes = (size_t)model->graph->n_weights * prle_dtype_bytes(model->dtype)};
    const size_t logits_bytes = 2 * PIXELS_BATCH * prle_dtype_bytes(model->dtype);
    prle_plan *plan = NULL;

    assert_ok(prle_plan_create(&plan, model, device, opts));
    assert_ok(prle_plan_input_set(plan, images, PIXELS_BATCH));
    assert_ok(prle_plan_forward(plan, NULL));
    assert_ok(prle_plan_output_get(plan, s.logits, PIXELS_BATCH));
    if (!opts->param_grads) {
        prle_plan_destroy(plan);
        return s;
    }
    assert_ok(device->copy_in(prle_plan_seed(plan), s.logits, logits_bytes)); /* any gradient will do */
    assert_ok(prle_plan_backward(plan, NULL, NULL));
    assert_ok(PRLE_NEW(s.grads, s.n_bytes));
    assert_ok(device->copy_out(s.grads, model->grads, s.n_bytes));
    prle_plan_destroy(plan);
    return s;
}

/* training: with gradients. */
static inline void pixels_check(const prle_device *device, const char *net, prle_dtype dtype, bool training)
{
    static const float mean[3] = {0.485F, 0.456F, 0.406F}, std[3] = {0.229F, 0.224F, 0.225F};
    const prle_normaliser pixels = prle_normaliser_make(mean, std);
    const prle_net_opts net_opts = {.height = PIXELS_SIDE, .width = PIXELS_SIDE, .classes = 2};
    prle_plan_opts opts = {.batch = PIXELS_BATCH, .dtype = dtype, .param_grads = training};
    const prle_dtype wide = dtype == PRLE_F64 ? PRLE_F64 : PRLE_F32;
    prle_rng rng = prle_rng_make(4, 0, 0, PRLE_RNG_TEST);
    static uint8_t bytes[PIXELS_BATCH * PIXELS_PLANE * 3];
    static double numbers[PIXELS_BATCH * PIXELS_PLANE * 3]; /* or floats in their place */
    prle_model *model = NULL;

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)prle_rng_below(&rng, 256);
    for (int64_t b = 0; b < PIXELS_BATCH; b++)
        prle_normaliser_run(&pixels, (char *)numbers + (size_t)(b * PIXELS_PLANE * 3) * prle_dtype_bytes(wide), wide,
                            bytes + b * PIXELS_PLANE * 3, PIXELS_PLANE);
    assert_ok(prle_model_create(&model, net, &net_opts, wide));
    assert_ok(prle_model_place(model, device));
    prle_model_init(model, 1);
    assert_ok(prle_model_grads_require(model));
    const pixels_step of_numbers = pixels_step_run(model, &opts, numbers);
    opts.pixels = &pixels;
    const pixels_step of_bytes = pixels_step_run(model, &opts, bytes);
    assert_memory_equal(of_bytes.logits, of_numbers.logits, sizeof of_bytes.logits);
    if (training)
        assert_memory_equal(of_bytes.grads, of_numbers.grads, of_bytes.n_bytes);
    prle_free(of_numbers.grads);
    prle_free(of_bytes.grads);
    prle_model_destroy(model);
}
