/* meso4.c - Meso-4 (Afchar et al., arXiv 1809.00888) as DeepfakeBench's port has it: no convolution bias, relu before batch norm,
 * and two batch norms that are each used twice.
 *
 *   conv1 3x3 8, relu, bn1, pool 2      conv2 5x5 8, relu, bn1, pool 2
 *   conv3 5x5 16, relu, bn2, pool 2     conv4 5x5 16, relu, bn2, pool 4
 *   dropout, fc1 16, leaky relu 0.1, dropout, fc2
 */
#include "nets/net.h"

void prle_net_meso4(prle_graph *g, const prle_net_opts *opts)
{
    prle_node x = prle_graph_input(g, 3, opts->height, opts->width);

    x = prle_graph_conv(g, x, "conv1", (prle_conv_opts){.out = 8, .kernel = 3, .pad = 1});
    x = prle_graph_relu(g, x, "relu1");
    x = prle_graph_batch_norm(g, x, "bn1", (prle_bn_opts){0});
    x = prle_graph_max_pool(g, x, "pool1", 2, 2, 0);
    x = prle_graph_conv(g, x, "conv2", (prle_conv_opts){.out = 8, .kernel = 5, .pad = 2});
    x = prle_graph_relu(g, x, "relu2");
    x = prle_graph_batch_norm(g, x, "bn1", (prle_bn_opts){.again = true});
    x = prle_graph_max_pool(g, x, "pool2", 2, 2, 0);
    x = prle_graph_conv(g, x, "conv3", (prle_conv_opts){.out = 16, .kernel = 5, .pad = 2});
    x = prle_graph_relu(g, x, "relu3");
    x = prle_graph_batch_norm(g, x, "bn2", (prle_bn_opts){0});
    x = prle_graph_max_pool(g, x, "pool3", 2, 2, 0);
    x = prle_graph_conv(g, x, "conv4", (prle_conv_opts){.out = 16, .kernel = 5, .pad = 2});
    x = prle_graph_relu(g, x, "relu4");
    x = prle_graph_batch_norm(g, x, "bn2", (prle_bn_opts){.again = true});
    x = prle_graph_max_pool(g, x, "pool4", 4, 4, 0);
    prle_graph_cam(g, x);
    x = prle_graph_flatten(g, x, "flatten");
    x = prle_graph_dropout(g, x, "dropout1", 0.5);
    x = prle_graph_linear(g, x, "fc1", 16);
    x = prle_graph_leaky_relu(g, x, "leakyrelu", 0.1);
    x = prle_graph_dropout(g, x, "dropout2", 0.5);
    prle_graph_output(g, prle_graph_linear(g, x, "fc2", opts->classes));
}
