/* metrics.c - one sort by score, then one walk down the thresholds in integers: counts are exact, so ties and orders are too. */
#include "core/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/rng.h"

#define NOT_AVAILABLE ((double)NAN)

static const char *const names[PRLE_METRIC_COUNT] = {
    [PRLE_METRIC_ACC] = "acc",
    [PRLE_METRIC_AUC] = "auc",
    [PRLE_METRIC_AP] = "ap",
    [PRLE_METRIC_EER] = "eer",
    [PRLE_METRIC_TPR_FPR_1E2] = "tpr_fpr_1e-2",
    [PRLE_METRIC_TPR_FPR_1E3] = "tpr_fpr_1e-3",
};

/* A sample as the walk needs it. */
typedef struct item {
    double score;
    uint32_t group; /* index into the weights of a replicate; 0 when there are none */
    uint32_t label;
} item;

/* A run of equal scores on the way down, and what a threshold at it calls fake. */
typedef struct step {
    int64_t end; /* index after the run's last item */
    int64_t dtp, dfp;
    int64_t tp, fp; /* the run included */
} step;

const char *prle_metric_name(prle_metric metric) { return names[metric]; }

const char *prle_metric_print(double value, char text[16])
{
    if (isnan(value))
        snprintf(text, 16, "n/a");
    else
        snprintf(text, 16, "%.4f", value);
    return text;
}

static prle_status scores_check(const prle_score *scores, int64_t n)
{
    PRLE_CHECK(n >= 0, PRLE_EINVAL, "cannot score %lld samples", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        PRLE_CHECK(isfinite(scores[i].score), PRLE_ENUMERIC, "score %lld of %lld is %g: the network's output is not finite",
                   (long long)i, (long long)n, scores[i].score);
        PRLE_CHECK(scores[i].label <= 1, PRLE_EINVAL, "label %lld of %lld is %d, not 0 (real) or 1 (fake)", (long long)i,
                   (long long)n, (int)scores[i].label);
    }
    return PRLE_OK;
}

static int by_score_down(const void *a, const void *b)
{
    const double x = ((const item *)a)->score, y = ((const item *)b)->score;

    return (x < y) - (x > y);
}

static int by_u32(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Items of checked scores, highest first. *out is the caller's to free. */
static prle_status items_sort(item **out, const prle_score *scores, int64_t n)
{
    item *items = NULL;

    PRLE_TRY(PRLE_NEW(items, n));
    for (int64_t i = 0; i < n; i++)
        items[i] = (item){.score = scores[i].score, .label = scores[i].label};
    if (n > 1)
        qsort(items, (size_t)n, sizeof *items, by_score_down);
    *out = items;
    return PRLE_OK;
}

/* Goes on from `last` (all zero before the first) to the next run. weights NULL: each item counts once. */
static step step_next(const step *last, const item *items, int64_t n, const uint32_t *weights)
{
    step next = {.end = last->end, .tp = last->tp, .fp = last->fp};
    const double score = items[last->end].score;

    for (; next.end < n && items[next.end].score == score; next.end++) {
        const int64_t weight = weights == NULL ? 1 : weights[items[next.end].group];
        if (items[next.end].label)
            next.dtp += weight;
        else
            next.dfp += weight;
    }
    next.tp += next.dtp;
    next.fp += next.dfp;
    return next;
}

static void count(int64_t *n_real, int64_t *n_fake, const item *items, int64_t n, const uint32_t *weights)
{
    *n_real = *n_fake = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t weight = weights == NULL ? 1 : weights[items[i].group];
        *(items[i].label ? n_fake : n_real) += weight;
    }
}

