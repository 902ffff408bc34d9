/* plan_build.c - from groups to steps: the forward pass in the graph's order, the backward pass as the reverse walk from the
 * seeds, a reorder wherever a layout does not fit, gradients summed where a value has several readers. */
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/op/channels.h"
#include "nets/plan_impl.h"

static prle_status buffer_add(prle_plan *plan, size_t n_bytes, int *out)
{
    PRLE_TRY(PLAN_APPEND(plan->buffers, plan->n_buffers));
    plan->buffers[plan->n_buffers - 1] = (arena_buffer){.n_bytes = n_bytes, .first = INT32_MAX, .last = -1};
    *out = plan->n_buffers - 1;
    return PRLE_OK;
}

/* bfloat16 is emulated: values stay f32 and are rounded after each step. */
static bool rounds(const prle_plan *plan) { return plan->opts.dtype == PRLE_BF16 && plan->memory != PRLE_BF16; }

static place in_buffer(int id) { return id >= 0 ? (place){AT_BUFFER, id} : (place){AT_NOWHERE, 0}; }

static void touch(prle_plan *plan, place at, int time)
{
    if (at.kind != AT_BUFFER)
        return;
    arena_buffer *b = &plan->buffers[at.index];
    b->first = time < b->first ? time : b->first;
    b->last = time > b->last ? time : b->last;
}

/* Makes a buffer of a slice one of the whole batch. */
static void buffer_extend(prle_plan *plan, int id)
{
    arena_buffer *b = &plan->buffers[id];

    b->image_bytes = b->n_bytes / (size_t)plan->images;
    b->n_bytes = (size_t)plan->opts.batch * b->image_bytes;
}

/* From here on, so many images at a time. */
static void stretch_begin(prle_plan *plan, int64_t images)
{
    plan->stretch += images != plan->images;
    plan->images = images;
}

/* Appends a step; its buffers are alive now. */
static prle_status step_push(prle_plan *plan, const plan_step *s)
{
    const int now = plan->n_steps;

    PRLE_TRY(PLAN_APPEND(plan->steps, plan->n_steps));
    if (s->state == plan->pending.state)
        plan->pending = (plan_step){.impl = NULL};
    plan->steps[now] = *s;
    plan->steps[now].images = plan->images;
    for (int i = 0; i < PRLE_OP_MAX_IN; i++) {
        touch(plan, s->in[i], now);
        touch(plan, s->din[i], now);
    }
    for (int i = 0; i < PRLE_OP_MAX_PARAMS; i++)
        touch(plan, s->dparam[i], now);
    touch(plan, s->out, now);
    touch(plan, s->dout, now);
    touch(plan, s->saved, now);
    return PRLE_OK;
}

/* Takes over what an implementation has planned: from here until step_push the plan owns it as pending. */
static void step_planned(prle_plan *plan, plan_step *s, const prle_op_plan *p)
{
    s->state = p->state;
    if (p->scratch_bytes > plan->scratch_bytes)
        plan->scratch_bytes = p->scratch_bytes;
    plan->pending = *s;
}

static prle_status copy_add(prle_plan *plan, const copy *fresh, int *out)
{
    PRLE_TRY(PLAN_APPEND(plan->copies, plan->n_copies));
    plan->copies[plan->n_copies - 1] = *fresh;
    plan->copies[plan->n_copies - 1].stretch = plan->stretch;
    if (out != NULL)
        *out = plan->n_copies - 1;
    return PRLE_OK;
}

static prle_status value_add(prle_plan *plan, prle_node node, const prle_layout *layout, int id)
{
    return copy_add(plan, &(copy){.node = node, .layout = *layout, .buffer = id}, NULL);
}

static prle_status gradient_copy_add(prle_plan *plan, prle_node node, const prle_layout *layout, int id, int *out)
{
    return copy_add(plan, &(copy){.node = node, .gradient = true, .layout = *layout, .buffer = id}, out);
}

