/* local_spectrum_ref.c - local frequency statistics, plain C; also what the processor runs.
 *
 * A row of windows is transformed at once: the vertical transform of all columns serves every window over them, and columns are
 * kept apart by their remainder by the stride, so that one coefficient of all windows is a sum of contiguous runs. Nothing is
 * saved: the backward pass computes the coefficients again, which is cheaper than 400 bytes for every place. */
#include "core/alloc.h"
#include "core/op/band_math.h"
#include "core/op/dct.h"
#include "core/op/local_spectrum.h"
#include "core/op/ref.h"
#include "core/simd.h"

static const double red = 0.299, green = 0.587, blue = 0.114, half_range = 122.5, floor_of_log = 1e-15;
static const double ln_10 = 2.302585092994045684;

enum { MAX_SLOTS = 64 }; /* rows, or images in the backward pass, under way at a time */

typedef struct spectrum {
    prle_op_desc desc;
    int64_t K, P, Q;     /* window; places */
    int64_t phases, run; /* columns by their remainder: [phases][run] */
    int64_t slots;       /* pieces of work with room of their own */
    size_t slot_doubles; /* of that room */
    size_t sums_doubles; /* before the slots: gains, and in the backward pass what each image adds to their gradients */
    double D[];          /* [K,K] */
} spectrum;

/* The room of one slot. */
typedef struct room {
    double *v;   /* [K,phases,run] pixels of a row of windows */
    double *t;   /* [K,phases,run] after the vertical transform */
    double *c;   /* [K K,Q] coefficients; in the backward pass then their gradients */
    double *sum; /* [n,Q] */
    double *dv;  /* [H,W] gradient of one image's v */
} room;

static size_t room_doubles(const spectrum *s, bool backward)
{
    const prle_shape *in = &s->desc.in[0];

    return (size_t)(2 * s->K * s->phases * s->run + (s->K * s->K + s->desc.out.dim[1]) * s->Q +
                    (backward ? in->dim[2] * in->dim[3] : 0));
}

static room room_of(const spectrum *s, double *scratch, int64_t slot)
{
    room r = {.v = scratch + s->sums_doubles + (size_t)slot * s->slot_doubles};

    r.t = r.v + s->K * s->phases * s->run;
    r.c = r.t + s->K * s->phases * s->run;
    r.sum = r.c + s->K * s->K * s->Q;
    r.dv = r.sum + s->desc.out.dim[1] * s->Q;
    return r;
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    const prle_local_spectrum_attrs *a = &desc->u.local_spectrum;
    const int64_t K = a->window, B = desc->in[0].dim[0], items = pass == PRLE_PASS_FORWARD ? B * desc->out.dim[2] : B;
    spectrum *s = NULL;

    ref_layouts(desc, plan);
    PRLE_TRY(prle_alloc(1, sizeof *s + (size_t)(K * K) * sizeof(double), (prle_any_ptr *)&s));
    s->desc = *desc;
    s->K = K;
    s->P = desc->out.dim[2];
    s->Q = desc->out.dim[3];
    s->phases = a->stride;
    s->run = s->Q + (K - 1) / a->stride;
    s->slots = items < MAX_SLOTS ? items : MAX_SLOTS;
    s->slot_doubles = room_doubles(s, pass == PRLE_PASS_BACKWARD);
    s->sums_doubles = (size_t)((1 + (pass == PRLE_PASS_BACKWARD ? B : 0)) * a->bands.n * K * K);
    for (int64_t k = 0; k < K; k++)
        for (int64_t i = 0; i < K; i++)
            s->D[k * K + i] = prle_dct_element(k, i, K);
    plan->uses_in = pass == PRLE_PASS_BACKWARD;
    plan->scratch_bytes = (s->sums_doubles + (size_t)s->slots * s->slot_doubles) * sizeof(double);
    plan->state = s;
    return PRLE_OK;
}

static int64_t band_count(const spectrum *s, int m)
{
    int64_t n = 0;

    for (int64_t i = 0; i < s->K; i++)
        for (int64_t j = 0; j < s->K; j++)
            n += prle_band_has(s->desc.u.local_spectrum.bands.band[m], i, j);
    return n;
}

