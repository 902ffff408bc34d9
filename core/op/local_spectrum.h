/* local_spectrum.h - what frequencies there are around each place of a picture: F3-Net's local frequency statistics. */
#pragma once
#include "core/op/band.h"

/**
 * in [B,3,H,W] is a colour picture in [-1,1]; out [B,n,P,Q] has one channel for each band, P and Q as of a convolution.
 *
 *   v = 122.5 (1 + 0.299 R + 0.587 G + 0.114 B), zero outside the picture
 *   c = D v D^T of every window of `window` x `window` pixels, every `stride`, with `pad` pixels of padding; D of dct.h
 *   out_m = sum_ij g_m(i,j) log10(|c_ij| + 1e-15) / (number of (i,j) in band m)
 *
 * with the gains of band.h; parameters w_0 ... w_{n-1} [window,window]. Source: the public code of F3-Net (arXiv 2007.09355;
 * the paper has the logarithm outside of the sum), 122.5 included.
 *
 * Where the picture is flat a coefficient is nothing but rounding, which the logarithm shows: v and c are computed in double
 * always, so that pictures of float pixels have the same c in both precisions.
 */
typedef struct prle_local_spectrum_attrs {
    int64_t window, stride, pad;
    prle_bands bands;
} prle_local_spectrum_attrs;
