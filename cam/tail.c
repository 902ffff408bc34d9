/* tail.c - see tail.h. */
#include "cam/tail.h"

#include <math.h>

#define REAL_IS_DOUBLE 1
#include "core/op/act_math.h"

/* The only node that reads n; -1 when there are several or none. */
static prle_node only_reader(const prle_graph *g, prle_node n)
{
    prle_node reader = -1;

    for (prle_node m = n + 1; n >= 0 && m < g->n_nodes; m++)
        for (int i = 0; i < g->node[m].desc.n_in; i++)
            if (g->node[m].in[i] == n) {
                if (reader >= 0)
                    return -1;
                reader = m;
            }
    return reader;
}

/* *at, when it is of that kind, and steps on to its reader; else -1. */
static prle_node pass(const prle_graph *g, prle_node *at, prle_op_kind kind)
{
    const prle_node node = *at;

    if (node < 0 || g->node[node].desc.kind != kind)
        return -1;
    *at = only_reader(g, node);
    return node;
}

bool prle_cam_tail_find(prle_cam_tail *out, const prle_graph *g, prle_node node)
{
    prle_node at = only_reader(g, node);
    const prle_node batch_norm = pass(g, &at, PRLE_OP_BATCH_NORM), act = pass(g, &at, PRLE_OP_ACT);
    const prle_node pool = pass(g, &at, PRLE_OP_POOL);

    if (pool < 0 || !g->node[pool].desc.u.pool.global)
        return false;
    pass(g, &at, PRLE_OP_DROPOUT);
    if (at != g->output || g->node[at].desc.kind != PRLE_OP_LINEAR)
        return false;
    *out = (prle_cam_tail){.batch_norm = batch_norm, .act = act, .head = g->node[at].param[0]};
    return true;
}

static double at(const prle_model *model, const void *values, int64_t i)
{
    return model->dtype == PRLE_F64 ? ((const double *)values)[i] : (double)((const float *)values)[i];
}

static void batch_norm_get(prle_cam_tail_channel *out, const prle_graph_node *bn, const prle_model *model, int64_t k)
{
    const void *gamma = prle_model_segment(model, bn->param[0]), *beta = prle_model_segment(model, bn->param[1]);
    const void *mean = prle_model_segment(model, bn->stat[0]), *var = prle_model_segment(model, bn->stat[1]);

    out->scale = at(model, gamma, k) / sqrt(at(model, var, k) + bn->desc.u.batch_norm.eps);
    out->mean = at(model, mean, k);
    out->beta = at(model, beta, k);
}

prle_cam_tail_channel prle_cam_tail_channel_get(const prle_cam_tail *tail, const prle_model *model, const double *seed, int64_t k,
                                                int64_t channels, int64_t pixels)
{
    const void *w = prle_model_segment(model, tail->head);
    prle_cam_tail_channel out = {.scale = 1};
    double c = 0;

    if (tail->batch_norm >= 0)
        batch_norm_get(&out, &model->graph->node[tail->batch_norm], model, k);
    for (int64_t class = 0; class < model->opts.classes; class ++)
        c += seed[class] * at(model, w, class * channels + k);
    out.weight = c / (double)pixels;
    return out;
}

prle_act_attrs prle_cam_tail_act(const prle_cam_tail *tail, const prle_model *model)
{
    return tail->act < 0 ? (prle_act_attrs){.act = PRLE_ACT_NONE} : model->graph->node[tail->act].desc.u.act;
}

void prle_cam_tail_gradients(double *gradients, const prle_cam_tail *tail, const prle_model *model, const double *values,
                             const double *seed, int64_t channels, int64_t pixels)
{
    const prle_act_attrs act = prle_cam_tail_act(tail, model);

    for (int64_t k = 0; k < channels; k++) {
        const prle_cam_tail_channel c = prle_cam_tail_channel_get(tail, model, seed, k, channels, pixels);
        for (int64_t p = k * pixels; p < (k + 1) * pixels; p++)
            gradients[p] = c.weight * act_elem_grad(&act, c.scale * (values[p] - c.mean) + c.beta) * c.scale;
    }
}