prle_status plan_reorder_make(prle_plan *plan, const prle_layout *a, const prle_layout *b, plan_step *out)
{
    prle_op_desc desc = {
        .kind = PRLE_OP_REORDER, .n_in = 1, .in = {a->shape}, .out = a->shape, .dtype = plan->compute, .memory = plan->memory};
    prle_op_plan *p = NULL;
    plan_step s = {.pass = PRLE_PASS_FORWARD};

    PRLE_TRY(PRLE_NEW(p, 1));
    p->in[0] = *a;
    p->out = *b;
    prle_status st = prle_op_choose(plan->device->impls, &desc, &s.impl);
    if (st == PRLE_OK)
        st = s.impl->plan(&desc, PRLE_PASS_FORWARD, p);
    if (st == PRLE_OK && p->scratch_bytes > plan->scratch_bytes)
        plan->scratch_bytes = p->scratch_bytes;
    s.state = p->state;
    prle_free(p);
    if (st == PRLE_OK)
        *out = s;
    return st;
}

static prle_status reorder_push(prle_plan *plan, prle_node node, place from, const prle_layout *a, place to, const prle_layout *b)
{
    plan_step s;

    PRLE_TRY(plan_reorder_make(plan, a, b, &s));
    s.node = node;
    s.in[0] = from;
    s.out = to;
    const prle_status st = step_push(plan, &s);
    if (st != PRLE_OK)
        plan_step_deinit(&s);
    return st;
}

/* The copy that the node's producer wrote. */
static int value_first(const prle_plan *plan, prle_node node)
{
    for (int i = 0; i < plan->n_copies; i++)
        if (plan->copies[i].node == node && !plan->copies[i].gradient)
            return i;
    return -1;
}

/* The layout of a copy, for as many images as are computed at a time. */
static prle_status copy_layout(const prle_plan *plan, const copy *from, prle_layout *out)
{
    if (from->stretch == plan->stretch) {
        *out = from->layout;
        return PRLE_OK;
    }
    return prle_layout_batch(plan->images, &from->layout, out);
}

/* The buffer with copy `index` in layout `wanted`, reordered if need be. share: later callers may have that reordered copy too.
 */
static prle_status copy_in_layout(prle_plan *plan, int index, const prle_layout *wanted, bool share, int *out)
{
    copy from = plan->copies[index];

    PRLE_TRY(copy_layout(plan, &from, &from.layout));
    if (prle_layout_equal(&from.layout, wanted)) {
        *out = from.buffer;
        return PRLE_OK;
    }
    for (int i = index + 1; share && i < plan->n_copies; i++) {
        if (plan->copies[i].node == from.node && !plan->copies[i].gradient && plan->copies[i].stretch == plan->stretch &&
            prle_layout_equal(&plan->copies[i].layout, wanted)) {
            *out = plan->copies[i].buffer;
            return PRLE_OK;
        }
    }
    PRLE_TRY(buffer_add(plan, wanted->n_bytes, out));
    if (share)
        PRLE_TRY(value_add(plan, from.node, wanted, *out));
    return reorder_push(plan, from.node, in_buffer(from.buffer), &from.layout, in_buffer(*out), wanted);
}

/* ---- an input of bytes: each layout that is asked for is made of them, not of another ---- */

static bool is_pixels(const prle_plan *plan, prle_node node)
{
    return plan->opts.pixels != NULL && plan->model->graph->node[node].desc.kind == PRLE_OP_INPUT;
}

static int copy_find(const prle_plan *plan, prle_node node, const prle_layout *layout)
{
    for (int i = 0; i < plan->n_copies; i++)
        if (plan->copies[i].node == node && !plan->copies[i].gradient && plan->copies[i].stretch == plan->stretch &&
            prle_layout_equal(&plan->copies[i].layout, layout))
            return i;
    return -1;
}

/* *made: as wanted, or as the device writes it. The step is the caller's: what is pending is the step that wants it. */
static prle_status normalise_make(prle_plan *plan, const prle_layout *wanted, prle_layout *made, plan_step *out)
{
    prle_op_desc desc = {
        .kind = PRLE_OP_NORMALISE, .n_in = 1, .in = {wanted->shape}, .dtype = plan->compute, .memory = plan->memory};
    prle_op_plan *p = NULL;

    PRLE_TRY(prle_op_infer(&desc));
    PRLE_TRY(prle_op_choose(plan->device->impls, &desc, &out->impl));
    PRLE_TRY(PRLE_NEW(p, 1));
    p->out = *wanted;
    const prle_status st = out->impl->plan(&desc, PRLE_PASS_FORWARD, p);
    out->state = p->state;
    *made = p->out;
    prle_free(p);
    return st;
}

