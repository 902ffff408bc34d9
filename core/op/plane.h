/* plane.h - loops over one plane of an image for batch norm (batch_norm_dnnl.c, channel_stats.c), the channel gate and dropout of
 * samples, in f32 and bfloat16, compiled for each instruction set. Element i of a plane in blocks of channels belongs to channel
 * i % block; sixteen lanes side by side serve every block, which is a divisor of sixteen. */
#pragma once
#include "core/op/op.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PRLE_PLANE_LANES = 16 };

/** What the loops need of the channels of a plane. d: gradient of the value before the relu. */
typedef struct prle_plane_lanes {
    float mean[PRLE_PLANE_LANES], scale[PRLE_PLANE_LANES], shift[PRLE_PLANE_LANES]; /* value = (x - mean) scale + shift */
    float slope[PRLE_PLANE_LANES], offset[PRLE_PLANE_LANES]; /* dx = ((d - offset) + (x - mean) slope) scale */
} prle_plane_lanes;

/** The images, of one type and layout, NULL where an operator has none. */
typedef struct prle_plane_images {
    bool bf16, relu;
    int64_t n; /* elements of a plane */
    const void *x, *residual;
    void *out; /* forward: act(value + residual). backward: read, for the relu; NULL: the relu is read off x */
    const void *dout;
    void *dx, *dresidual;
} prle_plane_images;

/** One instruction set. `at`: the plane's first element. */
typedef struct prle_plane_kernels {
    void (*forward)(const prle_plane_images *z, const prle_plane_lanes *l, int64_t at);

    /** sum[k] += d, dot[k] += d (x - mean); dresidual = d, where wanted. */
    void (*sums)(const prle_plane_images *z, const prle_plane_lanes *l, int64_t at, double *sum, double *dot);

    /** dx; d is read off dresidual where that is there. */
    void (*backward)(const prle_plane_images *z, const prle_plane_lanes *l, int64_t at);

    /** Mean and sum of squares about it of each lane of x, elements [at, at + 16 n_rows): joined to mean, m2 [16], which have
     * `n` values a lane. */
    void (*moments)(double *mean, double *m2, int64_t n, const void *x, bool bf16, int64_t at, int64_t n_rows);

    /** Elements [at, at + n): to = x factor[16], unless it is NULL; sum[16] += x other by lanes, unless that is. */
    void (*scale)(void *to, const void *x, const void *other, bool bf16, const float *factor, double *sum, int64_t at, int64_t n);
} prle_plane_kernels;

/** Rows that `moments` is given at a time: they stay in the first cache between its two sweeps. */
enum { PRLE_PLANE_ROWS = 128 };

/** Those for the widest vectors of this processor (channels.h). */
const prle_plane_kernels *prle_plane_kernels_get(void);

#ifdef __cplusplus
}
#endif
