/* run_folder.c - see run_folder.h. */
#include "jobs/train/run_folder.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/yaml.h"

/* The integers of the state, by the names of their attributes. */
/* clang-format off */
#define STATE_INTEGERS(X) \
    X(epoch)              \
    X(epoch_step)         \
    X(step)               \
    X(epoch_samples)      \
    X(epoch_masked)       \
    X(best_epoch)         \
    X(validated_step)     \
    X(log_bytes)          \
    X(ranks)              \
    X(threads)            \
    X(samples)
/* clang-format on */

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
    PRLE_TRY(hash_write(file, "run_faces", state->faces_hash));
    return hash_write(file, "run_maps", state->maps_hash);
}

static prle_status state_read(prle_h5 *file, prle_run_state *state)
{
#define READ(field) PRLE_TRY(prle_h5_attr_read_int(file, "run_" #field, &state->field));
    STATE_INTEGERS(READ)
#undef READ
    PRLE_TRY(prle_h5_attr_read_double(file, "run_epoch_loss", &state->epoch_loss));
    PRLE_TRY(prle_h5_attr_read_double(file, "run_best_auc", &state->best_auc));
    PRLE_TRY(hash_read(file, "run_faces", &state->faces_hash));
    return hash_read(file, "run_maps", &state->maps_hash);
}

enum { LAST, PREVIOUS, N_NAMES, NONE = -1 };
enum { LOCK_WAIT_S = 5 }; /* for ranks of an earlier run that are still dying */

static const char *const names[N_NAMES] = {[LAST] = "last.h5", [PREVIOUS] = "previous.h5"};

prle_status prle_run_lock(const char *folder, int *lock)
{
    char *path = NULL;

    PRLE_TRY(prle_folder_make(folder));
    PRLE_TRY(prle_path_join(folder, "lock", &path));
    const prle_status st = prle_file_lock(path, false, LOCK_WAIT_S, lock);
    prle_free(path);
    return st;
}

static prle_status save(const char *path, const prle_model *model, const prle_checkpoint_info *info, const prle_optim *optim,
                        const prle_run_state *state, const char *keep_as)
{
    prle_status st = PRLE_OK;
    prle_h5 *file = NULL;

    PRLE_TRY_OUT(prle_h5_create(path, PRLE_CHECKPOINT_SCHEMA, PRLE_CHECKPOINT_VERSION, &file));
    PRLE_TRY_OUT(prle_checkpoint_write(file, model, info, optim));
    PRLE_TRY_OUT(state_write(file, state));
    if (keep_as != NULL)
        PRLE_TRY_OUT(prle_file_keep(path, keep_as));
    PRLE_TRY_OUT(prle_h5_commit(file));
out:
    prle_h5_close(file);
    return st;
}

prle_status prle_run_save_best(const char *folder, const prle_model *model, const prle_checkpoint_info *info,
                               const prle_run_state *state)
{
    char *path = NULL;

    PRLE_TRY(prle_path_join(folder, "best.h5", &path));
    const prle_status st = save(path, model, info, NULL, state, NULL);
    prle_free(path);
    return st;
}

prle_status prle_run_save_last(const char *folder, const prle_model *model, const prle_checkpoint_info *info,
                               const prle_optim *optim, const prle_run_state *state)
{
    prle_status st = PRLE_OK;
    char *path = NULL, *previous = NULL;

    PRLE_TRY_OUT(prle_path_join(folder, names[LAST], &path));
    PRLE_TRY_OUT(prle_path_join(folder, names[PREVIOUS], &previous));
    PRLE_TRY_OUT(save(path, model, info, optim, state, previous));
out:
    prle_free(path);
    prle_free(previous);
    return st;
}

/* What a checkpoint is read into. */
typedef struct destination {
    const char *folder;
    prle_model *model;
    prle_optim *optim;
    prle_checkpoint_info *info;
    prle_run_state *state;
} destination;

static prle_status load(const destination *to, int which)
{
    prle_status st = PRLE_OK;
    char *path = NULL;
    prle_h5 *file = NULL;

    PRLE_TRY_OUT(prle_path_join(to->folder, names[which], &path));
    PRLE_TRY_OUT(prle_h5_open(path, PRLE_CHECKPOINT_SCHEMA, PRLE_CHECKPOINT_VERSION, &file));
    PRLE_TRY_OUT(prle_checkpoint_read(file, to->model, to->info, to->optim));
    PRLE_TRY_OUT(state_read(file, to->state));
out:
    prle_h5_close(file);
    prle_free(path);
    return st;
}

static prle_status is_there(const char *folder, int which, bool *there)
{
    char *path = NULL;

    PRLE_TRY(prle_path_join(folder, names[which], &path));
    *there = prle_file_exists(path);
    prle_free(path);
    return PRLE_OK;
}

