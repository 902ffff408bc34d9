/* dropout.h - inverted dropout: of elements (Srivastava et al., JMLR 15, 2014), or of whole samples (stochastic depth: Huang et
 * al., arXiv 1603.09382; "drop connect" in EfficientNet). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/**
 * Training: each element is kept with probability 1 - p and divided by 1 - p, else 0. The draw of element i of a sample is
 * f(seed, epoch, sample, layer, i): it depends on neither ranks nor threads. per_sample: all elements of a sample share the draw
 * of element 0. In inference plans the node is left out.
 */
typedef struct prle_dropout_attrs {
    double p;
    uint32_t layer; /* tells a network's dropouts apart, < 256 */
    bool per_sample;
} prle_dropout_attrs;
