/* trainer.h - data-parallel training of one detector: epochs of steps, validation, checkpoints, resume. */
#pragma once
#include "augment/loader.h"
#include "core/comm.h"
#include "dist/grad_sum.h"
#include "jobs/train/schedule.h"
#include "nets/optim.h"

typedef enum prle_balance {
    PRLE_BALANCE_NONE,
    PRLE_BALANCE_WEIGHTS, /* class weights n / (2 n_class): the loss still divides by the count, not by the sum of weights */
    PRLE_BALANCE_SAMPLES, /* as many reals as fakes in each epoch */
} prle_balance;

extern const char *const prle_balance_words[];

typedef struct prle_train_opts {
    const char *net, *run; /* network; run folder */
    int64_t size;          /* input height and width */
    int classes;           /* 2: softmax cross-entropy; 1: binary cross-entropy */
    int64_t batch;         /* global; a multiple of the ranks */
    int64_t epochs;
    int64_t max_steps; /* of the whole run; 0: no limit */
    prle_optim_opts optim;
    prle_schedule schedule;
    double clip_norm; /* 0: no clipping */
    prle_balance balance;
    bool sync_bn;
    bool resume;
    double checkpoint_minutes; /* between checkpoints inside an epoch; 0: only after epochs */
    int64_t log_every;         /* steps between records of log.jsonl */
    int metrics_every;         /* steps between readings of loss and gradient norm, at most 64; 0: as the device is best used */
    int64_t max_frames;        /* of a video, evenly spaced; 0: all */
    int64_t eval_batch;        /* images a rank scores at a time */
    const char *init;          /* checkpoint or run folder to start from, or NULL */
    prle_mask_opts mask;
    prle_augment augment;
    int loader_threads;
    prle_grad_sum_mode grad_sum;
    prle_dtype dtype; /* F32, BF16 or F64 */
    const prle_device *device;
    uint64_t seed;
    int threads;        /* of each rank, recorded: a resumed run with other numbers rounds otherwise */
    const char *config; /* text of config.yaml, written at the start and compared on resume; NULL: none */
} prle_train_opts;

typedef struct prle_train_data {
    const prle_faces *faces;
    const prle_maps *maps;      /* NULL: none */
    const char *const *methods; /* train and validate on these forgeries only, [n_methods]; NULL: all */
    int64_t n_methods;
} prle_train_data;

typedef struct prle_train_report {
    int64_t epochs, steps, best_epoch;
    double best_auc;
    int64_t images;                              /* trained on by all ranks in this process's life, as all that follows */
    double seconds;                              /* from the beginning to the end, validation included */
    double step_seconds;                         /* of steps alone: computing */
    double loader_wait_seconds;                  /* for which steps waited, on this rank, for their batch */
    double checkpoint_seconds;                   /* for which training stood still to make checkpoints */
    double loader_cpu_seconds, mask_cpu_seconds; /* of this rank's loader threads; of which for masks */
} prle_train_report;

/**
 * Trains, or goes on training, and leaves last.h5, best.h5 and log.jsonl in the run folder.
 *
 * PRLE_ESTOP after SIGUSR1 or SIGTERM, once prle_stop_begin listens: last.h5 is whole. PRLE_EINVAL when a run is there and resume
 * is not set, the run there was begun with other data or options that shape its result, or the batch does not divide by the
 * ranks. PRLE_ENUMERIC when the loss or the gradient is not finite. Collective.
 */
PRLE_NODISCARD prle_status prle_train_run(prle_train_report *report, const prle_train_data *data, const prle_train_opts *opts,
                                          prle_comm *comm);
