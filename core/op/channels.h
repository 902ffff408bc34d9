/* channels.h - how an image lies in memory, for operators of our own that read and write oneDNN's layouts. */
#pragma once
#include "core/op/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Element p of channel c of sample b lies at b batch + (c / block) slice + p block + c % block, 0 <= p < plane, in elements.
 * block 1: row-major; 8, 16: oneDNN's blocked images, whose last block is filled up with lanes that are zero. */
typedef struct prle_channels {
    int64_t B, C, plane;  /* samples, channels, pixels */
    int64_t block;        /* a divisor of 16 */
    int64_t slice, batch; /* steps, in elements */
} prle_channels;

/** False for layouts whose planes are not contiguous, e.g. channels last. A vector [B,C] is an image of one pixel. */
bool prle_channels_of(const prle_layout *layout, prle_channels *out);

/** The layout of an image [B,C,H,W] with its channels in blocks of 8 or 16, dense; where that is row-major too, the plain one. */
PRLE_NODISCARD prle_status prle_layout_blocked(prle_dtype dtype, const prle_shape *shape, int64_t block, prle_layout *out);

/** The layout of depthwise weights [C,1,R,S] in f32, as [C/block,R,S,block]. */
PRLE_NODISCARD prle_status prle_layout_blocked_depthwise(const prle_shape *shape, int64_t block, prle_layout *out);

/** The widest vectors of this processor that oneDNN uses; ONEDNN_MAX_CPU_ISA, which caps it, caps our kernels too. */
typedef enum prle_simd { PRLE_SIMD_BASE, PRLE_SIMD_AVX2, PRLE_SIMD_AVX512 } prle_simd;
prle_simd prle_simd_widest(void);

/** The same places in another element type. */
PRLE_NODISCARD prle_status prle_layout_as(prle_dtype dtype, const prle_layout *layout, prle_layout *out);

/** The layout of a batch of B images that lie one after the other as those of `layout` do. PRLE_ENOTSUP where they do not. */
PRLE_NODISCARD prle_status prle_layout_batch(int64_t B, const prle_layout *layout, prle_layout *out);

#ifdef __cplusplus
}
#endif
