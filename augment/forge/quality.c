/* quality.c - see quality.h. */
#include "augment/forge/quality.h"

#include <math.h>
#include <string.h>

#include "augment/forge/failure.h"
#include "augment/forge/plan.h"
#include "core/alloc.h"
#include "core/csv.h"
#include "core/file.h"
#include "core/metrics.h"
#include "core/strings.h"

enum { N_FOLDS = 5, MAX_SPECTRUM = 256, LEAST_SIDE = 16, MAX_STEPS = 50 };
#define RIDGE 1.0
#define PI    3.14159265358979323846

/* ---- features ---- */

static double luma_at(const prle_image *image, int64_t y, int64_t x)
{
    const uint8_t *p = image->data + (y * image->width + x) * 3;

    return 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
}

static void moments(double mean[3], double log_variance[3], const prle_image *image)
{
    const double n = (double)(image->height * image->width);
    double sum[3] = {0}, square[3] = {0};

    for (int64_t i = 0; i < image->height * image->width * 3; i++) {
        sum[i % 3] += image->data[i];
        square[i % 3] += (double)image->data[i] * image->data[i];
    }
    for (int c = 0; c < 3; c++) {
        mean[c] = sum[c] / n;
        log_variance[c] = log(square[c] / n - mean[c] * mean[c] + 1);
    }
}

static double blockiness(const prle_image *image)
{
    double border = 0, inside = 0;
    int64_t n_border = 0, n_inside = 0;

    for (int64_t y = 0; y + 1 < image->height; y++)
        for (int64_t x = 0; x + 1 < image->width; x++) {
            const double here = luma_at(image, y, x);
            const double right = fabs(luma_at(image, y, x + 1) - here), below = fabs(luma_at(image, y + 1, x) - here);
            *(x % 8 == 7 ? &border : &inside) += right;
            *(y % 8 == 7 ? &border : &inside) += below;
            n_border += (x % 8 == 7) + (y % 8 == 7);
            n_inside += (x % 8 != 7) + (y % 8 != 7);
        }
    return log((border / (double)n_border + 0.01) / (inside / (double)n_inside + 0.01));
}

/* A line of luma in its real parts, the next one in its imaginary parts: two real lines share a transform. */
typedef struct lines {
    double re[MAX_SPECTRUM], im[MAX_SPECTRUM];
} lines;

static void swap(double *a, double *b)
{
    const double kept = *a;

    *a = *b;
    *b = kept;
}

/* Fourier transform in place, n a power of two: reversed order, then halves joined ever wider. */
static void transform(lines *z, int n)
{
    for (int i = 1, j = 0; i < n; i++) {
        int bit = n >> 1;
        for (; (j & bit) != 0; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            swap(&z->re[i], &z->re[j]);
            swap(&z->im[i], &z->im[j]);
        }
    }
    for (int half = 1; half < n; half *= 2)
        for (int k = 0; k < half; k++) {
            const double c = cos(PI * k / half), s = -sin(PI * k / half);
            for (int i = k; i < n; i += 2 * half) {
                const double re = c * z->re[i + half] - s * z->im[i + half], im = c * z->im[i + half] + s * z->re[i + half];
                z->re[i + half] = z->re[i] - re;
                z->im[i + half] = z->im[i] - im;
                z->re[i] += re;
                z->im[i] += im;
            }
        }
}

/* Adds the power of a windowed line of luma, and of the one beside it, to power [n/2]. */
static void lines_add(double *power, const prle_image *image, int n, int64_t y, int64_t x, int64_t dy, int64_t dx)
{
    lines z;

    for (int i = 0; i < n; i++) {
        const double window = 0.5 - 0.5 * cos(2 * PI * i / n);
        z.re[i] = window * luma_at(image, y + i * dy, x + i * dx);
        z.im[i] = window * luma_at(image, y + dx + i * dy, x + dy + i * dx);
    }
    transform(&z, n);
    for (int k = 1; k < n / 2; k++)
        power[k] += (z.re[k] * z.re[k] + z.im[k] * z.im[k] + z.re[n - k] * z.re[n - k] + z.im[n - k] * z.im[n - k]) / 2;
}

static void spectrum(double *slope, double *finest, const prle_image *image)
{
    const int64_t side = image->height < image->width ? image->height : image->width;
    double power[MAX_SPECTRUM / 2] = {0}, w = 0, wx = 0, wy = 0, wxx = 0, wxy = 0, total = 0, fine = 0;
    int n = LEAST_SIDE;

    while (n * 2 <= side && n < MAX_SPECTRUM)
        n *= 2;
    const int64_t y0 = (image->height - n) / 2, x0 = (image->width - n) / 2;
    for (int i = 0; i + 1 < n; i += 2) {
        lines_add(power, image, n, y0 + i, x0, 0, 1);
        lines_add(power, image, n, y0, x0 + i, 1, 0);
    }
    for (int k = 2; k < n / 2; k++) {
        const double x = log(k), y = log(power[k] + 1e-3), weight = 1.0 / k;
        w += weight;
        wx += weight * x;
        wy += weight * y;
        wxx += weight * x * x;
        wxy += weight * x * y;
        total += power[k];
        fine += k >= n / 4 ? power[k] : 0;
    }
    *slope = (w * wxy - wx * wy) / (w * wxx - wx * wx);
    *finest = log((fine + 1e-3) / (total + 1e-3));
}

