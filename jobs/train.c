/* train.c - `prle train`: one detector, data-parallel over ranks. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "core/alloc.h"
#include "core/json.h"
#include "dist/watchdog.h"
#include "jobs/command.h"
#include "jobs/train/step.h"
#include "jobs/train/trainer.h"

typedef enum loss { LOSS_BCE, LOSS_CE } loss;

typedef struct train_args {
    prle_common common;
    prle_train_opts train; /* its classes follow from loss */
    loss loss;
    const char *data, *maps;
    prle_strings methods;
    double deadline;
} train_args;

static const char *const loss_words[] = {[LOSS_BCE] = "bce", [LOSS_CE] = "ce", NULL};
static const char *const optim_words[] = {
    [PRLE_OPTIM_ADAM] = "adam", [PRLE_OPTIM_ADAMW] = "adamw", [PRLE_OPTIM_SGD] = "sgd", NULL};

static const prle_option options[] = {
    {PRLE_OPTION_AT(train_args, train.net), .name = "net", .words = prle_net_words, .value = "NET", .help = "network"},
    {PRLE_OPTION_AT(train_args, data), .name = "data", .letter = 'd', .value = "FILE", .required = true,
     .help = "face store made by `prle pack`"},
    {PRLE_OPTION_AT(train_args, train.run), .name = "run", .letter = 'r', .value = "DIR", .required = true,
     .help = "run folder: config.yaml, log.jsonl, last.h5, previous.h5, best.h5"},
    {PRLE_OPTION_AT(train_args, train.resume), .name = "resume",
     .help = "go on with the run that is in the folder; begin it when there is none"},
    {PRLE_OPTION_AT(train_args, train.init), .name = "init", .value = "MODEL",
     .help = "start from the weights of a run folder or checkpoint"},
    {PRLE_OPTION_AT(train_args, methods), .name = "methods", .value = "NAME",
     .help = "train and validate on these forgeries only (and all reals)"},
    {PRLE_OPTION_AT(train_args, train.max_frames), .name = "frames", .min = 0, .max = 1e6,
     .help = "frames of a video, evenly spaced; 0: all"},

    {PRLE_OPTION_AT(train_args, train.mask.kind), .name = "mask", .words = prle_mask_kind_words,
     .group = "Masks (arXiv 2307.12534, Stage 2)",
     .help =
         "what is hidden: a random share of the primary regions (needs --maps), always all of them, a random rectangle, landmark "
         "regions, nothing"},
    {PRLE_OPTION_AT(train_args, maps), .name = "maps", .letter = 'm', .value = "FILE", .help = "maps.h5 made by `prle fuse`"},
    {PRLE_OPTION_AT(train_args, train.mask.p), .name = "mask-p", .min = 0, .max = 1, .help = "share of samples that are masked"},
    {PRLE_OPTION_AT(train_args, train.mask.alpha_min), .name = "alpha-min", .min = 0, .max = 1,
     .help = "alpha is drawn from (alpha-min, 1]"},
    {PRLE_OPTION_AT(train_args, train.mask.fill), .name = "fill", .words = prle_mask_fill_words,
     .help = "what hidden pixels become"},
    {PRLE_OPTION_AT(train_args, train.mask.gamma), .name = "gamma", .min = 0, .max = 1000,
     .help = "weight of masked samples in the loss (Eq. 13)"},
    {PRLE_OPTION_AT(train_args, train.augment), .name = "augment", .words = prle_augment_words, .help = "further augmentation"},

    {PRLE_OPTION_AT(train_args, train.size), .name = "size", .min = 32, .max = 1024, .unit = "px",
     .help = "height and width of the network's input", .group = "Training"},
    {PRLE_OPTION_AT(train_args, loss), .name = "loss", .words = loss_words,
     .help = "cross-entropy on two logits, or binary on one"},
    {PRLE_OPTION_AT(train_args, train.batch), .name = "batch", .letter = 'b', .min = 1, .max = 65536, .unit = "images",
     .help = "of a step over all ranks"},
    {PRLE_OPTION_AT(train_args, train.epochs), .name = "epochs", .letter = 'e', .min = 1, .max = 1e6,
     .help = "passes over the training split"},
    {PRLE_OPTION_AT(train_args, train.max_steps), .name = "max-steps", .min = 0, .max = 1e9,
     .help = "end after so many steps; 0: no limit"},
    {PRLE_OPTION_AT(train_args, train.optim.kind), .name = "optim", .words = optim_words, .help = "optimiser"},
    {PRLE_OPTION_AT(train_args, train.schedule.lr), .name = "lr", .min = 0, .max = 100, .help = "learning rate"},
    {PRLE_OPTION_AT(train_args, train.schedule.kind), .name = "schedule", .words = prle_schedule_words,
     .help = "how the learning rate changes"},
    {PRLE_OPTION_AT(train_args, train.schedule.warmup_steps), .name = "warmup", .min = 0, .max = 1e9, .unit = "steps",
     .help = "linear rise at the start"},
    {PRLE_OPTION_AT(train_args, train.schedule.step_epochs), .name = "step-epochs", .min = 1, .max = 1e6,
     .help = "epochs between drops (schedule step)"},
    {PRLE_OPTION_AT(train_args, train.schedule.step_factor), .name = "step-factor", .min = 0, .max = 1,
     .help = "factor of each drop (schedule step)"},
    {PRLE_OPTION_AT(train_args, train.optim.weight_decay), .name = "weight-decay", .min = 0, .max = 10,
     .help = "not on biases and batch norms"},
    {PRLE_OPTION_AT(train_args, train.optim.decay_all), .name = "decay-all",
     .help = "weight decay on biases and batch norms too"},
    {PRLE_OPTION_AT(train_args, train.optim.momentum), .name = "momentum", .min = 0, .max = 1, .help = "of sgd"},
    {PRLE_OPTION_AT(train_args, train.optim.head_lr_factor), .name = "head-lr", .min = 0, .max = 1000,
     .help = "learning rate of the last layer, relative"},
    {PRLE_OPTION_AT(train_args, train.clip_norm), .name = "clip", .min = 0, .max = 1e9,
     .help = "largest norm of the gradient; 0: not clipped"},
    {PRLE_OPTION_AT(train_args, train.balance), .name = "balance", .words = prle_balance_words,
     .help = "against unequal classes: weights in the loss, or sampling"},

    {PRLE_OPTION_AT(train_args, train.sync_bn), .name = "sync-bn", .help = "batch norm over the batch of all ranks",
     .group = "Ranks, files, time"},
    {PRLE_OPTION_AT(train_args, train.grad_sum), .name = "grad-sum", .words = prle_grad_sum_mode_words,
     .help = "how gradients are summed over ranks"},
    {PRLE_OPTION_AT(train_args, train.checkpoint_minutes), .name = "checkpoint-minutes", .min = 0, .max = 1e5, .unit = "min",
     .help = "between checkpoints inside an epoch; 0: after epochs only"},
    {PRLE_OPTION_AT(train_args, train.metrics_every), .name = "metrics-every", .min = 0, .max = PRLE_TRAIN_MAX_PENDING,
     .unit = "steps",
     .help = "steps between readings of loss and gradient norm, for which a GPU must be waited for; 0: 8 on a GPU, else 1"},
    {PRLE_OPTION_AT(train_args, train.log_every), .name = "log-every", .min = 1, .max = 1e6, .unit = "steps",
     .help = "between records of log.jsonl"},
    {PRLE_OPTION_AT(train_args, train.eval_batch), .name = "eval-batch", .min = 1, .max = 4096, .unit = "images",
     .help = "scored at a time by a rank"},
    {PRLE_OPTION_AT(train_args, train.loader_threads), .name = "loader-threads", .min = 1, .max = PRLE_LOADER_MAX_THREADS,
     .help = "that decode and mask images, each rank"},
    {PRLE_OPTION_AT(train_args, deadline), .name = "deadline", .min = 0, .max = 1e6, .unit = "s",
     .help = "a collective that lasts longer ends the job; 0: PRLE_DEADLINE, else 600 s"},
    PRLE_OPTION_END,
};

