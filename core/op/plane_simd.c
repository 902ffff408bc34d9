/* plane_simd.c - see plane.h. One source, an object for each instruction set. Sums are in the same order for all of them: sixteen
 * lanes, four chains that do not wait for each other, runs that end in double. */
#include "core/op/plane.h"
#include "core/op/vectors.h"

enum { PARTS = PRLE_PLANE_LANES / LANES, STEP = PRLE_PLANE_LANES, CHAINS = 4, RUN = PRLE_PLANE_ROWS * STEP };

/* Sixteen lanes in as many vectors as they take. */
typedef struct lanes {
    vec part[PARTS];
} lanes;

#define EACH_PART(p) UNROLLED for (int p = 0; p < PARTS; p++)

INLINE lanes constants(const float *at)
{
    lanes v;

    EACH_PART(p) v.part[p] = load(at + p * LANES);
    return v;
}

/* `n` elements from `at` on; at the end of a plane fewer than sixteen: the lanes beyond are zero. */
INLINE lanes read(const void *x, bool bf16, int64_t at, int64_t n)
{
    lanes v;

    if (n < STEP) {
        float rest[STEP] = {0};
        for (int64_t i = 0; i < n; i++) {
            const uint32_t bits = bf16 ? (uint32_t)((const uint16_t *)x)[at + i] << 16 : ((const uint32_t *)x)[at + i];
            memcpy(&rest[i], &bits, sizeof bits);
        }
        return constants(rest);
    }
    EACH_PART(p) v.part[p] = load_element(x, at + p * LANES, bf16);
    return v;
}

INLINE void write(void *y, bool bf16, int64_t at, int64_t n, lanes v)
{
    uint16_t narrow[STEP];
    float wide[STEP];

    if (n == STEP) {
        EACH_PART(p) store_element(y, at + p * LANES, v.part[p], bf16);
        return;
    }
    EACH_PART(p) store_element(bf16 ? (void *)narrow : wide, p * LANES, v.part[p], bf16);
    if (bf16)
        memcpy((uint16_t *)y + at, narrow, (size_t)n * sizeof *narrow);
    else
        memcpy((float *)y + at, wide, (size_t)n * sizeof *wide);
}

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* value = (x - mean) scale + shift */
INLINE lanes normalised(lanes x, const prle_plane_lanes *l)
{
    const lanes mean = constants(l->mean), scale = constants(l->scale), shift = constants(l->shift);

    EACH_PART(p) x.part[p] = (x.part[p] - mean.part[p]) * scale.part[p] + shift.part[p];
    return x;
}

INLINE void forward_step(const prle_plane_images *z, const prle_plane_lanes *l, bool bf16, int64_t at, int64_t n)
{
    lanes v = normalised(read(z->x, bf16, at, n), l);

    if (z->residual != NULL) {
        const lanes add = read(z->residual, bf16, at, n);
        EACH_PART(p) v.part[p] += add.part[p];
    }
    if (z->relu)
        EACH_PART(p) v.part[p] = (vec)((bits_vec)v.part[p] & ~(bits_vec)(v.part[p] < 0)); /* NaN stays */
    write(z->out, bf16, at, n, v);
}

INLINE void forward_plane(const prle_plane_images *z, const prle_plane_lanes *l, bool bf16, int64_t at)
{
    const int64_t end = at + z->n;

    for (; at + STEP <= end; at += STEP)
        forward_step(z, l, bf16, at, STEP);
    if (at < end)
        forward_step(z, l, bf16, at, end - at);
}

/* d = dout where the relu let it through, else 0. */
INLINE lanes gated(const prle_plane_images *z, const prle_plane_lanes *l, bool bf16, int64_t at, int64_t n, lanes x)
{
    lanes d = read(z->dout, bf16, at, n);

    if (!z->relu)
        return d;
    const lanes y = z->out != NULL ? read(z->out, bf16, at, n) : normalised(x, l);
    EACH_PART(p) d.part[p] = (vec)((bits_vec)d.part[p] & (bits_vec)(y.part[p] > 0));
    return d;
}

