/* run_folder.c - see run_folder.h. */
#include "jobs/train/run_folder.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/hash.h"

/* The integers of the state, by the names of their attributes. */
#define STATE_INTEGERS(X)                                                                                                        \
    X(epoch)                                                                                                                     \
    X(epoch_step) X(step) X(epoch_samples) X(epoch_masked) X(best_epoch) X(log_bytes) X(ranks) X(threads) X(batch) X(samples)

static prle_status hash_write(prle_h5 *file, const char *name, uint64_t value)
{
    char text[17];

    return prle_h5_attr_write_string(file, name, prle_hash_print(value, text));
}

static prle_status hash_read(prle_h5 *file, const char *name, uint64_t *value)
{
    char *text = NULL;

    PRLE_TRY(prle_h5_attr_read_string(file, name, &text));
    const int n = sscanf(text, "%16" SCNx64, value);
    prle_free(text);
    PRLE_CHECK(n == 1, PRLE_EFORMAT, "%s: attribute %s is no hash", prle_h5_path(file), name);
    return PRLE_OK;
}

static prle_status state_write(prle_h5 *file, const prle_run_state *state)
{
#define WRITE(field) PRLE_TRY(prle_h5_attr_write_int(file, "run_" #field, state->field));
    STATE_INTEGERS(WRITE)
#undef WRITE
    PRLE_TRY(prle_h5_attr_write_double(file, "run_epoch_loss", state->epoch_loss));
    PRLE_TRY(prle_h5_attr_write_double(file, "run_best_auc", state->best_auc));
    PRLE_TRY(hash_write(file, "run_seed", state->seed));
    return hash_write(file, "run_faces", state->faces_hash);
}

static prle_status state_read(prle_h5 *file, prle_run_state *state)
{
#define READ(field) PRLE_TRY(prle_h5_attr_read_int(file, "run_" #field, &state->field));
    STATE_INTEGERS(READ)
#undef READ
    PRLE_TRY(prle_h5_attr_read_double(file, "run_epoch_loss", &state->epoch_loss));
    PRLE_TRY(prle_h5_attr_read_double(file, "run_best_auc", &state->best_auc));
    PRLE_TRY(hash_read(file, "run_seed", &state->seed));
    return hash_read(file, "run_faces", &state->faces_hash);
}

prle_status prle_run_save(const char *folder, const char *name, const prle_model *model, const prle_checkpoint_info *info,
                          const prle_optim *optim, const prle_run_state *state)
{
    prle_status st = PRLE_OK;
    char *path = NULL;
    prle_h5 *file = NULL;

    PRLE_TRY_OUT(prle_path_join(folder, name, &path));
    PRLE_TRY_OUT(prle_h5_create(path, PRLE_CHECKPOINT_SCHEMA, PRLE_CHECKPOINT_VERSION, &file));
    PRLE_TRY_OUT(prle_checkpoint_write(file, model, info, optim));
    PRLE_TRY_OUT(state_write(file, state));
    PRLE_TRY_OUT(prle_h5_commit(file));
out:
    prle_h5_close(file);
    prle_free(path);
    return st;
}

prle_status prle_run_load(const char *folder, prle_model *model, prle_optim *optim, prle_checkpoint_info *info,
                          prle_run_state *state, bool *found)
{
    prle_status st = PRLE_OK;
    char *path = NULL;
    prle_h5 *file = NULL;

    PRLE_TRY_OUT(prle_path_join(folder, "last.h5", &path));
    *found = prle_file_exists(path);
    if (!*found)
        goto out;
    PRLE_TRY_OUT(prle_h5_open(path, PRLE_CHECKPOINT_SCHEMA, PRLE_CHECKPOINT_VERSION, &file));
    PRLE_TRY_OUT(prle_checkpoint_read(file, model, info, optim));
    PRLE_TRY_OUT(state_read(file, state));
out:
    prle_h5_close(file);
    prle_free(path);
    return st;
}
