/* f3net.c - F3-Net (Qian et al., arXiv 2007.09355), names and numbers as in its public code (yyk-wew's) and DeepfakeBench.
 *
 *   FAD   DCT of the whole picture; four bands of it by masks and learnt gains: low, middle, high, all; inverse DCT of each;
 *         Xception on the 12 channels
 *   LFS   DCT of 10 x 10 windows every 2 pixels, log-magnitudes summed in six bands; Xception on those 6 channels, whose conv1
 *         has stride 1, so that both streams end at one size
 *   relu, global mean, [both: concatenated], dropout 0.2, fc
 *
 * f3net is FAD alone: what DeepfakeBench and PRLE call F3-Net. f3net_both has both streams. The cross attention of the paper is
 * in neither public code. Pictures are square, as the DCT matrix that checkpoints store is one.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "nets/xception.h"

enum { WINDOW = 10, WINDOW_STRIDE = 2, WINDOW_PAD = 4, WINDOW_BANDS = 6 };

/* What a checkpoint stores of filters NAME.M beside the gains: masks, and for LFS how many ones those have. */
static void add_masks(prle_graph *g, const prle_bands *bands, int64_t size, bool counts)
{
    char name[PRLE_NAME_BYTES];

    for (int m = 0; m < bands->n; m++) {
        const prle_constant mask = {.kind = PRLE_CONSTANT_BAND, .n = size, .band = bands->band[m]};
        const prle_constant count = {.kind = PRLE_CONSTANT_BAND_COUNT, .n = size, .band = bands->band[m]};

        snprintf(name, sizeof name, "filters.%d.base", m);
        prle_graph_constant(g, name, mask);
        snprintf(name, sizeof name, "filters.%d.ft_num", m);
        if (counts)
            prle_graph_constant(g, name, count);
    }
}

/* The last layer of the original's Xception, which F3-Net never calls. */
static void add_unused_fc(prle_graph *g, int64_t classes)
{
    prle_graph_constant(g, "fc.weight", (prle_constant){.kind = PRLE_CONSTANT_UNUSED, .shape = PRLE_SHAPE(classes, 2048)});
    prle_graph_constant(g, "fc.bias", (prle_constant){.kind = PRLE_CONSTANT_UNUSED, .shape = PRLE_SHAPE(classes)});
}

/* Frequency-aware decomposition: [1,3,S,S] -> features [1,2048,h,w]. */
static prle_node add_fad(prle_graph *g, prle_node x, int64_t size, int64_t classes)
{
    const double low = floor((double)size / 2.82), middle = (double)(size / 2), high = 2 * (double)size;
    const prle_bands bands = {4, {{0, low}, {low, middle}, {middle, high}, {0, high}}};

    prle_graph_scope_begin(g, "FAD_head");
    prle_graph_constant(g, "_DCT_all", (prle_constant){.kind = PRLE_CONSTANT_DCT, .n = size});
    prle_graph_constant(g, "_DCT_all_T", (prle_constant){.kind = PRLE_CONSTANT_DCT_TRANSPOSED, .n = size});
    add_masks(g, &bands, size, false);
    x = prle_graph_dct(g, x, "dct", false);
    x = prle_graph_band_filter(g, x, "filters", &bands);
    x = prle_graph_dct(g, x, "inverse", true);
    prle_graph_scope_end(g);
    prle_graph_scope_begin(g, "FAD_xcep");
    x = prle_xception_features(g, x, 2);
    add_unused_fc(g, classes);
    prle_graph_scope_end(g);
    return x;
}

/* Local frequency statistics: likewise. */
static prle_node add_lfs(prle_graph *g, prle_node x, int64_t classes)
{
    prle_local_spectrum_attrs attrs = {.window = WINDOW, .stride = WINDOW_STRIDE, .pad = WINDOW_PAD, .bands.n = WINDOW_BANDS};

    for (int m = 0; m < WINDOW_BANDS; m++) /* neighbours share a diagonal where an edge is a whole number, as in the original */
        attrs.bands.band[m] = (prle_band){2.0 * WINDOW / WINDOW_BANDS * m, 2.0 * WINDOW / WINDOW_BANDS * (m + 1)};
    prle_graph_scope_begin(g, "LFS_head");
    prle_graph_constant(g, "_DCT_patch", (prle_constant){.kind = PRLE_CONSTANT_DCT, .n = WINDOW});
    prle_graph_constant(g, "_DCT_patch_T", (prle_constant){.kind = PRLE_CONSTANT_DCT_TRANSPOSED, .n = WINDOW});
    add_masks(g, &attrs.bands, WINDOW, true);
    x = prle_graph_local_spectrum(g, x, "filters", &attrs);
    prle_graph_scope_end(g);
    prle_graph_scope_begin(g, "LFS_xcep");
    x = prle_xception_features(g, x, 1);
    add_unused_fc(g, classes);
    prle_graph_scope_end(g);
    return x;
}

static prle_node add_input(prle_graph *g, const prle_net_opts *opts)
{
    if (opts->height != opts->width && g->status == PRLE_OK)
        g->status =
            PRLE_FAIL(PRLE_ESHAPE, "%s wants square pictures, not %" PRId64 " x %" PRId64, g->name, opts->height, opts->width);
    return prle_graph_input(g, 3, opts->height, opts->width);
}

static void add_head(prle_graph *g, prle_node x, int64_t classes)
{
    x = prle_graph_dropout(g, x, "dp", 0.2);
    prle_graph_output(g, prle_graph_linear(g, x, "fc", classes));
}

void prle_net_f3net(prle_graph *g, const prle_net_opts *opts)
{
    const prle_node fad = add_fad(g, add_input(g, opts), opts->width, opts->classes);

    prle_graph_cam(g, fad);
    add_head(g, prle_graph_global_mean(g, fad, "avgpool"), opts->classes);
}

void prle_net_f3net_both(prle_graph *g, const prle_net_opts *opts)
{
    const prle_node x = add_input(g, opts), fad = add_fad(g, x, opts->width, opts->classes), lfs = add_lfs(g, x, opts->classes);
    const prle_node means[2] = {prle_graph_global_mean(g, fad, "avgpool_FAD"), prle_graph_global_mean(g, lfs, "avgpool_LFS")};

    prle_graph_cam(g, fad);
    add_head(g, prle_graph_concat(g, means, 2, "cat"), opts->classes);
}
