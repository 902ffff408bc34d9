/* run_folder.h - runs/NAME/: config.yaml, log.jsonl, last.h5 and previous.h5 (to go on from), best.h5 (to use). Rank 0 writes. */
#pragma once
#include "core/comm.h"
#include "nets/checkpoint.h"

/** Where a run stands: everything a resumed one needs besides weights and optimiser. */
typedef struct prle_run_state {
    int64_t epoch;      /* in which the next step lies */
    int64_t epoch_step; /* the next step of that epoch */
    int64_t step;       /* optimiser steps done */
    double epoch_loss;  /* sum over the epoch's steps so far of loss x samples */
    int64_t epoch_samples, epoch_masked;
    double best_auc;        /* NaN: none yet */
    int64_t best_epoch;     /* -1: none yet */
    int64_t validated_step; /* `step` of the last validation; -1: none yet */
    int64_t log_bytes;      /* of log.jsonl when this was written */
    int64_t ranks, threads; /* the last bits depend on them: a resumed run that differs is told */
    int64_t samples;
    uint64_t faces_hash, maps_hash; /* content; 0: no maps */
} prle_run_state;

/** Makes the folder and claims it for this run until *lock is given to prle_file_close; PRLE_EIO when another run works there.
 * Rank 0 calls it. */
PRLE_NODISCARD prle_status prle_run_lock(const char *folder, int *lock);

/** Writes FOLDER/best.h5, atomically. */
PRLE_NODISCARD prle_status prle_run_save_best(const char *folder, const prle_model *model, const prle_checkpoint_info *info,
                                              const prle_run_state *state);

/** Writes FOLDER/last.h5, atomically; the one before becomes previous.h5. */
PRLE_NODISCARD prle_status prle_run_save_last(const char *folder, const prle_model *model, const prle_checkpoint_info *info,
                                              const prle_optim *optim, const prle_run_state *state);

/**
 * FOLDER/last.h5 or, where that is damaged or missing, previous.h5 into model, optim and state of every rank: rank 0 chooses, and
 * warns. *found is false when neither is there. PRLE_EFORMAT when neither is whole. Collective.
 */
PRLE_NODISCARD prle_status prle_run_load(const char *folder, prle_model *model, prle_optim *optim, prle_checkpoint_info *info,
                                         prle_run_state *state, bool *found, prle_comm *comm);

/**
 * Compares the options in FOLDER/config.yaml with those of a run that wants to go on there. PRLE_EINVAL names the first one that
 * shapes the result and differs (in both values); what only says where things lie or how fast they go may. No config.yaml: fine.
 */
PRLE_NODISCARD prle_status prle_run_config_check(const char *folder, const char *config);