static prle_status normalise_push(prle_plan *plan, plan_step *s, const prle_layout *made, int *index)
{
    int id = -1;

    PRLE_TRY(buffer_add(plan, made->n_bytes, &id));
    PRLE_TRY(copy_add(plan, &(copy){.node = s->node, .layout = *made, .buffer = id}, index));
    s->in[0] = in_buffer(plan->input);
    s->param[0] = plan->pixel_table;
    s->out = in_buffer(id);
    return step_push(plan, s);
}

/* The index of the copy from which a reorder, if need be, makes what is wanted. */
static prle_status normalised(prle_plan *plan, prle_node node, const prle_layout *wanted, int *index)
{
    plan_step s = {.pass = PRLE_PASS_FORWARD, .node = node};
    prle_layout made;

    *index = copy_find(plan, node, wanted);
    if (*index >= 0)
        return PRLE_OK;
    PRLE_TRY(normalise_make(plan, wanted, &made, &s));
    *index = copy_find(plan, node, &made);
    const bool is_there = *index >= 0;
    const prle_status st = is_there ? PRLE_OK : normalise_push(plan, &s, &made, index);
    if (is_there || st != PRLE_OK)
        plan_step_deinit(&s);
    return st;
}

static prle_status pixels_begin(prle_plan *plan, const prle_shape *shape)
{
    const prle_normaliser *pixels = plan->opts.pixels;
    const bool wide = plan->compute == PRLE_F64;
    const size_t table_bytes = wide ? sizeof pixels->f64 : sizeof pixels->f32;

    PRLE_TRY(buffer_add(plan, (size_t)prle_shape_count(shape), &plan->input));
    PRLE_TRY(plan_packed_add(plan, table_bytes, &plan->pixel_table));
    return plan->device->copy_in(plan_pointer(plan, plan->pixel_table), wide ? (const void *)pixels->f64 : pixels->f32,
                                 table_bytes);
}

static prle_status value_in_layout(prle_plan *plan, prle_node node, const prle_layout *wanted, place *out)
{
    int id = -1, index = -1;

    if (is_pixels(plan, node))
        PRLE_TRY(normalised(plan, node, wanted, &index));
    else
        index = value_first(plan, node);
    PRLE_TRY(copy_in_layout(plan, index, wanted, true, &id));
    *out = in_buffer(id);
    return PRLE_OK;
}

/* Parameters and running statistics of a group's step. */
static prle_status params_place(prle_plan *plan, const plan_group *gr, const prle_op_plan *p, plan_step *s)
{
    const prle_graph *g = plan->model->graph;
    const prle_graph_node *node = &g->node[gr->first];

    for (int i = 0; i < gr->desc.n_params; i++)
        PRLE_TRY(plan_pack_param(plan, gr, i, &p->param[i], &s->param[i]));
    for (int i = 0; i < 2 && gr->desc.kind == PRLE_OP_BATCH_NORM; i++)
        s->stats[i] = (place){AT_STATS, g->segment[node->stat[i]].offset};
    return PRLE_OK;
}

/* Layouts as they exist now, for an implementation to look at. */
static prle_status offer(const prle_plan *plan, const plan_group *gr, prle_op_plan *p)
{
    for (int i = 0; i < gr->desc.n_in; i++)
        if (is_pixels(plan, gr->in[i]))
            p->in[i] = prle_layout_plain(plan->compute, &gr->desc.in[i]);
        else
            PRLE_TRY(copy_layout(plan, &plan->copies[value_first(plan, gr->in[i])], &p->in[i]));
    for (int i = 0; i < gr->desc.n_params; i++)
        p->param[i] = p->dparam[i] = prle_layout_plain(plan->compute, &gr->desc.param[i]);
    return PRLE_OK;
}

