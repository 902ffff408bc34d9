/* band_math.h - the gains of band.h. */
#pragma once
#include "core/op/act_math.h"
#include "core/op/band.h"

PRLE_HD static inline real band_gain(prle_band band, int64_t i, int64_t j, real w)
{
    return (real)prle_band_has(band, i, j) + (2 * act_sigmoid(w) - 1);
}

/* d gain / d w */
PRLE_HD static inline real band_gain_slope(real w)
{
    const real s = act_sigmoid(w);

    return 2 * s * (1 - s);
}
