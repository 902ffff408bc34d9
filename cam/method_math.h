/* method_math.h - per-element arithmetic of the maps; compiled as C11 by method.c, as CUDA by method_cuda.cu. */
#pragma once
#include "core/hd.h"

PRLE_HD static inline double cam_relu(double x) { return x < 0 ? 0 : x; } /* NaN stays, so that it is seen */

/* What a pixel of gradient g adds to Grad-CAM++'s weight of its channel; activity: the sum of the channel's values. */
PRLE_HD static inline double cam_plusplus_term(double g, double activity)
{
    const double square = g * g;

    return cam_relu(g) * square / (2 * square + activity * square * g + 1e-6);
}
