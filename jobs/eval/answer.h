/* answer.h - from scores to the numbers of `prle eval`: metrics by forgery and level, intervals, differences between models. */
#pragma once
#include "augment/faces.h"
#include "core/metrics.h"
#include "core/strings.h"

/** Images of one face store, those of one query. */
typedef struct prle_eval_data {
    const char *name, *path; /* a short name; the file */
    const prle_faces *faces;
    int64_t *index; /* [n] ascending */
    int64_t n;
} prle_eval_data;

/** What one model says of them. */
typedef struct prle_eval_set {
    const char *model, *model_path;
    const prle_eval_data *data;
    double alpha;     /* share of its region that was hidden in each image; NaN: no masks */
    double threshold; /* of ACC */
    double *scores;   /* [data->n] P(fake) */
} prle_eval_set;

/** Forgeries that are asked about together: "seen", "unseen". */
typedef struct prle_eval_group {
    char *name;
    prle_strings methods;
} prle_eval_group;

/** The sets stand model by model, each model with the same data and alphas in the same order. */
typedef struct prle_eval_question {
    prle_eval_set *set;
    int64_t n_sets, n_models;
    prle_eval_group *group;
    int64_t n_groups;
    int n_replicates; /* of the bootstrap; 0: no intervals */
    uint64_t seed;
} prle_eval_question;

/** Which fakes a row is about, against all reals. */
typedef enum prle_eval_kind {
    PRLE_EVAL_ALL,
    PRLE_EVAL_GROUP,
    PRLE_EVAL_METHOD,
} prle_eval_kind;

typedef struct prle_eval_row {
    const prle_eval_set *set;
    prle_eval_kind kind;
    const char *fakes; /* "all", a group or a method */
    bool by_video;     /* a sample is a video, its score the mean of its frames'; else a frame */
    prle_metrics metrics;
    prle_intervals interval;
    double mean_score[2];                 /* of reals, of fakes; NaN: there are none */
    const prle_eval_set *base;            /* the first model's set of the same data and alpha; NULL for the first model itself */
    double difference[PRLE_METRIC_COUNT]; /* to base */
    prle_intervals difference_interval;
} prle_eval_row;

/**
 * Rows set by set; in each all fakes, then each group, then each method that is there; of each frames, then videos. Identities
 * that are known for some frames of a video only hold for all of it; where they contradict each other it has none.
 *
 * rows  out  [n_rows] yours to prle_free; texts are borrowed from the question and the stores
 * PRLE_EINVAL: a method of a group is in none of the stores. Errors of core/metrics.h. Not collective.
 */
PRLE_NODISCARD prle_status prle_eval_answer(prle_eval_row **rows, int64_t *n_rows, const prle_eval_question *question);

/** Frees what the question owns: scores, groups. Data is the caller's. */
void prle_eval_question_deinit(prle_eval_question *question);
