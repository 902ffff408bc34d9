/* step_fixture.h - a network with everything a training step takes, on pictures of noise; for the tests of steps. */
#pragma once
#include "core/alloc.h"
#include "core/rng.h"
#include "jobs/train/step.h"
#include "tests/check.h"

enum { STEP_MAX_BATCH = 4 };

typedef struct step_fixture {
    int64_t batch, pixels;
    prle_model *model;
    prle_plan *plan;
    prle_optim *optim;
    prle_learner *learner;
    prle_grad_sum *grad_sum;
    prle_train_step step;
    uint8_t *images;
} step_fixture;

static const uint8_t step_labels[STEP_MAX_BATCH] = {0, 1, 1, 0};
static const double step_ones[STEP_MAX_BATCH] = {1, 1, 1, 1};
static const bool step_masked[STEP_MAX_BATCH] = {true, false, false, false};
static double step_weights[STEP_MAX_BATCH];

/** comm: of the host's memory; device_comm: of the device's. batch and pixels are set. */
static inline void step_begin(step_fixture *f, const char *net, const prle_device *device, prle_comm *comm,
                              prle_comm *device_comm)
{
    const prle_net_opts opts = {.height = f->pixels, .width = f->pixels, .classes = 2};
    const prle_normaliser pixels = prle_normaliser_make((const float[3]){0.5F, 0.5F, 0.5F}, (const float[3]){0.5F, 0.5F, 0.5F});
    const prle_plan_opts plan = {
        .batch = f->batch, .dtype = PRLE_F32, .batch_stats = true, .dropout = true, .param_grads = true, .pixels = &pixels};
    const prle_optim_opts adam = PRLE_OPTIM_OPTS_DEFAULT;
    const prle_learn_opts learn = {.max_batch = f->batch, .clip_norm = 5, .n_pending = PRLE_TRAIN_MAX_PENDING};

    assert_ok(prle_model_create(&f->model, net, &opts, PRLE_F32));
    assert_ok(prle_model_place(f->model, device));
    prle_model_init(f->model, 1);
    assert_ok(prle_model_grads_require(f->model));
    assert_ok(prle_plan_create(&f->plan, f->model, device, &plan));
    assert_ok(prle_optim_create(&f->optim, f->model, &adam));
    assert_ok(prle_learner_create(&f->learner, f->model, f->optim, &learn));
    assert_ok(prle_grad_sum_create(&f->grad_sum, device_comm, f->model->grads, f->model->graph->n_weights, PRLE_F32, NULL));
    f->step = (prle_train_step){.comm = comm,
                                .device_comm = device_comm,
                                .model = f->model,
                                .learner = f->learner,
                                .grad_sum = f->grad_sum,
                                .class_weight = {1, 1},
                                .weights = step_weights,
                                .repeated = f->plan};
    assert_ok(PRLE_NEW(f->images, f->batch * 3 * f->pixels * f->pixels));
}

static inline void step_end(step_fixture *f)
{
    prle_train_step_deinit(&f->step);
    prle_grad_sum_destroy(f->grad_sum);
    prle_learner_destroy(f->learner);
    prle_optim_destroy(f->optim);
    prle_plan_destroy(f->plan);
    prle_model_destroy(f->model);
    prle_free(f->images);
}

/** Step number i, on pictures of its own of this rank. */
static inline void step_queue(step_fixture *f, int i)
{
    const int64_t n = f->batch * 3 * f->pixels * f->pixels;
    const uint64_t samples[STEP_MAX_BATCH] = {(uint64_t)i, (uint64_t)i + 100, (uint64_t)i + 200, (uint64_t)i + 300};
    const prle_batch batch = {.n = f->batch,
                              .images = f->images,
                              .labels = step_labels,
                              .weights = step_ones,
                              .samples = samples,
                              .masked = step_masked};
    prle_rng rng = prle_rng_make(3, (uint32_t)f->step.comm->rank, (uint64_t)i, PRLE_RNG_TEST);

    for (int64_t k = 0; k < n; k++)
        f->images[k] = (uint8_t)prle_rng_range(&rng, 0, 256);
    assert_ok(prle_train_step_run(&f->step, f->plan, f->batch, &batch, f->batch * f->step.comm->size, 0, 1e-3));
}