static prle_status forward_steps(prle_plan *plan, plan_group *gr, prle_op_plan *p)
{
    plan_step s = {.pass = PRLE_PASS_FORWARD, .node = gr->first};
    int out = -1;

    PRLE_TRY(prle_op_choose(plan->device->impls, &gr->desc, &gr->impl));
    s.impl = gr->impl;
    PRLE_TRY(offer(plan, gr, p));
    p->training = gr->backward;
    PRLE_TRY(gr->impl->plan(&gr->desc, PRLE_PASS_FORWARD, p));
    step_planned(plan, &s, p);
    for (int i = 0; i < gr->desc.n_in; i++) {
        PRLE_TRY(value_in_layout(plan, gr->in[i], &p->in[i], &s.in[i]));
        gr->in_layout[i] = p->in[i];
    }
    PRLE_TRY(params_place(plan, gr, p, &s));
    PRLE_TRY(buffer_add(plan, p->out.n_bytes, &out));
    if (plan_slices_cross(plan, gr))
        buffer_extend(plan, out);
    PRLE_TRY(value_add(plan, gr->out, &p->out, out));
    gr->out_layout = p->out;
    s.out = in_buffer(out);
    if (p->saved_bytes > 0 && (gr->backward || gr->desc.kind == PRLE_OP_DROPOUT)) {
        PRLE_TRY(buffer_add(plan, p->saved_bytes, &gr->saved));
        s.saved = in_buffer(gr->saved);
    }
    if (rounds(plan) && gr->desc.kind != PRLE_OP_LINEAR)
        s.round_out = (int64_t)(p->out.n_bytes / sizeof(float));
    if (gr->desc.kind == PRLE_OP_BATCH_NORM && !gr->desc.u.batch_norm.frozen)
        s.counter = &plan->model->counters[plan->model->graph->segment[plan->model->graph->node[gr->first].counter].offset];
    return step_push(plan, &s);
}

static prle_status input_begin(prle_plan *plan, const plan_group *gr)
{
    const prle_layout plain = prle_layout_plain(plan->compute, &gr->desc.out);

    if (plan->opts.pixels != NULL) {
        PRLE_TRY(pixels_begin(plan, &plain.shape));
    } else {
        PRLE_TRY(buffer_add(plan, plain.n_bytes, &plan->input));
        PRLE_TRY(value_add(plan, gr->out, &plain, plan->input));
    }
    buffer_extend(plan, plan->input);
    touch(plan, in_buffer(plan->input), 0);
    return PRLE_OK;
}

/* The plan of a group's pass is big (layouts): one on the heap for all of them. */
static prle_status forward_build(prle_plan *plan, prle_op_plan *p)
{
    for (int i = 0; i < plan->n_groups; i++) {
        plan_group *gr = &plan->groups[i];

        memset(p, 0, sizeof *p);
        stretch_begin(plan, gr->desc.kind == PRLE_OP_INPUT ? plan->opts.batch : gr->images);
        if (gr->desc.kind == PRLE_OP_INPUT) {
            PRLE_TRY(input_begin(plan, gr));
            continue;
        }
        if (forward_steps(plan, gr, p) != PRLE_OK)
            return prle_error_prefix("%s: node %s", plan->model->graph->name, plan->model->graph->node[gr->first].name);
    }
    return PRLE_OK;
}

/* A value for the caller to read until the next run: plain, alive to the end. */
static prle_status readable(prle_plan *plan, int copy_index, bool share, int *out)
{
    prle_shape shape = plan->copies[copy_index].layout.shape;

    shape.dim[0] = plan->opts.batch;
    const prle_layout plain = prle_layout_plain(plan->compute, &shape);
    PRLE_TRY(copy_in_layout(plan, copy_index, &plain, share, out));
    touch(plan, in_buffer(*out), INT32_MAX - 1);
    return PRLE_OK;
}

static prle_status kept_build(prle_plan *plan)
{
    const prle_nodes *keep = &plan->opts.keep;

    stretch_begin(plan, plan->opts.batch);
    for (int i = 0; i < keep->n; i++)
        PRLE_CHECK(!is_pixels(plan, plan->alias[keep->node[i]]), PRLE_EINVAL, "an input of bytes cannot be read as numbers");
    for (int i = 0; i < keep->n; i++)
        PRLE_TRY(readable(plan, value_first(plan, plan->alias[keep->node[i]]), true, &plan->value[i]));
    return readable(plan, value_first(plan, plan->alias[plan->model->graph->output]), true, &plan->value[PRLE_PLAN_MAX_NODES]);
}

