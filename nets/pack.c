/* pack.c - what implementations read in place of the master weights: batch norm folded in, rounded, in another layout; remade
 * when the model's version has moved. */
#include <string.h>

#include "core/alloc.h"
#include "nets/plan_impl.h"

void plan_round_bf16(float *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;

        memcpy(&bits, &values[i], sizeof bits);
        if ((bits & 0x7FFFFFFFu) > 0x7F800000u)
            bits |= 0x400000u; /* NaN stays NaN */
        else
            bits += 0x7FFFu + ((bits >> 16) & 1u);
        bits &= 0xFFFF0000u;
        memcpy(&values[i], &bits, sizeof bits);
    }
}

prle_status plan_packed_add(prle_plan *plan, size_t n_bytes, place *out)
{
    PRLE_TRY(PLAN_APPEND(plan->packed, plan->n_packed));
    plan_packed *p = &plan->packed[plan->n_packed - 1];
    p->n_bytes = n_bytes;
    PRLE_TRY(plan->device->alloc(n_bytes, &p->data));
    *out = (place){AT_PACKED, plan->n_packed - 1};
    return PRLE_OK;
}

static prle_status pack_add(prle_plan *plan, pack_kind kind, plan_pack **out)
{
    PRLE_TRY(PLAN_APPEND(plan->packs, plan->n_packs));
    *out = &plan->packs[plan->n_packs - 1];
    (*out)->kind = kind;
    return PRLE_OK;
}

/* The group's folding, made once for both of its parameters. */
static prle_status fold_find_or_add(prle_plan *plan, const plan_group *gr, const plan_pack **out)
{
    plan_pack *p = NULL;

    for (int i = 0; i < plan->n_packs; i++) {
        if (plan->packs[i].kind == PACK_FOLD && plan->packs[i].conv == gr->first) {
            *out = &plan->packs[i];
            return PRLE_OK;
        }
    }
    PRLE_TRY(pack_add(plan, PACK_FOLD, &p));
    p->conv = gr->first;
    p->norm = gr->norm;
    PRLE_TRY(plan_packed_add(plan, (size_t)prle_shape_count(&gr->desc.param[0]) * prle_dtype_bytes(plan->compute), &p->to));
    PRLE_TRY(plan_packed_add(plan, (size_t)prle_shape_count(&gr->desc.param[1]) * prle_dtype_bytes(plan->compute), &p->to_bias));
    *out = p;
    return PRLE_OK;
}

/* The forward and backward pass may want the same. */
static plan_pack *reorder_find(const prle_plan *plan, place from, const prle_layout *layout)
{
    for (int i = 0; i < plan->n_packs; i++) {
        plan_pack *p = &plan->packs[i];
        if (p->kind == PACK_REORDER && p->from.kind == from.kind && p->from.index == from.index &&
            prle_layout_equal(&p->layout, layout))
            return p;
    }
    return NULL;
}

/* Likewise for rounding: one pack per source. */
static plan_pack *round_find(const prle_plan *plan, place from)
{
    for (int i = 0; i < plan->n_packs; i++) {
        plan_pack *p = &plan->packs[i];
        if (p->kind == PACK_ROUND && p->from.kind == from.kind && p->from.index == from.index)
            return p;
    }
    return NULL;
}

static prle_status round_find_or_add(prle_plan *plan, const prle_layout *plain, place *at)
{
    plan_pack *round = round_find(plan, *at);

    if (round == NULL) {
        PRLE_TRY(pack_add(plan, PACK_ROUND, &round));
        round->from = *at;
        round->n = prle_shape_count(&plain->shape);
        PRLE_TRY(plan_packed_add(plan, plain->n_bytes, &round->to));
    }
    *at = round->to;
    return PRLE_OK;
}

prle_status plan_pack_param(prle_plan *plan, const plan_group *gr, int index, const prle_layout *wanted, place *out)
{
    const prle_graph_node *node = &plan->model->graph->node[gr->first];
    const prle_layout plain = prle_layout_plain(plan->compute, &gr->desc.param[index]);
    place at = {AT_NOWHERE, 0};

    if (gr->norm >= 0) {
        const plan_pack *fold = NULL;
        PRLE_TRY(fold_find_or_add(plan, gr, &fold));
        at = index == 0 ? fold->to : fold->to_bias;
    } else {
        at = (place){AT_WEIGHTS, plan->model->graph->segment[node->param[index]].offset};
    }
    if (plan->opts.dtype == PRLE_BF16 && plan->memory != PRLE_BF16 && index == 0 &&
        (gr->desc.kind == PRLE_OP_CONV2D || gr->desc.kind == PRLE_OP_LINEAR))
        PRLE_TRY(round_find_or_add(plan, &plain, &at));
    if (!prle_layout_equal(wanted, &plain)) {
        plan_pack *reorder = reorder_find(plan, at, wanted);
        if (reorder != NULL) {
            *out = reorder->to;
            return PRLE_OK;
        }
        PRLE_TRY(pack_add(plan, PACK_REORDER, &reorder));
        PRLE_TRY(plan_reorder_make(plan, &plain, wanted, &reorder->step));
        reorder->layout = *wanted;
        reorder->step.node = gr->first;
        reorder->from = reorder->step.in[0] = at;
        PRLE_TRY(plan_packed_add(plan, wanted->n_bytes, &at));
        reorder->to = reorder->step.out = at;
    }
    *out = at;
    return PRLE_OK;
}

static const void *segment_pointer(const prle_plan *plan, place_kind kind, int segment)
{
    return segment >= 0 ? plan_pointer(plan, (place){kind, plan->model->graph->segment[segment].offset}) : NULL;
}

static prle_status fold_run(const prle_plan *plan, const plan_pack *p)
{
    const prle_graph *g = plan->model->graph;
    const prle_graph_node *conv = &g->node[p->conv], *norm = &g->node[p->norm];
    const int64_t k = conv->desc.param[0].dim[0];
    const prle_fold_args args = {.dtype = plan->compute,
                                 .k = k,
                                 .per_k = prle_shape_count(&conv->desc.param[0]) / k,
                                 .eps = norm->desc.u.batch_norm.eps,
                                 .weight = segment_pointer(plan, AT_WEIGHTS, conv->param[0]),
                                 .bias = segment_pointer(plan, AT_WEIGHTS, conv->param[1]),
                                 .gamma = segment_pointer(plan, AT_WEIGHTS, norm->param[0]),
                                 .beta = segment_pointer(plan, AT_WEIGHTS, norm->param[1]),
                                 .mean = segment_pointer(plan, AT_STATS, norm->stat[0]),
                                 .var = segment_pointer(plan, AT_STATS, norm->stat[1]),
                                 .to = plan_pointer(plan, p->to),
                                 .to_bias = plan_pointer(plan, p->to_bias)};

    return plan->device->fold(&args);
}

prle_status plan_pack_run(prle_plan *plan)
{
    if (plan->version == plan->model->version)
        return PRLE_OK;
    for (int i = 0; i < plan->n_packs; i++) {
        const plan_pack *p = &plan->packs[i];

        switch (p->kind) {
        case PACK_FOLD: PRLE_TRY(fold_run(plan, p)); break;
        case PACK_ROUND:
            memcpy(plan_pointer(plan, p->to), plan_pointer(plan, p->from), (size_t)p->n * sizeof(float));
            plan_round_bf16(plan_pointer(plan, p->to), p->n);
            break;
        case PACK_REORDER: PRLE_TRY(p->step.impl->run(p->step.state, PRLE_PASS_FORWARD, &p->step.args)); break;
        }
    }
    plan->version = plan->model->version;
    return PRLE_OK;
}
