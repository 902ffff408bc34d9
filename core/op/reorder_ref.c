/* reorder_ref.c - copies of plain tensors, between element types where they differ. */
#include <string.h>

#include "core/op/ref.h"

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    (void)pass;
    PRLE_CHECK(plan->in[0].plain && plan->out.plain && plan->in[0].dtype == plan->out.dtype, PRLE_ENOTSUP,
               "the reference reorders plain layouts of one element type only");
    return prle_op_keep_desc(desc, plan);
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_op_desc *desc = state;

    (void)pass;
    memcpy(args->out, args->in[0], (size_t)prle_shape_count(&desc->out) * sizeof(real));
    return PRLE_OK;
}

PRLE_REF_IMPL(reorder, PRLE_OP_REORDER);