prle_status prle_quality_features(double out[PRLE_QUALITY_FEATURES], const prle_image *image)
{
    PRLE_CHECK(image->channels == 3 && image->height >= LEAST_SIDE && image->width >= LEAST_SIDE, PRLE_ESHAPE,
               "statistics of a picture of %lld x %lld x %lld: RGB of %d pixels a side at least", (long long)image->width,
               (long long)image->height, (long long)image->channels, LEAST_SIDE);
    moments(out, out + 3, image);
    out[6] = blockiness(image);
    spectrum(&out[7], &out[8], image);
    return PRLE_OK;
}

/* ---- regression ---- */

/* Solves a x = b by Cholesky, a [n,n] symmetric; a and b are overwritten, b by the answer. */
static prle_status solve(double *a, double *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            double sum = a[i * n + j];
            for (int64_t k = 0; k < j; k++)
                sum -= a[i * n + k] * a[j * n + k];
            PRLE_CHECK(i != j || sum > 0, PRLE_ENUMERIC, "regression: the equations have no single answer");
            a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
        }
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < i; k++)
            b[i] -= a[i * n + k] * b[k];
        b[i] /= a[i * n + i];
    }
    for (int64_t i = n - 1; i >= 0; i--) {
        for (int64_t k = i + 1; k < n; k++)
            b[i] -= a[k * n + i] * b[k];
        b[i] /= a[i * n + i];
    }
    return PRLE_OK;
}

static double score_of(const double *weight, const double *x, int64_t k)
{
    double z = weight[k];

    for (int64_t j = 0; j < k; j++)
        z += weight[j] * x[j];
    return z;
}

/* Gradient and Hessian (lower half) of the penalised loss. */
static void equations_make(double *gradient, double *hessian, const double *weight, const double *x, const uint8_t *label,
                           int64_t n, int64_t k, double ridge)
{
    memset(gradient, 0, (size_t)(k + 1) * sizeof *gradient);
    memset(hessian, 0, (size_t)((k + 1) * (k + 1)) * sizeof *hessian);
    for (int64_t i = 0; i < n; i++) {
        const double p = 1 / (1 + exp(-score_of(weight, x + i * k, k)));
        for (int64_t a = 0; a <= k; a++) {
            const double xa = a < k ? x[i * k + a] : 1;
            gradient[a] += (p - label[i]) * xa;
            for (int64_t b = 0; b <= a; b++)
                hessian[a * (k + 1) + b] += p * (1 - p) * xa * (b < k ? x[i * k + b] : 1);
        }
    }
    for (int64_t a = 0; a < k; a++) {
        gradient[a] += ridge * weight[a];
        hessian[a * (k + 1) + a] += ridge;
    }
    hessian[k * (k + 1) + k] += 1e-9;
}

prle_status prle_logistic_fit(double *weight, const double *x, const uint8_t *label, int64_t n, int64_t k, double ridge)
{
    double *fitted = NULL, *step = NULL, *hessian = NULL;
    int64_t n_ones = 0;
    double moved = HUGE_VAL;
    prle_status st = PRLE_OK;

    for (int64_t i = 0; i < n; i++)
        n_ones += label[i];
    PRLE_CHECK(n_ones > 0 && n_ones < n, PRLE_EINVAL, "regression: %lld of %lld samples in one class: both are needed",
               (long long)n_ones, (long long)n);
    PRLE_TRY_OUT(PRLE_NEW(fitted, k + 1));
    PRLE_TRY_OUT(PRLE_NEW(step, k + 1));
    PRLE_TRY_OUT(PRLE_NEW(hessian, (k + 1) * (k + 1)));
    for (int i = 0; i < MAX_STEPS && moved > 1e-10; i++) {
        equations_make(step, hessian, fitted, x, label, n, k, ridge);
        PRLE_TRY_OUT(solve(hessian, step, k + 1));
        moved = 0;
        for (int64_t a = 0; a <= k; a++) {
            fitted[a] -= step[a];
            moved = fmax(moved, fabs(step[a]));
        }
    }
    PRLE_CHECK_OUT(moved <= 1e-6, PRLE_ENUMERIC, "regression: no answer after %d steps, the last one %g long", MAX_STEPS, moved);
    memcpy(weight, fitted, (size_t)(k + 1) * sizeof *weight);
out:
    prle_free(fitted);
    prle_free(step);
    prle_free(hessian);
    return st;
}

