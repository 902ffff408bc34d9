/* trainer.c - see trainer.h. One step (step.h) after another: batch from the loader, then the step. */
#include "jobs/train/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/json.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/progress.h"
#include "dist/sampler.h"
#include "dist/stop.h"
#include "dist/watchdog.h"
#include "jobs/leak.h"
#include "jobs/score.h"
#include "jobs/train/checkpointer.h"
#include "jobs/train/step.h"
#include "nets/plan.h"

const char *const prle_balance_words[] = {
    [PRLE_BALANCE_NONE] = "none", [PRLE_BALANCE_WEIGHTS] = "weights", [PRLE_BALANCE_SAMPLES] = "samples", NULL};

/* A step that was begun: what is known of it before its result. */
typedef struct queued_step {
    int64_t step, epoch_step, n; /* step: counted from 1; n: images of all ranks */
    double lr;
} queued_step;

typedef struct trainer {
    const prle_train_opts *o;
    const prle_train_data *data;
    prle_comm *comm;
    prle_comm *device_comm; /* the same ranks, sums in the device's memory */

    int64_t *train, *val; /* indices of images */
    int64_t n_train, n_val;

    prle_model *model;
    prle_optim *optim;
    prle_plan *plan, *tail; /* of a whole step, and of the epoch's last one where it is smaller; either may be NULL */
    int64_t plan_batch, tail_batch;
    prle_learner *learner;
    prle_sampler *sampler;
    prle_loader *loader;
    prle_grad_sum *grad_sum;
    prle_scorer *scorer;
    prle_train_step step;
    queued_step queued[PRLE_TRAIN_MAX_PENDING]; /* steps whose results are outstanding */
    int n_queued, n_ahead;                      /* n_ahead: so many of them are read together */

    prle_checkpointer *checkpointer;
    prle_checkpoint_info info;
    prle_run_state state;
    prle_jsonl *log; /* rank 0, as the next */
    int lock;        /* of the run folder */
    prle_progress *progress;
    double last_checkpoint; /* seconds */
    prle_train_report report;
} trainer;

/* ---- setting up ---- */

static prle_status select_split(const trainer *t, prle_split split, int64_t **index, int64_t *n)
{
    prle_faces_query query = PRLE_FACES_QUERY_DEFAULT;

    query.split = split;
    query.methods = t->data->methods;
    query.n_methods = t->data->n_methods;
    query.max_frames = t->o->max_frames;
    return prle_faces_select(t->data->faces, &query, index, n);
}

static void count_classes(const trainer *t, const int64_t *index, int64_t n, int64_t count[2])
{
    count[0] = count[1] = 0;
    for (int64_t i = 0; i < n; i++)
        count[t->data->faces->label[index[i]]]++;
}

static prle_status data_select(trainer *t)
{
    int64_t train[2], val[2];

    PRLE_TRY(select_split(t, PRLE_SPLIT_TRAIN, &t->train, &t->n_train));
    PRLE_TRY(select_split(t, PRLE_SPLIT_VAL, &t->val, &t->n_val));
    count_classes(t, t->train, t->n_train, train);
    count_classes(t, t->val, t->n_val, val);
    PRLE_CHECK(train[0] > 0 && train[1] > 0, PRLE_EFORMAT,
               "%s: the training split has %" PRId64 " real and %" PRId64 " fake images; both are needed", t->data->faces->path,
               train[0], train[1]);
    if (val[0] == 0 || val[1] == 0)
        prle_log(PRLE_LOG_WARN, "train",
                 "validation split has %" PRId64 " real and %" PRId64 " fake images: no AUC, the last epoch counts as the best",
                 val[0], val[1]);
    for (int c = 0; c < 2; c++)
        t->step.class_weight[c] = t->o->balance == PRLE_BALANCE_WEIGHTS ? (double)t->n_train / (2.0 * (double)train[c]) : 1;
    return PRLE_OK;
}

