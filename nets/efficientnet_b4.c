/* efficientnet_b4.c - EfficientNet-B4 (Tan and Le, arXiv 1905.11946), names as in lukemelas' EfficientNet-PyTorch.
 *
 *   _conv_stem 3x3/2 48, bn, swish
 *   stage      1    2    3    4    5    6    7
 *   blocks     2    4    4    6    6    8    2
 *   kernel     3    3    5    3    5    5    3
 *   stride     1    2    2    2    1    2    1      of the first block
 *   expand     1    6    6    6    6    6    6
 *   out       24   32   56  112  160  272  448
 *   _conv_head 1x1 1792, bn, swish, global mean, dropout 0.4, _fc
 *
 * A block (MBConv): [1x1 to expand x in, bn, swish], depthwise, bn, swish, squeeze and excitation of in / 4 channels, 1x1 to out,
 * bn; beside a shortcut where its shape does not change. Block i of 32 then drops whole samples with probability 0.2 i / 32.
 *
 * Three variants share their parameters' names and shapes. TensorFlow's "SAME" padding depends on the size, hence:
 *
 *   efficientnet_b4            "SAME" as computed for 380 pixels, whatever the size is; bn eps 1e-3, momentum 0.01
 *                              (lukemelas' from_pretrained, and so the checkpoints of PRLE, SBI and MAT)
 *   efficientnet_b4_same       "SAME" for the size at hand; 1e-3, 0.01 (TensorFlow, timm's tf_efficientnet_b4)
 *   efficientnet_b4_symmetric  (kernel - 1) / 2 on each side; 1e-5, 0.1 (timm's efficientnet_b4, torchvision's)
 */
#include "nets/net.h"

/* The network's variant, and how far it is built. */
typedef struct b4 {
    prle_graph *g;
    prle_bn_opts bn;
    bool symmetric;
    int64_t height, width; /* of the image that padding is computed for, before the next strided layer */
} b4;

/* What "SAME" adds along `size` pixels, so that ceil(size / stride) windows fit; the odd one comes after. */
static int64_t same(int64_t size, int64_t kernel, int64_t stride)
{
    const int64_t wanted = ((size + stride - 1) / stride - 1) * stride + kernel;

    return wanted > size ? wanted - size : 0;
}

static prle_node spatial_conv(b4 *net, prle_node x, const char *name, prle_conv_opts conv)
{
    const int64_t h = same(net->height, conv.kernel, conv.stride), w = same(net->width, conv.kernel, conv.stride);

    net->height = (net->height + conv.stride - 1) / conv.stride;
    net->width = (net->width + conv.stride - 1) / conv.stride;
    if (net->symmetric)
        conv.pad = (conv.kernel - 1) / 2;
    else
        conv.pads = (prle_pads){.top = h / 2, .left = w / 2, .bottom = h - h / 2, .right = w - w / 2};
    return prle_graph_conv(net->g, x, name, conv);
}

static prle_node swish(b4 *net, prle_node x, const char *name)
{
    return prle_graph_act(net->g, x, name, (prle_act_attrs){.act = PRLE_ACT_SWISH});
}

static prle_node norm_swish(b4 *net, prle_node x, const char *norm)
{
    x = prle_graph_batch_norm(net->g, x, norm, net->bn);
    prle_graph_scope_begin(net->g, "%s", norm);
    x = swish(net, x, "swish");
    prle_graph_scope_end(net->g);
    return x;
}

/* x scaled channel by channel: sigmoid(expand(swish(reduce(mean of x)))). */
static prle_node excite(b4 *net, prle_node x, int64_t channels, int64_t reduced)
{
    prle_node s = prle_graph_squeeze(net->g, x, "_se_squeeze");
    s = prle_graph_conv(net->g, s, "_se_reduce", (prle_conv_opts){.out = reduced, .kernel = 1, .bias = true});
    s = swish(net, s, "_se_reduce.swish");
    s = prle_graph_conv(net->g, s, "_se_expand", (prle_conv_opts){.out = channels, .kernel = 1, .bias = true});
    s = prle_graph_act(net->g, s, "_se_expand.sigmoid", (prle_act_attrs){.act = PRLE_ACT_SIGMOID});
    return prle_graph_gate(net->g, x, s, "_se_gate");
}