/* [n,K,K] g_m / number of coefficients in band m. */
static void gains_fill(const spectrum *s, const prle_op_args *args, double *gains)
{
    const prle_bands *bands = &s->desc.u.local_spectrum.bands;

    for (int m = 0; m < bands->n; m++) {
        const real *w = args->param[m];
        for (int64_t i = 0; i < s->K * s->K; i++)
            gains[m * s->K * s->K + i] = (double)band_gain(bands->band[m], i / s->K, i % s->K, w[i]) / (double)band_count(s, m);
    }
}

/* y += a x */
PRLE_SIMD_CLONES
static void add_scaled(double *y, double a, const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static void clear(double *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = 0;
}

/* Row r of the windows of row p: its line of the image, or -1 outside. */
static int64_t line_of(const spectrum *s, int64_t p, int64_t r)
{
    const int64_t h = p * s->phases - s->desc.u.local_spectrum.pad + r;

    return h >= 0 && h < s->desc.in[0].dim[2] ? h : -1;
}

static void pixels_load(const spectrum *s, const real *image, int64_t p, double *v)
{
    const int64_t H = s->desc.in[0].dim[2], W = s->desc.in[0].dim[3], pad = s->desc.u.local_spectrum.pad;

    clear(v, s->K * s->phases * s->run);
    for (int64_t r = 0; r < s->K; r++, v += s->phases * s->run) {
        const int64_t h = line_of(s, p, r);
        const real *x = image + h * W;
        for (int64_t w = 0; h >= 0 && w < W && (w + pad) / s->phases < s->run; w++)
            v[(w + pad) % s->phases * s->run + (w + pad) / s->phases] =
                half_range * (1 + red * (double)x[w] + green * (double)x[H * W + w] + blue * (double)x[2 * H * W + w]);
    }
}

/* The coefficients of all windows of row p of an image. */
static void row_transform(const spectrum *s, const real *image, int64_t p, const room *to)
{
    const int64_t K = s->K, line = s->phases * s->run;

    pixels_load(s, image, p, to->v);
    clear(to->t, K * line);
    clear(to->c, K * K * s->Q);
    for (int64_t k = 0; k < K; k++)
        for (int64_t r = 0; r < K; r++)
            add_scaled(to->t + k * line, s->D[k * K + r], to->v + r * line, line);
    for (int64_t k = 0; k < K; k++)
        for (int64_t l = 0; l < K; l++)
            for (int64_t i = 0; i < K; i++)
                add_scaled(to->c + (k * K + l) * s->Q, s->D[l * K + i], to->t + k * line + i % s->phases * s->run + i / s->phases,
                           s->Q);
}

static double log_of(double c) { return (double)real_log10((real)(fabs(c) + floor_of_log)); }

static void forward_row(const spectrum *s, const prle_op_args *args, int64_t b, int64_t p, const double *gains, const room *to)
{
    const int64_t KK = s->K * s->K, Q = s->Q, n = s->desc.out.dim[1];
    const prle_shape *in = &s->desc.in[0];
    real *out = (real *)args->out + b * n * s->P * Q + p * Q;

    row_transform(s, (const real *)args->in[0] + b * 3 * in->dim[2] * in->dim[3], p, to);
    clear(to->sum, n * Q);
    for (int64_t i = 0; i < KK; i++) {
        double *c = to->c + i * Q;
        for (int64_t q = 0; q < Q; q++)
            c[q] = log_of(c[q]);
        for (int64_t m = 0; m < n; m++)
            add_scaled(to->sum + m * Q, gains[m * KK + i], c, Q);
    }
    for (int64_t m = 0; m < n; m++)
        for (int64_t q = 0; q < Q; q++)
            out[m * s->P * Q + q] = (real)to->sum[m * Q + q];
}

/* What row p of an image adds to the gains' gradients [n,K K]. */
static void sums_add(const spectrum *s, const real *dy, const room *from, double *sums)
{
    const int64_t KK = s->K * s->K, Q = s->Q;

    for (int64_t i = 0; i < KK; i++) {
        for (int64_t q = 0; q < Q; q++) {
            const double value = log_of(from->c[i * Q + q]);
            for (int64_t m = 0; m < s->desc.out.dim[1]; m++)
                sums[m * KK + i] += value * (double)dy[m * s->P * Q + q];
        }
    }
}

/* d log10(|c| + e) = sign(c) / ((|c| + e) ln 10): at c = 0, PyTorch's 0. */
static double log_slope(double c)
{
    const double slope = 1 / ((fabs(c) + floor_of_log) * ln_10);

    return c > 0 ? slope : c < 0 ? -slope : 0;
}

/* Back through the transforms: row p's part of the gradient of v. */
static void pixels_add(const spectrum *s, const real *dy, int64_t p, const double *gains, const room *at)
{
    const int64_t K = s->K, KK = K * K, Q = s->Q, line = s->phases * s->run, W = s->desc.in[0].dim[3],
                  pad = s->desc.u.local_spectrum.pad;

    for (int64_t i = 0; i < KK; i++) {
        for (int64_t q = 0; q < Q; q++) {
            double d = 0;
            for (int64_t m = 0; m < s->desc.out.dim[1]; m++)
                d += gains[m * KK + i] * (double)dy[m * s->P * Q + q];
            at->c[i * Q + q] = d * log_slope(at->c[i * Q + q]);
        }
    }
    clear(at->t, K * line);
    clear(at->v, K * line);
    for (int64_t k = 0; k < K; k++)
        for (int64_t l = 0; l < K; l++)
            for (int64_t i = 0; i < K; i++)
                add_scaled(at->t + k * line + i % s->phases * s->run + i / s->phases, s->D[l * K + i], at->c + (k * K + l) * Q,
                           Q);
    for (int64_t k = 0; k < K; k++)
        for (int64_t r = 0; r < K; r++)
            add_scaled(at->v + r * line, s->D[k * K + r], at->t + k * line, line);
    for (int64_t r = 0; r < K; r++)
        for (int64_t w = 0, h = line_of(s, p, r); h >= 0 && w < W && (w + pad) / s->phases < s->run; w++)
            at->dv[h * W + w] += at->v[r * line + (w + pad) % s->phases * s->run + (w + pad) / s->phases];
}

static void backward_image(const spectrum *s, const prle_op_args *args, int64_t b, const double *gains, const room *at,
                           double *sums)
{
    const int64_t HW = s->desc.in[0].dim[2] * s->desc.in[0].dim[3], n = s->desc.out.dim[1];
    const double share[3] = {half_range * red, half_range * green, half_range * blue};
    real *dx = args->din[0];

    clear(sums, n * s->K * s->K);
    clear(at->dv, HW);
    for (int64_t p = 0; p < s->P; p++) {
        const real *dy = (const real *)args->dout + b * n * s->P * s->Q + p * s->Q;
        row_transform(s, (const real *)args->in[0] + b * 3 * HW, p, at);
        sums_add(s, dy, at, sums);
        if (dx != NULL)
            pixels_add(s, dy, p, gains, at);
    }
    for (int64_t i = 0; i < 3 * HW && dx != NULL; i++)
        dx[b * 3 * HW + i] = (real)(share[i / HW] * at->dv[i % HW]);
}

/* The images' sums in their order. */
static void dparams_fill(const spectrum *s, const prle_op_args *args, const double *sums)
{
    const int64_t KK = s->K * s->K, n = s->desc.out.dim[1];

    for (int m = 0; m < n; m++) {
        real *dw = args->dparam[m];
        for (int64_t i = 0; i < KK && dw != NULL; i++) {
            double sum = 0;
            for (int64_t b = 0; b < s->desc.in[0].dim[0]; b++)
                sum += sums[(b * n + m) * KK + i];
            dw[i] = (real)(sum * (double)band_gain_slope(((const real *)args->param[m])[i]) / (double)band_count(s, m));
        }
    }
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const spectrum *s = state;
    const bool forward = pass == PRLE_PASS_FORWARD;
    const int64_t per_image = s->desc.out.dim[1] * s->K * s->K, items = s->desc.in[0].dim[0] * (forward ? s->P : 1);
    double *gains = args->scratch, *sums = gains + per_image;

    gains_fill(s, args, gains);
#pragma omp parallel for schedule(dynamic)
    for (int64_t slot = 0; slot < s->slots; slot++) {
        const room at = room_of(s, gains, slot);
        for (int64_t i = slot * items / s->slots; i < (slot + 1) * items / s->slots; i++) {
            if (forward)
                forward_row(s, args, i / s->P, i % s->P, gains, &at);
            else
                backward_image(s, args, i, gains, &at, sums + i * per_image);
        }
    }
    if (!forward)
        dparams_fill(s, args, sums);
    return PRLE_OK;
}

PRLE_REF_IMPL(local_spectrum, PRLE_OP_LOCAL_SPECTRUM);