/* All metrics of a weighted set, without the rule on how many reals TPR at FPR needs. */
static void walk(prle_metrics *out, const item *items, int64_t n, const uint32_t *weights, double threshold)
{
    prle_metrics m = {0};
    int64_t area2 = 0, n_right = 0, tp2 = 0, tp3 = 0; /* area2: twice the area under the ROC, in counts */
    double ap = 0, eer = NOT_AVAILABLE;

    count(&m.n_real, &m.n_fake, items, n, weights);
    n_right = m.n_real;
    /* fpr - fnr in units of 1 / (n_real n_fake): from -1 at the highest threshold to +1 at the lowest */
    int64_t gap = -m.n_real * m.n_fake;
    for (step at = {0}; at.end < n;) {
        const int64_t last_tp = at.tp, last_fp = at.fp, last_gap = gap;
        const bool called_fake = items[at.end].score >= threshold;

        at = step_next(&at, items, n, weights);
        if (called_fake)
            n_right += at.dtp - at.dfp;
        area2 += at.dfp * (2 * last_tp + at.dtp);
        if (at.dtp > 0)
            ap += (double)at.dtp * ((double)at.tp / (double)(at.tp + at.fp));
        if (at.fp * 100 <= m.n_real)
            tp2 = at.tp;
        if (at.fp * 1000 <= m.n_real)
            tp3 = at.tp;
        gap = at.fp * m.n_fake + at.tp * m.n_real - m.n_real * m.n_fake;
        if (last_gap < 0 && gap >= 0) {
            const double share = (double)-last_gap / (double)(gap - last_gap);
            eer = ((double)last_fp + share * (double)at.dfp) / (double)m.n_real;
        }
    }
    for (int i = 0; i < PRLE_METRIC_COUNT; i++)
        m.value[i] = NOT_AVAILABLE;
    if (m.n_real + m.n_fake > 0)
        m.value[PRLE_METRIC_ACC] = (double)n_right / (double)(m.n_real + m.n_fake);
    if (m.n_real > 0 && m.n_fake > 0) {
        m.value[PRLE_METRIC_AUC] = (double)area2 / (2.0 * (double)m.n_real * (double)m.n_fake);
        m.value[PRLE_METRIC_AP] = ap / (double)m.n_fake;
        m.value[PRLE_METRIC_EER] = eer;
        m.value[PRLE_METRIC_TPR_FPR_1E2] = (double)tp2 / (double)m.n_fake;
        m.value[PRLE_METRIC_TPR_FPR_1E3] = (double)tp3 / (double)m.n_fake;
    }
    *out = m;
}

/* walk over the whole set, each sample once, with the rule. */
static void walk_all(prle_metrics *out, const item *items, int64_t n, double threshold)
{
    walk(out, items, n, NULL, threshold);
    if (out->n_real < 100)
        out->value[PRLE_METRIC_TPR_FPR_1E2] = NOT_AVAILABLE;
    if (out->n_real < 1000)
        out->value[PRLE_METRIC_TPR_FPR_1E3] = NOT_AVAILABLE;
}

prle_status prle_metrics_compute(prle_metrics *out, const prle_score *scores, int64_t n, double threshold)
{
    item *items = NULL;

    PRLE_CHECK(isfinite(threshold), PRLE_EINVAL, "threshold %g is not a number to compare scores with", threshold);
    PRLE_TRY(scores_check(scores, n));
    PRLE_TRY(items_sort(&items, scores, n));
    walk_all(out, items, n, threshold);
    prle_free(items);
    return PRLE_OK;
}

static uint32_t group_id(const prle_score *score, bool by_identity) { return by_identity ? score->identity : score->video; }

/* The distinct ids, ascending; room for n in ids. */
static int64_t ids_collect(uint32_t *ids, const prle_score *scores, int64_t n, bool by_identity)
{
    int64_t n_ids = 0;

    for (int64_t i = 0; i < n; i++)
        ids[i] = group_id(&scores[i], by_identity);
    if (n > 1)
        qsort(ids, (size_t)n, sizeof *ids, by_u32);
    for (int64_t i = 0; i < n; i++)
        if (i == 0 || ids[i] != ids[i - 1])
            ids[n_ids++] = ids[i];
    return n_ids;
}

