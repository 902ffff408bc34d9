/* card.h - what a network costs, counted from its graph: nothing is run. */
#pragma once
#include "nets/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Of one image; multiply by the batch. */
typedef struct prle_card {
    int64_t n_params;  /* trained elements; running statistics are none */
    double macs;       /* multiply-accumulates of convolutions and linear layers */
    double macs_paper; /* as Table VIII of arXiv 2307.12534 counts, see below */
    int64_t n_values;  /* elements of all nodes' outputs together: what a backward pass could have to keep */
} prle_card;

/**
 * Table VIII's "GFLOPs" are multiply-accumulates of a batch of 64 at 299 x 299 by the rule of the counter "thop":
 *
 *   convolutions and linear layers  as they are
 *   batch norm                      4 per element
 *   global mean                     (H W + 1) per channel where the original network holds a pooling module, as ResNet-50 does,
 *                                   and 0 where it calls a function, as Xception does, and EfficientNet for its squeezes: thop
 *                                   counts modules
 *   all else                        0
 */
prle_card prle_card_of(const prle_graph *graph);

#ifdef __cplusplus
}
#endif
