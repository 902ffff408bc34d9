/* card.c - see card.h. */
#include "nets/card.h"

#include "core/op/cost.h"

static double macs_paper(const prle_graph *g, const prle_op_desc *desc)
{
    const double n_out = (double)prle_shape_count(&desc->out);

    if (desc->kind == PRLE_OP_BATCH_NORM)
        return 4 * n_out;
    if (desc->kind == PRLE_OP_POOL && desc->u.pool.global && !desc->u.pool.keep_dims && !g->pools_by_call)
        return n_out * (double)(desc->in[0].dim[2] * desc->in[0].dim[3] + 1);
    return desc->kind == PRLE_OP_CONV2D || desc->kind == PRLE_OP_LINEAR ? prle_op_macs(desc) : 0; /* functions, not modules */
}

prle_card prle_card_of(const prle_graph *g)
{
    prle_card card = {.n_params = g->n_weights};

    for (int i = 0; i < g->n_nodes; i++) {
        const prle_op_desc *desc = &g->node[i].desc;

        card.macs += prle_op_macs(desc);
        card.macs_paper += macs_paper(g, desc);
        card.n_values += prle_shape_count(&desc->out);
    }
    return card;
}