static uint32_t id_find(const uint32_t *ids, int64_t n_ids, uint32_t id)
{
    const uint32_t *at = bsearch(&id, ids, (size_t)n_ids, sizeof *ids, by_u32);

    return (uint32_t)(at - ids);
}

static double percentile(const double *ascending, int64_t n, double q)
{
    const double at = q * (double)(n - 1);
    const int64_t low = (int64_t)at, high = low + 1 < n ? low + 1 : low;

    return ascending[low] + (at - (double)low) * (ascending[high] - ascending[low]);
}

/* values [n_replicates] of one metric, NaN where a replicate lacks a class. */
static void interval_of(double *lo, double *hi, double *values, int n_replicates)
{
    int64_t n = 0;

    for (int i = 0; i < n_replicates; i++)
        if (!isnan(values[i]))
            values[n++] = values[i];
    if (n == 0)
        return;
    qsort(values, (size_t)n, sizeof *values, by_value);
    *lo = percentile(values, n, 0.025);
    *hi = percentile(values, n, 0.975);
}

/* The metrics of each replicate. */
typedef struct replicates {
    int64_t n_groups;
    bool by_identity;
    double *values; /* [PRLE_METRIC_COUNT, n]; NaN where the metric is n/a for the whole set or the replicate lacks a class */
} replicates;

/* Draws and walks; items are sorted, weights [n_groups] is scratch. */
static void replicates_fill(replicates *r, const item *items, int64_t n_items, uint32_t *weights, double threshold, int n,
                            uint64_t seed)
{
    prle_metrics whole;

    walk_all(&whole, items, n_items, threshold);
    for (int i = 0; i < n && r->n_groups > 1; i++) {
        prle_rng rng = prle_rng_make(seed, 0, (uint64_t)i, PRLE_RNG_BOOTSTRAP);
        prle_metrics m;
        memset(weights, 0, (size_t)r->n_groups * sizeof *weights);
        for (int64_t g = 0; g < r->n_groups; g++)
            weights[prle_rng_below(&rng, (uint32_t)r->n_groups)]++;
        walk(&m, items, n_items, weights, threshold);
        for (int k = 0; k < PRLE_METRIC_COUNT; k++)
            r->values[(int64_t)k * n + i] = isnan(whole.value[k]) ? NOT_AVAILABLE : m.value[k];
    }
}

/* out->values is the caller's to free. */
static prle_status replicates_make(replicates *out, const prle_score *scores, int64_t n_scores, double threshold, int n,
                                   uint64_t seed)
{
    prle_status st = PRLE_OK;
    replicates r = {.by_identity = true};
    item *items = NULL;
    uint32_t *ids = NULL, *weights = NULL;

    PRLE_CHECK(isfinite(threshold), PRLE_EINVAL, "threshold %g is not a number to compare scores with", threshold);
    PRLE_CHECK(n >= 1, PRLE_EINVAL, "bootstrap needs at least 1 replicate, not %d", n);
    PRLE_TRY(scores_check(scores, n_scores));
    for (int64_t i = 0; i < n_scores; i++)
        r.by_identity &= scores[i].identity != PRLE_IDENTITY_NONE;
    PRLE_TRY_OUT(PRLE_NEW(ids, n_scores));
    r.n_groups = ids_collect(ids, scores, n_scores, r.by_identity);
    PRLE_TRY_OUT(PRLE_NEW(weights, r.n_groups));
    PRLE_TRY_OUT(PRLE_NEW(items, n_scores));
    PRLE_TRY_OUT(PRLE_NEW(r.values, (size_t)PRLE_METRIC_COUNT * (size_t)n));
    for (int64_t i = 0; i < n_scores; i++)
        items[i] = (item){scores[i].score, id_find(ids, r.n_groups, group_id(&scores[i], r.by_identity)), scores[i].label};
    if (n_scores > 1)
        qsort(items, (size_t)n_scores, sizeof *items, by_score_down);
    replicates_fill(&r, items, n_scores, weights, threshold, n, seed);
    *out = r;

out:
    prle_free(items);
    prle_free(weights);
    prle_free(ids);
    return st;
}

