/* cost.c - see cost.h. */
#include "core/op/cost.h"

#include <math.h>

double prle_op_macs(const prle_op_desc *desc)
{
    const int64_t *x = desc->in[0].dim, *y = desc->out.dim;

    switch (desc->kind) {
    case PRLE_OP_CONV2D:
    case PRLE_OP_LINEAR: /* each weight is used once for every output of its own channel */
        return (double)prle_shape_count(&desc->param[0]) * (double)(prle_shape_count(&desc->out) / y[1]);
    case PRLE_OP_DCT: return (double)prle_shape_count(&desc->out) * (double)(x[2] + x[3]);
    case PRLE_OP_LOCAL_SPECTRUM: return 2 * pow((double)desc->u.local_spectrum.window, 3) * (double)(y[0] * y[2] * y[3]);
    case PRLE_OP_INPUT:
    case PRLE_OP_BATCH_NORM:
    case PRLE_OP_ACT:
    case PRLE_OP_POOL:
    case PRLE_OP_ADD:
    case PRLE_OP_CONCAT:
    case PRLE_OP_GATE:
    case PRLE_OP_DROPOUT:
    case PRLE_OP_FLATTEN:
    case PRLE_OP_BAND_FILTER:
    case PRLE_OP_REORDER:
    case PRLE_OP_NORMALISE:
    case PRLE_OP_N_KINDS: break;
    }
    return 0;
}