static prle_status sampler_make(trainer *t)
{
    prle_status st = PRLE_OK;
    uint8_t *classes = NULL;
    prle_sampler_opts opts = {
        .seed = t->o->seed, .n = t->n_train, .batch = t->o->batch, .rank = t->comm->rank, .size = t->comm->size};

    if (t->o->balance == PRLE_BALANCE_SAMPLES) {
        PRLE_TRY(PRLE_NEW(classes, t->n_train));
        for (int64_t i = 0; i < t->n_train; i++)
            classes[i] = t->data->faces->label[t->train[i]];
        opts.classes = classes;
        opts.n_classes = 2;
    }
    st = prle_sampler_create(&t->sampler, &opts);
    prle_free(classes);
    return st;
}

static prle_status model_make(trainer *t)
{
    const prle_net_opts net = {.height = t->o->size, .width = t->o->size, .classes = t->o->classes};
    int n_loaded = 0;

    PRLE_TRY(prle_model_create(&t->model, t->o->net, &net, t->o->dtype == PRLE_F64 ? PRLE_F64 : PRLE_F32));
    PRLE_TRY(prle_model_place(t->model, t->o->device));
    PRLE_TRY(prle_model_grads_require(t->model));
    prle_model_init(t->model, t->o->seed);
    for (int c = 0; c < 3; c++)
        t->info.mean[c] = t->info.std[c] = 0.5F; /* networks see -1 ... 1 */
    if (t->o->init != NULL) {
        PRLE_TRY(prle_model_start_from(t->model, t->o->init, &n_loaded));
        prle_log(PRLE_LOG_INFO, "train", "%d of %d tensors from %s", n_loaded, t->model->graph->n_segments, t->o->init);
    }
    return prle_optim_create(&t->optim, t->model, &t->o->optim);
}

/* This rank's part of a step of n_global samples has as many samples as its plan, or none. */
static int64_t share_of(const trainer *t, int64_t n_global)
{
    return (n_global - t->comm->rank + t->comm->size - 1) / t->comm->size;
}

static prle_status plans_make(trainer *t)
{
    const prle_normaliser pixels = prle_normaliser_make(t->info.mean, t->info.std);
    const int64_t n = prle_sampler_count(t->sampler), ragged = n % t->o->batch;
    prle_plan_opts opts = {.dtype = t->o->dtype,
                           .batch_stats = true,
                           .dropout = true,
                           .param_grads = true,
                           .pixels = &pixels,
                           .bn_comm = t->o->sync_bn ? t->device_comm : NULL};

    if (n >= t->o->batch) {
        opts.batch = t->plan_batch = share_of(t, t->o->batch);
        PRLE_TRY(prle_plan_create(&t->plan, t->model, t->o->device, &opts));
    }
    if (ragged > 0) {
        opts.batch = t->tail_batch = share_of(t, ragged) > 0 ? share_of(t, ragged) : 1;
        PRLE_TRY(prle_plan_create(&t->tail, t->model, t->o->device, &opts));
    }
    return PRLE_OK;
}

static prle_status learner_make(trainer *t)
{
    const int64_t max_batch = t->plan_batch > t->tail_batch ? t->plan_batch : t->tail_batch;
    const prle_learn_opts opts = {.max_batch = max_batch, .clip_norm = t->o->clip_norm, .n_pending = PRLE_TRAIN_MAX_PENDING};

    t->n_ahead = t->o->metrics_every > 0 ? t->o->metrics_every : t->o->device->steps_ahead;
    PRLE_CHECK(t->n_ahead <= PRLE_TRAIN_MAX_PENDING, PRLE_EINVAL, "option metrics-every = %d: at most %d", t->n_ahead,
               PRLE_TRAIN_MAX_PENDING);
    PRLE_TRY(prle_learner_create(&t->learner, t->model, t->optim, &opts));
    return PRLE_NEW(t->step.weights, max_batch);
}

static prle_status loaders_make(trainer *t)
{
    prle_loader_opts opts = PRLE_LOADER_OPTS_DEFAULT;
    prle_score_opts score = {
        .dtype = t->o->dtype, .batch = t->o->eval_batch, .loader_threads = t->o->loader_threads, .seed = t->o->seed};

    opts.height = opts.width = t->o->size;
    opts.mask = t->o->mask;
    opts.augment = t->o->augment;
    opts.threads = t->o->loader_threads;
    opts.seed = opts.mask.seed = t->o->seed;
    memcpy(opts.mean, t->info.mean, sizeof opts.mean);
    memcpy(score.mean, t->info.mean, sizeof score.mean);
    memcpy(score.std, t->info.std, sizeof score.std);
    score.mask = PRLE_MASK_OPTS_DEFAULT;
    score.mask.kind = PRLE_MASK_NONE;
    PRLE_TRY(prle_loader_create(&t->loader, t->data->faces, t->data->maps, &opts,
                                t->plan_batch > t->tail_batch ? t->plan_batch : t->tail_batch));
    return prle_scorer_create(&t->scorer, t->model, t->data->faces, &score);
}

