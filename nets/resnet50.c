/* resnet50.c - ResNet-50 (He et al., arXiv 1512.03385) with the stride in the 3 x 3 convolution ("v1.5"), names as in
 * torchvision.
 *
 *   conv1 7x7/2, bn, relu, max pool 3/2
 *   layer1..4: 3, 4, 6, 3 bottlenecks of 64, 128, 256, 512 planes, four times as many channels out
 *   global mean, fc
 */
#include "nets/net.h"

static prle_node bottleneck(prle_graph *g, prle_node x, int64_t planes, int64_t stride, bool downsample)
{
    prle_node shortcut = x;

    prle_node y = prle_graph_conv(g, x, "conv1", (prle_conv_opts){.out = planes, .kernel = 1, .kaiming = true});
    y = prle_graph_batch_norm(g, y, "bn1", (prle_bn_opts){0});
    y = prle_graph_relu(g, y, "relu1");
    y = prle_graph_conv(g, y, "conv2", (prle_conv_opts){.out = planes, .kernel = 3, .stride = stride, .pad = 1, .kaiming = true});
    y = prle_graph_batch_norm(g, y, "bn2", (prle_bn_opts){0});
    y = prle_graph_relu(g, y, "relu2");
    y = prle_graph_conv(g, y, "conv3", (prle_conv_opts){.out = 4 * planes, .kernel = 1, .kaiming = true});
    y = prle_graph_batch_norm(g, y, "bn3", (prle_bn_opts){0});
    if (downsample) {
        shortcut = prle_graph_conv(g, x, "downsample.0",
                                   (prle_conv_opts){.out = 4 * planes, .kernel = 1, .stride = stride, .kaiming = true});
        shortcut = prle_graph_batch_norm(g, shortcut, "downsample.1", (prle_bn_opts){0});
    }
    y = prle_graph_add(g, y, shortcut, "add");
    return prle_graph_relu(g, y, "relu3");
}

void prle_net_resnet50(prle_graph *g, const prle_net_opts *opts)
{
    static const struct {
        int blocks;
        int64_t planes, stride;
    } layers[4] = {{3, 64, 1}, {4, 128, 2}, {6, 256, 2}, {3, 512, 2}};

    prle_node x = prle_graph_input(g, 3, opts->height, opts->width);
    x = prle_graph_conv(g, x, "conv1", (prle_conv_opts){.out = 64, .kernel = 7, .stride = 2, .pad = 3, .kaiming = true});
    x = prle_graph_batch_norm(g, x, "bn1", (prle_bn_opts){0});
    x = prle_graph_relu(g, x, "relu");
    x = prle_graph_max_pool(g, x, "maxpool", 3, 2, 1);
    for (int l = 0; l < 4; l++) {
        for (int b = 0; b < layers[l].blocks; b++) {
            prle_graph_scope_begin(g, "layer%d.%d", l + 1, b);
            x = bottleneck(g, x, layers[l].planes, b == 0 ? layers[l].stride : 1, b == 0);
            prle_graph_scope_end(g);
        }
    }
    prle_graph_cam(g, x); /* layer4.2.relu3 */
    x = prle_graph_global_mean(g, x, "avgpool");
    prle_graph_output(g, prle_graph_linear(g, x, "fc", opts->classes));
}