/* Plans a sum of two tensors of one layout; p has room for the agreement. */
static prle_status sum_plan(prle_plan *plan, const prle_layout *layout, prle_op_plan *p, plan_step *s)
{
    const prle_op_desc desc = {.kind = PRLE_OP_ADD,
                               .n_in = 2,
                               .in = {layout->shape, layout->shape},
                               .out = layout->shape,
                               .dtype = plan->compute,
                               .memory = plan->memory};

    memset(p, 0, sizeof *p);
    p->in[0] = p->in[1] = *layout;
    PRLE_TRY(prle_op_choose(plan->device->impls, &desc, &s->impl));
    PRLE_TRY(s->impl->plan(&desc, PRLE_PASS_FORWARD, p));
    step_planned(plan, s, p);
    return PRLE_OK;
}

/* Adds a contribution to the gradient of a value. */
static prle_status gradient_add(prle_plan *plan, prle_node node, const prle_layout *layout, int id, prle_op_plan *p)
{
    const int before = plan->grad[node];
    plan_step s = {.pass = PRLE_PASS_FORWARD, .node = node};
    int index = -1, sum = -1, other = -1;

    PRLE_TRY(gradient_copy_add(plan, node, layout, id, &index));
    plan->grad[node] = index;
    if (before < 0)
        return PRLE_OK;
    const prle_layout first = plan->copies[before].layout;
    PRLE_TRY(sum_plan(plan, &first, p, &s));
    PRLE_TRY(copy_in_layout(plan, before, &p->in[0], false, &sum));
    PRLE_TRY(copy_in_layout(plan, index, &p->in[1], false, &other));
    s.in[0] = in_buffer(sum);
    s.in[1] = in_buffer(other);
    PRLE_TRY(buffer_add(plan, p->out.n_bytes, &sum)); /* a fresh one: the parts may be shared with other values */
    s.out = in_buffer(sum);
    if (rounds(plan))
        s.round_out = (int64_t)(p->out.n_bytes / sizeof(float));
    PRLE_TRY(gradient_copy_add(plan, node, &p->out, sum, &plan->grad[node]));
    return step_push(plan, &s);
}

/* Where a parameter's gradient goes: straight into model->grads, or through a temporary when its layout is not plain or another
 * contribution is there already. */
static prle_status dparam_place(prle_plan *plan, int segment, const prle_layout *layout, place *out)
{
    const prle_segment *seg = &plan->model->graph->segment[segment];
    int temporary = -1;

    if (layout->plain && !plan->segment_written[segment]) {
        *out = (place){AT_GRADS, seg->offset};
        return PRLE_OK;
    }
    PRLE_TRY(buffer_add(plan, layout->n_bytes, &temporary));
    *out = in_buffer(temporary);
    return PRLE_OK;
}

/* Moves a gradient from its temporary into model->grads, or adds it there. */
static prle_status dparam_collect(prle_plan *plan, prle_node node, int segment, const prle_layout *layout, place from)
{
    const prle_segment *seg = &plan->model->graph->segment[segment];
    const prle_layout plain = prle_layout_plain(plan->compute, &seg->shape);
    const place to = {AT_GRADS, seg->offset};
    prle_op_plan *p = NULL;
    plan_step s = {.pass = PRLE_PASS_FORWARD, .node = node};
    int temporary = -1;

    if (from.kind == AT_GRADS)
        return PRLE_OK;
    if (!plan->segment_written[segment])
        return reorder_push(plan, node, from, layout, to, &plain);
    if (!layout->plain) {
        PRLE_TRY(buffer_add(plan, plain.n_bytes, &temporary));
        PRLE_TRY(reorder_push(plan, node, from, layout, in_buffer(temporary), &plain));
        from = in_buffer(temporary);
    }
    PRLE_TRY(PRLE_NEW(p, 1));
    const prle_status st = sum_plan(plan, &plain, p, &s);
    prle_free(p);
    PRLE_TRY(st);
    s.in[0] = s.out = to;
    s.in[1] = from;
    return step_push(plan, &s);
}

