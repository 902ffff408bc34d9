/* plan_profile.c - what each step of a plan took, and what it had to move and compute. The times are taken in plan.c. */
#include "core/op/cost.h"
#include "nets/plan_impl.h"

prle_status prle_plan_profile_begin(prle_plan *plan)
{
    if (plan->step_seconds == NULL)
        PRLE_TRY(PRLE_NEW(plan->step_seconds, plan->n_steps + 1)); /* the last: packing weights */
    for (int i = 0; i <= plan->n_steps; i++)
        plan->step_seconds[i] = 0;
    return PRLE_OK;
}

static size_t segment_bytes(const prle_plan *plan, prle_segment_kind kind, int64_t offset)
{
    const prle_graph *g = plan->model->graph;

    for (int i = 0; i < g->n_segments; i++)
        if (g->segment[i].kind == kind && g->segment[i].offset == offset)
            return (size_t)g->segment[i].count * prle_dtype_bytes(plan->compute);
    return 0;
}

/* Of one call: of a slice. */
static size_t place_bytes(const prle_plan *plan, const plan_step *s, place at)
{
    switch (at.kind) {
    case AT_BUFFER: {
        const arena_buffer *b = &plan->buffers[at.index];
        return b->image_bytes > 0 ? (size_t)s->images * b->image_bytes : b->n_bytes;
    }
    case AT_WEIGHTS:
    case AT_GRADS: return segment_bytes(plan, PRLE_SEGMENT_WEIGHT, at.index);
    case AT_STATS: return segment_bytes(plan, PRLE_SEGMENT_STAT, at.index);
    case AT_PACKED: return plan->packed[at.index].n_bytes;
    case AT_NOWHERE: break;
    }
    return 0;
}

static size_t step_bytes(const prle_plan *plan, const plan_step *s)
{
    const size_t n_slices = (size_t)((plan->opts.batch + s->images - 1) / s->images);
    size_t sum = place_bytes(plan, s, s->out) + place_bytes(plan, s, s->dout) + place_bytes(plan, s, s->saved);

    for (int i = 0; i < PRLE_OP_MAX_IN; i++)
        sum += place_bytes(plan, s, s->in[i]) + place_bytes(plan, s, s->din[i]);
    for (int i = 0; i < PRLE_OP_MAX_PARAMS; i++)
        sum += place_bytes(plan, s, s->param[i]) + place_bytes(plan, s, s->dparam[i]);
    return n_slices * (sum + place_bytes(plan, s, s->stats[0]) + place_bytes(plan, s, s->stats[1]));
}

static prle_plan_profile packing(const prle_plan *plan)
{
    prle_plan_profile p = {
        .node = "weights", .kind = PRLE_OP_REORDER, .impl = "pack", .seconds = plan->step_seconds[plan->n_steps]};

    for (int i = 0; i < plan->n_packed; i++)
        p.bytes += 2 * plan->packed[i].n_bytes;
    return p;
}

int prle_plan_profile_count(const prle_plan *plan) { return plan->step_seconds != NULL ? plan->n_steps + 1 : 0; }

prle_plan_profile prle_plan_profile_get(const prle_plan *plan, int i)
{
    if (i == plan->n_steps)
        return packing(plan);
    const plan_step *s = &plan->steps[i];
    const prle_graph_node *node = &plan->model->graph->node[s->node];
    const bool computes = s->impl->kind == node->desc.kind; /* else it moves or adds what the node made */

    return (prle_plan_profile){.node = node->name,
                               .kind = s->impl->kind,
                               .pass = s->pass,
                               .backward = i >= plan->n_forward,
                               .impl = s->impl->name,
                               .seconds = plan->step_seconds[i],
                               .bytes = step_bytes(plan, s),
                               .flop = computes ? 2 * (double)plan->opts.batch * prle_op_macs(&node->desc) : 0};
}