/* Rank 0: masks that tell the label are learnt instead of faces (docs/evidence.md). */
static prle_status leak_warn(const trainer *t)
{
    const double much = 0.75;
    double auc = (double)NAN;

    if (t->comm->rank != 0 || (t->o->mask.kind != PRLE_MASK_PRIMARY && t->o->mask.kind != PRLE_MASK_FIXED))
        return PRLE_OK;
    PRLE_TRY(prle_leak_measure(&auc, t->data->maps, t->data->faces, t->train, t->n_train));
    if (auc >= much)
        prle_log(PRLE_LOG_WARN, "train",
                 "%s: masks alone tell fakes from reals (AUC %.2f, 0.5 is chance), and detectors learn to read them; `prle cam "
                 "--target fake` makes maps that tell less, longer trained detectors better ones",
                 t->data->maps->path, auc);
    return PRLE_OK;
}

/* ---- the run folder ---- */

/* Tells of what changes the last bits of a resumed run. */
static void resume_compare(const trainer *t, const prle_run_state *now)
{
    const prle_run_state *was = &t->state;

    if (was->ranks != now->ranks || was->threads != now->threads)
        prle_log(PRLE_LOG_WARN, "train",
                 "resumed with %" PRId64 " ranks of %" PRId64 " threads, begun with %" PRId64 " of %" PRId64
                 ": the same images and masks, but sums are rounded otherwise",
                 now->ranks, now->threads, was->ranks, was->threads);
}

/* The same files by content; the options are compared by name, with those in config.yaml. */
static prle_status resume_check(const trainer *t, const prle_run_state *now, const char *config)
{
    const prle_run_state *was = &t->state;

    PRLE_CHECK(was->faces_hash == now->faces_hash, PRLE_EINVAL, "%s: was trained on another face store than %s", t->o->run,
               t->data->faces->path);
    PRLE_CHECK(was->maps_hash == now->maps_hash, PRLE_EINVAL, "%s: was trained with other maps than %s", t->o->run,
               t->data->maps == NULL ? "none" : t->data->maps->path);
    PRLE_CHECK(was->samples == now->samples, PRLE_EINVAL, "%s: was begun with %" PRId64 " training images, not %" PRId64,
               t->o->run, was->samples, now->samples);
    if (config != NULL)
        PRLE_TRY(prle_run_config_check(t->o->run, config));
    resume_compare(t, now);
    return PRLE_OK;
}

static prle_status folder_open(trainer *t, bool found)
{
    prle_status st = PRLE_OK;
    char *path = NULL;

    if (t->comm->rank != 0)
        return PRLE_OK;
    PRLE_TRY_OUT(prle_file_remove_stale(t->o->run, NULL));
    if (t->o->config != NULL) {
        PRLE_TRY_OUT(prle_path_join(t->o->run, "config.yaml", &path));
        PRLE_TRY_OUT(prle_file_write_atomic(path, t->o->config, strlen(t->o->config)));
        prle_free(path);
        path = NULL;
    }
    PRLE_TRY_OUT(prle_path_join(t->o->run, "log.jsonl", &path));
    PRLE_TRY_OUT(prle_jsonl_open(&t->log, path, found ? t->state.log_bytes : 0));
out:
    prle_free(path);
    return st;
}

