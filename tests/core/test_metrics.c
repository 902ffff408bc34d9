/* test_metrics.c - metrics against brute force over pairs, against scikit-learn 1.2.1, and on sets that have none. */
#include <math.h>
#include <time.h>

#include "core/alloc.h"
#include "core/metrics.h"
#include "core/rng.h"
#include "tests/check.h"

enum { N_BIG = 6000 };

#define assert_near(a, b, tol) assert_true(fabs((a) - (b)) <= (tol))

/* Twelve samples with ties between the classes; the figures are scikit-learn's roc_auc_score, average_precision_score, roc_curve
 * (the EER by brentq on interp1d of it). */
static const double small_score[12] = {.9, .8, .8, .7, .6, .6, .6, .5, .4, .3, .3, .1};
static const uint8_t small_label[12] = {1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 0, 0};

static void small_fill(prle_score scores[12])
{
    for (int i = 0; i < 12; i++)
        scores[i] = (prle_score){.score = small_score[(i * 5) % 12], .label = small_label[(i * 5) % 12], .video = (uint32_t)i};
}

/* 6,000 samples by a formula scikit-learn was given too; multiples of 2^-13, so that there are ties and no rounding. */
static void big_fill(prle_score scores[N_BIG])
{
    for (uint32_t i = 0; i < N_BIG; i++) {
        uint32_t h = i * 2654435761u;
        h = (h ^ h >> 15) * 2246822519u;
        const uint32_t label = (h >> 7) % 3 == 0;
        scores[i] = (prle_score){.score = ((h >> 20) + 1800 * label) / 8192.0,
                                 .label = (uint8_t)label,
                                 .video = i / 10,
                                 .identity = i / 100,
                                 .method = (uint16_t)(i % 5)};
    }
}

static void random_fill(prle_score *scores, int64_t n, uint64_t seed, uint32_t n_levels)
{
    prle_rng rng = prle_rng_make(seed, 0, 0, PRLE_RNG_TEST);

    for (int64_t i = 0; i < n; i++)
        scores[i] = (prle_score){.score = prle_rng_below(&rng, n_levels) - 3.0,
                                 .label = prle_rng_below(&rng, 2) == 1,
                                 .video = prle_rng_below(&rng, 8),
                                 .identity = prle_rng_below(&rng, 5)};
}

static double auc_brute(const prle_score *scores, int64_t n)
{
    double wins = 0, pairs = 0;

    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            if (scores[i].label != 1 || scores[j].label != 0)
                continue;
            pairs++;
            wins += scores[i].score > scores[j].score ? 1 : scores[i].score == scores[j].score ? 0.5 : 0;
        }
    return pairs > 0 ? wins / pairs : (double)NAN;
}

/* Precision at each fake, averaged: the same number as the sum over thresholds. */
static double ap_brute(const prle_score *scores, int64_t n)
{
    double sum = 0, n_fake = 0;

    for (int64_t i = 0; i < n; i++) {
        double above = 0, above_fake = 0;
        if (scores[i].label != 1)
            continue;
        n_fake++;
        for (int64_t j = 0; j < n; j++) {
            above += scores[j].score >= scores[i].score;
            above_fake += scores[j].score >= scores[i].score && scores[j].label == 1;
        }
        sum += above_fake / above;
    }
    return sum / n_fake;
}

/* Shares called fake at a threshold. */
static void rates(double *fpr, double *tpr, const prle_score *scores, int64_t n, double threshold)
{
    double called[2] = {0}, all[2] = {0};

    for (int64_t i = 0; i < n; i++) {
        all[scores[i].label]++;
        called[scores[i].label] += scores[i].score >= threshold;
    }
    *fpr = called[0] / all[0];
    *tpr = called[1] / all[1];
}