/* Rank 0: reads the newest whole one. */
static prle_status choose(const destination *to, int *which)
{
    bool there[N_NAMES];

    *which = NONE;
    for (int i = LAST; i < N_NAMES; i++)
        PRLE_TRY(is_there(to->folder, i, &there[i]));
    if (there[LAST]) {
        const prle_status st = load(to, LAST);
        *which = LAST;
        if (st != PRLE_EFORMAT || !there[PREVIOUS])
            return st;
        prle_log(PRLE_LOG_WARN, "train", "%s; going on from the checkpoint before", prle_error_message());
    }
    if (!there[PREVIOUS])
        return PRLE_OK;
    *which = PREVIOUS;
    return load(to, PREVIOUS);
}

prle_status prle_run_load(const char *folder, prle_model *model, prle_optim *optim, prle_checkpoint_info *info,
                          prle_run_state *state, bool *found, prle_comm *comm)
{
    const destination to = {.folder = folder, .model = model, .optim = optim, .info = info, .state = state};
    prle_status st = PRLE_OK;
    int which = NONE;

    if (comm->rank == 0)
        st = choose(&to, &which);
    PRLE_TRY(prle_comm_agree(comm, st, "looking for a checkpoint"));
    PRLE_TRY(prle_comm_broadcast(comm, &which, sizeof which, 0, "looking for a checkpoint"));
    *found = which != NONE;
    if (comm->rank != 0 && which != NONE)
        st = load(&to, which);
    return prle_comm_agree(comm, st, "reading the checkpoint");
}

/* May differ in a run that goes on: where things lie (files are compared by content), how long the run is, how it is computed up
 * to rounding, what is told. */
static bool may_differ(const char *option, bool length_matters)
{
    static const char *const free_ones[] = {"data",
                                            "run",
                                            "resume",
                                            "init",
                                            "maps",
                                            "grad-sum",
                                            "deadline",
                                            "log-every",
                                            "eval-batch",
                                            "metrics-every",
                                            "log-level",
                                            "threads",
                                            "device",
                                            "deterministic",
                                            "loader-threads",
                                            "json",
                                            "preset",
                                            "config",
                                            "checkpoint-minutes"};

    for (size_t i = 0; i < sizeof free_ones / sizeof free_ones[0]; i++)
        if (strcmp(option, free_ones[i]) == 0)
            return true;
    return !length_matters && (strcmp(option, "epochs") == 0 || strcmp(option, "max-steps") == 0);
}

static bool same_value(const prle_yaml_node *a, const prle_yaml_node *b)
{
    bool same = a->kind == b->kind && a->n == b->n && strcmp(a->text, b->text) == 0;
    const prle_yaml_node *x = a->child, *y = b->child;

    for (; same && x != NULL && y != NULL; x = x->next, y = y->next)
        same = same_value(x, y);
    return same;
}

static const char *shown(const prle_yaml_node *value)
{
    return value->kind == PRLE_YAML_SCALAR ? value->text : value->kind == PRLE_YAML_NULL ? "nothing" : "another list";
}

static prle_status config_compare(const char *path, const prle_yaml_node *was, const prle_yaml_node *now)
{
    const prle_yaml_node *schedule = prle_yaml_get(now, "schedule");
    const bool cosine = schedule != NULL && strcmp(schedule->text, "cosine") == 0;

    for (const prle_yaml_node *new = now == NULL ? NULL : now->child; new != NULL; new = new->next) {
        const prle_yaml_node *old = prle_yaml_get(was, new->key);
        PRLE_CHECK(old == NULL || may_differ(new->key, cosine) || same_value(old, new), PRLE_EINVAL,
                   "%s:%d: this run was begun with --%s %s, now it is %s; go on with the same, or choose another --run", path,
                   old->line, new->key, shown(old), shown(new));
    }
    return PRLE_OK;
}

prle_status prle_run_config_check(const char *folder, const char *config)
{
    prle_status st = PRLE_OK;
    char *path = NULL;
    prle_yaml *was = NULL, *now = NULL;

    PRLE_TRY_OUT(prle_path_join(folder, "config.yaml", &path));
    if (!prle_file_exists(path))
        goto out;
    PRLE_TRY_OUT(prle_yaml_load(path, &was));
    PRLE_TRY_OUT(prle_yaml_parse("options", config, strlen(config), &now));
    PRLE_TRY_OUT(config_compare(path, prle_yaml_get(prle_yaml_root(was), "train"), prle_yaml_get(prle_yaml_root(now), "train")));
out:
    prle_yaml_destroy(was);
    prle_yaml_destroy(now);
    prle_free(path);
    return st;
}