/* ---- a data set ---- */

typedef struct frames {
    prle_csv csv;
    prle_strings identities;
    int64_t n;
    const char **path; /* [n]: below the root */
    int *method;       /* [n], PRLE_FORGE_REAL or prle_forge_method */
    int64_t *fold;     /* [n] */
    double *feature;   /* [n, PRLE_QUALITY_FEATURES] */
} frames;

/* "train/fake/swap/VIDEO/0000.jpg" -> swap, "train/real/VIDEO/0000.jpg" -> PRLE_FORGE_REAL */
static prle_status method_of(int *out, const frames *f, int64_t row)
{
    const char *path = f->path[row], *slash = strchr(path, '/');
    const char *kind = slash == NULL ? "" : slash + 1;

    if (strncmp(kind, "real/", 5) == 0) {
        *out = PRLE_FORGE_REAL;
        return PRLE_OK;
    }
    for (int m = 0; m < PRLE_FORGE_METHODS; m++) {
        const size_t n = strlen(prle_forge_method_names[m]);
        if (strncmp(kind, "fake/", 5) == 0 && strncmp(kind + 5, prle_forge_method_names[m], n) == 0 && kind[5 + n] == '/') {
            *out = m;
            return PRLE_OK;
        }
    }
    return PRLE_FAIL(PRLE_EFORMAT, "%s:%lld: \"%s\" is neither SPLIT/real/... nor SPLIT/fake/METHOD/...", f->csv.name,
                     (long long)prle_csv_line(&f->csv, row), path);
}

static prle_status frames_load(frames *f, const char *root)
{
    char *path = NULL;
    int64_t path_column, identity_column;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_path_join(root, "landmarks.csv", &path));
    PRLE_TRY_OUT(prle_csv_load(&f->csv, path));
    PRLE_TRY_OUT(prle_csv_column(&f->csv, "path", &path_column));
    PRLE_TRY_OUT(prle_csv_column(&f->csv, "identity", &identity_column));
    f->n = f->csv.n_rows;
    PRLE_TRY_OUT(PRLE_NEW(f->method, f->n));
    PRLE_TRY_OUT(PRLE_NEW(f->fold, f->n));
    PRLE_TRY_OUT(PRLE_NEW(f->feature, f->n * PRLE_QUALITY_FEATURES));
    PRLE_TRY_OUT(PRLE_NEW(f->path, f->n));
    for (int64_t i = 0; i < f->n; i++) {
        const char *identity = prle_csv_text(&f->csv, i, identity_column);
        f->path[i] = prle_csv_text(&f->csv, i, path_column);
        PRLE_TRY_OUT(method_of(&f->method[i], f, i));
        if (prle_strings_find(&f->identities, identity) < 0)
            PRLE_TRY_OUT(prle_strings_add(&f->identities, identity));
        f->fold[i] = prle_strings_find(&f->identities, identity) % N_FOLDS;
    }
    PRLE_CHECK_OUT(f->identities.n >= N_FOLDS, PRLE_EFORMAT, "%s: %lld identities: %d at least are needed", path,
                   (long long)f->identities.n, N_FOLDS);
out:
    prle_free(path);
    return st;
}

static void frames_drop(frames *f)
{
    prle_strings_deinit(&f->identities);
    prle_csv_deinit(&f->csv);
    prle_free(f->path);
    prle_free(f->method);
    prle_free(f->fold);
    prle_free(f->feature);
}

static prle_status frame_measure(frames *f, const char *root, int64_t i)
{
    prle_image image = {0};
    char *path = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_path_join(root, f->path[i], &path));
    PRLE_TRY_OUT(prle_image_load(&image, path, 3));
    st = prle_quality_features(f->feature + i * PRLE_QUALITY_FEATURES, &image);
    if (st != PRLE_OK)
        prle_error_prefix("%s", path);
out:
    prle_image_deinit(&image);
    prle_free(path);
    return st;
}

static prle_status frames_measure(frames *f, const char *root)
{
    prle_failure failure = {0};

#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t i = 0; i < f->n; i++)
        if (!prle_failure_seen(&failure))
            prle_failure_note(&failure, frame_measure(f, root, i));
    return prle_failure_raise(&failure);
}

/* ---- one method against the reals ---- */

typedef struct samples {
    int64_t n;
    double *x;       /* [n, PRLE_QUALITY_FEATURES] */
    uint8_t *label;  /* [n] */
    int64_t *fold;   /* [n] */
    prle_score *out; /* [n]: out of fold */
    double *fit_x;   /* [n, PRLE_QUALITY_FEATURES]: the samples that a fold is fitted on */
    uint8_t *fit_label;
} samples;

