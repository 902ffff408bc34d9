/* run_folder.h - runs/NAME/: config.yaml, log.jsonl, last.h5 (to go on from), best.h5 (to use). Rank 0 writes. */
#pragma once
#include "nets/checkpoint.h"

/** Where a run stands: everything a resumed one needs besides weights and optimiser. */
typedef struct prle_run_state {
    int64_t epoch;      /* in which the next step lies */
    int64_t epoch_step; /* the next step of that epoch */
    int64_t step;       /* optimiser steps done */
    double epoch_loss;  /* sum over the epoch's steps so far of loss x samples */
    int64_t epoch_samples, epoch_masked;
    double best_auc;    /* NaN: none yet */
    int64_t best_epoch; /* -1: none yet */
    int64_t log_bytes;  /* of log.jsonl when this was written */
    /* what the bits depend on: a resumed run that differs is told */
    int64_t ranks, threads, batch, samples;
    uint64_t seed, faces_hash;
} prle_run_state;

/** Writes FOLDER/last.h5 (with the optimiser) or FOLDER/best.h5 (optim NULL), atomically. */
PRLE_NODISCARD prle_status prle_run_save(const char *folder, const char *name, const prle_model *model,
                                         const prle_checkpoint_info *info, const prle_optim *optim, const prle_run_state *state);

/** FOLDER/last.h5 into model, optim and state; *found is false when there is none. */
PRLE_NODISCARD prle_status prle_run_load(const char *folder, prle_model *model, prle_optim *optim, prle_checkpoint_info *info,
                                         prle_run_state *state, bool *found);
