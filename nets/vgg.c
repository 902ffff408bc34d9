/* vgg.c - VGG (Simonyan and Zisserman, arXiv 1409.1556), configurations D and E, names and initial values as torchvision has
 * them.
 *
 *   stage      1    2    3    4    5
 *   channels   64  128  256  512  512
 *   vgg16 (D)  2    2    3    3    3      3x3 convolutions with bias, each with [bn and] relu
 *   vgg19 (E)  2    2    4    4    4      a 2/2 max pool ends a stage
 *
 *   adaptive mean 7 x 7, 4096, relu, dropout 0.5, 4096, relu, dropout 0.5, classes
 */
#include <stdio.h>

#include "nets/net.h"

enum { STAGES = 5 };

static const int64_t channels[STAGES] = {64, 128, 256, 512, 512};
static const int convs_d[STAGES] = {2, 2, 3, 3, 3}, convs_e[STAGES] = {2, 2, 4, 4, 4};

/* The next name in torchvision's sequence "features". */
#define FEATURE (snprintf(name, sizeof name, "features.%d", at++), name)

static prle_node add_features(prle_graph *g, prle_node x, const int convs[STAGES], bool norm)
{
    char name[PRLE_NAME_BYTES];
    int at = 0;

    for (int s = 0; s < STAGES; s++) {
        for (int c = 0; c < convs[s]; c++) {
            const prle_conv_opts conv = {.out = channels[s], .kernel = 3, .pad = 1, .bias = true, .kaiming = true};

            x = prle_graph_conv(g, x, FEATURE, conv);
            if (norm)
                x = prle_graph_batch_norm(g, x, FEATURE, (prle_bn_opts){0});
            x = prle_graph_relu(g, x, FEATURE);
        }
        prle_graph_cam(g, x);
        x = prle_graph_max_pool(g, x, FEATURE, 2, 2, 0);
    }
    return x;
}

static prle_node add_linear(prle_graph *g, prle_node x, const char *name, int64_t out)
{
    x = prle_graph_linear(g, x, name, out);
    prle_graph_init_normal(g, x, 0.01);
    return x;
}

static void vgg(prle_graph *g, const prle_net_opts *opts, const int convs[STAGES], bool norm)
{
    prle_node x = prle_graph_input(g, 3, opts->height, opts->width);

    x = add_features(g, x, convs, norm);
    x = prle_graph_adaptive_mean(g, x, "avgpool", 7);
    x = prle_graph_flatten(g, x, "flatten");
    x = add_linear(g, x, "classifier.0", 4096);
    x = prle_graph_relu(g, x, "classifier.1");
    x = prle_graph_dropout(g, x, "classifier.2", 0.5);
    x = add_linear(g, x, "classifier.3", 4096);
    x = prle_graph_relu(g, x, "classifier.4");
    x = prle_graph_dropout(g, x, "classifier.5", 0.5);
    prle_graph_output(g, add_linear(g, x, "classifier.6", opts->classes));
}

void prle_net_vgg16(prle_graph *g, const prle_net_opts *opts) { vgg(g, opts, convs_d, false); }
void prle_net_vgg16_bn(prle_graph *g, const prle_net_opts *opts) { vgg(g, opts, convs_d, true); }
void prle_net_vgg19(prle_graph *g, const prle_net_opts *opts) { vgg(g, opts, convs_e, false); }
void prle_net_vgg19_bn(prle_graph *g, const prle_net_opts *opts) { vgg(g, opts, convs_e, true); }
