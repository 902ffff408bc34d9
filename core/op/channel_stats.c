/* channel_stats.c - see channel_stats.h. A plane is contiguous, and element i belongs to channel i % block: sixteen sums side by
 * side serve every block, whatever channels they are of. */
#include "core/op/channel_stats.h"

#include <string.h>

#include "core/op/plane.h"

enum { LANES = PRLE_PLANE_LANES, ROWS = PRLE_PLANE_ROWS };

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

static double element(const void *x, prle_dtype dtype, int64_t i)
{
    const uint32_t bits = dtype == PRLE_BF16 ? (uint32_t)((const uint16_t *)x)[i] << 16 : ((const uint32_t *)x)[i];
    float value;

    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

/* One plane, n elements from `at` on: the moments of its `block` channels. */
static void plane_moments(moments out[LANES], const void *x, prle_dtype dtype, int64_t at, int64_t n, int64_t block)
{
    double mean[LANES] = {0}, m2[LANES] = {0};
    const prle_plane_kernels *kernels = prle_plane_kernels_get();
    const int64_t n_rows = n / LANES, rest = n_rows * LANES;

    for (int64_t r = 0; r < n_rows; r += ROWS) {
        const int64_t rows = n_rows - r < ROWS ? n_rows - r : ROWS;
        kernels->moments(mean, m2, r, x, dtype == PRLE_BF16, at + r * LANES, rows);
    }
    for (int64_t c = 0; c < block; c++)
        out[c] = join(mean + c, m2 + c, LANES / block, block, (double)n_rows);
    for (int64_t i = rest; i < n; i++)
        add(&out[i % block], element(x, dtype, at + i));
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
