/* step.c - see step.h. */
#include "jobs/train/step.h"

#include <math.h>

static prle_status grads_ready(void *ctx, int64_t offset, int64_t n)
{
    prle_grad_sum_ready(ctx, offset, n);
    return PRLE_OK;
}

/* Local statistics differ between ranks: the mean, weighted by their shares, so that all ranks hold the same. */
static prle_status stats_average(const prle_train_step *s, double share)
{
    prle_model *model = s->model;
    const int64_t n = model->graph->n_stats;

    if (s->comm->size == 1 || s->sync_bn)
        return PRLE_OK;
    PRLE_TRY(model->device->scale(model->there.stats, n, model->dtype, share));
    return prle_comm_sum(s->device_comm, model->there.stats, n, model->dtype, "running statistics");
}

static void weights_of(const prle_train_step *s, const prle_batch *batch)
{
    for (int64_t i = 0; i < batch->n; i++)
        s->weights[i] = batch->weights[i] * s->class_weight[batch->labels[i]];
}

/* What the device does of a step, once everything that changes from step to step is there. */
typedef struct device_work {
    const prle_train_step *s;
    prle_plan *plan;
    int64_t plan_batch;
    double share; /* of this rank in the step */
} device_work;

static prle_status device_work_queue(void *ctx)
{
    const device_work *w = ctx;
    const prle_train_step *s = w->s;

    PRLE_TRY(prle_plan_forward_run(w->plan));
    PRLE_TRY(prle_learner_seed(s->learner, w->plan, w->plan_batch));
    PRLE_TRY(prle_plan_backward(w->plan, grads_ready, s->grad_sum));
    PRLE_TRY(prle_grad_sum_wait(s->grad_sum));
    PRLE_TRY(stats_average(s, w->share));
    return prle_learner_update(s->learner);
}

/* Whole steps are all alike: captured once everything has run, then replayed. */
static prle_status device_work_run(prle_train_step *s, device_work *w)
{
    enum { WARM_UP = 2 };
    const prle_device *device = s->model->device;

    if (w->plan != s->repeated || device->capture == NULL || prle_plan_profile_count(w->plan) > 0)
        return device_work_queue(w);
    if (s->n_warm < WARM_UP) {
        s->n_warm++;
        return device_work_queue(w);
    }
    if (s->captured == NULL)
        PRLE_TRY(device->capture(&s->captured, device_work_queue, w));
    return device->replay(s->captured);
}

prle_status prle_train_step_run(prle_train_step *s, prle_plan *plan, int64_t plan_batch, const prle_batch *batch,
                                int64_t n_global, uint32_t epoch, double lr)
{
    const prle_op_run_info info = {
        .n_valid = batch->n, .seed = s->seed, .epoch = epoch, .samples = batch->n > 0 ? batch->samples : NULL};
    const prle_learn_in in = {
        .n = batch->n, .labels = batch->labels, .weights = s->weights, .scale = 1.0 / (double)n_global, .lr = lr};
    device_work work = {.s = s, .plan = plan, .plan_batch = plan_batch, .share = (double)batch->n / (double)n_global};

    weights_of(s, batch);
    s->masked[s->n_pending] = 0;
    for (int64_t i = 0; i < batch->n; i++)
        s->masked[s->n_pending] += batch->masked[i];
    PRLE_TRY(prle_learner_begin(s->learner, &in));
    s->n_pending++;
    PRLE_TRY(prle_plan_input_set(plan, batch->images, batch->n));
    PRLE_TRY(prle_plan_begin(plan, &info));
    PRLE_TRY(device_work_run(s, &work));
    prle_plan_forward_end(plan);
    prle_learner_end(s->learner);
    return PRLE_OK;
}

void prle_train_step_deinit(prle_train_step *s)
{
    if (s->captured != NULL)
        s->model->device->capture_free(s->captured);
    s->captured = NULL;
}

static prle_status result_check(const prle_train_step_result *r)
{
    PRLE_CHECK(isfinite(r->loss), PRLE_ENUMERIC, "the loss is %g; a lower --lr may help", r->loss);
    PRLE_CHECK(isfinite(r->norm), PRLE_ENUMERIC, "the gradient is not finite; a lower --lr may help");
    return PRLE_OK;
}

prle_status prle_train_step_results(prle_train_step *s, prle_train_step_result out[PRLE_TRAIN_MAX_PENDING], int *n)
{
    prle_learn_out local[PRLE_TRAIN_MAX_PENDING];
    double sums[2 * PRLE_TRAIN_MAX_PENDING];

    *n = 0;
    PRLE_TRY(prle_learner_results(s->learner, local, &s->n_pending));
    for (int i = 0; i < s->n_pending; i++) {
        sums[2 * i] = local[i].loss;
        sums[2 * i + 1] = (double)s->masked[i];
    }
    if (s->n_pending > 0)
        PRLE_TRY(prle_comm_sum(s->comm, sums, 2 * s->n_pending, PRLE_F64, "loss"));
    for (int i = 0; i < s->n_pending; i++) {
        out[i] = (prle_train_step_result){.loss = sums[2 * i], .norm = local[i].norm, .n_masked = (int64_t)sums[2 * i + 1]};
        PRLE_TRY(result_check(&out[i]));
        ++*n;
    }
    s->n_pending = 0;
    return PRLE_OK;
}
