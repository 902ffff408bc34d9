/* principal.c - see principal.h. */
#include "cam/principal.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "core/simd.h"

/* Steps before the matrix is squared, and how often it is at most: 64 * 2^30 steps tell eigenvalues apart that differ by 1e-9. */
enum { STEPS = 64, MAX_SQUARINGS = 30 };
#define STEADY   4e-15 /* a step changes no component of the unit vector by more: converged */
#define NOTHING  1e-28 /* of the energy: what rounding of the means leaves of constant values */
#define BALANCED 1e-9  /* of the sum of magnitudes: no sign of its own */

static int64_t side_of(int64_t channels, int64_t pixels) { return channels < pixels ? channels : pixels; }

int64_t prle_principal_scratch(int64_t channels, int64_t pixels)
{
    const int64_t m = side_of(channels, pixels);

    return channels * pixels + 2 * m * m + 2 * m + pixels;
}

/* out [m,m] += the products of each of n <= 4 rows of m with itself, in its upper triangle. */
static inline void gram_add(double *restrict out, const double *restrict x, int64_t n, int64_t m)
{
    for (int64_t i = 0; i < m; i++) {
        double *row = out + i * m;
        if (n == 4)
            for (int64_t j = i; j < m; j++)
                row[j] += (x[i] * x[j] + x[m + i] * x[m + j]) + (x[2 * m + i] * x[2 * m + j] + x[3 * m + i] * x[3 * m + j]);
        else
            for (int64_t r = 0; r < n; r++)
                for (int64_t j = i; j < m; j++)
                    row[j] += x[r * m + i] * x[r * m + j];
    }
}

/* out [m,m] = xt x of x [n,m]; four rows at a time, so that out is gone through less often. */
PRLE_SIMD_CLONES
static void gram(double *restrict out, const double *restrict x, int64_t n, int64_t m)
{
    memset(out, 0, (size_t)(m * m) * sizeof *out);
    for (int64_t r = 0; r < n; r += 4)
        gram_add(out, x + r * m, n - r < 4 ? n - r : 4, m);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < i; j++)
            out[i * m + j] = out[j * m + i];
}

static double trace(const double *a, int64_t m)
{
    double sum = 0;

    for (int64_t i = 0; i < m; i++)
        sum += a[i * m + i];
    return sum;
}

/* v <- a v / |a v| for a symmetric; the largest change of a component. */
PRLE_SIMD_CLONES
static double power_step(double *restrict v, const double *restrict a, double *restrict next, int64_t m)
{
    double square = 0, change = 0;

    memset(next, 0, (size_t)m * sizeof *next);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < m; j++)
            next[j] += a[i * m + j] * v[i];
    for (int64_t i = 0; i < m; i++)
        square += next[i] * next[i];
    for (int64_t i = 0; i < m; i++) {
        const double component = next[i] / sqrt(square);
        change = fmax(change, fabs(component - v[i]));
        v[i] = component;
    }
    return change;
}

/* v [m]: the unit eigenvector of the largest eigenvalue of a [m,m], which is positive semidefinite, not zero, and overwritten. */
static void dominant(double *v, double *a, double *other, double *next, int64_t m)
{
    for (int64_t i = 0; i < m; i++) {
        const double multiple = (double)(i + 1) * 0.6180339887498949; /* of the golden ratio: no pattern, no symmetry */
        v[i] = 0.5 + (multiple - floor(multiple));
    }
    for (int squarings = 0; squarings <= MAX_SQUARINGS; squarings++) {
        const double scale = 1 / trace(a, m); /* powers neither overflow nor vanish */
        for (int64_t i = 0; i < m * m; i++)
            a[i] *= scale;
        for (int step = 0; step < STEPS; step++)
            if (power_step(v, a, next, m) <= STEADY)
                return;
        gram(other, a, m, m);
        double *square = other;
        other = a;
        a = square;
    }
}

/* x = values less each channel's mean over the pixels: [C,P], or [P,C] where that has the shorter rows. The energy of values. */
static double centre(double *x, const double *values, int64_t channels, int64_t pixels)
{
    const bool by_channel = pixels <= channels;
    double energy = 0;

    for (int64_t k = 0; k < channels; k++) {
        const double *h = values + k * pixels;
        double sum = 0;
        for (int64_t p = 0; p < pixels; p++) {
            sum += h[p];
            energy += h[p] * h[p];
        }
        for (int64_t p = 0; p < pixels; p++)
            x[by_channel ? k * pixels + p : p * channels + k] = h[p] - sum / (double)pixels;
    }
    return energy;
}

/* +1 or -1, by the rule of principal.h; activity[p] = sum_k X[p,k]. */
static double sign_of(const double *map, const double *activity, int64_t pixels)
{
    double agreement = 0, size = 0;
    int64_t largest = 0;

    for (int64_t p = 0; p < pixels; p++) {
        agreement += map[p] * activity[p];
        size += fabs(map[p] * activity[p]);
        if (fabs(map[p]) > fabs(map[largest]) * (1 + BALANCED))
            largest = p;
    }
    if (fabs(agreement) <= BALANCED * size)
        agreement = map[largest];
    return agreement < 0 ? -1 : 1;
}

/* map[p] = sum_k X[p,k] v[k] and activity[p] = sum_k X[p,k]; where v is over the pixels, it is the map. */
static void project(double *map, double *activity, const double *x, const double *v, int64_t channels, int64_t pixels)
{
    const bool by_channel = pixels <= channels;

    for (int64_t p = 0; p < pixels; p++)
        map[p] = activity[p] = 0;
    for (int64_t k = 0; k < channels; k++)
        for (int64_t p = 0; p < pixels; p++) {
            const double value = x[by_channel ? k * pixels + p : p * channels + k];
            activity[p] += value;
            map[p] += by_channel ? 0 : value * v[k];
        }
    for (int64_t p = 0; by_channel && p < pixels; p++)
        map[p] = v[p];
}

void prle_principal_map(double *map, const double *values, int64_t channels, int64_t pixels, double *scratch)
{
    const int64_t m = side_of(channels, pixels);
    double *x = scratch, *a = x + channels * pixels, *other = a + m * m, *v = other + m * m, *next = v + m, *activity = next + m;

    const double energy = centre(x, values, channels, pixels);
    gram(a, x, channels * pixels / m, m);
    const double total = trace(a, m);
    if (!(total > NOTHING * energy)) {
        for (int64_t p = 0; p < pixels; p++)
            map[p] = 0 * total; /* NaN stays */
        return;
    }
    dominant(v, a, other, next, m);
    project(map, activity, x, v, channels, pixels);
    const double sign = sign_of(map, activity, pixels);
    for (int64_t p = 0; p < pixels; p++)
        map[p] *= sign;
}
