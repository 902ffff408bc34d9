/* graph.h - a network as a list of named operators, built by a handful of calls so that a network file reads like its table. */
#pragma once
#include "core/op/op.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PRLE_NAME_BYTES = 64, PRLE_GRAPH_MAX_SCOPES = 4 };

/** A node: its number in the graph, in the order of building, which is an order of computing. Negative after an error. */
typedef int prle_node;

/** What a segment of the parameters is; each kind has a flat buffer of its own (nets/model.h). */
typedef enum prle_segment_kind {
    PRLE_SEGMENT_WEIGHT,  /* trained */
    PRLE_SEGMENT_STAT,    /* running means and variances */
    PRLE_SEGMENT_COUNTER, /* num_batches_tracked, one integer */
} prle_segment_kind;

typedef enum prle_init {
    PRLE_INIT_ZERO,
    PRLE_INIT_ONE,
    PRLE_INIT_TORCH,           /* uniform in +-1/sqrt(fan_in): PyTorch's default for convolutions and linear layers, bias too */
    PRLE_INIT_KAIMING_FAN_OUT, /* normal, variance 2 / fan_out: He et al., arXiv 1502.01852 */
    PRLE_INIT_NORMAL           /* normal, standard deviation `deviation` */
} prle_init;

/** One named tensor of the parameters, in the order of the public checkpoint's state_dict. */
typedef struct prle_segment {
    char name[PRLE_NAME_BYTES]; /* "layer1.0.conv1.weight" */
    prle_segment_kind kind;
    prle_shape shape;
    int64_t offset, count; /* elements in the buffer of its kind */
    prle_init init;
    int64_t fan_in, fan_out;
    double deviation; /* of PRLE_INIT_NORMAL */
    bool no_decay;    /* a bias, or of a batch norm */
    bool head;        /* of the last linear layer, whose shape depends on the number of classes */
} prle_segment;

/** One operator. Shapes are for a batch of one. */
typedef struct prle_graph_node {
    char name[PRLE_NAME_BYTES];
    prle_op_desc desc;
    prle_node in[PRLE_OP_MAX_IN];
    int param[PRLE_OP_MAX_PARAMS]; /* segments, -1 where there is none */
    int stat[2], counter;          /* batch norm: running mean, running variance, num_batches_tracked */
} prle_graph_node;

/** What a public checkpoint stores beside parameters and statistics; our files do not, for it follows from the graph. */
typedef enum prle_constant_kind {
    PRLE_CONSTANT_DCT,            /* [n,n] D of core/op/dct.h */
    PRLE_CONSTANT_DCT_TRANSPOSED, /* [n,n] */
    PRLE_CONSTANT_BAND,           /* [n,n] 1 inside `band` of a spectrum, else 0 */
    PRLE_CONSTANT_BAND_COUNT,     /* a number: how many ones that has */
    PRLE_CONSTANT_UNUSED,         /* weights the original never reads, of any value: here zero */
} prle_constant_kind;

/** Compared on import (but for UNUSED), written by prle_constant_fill on export. */
typedef struct prle_constant {
    char name[PRLE_NAME_BYTES];
    prle_constant_kind kind;
    prle_shape shape;
    int64_t n; /* of the matrix */
    prle_band band;
} prle_constant;

typedef struct prle_graph {
    char name[PRLE_NAME_BYTES]; /* of the network: "resnet50" */
    int n_nodes, n_segments, n_constants;
    uint32_t n_dropouts;
    prle_graph_node *node;
    prle_segment *segment;
    prle_constant *constant;
    char scope[PRLE_NAME_BYTES];               /* what names begin with now, "" or "FAD_xcep.block1." */
    int n_scopes;                              /* how many scopes that is */
    size_t scope_bytes[PRLE_GRAPH_MAX_SCOPES]; /* the length of `scope` before each of them */
    int64_t n_weights, n_stats, n_counters;    /* elements of each buffer */
    prle_node output;                          /* logits [1, classes] */
    prle_node cam;                             /* the default node of class activation maps */
    bool pools_by_call;                        /* of the public implementation: by a function, not a module: card.h */
    prle_status status;                        /* the first error of a builder call; the calls after it do nothing */
} prle_graph;

/* Building. Each call adds a node and returns it; errors are remembered and reported by prle_graph_finish. */

PRLE_NODISCARD prle_status prle_graph_create(prle_graph **out, const char *name);
void prle_graph_destroy(prle_graph *graph); /* NULL is fine */