/* Goes on from the checkpoint that was found, or begins; on rank 0 opens the folder. */
static prle_status run_enter(trainer *t, bool found)
{
    const prle_run_state fresh = {.best_auc = (double)NAN,
                                  .best_epoch = -1,
                                  .validated_step = -1,
                                  .ranks = t->comm->size,
                                  .threads = t->o->threads,
                                  .samples = t->n_train,
                                  .faces_hash = t->data->faces->content_hash,
                                  .maps_hash = t->data->maps == NULL ? 0 : t->data->maps->checksum};

    PRLE_CHECK(!found || t->o->resume, PRLE_EINVAL,
               "%s: a run is here already; add --resume to go on with it, or choose another --run", t->o->run);
    if (found) {
        PRLE_TRY(resume_check(t, &fresh, t->o->config));
        prle_log(PRLE_LOG_INFO, "train", "%s: going on at epoch %" PRId64 ", step %" PRId64, t->o->run, t->state.epoch + 1,
                 t->state.epoch_step);
        t->state.ranks = fresh.ranks;
        t->state.threads = fresh.threads;
    } else {
        t->state = fresh;
        t->info.threshold_eer = t->info.val_auc = (double)NAN;
    }
    return folder_open(t, found);
}

static prle_status run_begin(trainer *t)
{
    bool found = false;

    PRLE_TRY(prle_run_load(t->o->run, t->model, t->optim, &t->info, &t->state, &found, t->comm));
    return prle_comm_agree(t->comm, run_enter(t, found), "entering the run folder");
}

/* last.h5, and best.h5 where this is the best state so far. */
static prle_status checkpoint_save(trainer *t, bool best)
{
    t->info.epoch = t->state.epoch;
    t->info.step = t->state.step;
    if (t->log != NULL)
        t->state.log_bytes = prle_jsonl_bytes(t->log);
    t->last_checkpoint = prle_clock_s();
    return prle_checkpointer_save(t->checkpointer, &t->info, &t->state, best);
}

/* ---- one step ---- */

/* One optimiser step on this rank's batch of a step with n_global samples over all ranks; its result comes later. */
static prle_status step_run(trainer *t, const prle_batch *batch, int64_t n_global, int64_t total_steps)
{
    const bool whole = n_global == t->o->batch;
    const double lr = prle_schedule_lr(&t->o->schedule, t->state.step, total_steps, t->state.epoch);

    if (prle_train_step_run(&t->step, whole ? t->plan : t->tail, whole ? t->plan_batch : t->tail_batch, batch, n_global,
                            (uint32_t)t->state.epoch, lr) != PRLE_OK)
        return prle_error_prefix("epoch %" PRId64 ", step %" PRId64, t->state.epoch + 1, t->state.epoch_step);
    t->queued[t->n_queued++] =
        (queued_step){.step = t->state.step + 1, .epoch_step = t->state.epoch_step, .n = n_global, .lr = lr};
    return PRLE_OK;
}

static prle_status step_log(trainer *t, const queued_step *q, const prle_train_step_result *r)
{
    prle_json_writer json = {0};

    prle_progress_note(t->progress, "loss %.4f", r->loss);
    if (t->log == NULL || q->step % t->o->log_every != 0)
        return PRLE_OK;
    prle_json_begin_object(&json, NULL);
    prle_json_add_text(&json, "record", "step");
    prle_json_add_int(&json, "epoch", t->state.epoch + 1);
    prle_json_add_int(&json, "step", q->step);
    prle_json_add_double(&json, "loss_nats", r->loss);
    prle_json_add_double(&json, "lr", q->lr);
    prle_json_add_double(&json, "grad_norm", r->norm);
    prle_json_add_int(&json, "samples", q->n);
    prle_json_add_int(&json, "masked", r->n_masked);
    prle_json_end(&json);
    return prle_jsonl_append(t->log, &json);
}

/* Waits for the outstanding steps and counts them: the state is whole, and may go into a checkpoint, only then. */
static prle_status results_read(trainer *t)
{
    prle_train_step_result results[PRLE_TRAIN_MAX_PENDING];
    int n = 0;

    if (prle_train_step_results(&t->step, results, &n) != PRLE_OK)
        return prle_error_prefix("epoch %" PRId64 ", step %" PRId64, t->state.epoch + 1, t->queued[n].epoch_step);
    PRLE_ASSERT(n == t->n_queued);
    for (int i = 0; i < n; i++) {
        t->state.epoch_loss += results[i].loss * (double)t->queued[i].n;
        t->state.epoch_samples += t->queued[i].n;
        t->state.epoch_masked += results[i].n_masked;
        PRLE_TRY(step_log(t, &t->queued[i], &results[i]));
    }
    t->n_queued = 0;
    return PRLE_OK;
}

