/* xception.c - Xception (Chollet, arXiv 1610.02357), names as in Cadene's and FaceForensics++'s checkpoints.
 *
 *   conv1 3x3/2 32, conv2 3x3 64 (unpadded, each with bn and relu)
 *   block    1   2   3   4..11   12
 *   out    128 256 728     728 1024     reps 2 2 2 3 2, stride 2 2 2 1 2; shortcut: 1x1/2 convolution + bn, or identity
 *   conv3 1536, conv4 2048 (separable, each with bn and relu), global mean, fc
 *
 * A block is reps x [relu, separable convolution, bn] (block1 without its first relu), a 3/2 max pool when the stride is 2, plus
 * the shortcut.
 */
#include <stdio.h>

#include "nets/xception.h"

/* A depthwise 3 x 3 convolution, then a 1 x 1 convolution: NAME.conv1, NAME.pointwise. */
static prle_node separable(prle_graph *g, prle_node x, const char *name, int64_t in, int64_t out)
{
    prle_graph_scope_begin(g, "%s", name);
    x = prle_graph_conv(g, x, "conv1", (prle_conv_opts){.out = in, .kernel = 3, .pad = 1, .groups = in});
    x = prle_graph_conv(g, x, "pointwise", (prle_conv_opts){.out = out, .kernel = 1});
    prle_graph_scope_end(g);
    return x;
}

typedef struct block_row {
    int64_t in, out;
    int reps;
    int64_t stride;
    bool first_relu, grow_first; /* which separable convolution changes the width: the first, else the last */
} block_row;

static const block_row blocks[12] = {
    {64, 128, 2, 2, false, true}, {128, 256, 2, 2, true, true}, {256, 728, 2, 2, true, true}, {728, 728, 3, 1, true, true},
    {728, 728, 3, 1, true, true}, {728, 728, 3, 1, true, true}, {728, 728, 3, 1, true, true}, {728, 728, 3, 1, true, true},
    {728, 728, 3, 1, true, true}, {728, 728, 3, 1, true, true}, {728, 728, 3, 1, true, true}, {728, 1024, 2, 2, true, false},
};

static prle_node add_block(prle_graph *g, prle_node x, const block_row *row)
{
    char rep[PRLE_NAME_BYTES];
    prle_node shortcut = x;
    int at = 0; /* position in the original's sequence `rep` */

    if (row->stride != 1 || row->in != row->out) {
        shortcut = prle_graph_conv(g, x, "skip", (prle_conv_opts){.out = row->out, .kernel = 1, .stride = row->stride});
        shortcut = prle_graph_batch_norm(g, shortcut, "skipbn", (prle_bn_opts){0});
    }
    for (int r = 0; r < row->reps; r++) {
        const bool wide_in = row->grow_first && r > 0, wide_out = row->grow_first || r == row->reps - 1;

        if (r > 0 || row->first_relu) {
            snprintf(rep, sizeof rep, "rep.%d", at++);
            x = prle_graph_relu(g, x, rep);
        }
        snprintf(rep, sizeof rep, "rep.%d", at++);
        x = separable(g, x, rep, wide_in ? row->out : row->in, wide_out ? row->out : row->in);
        snprintf(rep, sizeof rep, "rep.%d", at++);
        x = prle_graph_batch_norm(g, x, rep, (prle_bn_opts){0});
    }
    if (row->stride != 1) {
        snprintf(rep, sizeof rep, "rep.%d", at);
        x = prle_graph_max_pool(g, x, rep, 3, row->stride, 1);
    }
    return prle_graph_add(g, x, shortcut, "add");
}

prle_node prle_xception_features(prle_graph *g, prle_node x, int64_t first_stride)
{
    g->pools_by_call = true;
    x = prle_graph_conv(g, x, "conv1", (prle_conv_opts){.out = 32, .kernel = 3, .stride = first_stride});
    x = prle_graph_batch_norm(g, x, "bn1", (prle_bn_opts){0});
    x = prle_graph_relu(g, x, "act1");
    x = prle_graph_conv(g, x, "conv2", (prle_conv_opts){.out = 64, .kernel = 3});
    x = prle_graph_batch_norm(g, x, "bn2", (prle_bn_opts){0});
    x = prle_graph_relu(g, x, "act2");
    for (int b = 0; b < 12; b++) {
        prle_graph_scope_begin(g, "block%d", b + 1);
        x = add_block(g, x, &blocks[b]);
        prle_graph_scope_end(g);
    }
    x = separable(g, x, "conv3", 1024, 1536);
    x = prle_graph_batch_norm(g, x, "bn3", (prle_bn_opts){0});
    x = prle_graph_relu(g, x, "act3");
    x = separable(g, x, "conv4", 1536, 2048);
    x = prle_graph_batch_norm(g, x, "bn4", (prle_bn_opts){0});
    return prle_graph_relu(g, x, "act4");
}

void prle_net_xception(prle_graph *g, const prle_net_opts *opts)
{
    prle_node x = prle_graph_input(g, 3, opts->height, opts->width);

    x = prle_xception_features(g, x, 2);
    prle_graph_cam(g, x);
    x = prle_graph_global_mean(g, x, "avgpool");
    prle_graph_output(g, prle_graph_linear(g, x, "fc", opts->classes));
}