static const prle_preset presets[] = {
    {.name = "paper",
     .help = "arXiv 2307.12534: 256 px, batch 64, Adam 2e-4, 10 epochs",
     .values =
         (const struct prle_preset_value[]){
             {"size", "256"}, {"batch", "64"}, {"lr", "2e-4"}, {"epochs", "10"}, {"mask-p", "0.5"}, {"fill", "zero"}, {0}}},
    {.name = "release",
     .help = "the authors' code: 299 px, batch 32, noise in masks, alpha above 0.5",
     .values =
         (const struct prle_preset_value[]){
             {"size", "299"}, {"batch", "32"}, {"lr", "2e-4"}, {"epochs", "10"}, {"fill", "noise"}, {"alpha-min", "0.5"}, {0}}},
    {.name = "bench",
     .help = "like DeepfakeBench: 256 px, batch 32, weight decay 5e-4, its augmentations",
     .values = (const struct prle_preset_value[]){{"size", "256"},
                                                  {"batch", "32"},
                                                  {"lr", "2e-4"},
                                                  {"epochs", "10"},
                                                  {"weight-decay", "5e-4"},
                                                  {"decay-all", "yes"},
                                                  {"augment", "bench"},
                                                  {0}}},
    {0},
};

/* Steps wait for the loader when it is too slow (more --loader-threads); for checkpoints when the disk is. */
static void time_print(const prle_train_report *r)
{
    const double stepping = r->step_seconds + r->loader_wait_seconds;

    printf("%.1f images/s over %.0f s, validation and checkpoints included; %.1f in steps\n", (double)r->images / r->seconds,
           r->seconds, (double)r->images / stepping);
    printf("of the steps' time: waiting for the loader %.2f %%, waiting for checkpoints %.2f %%\n",
           100 * r->loader_wait_seconds / stepping, 100 * r->checkpoint_seconds / stepping);
}