/* ---- one epoch ---- */

/* The loader gets this rank's shares from the next step to the epoch's end. */
static prle_status epoch_begin(trainer *t)
{
    prle_status st = PRLE_OK;
    const int64_t steps = prle_sampler_steps(t->sampler), first = t->state.epoch_step;
    uint32_t *samples = NULL;
    int64_t *sizes = NULL, n = 0;

    prle_sampler_epoch_set(t->sampler, (uint32_t)t->state.epoch);
    PRLE_TRY_OUT(PRLE_NEW(sizes, steps - first));
    PRLE_TRY_OUT(PRLE_NEW(samples, prle_sampler_count(t->sampler)));
    for (int64_t s = first; s < steps; s++) {
        const prle_sampler_share share = prle_sampler_step(t->sampler, s);
        for (int64_t i = 0; i < share.n; i++)
            samples[n++] = (uint32_t)t->train[share.samples[i * share.stride]];
        sizes[s - first] = share.n;
    }
    PRLE_TRY_OUT(prle_loader_begin(t->loader, (uint32_t)t->state.epoch, samples, sizes, steps - first));
out:
    prle_free(samples);
    prle_free(sizes);
    return st;
}

/* Frame scores of the validation split: AUC, and the threshold of equal errors. */
static prle_status validate(trainer *t, double *auc)
{
    prle_status st = PRLE_OK;
    const prle_faces *f = t->data->faces;
    double *values = NULL;
    prle_score *scores = NULL;
    prle_metrics metrics;

    *auc = (double)NAN;
    if (t->n_val == 0)
        return PRLE_OK;
    PRLE_TRY_OUT(prle_scorer_run(t->scorer, &values, t->val, t->n_val, t->comm, NULL));
    PRLE_TRY_OUT(PRLE_NEW(scores, t->n_val));
    for (int64_t i = 0; i < t->n_val; i++) {
        const int64_t at = t->val[i];
        scores[i] = (prle_score){.score = values[i],
                                 .video = f->video[at],
                                 .identity = f->identity[at],
                                 .method = f->method[at],
                                 .label = f->label[at]};
    }
    PRLE_TRY_OUT(prle_metrics_compute(&metrics, scores, t->n_val, 0.5));
    *auc = metrics.value[PRLE_METRIC_AUC];
    t->info.threshold_eer = (double)NAN;
    if (metrics.n_real > 0 && metrics.n_fake > 0)
        PRLE_TRY_OUT(prle_threshold_at_eer(&t->info.threshold_eer, scores, t->n_val));
out:
    prle_free(values);
    prle_free(scores);
    return st;
}

static prle_status epoch_log(trainer *t, int64_t epoch, double auc)
{
    const double loss = t->state.epoch_loss / (double)t->state.epoch_samples;
    prle_json_writer json = {0};

    prle_log(PRLE_LOG_INFO, "train", "epoch %" PRId64 " loss %.4f val_auc %.4f%s", epoch, loss, auc,
             t->state.best_epoch == epoch ? " (best)" : "");
    if (t->log == NULL)
        return PRLE_OK;
    prle_json_begin_object(&json, NULL);
    prle_json_add_text(&json, "record", "epoch");
    prle_json_add_int(&json, "epoch", epoch);
    prle_json_add_int(&json, "step", t->state.step);
    prle_json_add_double(&json, "loss_nats", loss);
    prle_json_add_double(&json, "val_auc", auc);
    prle_json_add_double(&json, "val_threshold_eer", t->info.threshold_eer);
    prle_json_add_int(&json, "samples", t->state.epoch_samples);
    prle_json_add_int(&json, "masked", t->state.epoch_masked);
    prle_json_end(&json);
    return prle_jsonl_append(t->log, &json);
}

/* Asked to stop: where the run stands is saved first. */
static prle_status stop(trainer *t)
{
    PRLE_TRY(checkpoint_save(t, false));
    PRLE_TRY(prle_checkpointer_wait(t->checkpointer));
    return PRLE_FAIL(PRLE_ESTOP,
                     "asked to stop: %s/last.h5 holds epoch %" PRId64 ", step %" PRId64 "; --resume goes on from there",
                     t->o->run, t->state.epoch + 1, t->state.epoch_step);
}

