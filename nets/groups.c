/* groups.c - which nodes are computed as one operator: batch norm, residual and activation fused into a convolution (inference),
 * swish into the depthwise convolution after it, residual and relu into a batch norm, dropout left out of inference, dead nodes
 * left out always. */
#include <string.h>

#include "core/alloc.h"
#include "nets/plan_impl.h"

static bool contains(const prle_nodes *nodes, prle_node node)
{
    for (int i = 0; i < nodes->n; i++)
        if (nodes->node[i] == node)
            return true;
    return false;
}

typedef struct pass {
    prle_plan *plan;
    const prle_graph *g;
    bool *needed, *done; /* [n_nodes] */
    bool *moved;         /* [n_nodes] an activation that its only reader computes */
    int *consumers;      /* [n_nodes] needed nodes that read it */
} pass;

/* Its own value must exist: somebody outside reads it, or its gradient, or writes that. */
static bool is_kept(const pass *p, prle_node node)
{
    const prle_plan_opts *o = &p->plan->opts;

    return node == p->g->output || contains(&o->keep, node) || contains(&o->wanted, node) || contains(&o->seeds, node);
}

static void mark_needed(pass *p)
{
    for (prle_node n = p->g->n_nodes - 1; n >= 0; n--) {
        p->needed[n] = p->needed[n] || is_kept(p, n);
        for (int i = 0; p->needed[n] && i < p->g->node[n].desc.n_in; i++) {
            p->needed[p->g->node[n].in[i]] = true;
            p->consumers[p->g->node[n].in[i]]++;
        }
    }
}

/* A gradient must reach a node when it, or one before it, is wanted or has parameters to train. */
static void mark_carriers(pass *p)
{
    for (prle_node n = 0; n < p->g->n_nodes; n++) {
        const prle_graph_node *node = &p->g->node[n];
        bool carries = contains(&p->plan->opts.wanted, n) || (p->plan->opts.param_grads && node->desc.n_params > 0);

        for (int i = 0; i < node->desc.n_in; i++)
            carries = carries || p->plan->carries[node->in[i]];
        p->plan->carries[n] = carries && p->needed[n];
    }
}

/* The only reader of n, or -1 when there are several or n itself must exist. */
static prle_node only_reader(const pass *p, prle_node n)
{
    if (p->consumers[n] != 1 || is_kept(p, n))
        return -1;
    for (prle_node m = n + 1; m < p->g->n_nodes; m++)
        for (int i = 0; p->needed[m] && i < p->g->node[m].desc.n_in; i++)
            if (p->g->node[m].in[i] == n)
                return m;
    return -1;
}

static bool is_kind(const pass *p, prle_node n, prle_op_kind kind) { return n >= 0 && p->g->node[n].desc.kind == kind; }

/* Node n is computed by the group too, and its value is now the group's. */
static void absorb(pass *p, plan_group *gr, prle_node n)
{
    p->done[n] = true;
    gr->out = n;
}

static bool is_relu(const pass *p, prle_node n)
{
    return is_kind(p, n, PRLE_OP_ACT) && p->g->node[n].desc.u.act.act == PRLE_ACT_RELU;
}

/* conv [+ batch norm] [+ dropout that is left out] [+ residual computed earlier] [+ activation], where no gradient passes. */
static void fuse_into_conv(pass *p, plan_group *gr)
{
    prle_node next = only_reader(p, gr->out);

    if (is_kind(p, next, PRLE_OP_BATCH_NORM)) {
        gr->norm = next;
        gr->desc.u.conv2d.bias = true;
        absorb(p, gr, next);
        next = only_reader(p, gr->out);
    }
    if (is_kind(p, next, PRLE_OP_DROPOUT) && !p->plan->opts.dropout) {
        absorb(p, gr, next);
        next = only_reader(p, gr->out);
    }
    if (is_kind(p, next, PRLE_OP_ADD)) {
        const prle_node *in = p->g->node[next].in;
        const prle_node other = in[0] == gr->out ? in[1] : in[0];

        if (other != gr->out && p->done[other] && !p->plan->carries[other]) {
            gr->desc.u.conv2d.residual = true;
            gr->desc.in[gr->desc.n_in] = p->g->node[next].desc.out;
            gr->in[gr->desc.n_in++] = other;
            absorb(p, gr, next);
            next = only_reader(p, gr->out);
        }
    }
    if (is_kind(p, next, PRLE_OP_ACT) && !p->moved[next]) {
        gr->desc.u.conv2d.act = p->g->node[next].desc.u.act;
        absorb(p, gr, next);
    }
}

/* For the plan's batch and types. */
static void desc_complete(const prle_plan *plan, prle_op_desc *desc)
{
    desc->dtype = plan->compute;
    desc->memory = plan->memory;
    for (int i = 0; i < desc->n_in; i++)
        desc->in[i].dim[0] = plan->opts.batch;
    desc->out.dim[0] = plan->opts.batch;
}

/* Swish costs as much as tens of products. Kernels of our own are twice as fast at it as oneDNN's, and read each value once. So
 * it is left to a depthwise convolution where whoever computes that can: the device's choice does not depend on it. */