static prle_status report_print(const train_args *a, const prle_train_report *r)
{
    prle_json_writer json = {0};

    if (!a->common.json) {
        printf("%s: %" PRId64 " epochs, %" PRId64 " steps, best epoch %" PRId64 " with validation AUC %.4f\n", a->train.run,
               r->epochs, r->steps, r->best_epoch, r->best_auc);
        if (r->images > 0)
            time_print(r);
        return PRLE_OK;
    }
    prle_json_begin_object(&json, NULL);
    prle_json_add_text(&json, "run", a->train.run);
    prle_json_add_int(&json, "epochs", r->epochs);
    prle_json_add_int(&json, "steps", r->steps);
    prle_json_add_int(&json, "best_epoch", r->best_epoch);
    prle_json_add_double(&json, "best_val_auc", r->best_auc);
    prle_json_add_double(&json, "images", (double)r->images);
    prle_json_add_double(&json, "seconds", r->seconds);
    prle_json_add_double(&json, "step_seconds", r->step_seconds);
    prle_json_add_double(&json, "loader_wait_seconds", r->loader_wait_seconds);
    prle_json_add_double(&json, "loader_cpu_seconds", r->loader_cpu_seconds);
    prle_json_add_double(&json, "mask_cpu_seconds", r->mask_cpu_seconds);
    prle_json_add_double(&json, "checkpoint_seconds", r->checkpoint_seconds);
    prle_json_end(&json);
    return prle_job_json_print(&json);
}

static prle_status run(void *args, const prle_job *job)
{
    prle_status st = PRLE_OK;
    train_args *a = args;
    prle_train_opts opts = a->train;
    prle_faces *faces = NULL;
    prle_maps *maps = NULL;
    prle_train_report report;
    prle_train_data data;
    char *config = NULL;

    opts.classes = a->loss == LOSS_CE ? 2 : 1;
    PRLE_CHECK(a->maps != NULL || (opts.mask.kind != PRLE_MASK_PRIMARY && opts.mask.kind != PRLE_MASK_FIXED), PRLE_EINVAL,
               "--mask %s needs --maps FILE (made by `prle fuse`)", prle_mask_kind_words[opts.mask.kind]);
    PRLE_TRY_OUT(prle_watchdog_begin(job->world, a->deadline));
    PRLE_TRY_OUT(prle_faces_open(a->data, &faces));
    if (a->maps != NULL)
        PRLE_TRY_OUT(prle_maps_open(a->maps, &maps));
    PRLE_TRY_OUT(prle_options_dump(job->options, job->about, &config));
    opts.dtype = a->common.dtype;
    opts.device = job->device;
    opts.seed = a->common.seed;
    opts.threads = job->threads;
    opts.config = config;
    data = (prle_train_data){.faces = faces,
                             .maps = maps,
                             .methods = a->methods.n > 0 ? (const char *const *)a->methods.item : NULL,
                             .n_methods = a->methods.n};
    PRLE_TRY_OUT(prle_train_run(&report, &data, &opts, job->world));
    if (job->world->rank == 0)
        PRLE_TRY_OUT(report_print(a, &report));
out:
    prle_watchdog_end();
    prle_free(config);
    prle_maps_close(maps);
    prle_faces_close(faces);
    return st;
}

static const train_args defaults = {
    .common = PRLE_COMMON_DEFAULT,
    .loss = LOSS_CE,
    .train = {.net = "xception",
              .size = 256,
              .batch = 32,
              .epochs = 10,
              .optim = {.kind = PRLE_OPTIM_ADAM, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .momentum = 0.9, .head_lr_factor = 1},
              .schedule = {.lr = 2e-4, .step_epochs = 5, .step_factor = 0.1},
              .checkpoint_minutes = 10,
              .log_every = 1,
              .eval_batch = 16,
              .loader_threads = 1,
              .mask = {.kind = PRLE_MASK_NONE, .p = 0.5, .alpha = (double)NAN, .gamma = 1}},
};

extern const prle_command prle_command_train;
const prle_command prle_command_train = {
    .spec = {.command = "train",
             .summary = "train a detector, with or without masks",
             .description =
                 "Trains one network to tell real faces from forged ones, data-parallel over all ranks of mpirun or srun. With "
                 "--mask primary and the maps of `prle fuse`, a random share of each image's primary regions is hidden, afresh "
                 "for every image and epoch. The best model by validation AUC is kept in best.h5; a killed run goes on with "
                 "--resume to the same bits. SIGUSR1 writes a checkpoint and exits with 75.",
             .examples = "prle train --net resnet50 --data faces.h5 --run runs/plain\n"
                         "mpirun --bind-to none -n 2 prle train --preset paper --data faces.h5 --mask primary --maps maps.h5 "
                         "--run runs/prle",
             .parts = (const prle_option_part[]){{.options = options}, {0}},
             .presets = presets},
    .args_bytes = sizeof(train_args),
    .defaults = &defaults,
    .distributed = true,
    .stops = true,
    .computes = true,
    .run = run,
};
