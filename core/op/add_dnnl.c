/* add_dnnl.c - the sum of two tensors by oneDNN, both in one layout. */
#include "core/op/impls.h"
#include "core/op/util_dnnl.h"

static prle_status create(const prle_op_desc *desc, prle_op_pass pass, const prle_op_plan *plan, dnnl_primitive_desc_t *out)
{
    dnnl_memory_desc_t image;
    dnnl_binary_desc_t op;

    (void)desc, (void)pass;
    PRLE_TRY(prle_dnnl_md(&plan->in[0], &image));
    PRLE_TRY(PRLE_DNNL(dnnl_binary_desc_init(&op, dnnl_binary_add, &image, &image, &image)));
    PRLE_TRY(prle_dnnl_pd(&op, NULL, out));
    return PRLE_OK;
}

static prle_status bind(const prle_op_desc *desc, prle_op_pass pass, prle_dnnl_call *call, prle_op_plan *plan)
{
    (void)desc, (void)pass;
    PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_SRC_0, PRLE_DNNL_AT(in[0])));
    PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_SRC_1, PRLE_DNNL_AT(in[1])));
    PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_DST, PRLE_DNNL_AT(out)));
    plan->out = plan->in[0];
    return PRLE_OK;
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    if (pass == PRLE_PASS_BACKWARD) {
        plan->din[0] = plan->din[1] = plan->dout;
        plan->din_is_dout = true;
        return PRLE_OK;
    }
    if (plan->in[0].plain) /* of two layouts keep the blocked one: the neighbours are convolutions */
        plan->in[0] = plan->in[1];
    plan->in[1] = plan->in[0];
    PRLE_TRY(prle_dnnl_plan(desc, pass, plan, create, bind));
    return PRLE_OK;
}

const prle_op_impl prle_add_dnnl = {.name = "dnnl",
                                    .kind = PRLE_OP_ADD,
                                    .supports = prle_dnnl_supports,
                                    .plan = plan_pass,
                                    .run = prle_dnnl_run,
                                    .destroy = prle_dnnl_destroy};
