/* net.h - the networks prle knows, by name. To add one: a line here, its builder prle_net_NAME in a file of nets/, and what
 * docs/design.md says under "To add a network". */
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

/* clang-format off */
#define PRLE_NETS(X)             \
    X(xception)                  \
    X(resnet50)                  \
    X(efficientnet_b4)           \
    X(efficientnet_b4_same)      \
    X(efficientnet_b4_symmetric) \
    X(vgg16)                     \
    X(vgg16_bn)                  \
    X(vgg19)                     \
    X(vgg19_bn)                  \
    X(f3net)                     \
    X(f3net_both)                \
    X(meso4)
/* clang-format on */

/** "xception", "resnet50", ..., then NULL: for option tables, and for tests, which go through all. */
extern const char *const prle_net_words[];

/** Builds a graph by the network's name; PRLE_EINVAL lists the names. */
PRLE_NODISCARD prle_status prle_net_build(prle_graph **out, const char *net, const prle_net_opts *opts);

/* The builders; errors stay in the graph. */
#define PRLE_NET_BUILDER(name) void prle_net_##name(prle_graph *g, const prle_net_opts *opts);
PRLE_NETS(PRLE_NET_BUILDER)
#undef PRLE_NET_BUILDER

#ifdef __cplusplus
}
#endif