static void test_against_sklearn(void **state)
{
    (void)state;
    prle_score small[12], *big = NULL;
    prle_metrics m;

    small_fill(small);
    assert_ok(prle_metrics_compute(&m, small, 12, 0.5));
    assert_int_equal(m.n_real, 6);
    assert_int_equal(m.n_fake, 6);
    assert_near(m.value[PRLE_METRIC_ACC], 0.66666666666666663, 1e-15);
    assert_near(m.value[PRLE_METRIC_AUC], 0.79166666666666674, 1e-15);
    assert_near(m.value[PRLE_METRIC_AP], 0.75198412698412698, 1e-15);
    assert_near(m.value[PRLE_METRIC_EER], 0.27777777777777773, 1e-15);
    assert_true(isnan(m.value[PRLE_METRIC_TPR_FPR_1E2]) && isnan(m.value[PRLE_METRIC_TPR_FPR_1E3]));

    assert_ok(PRLE_NEW(big, N_BIG));
    big_fill(big);
    assert_ok(prle_metrics_compute(&m, big, N_BIG, 0.5));
    assert_int_equal(m.n_real, 3983);
    assert_near(m.value[PRLE_METRIC_ACC], 0.81299999999999994, 1e-15);
    assert_near(m.value[PRLE_METRIC_AUC], 0.84479395636711352, 1e-14);
    assert_near(m.value[PRLE_METRIC_AP], 0.78328197748573669, 1e-13);
    assert_near(m.value[PRLE_METRIC_EER], 0.27367377293009421, 1e-14);
    assert_near(m.value[PRLE_METRIC_TPR_FPR_1E2], 0.44918195339613287, 1e-15);
    assert_near(m.value[PRLE_METRIC_TPR_FPR_1E3], 0.44372830937035201, 1e-15);
    prle_free(big);
}

static void test_against_brute_force(void **state)
{
    (void)state;
    prle_score scores[60];
    prle_metrics m;

    for (uint64_t seed = 0; seed < 200; seed++) {
        const int64_t n = 2 + (int64_t)(seed % 59);
        random_fill(scores, n, seed, 1 + (uint32_t)seed % 40);
        assert_ok(prle_metrics_compute(&m, scores, n, 0.0));
        const double auc = auc_brute(scores, n);
        assert_int_equal(isnan(auc), isnan(m.value[PRLE_METRIC_AUC]));
        if (isnan(auc))
            continue;
        assert_near(m.value[PRLE_METRIC_AUC], auc, 1e-14);
        assert_near(m.value[PRLE_METRIC_AP], ap_brute(scores, n), 1e-14);
    }
}

/* Perfect, reversed and constant scores have known values; changing the sign of every score exchanges auc and 1 - auc. */
static void test_closed_forms(void **state)
{
    (void)state;
    prle_score scores[40];
    prle_metrics m;

    for (int i = 0; i < 40; i++)
        scores[i] = (prle_score){.score = i, .label = i >= 30};
    assert_ok(prle_metrics_compute(&m, scores, 40, 30));
    assert_true(m.value[PRLE_METRIC_AUC] == 1 && m.value[PRLE_METRIC_AP] == 1 && m.value[PRLE_METRIC_EER] == 0);
    assert_true(m.value[PRLE_METRIC_ACC] == 1);
    for (int i = 0; i < 40; i++)
        scores[i].score = -i;
    assert_ok(prle_metrics_compute(&m, scores, 40, -29.5));
    assert_true(m.value[PRLE_METRIC_AUC] == 0 && m.value[PRLE_METRIC_EER] == 1 && m.value[PRLE_METRIC_ACC] == 0);
    for (int i = 0; i < 40; i++)
        scores[i].score = i % 2 ? 0.0 : -0.0;
    assert_ok(prle_metrics_compute(&m, scores, 40, 0));
    assert_true(m.value[PRLE_METRIC_AUC] == 0.5 && m.value[PRLE_METRIC_AP] == 0.25 && m.value[PRLE_METRIC_EER] == 0.5);
    assert_true(m.value[PRLE_METRIC_ACC] == 0.25);
}

