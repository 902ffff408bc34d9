/* plan.h - who goes into which split, and which videos are made of whom: decided before the first pixel, from the seed alone. */
#pragma once
#include "augment/faces.h"
#include "augment/forge/forge.h"
#include "augment/forge/photos.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PRLE_FORGE_REAL = -1 };

/** What the draws of the generator are for: the `epoch` of prle_rng_make under PRLE_RNG_FORGE. Append only. */
enum { PRLE_FORGE_DRAW_SPLIT, PRLE_FORGE_DRAW_DONOR, PRLE_FORGE_DRAW_VIDEO, PRLE_FORGE_DRAW_FRAME };

typedef struct prle_forge_video {
    prle_split split;
    int method;     /* prle_forge_method, or PRLE_FORGE_REAL */
    int64_t target; /* photograph */
    int64_t donor;  /* photograph; -1 for a real video */
    char *folder;   /* "train/fake/swap/001_03+045_03", below ROOT */
} prle_forge_video;

typedef struct prle_forge_plan {
    prle_split *split; /* [n_identities] */
    int64_t n_identities[PRLE_SPLITS];
    prle_forge_video *video; /* [n_videos] */
    int64_t n_videos;
} prle_forge_plan;

/**
 * Splits: a permutation of the identities by the seed, cut by the shares, two at least in each (PRLE_EINVAL below six).
 * Donors: for swap, paste and blend the closest in shape, skin and size of twelve photographs drawn from other identities of the
 * split; for reenact and mouth the target's own photograph whose mouth differs most, where it has another one, else drawn as
 * above.
 */
PRLE_NODISCARD prle_status prle_forge_plan_make(prle_forge_plan *out, const prle_forge_photos *photos,
                                                const prle_forge_opts *opts);
void prle_forge_plan_deinit(prle_forge_plan *plan);

#ifdef __cplusplus
}
#endif