typedef struct stage {
    int blocks;
    int64_t kernel, stride, expand, in, out;
} stage;

static const stage stages[7] = {
    {2, 3, 1, 1, 48, 24},   {4, 3, 2, 6, 24, 32},   {4, 5, 2, 6, 32, 56},   {6, 3, 2, 6, 56, 112},
    {6, 5, 1, 6, 112, 160}, {8, 5, 2, 6, 160, 272}, {2, 3, 1, 6, 272, 448},
};
enum { N_BLOCKS = 32 }; /* the sum of theirs */

static prle_node add_block(b4 *net, prle_node x, int index, const stage *s, int64_t in, int64_t stride)
{
    const int64_t wide = s->expand * in;
    const prle_node shortcut = x;

    if (s->expand > 1) {
        x = prle_graph_conv(net->g, x, "_expand_conv", (prle_conv_opts){.out = wide, .kernel = 1});
        x = norm_swish(net, x, "_bn0");
    }
    x = spatial_conv(net, x, "_depthwise_conv",
                     (prle_conv_opts){.out = wide, .kernel = s->kernel, .stride = stride, .groups = wide});
    x = norm_swish(net, x, "_bn1");
    x = excite(net, x, wide, in / 4);
    x = prle_graph_conv(net->g, x, "_project_conv", (prle_conv_opts){.out = s->out, .kernel = 1});
    x = prle_graph_batch_norm(net->g, x, "_bn2", net->bn);
    if (stride != 1 || in != s->out)
        return x;
    x = prle_graph_drop_samples(net->g, x, "drop_connect", 0.2 * index / N_BLOCKS);
    return prle_graph_add(net->g, x, shortcut, "add");
}

static void build(b4 net, const prle_net_opts *opts)
{
    int index = 0;

    prle_node x = prle_graph_input(net.g, 3, opts->height, opts->width);
    x = spatial_conv(&net, x, "_conv_stem", (prle_conv_opts){.out = 48, .kernel = 3, .stride = 2});
    x = norm_swish(&net, x, "_bn0");
    for (int s = 0; s < 7; s++)
        for (int b = 0; b < stages[s].blocks; b++, index++) {
            prle_graph_scope_begin(net.g, "_blocks.%d", index);
            x = add_block(&net, x, index, &stages[s], b == 0 ? stages[s].in : stages[s].out, b == 0 ? stages[s].stride : 1);
            prle_graph_scope_end(net.g);
        }
    x = prle_graph_conv(net.g, x, "_conv_head", (prle_conv_opts){.out = 1792, .kernel = 1});
    x = norm_swish(&net, x, "_bn1");
    prle_graph_cam(net.g, x);
    x = prle_graph_global_mean(net.g, x, "_avg_pooling");
    x = prle_graph_dropout(net.g, x, "_dropout", 0.4);
    prle_graph_output(net.g, prle_graph_linear(net.g, x, "_fc", opts->classes));
}

void prle_net_efficientnet_b4(prle_graph *g, const prle_net_opts *opts)
{
    build((b4){.g = g, .bn = {.eps = 1e-3, .momentum = 0.01}, .height = 380, .width = 380}, opts);
}

void prle_net_efficientnet_b4_same(prle_graph *g, const prle_net_opts *opts)
{
    build((b4){.g = g, .bn = {.eps = 1e-3, .momentum = 0.01}, .height = opts->height, .width = opts->width}, opts);
}

void prle_net_efficientnet_b4_symmetric(prle_graph *g, const prle_net_opts *opts)
{
    build((b4){.g = g, .symmetric = true}, opts);
}
