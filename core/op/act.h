/* act.h - elementwise activations. */
#pragma once

typedef enum prle_act {
    PRLE_ACT_NONE,
    PRLE_ACT_RELU,       /* max(x, 0) */
    PRLE_ACT_LEAKY_RELU, /* x > 0 ? x : slope x */
    PRLE_ACT_SIGMOID,    /* 1 / (1 + exp(-x)) */
    PRLE_ACT_SWISH,      /* x sigmoid(x) */
    PRLE_N_ACTS          /* tests go through all below it; to add one: core/op/README.md */
} prle_act;

typedef struct prle_act_attrs {
    prle_act act;
    double slope; /* LEAKY_RELU only */
} prle_act_attrs;
