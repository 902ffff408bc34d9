/* concat_dnnl.c - concatenation along channels by oneDNN; its gradient is one reorder for each input, out of a part of dout.
 * Blocks of channels are kept where all inputs have the same and fill them; else everything is plain. In the first input's
 * element type. */
#include "core/alloc.h"
#include "core/op/channels.h"
#include "core/op/impls.h"
#include "core/op/util_dnnl.h"

/* Forward: call[0] writes out, n_in is 0. Backward: call[i] writes din[i]. */
typedef struct concat_state {
    int n_in;
    prle_dnnl_call call[PRLE_OP_MAX_IN];
} concat_state;

/* How all tensors lie. */
typedef struct form {
    prle_dtype dtype;
    int64_t block; /* 1: plain */
} form;

static form form_of(const prle_op_desc *desc, const prle_op_plan *plan)
{
    form f = {plan->in[0].dtype, 1};
    prle_channels first, other;

    if (desc->out.n != 4 || plan->in[0].plain || !prle_channels_of(&plan->in[0], &first))
        return f;
    for (int i = 0; i < desc->n_in; i++)
        if (desc->in[i].dim[1] % first.block != 0 || !prle_channels_of(&plan->in[i], &other) || other.block != first.block)
            return f;
    f.block = first.block;
    return f;
}

static prle_status describe(const prle_shape *shape, form f, dnnl_memory_desc_t *out)
{
    prle_layout layout = prle_layout_plain(f.dtype, shape);

    if (f.block > 1)
        PRLE_TRY(prle_layout_blocked(f.dtype, shape, f.block, &layout));
    PRLE_TRY(prle_dnnl_md(&layout, out));
    return PRLE_OK;
}

static prle_status create(const prle_op_desc *desc, const prle_op_plan *plan, dnnl_primitive_desc_t *out)
{
    const form f = form_of(desc, plan);
    dnnl_memory_desc_t from[PRLE_OP_MAX_IN], to;
    dnnl_engine_t engine = NULL;
    dnnl_primitive_attr_t attr = NULL;
    prle_status st = PRLE_OK;

    for (int i = 0; i < desc->n_in; i++)
        PRLE_TRY_OUT(describe(&desc->in[i], f, &from[i]));
    PRLE_TRY_OUT(describe(&desc->out, f, &to));
    PRLE_TRY_OUT(prle_dnnl_engine(&engine));
    PRLE_TRY_OUT(prle_dnnl_attr(&attr));
    PRLE_TRY_OUT(PRLE_DNNL(dnnl_concat_primitive_desc_create(out, &to, desc->n_in, 1, from, attr, engine)));
out:
    dnnl_primitive_attr_destroy(attr);
    return st;
}

static prle_status bind(const prle_op_desc *desc, prle_dnnl_call *call, prle_op_plan *plan)
{
    for (int i = 0; i < desc->n_in; i++) {
        const prle_dnnl_place place = {.member = offsetof(prle_op_args, in) + (size_t)i * sizeof(void *)};
        PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_MULTIPLE_SRC + i, place, &desc->in[i], &plan->in[i]));
    }
    PRLE_TRY(prle_dnnl_call_bind_layout(call, DNNL_ARG_DST, PRLE_DNNL_AT(out), &desc->out, &plan->out));
    return PRLE_OK;
}

/* One part of dout, `first` channels in, into din[i]. */
static prle_status plan_part(const prle_op_desc *desc, int i, int64_t first, form f, prle_dnnl_call *call, prle_op_plan *plan)
{
    const prle_dnnl_place place = {.member = offsetof(prle_op_args, din) + (size_t)i * sizeof(void *)};
    const dnnl_dims_t offsets = {0, first};
    dnnl_memory_desc_t whole, part, to;
    dnnl_engine_t engine = NULL;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(describe(&desc->out, f, &whole));
    PRLE_TRY_OUT(describe(&desc->in[i], f, &to));
    PRLE_TRY_OUT(PRLE_DNNL(dnnl_memory_desc_init_submemory(&part, &whole, to.dims, offsets)));
    PRLE_TRY_OUT(prle_dnnl_layout(&whole, &desc->out, &plan->dout));
    PRLE_TRY_OUT(prle_dnnl_engine(&engine));
    PRLE_TRY_OUT(prle_dnnl_attr(&attr));
    PRLE_TRY_OUT(PRLE_DNNL(dnnl_reorder_primitive_desc_create(&pd, &part, engine, &to, engine, attr)));
    PRLE_TRY_OUT(prle_dnnl_call_init(call, pd, desc, PRLE_PASS_BACKWARD, plan));
    PRLE_TRY_OUT(prle_dnnl_call_bind(call, DNNL_ARG_FROM, PRLE_DNNL_AT(dout)));
    PRLE_TRY_OUT(prle_dnnl_call_bind_layout(call, DNNL_ARG_TO, place, &desc->in[i], &plan->din[i]));
out:
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    return st;
}

static void destroy(void *state)
{
    concat_state *s = state;

    for (int i = 0; s != NULL && i < PRLE_OP_MAX_IN; i++)
        prle_dnnl_call_deinit(&s->call[i]);
    prle_free(s);
}

static prle_status plan_backward(const prle_op_desc *desc, prle_op_plan *plan)
{
    const form f = form_of(desc, plan);
    concat_state *s = NULL;
    int64_t first = 0;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(PRLE_NEW(s, 1));
    s->n_in = desc->n_in;
    for (int i = 0; i < desc->n_in; i++) {
        PRLE_TRY_OUT(plan_part(desc, i, first, f, &s->call[i], plan));
        first += desc->in[i].dim[1];
    }
    plan->state = s;
    s = NULL;
out:
    destroy(s);
    return st;
}

static prle_status plan_forward(const prle_op_desc *desc, prle_op_plan *plan)
{
    dnnl_primitive_desc_t pd = NULL;
    concat_state *s = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(create(desc, plan, &pd));
    PRLE_TRY_OUT(PRLE_NEW(s, 1));
    PRLE_TRY_OUT(prle_dnnl_call_init(&s->call[0], pd, desc, PRLE_PASS_FORWARD, plan));
    PRLE_TRY_OUT(bind(desc, &s->call[0], plan));
    plan->state = s;
    s = NULL;
out:
    destroy(s);
    dnnl_primitive_desc_destroy(pd);
    return st;
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    if (pass == PRLE_PASS_FORWARD)
        PRLE_TRY(plan_forward(desc, plan));
    else
        PRLE_TRY(plan_backward(desc, plan));
    return PRLE_OK;
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const concat_state *s = state;

    if (pass == PRLE_PASS_FORWARD)
        PRLE_TRY(prle_dnnl_call_run(&s->call[0], args));
    for (int i = 0; i < s->n_in; i++)
        if (args->din[i] != NULL)
            PRLE_TRY(prle_dnnl_call_run(&s->call[i], args));
    return PRLE_OK;
}

const prle_op_impl prle_concat_dnnl = {
    .name = "dnnl", .kind = PRLE_OP_CONCAT, .supports = prle_dnnl_supports, .plan = plan_pass, .run = run, .destroy = destroy};