static prle_status dparams_collect(prle_plan *plan, const plan_group *gr, const prle_op_plan *p, const plan_step *s)
{
    const prle_graph_node *node = &plan->model->graph->node[gr->first];

    for (int i = 0; i < gr->desc.n_params; i++) {
        const int segment = node->param[i];
        const prle_segment *seg = &plan->model->graph->segment[segment];

        PRLE_TRY(dparam_collect(plan, gr->first, segment, &p->dparam[i], s->dparam[i]));
        plan->segment_written[segment] = true;
        if (--plan->segment_uses[segment] > 0)
            continue;
        plan_step *last = &plan->steps[plan->n_steps - 1];
        if (last->grads_count == 0)
            last->grads_first = seg->offset;
        last->grads_count = seg->offset + seg->count - last->grads_first; /* weight and bias lie side by side */
    }
    return PRLE_OK;
}

static bool input_carries(const prle_plan *plan, const plan_group *gr)
{
    for (int i = 0; i < gr->desc.n_in; i++)
        if (plan->carries[gr->in[i]])
            return true;
    return false;
}

/* What a backward step reads besides weights: the values and gradient in the layouts it wants. */
static prle_status backward_reads(prle_plan *plan, const plan_group *gr, const prle_op_plan *p, plan_step *s)
{
    int dout = -1;

    for (int i = 0; i < gr->desc.n_in && p->uses_in; i++)
        PRLE_TRY(value_in_layout(plan, gr->in[i], &p->in[i], &s->in[i]));
    if (p->uses_out)
        PRLE_TRY(value_in_layout(plan, gr->out, &p->out, &s->out));
    PRLE_TRY(copy_in_layout(plan, plan->grad[gr->out], &p->dout, false, &dout));
    s->dout = in_buffer(dout);
    s->saved = in_buffer(gr->saved);
    return PRLE_OK;
}

static prle_status pass_plan(prle_plan *plan, const plan_group *gr, prle_op_pass pass, prle_op_plan *p, plan_step *s)
{
    memset(p, 0, sizeof *p);
    PRLE_TRY(offer(plan, gr, p));
    for (int i = 0; i < gr->desc.n_in; i++)
        p->in[i] = gr->in_layout[i];
    p->out = gr->out_layout;
    p->dout = plan->copies[plan->grad[gr->out]].layout;
    p->training = true;
    *s = (plan_step){.pass = pass, .node = gr->first, .impl = gr->impl};
    PRLE_TRY(gr->impl->plan(&gr->desc, pass, p));
    step_planned(plan, s, p);
    return PRLE_OK;
}

static prle_status weights_steps(prle_plan *plan, const plan_group *gr, prle_op_plan *p)
{
    const prle_graph_node *node = &plan->model->graph->node[gr->first];
    plan_step s;

    PRLE_TRY(pass_plan(plan, gr, PRLE_PASS_WEIGHTS, p, &s));
    PRLE_TRY(backward_reads(plan, gr, p, &s));
    for (int i = 0; i < gr->desc.n_params; i++)
        PRLE_TRY(dparam_place(plan, node->param[i], &p->dparam[i], &s.dparam[i]));
    PRLE_TRY(step_push(plan, &s));
    return dparams_collect(plan, gr, p, &s);
}

static prle_status backward_steps(prle_plan *plan, const plan_group *gr, prle_op_plan *p)
{
    const prle_graph_node *node = &plan->model->graph->node[gr->first];
    const bool norm = gr->desc.kind == PRLE_OP_BATCH_NORM;
    const bool dparams = !prle_op_has_weights_pass(gr->desc.kind) && plan->opts.param_grads;
    int din[PRLE_OP_MAX_IN] = {-1, -1, -1, -1}, dout = -1;
    plan_step s;

    PRLE_TRY(pass_plan(plan, gr, PRLE_PASS_BACKWARD, p, &s));
    if (p->din_is_dout) {
        const prle_layout dout_layout = p->dout;
        plan_step_deinit(&plan->pending);
        PRLE_TRY(copy_in_layout(plan, plan->grad[gr->out], &p->dout, false, &dout));
        for (int i = 0; i < gr->desc.n_in; i++)
            if (plan->carries[gr->in[i]])
                PRLE_TRY(gradient_add(plan, gr->in[i], &dout_layout, dout, p));
        return PRLE_OK;
    }
    PRLE_TRY(backward_reads(plan, gr, p, &s));
    PRLE_TRY(params_place(plan, gr, p, &s));
    for (int i = 0; i < gr->desc.n_params && dparams; i++)
        PRLE_TRY(dparam_place(plan, node->param[i], &p->dparam[i], &s.dparam[i]));
    for (int i = 0; i < gr->desc.n_in; i++) {
        if (!plan->carries[gr->in[i]] && (!norm || i > 0)) /* a batch norm's gradients come together */
            continue;
        PRLE_TRY(buffer_add(plan, p->din[i].n_bytes, &din[i]));
        s.din[i] = in_buffer(din[i]);
    }
    if (rounds(plan) && din[0] >= 0 && (gr->desc.n_in == 1 || norm)) /* a residual's gradient is rounded already */
        s.round_din = (int64_t)(p->din[0].n_bytes / sizeof(float));
    PRLE_TRY(step_push(plan, &s));
    if (dparams)
        PRLE_TRY(dparams_collect(plan, gr, p, &s));
    prle_layout din_layout[PRLE_OP_MAX_IN]; /* gradient_add uses p */
    memcpy(din_layout, p->din, sizeof din_layout);
    for (int i = 0; i < gr->desc.n_in; i++)
        if (plan->carries[gr->in[i]])
            PRLE_TRY(gradient_add(plan, gr->in[i], &din_layout[i], din[i], p));
    return PRLE_OK;
}

