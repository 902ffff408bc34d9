/* net.c - the table of networks. */
#include "nets/net.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    void (*build)(prle_graph *g, const prle_net_opts *opts);
} nets[] = {
    {.name = "xception", .build = prle_net_xception},
    {.name = "resnet50", .build = prle_net_resnet50},
    {.name = "efficientnet_b4", .build = prle_net_efficientnet_b4},
    {.name = "efficientnet_b4_same", .build = prle_net_efficientnet_b4_same},
    {.name = "efficientnet_b4_symmetric", .build = prle_net_efficientnet_b4_symmetric},
    {.name = "vgg16", .build = prle_net_vgg16},
    {.name = "vgg16_bn", .build = prle_net_vgg16_bn},
    {.name = "vgg19", .build = prle_net_vgg19},
    {.name = "vgg19_bn", .build = prle_net_vgg19_bn},
    {.name = "f3net", .build = prle_net_f3net},
    {.name = "f3net_both", .build = prle_net_f3net_both},
    {.name = "meso4", .build = prle_net_meso4},
};
enum { N_NETS = sizeof nets / sizeof nets[0] };

const char *prle_net_name(int i) { return i >= 0 && i < N_NETS ? nets[i].name : NULL; }

prle_status prle_net_build(prle_graph **out, const char *net, const prle_net_opts *opts)
{
    char names[256] = "";
    prle_graph *g = NULL;

    PRLE_CHECK(opts->classes >= 1, PRLE_EINVAL, "%" PRId64 " logits: at least 1", opts->classes);
    for (int i = 0; i < N_NETS; i++) {
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i > 0 ? ", " : "", nets[i].name);
        if (strcmp(net, nets[i].name) != 0)
            continue;
        PRLE_TRY(prle_graph_create(&g, net));
        nets[i].build(g, opts);
        const prle_status st = prle_graph_finish(g);
        if (st != PRLE_OK) {
            prle_graph_destroy(g);
            return prle_error_prefix("%s at %" PRId64 " x %" PRId64, net, opts->height, opts->width);
        }
        *out = g;
        return PRLE_OK;
    }
    return PRLE_FAIL(PRLE_EINVAL, "network \"%s\" is unknown: %s", net, names);
}