INLINE void sums_step(const prle_plane_images *z, const prle_plane_lanes *l, bool bf16, int64_t at, int64_t n, lanes *sum,
                      lanes *dot)
{
    const lanes x = read(z->x, bf16, at, n), d = gated(z, l, bf16, at, n, x), mean = constants(l->mean);

    if (z->dresidual != NULL)
        write(z->dresidual, bf16, at, n, d);
    EACH_PART(p)
    {
        sum->part[p] += d.part[p];
        dot->part[p] += d.part[p] * (x.part[p] - mean.part[p]);
    }
}

/* to[k] += the lanes of all chains */
INLINE void join(double *to, const lanes chain[CHAINS])
{
    float sum[STEP];

    EACH_PART(p)
    store(sum + p * LANES, (chain[0].part[p] + chain[1].part[p]) + (chain[2].part[p] + chain[3].part[p]));
    for (int k = 0; k < STEP; k++)
        to[k] += (double)sum[k];
}

INLINE void sums_run(const prle_plane_images *z, const prle_plane_lanes *l, bool bf16, int64_t at, int64_t end, double *sum,
                     double *dot)
{
    lanes part[CHAINS] = {{{{0}}}}, part_dot[CHAINS] = {{{{0}}}};

    for (; at + CHAINS * STEP <= end; at += CHAINS * STEP)
        UNROLLED for (int k = 0; k < CHAINS; k++) sums_step(z, l, bf16, at + k * STEP, STEP, &part[k], &part_dot[k]);
    for (; at + STEP <= end; at += STEP)
        sums_step(z, l, bf16, at, STEP, &part[0], &part_dot[0]);
    if (at < end)
        sums_step(z, l, bf16, at, end - at, &part[0], &part_dot[0]);
    join(sum, part);
    join(dot, part_dot);
}

INLINE void sums_plane(const prle_plane_images *z, const prle_plane_lanes *l, bool bf16, int64_t at, double *sum, double *dot)
{
    const int64_t end = at + z->n;

    for (; at < end; at += RUN)
        sums_run(z, l, bf16, at, smaller(at + RUN, end), sum, dot);
}

INLINE void backward_step(const prle_plane_images *z, const prle_plane_lanes *l, bool bf16, int64_t at, int64_t n)
{
    const lanes mean = constants(l->mean), scale = constants(l->scale), slope = constants(l->slope),
                offset = constants(l->offset);
    const lanes x = read(z->x, bf16, at, n);
    lanes d = z->dresidual != NULL ? read(z->dresidual, bf16, at, n) : gated(z, l, bf16, at, n, x);

    EACH_PART(p)
    d.part[p] = ((d.part[p] - offset.part[p]) + (x.part[p] - mean.part[p]) * slope.part[p]) * scale.part[p];
    write(z->dx, bf16, at, n, d);
}

INLINE void backward_plane(const prle_plane_images *z, const prle_plane_lanes *l, bool bf16, int64_t at)
{
    const int64_t end = at + z->n;

    for (; at + STEP <= end; at += STEP)
        backward_step(z, l, bf16, at, STEP);
    if (at < end)
        backward_step(z, l, bf16, at, end - at);
}

INLINE void moments_run(double *mean, double *m2, int64_t n, const void *x, bool bf16, int64_t at, int64_t n_rows)
{
    const double share = (double)n_rows / (double)(n + n_rows), weight = (double)n * share;
    double run_mean[STEP] = {0}, run_m2[STEP] = {0};
    float centre[STEP];
    lanes part[CHAINS] = {{{{0}}}};
    int64_t i = 0;

    for (; i + CHAINS <= n_rows; i += CHAINS)
        UNROLLED for (int k = 0; k < CHAINS; k++)
        {
            const lanes v = read(x, bf16, at + (i + k) * STEP, STEP);
            EACH_PART(p) part[k].part[p] += v.part[p];
        }
    for (; i < n_rows; i++) {
        const lanes v = read(x, bf16, at + i * STEP, STEP);
        EACH_PART(p) part[0].part[p] += v.part[p];
    }
    join(run_mean, part);
    for (int k = 0; k < STEP; k++)
        centre[k] = (float)(run_mean[k] / (double)n_rows);
    const lanes middle = constants(centre);
    memset(part, 0, sizeof part);
    for (i = 0; i + CHAINS <= n_rows; i += CHAINS)
        UNROLLED for (int k = 0; k < CHAINS; k++)
        {
            const lanes v = read(x, bf16, at + (i + k) * STEP, STEP);
            EACH_PART(p) part[k].part[p] += (v.part[p] - middle.part[p]) * (v.part[p] - middle.part[p]);
        }
    for (; i < n_rows; i++) {
        const lanes v = read(x, bf16, at + i * STEP, STEP);
        EACH_PART(p) part[0].part[p] += (v.part[p] - middle.part[p]) * (v.part[p] - middle.part[p]);
    }
    join(run_m2, part);
    for (int k = 0; k < STEP; k++) {
        const double d = (double)centre[k] - mean[k];
        mean[k] += d * share;
        m2[k] += run_m2[k] + d * d * weight;
    }
}

