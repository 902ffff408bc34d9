/* reorder_dnnl.c - any layout into any other by oneDNN: between operators, and when parameters are packed. */
#include "core/op/impls.h"
#include "core/op/util_dnnl.h"

/* Both descriptors with the same dimensions: a plain tensor is seen as the other is (a grouped kernel has one dimension more). */
static prle_status describe(const prle_layout *layout, const prle_layout *other, dnnl_memory_desc_t *out)
{
    dnnl_memory_desc_t seen;

    PRLE_TRY(prle_dnnl_md(layout, out));
    if (!layout->plain || other->plain)
        return PRLE_OK;
    PRLE_TRY(prle_dnnl_md(other, &seen));
    PRLE_TRY(prle_dnnl_md_plain(layout->dtype, seen.ndims, seen.dims, out));
    return PRLE_OK;
}

static prle_status create(const prle_op_desc *desc, prle_op_pass pass, const prle_op_plan *plan, dnnl_primitive_desc_t *out)
{
    dnnl_memory_desc_t from, to;
    dnnl_engine_t engine = NULL;
    dnnl_primitive_attr_t attr = NULL;
    prle_status st = PRLE_OK;

    (void)desc;
    PRLE_CHECK(pass == PRLE_PASS_FORWARD, PRLE_ENOTSUP, "a reorder has no gradient: plan one the other way");
    PRLE_TRY_OUT(describe(&plan->in[0], &plan->out, &from));
    PRLE_TRY_OUT(describe(&plan->out, &plan->in[0], &to));
    PRLE_TRY_OUT(prle_dnnl_engine(&engine));
    PRLE_TRY_OUT(prle_dnnl_attr(&attr));
    PRLE_TRY_OUT(PRLE_DNNL(dnnl_reorder_primitive_desc_create(out, &from, engine, &to, engine, attr)));
out:
    dnnl_primitive_attr_destroy(attr);
    return st;
}

static prle_status bind(const prle_op_desc *desc, prle_op_pass pass, prle_dnnl_call *call, prle_op_plan *plan)
{
    (void)desc, (void)pass, (void)plan;
    PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_FROM, PRLE_DNNL_AT(in[0])));
    PRLE_TRY(prle_dnnl_call_bind(call, DNNL_ARG_TO, PRLE_DNNL_AT(out)));
    return PRLE_OK;
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    PRLE_TRY(prle_dnnl_plan(desc, pass, plan, create, bind));
    return PRLE_OK;
}

const prle_op_impl prle_reorder_dnnl = {.name = "dnnl",
                                        .kind = PRLE_OP_REORDER,
                                        .supports = prle_dnnl_supports,
                                        .plan = plan_pass,
                                        .run = prle_dnnl_run,
                                        .destroy = prle_dnnl_destroy};
