/* checkpoint.h - a model in a file (schema prle.checkpoint): its weights by name, what it takes to use it, and, for training to
 * go on, the optimiser. The trainer adds attributes of its own. */
#pragma once
#include "core/hdf5.h"
#include "nets/optim.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PRLE_CHECKPOINT_SCHEMA "prle.checkpoint"
enum { PRLE_CHECKPOINT_VERSION = 1 };

/** What a user of the model must know besides its weights. */
typedef struct prle_checkpoint_info {
    float mean[3], std[3]; /* of the normalisation (pixel / 255 - mean) / std */
    double threshold_eer;  /* score above which validation calls an image fake with equal error rates; NaN: unknown */
    int64_t epoch, step;   /* epochs done, optimiser steps done */
    double val_auc;        /* of this state on the validation split; NaN: unknown */
} prle_checkpoint_info;

/** Writes net, options, info, all segments under "state/NAME", and, with optim not NULL, the optimiser's state, all with
 * checksums. The caller creates the file with the schema above and commits it. */
PRLE_NODISCARD prle_status prle_checkpoint_write(prle_h5 *file, const prle_model *model, const prle_checkpoint_info *info,
                                                 const prle_optim *optim);

/**
 * Reads a whole checkpoint back into a model of the same network (and optimiser, when not NULL). PRLE_EFORMAT names what differs:
 * network, a tensor's shape, a missing name, a value that is not finite.
 */
PRLE_NODISCARD prle_status prle_checkpoint_read(prle_h5 *file, prle_model *model, prle_checkpoint_info *info, prle_optim *optim);

/**
 * Makes a model from a file, or from a run folder (best.h5, else last.h5), with masters in `dtype` (F32 or F64; converted when
 * the file holds the other one). Input size: that of training. hash: names weights and statistics; maps made by it carry it.
 */
PRLE_NODISCARD prle_status prle_model_load(prle_model **out, prle_checkpoint_info *info, uint64_t *hash, const char *path,
                                           prle_dtype dtype);

/** Starts `model` from a checkpoint of the same network: all tensors whose names and shapes agree. A head for another number of
 * classes is left as it is; anything else that is missing is PRLE_EFORMAT. n_loaded: tensors taken over. */
PRLE_NODISCARD prle_status prle_model_start_from(prle_model *model, const char *path, int *n_loaded);

/** Names weights and statistics by their values: the same for the same numbers, in memory or in a file. */
uint64_t prle_model_hash(const prle_model *model);

#ifdef __cplusplus
}
#endif
