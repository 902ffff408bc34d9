/* colour.h - CIE Lab, and matching the colours of one face to another's. */
#pragma once
#include "augment/forge/warp.h"

#ifdef __cplusplus
extern "C" {
#endif

/** sRGB 0 ... 255 (clamped to it) to CIE L*a*b* for the white of D65: L in [0,100]. IEC 61966-2-1, CIE 15. */
void prle_lab_from_rgb(float lab[3], const float rgb[3]);

/** Back; colours outside sRGB are clamped to 0 ... 255. */
void prle_lab_to_rgb(float rgb[3], const float lab[3]);

/** Mean and standard deviation of each Lab channel under a weight. */
typedef struct prle_lab_stats {
    double mean[3], deviation[3];
    double weight; /* their sum; with 0 the rest is 0 */
} prle_lab_stats;

/** weight [side,side], each >= 0. */
prle_lab_stats prle_lab_stats_make(const prle_canvas *canvas, const float *weight);

/**
 * Moves canvas's Lab mean and deviation under `weight` to those of `like`, wherever weight is above 0 (Reinhard et al., Color
 * transfer between images, 2001). The deviation changes by at most a factor of 1.5, so that texture is not torn.
 */
void prle_colour_match(prle_canvas *canvas, const prle_canvas *like, const float *weight);

#ifdef __cplusplus
}
#endif
