/* subject.c - see subject.h. */
#include "jobs/bench/subject.h"

#include "core/alloc.h"
#include "core/rng.h"

static prle_status images_make(prle_subject *s, const prle_bench_opts *o)
{
    const int64_t n = 3 * o->size * o->size;
    prle_rng rng = prle_rng_make(o->seed, 0, 0, PRLE_RNG_TEST);

    PRLE_TRY(PRLE_NEW(s->images, s->batch * n));
    for (int64_t i = 0; i < s->batch * n; i++)
        s->images[i] = (uint8_t)prle_rng_below(&rng, 256);
    PRLE_TRY(PRLE_NEW(s->labels, s->batch));
    for (int64_t i = 0; i < s->batch; i++)
        s->labels[i] = i % 2 == 1;
    return PRLE_OK;
}

static prle_status training_make(prle_subject *s)
{
    const prle_optim_opts adam = PRLE_OPTIM_OPTS_DEFAULT;
    const prle_learn_opts learn = {.max_batch = s->batch, .n_pending = PRLE_TRAIN_MAX_PENDING};

    PRLE_TRY(prle_optim_create(&s->optim, s->model, &adam));
    PRLE_TRY(prle_learner_create(&s->learner, s->model, s->optim, &learn));
    PRLE_TRY(
        prle_grad_sum_create(&s->grad_sum, prle_comm_self(), s->model->grads, s->model->graph->n_weights, s->model->dtype, NULL));
    PRLE_TRY(PRLE_NEW(s->ones, s->batch));
    PRLE_TRY(PRLE_NEW(s->samples, s->batch));
    PRLE_TRY(PRLE_NEW(s->masked, s->batch));
    s->step = (prle_train_step){.comm = prle_comm_self(),
                                .device_comm = prle_comm_self(),
                                .model = s->model,
                                .learner = s->learner,
                                .grad_sum = s->grad_sum,
                                .class_weight = {1, 1}};
    PRLE_TRY(PRLE_NEW(s->step.weights, s->batch));
    for (int64_t i = 0; i < s->batch; i++) {
        s->ones[i] = 1;
        s->samples[i] = (uint64_t)i;
    }
    return PRLE_OK;
}

const prle_device *prle_subject_device(const prle_bench_opts *o, prle_dtype dtype)
{
    return dtype == PRLE_F64 ? prle_device_cpu() : o->device;
}

prle_status prle_subject_init(prle_subject *s, const prle_bench_opts *o, const char *net, prle_dtype dtype,
                              prle_subject_what what)
{
    const prle_net_opts opts = {.height = o->size, .width = o->size, .classes = 2};
    const bool training = what == PRLE_SUBJECT_TRAINING;
    const prle_plan_opts plan = {.batch = o->batch,
                                 .dtype = dtype,
                                 .batch_stats = training,
                                 .dropout = training,
                                 .param_grads = training,
                                 .pixels = &s->pixels};

    s->batch = o->batch;
    s->pixels = prle_normaliser_make((const float[3]){0.5F, 0.5F, 0.5F}, (const float[3]){0.5F, 0.5F, 0.5F});
    PRLE_TRY(prle_model_create(&s->model, net, &opts, dtype == PRLE_F64 ? PRLE_F64 : PRLE_F32));
    PRLE_TRY(prle_model_place(s->model, prle_subject_device(o, dtype)));
    prle_model_init(s->model, o->seed);
    PRLE_TRY(images_make(s, o));
    if (training) {
        PRLE_TRY(prle_model_grads_require(s->model));
        PRLE_TRY(training_make(s));
    }
    if (what != PRLE_SUBJECT_BARE)
        PRLE_TRY(prle_plan_create(&s->plan, s->model, s->model->device, &plan));
    s->step.repeated = s->plan;
    return PRLE_OK;
}

void prle_subject_deinit(prle_subject *s)
{
    prle_plan_destroy(s->plan);
    prle_grad_sum_destroy(s->grad_sum);
    prle_train_step_deinit(&s->step);
    prle_learner_destroy(s->learner);
    prle_optim_destroy(s->optim);
    prle_model_destroy(s->model);
    prle_free(s->step.weights);
    prle_free(s->images);
    prle_free(s->labels);
    prle_free(s->ones);
    prle_free(s->samples);
    prle_free(s->masked);
    *s = (prle_subject){0};
}

prle_status prle_subject_infer(void *subject)
{
    prle_subject *s = subject;

    PRLE_TRY(prle_plan_input_set(s->plan, s->images, s->batch));
    return prle_plan_forward(s->plan, NULL);
}

prle_status prle_subject_train(void *subject)
{
    prle_subject *s = subject;
    const double lr = 2e-4; /* the paper's */
    const prle_batch batch = {
        .n = s->batch, .images = s->images, .labels = s->labels, .weights = s->ones, .samples = s->samples, .masked = s->masked};
    prle_train_step_result r[PRLE_TRAIN_MAX_PENDING];
    int n = 0;

    PRLE_TRY(prle_train_step_run(&s->step, s->plan, s->batch, &batch, s->batch, 0, lr));
    return s->step.n_pending >= s->model->device->steps_ahead ? prle_train_step_results(&s->step, r, &n) : PRLE_OK;
}