/* The intervals of n replicates, whose values are sorted on the way. */
static void intervals_make(prle_intervals *out, replicates *r, int n)
{
    *out = (prle_intervals){.n_groups = r->n_groups, .by_identity = r->by_identity};
    for (int k = 0; k < PRLE_METRIC_COUNT; k++) {
        out->lo[k] = out->hi[k] = NOT_AVAILABLE;
        if (r->n_groups > 1)
            interval_of(&out->lo[k], &out->hi[k], r->values + (int64_t)k * n, n);
    }
}

prle_status prle_metrics_bootstrap(prle_intervals *out, const prle_score *scores, int64_t n, double threshold, int n_replicates,
                                   uint64_t seed)
{
    replicates r;

    PRLE_TRY(replicates_make(&r, scores, n, threshold, n_replicates, seed));
    intervals_make(out, &r, n_replicates);
    prle_free(r.values);
    return PRLE_OK;
}

/* The two lists hold the same samples in the same order. */
static prle_status pairs_check(const prle_score *a, const prle_score *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        PRLE_CHECK(a[i].video == b[i].video && a[i].identity == b[i].identity && a[i].label == b[i].label, PRLE_EINVAL,
                   "sample %lld of %lld is not the same for both detectors", (long long)i, (long long)n);
    return PRLE_OK;
}

prle_status prle_metrics_bootstrap_difference(prle_intervals *out, const prle_score *a, double threshold_a, const prle_score *b,
                                              double threshold_b, int64_t n, int n_replicates, uint64_t seed)
{
    prle_status st = PRLE_OK;
    replicates of_a = {0}, of_b = {0};

    PRLE_TRY_OUT(pairs_check(a, b, n));
    PRLE_TRY_OUT(replicates_make(&of_a, a, n, threshold_a, n_replicates, seed));
    PRLE_TRY_OUT(replicates_make(&of_b, b, n, threshold_b, n_replicates, seed));
    for (int64_t i = 0; i < (int64_t)PRLE_METRIC_COUNT * n_replicates; i++)
        of_b.values[i] -= of_a.values[i];
    intervals_make(out, &of_b, n_replicates);

out:
    prle_free(of_b.values);
    prle_free(of_a.values);
    return st;
}

/* A threshold that calls fake exactly items[0 ... end-1]. */
static double threshold_after(const item *items, int64_t n, int64_t end)
{
    if (end == 0)
        return nextafter(items[0].score, HUGE_VAL);
    if (end == n)
        return items[n - 1].score;
    const double high = items[end - 1].score, low = items[end].score, middle = low / 2 + high / 2;
    return middle > low ? middle : high;
}

/* What a choice of threshold needs: checked scores of both classes. */
static prle_status classes_check(const prle_score *scores, int64_t n, int64_t *n_real, int64_t *n_fake)
{
    PRLE_TRY(scores_check(scores, n));
    *n_real = *n_fake = 0;
    for (int64_t i = 0; i < n; i++)
        *(scores[i].label ? n_fake : n_real) += 1;
    PRLE_CHECK(*n_real > 0 && *n_fake > 0, PRLE_EINVAL,
               "no threshold for %lld reals and %lld fakes: validation needs both classes", (long long)*n_real,
               (long long)*n_fake);
    return PRLE_OK;
}

prle_status prle_threshold_at_eer(double *out, const prle_score *scores, int64_t n)
{
    item *items = NULL;
    int64_t n_real, n_fake, best_end = 0;

    PRLE_TRY(classes_check(scores, n, &n_real, &n_fake));
    PRLE_TRY(items_sort(&items, scores, n));
    int64_t best_gap = n_real * n_fake; /* |fpr - fnr| n_real n_fake; calling nothing fake has |0 - 1| */
    for (step at = {0}; at.end < n;) {
        at = step_next(&at, items, n, NULL);
        const int64_t gap = at.fp * n_fake + at.tp * n_real - n_real * n_fake;
        if ((gap < 0 ? -gap : gap) < best_gap) {
            best_gap = gap < 0 ? -gap : gap;
            best_end = at.end;
        }
    }
    *out = threshold_after(items, n, best_end);
    prle_free(items);
    return PRLE_OK;
}