static void test_sets_without_metrics(void **state)
{
    (void)state;
    prle_score scores[12];
    prle_metrics m;
    char text[16];

    assert_ok(prle_metrics_compute(&m, NULL, 0, 0.5));
    for (int k = 0; k < PRLE_METRIC_COUNT; k++)
        assert_true(isnan(m.value[k]));
    small_fill(scores);
    for (uint8_t label = 0; label < 2; label++) {
        for (int i = 0; i < 12; i++)
            scores[i].label = label;
        assert_ok(prle_metrics_compute(&m, scores, 12, 0.5));
        assert_near(m.value[PRLE_METRIC_ACC], label ? 8 / 12.0 : 4 / 12.0, 1e-15);
        for (int k = PRLE_METRIC_AUC; k < PRLE_METRIC_COUNT; k++)
            assert_true(isnan(m.value[k]));
    }
    assert_string_equal(prle_metric_print(m.value[PRLE_METRIC_AUC], text), "n/a");
    assert_string_equal(prle_metric_print(0.98765, text), "0.9877");
    assert_string_equal(prle_metric_name(PRLE_METRIC_TPR_FPR_1E3), "tpr_fpr_1e-3");
}

/* TPR at FPR appears with the 100th and the 1,000th real. */
static void test_enough_reals(void **state)
{
    (void)state;
    prle_score *scores = NULL;
    prle_metrics m;

    assert_ok(PRLE_NEW(scores, 1001));
    for (int i = 0; i <= 1000; i++)
        scores[i] = (prle_score){.score = i, .label = i == 995};
    /* the fake first, so that prefixes hold it */
    scores[995] = scores[0];
    scores[0] = (prle_score){.score = 995, .label = 1};
    assert_ok(prle_metrics_compute(&m, scores, 100, 0.5));
    assert_true(isnan(m.value[PRLE_METRIC_TPR_FPR_1E2]));
    assert_ok(prle_metrics_compute(&m, scores, 101, 0.5));
    assert_true(m.value[PRLE_METRIC_TPR_FPR_1E2] == 1 && isnan(m.value[PRLE_METRIC_TPR_FPR_1E3]));
    assert_ok(prle_metrics_compute(&m, scores, 1001, 0.5));
    /* five of the 1,000 reals score higher */
    assert_true(m.value[PRLE_METRIC_TPR_FPR_1E2] == 1 && m.value[PRLE_METRIC_TPR_FPR_1E3] == 0);
    prle_free(scores);
}

static void test_bad_input(void **state)
{
    (void)state;
    prle_score scores[12], *out = NULL;
    prle_metrics m = {.n_real = 77};
    prle_intervals intervals = {.n_groups = 77};
    double threshold = 77;
    int64_t n_out = 77;
    const int64_t live = prle_alloc_live();

    small_fill(scores);
    assert_fails(prle_metrics_compute(&m, scores, 12, (double)NAN), PRLE_EINVAL, "threshold");
    assert_fails(prle_metrics_bootstrap(&intervals, scores, 12, 0.5, 0, 1), PRLE_EINVAL, "replicate");
    assert_fails(prle_threshold_at_fpr(&threshold, scores, 12, 1.0), PRLE_EINVAL, "fpr 1");
    assert_fails(prle_threshold_at_fpr(&threshold, scores, 12, 0.01), PRLE_EINVAL, "at least 100");
    scores[5].label = 2;
    assert_fails(prle_metrics_compute(&m, scores, 12, 0.5), PRLE_EINVAL, "label 5 of 12 is 2");
    scores[5].label = 1;
    const double bad[] = {(double)NAN, HUGE_VAL, -HUGE_VAL};
    for (int i = 0; i < 3; i++) {
        scores[7].score = bad[i];
        assert_fails(prle_metrics_compute(&m, scores, 12, 0.5), PRLE_ENUMERIC, "score 7 of 12");
        assert_fails(prle_metrics_bootstrap(&intervals, scores, 12, 0.5, 10, 1), PRLE_ENUMERIC, "score 7 of 12");
        assert_fails(prle_threshold_at_eer(&threshold, scores, 12), PRLE_ENUMERIC, "score 7 of 12");
        assert_fails(prle_scores_by_video(&out, &n_out, scores, 12), PRLE_ENUMERIC, "score 7 of 12");
        assert_fails(prle_scores_of_methods(&out, &n_out, scores, 12, NULL, 0), PRLE_ENUMERIC, "score 7 of 12");
    }
    scores[7].score = 0;
    for (int i = 0; i < 12; i++)
        scores[i].label = 1;
    assert_fails(prle_threshold_at_eer(&threshold, scores, 12), PRLE_EINVAL, "0 reals and 12 fakes");
    assert_fails(prle_threshold_at_eer(&threshold, NULL, 0), PRLE_EINVAL, "0 reals and 0 fakes");
    assert_true(m.n_real == 77 && intervals.n_groups == 77 && threshold == 77 && n_out == 77 && out == NULL);
    assert_int_equal(prle_alloc_live(), live);
}

