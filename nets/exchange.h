/* exchange.h - weights from and for other programs: tensors of a foreign file matched by name to a network's, loaded, written. */
#pragma once
#include "core/archive.h"
#include "nets/model.h"
#include "nets/naming.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum prle_import_state {
    PRLE_IMPORT_LOADED,     /* as it is */
    PRLE_IMPORT_CONVERTED,  /* from another element type or shape, as `how` says */
    PRLE_IMPORT_NEW_HEAD,   /* the file's last layer is for another number of classes: keeps its initial values */
    PRLE_IMPORT_CONSTANT,   /* follows from the network (prle_constant); loading makes sure that the file has the same */
    PRLE_IMPORT_MISSING,    /* not in the file: keeps its initial values */
    PRLE_IMPORT_UNFIT,      /* in the file with a shape or type that nothing converts */
    PRLE_IMPORT_UNEXPECTED, /* in the file beside the network's, and of no use */
    PRLE_IMPORT_STATES,
} prle_import_state;

const char *prle_import_state_name(prle_import_state state); /* "loaded", ..., "new head", ... */

/** What becomes of one tensor of the network (in its order) or of the file (unexpected ones, behind them). */
typedef struct prle_import_row {
    prle_import_state state;
    int segment;    /* of the graph; -1: a constant, or unexpected */
    int constant;   /* of the graph; -1: none */
    int64_t tensor; /* of the archive; -1: missing */
    char how[96];   /* "from bf16", "[728,728] as [728,728,1,1]", "copied to 4 groups, divided by 4"; "" */
} prle_import_row;

typedef struct prle_import {
    const prle_naming *naming; /* the names that the file has */
    char *prefix;              /* what stands before each of them: "state_dict.module." */
    prle_import_row *row;      /* [n] counters (num_batches_tracked) that the file lacks have none: older files do */
    int64_t n, count[PRLE_IMPORT_STATES];
    int64_t n_outside; /* tensors of the file without the prefix: an optimiser's, another model's */
    int64_t classes;   /* rows of the file's last layer; 0: it has none */
} prle_import;

/**
 * Finds out which naming and which prefix give the file most of the network's tensors, and pairs them. Reads no values, so that
 * the answer can be shown first. PRLE_EFORMAT when the file has fewer than half of the network's tensors; names another that
 * fits.
 */
PRLE_NODISCARD prle_status prle_import_match(prle_import **out, const prle_archive *archive, const prle_graph *graph);
void prle_import_destroy(prle_import *import); /* NULL is fine */

/**
 * Whether what was found may be used: nothing unfit; strict: nothing missing or unexpected either (a head for another number of
 * classes may be). PRLE_EFORMAT says what is wrong.
 */
PRLE_NODISCARD prle_status prle_import_check(const prle_import *import, const prle_archive *archive, const prle_graph *graph,
                                             bool strict);

/**
 * Values into a model of the graph that was matched, converted to its dtype; the model is part old, part new on failure.
 * PRLE_EFORMAT also where a constant of the file is another: its network computes something else.
 */
PRLE_NODISCARD prle_status prle_import_load(prle_model *model, const prle_import *import, const prle_archive *archive);

/** The network of ours whose names fit the file best, NULL when none fits by half; n_found of n its tensors. */
PRLE_NODISCARD prle_status prle_import_guess(const char **net, int64_t *n_found, int64_t *n, const prle_archive *archive);

/** All tensors of a model, constants too, as safetensors. metadata: as for prle_safetensors_write. */
PRLE_NODISCARD prle_status prle_model_export(const prle_model *model, const char *path, const prle_naming *naming,
                                             const char *const *metadata);

#ifdef __cplusplus
}
#endif