static prle_status backward_of_group(prle_plan *plan, const plan_group *gr, prle_op_plan *p)
{
    const bool dparams = gr->desc.n_params > 0 && plan->opts.param_grads;

    if (prle_op_has_weights_pass(gr->desc.kind) && dparams)
        PRLE_TRY(weights_steps(plan, gr, p));
    if (input_carries(plan, gr) || (!prle_op_has_weights_pass(gr->desc.kind) && dparams))
        PRLE_TRY(backward_steps(plan, gr, p));
    return PRLE_OK;
}

/* Where a gradient enters: alive from the end of the forward pass on, when the caller writes it. */
static prle_status seed_build(prle_plan *plan, prle_node node, prle_op_plan *p, int *out)
{
    const prle_node value = plan->alias[node];
    const prle_layout plain = prle_layout_plain(plan->compute, &plan->copies[value_first(plan, value)].layout.shape);

    PRLE_TRY(buffer_add(plan, plain.n_bytes, out));
    touch(plan, in_buffer(*out), plan->n_forward);
    return gradient_add(plan, value, &plain, *out, p);
}

static prle_status backward_build(prle_plan *plan, prle_op_plan *p)
{
    const prle_graph *g = plan->model->graph;

    for (int i = 0; i < plan->n_groups && plan->opts.param_grads; i++)
        for (int k = 0; k < plan->groups[i].desc.n_params && plan->groups[i].backward; k++)
            plan->segment_uses[g->node[plan->groups[i].first].param[k]]++;
    PRLE_TRY(seed_build(plan, g->output, p, &plan->seed[PRLE_PLAN_MAX_NODES]));
    for (int i = 0; i < plan->opts.seeds.n; i++)
        PRLE_TRY(seed_build(plan, plan->opts.seeds.node[i], p, &plan->seed[i]));
    for (int i = plan->n_groups - 1; i >= 0; i--) {
        const plan_group *gr = &plan->groups[i];

        if (!gr->backward || plan->grad[gr->out] < 0)
            continue;
        if (backward_of_group(plan, gr, p) != PRLE_OK)
            return prle_error_prefix("%s: gradient of node %s", g->name, g->node[gr->first].name);
    }
    for (int i = 0; i < plan->opts.wanted.n; i++) {
        const prle_node node = plan->alias[plan->opts.wanted.node[i]];
        PRLE_CHECK(plan->grad[node] >= 0, PRLE_EINVAL, "%s: nothing with a gradient depends on node %s", g->name,
                   g->node[node].name);
        PRLE_TRY(readable(plan, plan->grad[node], false, &plan->wanted[i]));
    }
    return PRLE_OK;
}

prle_status plan_build(prle_plan *plan)
{
    prle_op_plan *p = NULL;

    PRLE_TRY(PRLE_NEW(p, 1));
    prle_status st = forward_build(plan, p);
    if (st == PRLE_OK)
        st = kept_build(plan);
    plan->n_forward = plan->n_steps;
    plan_slices_live(plan);
    if (st == PRLE_OK && (plan->opts.param_grads || plan->opts.wanted.n > 0))
        st = backward_build(plan, p);
    prle_free(p);
    return st;
}