static void test_thresholds(void **state)
{
    (void)state;
    prle_score small[12], *big = NULL;
    double threshold, fpr, tpr;

    small_fill(small);
    assert_ok(prle_threshold_at_eer(&threshold, small, 12));
    assert_near(threshold, 0.55, 1e-15); /* fpr 2/6, tpr 5/6: halfway between .6 and .5 */
    assert_ok(prle_threshold_at_fpr(&threshold, small, 12, 0.2));
    assert_near(threshold, 0.65, 1e-15);

    assert_ok(PRLE_NEW(big, N_BIG));
    big_fill(big);
    assert_ok(prle_threshold_at_eer(&threshold, big, N_BIG));
    assert_near(threshold, (0.356689453125 + 0.3565673828125) / 2, 1e-4);
    rates(&fpr, &tpr, big, N_BIG, threshold);
    assert_near(fpr, 0.27366306803916646, 1e-15); /* scikit-learn's roc_curve where |fpr - fnr| is least */
    assert_near(tpr, 0.7263262270699058, 1e-15);
    assert_ok(prle_threshold_at_fpr(&threshold, big, N_BIG, 1e-2));
    rates(&fpr, &tpr, big, N_BIG, threshold);
    assert_true(fpr <= 1e-2);
    assert_near(tpr, 0.44918195339613287, 1e-15);
    prle_free(big);

    /* the highest score is a tie of reals, more of them than allowed: nothing may be called fake */
    for (int i = 0; i < 12; i++)
        small[i] = (prle_score){.score = i < 6 ? 1.0 : 0.0, .label = i % 6 == 0};
    assert_ok(prle_threshold_at_fpr(&threshold, small, 12, 0.3));
    rates(&fpr, &tpr, small, 12, threshold);
    assert_true(fpr == 0 && tpr == 0 && threshold > 1);
}

static void test_by_video(void **state)
{
    (void)state;
    prle_score frames[7] = {
        {.score = 0.1, .video = 9, .label = 1, .method = 2, .identity = 4},
        {.score = 0.5, .video = 3},
        {.score = 0.2, .video = 9, .label = 1, .method = 2, .identity = 4},
        {.score = 0.7, .video = 3},
        {.score = 0.6, .video = 9, .label = 1, .method = 2, .identity = 4},
        {.score = 0.9, .video = 3},
        {.score = 1.0, .video = UINT32_MAX, .label = 1},
    };
    prle_score *videos = NULL;
    int64_t n = 0;

    assert_ok(prle_scores_by_video(&videos, &n, frames, 7));
    assert_int_equal(n, 3);
    assert_int_equal(videos[0].video, 3);
    assert_near(videos[0].score, 0.7, 1e-15);
    assert_int_equal(videos[1].video, 9);
    assert_near(videos[1].score, 0.3, 1e-15);
    assert_true(videos[1].label == 1 && videos[1].method == 2 && videos[1].identity == 4);
    assert_true(videos[2].video == UINT32_MAX && videos[2].score == 1.0);
    prle_free(videos);
    videos = NULL;
    frames[2].label = 0;
    assert_fails(prle_scores_by_video(&videos, &n, frames, 7), PRLE_EINVAL, "video 9: samples 0 and 2");
    assert_null(videos);
    assert_ok(prle_scores_by_video(&videos, &n, NULL, 0));
    assert_int_equal(n, 0);
    assert_null(videos);
}

