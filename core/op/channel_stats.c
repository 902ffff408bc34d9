/* channel_stats.c - see channel_stats.h. A plane is contiguous, and element i belongs to channel i % block: sixteen sums side by
 * side serve every block, whatever channels they are of. */
#include "core/op/channel_stats.h"

#include "core/op/run.h"
#include "core/simd.h"

enum {
    LANES = RUN_LANES,
    ROWS = RUN_MAX / RUN_LANES,
    CHAINS = 4
}; /* a run: read from memory once, and once more from the cache */

/* Mean and sum of squares about it, of `n` values. */
typedef struct moments {
    double n, mean, m2;
} moments;

/* a <- a and one value more */
static void add(moments *a, double value)
{
    const double d = value - a->mean;

    a->n += 1;
    a->mean += d / a->n;
    a->m2 += d * (value - a->mean);
}

/* All of `count` parts with n values each, `step` apart. */
static moments join(const double *mean, const double *m2, int64_t count, int64_t step, double n)
{
    moments all = {(double)count * n, 0, 0};
    double between = 0;

    for (int64_t i = 0; i < count; i++)
        all.mean += mean[i * step];
    all.mean /= (double)count;
    for (int64_t i = 0; i < count; i++) {
        const double d = mean[i * step] - all.mean;
        between += d * d;
        all.m2 += m2[i * step];
    }
    all.m2 += n * between;
    return all;
}

/* Moments of the lanes of x [n_rows, LANES] joined to mean, m2 [LANES], which have `n` values each. */
PRLE_SIMD_CLONES
static void run_join(double *mean, double *m2, int64_t n, const float *x, int64_t n_rows)
{
    const double share = (double)n_rows / (double)(n + n_rows), weight = (double)n * share;
    float part[CHAINS * LANES] = {0}, run_mean[LANES], run_m2[LANES];
    const int64_t n_values = n_rows * LANES, whole = n_values - n_values % (CHAINS * LANES);

    for (int64_t i = 0; i < whole; i += CHAINS * LANES) /* sums that do not wait for each other */
        for (int l = 0; l < CHAINS * LANES; l++)
            part[l] += x[i + l];
    for (int64_t i = whole; i < n_values; i++)
        part[i % LANES] += x[i];
    for (int l = 0; l < LANES; l++) {
        run_mean[l] = ((part[l] + part[LANES + l]) + (part[2 * LANES + l] + part[3 * LANES + l])) / (float)n_rows;
        for (int k = 0; k < CHAINS; k++)
            part[k * LANES + l] = 0;
    }
    for (int64_t i = 0; i < whole; i += CHAINS * LANES)
        for (int l = 0; l < CHAINS * LANES; l++) {
            const float d = x[i + l] - run_mean[l % LANES];
            part[l] += d * d;
        }
    for (int64_t i = whole; i < n_values; i++) {
        const float d = x[i] - run_mean[i % LANES];
        part[i % LANES] += d * d;
    }
    for (int l = 0; l < LANES; l++)
        run_m2[l] = (part[l] + part[LANES + l]) + (part[2 * LANES + l] + part[3 * LANES + l]);
    for (int l = 0; l < LANES; l++) {
        const double d = (double)run_mean[l] - mean[l];
        mean[l] += d * share;
        m2[l] += (double)run_m2[l] + d * d * weight;
    }
}

PRLE_SIMD_CLONES
static const float *widen(float buffer[RUN_MAX], const void *x, prle_dtype dtype, int64_t at, int64_t n)
{
    return run_read(buffer, x, dtype, at, n);
}

/* One plane, n elements from `at` on: the moments of its `block` channels. */
static void plane_moments(moments out[LANES], const void *x, prle_dtype dtype, int64_t at, int64_t n, int64_t block)
{
    double mean[LANES] = {0}, m2[LANES] = {0};
    float buffer[RUN_MAX];
    const int64_t n_rows = n / LANES, rest = n_rows * LANES;

    for (int64_t r = 0; r < n_rows; r += ROWS) {
        const int64_t rows = n_rows - r < ROWS ? n_rows - r : ROWS;
        run_join(mean, m2, r, widen(buffer, x, dtype, at + r * LANES, rows * LANES), rows);
    }
    for (int64_t c = 0; c < block; c++)
        out[c] = join(mean + c, m2 + c, LANES / block, block, (double)n_rows);
    const float *tail = run_read(buffer, x, dtype, at + rest, n - rest);
    for (int64_t i = rest; i < n; i++)
        add(&out[i % block], (double)tail[i - rest]);
}

static int64_t blocks_of(const prle_channels *z) { return (z->C + z->block - 1) / z->block; }

int64_t prle_channel_stats_scratch(const prle_channels *z) { return 2 * z->B * blocks_of(z) * z->block; }

void prle_channel_stats(double *mean, double *var, const void *x, prle_dtype dtype, const prle_channels *z, double *scratch)
{
    const int64_t n_blocks = blocks_of(z), padded = n_blocks * z->block;
    double *means = scratch, *m2s = scratch + z->B * padded; /* [B,padded] each */

#pragma omp parallel for
    for (int64_t i = 0; i < z->B * n_blocks; i++) {
        moments part[LANES];

        plane_moments(part, x, dtype, i / n_blocks * z->batch + i % n_blocks * z->slice, z->plane * z->block, z->block);
        for (int64_t c = 0; c < z->block; c++) {
            means[i * z->block + c] = part[c].mean;
            m2s[i * z->block + c] = part[c].m2;
        }
    }
    for (int64_t c = 0; c < z->C; c++) {
        const moments all = join(means + c, m2s + c, z->B, padded, (double)z->plane);

        mean[c] = all.mean;
        var[c] = all.m2 / all.n;
    }
}