/* What is wanted of one step. */
INLINE void scale_step(void *to, const void *x, const void *other, bool bf16, lanes factor, lanes *sum, int64_t at, int64_t n)
{
    lanes v = read(x, bf16, at, n);

    if (other != NULL) {
        const lanes w = read(other, bf16, at, n);
        EACH_PART(p) sum->part[p] += v.part[p] * w.part[p];
    }
    if (to == NULL)
        return;
    EACH_PART(p) v.part[p] *= factor.part[p];
    write(to, bf16, at, n, v);
}

INLINE void scale_run(void *to, const void *x, const void *other, bool bf16, const float *factor, double *sum, int64_t at,
                      int64_t end)
{
    const lanes by = constants(factor);
    lanes part[CHAINS] = {{{{0}}}};

    for (; at + CHAINS * STEP <= end; at += CHAINS * STEP)
        UNROLLED for (int k = 0; k < CHAINS; k++) scale_step(to, x, other, bf16, by, &part[k], at + k * STEP, STEP);
    for (; at + STEP <= end; at += STEP)
        scale_step(to, x, other, bf16, by, &part[0], at, STEP);
    if (at < end)
        scale_step(to, x, other, bf16, by, &part[0], at, end - at);
    if (other != NULL)
        join(sum, part);
}

INLINE void scale_all(void *to, const void *x, const void *other, bool bf16, const float *factor, double *sum, int64_t at,
                      int64_t n)
{
    const int64_t end = at + n;

    for (; at < end; at += RUN)
        scale_run(to, x, other, bf16, factor, sum, at, smaller(at + RUN, end));
}

/* One copy for each element type, so that no loop asks for it. */
static void forward(const prle_plane_images *z, const prle_plane_lanes *l, int64_t at)
{
    if (z->bf16)
        forward_plane(z, l, true, at);
    else
        forward_plane(z, l, false, at);
}

static void sums(const prle_plane_images *z, const prle_plane_lanes *l, int64_t at, double *sum, double *dot)
{
    if (z->bf16)
        sums_plane(z, l, true, at, sum, dot);
    else
        sums_plane(z, l, false, at, sum, dot);
}

static void backward(const prle_plane_images *z, const prle_plane_lanes *l, int64_t at)
{
    if (z->bf16)
        backward_plane(z, l, true, at);
    else
        backward_plane(z, l, false, at);
}

static void moments(double *mean, double *m2, int64_t n, const void *x, bool bf16, int64_t at, int64_t n_rows)
{
    if (bf16)
        moments_run(mean, m2, n, x, true, at, n_rows);
    else
        moments_run(mean, m2, n, x, false, at, n_rows);
}

static void scale(void *to, const void *x, const void *other, bool bf16, const float *factor, double *sum, int64_t at, int64_t n)
{
    if (bf16)
        scale_all(to, x, other, true, factor, sum, at, n);
    else
        scale_all(to, x, other, false, factor, sum, at, n);
}

extern const prle_plane_kernels JOIN(prle_plane_, SIMD_NAME);
const prle_plane_kernels JOIN(prle_plane_, SIMD_NAME) = {
    .forward = forward, .sums = sums, .backward = backward, .moments = moments, .scale = scale};
