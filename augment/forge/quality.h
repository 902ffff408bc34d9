/* quality.h - can forged frames be told from real ones by statistics of the whole picture alone? They should not. */
#pragma once
#include "augment/forge/forge.h"
#include "core/image.h"

#ifdef __cplusplus
extern "C" {
#endif

/** mean R G B, log variance R G B, blockiness, slope of the spectrum, level of its finest octave */
enum { PRLE_QUALITY_FEATURES = 9 };

/** A method whose AUC is above this gives itself away. */
#define PRLE_FORGE_QUALITY_LIMIT 0.65

/**
 * Statistics of an RGB picture of 16 pixels a side at least (PRLE_ESHAPE).
 *
 * blockiness   log of the mean absolute luma step across 8 x 8 block borders over that elsewhere; 0 without JPEG traces
 * slope        of log power over log frequency, octaves weighted alike; rows and columns of the middle square of 2^k pixels, Hann
 * window finest level log share of the power from half the highest frequency on
 */
PRLE_NODISCARD prle_status prle_quality_features(double out[PRLE_QUALITY_FEATURES], const prle_image *image);

/**
 * Logistic regression by Newton's method (iteratively reweighted least squares).
 *
 * weight  out  [k + 1]: the last one is the constant
 * x       in   [n,k]
 * label   in   [n] 0 or 1
 * ridge   in   > 0: minimises sum of losses + ridge / 2 |weight without the constant|^2
 * PRLE_ENUMERIC when the equations cannot be solved, PRLE_EINVAL when a class is missing.
 */
PRLE_NODISCARD prle_status prle_logistic_fit(double *weight, const double *x, const uint8_t *label, int64_t n, int64_t k,
                                             double ridge);

typedef struct prle_forge_quality {
    int64_t n_real;
    int64_t n_fake[PRLE_FORGE_METHODS];
    double auc[PRLE_FORGE_METHODS]; /* out of fold; NaN for a method that is not there */
} prle_forge_quality;

/**
 * Reads all frames named in ROOT/landmarks.csv; for each method a regression on the standardised features, five folds by identity
 * (a person's real and forged frames lie in one fold), all splits together. PRLE_EFORMAT: a row that is no frame of ours, fewer
 * than five identities. Uses all OpenMP threads.
 */
PRLE_NODISCARD prle_status prle_forge_quality_measure(prle_forge_quality *out, const char *root);

#ifdef __cplusplus
}
#endif
