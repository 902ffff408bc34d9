/* band_filter.h - a spectrum cut into bands by learnt gains: the filters of F3-Net's frequency-aware decomposition. */
#pragma once
#include "core/op/band.h"

/**
 *   out[b, m C + c, i, j] = in[b, c, i, j] g_m(i,j)
 *
 * with the gains of band.h; in [B,C,H,W], out [B,nC,H,W], parameters w_0 ... w_{n-1} [H,W].
 */
typedef struct prle_band_filter_attrs {
    prle_bands bands;
} prle_band_filter_attrs;
