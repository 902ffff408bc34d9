/* score.h - a model's scores of the images of a face store, shared over ranks: validation, `prle eval`. */
#pragma once
#include "augment/loader.h"
#include "core/comm.h"
#include "core/progress.h"
#include "nets/model.h"

typedef struct prle_score_opts {
    prle_dtype dtype;
    int64_t batch; /* images a rank computes at a time; another number may change the last bits of scores */
    int loader_threads;
    float mean[3], std[3]; /* of the model */
    prle_mask_opts mask;   /* none, as a rule */
    const prle_maps *maps; /* for masks; NULL: none */
    uint64_t seed;
} prle_score_opts;

/** Keeps a plan between validations: planning a network and its memory take a second. */
typedef struct prle_scorer prle_scorer;

/** model, faces and opts->maps are borrowed. Not collective. */
PRLE_NODISCARD prle_status prle_scorer_create(prle_scorer **out, prle_model *model, const prle_faces *faces,
                                              const prle_score_opts *opts);
void prle_scorer_destroy(prle_scorer *scorer); /* NULL is fine */

/**
 * P(fake) of each image: the same bits for any number of ranks.
 *
 * scores    out  [n]  on every rank; prle_free it
 * index     in   [n]  images of the store; each is computed by one rank
 * progress  in        told of this rank's batches and those that the others do meanwhile; NULL: nobody
 * PRLE_ESTOP, on all ranks, once one of them is asked to stop (dist/stop.h). Collective.
 */
PRLE_NODISCARD prle_status prle_scorer_run(prle_scorer *scorer, double **scores, const int64_t *index, int64_t n, prle_comm *comm,
                                           prle_progress *progress);