static void test_of_methods(void **state)
{
    (void)state;
    const uint16_t methods[] = {3, 1};
    prle_score *big = NULL, *chosen = NULL;
    int64_t n = 0, expected = 0, n_real = 0;

    assert_ok(PRLE_NEW(big, N_BIG));
    big_fill(big);
    for (int i = 0; i < N_BIG; i++) {
        expected += big[i].label == 0 || big[i].method == 3 || big[i].method == 1;
        n_real += big[i].label == 0;
    }
    assert_ok(prle_scores_of_methods(&chosen, &n, big, N_BIG, methods, 2));
    assert_int_equal(n, expected);
    for (int64_t i = 0; i < n; i++)
        assert_true(chosen[i].label == 0 || chosen[i].method == 3 || chosen[i].method == 1);
    prle_free(chosen);
    assert_ok(prle_scores_of_methods(&chosen, &n, big, N_BIG, NULL, 0));
    assert_int_equal(n, n_real);
    prle_free(chosen);
    prle_free(big);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Replicates made by really copying samples, from the same draws. 41 of them: the percentiles fall on the 2nd and 40th. */
static void test_bootstrap_by_copies(void **state)
{
    (void)state;
    enum { N = 60, REPLICATES = 41, SEED = 5 };
    prle_score scores[N], *copy = NULL;
    prle_intervals intervals;
    prle_metrics m;
    double auc[REPLICATES], eer[REPLICATES];

    random_fill(scores, N, 77, 30);
    for (int i = 0; i < N; i++)
        scores[i].identity = scores[i].identity * 10 + 4; /* ids need not be dense */
    assert_ok(prle_metrics_bootstrap(&intervals, scores, N, 10, REPLICATES, SEED));
    assert_int_equal(intervals.n_groups, 5);
    assert_true(intervals.by_identity);
    assert_ok(PRLE_NEW(copy, 5 * N));
    for (int r = 0; r < REPLICATES; r++) {
        prle_rng rng = prle_rng_make(SEED, 0, (uint64_t)r, PRLE_RNG_BOOTSTRAP);
        int64_t n = 0;
        for (int g = 0; g < 5; g++) {
            const uint32_t identity = prle_rng_below(&rng, 5) * 10 + 4;
            for (int i = 0; i < N; i++)
                if (scores[i].identity == identity)
                    copy[n++] = scores[i];
        }
        assert_ok(prle_metrics_compute(&m, copy, n, 10));
        auc[r] = m.value[PRLE_METRIC_AUC];
        eer[r] = m.value[PRLE_METRIC_EER];
    }
    qsort(auc, REPLICATES, sizeof *auc, by_value);
    qsort(eer, REPLICATES, sizeof *eer, by_value);
    assert_near(intervals.lo[PRLE_METRIC_AUC], auc[1], 1e-14);
    assert_near(intervals.hi[PRLE_METRIC_AUC], auc[39], 1e-14);
    assert_near(intervals.lo[PRLE_METRIC_EER], eer[1], 1e-14);
    assert_near(intervals.hi[PRLE_METRIC_EER], eer[39], 1e-14);
    assert_true(isnan(intervals.lo[PRLE_METRIC_TPR_FPR_1E2]) && isnan(intervals.hi[PRLE_METRIC_TPR_FPR_1E3]));
    prle_free(copy);
}

static void test_bootstrap_properties(void **state)
{
    (void)state;
    prle_score *big = NULL;
    prle_intervals forward, backward, other, videos;
    prle_metrics m;

    assert_ok(PRLE_NEW(big, N_BIG));
    big_fill(big);
    assert_ok(prle_metrics_compute(&m, big, N_BIG, 0.5));
    assert_ok(prle_metrics_bootstrap(&forward, big, N_BIG, 0.5, 200, 1));
    for (int k = 0; k < PRLE_METRIC_COUNT; k++)
        assert_true(forward.lo[k] <= m.value[k] && m.value[k] <= forward.hi[k] && forward.hi[k] - forward.lo[k] < 0.1);
    for (int i = 0; i < N_BIG / 2; i++) {
        const prle_score swap = big[i];
        big[i] = big[N_BIG - 1 - i];
        big[N_BIG - 1 - i] = swap;
    }
    assert_ok(prle_metrics_bootstrap(&backward, big, N_BIG, 0.5, 200, 1));
    assert_ok(prle_metrics_bootstrap(&other, big, N_BIG, 0.5, 200, 2));
    for (int k = 0; k < PRLE_METRIC_COUNT; k++)
        assert_true(forward.lo[k] == backward.lo[k] && forward.hi[k] == backward.hi[k]);
    assert_true(forward.lo[PRLE_METRIC_AUC] != other.lo[PRLE_METRIC_AUC]);
    big[17].identity = PRLE_IDENTITY_NONE;
    assert_ok(prle_metrics_bootstrap(&videos, big, N_BIG, 0.5, 20, 1));
    assert_true(!videos.by_identity && videos.n_groups == N_BIG / 10);
    for (int i = 0; i < N_BIG; i++)
        big[i].identity = 3;
    assert_ok(prle_metrics_bootstrap(&other, big, N_BIG, 0.5, 20, 1));
    assert_true(other.n_groups == 1 && isnan(other.lo[PRLE_METRIC_AUC]) && isnan(other.hi[PRLE_METRIC_ACC]));
    assert_ok(prle_metrics_bootstrap(&other, NULL, 0, 0.5, 20, 1));
    assert_true(other.n_groups == 0 && isnan(other.lo[PRLE_METRIC_ACC]));
    prle_free(big);
}

/* Of the same draws, the difference of the metrics of really copied samples. */
static void test_bootstrap_difference(void **state)
{
    (void)state;
    enum { N = 60, REPLICATES = 41, SEED = 5 };
    prle_score a[N], b[N], *copy_a = NULL, *copy_b = NULL;
    prle_intervals intervals, swapped;
    prle_metrics of_a, of_b;
    double auc[REPLICATES], acc[REPLICATES];

    random_fill(a, N, 77, 30);
    memcpy(b, a, sizeof b);
    for (int i = 0; i < N; i++)
        b[i].score = (i * 7) % 30 + 6 * b[i].label;
    assert_ok(prle_metrics_bootstrap_difference(&intervals, a, 10, b, 12, N, REPLICATES, SEED));
    assert_true(intervals.by_identity && intervals.n_groups == 5);
    assert_ok(PRLE_NEW(copy_a, 5 * N));
    assert_ok(PRLE_NEW(copy_b, 5 * N));
    for (int r = 0; r < REPLICATES; r++) {
        prle_rng rng = prle_rng_make(SEED, 0, (uint64_t)r, PRLE_RNG_BOOTSTRAP);
        int64_t n = 0;
        for (int g = 0; g < 5; g++) {
            const uint32_t identity = prle_rng_below(&rng, 5);
            for (int i = 0; i < N; i++)
                if (a[i].identity == identity) {
                    copy_a[n] = a[i];
                    copy_b[n++] = b[i];
                }
        }
        assert_ok(prle_metrics_compute(&of_a, copy_a, n, 10));
        assert_ok(prle_metrics_compute(&of_b, copy_b, n, 12));
        auc[r] = of_b.value[PRLE_METRIC_AUC] - of_a.value[PRLE_METRIC_AUC];
        acc[r] = of_b.value[PRLE_METRIC_ACC] - of_a.value[PRLE_METRIC_ACC];
    }
    qsort(auc, REPLICATES, sizeof *auc, by_value);
    qsort(acc, REPLICATES, sizeof *acc, by_value);
    assert_near(intervals.lo[PRLE_METRIC_AUC], auc[1], 1e-14);
    assert_near(intervals.hi[PRLE_METRIC_AUC], auc[39], 1e-14);
    assert_near(intervals.lo[PRLE_METRIC_ACC], acc[1], 1e-14);
    assert_near(intervals.hi[PRLE_METRIC_ACC], acc[39], 1e-14);
    assert_true(isnan(intervals.lo[PRLE_METRIC_TPR_FPR_1E2])); /* too few reals */
    assert_ok(prle_metrics_bootstrap_difference(&swapped, b, 12, a, 10, N, REPLICATES, SEED));
    assert_near(swapped.lo[PRLE_METRIC_AUC], -intervals.hi[PRLE_METRIC_AUC], 1e-14);
    b[N - 1].identity++;
    assert_fails(prle_metrics_bootstrap_difference(&intervals, a, 10, b, 10, N, 9, 1), PRLE_EINVAL, "sample 59 of 60");
    prle_free(copy_a);
    prle_free(copy_b);
}

static void test_allocations_fail(void **state)
{
    (void)state;
    prle_score scores[12];
    prle_score *out = NULL;
    prle_metrics m;
    prle_intervals intervals;
    double threshold;
    int64_t n;
    const int64_t live = prle_alloc_live();

    small_fill(scores);
    for (int nth = 1; nth <= 4; nth++) {
        prle_alloc_fail_at(nth);
        assert_fails(prle_metrics_bootstrap(&intervals, scores, 12, 0.5, 10, 1), PRLE_ENOMEM, "out of memory");
        assert_int_equal(prle_alloc_live(), live);
    }
    for (int nth = 1; nth <= 8; nth++) {
        prle_alloc_fail_at(nth);
        assert_fails(prle_metrics_bootstrap_difference(&intervals, scores, 0.5, scores, 0.5, 12, 10, 1), PRLE_ENOMEM,
                     "out of memory");
        assert_int_equal(prle_alloc_live(), live);
    }
    for (int nth = 1; nth <= 2; nth++) {
        prle_alloc_fail_at(nth);
        assert_fails(prle_scores_by_video(&out, &n, scores, 12), PRLE_ENOMEM, "out of memory");
        assert_int_equal(prle_alloc_live(), live);
    }
    prle_alloc_fail_at(1);
    assert_fails(prle_metrics_compute(&m, scores, 12, 0.5), PRLE_ENOMEM, "out of memory");
    prle_alloc_fail_at(1);
    assert_fails(prle_scores_of_methods(&out, &n, scores, 12, NULL, 0), PRLE_ENOMEM, "out of memory");
    prle_alloc_fail_at(1);
    assert_fails(prle_threshold_at_eer(&threshold, scores, 12), PRLE_ENOMEM, "out of memory");
    prle_alloc_fail_at(0);
}

/* 160,000 samples: the size of a c23 test set. The limit is for sanitizers on a busy machine; release builds take 30 ms. */
static void test_large_set(void **state)
{
    (void)state;
    enum { N = 160000 };
    prle_score *scores = NULL;
    prle_metrics m;
    struct timespec begin, end;

    assert_ok(PRLE_NEW(scores, N));
    random_fill(scores, N, 3, 1u << 31);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    assert_ok(prle_metrics_compute(&m, scores, N, 0.5));
    clock_gettime(CLOCK_MONOTONIC, &end);
    const double ms = 1e3 * (double)(end.tv_sec - begin.tv_sec) + 1e-6 * (double)(end.tv_nsec - begin.tv_nsec);
    print_message("160000 samples in %.1f ms\n", ms);
    assert_near(m.value[PRLE_METRIC_AUC], 0.5, 0.01);
    assert_true(ms < 2000);
    prle_free(scores);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_sklearn),      cmocka_unit_test(test_against_brute_force),
        cmocka_unit_test(test_closed_forms),         cmocka_unit_test(test_sets_without_metrics),
        cmocka_unit_test(test_enough_reals),         cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_thresholds),           cmocka_unit_test(test_by_video),
        cmocka_unit_test(test_of_methods),           cmocka_unit_test(test_bootstrap_by_copies),
        cmocka_unit_test(test_bootstrap_properties), cmocka_unit_test(test_bootstrap_difference),
        cmocka_unit_test(test_allocations_fail),     cmocka_unit_test(test_large_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
