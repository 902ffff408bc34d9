/* mask.h - dynamic masks (arXiv 2307.12534, Eqs. 9-12): which pixels of an image are hidden in an epoch, and with what. */
#pragma once
#include <math.h>
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum prle_mask_kind {
    PRLE_MASK_NONE,
    PRLE_MASK_PRIMARY,  /* the floor(alpha |V|) highest positions of the image's map: PRLE */
    PRLE_MASK_FIXED,    /* all of V: Table VII, "w/o exploitation" */
    PRLE_MASK_RANDOM,   /* a rectangle of floor(alpha |V|) pixels anywhere, of 0.2 alpha H W pixels without maps: Table IV */
    PRLE_MASK_LANDMARK, /* the convex hull of nose, eyes or mouth: Table IV */
    PRLE_MASK_N_KINDS
} prle_mask_kind;

/** What hidden pixels become. To add one: `fill` in mask.c; what scratch it wants comes with prle_mask_subject, which
 * augment/prepare.c makes. */
typedef enum prle_mask_fill {
    PRLE_FILL_ZERO,  /* black: Eq. 11 */
    PRLE_FILL_MEAN,  /* the data set's mean colour: 0 after normalisation, to within the rounding of 8 bits */
    PRLE_FILL_NOISE, /* uniform bytes: the release */
    PRLE_FILL_N_KINDS
} prle_mask_fill;

/** For option tables: in the order of the values, ended by NULL. */
extern const char *const prle_mask_kind_words[]; /* "none", "primary", "fixed", "random", "landmark" */
extern const char *const prle_mask_fill_words[]; /* "zero", "mean", "noise" */

typedef struct prle_mask_opts {
    prle_mask_kind kind;
    prle_mask_fill fill;
    double p;         /* share of images that are masked, [0,1] */
    double alpha_min; /* alpha ~ U(alpha_min, 1], [0,1) */
    double alpha;     /* in [0,1]: every image is masked, with this alpha (Figure 8). NAN: drawn */
    double gamma;     /* weight of a masked image in the loss (Eq. 13), finite, >= 0 */
    uint64_t seed;
} prle_mask_opts;

#define PRLE_MASK_OPTS_DEFAULT                                                                                                   \
    ((prle_mask_opts){.kind = PRLE_MASK_NONE, .fill = PRLE_FILL_ZERO, .p = 0.5, .alpha_min = 0, .alpha = (double)NAN, .gamma = 1})

/** PRLE_EINVAL names the option out of range. */
PRLE_NODISCARD prle_status prle_mask_opts_check(const prle_mask_opts *opts);

/** Whether the kind hides positions of a rank map: maps are required. */
static inline bool prle_mask_needs_rank(prle_mask_kind kind) { return kind == PRLE_MASK_PRIMARY || kind == PRLE_MASK_FIXED; }

/** Whether image `sample` is to be masked in this epoch: u < p. Says who needs its rank map read. */
bool prle_mask_wanted(const prle_mask_opts *opts, uint32_t epoch, uint64_t sample);

/** An image and what is known of it. */
typedef struct prle_mask_subject {
    uint8_t *image; /* in/out [H,W,3] at the maps' size */
    int64_t height, width;
    uint8_t mean[3];        /* colour of PRLE_FILL_MEAN */
    uint32_t epoch;         /* below 2^24 */
    uint64_t sample;        /* index in the face store */
    bool with_maps;         /* maps are in use: `area` is this image's */
    uint32_t area;          /* |V|, or PRLE_MAPS_NO_AREA */
    const uint16_t *rank;   /* [H,W] core/rankmap.h; read for the kinds that need it, and only when V is not empty */
    const float *landmarks; /* [68,2] x y in pixels of this image, or NULL: unknown */
    uint8_t *hidden;        /* out [H,W] 1 = hidden; meaningful when the image is masked */
} prle_mask_subject;

/** Why an image that was to be masked is not. */
typedef enum prle_mask_lack {
    PRLE_MASK_LACKS_NOTHING,
    PRLE_MASK_LACKS_MAP,       /* it has no map */
    PRLE_MASK_LACKS_AREA,      /* its map is all zero */
    PRLE_MASK_LACKS_LANDMARKS, /* of the region drawn */
} prle_mask_lack;

typedef struct prle_mask_result {
    bool masked;         /* also when floor(alpha |V|) is 0 */
    double alpha;        /* share of the region that is hidden; 0 when not masked */
    int64_t n_pixels;    /* hidden */
    prle_mask_lack lack; /* of an image that was to be masked */
} prle_mask_result;

/**
 * One sample of one epoch: draws u and, if u < p, alpha, then region or rectangle, then noise, from (seed, epoch, sample,
 * PRLE_RNG_MASK); hides the pixels. The same on every rank and thread, and after a resume.
 *
 * primary, fixed  exactly floor(alpha |V|) pixels (prle_rank_count); fixed: alpha = 1 unless opts->alpha is given
 * random          exactly floor(alpha |V|) pixels, or floor(0.2 alpha H W) without maps: a rectangle of height / width ~ U[1/2,2]
 *                 as far as the image allows, its last row cut short where the count asks for it; position uniform
 * landmark        every pixel whose centre lies in the convex hull of points 27-35, 36-47 or 48-67, borders included: alpha = 1
 *
 * Errors: PRLE_EFORMAT when area > H W. Memory: none.
 */
PRLE_NODISCARD prle_status prle_mask_apply(const prle_mask_subject *subject, const prle_mask_opts *opts, prle_mask_result *out);

#ifdef __cplusplus
}
#endif