prle_status prle_threshold_at_fpr(double *out, const prle_score *scores, int64_t n, double fpr)
{
    item *items = NULL;
    int64_t n_real, n_fake, best_end = 0;

    PRLE_CHECK(fpr > 0 && fpr < 1, PRLE_EINVAL, "fpr %g is not between 0 and 1", fpr);
    PRLE_TRY(classes_check(scores, n, &n_real, &n_fake));
    const double allowed = fpr * (double)n_real * (1 + 1e-12); /* 0.01 * 2900 is a little under 29 */
    PRLE_CHECK(allowed >= 1, PRLE_EINVAL, "no threshold at fpr %g from %lld reals: at least %.0f are needed", fpr,
               (long long)n_real, ceil(1 / fpr));
    PRLE_TRY(items_sort(&items, scores, n));
    for (step at = {0}; at.end < n;) {
        at = step_next(&at, items, n, NULL);
        if ((double)at.fp <= allowed)
            best_end = at.end;
    }
    *out = threshold_after(items, n, best_end);
    prle_free(items);
    return PRLE_OK;
}

/* A frame and where it stood, to sort by video and keep the order within. */
typedef struct frame {
    int64_t index;
    uint32_t video;
} frame;

static int by_video(const void *a, const void *b)
{
    const frame *x = a, *y = b;

    if (x->video != y->video)
        return x->video > y->video ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

prle_status prle_scores_by_video(prle_score **out, int64_t *n_out, const prle_score *scores, int64_t n)
{
    prle_status st = PRLE_OK;
    frame *frames = NULL;
    prle_score *videos = NULL;
    int64_t n_videos = 0;

    PRLE_TRY(scores_check(scores, n));
    PRLE_TRY_OUT(PRLE_NEW(frames, n));
    PRLE_TRY_OUT(PRLE_NEW(videos, n));
    for (int64_t i = 0; i < n; i++)
        frames[i] = (frame){i, scores[i].video};
    if (n > 1)
        qsort(frames, (size_t)n, sizeof *frames, by_video);
    for (int64_t begin = 0, end; begin < n; begin = end) {
        prle_score video = scores[frames[begin].index];
        for (end = begin + 1; end < n && frames[end].video == video.video; end++) {
            const prle_score *next = &scores[frames[end].index];
            PRLE_CHECK_OUT(next->label == video.label && next->method == video.method && next->identity == video.identity,
                           PRLE_EINVAL, "video %u: samples %lld and %lld differ in label, method or identity", video.video,
                           (long long)frames[begin].index, (long long)frames[end].index);
            video.score += next->score;
        }
        video.score /= (double)(end - begin);
        videos[n_videos++] = video;
    }
    *out = videos;
    *n_out = n_videos;
    videos = NULL;

out:
    prle_free(videos);
    prle_free(frames);
    return st;
}

prle_status prle_scores_of_methods(prle_score **out, int64_t *n_out, const prle_score *scores, int64_t n, const uint16_t *methods,
                                   int64_t n_methods)
{
    prle_score *chosen = NULL;
    int64_t n_chosen = 0;

    PRLE_TRY(scores_check(scores, n));
    PRLE_TRY(PRLE_NEW(chosen, n));
    for (int64_t i = 0; i < n; i++) {
        bool wanted = scores[i].label == 0;
        for (int64_t m = 0; m < n_methods && !wanted; m++)
            wanted = scores[i].method == methods[m];
        if (wanted)
            chosen[n_chosen++] = scores[i];
    }
    *out = chosen;
    *n_out = n_chosen;
    return PRLE_OK;
}