static prle_status swish_moves(const pass *p, prle_node n, bool *out)
{
    const prle_act_attrs *act = &p->g->node[n].desc.u.act;
    const prle_node reader = only_reader(p, n);
    const prle_op_impl *impl = NULL;
    const char *why = NULL;

    *out = false;
    if (!is_kind(p, n, PRLE_OP_ACT) || act->act != PRLE_ACT_SWISH || !is_kind(p, reader, PRLE_OP_CONV2D) || p->plan->carries[n] ||
        p->plan->carries[reader] || p->g->node[reader].desc.u.conv2d.groups == 1)
        return PRLE_OK;
    prle_op_desc desc = p->g->node[reader].desc;
    desc_complete(p->plan, &desc);
    PRLE_TRY(prle_op_choose(p->plan->device->impls, &desc, &impl));
    desc.u.conv2d.in_act = *act;
    *out = impl->supports(&desc, &why);
    return PRLE_OK;
}

static prle_status mark_moved(pass *p)
{
    for (prle_node n = 0; n < p->g->n_nodes; n++)
        PRLE_TRY(swish_moves(p, n, &p->moved[n]));
    return PRLE_OK;
}

/* batch norm [+ residual computed earlier] [+ relu]. A sum without a relu stays by itself: its gradient is free. */
static void fuse_into_norm(pass *p, plan_group *gr)
{
    const prle_node sum = only_reader(p, gr->out), relu = is_kind(p, sum, PRLE_OP_ADD) ? only_reader(p, sum) : sum;

    if (!is_relu(p, relu))
        return;
    if (relu != sum) {
        const prle_node *in = p->g->node[sum].in;
        const prle_node other = in[0] == gr->out ? in[1] : in[0];

        if (other == gr->out || !p->done[other])
            return;
        gr->desc.u.batch_norm.residual = true;
        gr->desc.in[gr->desc.n_in] = p->g->node[sum].desc.out;
        gr->in[gr->desc.n_in++] = other;
        absorb(p, gr, sum);
    }
    gr->desc.u.batch_norm.act = PRLE_ACT_RELU;
    absorb(p, gr, relu);
}

static prle_status group_make(pass *p, prle_node n)
{
    prle_plan *plan = p->plan;
    const prle_graph_node *node = &p->g->node[n];
    const bool folds = !plan->opts.batch_stats && !plan->carries[n];

    p->done[n] = true;
    if (p->moved[n] || (node->desc.kind == PRLE_OP_DROPOUT && !plan->opts.dropout)) {
        plan->alias[n] = plan->alias[node->in[0]];
        return PRLE_OK;
    }
    PRLE_TRY(PLAN_APPEND(plan->groups, plan->n_groups));
    plan_group *gr = &plan->groups[plan->n_groups - 1];
    *gr = (plan_group){.first = n, .out = n, .norm = -1, .desc = node->desc, .saved = -1, .backward = plan->carries[n]};
    memcpy(gr->in, node->in, sizeof gr->in);
    if (gr->desc.kind == PRLE_OP_BATCH_NORM) {
        gr->desc.u.batch_norm.frozen = !plan->opts.batch_stats;
        gr->desc.u.batch_norm.comm = plan->opts.batch_stats ? plan->opts.bn_comm : NULL;
        fuse_into_norm(p, gr);
    }
    if (gr->desc.kind == PRLE_OP_CONV2D && p->moved[gr->in[0]])
        gr->desc.u.conv2d.in_act = p->g->node[gr->in[0]].desc.u.act;
    if (gr->desc.kind == PRLE_OP_CONV2D && folds)
        fuse_into_conv(p, gr);
    for (int i = 0; i < gr->desc.n_in; i++)
        gr->in[i] = plan->alias[gr->in[i]];
    desc_complete(plan, &gr->desc); /* what was fused in, too */
    return gr->desc.kind == PRLE_OP_INPUT ? PRLE_OK : prle_op_infer(&gr->desc);
}

prle_status plan_groups_make(prle_plan *plan)
{
    prle_status st = PRLE_OK;
    pass p = {.plan = plan, .g = plan->model->graph};

    PRLE_TRY_OUT(PRLE_NEW(p.needed, p.g->n_nodes));
    PRLE_TRY_OUT(PRLE_NEW(p.done, p.g->n_nodes));
    PRLE_TRY_OUT(PRLE_NEW(p.consumers, p.g->n_nodes));
    PRLE_TRY_OUT(PRLE_NEW(p.moved, p.g->n_nodes));
    mark_needed(&p);
    mark_carriers(&p);
    PRLE_TRY_OUT(mark_moved(&p));
    for (prle_node n = 0; n < p.g->n_nodes; n++)
        plan->alias[n] = n;
    for (prle_node n = 0; n < p.g->n_nodes; n++)
        if (p.needed[n] && !p.done[n])
            PRLE_TRY_OUT(group_make(&p, n));
out:
    prle_free(p.needed);
    prle_free(p.done);
    prle_free(p.consumers);
    prle_free(p.moved);
    return st;
}