static void samples_drop(samples *s)
{
    prle_free(s->x);
    prle_free(s->label);
    prle_free(s->fold);
    prle_free(s->out);
    prle_free(s->fit_x);
    prle_free(s->fit_label);
}

/* Each feature to mean 0 and deviation 1 over all samples. */
static void standardise(double *x, int64_t n)
{
    for (int64_t c = 0; c < PRLE_QUALITY_FEATURES; c++) {
        double sum = 0, square = 0;
        for (int64_t i = 0; i < n; i++)
            sum += x[i * PRLE_QUALITY_FEATURES + c];
        const double mean = sum / (double)n;
        for (int64_t i = 0; i < n; i++)
            square += (x[i * PRLE_QUALITY_FEATURES + c] - mean) * (x[i * PRLE_QUALITY_FEATURES + c] - mean);
        const double deviation = fmax(sqrt(square / (double)n), 1e-12);
        for (int64_t i = 0; i < n; i++)
            x[i * PRLE_QUALITY_FEATURES + c] = (x[i * PRLE_QUALITY_FEATURES + c] - mean) / deviation;
    }
}

static prle_status samples_take(samples *s, const frames *f, int method)
{
    PRLE_TRY(PRLE_NEW(s->x, f->n * PRLE_QUALITY_FEATURES));
    PRLE_TRY(PRLE_NEW(s->fit_x, f->n * PRLE_QUALITY_FEATURES));
    PRLE_TRY(PRLE_NEW(s->label, f->n));
    PRLE_TRY(PRLE_NEW(s->fit_label, f->n));
    PRLE_TRY(PRLE_NEW(s->fold, f->n));
    PRLE_TRY(PRLE_NEW(s->out, f->n));
    for (int64_t i = 0; i < f->n; i++) {
        if (f->method[i] != PRLE_FORGE_REAL && f->method[i] != method)
            continue;
        memcpy(s->x + s->n * PRLE_QUALITY_FEATURES, f->feature + i * PRLE_QUALITY_FEATURES, PRLE_QUALITY_FEATURES * sizeof *s->x);
        s->label[s->n] = f->method[i] != PRLE_FORGE_REAL;
        s->fold[s->n++] = f->fold[i];
    }
    standardise(s->x, s->n);
    return PRLE_OK;
}

static prle_status fold_score(samples *s, int64_t fold)
{
    double weight[PRLE_QUALITY_FEATURES + 1];
    int64_t n_fit = 0;

    for (int64_t i = 0; i < s->n; i++) {
        if (s->fold[i] == fold)
            continue;
        memcpy(s->fit_x + n_fit * PRLE_QUALITY_FEATURES, s->x + i * PRLE_QUALITY_FEATURES, PRLE_QUALITY_FEATURES * sizeof *s->x);
        s->fit_label[n_fit++] = s->label[i];
    }
    PRLE_TRY(prle_logistic_fit(weight, s->fit_x, s->fit_label, n_fit, PRLE_QUALITY_FEATURES, RIDGE));
    for (int64_t i = 0; i < s->n; i++)
        if (s->fold[i] == fold)
            s->out[i] = (prle_score){.score = score_of(weight, s->x + i * PRLE_QUALITY_FEATURES, PRLE_QUALITY_FEATURES),
                                     .label = s->label[i]};
    return PRLE_OK;
}

static prle_status method_measure(double *auc, const frames *f, int method)
{
    samples s = {0};
    prle_metrics metrics;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(samples_take(&s, f, method));
    for (int64_t fold = 0; fold < N_FOLDS; fold++)
        PRLE_TRY_OUT(fold_score(&s, fold));
    PRLE_TRY_OUT(prle_metrics_compute(&metrics, s.out, s.n, 0));
    *auc = metrics.value[PRLE_METRIC_AUC];
out:
    samples_drop(&s);
    return st;
}

prle_status prle_forge_quality_measure(prle_forge_quality *out, const char *root)
{
    prle_forge_quality quality = {0};
    frames f = {0};
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(frames_load(&f, root));
    PRLE_TRY_OUT(frames_measure(&f, root));
    for (int64_t i = 0; i < f.n; i++)
        *(f.method[i] == PRLE_FORGE_REAL ? &quality.n_real : &quality.n_fake[f.method[i]]) += 1;
    for (int m = 0; m < PRLE_FORGE_METHODS; m++) {
        quality.auc[m] = (double)NAN;
        if (quality.n_fake[m] > 0 && quality.n_real > 0)
            PRLE_TRY_OUT(method_measure(&quality.auc[m], &f, m));
    }
    *out = quality;
out:
    frames_drop(&f);
    return st;
}
