/* plane.c - see plane.h. */
#include "core/op/plane.h"

#include "core/op/channels.h"

extern const prle_plane_kernels prle_plane_avx512, prle_plane_avx2, prle_plane_base; /* plane_simd.c, compiled for each */

const prle_plane_kernels *prle_plane_kernels_get(void)
{
#if PRLE_SIMD_X86
    switch (prle_simd_widest()) {
    case PRLE_SIMD_AVX512: return &prle_plane_avx512;
    case PRLE_SIMD_AVX2: return &prle_plane_avx2;
    case PRLE_SIMD_BASE: break;
    }
#endif
    return &prle_plane_base;
}
