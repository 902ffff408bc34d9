/* metrics.h - how good a detector's scores are: ACC, AUC, AP, EER, TPR at FPR, thresholds, intervals by bootstrap. */
#pragma once
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PRLE_IDENTITY_NONE UINT32_MAX

/** One scored sample: a frame, or a video after prle_scores_by_video. */
typedef struct prle_score {
    double score;      /* finite; higher means more likely fake; a probability where ACC at 0.5 is wanted */
    uint32_t video;    /* id of dataset/method/compression/video */
    uint32_t identity; /* who is seen; PRLE_IDENTITY_NONE when unknown */
    uint16_t method;   /* how it was forged; not looked at for reals */
    uint8_t label;     /* 1 fake, 0 real */
} prle_score;

typedef enum prle_metric {
    PRLE_METRIC_ACC,         /* share of samples on their side of the threshold: called fake iff score >= threshold */
    PRLE_METRIC_AUC,         /* P(fake scores above real), ties count half */
    PRLE_METRIC_AP,          /* sum over thresholds of (recall step) x precision, no interpolation; tied scores are one step */
    PRLE_METRIC_EER,         /* where FPR = FNR on the ROC joined by straight lines */
    PRLE_METRIC_TPR_FPR_1E2, /* highest TPR of a threshold with FPR <= 1e-2; needs 100 reals */
    PRLE_METRIC_TPR_FPR_1E3, /* the same at 1e-3; needs 1,000 reals */
    PRLE_METRIC_COUNT,
} prle_metric;

/**
 * A metric that does not exist for its set is NaN, which prle_metric_print shows as "n/a": all of them for an empty set,
 * all but ACC where one class is missing, TPR at FPR with too few reals.
 */
typedef struct prle_metrics {
    int64_t n_real, n_fake;
    double value[PRLE_METRIC_COUNT]; /* in [0,1], or NaN = n/a */
} prle_metrics;

/** 95 % percentile intervals. lo and hi are NaN (n/a) where the metric is, and all of them with fewer than two groups. */
typedef struct prle_intervals {
    int64_t n_groups;
    bool by_identity; /* false: some sample has no identity, and videos were resampled */
    double lo[PRLE_METRIC_COUNT], hi[PRLE_METRIC_COUNT];
} prle_intervals;

/** "acc", "auc", "ap", "eer", "tpr_fpr_1e-2", "tpr_fpr_1e-3": column names of tables, keys of logs. Static storage. */
const char *prle_metric_name(prle_metric metric);

/** "0.9312", or "n/a" for NaN, into text; returns text. */
const char *prle_metric_print(double value, char text[16]);

/* All functions below: scores [n] is borrowed and left as it is, n = 0 is legal unless said otherwise, O(n log n), not
 * collective, and a score that is not finite is PRLE_ENUMERIC naming its index, a label above 1 PRLE_EINVAL. */

/** Every metric of the set, each sample counted once. threshold: for ACC only, finite (PRLE_EINVAL). */
PRLE_NODISCARD prle_status prle_metrics_compute(prle_metrics *out, const prle_score *scores, int64_t n, double threshold);

/**
 * Bootstrap: groups (identities, or videos when any sample's identity is unknown) are drawn with replacement, as many as there
 * are; a sample counts as often as its own group was drawn (a fake belongs to `identity`, not to the face that was put in).
 * The interval runs from the 2.5 to the 97.5 percentile (linear between order statistics) of n_replicates >= 1 replicates;
 * replicates that lack a class are left out. Each replicate has its own stream of `seed`, and groups are numbered by id, so
 * neither the order of samples nor another call changes the draws, and two detectors scored on one set are resampled alike.
 */
PRLE_NODISCARD prle_status prle_metrics_bootstrap(prle_intervals *out, const prle_score *scores, int64_t n, double threshold,
                                                  int n_replicates, uint64_t seed);

/**
 * Intervals of metric(b) - metric(a) for two detectors' scores of the same samples, in the same order: both are resampled by the
 * same draws, so what makes an identity easy or hard for either falls out. n/a where the metric of either is. PRLE_EINVAL names
 * the first sample that differs in more than its score.
 */
PRLE_NODISCARD prle_status prle_metrics_bootstrap_difference(prle_intervals *out, const prle_score *a, double threshold_a,
                                                             const prle_score *b, double threshold_b, int64_t n, int n_replicates,
                                                             uint64_t seed);

/**
 * The threshold whose FPR and FNR are closest (of two equally close, the one with the lower FPR): halfway between the lowest
 * score it calls fake and the next one below. PRLE_EINVAL when a class is missing.
 */
PRLE_NODISCARD prle_status prle_threshold_at_eer(double *out, const prle_score *scores, int64_t n);

/** The lowest such threshold with FPR <= fpr, fpr in (0,1). PRLE_EINVAL with fewer than 1/fpr reals or without fakes. */
PRLE_NODISCARD prle_status prle_threshold_at_fpr(double *out, const prle_score *scores, int64_t n, double fpr);

/**
 * One sample per video, its score the mean of the frames' (summed in the order given), videos by ascending id.
 * *out is yours to prle_free. PRLE_EINVAL when frames of a video differ in label, method or identity.
 */
PRLE_NODISCARD prle_status prle_scores_by_video(prle_score **out, int64_t *n_out, const prle_score *scores, int64_t n);

/** All reals and the fakes of some methods, order kept. *out is yours to prle_free. */
PRLE_NODISCARD prle_status prle_scores_of_methods(prle_score **out, int64_t *n_out, const prle_score *scores, int64_t n,
                                                  const uint16_t *methods, int64_t n_methods);

#ifdef __cplusplus
}
#endif
