/* net.h - the networks prle knows, by name. To add one: a file nets/NAME.c with its builder, and a line in nets/net.c. */
#pragma once
#include "nets/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The picture and the answer a network is built for. */
typedef struct prle_net_opts {
    int64_t height, width; /* pixels; three channels */
    int64_t classes;       /* logits: 2 (softmax; fake = 1), or 1 (sigmoid); a graph alone may have any number */
} prle_net_opts;
#define PRLE_NET_OPTS_DEFAULT ((prle_net_opts){.height = 256, .width = 256, .classes = 2})

/** Builds a graph by the network's name; PRLE_EINVAL lists the names. */
PRLE_NODISCARD prle_status prle_net_build(prle_graph **out, const char *net, const prle_net_opts *opts);

/** "xception", "resnet50", ...; NULL past the end. */
const char *prle_net_name(int i);

/* The builders, one file each; errors stay in the graph. */
void prle_net_efficientnet_b4(prle_graph *g, const prle_net_opts *opts);
void prle_net_efficientnet_b4_same(prle_graph *g, const prle_net_opts *opts);
void prle_net_efficientnet_b4_symmetric(prle_graph *g, const prle_net_opts *opts);
void prle_net_f3net(prle_graph *g, const prle_net_opts *opts);
void prle_net_f3net_both(prle_graph *g, const prle_net_opts *opts);
void prle_net_meso4(prle_graph *g, const prle_net_opts *opts);
void prle_net_resnet50(prle_graph *g, const prle_net_opts *opts);
void prle_net_vgg16(prle_graph *g, const prle_net_opts *opts);
void prle_net_vgg16_bn(prle_graph *g, const prle_net_opts *opts);
void prle_net_vgg19(prle_graph *g, const prle_net_opts *opts);
void prle_net_vgg19_bn(prle_graph *g, const prle_net_opts *opts);
void prle_net_xception(prle_graph *g, const prle_net_opts *opts);

#ifdef __cplusplus
}
#endif