/* Validates and chooses the best checkpoint: highest validation AUC, the earliest on a tie; without an AUC, the last. An epoch
 * that --max-steps has cut short stays the present one. */
static prle_status epoch_end(trainer *t)
{
    const int64_t epoch = t->state.epoch + 1;
    double auc = (double)NAN;

    const prle_status st = validate(t, &auc);
    if (st == PRLE_ESTOP)
        return stop(t);
    PRLE_TRY(st);
    t->state.validated_step = t->state.step;
    t->info.val_auc = auc;
    const bool best = isnan(auc) ? isnan(t->state.best_auc) : isnan(t->state.best_auc) || auc > t->state.best_auc;
    if (best) {
        t->state.best_auc = auc;
        t->state.best_epoch = epoch;
    }
    PRLE_TRY(epoch_log(t, epoch, auc));
    if (t->state.epoch_step == prle_sampler_steps(t->sampler)) {
        t->state.epoch = epoch;
        t->state.epoch_step = 0;
        t->state.epoch_loss = 0;
        t->state.epoch_samples = t->state.epoch_masked = 0;
    }
    return checkpoint_save(t, best);
}

/* After a step: results when enough are outstanding, a checkpoint when it is time, or when the job is asked to stop. All ranks
 * decide alike. */
static prle_status step_end(trainer *t, bool last_of_epoch)
{
    bool stopping = false;
    int64_t due = t->o->checkpoint_minutes > 0 && prle_clock_s() - t->last_checkpoint >= 60 * t->o->checkpoint_minutes;

    PRLE_TRY(prle_stop_requested(t->comm, &stopping));
    if (t->o->checkpoint_minutes > 0)
        PRLE_TRY(prle_comm_max_i64(t->comm, &due, 1, "checkpoint clock"));
    if (stopping || due != 0 || last_of_epoch || t->n_queued >= t->n_ahead)
        PRLE_TRY(results_read(t));
    if (stopping)
        return stop(t);
    return due != 0 && !last_of_epoch ? checkpoint_save(t, false) : PRLE_OK;
}

/* Steps until the epoch, or the run, is over. */
static prle_status epoch_steps(trainer *t, int64_t total_steps)
{
    const int64_t steps = prle_sampler_steps(t->sampler);
    const prle_batch *batch = NULL;

    while (t->state.epoch_step < steps && t->state.step < total_steps) {
        const double before = prle_clock_s();
        PRLE_TRY(prle_loader_next(t->loader, &batch));
        const double begin = prle_clock_s();
        const int64_t n_global = prle_sampler_step(t->sampler, t->state.epoch_step).n_global;
        PRLE_TRY(step_run(t, batch, n_global, total_steps));
        t->report.loader_wait_seconds += begin - before;
        t->state.step++;
        t->state.epoch_step++;
        t->report.images += n_global;
        prle_progress_add(t->progress, n_global);
        const bool last = t->state.epoch_step == steps || t->state.step == total_steps;
        PRLE_TRY(step_end(t, last));
        t->report.step_seconds += prle_clock_s() - begin;
    }
    return PRLE_OK;
}

/* Images of the run's first steps. */
static int64_t images_until(const trainer *t, int64_t step)
{
    const int64_t steps = prle_sampler_steps(t->sampler), count = prle_sampler_count(t->sampler);
    const int64_t begun = step % steps * t->o->batch;

    return step / steps * count + (begun < count ? begun : count);
}

/* A run ends with a validation: one that was stopped before its last still has it to do. */
static bool run_over(const trainer *t, int64_t total_steps)
{
    return t->state.epoch >= t->o->epochs || (t->state.step >= total_steps && t->state.validated_step == t->state.step);
}

