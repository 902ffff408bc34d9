/* net.c - the table of networks. */
#include "nets/net.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define WORD(name)    #name,
#define BUILDER(name) prle_net_##name,
const char *const prle_net_words[] = {PRLE_NETS(WORD) NULL};
static void (*const builders[])(prle_graph *g, const prle_net_opts *opts) = {PRLE_NETS(BUILDER)}; /* in the same order */

prle_status prle_net_build(prle_graph **out, const char *net, const prle_net_opts *opts)
{
    char names[256] = "";
    prle_graph *g = NULL;

    PRLE_CHECK(opts->classes >= 1, PRLE_EINVAL, "%" PRId64 " logits: at least 1", opts->classes);
    for (int i = 0; prle_net_words[i] != NULL; i++) {
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i > 0 ? ", " : "", prle_net_words[i]);
        if (strcmp(net, prle_net_words[i]) != 0)
            continue;
        PRLE_TRY(prle_graph_create(&g, net));
        builders[i](g, opts);
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