/** Names of nodes, parameters and constants begin with SCOPE. until its end. Scopes nest. */
PRLE_PRINTF(2, 3)
void prle_graph_scope_begin(prle_graph *g, const char *format, ...);
void prle_graph_scope_end(prle_graph *g);

prle_node prle_graph_input(prle_graph *g, int64_t channels, int64_t height, int64_t width); /* "input"; once, first */

/** Zeros around an image, in pixels. */
typedef struct prle_pads {
    int64_t top, left, bottom, right;
} prle_pads;

/** Zero means: stride 1, groups 1, no padding, no bias, PRLE_INIT_TORCH. `pad` is on every side; `pads`, where sides differ,
 * comes on top of it. */
typedef struct prle_conv_opts {
    int64_t out, kernel, stride, pad, groups;
    prle_pads pads;
    bool bias, kaiming;
} prle_conv_opts;
prle_node prle_graph_conv(prle_graph *g, prle_node x, const char *name, prle_conv_opts opts); /* NAME.weight, NAME.bias */

/** Zero means eps 1e-5, momentum 0.1. `again`: the parameters of an earlier batch norm of this name are used once more. */
typedef struct prle_bn_opts {
    double eps, momentum;
    bool again;
} prle_bn_opts;
prle_node prle_graph_batch_norm(prle_graph *g, prle_node x, const char *name, prle_bn_opts opts);

prle_node prle_graph_relu(prle_graph *g, prle_node x, const char *name);
prle_node prle_graph_leaky_relu(prle_graph *g, prle_node x, const char *name, double slope);
prle_node prle_graph_act(prle_graph *g, prle_node x, const char *name, prle_act_attrs attrs);
prle_node prle_graph_max_pool(prle_graph *g, prle_node x, const char *name, int64_t kernel, int64_t stride, int64_t pad);
prle_node prle_graph_adaptive_mean(prle_graph *g, prle_node x, const char *name, int64_t bins); /* [1,C,bins,bins]: pool.h */
prle_node prle_graph_global_mean(prle_graph *g, prle_node x, const char *name);                 /* [1,C,H,W] -> [1,C] */
prle_node prle_graph_squeeze(prle_graph *g, prle_node x, const char *name);                     /* the same mean, [1,C,1,1] */
prle_node prle_graph_gate(prle_graph *g, prle_node x, prle_node gate, const char *name);        /* x [1,C,H,W], gate [1,C,1,1] */
prle_node prle_graph_add(prle_graph *g, prle_node a, prle_node b, const char *name);
prle_node prle_graph_concat(prle_graph *g, const prle_node *nodes, int n, const char *name);
prle_node prle_graph_flatten(prle_graph *g, prle_node x, const char *name);
prle_node prle_graph_dropout(prle_graph *g, prle_node x, const char *name, double p);
prle_node prle_graph_drop_samples(prle_graph *g, prle_node x, const char *name, double p); /* "drop connect": whole samples */
prle_node prle_graph_linear(prle_graph *g, prle_node x, const char *name, int64_t out);    /* with bias */

prle_node prle_graph_dct(prle_graph *g, prle_node x, const char *name, bool inverse);

/* Both with parameters NAME.M.learnable for each band M, which begin normal with standard deviation 0.1. */
prle_node prle_graph_band_filter(prle_graph *g, prle_node x, const char *name, const prle_bands *bands);
prle_node prle_graph_local_spectrum(prle_graph *g, prle_node x, const char *name, const prle_local_spectrum_attrs *attrs);

/** Remembers what a public checkpoint stores; kind, n and band are read, and for UNUSED the shape. */
void prle_graph_constant(prle_graph *g, const char *name, prle_constant constant);
void prle_constant_fill(double *out, const prle_constant *constant); /* [prle_shape_count(&constant->shape)] */

/** A node's weights begin normal with that standard deviation, its bias at zero. */
void prle_graph_init_normal(prle_graph *g, prle_node node, double deviation);

/** The last linear layer: the logits. Marks its parameters as the head. */
void prle_graph_output(prle_graph *g, prle_node logits);
void prle_graph_cam(prle_graph *g, prle_node node);

/** The first error of all calls above, naming the network and the node; else PRLE_OK. */
PRLE_NODISCARD prle_status prle_graph_finish(prle_graph *g);

/** By name; PRLE_EINVAL suggests what there is. */
PRLE_NODISCARD prle_status prle_graph_find(const prle_graph *g, const char *name, prle_node *out);
int prle_graph_segment_find(const prle_graph *g, const char *name); /* -1 when there is none */

#ifdef __cplusplus
}
#endif
