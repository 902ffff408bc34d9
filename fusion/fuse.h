/* fuse.h - the primary region of an image out of T attention maps (arXiv 2307.12534, Eqs. 6-8), in integers. */
#pragma once
#include <stdint.h>

#include "core/attention.h"
#include "core/hd.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** How T maps become one (paper, Stage 1, Eqs. 5-8). Stored by name in maps.h5. To add one: README.md here. */
typedef enum prle_fuse_rule {
    PRLE_FUSE_EXPAND,     /* the mean where it is high, else the neighbor value: the default */
    PRLE_FUSE_NEIGHBOR,   /* Eqs. 7, 8 as printed */
    PRLE_FUSE_AVERAGE,    /* Eq. 6 */
    PRLE_FUSE_HYSTERESIS, /* the release's unused function; plain loops, for comparison only */
    PRLE_FUSE_N_RULES
} prle_fuse_rule;

/**
 * Thresholds are shares of full attention in [0,1]. A threshold t means the rational rint(10^6 t) / 10^6, so every decimal of up
 * to six digits is taken exactly, and each comparison is one between integers, strict as printed:
 *   s > tau1              as  10^6 sum_t q_t          >  rint(10^6 tau1) * 32768 T
 *   window mean > lambda  as  10^6 sum_a |q_j - q_k|  >  rint(10^6 lambda) * 32768 n,  n the pixels really inside the window.
 */
typedef struct prle_fuse_opts {
    prle_fuse_rule rule;
    double tau1;      /* average, expand: keep the mean above it; hysteresis: the upper threshold */
    double lambda;    /* neighbor, expand: detectors disagree above it */
    int radius;       /* windows are (2 radius + 1)^2, clipped at the border; 1 ... 7 */
    double hyst_low;  /* hysteresis: zero below it */
    double hyst_pair; /* hysteresis: a pair is accepted above it */
} prle_fuse_opts;

#define PRLE_FUSE_OPTS_DEFAULT                                                                                                   \
    {                                                                                                                            \
        .rule = PRLE_FUSE_EXPAND, .tau1 = 0.3, .lambda = 0.15, .radius = 1, .hyst_low = 0.1, .hyst_pair = 0.2                    \
    }

enum { PRLE_FUSE_MAX_MAPS = 64, PRLE_FUSE_MAX_RADIUS = 7 };

/** "expand", "neighbor", "average", "hysteresis" by prle_fuse_rule, then NULL: for option tables. */
extern const char *const prle_fuse_rule_words[];

/** The thresholds as integers, for T maps. */
typedef struct prle_fuse_limits {
    uint32_t mean, low;      /* s > tau1 is sum > mean; s < hyst_low is sum < low */
    int64_t pair_millionths; /* lambda; of hysteresis hyst_pair */
} prle_fuse_limits;

/** Resolves and checks options; the errors of prle_fuser_create. */
PRLE_NODISCARD prle_status prle_fuse_limits_make(prle_fuse_limits *out, const prle_fuse_opts *opts, int T, int64_t H, int64_t W);

/** The mean over a window of n pixels exceeds the pair threshold when their sum exceeds this. */
PRLE_HD static inline int32_t prle_fuse_window_limit(const prle_fuse_limits *limits, int n)
{
    return (int32_t)(limits->pair_millionths * PRLE_ATTENTION_ONE * n / 1000000);
}

/** Thresholds resolved to integers, and all scratch: fusing allocates nothing. One per thread. */
typedef struct prle_fuser prle_fuser;

/**
 * For T maps of H x W. Errors: PRLE_EINVAL names the option out of range; PRLE_ESHAPE when H * W > 65,536 (ranks have 16 bits).
 */
PRLE_NODISCARD prle_status prle_fuser_create(const prle_fuse_opts *opts, int T, int64_t H, int64_t W, prle_fuser **out);
void prle_fuser_destroy(prle_fuser *fuser); /* NULL is fine */

/**
 * Fuses one image.
 *
 * q          in   [T,H,W]  attention, 0 ... 32768 (prle_attention_quantise)
 * rank       out  [H,W]    see core/rankmap.h
 * attention  out  [H,W]    rint(255 A), ties to even, of the fused map A in [0,1]; may be NULL
 * area       out           |V|: positions whose fused value is above zero; 0 is legal
 *
 * Errors: PRLE_EINVAL names the place of a value above 32768.
 */
PRLE_NODISCARD prle_status prle_fuser_run(prle_fuser *fuser, const uint16_t *q, uint16_t *rank, uint8_t *attention,
                                          uint32_t *area);

/** The fused map of the last run, [H,W], on the scale where 1.0 is 32768 T (means and maxima compare exactly). Borrowed. */
const uint32_t *prle_fuser_values(const prle_fuser *fuser);

#ifdef __cplusplus
}
#endif
