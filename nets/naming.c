/* naming.c - see naming.h. Ours are those of the checkpoints that detectors are started from most: Cadene's xception,
 * torchvision's resnet50 and vgg, lukemelas' efficientnet_b4, F3-Net's own. */
#include "nets/naming.h"

#include <stdio.h>
#include <string.h>

/* out = `to` + what stands in `ours` behind `from`; false when it does not begin so. */
static bool replace(const char *ours, const char *from, const char *to, char *out, size_t room)
{
    const size_t n = strlen(from);

    if (strncmp(ours, from, n) != 0)
        return false;
    snprintf(out, room, "%s%s", to, ours + n);
    return true;
}

/* The last layer's other name: Cadene's modules have last_linear where the checkpoints on his server have fc. */
static bool last_linear(const char *ours, char *out, size_t room)
{
    return replace(ours, "fc.", "last_linear.", out, room) || replace(ours, "", "", out, room);
}

/* ---- F3-Net ---- */

/* DeepfakeBench: one backbone with the head in it. */
static bool f3net_deepfakebench(const char *ours, char *out, size_t room)
{
    return replace(ours, "fc.", "backbone.last_linear.", out, room) || replace(ours, "FAD_xcep.", "backbone.", out, room) ||
           replace(ours, "FAD_head.", "FAD_head.", out, room);
}

/* Both streams begin from the same Xception. */
static bool f3net_xception(const char *ours, char *out, size_t room)
{
    return replace(ours, "FAD_xcep.", "", out, room) || replace(ours, "LFS_xcep.", "", out, room);
}

/* ---- VGG ---- */

/* timm has the first two linear layers as convolutions. */
static bool vgg_timm(const char *ours, char *out, size_t room)
{
    return replace(ours, "classifier.0.", "pre_logits.fc1.", out, room) ||
           replace(ours, "classifier.3.", "pre_logits.fc2.", out, room) ||
           replace(ours, "classifier.6.", "head.fc.", out, room) || replace(ours, "", "", out, room);
}

/* ---- EfficientNet-B4 ---- */

/* Others number blocks within their stage. */
static const int efficientnet_repeats[] = {2, 4, 4, 6, 6, 8, 2};
enum { N_STAGES = sizeof efficientnet_repeats / sizeof efficientnet_repeats[0] };

/* A layer's names; in a block, those of the first stage, which has no expansion, are others. */
typedef struct layer_row {
    const char *ours, *timm, *torchvision, *timm_first, *torchvision_first;
} layer_row;

static const layer_row efficientnet_block[] = {
    {"_expand_conv", "conv_pw", "0.0", NULL, NULL},
    {"_bn0", "bn1", "0.1", NULL, NULL},
    {"_depthwise_conv", "conv_dw", "1.0", "conv_dw", "0.0"},
    {"_bn1", "bn2", "1.1", "bn1", "0.1"},
    {"_se_reduce", "se.conv_reduce", "2.fc1", "se.conv_reduce", "1.fc1"},
    {"_se_expand", "se.conv_expand", "2.fc2", "se.conv_expand", "1.fc2"},
    {"_project_conv", "conv_pwl", "3.0", "conv_pw", "2.0"},
    {"_bn2", "bn3", "3.1", "bn2", "2.1"},
    {NULL, NULL, NULL, NULL, NULL},
};

static const layer_row efficientnet_ends[] = {
    {"_conv_stem", "conv_stem", "features.0.0", NULL, NULL}, {"_bn0", "bn1", "features.0.1", NULL, NULL},
    {"_conv_head", "conv_head", "features.8.0", NULL, NULL}, {"_bn1", "bn2", "features.8.1", NULL, NULL},
    {"_fc", "classifier", "classifier.1", NULL, NULL},       {NULL, NULL, NULL, NULL, NULL},
};

/* The row of the layer in "LAYER.weight"; *rest is ".weight". */
static const layer_row *row_of(const layer_row *rows, const char *ours, const char **rest)
{
    const size_t n = strcspn(ours, ".");

    *rest = ours + n;
    for (const layer_row *row = rows; row->ours != NULL; row++)
        if (strlen(row->ours) == n && memcmp(row->ours, ours, n) == 0)
            return row;
    return NULL;
}

