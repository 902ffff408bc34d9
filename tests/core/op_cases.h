/* op_cases.h - convolutions that every implementation is tested on: one, odd, prime and asymmetric sizes, strides, groups. */
#pragma once
#include "core/op/op.h"

typedef struct conv_case {
    const char *name;
    int64_t B, C, H, W, K, R, S, stride, top, left, bottom, right, groups;
    bool bias;
} conv_case;

static const conv_case conv_cases[] = {
    {"3x3", 2, 16, 13, 13, 24, 3, 3, 1, 1, 1, 1, 1, 1, false},
    {"3x3 stride 2", 3, 24, 14, 14, 16, 3, 3, 2, 1, 1, 1, 1, 1, false},
    {"3x3 one sample, 1x1 image", 1, 8, 1, 1, 8, 3, 3, 1, 1, 1, 1, 1, 1, true},
    {"3x3 prime sizes", 3, 13, 11, 7, 17, 3, 3, 1, 1, 1, 1, 1, 1, true},
    {"3x3 stride 5", 2, 16, 29, 31, 16, 3, 3, 5, 0, 0, 0, 0, 1, false},
    {"3x3 asymmetric padding", 2, 13, 12, 12, 5, 3, 3, 2, 0, 0, 1, 1, 1, true},
    {"5x5 asymmetric padding", 2, 8, 17, 19, 16, 5, 5, 1, 0, 1, 4, 3, 1, true},
    {"1x3", 2, 8, 9, 9, 8, 1, 3, 1, 0, 1, 0, 1, 1, false},
    {"1x1", 2, 64, 9, 9, 40, 1, 1, 1, 0, 0, 0, 0, 1, false},
    {"1x1 with bias, odd channels", 5, 19, 3, 5, 23, 1, 1, 1, 0, 0, 0, 0, 1, true},
    {"1x1 stride 2", 2, 32, 15, 15, 48, 1, 1, 2, 0, 0, 0, 0, 1, false},
    {"1x1 of vectors", 4, 48, 1, 1, 12, 1, 1, 1, 0, 0, 0, 0, 1, true},
    {"1x1, 1 channel", 2, 1, 5, 5, 1, 1, 1, 1, 0, 0, 0, 0, 1, true},
    {"stem 7x7 stride 2", 2, 3, 33, 33, 64, 7, 7, 2, 3, 3, 3, 3, 1, false},
    {"stem 3x3 stride 2, unpadded", 2, 3, 32, 32, 32, 3, 3, 2, 0, 0, 0, 0, 1, false},
    {"stem of meso4", 2, 3, 32, 32, 8, 3, 3, 1, 1, 1, 1, 1, 1, true},
    {"depthwise 3x3", 2, 24, 13, 13, 24, 3, 3, 1, 1, 1, 1, 1, 24, false},
    {"depthwise 3x3, odd channels", 2, 13, 9, 10, 13, 3, 3, 1, 1, 1, 1, 1, 13, true},
    {"depthwise 3x3 stride 2, asymmetric", 2, 16, 14, 14, 16, 3, 3, 2, 0, 0, 1, 1, 16, false},
    {"depthwise 5x5 stride 2", 2, 16, 15, 15, 16, 5, 5, 2, 2, 2, 2, 2, 16, false},
    {"depthwise 5x5 stride 2, asymmetric", 2, 16, 16, 16, 16, 5, 5, 2, 1, 1, 2, 2, 16, false},
    {"depthwise 3x3 on 1x1", 3, 8, 1, 1, 8, 3, 3, 1, 1, 1, 1, 1, 8, false},
    {"depthwise with multiplier 2", 2, 8, 7, 7, 16, 3, 3, 1, 1, 1, 1, 1, 8, false},
    {"groups of 8", 2, 32, 9, 9, 32, 3, 3, 1, 1, 1, 1, 1, 4, true},
    {"groups of 6 and 10", 2, 24, 9, 9, 40, 3, 3, 1, 1, 1, 1, 1, 4, true},
};

static inline prle_op_desc conv_desc(const conv_case *c)
{
    return (prle_op_desc){.n_in = 1,
                          .in = {PRLE_SHAPE(c->B, c->C, c->H, c->W)},
                          .u.conv2d = {.n_out = c->K,
                                       .kernel_h = c->R,
                                       .kernel_w = c->S,
                                       .stride = c->stride,
                                       .pad_top = c->top,
                                       .pad_left = c->left,
                                       .pad_bottom = c->bottom,
                                       .pad_right = c->right,
                                       .groups = c->groups,
                                       .bias = c->bias}};
}

enum { N_CONV_CASES = sizeof conv_cases / sizeof *conv_cases };
