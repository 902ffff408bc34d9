/* fold.c - see fold.h. */
#include "core/op/fold.h"

#include <math.h>

static double get(prle_dtype dtype, const void *values, int64_t i)
{
    return dtype == PRLE_F64 ? ((const double *)values)[i] : (double)((const float *)values)[i];
}

static void put(prle_dtype dtype, void *values, int64_t i, double v)
{
    if (dtype == PRLE_F64)
        ((double *)values)[i] = v;
    else
        ((float *)values)[i] = (float)v;
}

prle_status prle_fold(const prle_fold_args *a)
{
    const prle_dtype t = a->dtype;

    for (int64_t k = 0; k < a->k; k++) {
        const double s = get(t, a->gamma, k) / sqrt(get(t, a->var, k) + a->eps), bias = a->bias != NULL ? get(t, a->bias, k) : 0;

        for (int64_t i = k * a->per_k; i < (k + 1) * a->per_k; i++)
            put(t, a->to, i, get(t, a->weight, i) * s);
        put(t, a->to_bias, k, get(t, a->beta, k) + (bias - get(t, a->mean, k)) * s);
    }
    return PRLE_OK;
}
