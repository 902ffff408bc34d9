/* pool.h - max and average pooling. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/**
 * Windows of kernel x kernel pixels; sizes are floor((H + 2 pad - kernel) / stride) + 1. Padding never wins a maximum; the first
 * of equal values in raster order does. The mean of a window divides by kernel^2. global: the mean of the whole image,
 * [B,C], or [B,C,1,1] with keep_dims.
 */
typedef struct prle_pool_attrs {
    bool max, global, keep_dims;
    int64_t kernel, stride, pad;
} prle_pool_attrs;
