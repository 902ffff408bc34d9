/* step.c - see step.h. */
#include "jobs/train/step.h"

#include <math.h>
#include <string.h>

#include "nets/loss.h"

static prle_status grads_ready(void *ctx, int64_t offset, int64_t n)
{
    prle_grad_sum_ready(ctx, offset, n);
    return PRLE_OK;
}

/* Local statistics differ between ranks: the mean, weighted by their shares, so that all ranks hold the same. */
static prle_status stats_average(const prle_train_step *s, double share)
{
    const int64_t n = s->model->graph->n_stats;

    if (s->comm->size == 1 || s->sync_bn)
        return PRLE_OK;
    s->model->version++;
    for (int64_t i = 0; i < n; i++) {
        if (s->model->dtype == PRLE_F64)
            ((double *)s->model->stats)[i] *= share;
        else
            ((float *)s->model->stats)[i] *= (float)share;
    }
    return prle_comm_sum(s->comm, s->model->stats, n, s->model->dtype, "running statistics");
}

static void batch_into_plan(const prle_train_step *s, prle_plan *plan, int64_t plan_batch, const prle_batch *batch)
{
    const prle_net_opts *net = &s->model->opts;
    const size_t image_bytes = (size_t)(3 * net->height * net->width) * prle_dtype_bytes(s->model->dtype);

    if (batch->n > 0)
        memcpy(prle_plan_input(plan), batch->images, (size_t)batch->n * image_bytes);
    else
        memset(prle_plan_input(plan), 0, (size_t)plan_batch * image_bytes);
}

/* Loss of this rank's samples and the seed of backward; a rank without samples has a seed of zeros. */
static double loss_and_seed(const prle_train_step *s, prle_plan *plan, int64_t plan_batch, const prle_batch *batch, double scale)
{
    const int64_t classes = s->model->opts.classes;
    const size_t seed_bytes = (size_t)(plan_batch * classes) * prle_dtype_bytes(s->model->dtype);

    if (batch->n == 0) {
        memset(prle_plan_seed(plan), 0, seed_bytes);
        return 0;
    }
    for (int64_t i = 0; i < batch->n; i++)
        s->weights[i] = batch->weights[i] * s->class_weight[batch->labels[i]];
    return prle_loss(prle_plan_output(plan), batch->n, classes, s->model->dtype, batch->labels, s->weights, scale,
                     prle_plan_seed(plan));
}

/* All ranks have the same gradient, and so agree. */
static prle_status clip(const prle_train_step *s, double *norm)
{
    *norm = prle_grad_norm(s->model);
    PRLE_CHECK(isfinite(*norm), PRLE_ENUMERIC, "the gradient is not finite; a lower --lr may help");
    if (s->clip_norm > 0 && *norm > s->clip_norm)
        prle_grad_scale(s->model, s->clip_norm / *norm);
    return PRLE_OK;
}

prle_status prle_train_step_run(const prle_train_step *s, prle_plan *plan, int64_t plan_batch, const prle_batch *batch,
                                int64_t n_global, uint32_t epoch, double lr, prle_train_step_result *out)
{
    const prle_op_run_info info = {
        .n_valid = batch->n, .seed = s->seed, .epoch = epoch, .samples = batch->n > 0 ? batch->samples : NULL};
    double sums[2] = {0, 0}, norm = 0;

    batch_into_plan(s, plan, plan_batch, batch);
    PRLE_TRY(prle_plan_forward(plan, &info));
    sums[0] = loss_and_seed(s, plan, plan_batch, batch, 1.0 / (double)n_global);
    for (int64_t i = 0; i < batch->n; i++)
        sums[1] += batch->masked[i];
    PRLE_TRY(prle_plan_backward(plan, &info, grads_ready, s->grad_sum));
    PRLE_TRY(prle_grad_sum_wait(s->grad_sum));
    PRLE_TRY(stats_average(s, (double)batch->n / (double)n_global));
    PRLE_TRY(prle_comm_sum(s->comm, sums, 2, PRLE_F64, "loss"));
    PRLE_CHECK(isfinite(sums[0]), PRLE_ENUMERIC, "the loss is %g; a lower --lr may help", sums[0]);
    PRLE_TRY(clip(s, &norm));
    prle_optim_step(s->optim, s->model, lr);
    *out = (prle_train_step_result){.loss = sums[0], .norm = norm, .n_masked = (int64_t)sums[1]};
    return PRLE_OK;
}