static bool efficientnet(const char *ours, char *out, size_t room, bool torchvision)
{
    const char *rest;
    int block = 0, used = 0, stage = 0;

    if (sscanf(ours, "_blocks.%d.%n", &block, &used) < 1 || used == 0) {
        const layer_row *row = row_of(efficientnet_ends, ours, &rest);
        return row != NULL && replace(rest, "", torchvision ? row->torchvision : row->timm, out, room);
    }
    for (; stage < N_STAGES && block >= efficientnet_repeats[stage]; stage++)
        block -= efficientnet_repeats[stage];
    const layer_row *row = row_of(efficientnet_block, ours + used, &rest);
    if (row == NULL || stage == N_STAGES)
        return false;
    const char *timm = stage == 0 ? row->timm_first : row->timm, *tv = stage == 0 ? row->torchvision_first : row->torchvision;
    if (timm == NULL)
        return false;
    if (torchvision)
        snprintf(out, room, "features.%d.%d.block.%s%s", stage + 1, block, tv, rest);
    else
        snprintf(out, room, "blocks.%d.%d.%s%s", stage, block, timm, rest);
    return true;
}

static bool efficientnet_timm(const char *ours, char *out, size_t room) { return efficientnet(ours, out, room, false); }
static bool efficientnet_torchvision(const char *ours, char *out, size_t room) { return efficientnet(ours, out, room, true); }

/* ---- all ---- */

static const prle_naming namings[] = {
    {.net = "xception", .name = "cadene", .one_to_one = true},
    {.net = "xception", .name = "last_linear", .rename = last_linear, .one_to_one = true},
    {.net = "resnet50", .name = "torchvision", .one_to_one = true},
    {.net = "resnet50", .name = "last_linear", .rename = last_linear, .one_to_one = true},
    {.net = "efficientnet_b4", .name = "lukemelas", .one_to_one = true},
    {.net = "efficientnet_b4",
     .name = "timm",
     .rename = efficientnet_timm,
     .one_to_one = true,
     .not_for = "efficientnet_b4",
     .instead = "efficientnet_b4_symmetric, or efficientnet_b4_same for weights of tf_efficientnet_b4"},
    {.net = "efficientnet_b4",
     .name = "torchvision",
     .rename = efficientnet_torchvision,
     .one_to_one = true,
     .not_for = "efficientnet_b4",
     .instead = "efficientnet_b4_symmetric"},
    {.net = "vgg", .name = "torchvision", .one_to_one = true},
    {.net = "vgg", .name = "timm", .rename = vgg_timm},
    {.net = "f3net", .name = "f3net", .one_to_one = true},
    {.net = "f3net", .name = "deepfakebench", .rename = f3net_deepfakebench},
    {.net = "f3net", .name = "xception", .rename = f3net_xception},
    {.net = "", .name = "own", .one_to_one = true},
};
enum { N_NAMINGS = sizeof namings / sizeof namings[0] };

const prle_naming *prle_naming_get(const char *net, int i)
{
    bool any = false;

    for (int k = 0; k < N_NAMINGS; k++) {
        const bool is_own = namings[k].net[0] == '\0';
        if (strncmp(net, namings[k].net, strlen(namings[k].net)) != 0 || (is_own && any))
            continue;
        any = true;
        if (i-- == 0)
            return &namings[k];
    }
    return NULL;
}

prle_status prle_naming_find(const prle_naming **out, const char *net, const char *name)
{
    char words[256] = "";
    const prle_naming *naming;

    for (int i = 0; (naming = prle_naming_get(net, i)) != NULL; i++) {
        if (!naming->one_to_one)
            continue;
        if (strcmp(naming->name, name) == 0) {
            *out = naming;
            return PRLE_OK;
        }
        snprintf(words + strlen(words), sizeof words - strlen(words), "%s%s", words[0] != '\0' ? ", " : "", naming->name);
    }
    return PRLE_FAIL(PRLE_EINVAL, "option names = \"%s\": a %s can be written with the names of %s", name, net, words);
}

bool prle_naming_apply(const prle_naming *naming, const char *ours, char out[PRLE_NAMING_BYTES])
{
    return naming->rename == NULL ? replace(ours, "", "", out, PRLE_NAMING_BYTES) : naming->rename(ours, out, PRLE_NAMING_BYTES);
}