static prle_status train(trainer *t)
{
    const int64_t steps = prle_sampler_steps(t->sampler), all = steps * t->o->epochs;
    const int64_t total_steps = t->o->max_steps > 0 && t->o->max_steps < all ? t->o->max_steps : all;
    prle_progress_opts progress = PRLE_PROGRESS_OPTS_DEFAULT;

    progress.what = t->o->net;
    progress.rank = t->comm->rank;
    progress.total = images_until(t, total_steps);
    progress.done = images_until(t, t->state.step);
    PRLE_TRY(prle_progress_create(&t->progress, &progress));
    while (!run_over(t, total_steps)) {
        PRLE_TRY(epoch_begin(t));
        PRLE_TRY(epoch_steps(t, total_steps));
        PRLE_TRY(epoch_end(t));
    }
    prle_progress_end(t->progress);
    return prle_checkpointer_wait(t->checkpointer);
}

static void trainer_deinit(trainer *t)
{
    prle_progress_destroy(t->progress);
    prle_checkpointer_destroy(t->checkpointer);
    prle_jsonl_close(t->log);
    prle_scorer_destroy(t->scorer);
    prle_loader_destroy(t->loader);
    prle_grad_sum_destroy(t->grad_sum);
    prle_train_step_deinit(&t->step);
    prle_learner_destroy(t->learner);
    prle_plan_destroy(t->plan);
    prle_plan_destroy(t->tail);
    prle_device_comm_destroy(t->device_comm, t->comm);
    prle_sampler_destroy(t->sampler);
    prle_optim_destroy(t->optim);
    prle_model_destroy(t->model);
    prle_free(t->step.weights);
    prle_free(t->train);
    prle_free(t->val);
    prle_file_close(t->lock);
}

static prle_status trainer_init(trainer *t)
{
    PRLE_CHECK(t->o->batch % t->comm->size == 0, PRLE_EINVAL,
               "a batch of %" PRId64 " cannot be shared equally by %d ranks; choose a multiple with --batch", t->o->batch,
               t->comm->size);
    t->step = (prle_train_step){.comm = t->comm, .device_comm = t->device_comm, .sync_bn = t->o->sync_bn, .seed = t->o->seed};
    PRLE_TRY(data_select(t));
    PRLE_TRY(sampler_make(t));
    PRLE_TRY(model_make(t));
    PRLE_TRY(plans_make(t));
    PRLE_TRY(learner_make(t));
    t->step.model = t->model;
    t->step.learner = t->learner;
    t->step.repeated = t->plan;
    PRLE_TRY(loaders_make(t));
    PRLE_TRY(leak_warn(t));
    if (t->comm->rank == 0)
        PRLE_TRY(prle_run_lock(t->o->run, &t->lock));
    return prle_checkpointer_create(&t->checkpointer, t->o->run, t->model, t->optim, t->comm);
}

prle_status prle_train_run(prle_train_report *report, const prle_train_data *data, const prle_train_opts *opts, prle_comm *comm)
{
    prle_status st = PRLE_OK;
    trainer t = {.o = opts, .data = data, .comm = comm, .lock = -1};
    const prle_grad_sum_opts sum = {.mode = opts->grad_sum, .bucket_bytes = PRLE_GRAD_SUM_OPTS_DEFAULT.bucket_bytes};
    const double begin = prle_clock_s();

    PRLE_TRY_OUT(prle_device_comm(opts->device, &t.device_comm, comm));
    st = trainer_init(&t);
    PRLE_TRY_OUT(prle_comm_agree(comm, st, "setting up the training"));
    PRLE_TRY_OUT(run_begin(&t));
    PRLE_TRY_OUT(
        prle_grad_sum_create(&t.grad_sum, t.device_comm, t.model->grads, t.model->graph->n_weights, t.model->dtype, &sum));
    t.step.grad_sum = t.grad_sum;
    t.last_checkpoint = prle_clock_s();
    PRLE_TRY_OUT(train(&t));
    *report = t.report;
    report->epochs = t.state.epoch;
    report->steps = t.state.step;
    report->best_auc = t.state.best_auc;
    report->best_epoch = t.state.best_epoch;
    report->checkpoint_seconds = prle_checkpointer_seconds(t.checkpointer);
    report->loader_cpu_seconds = prle_loader_stats_get(t.loader).cpu_s;
    report->mask_cpu_seconds = prle_loader_stats_get(t.loader).mask_cpu_s;
    report->seconds = prle_clock_s() - begin;
out:
    trainer_deinit(&t);
    return st;
}
