/* cost.c - see cost.h. */
#include "core/op/cost.h"

double prle_op_macs(const prle_op_desc *desc)
{
    if (desc->kind != PRLE_OP_CONV2D && desc->kind != PRLE_OP_LINEAR)
        return 0;
    /* each weight is used once for every output of its own channel */
    return (double)prle_shape_count(&desc->param[0]) * (double)(prle_shape_count(&desc->out) / desc->out.dim[1]);
}
