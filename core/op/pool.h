/* pool.h - max and average pooling. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/**
 * Windows of kernel x kernel pixels; sizes are floor((H + 2 pad - kernel) / stride) + 1. Padding never wins a maximum; the first
 * of equal values in raster order does. The mean of a window divides by kernel^2. global: the mean of the whole image,
 * [B,C], or [B,C,1,1] with keep_dims. bins > 0: the adaptive mean, [B,C,bins,bins]; bin p of an axis of H pixels is the mean of
 * [floor(p H / bins), ceil((p + 1) H / bins)), PyTorch's rule: bins overlap, and one pixel may be several.
 */
typedef struct prle_pool_attrs {
    bool max, global, keep_dims;
    int64_t kernel, stride, pad, bins;
} prle_pool_attrs;
