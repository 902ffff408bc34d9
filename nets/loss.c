/* loss.c - see loss.h. A batch has a handful of logits: everything is done in double, whatever the network's precision. */
#include "nets/loss.h"

#include <math.h>

static double get(const void *values, prle_dtype dtype, int64_t i)
{
    return dtype == PRLE_F64 ? ((const double *)values)[i] : (double)((const float *)values)[i];
}

static void put(void *values, prle_dtype dtype, int64_t i, double v)
{
    if (dtype == PRLE_F64)
        ((double *)values)[i] = v;
    else
        ((float *)values)[i] = (float)v;
}

/* Two logits make one: softmax cross-entropy is the logistic loss of their difference. */
static double margin(const void *logits, int64_t classes, prle_dtype dtype, int64_t i)
{
    return classes == 1 ? get(logits, dtype, i) : get(logits, dtype, 2 * i + 1) - get(logits, dtype, 2 * i);
}

static double sigmoid(double z)
{
    const double e = exp(-fabs(z)); /* in (0,1]: never overflows */

    return (z >= 0 ? 1 : e) / (1 + e);
}

double prle_loss(const void *logits, int64_t batch, int64_t classes, prle_dtype dtype, const uint8_t *labels,
                 const double *weights, double scale, void *dlogits)
{
    double sum = 0;

    for (int64_t i = 0; i < batch; i++) {
        const double z = margin(logits, classes, dtype, i), y = labels[i], w = weights != NULL ? weights[i] : 1;

        sum += w * ((z > 0 ? z : z == z ? 0 : z) - z * y + log1p(exp(-fabs(z))));
        if (dlogits == NULL)
            continue;
        const double dz = scale * w * (sigmoid(z) - y);
        put(dlogits, dtype, classes * i + classes - 1, dz);
        if (classes == 2)
            put(dlogits, dtype, 2 * i, -dz);
    }
    return scale * sum;
}

void prle_scores(const void *logits, int64_t batch, int64_t classes, prle_dtype dtype, double *scores)
{
    for (int64_t i = 0; i < batch; i++)
        scores[i] = sigmoid(margin(logits, classes, dtype, i));
}
