/* xception.h - Xception's body, which other networks are built on. */
#pragma once
#include "nets/net.h"

#ifdef __cplusplus
extern "C" {
#endif

/** From conv1 to act4: x [1,C,H,W] -> [1,2048,h,w]. first_stride: of conv1, 2 in Xception. Names: prle_graph_scope_begin.
 * Of the public implementations that have this body, the mean behind it is a function call: it marks the graph so. */
prle_node prle_xception_features(prle_graph *g, prle_node x, int64_t first_stride);

#ifdef __cplusplus
}
#endif
