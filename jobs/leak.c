/* leak.c - see leak.h. */
#include "jobs/leak.h"

#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "core/metrics.h"

enum { GRID = 8, CELLS = GRID * GRID, MAX_IMAGES = 4000, FOLDS = 2 };

/* A map, coarsely. */
typedef struct sample {
    double share[CELLS]; /* of the cell's pixels, those in the map */
    int label, fold;
} sample;

static void sample_make(sample *s, const prle_maps *maps, const prle_faces *faces, int64_t i, const uint16_t *rank)
{
    const int64_t height = maps->info.height, width = maps->info.width;
    const bool known = faces->identity[i] != PRLE_IDENTITY_UNKNOWN;
    int64_t inside[CELLS] = {0}, all[CELLS] = {0};

    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            const int64_t cell = y * GRID / height * GRID + x * GRID / width;
            inside[cell] += rank[y * width + x] < maps->area[i];
            all[cell]++;
        }
    for (int c = 0; c < CELLS; c++)
        s->share[c] = all[c] == 0 ? 0 : (double)inside[c] / (double)all[c];
    s->label = faces->label[i];
    s->fold = (int)((known ? faces->identity[i] : faces->video[i]) % FOLDS);
}

static prle_status samples_make(sample *samples, int64_t *n_samples, const prle_maps *maps, const prle_faces *faces,
                                const int64_t *index, int64_t n)
{
    const int64_t n_taken = n < MAX_IMAGES ? n : MAX_IMAGES;
    prle_status st = PRLE_OK;
    uint16_t *rank = NULL;

    *n_samples = 0;
    PRLE_TRY(PRLE_NEW(rank, maps->info.height * maps->info.width));
    for (int64_t k = 0; k < n_taken; k++) {
        const int64_t at = k * n / n_taken, i = index == NULL ? at : index[at];

        if (!prle_maps_has(maps, i))
            continue;
        PRLE_TRY_OUT(prle_maps_read_rank(maps, i, rank));
        sample_make(&samples[(*n_samples)++], maps, faces, i, rank);
    }
out:
    prle_free(rank);
    return st;
}

/* The rule, from all folds but one; NaN where a class is missing. */
static void rule_fit(double weight[CELLS], const sample *samples, int64_t n, int left_out)
{
    const double least = 1e-3; /* variance of a cell that is always covered, or never */
    double count[2] = {0}, sum[2][CELLS] = {{0}}, square[2][CELLS] = {{0}};

    for (int64_t i = 0; i < n; i++) {
        const sample *s = &samples[i];
        if (s->fold == left_out)
            continue;
        count[s->label]++;
        for (int c = 0; c < CELLS; c++) {
            sum[s->label][c] += s->share[c];
            square[s->label][c] += s->share[c] * s->share[c];
        }
    }
    for (int c = 0; c < CELLS; c++) {
        const double real = sum[0][c] / count[0], fake = sum[1][c] / count[1];
        const double variance = square[0][c] / count[0] - real * real + square[1][c] / count[1] - fake * fake;
        weight[c] = (fake - real) / (fmax(variance, 0) + least);
    }
}

static prle_status fold_try(double *auc, const sample *samples, int64_t n, int fold, prle_score *scores)
{
    double weight[CELLS];
    prle_metrics metrics;
    int64_t n_scores = 0;

    *auc = (double)NAN;
    rule_fit(weight, samples, n, fold);
    for (int64_t i = 0; i < n; i++) {
        double score = 0;

        if (samples[i].fold != fold)
            continue;
        for (int c = 0; c < CELLS; c++)
            score += weight[c] * samples[i].share[c];
        if (!isfinite(score))
            return PRLE_OK;
        scores[n_scores++] = (prle_score){.score = score, .label = (uint8_t)samples[i].label};
    }
    PRLE_TRY(prle_metrics_compute(&metrics, scores, n_scores, 0));
    *auc = metrics.value[PRLE_METRIC_AUC];
    return PRLE_OK;
}

prle_status prle_leak_measure(double *auc, const prle_maps *maps, const prle_faces *faces, const int64_t *index, int64_t n)
{
    prle_status st = PRLE_OK;
    sample *samples = NULL;
    prle_score *scores = NULL;
    double by_fold[FOLDS];
    int64_t n_samples = 0;

    if (index == NULL)
        n = maps->info.n;
    PRLE_TRY_OUT(PRLE_NEW(samples, n < MAX_IMAGES ? n : MAX_IMAGES));
    PRLE_TRY_OUT(PRLE_NEW(scores, n < MAX_IMAGES ? n : MAX_IMAGES));
    PRLE_TRY_OUT(samples_make(samples, &n_samples, maps, faces, index, n));
    for (int fold = 0; fold < FOLDS; fold++)
        PRLE_TRY_OUT(fold_try(&by_fold[fold], samples, n_samples, fold, scores));
    *auc = (by_fold[0] + by_fold[1]) / 2;
out:
    prle_free(samples);
    prle_free(scores);
    return st;
}
