/* op.h - what an operator is: its description, the buffers it runs on, and an implementation (planned once, run many times). */
#pragma once
#include "core/op/act.h"
#include "core/op/band_filter.h"
#include "core/op/batch_norm.h"
#include "core/op/conv2d.h"
#include "core/op/dct.h"
#include "core/op/dropout.h"
#include "core/op/local_spectrum.h"
#include "core/op/pool.h"
#include "core/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The operators. Images are [B,C,H,W], vectors [B,C].
 *   CONV2D      out = act( conv(in0, weight) + bias + in1 )      conv2d.h
 *   BATCH_NORM  out = act( gamma (in0 - mean)/sqrt(var+eps) + beta + in1 )   batch_norm.h
 *   ACT         out = f(in0)                                     act.h
 *   POOL        max or average over windows, or the mean of the whole image    pool.h
 *   ADD         out = in0 + in1; out may be in0 itself, in one layout
 *   CONCAT      along channels
 *   GATE        out[b,c,h,w] = in0[b,c,h,w] in1[b,c,0,0]; in1 [B,C,1,1]: the excitation of Hu et al., arXiv 1709.01507
 *   LINEAR      out[b,k] = sum_c in0[b,c] weight[k,c] + bias[k]; parameters weight [K,C], bias [K]
 *   DROPOUT     dropout.h
 *   FLATTEN     [B,C,H,W] -> [B,CHW], the same memory in the plain layout
 *   DCT         out = D in0 D^T, or back                         dct.h
 *   BAND_FILTER     in0 times learnt gains, once for each band       band_filter.h
 *   LOCAL_SPECTRUM  log-magnitudes of windows' DCT, by band          local_spectrum.h
 *   REORDER     the same values in another layout or element type
 *   NORMALISE   out[b,c,h,w] = table[c][byte]; in0 bytes [B,H,W,3], parameter table [3,256] in the arithmetic's type:
 * core/normalise.h. FORWARD only; out: the layout on entry, or what is nearest of those it writes
 */
typedef enum prle_op_kind {
    PRLE_OP_INPUT,
    PRLE_OP_CONV2D,
    PRLE_OP_BATCH_NORM,
    PRLE_OP_ACT,
    PRLE_OP_POOL,
    PRLE_OP_ADD,
    PRLE_OP_CONCAT,
    PRLE_OP_GATE,
    PRLE_OP_LINEAR,
    PRLE_OP_DROPOUT,
    PRLE_OP_FLATTEN,
    PRLE_OP_DCT,
    PRLE_OP_BAND_FILTER,
    PRLE_OP_LOCAL_SPECTRUM,
    PRLE_OP_REORDER,
    PRLE_OP_NORMALISE,
    PRLE_OP_N_KINDS /* to add one: README.md here */
} prle_op_kind;

/** What of an operator is computed. */
typedef enum prle_op_pass {
    PRLE_PASS_FORWARD,
    PRLE_PASS_BACKWARD, /* gradients of the inputs */
    PRLE_PASS_WEIGHTS,  /* gradients of the parameters: CONV2D, LINEAR; those of other operators come with BACKWARD */
    PRLE_N_PASSES
} prle_op_pass;

static inline bool prle_op_has_weights_pass(prle_op_kind kind) { return kind == PRLE_OP_CONV2D || kind == PRLE_OP_LINEAR; }

enum { PRLE_OP_MAX_IN = 4, PRLE_OP_MAX_PARAMS = 6, PRLE_LAYOUT_VENDOR_BYTES = 1024 };

/** How a tensor lies in memory. Plain: row-major, dense. Otherwise only the library that chose it can read it. A plain value. */
typedef struct prle_layout {
    prle_dtype dtype; /* element type in memory */
    prle_shape shape; /* logical */
    bool plain;
    size_t n_bytes;
    union {
        double align;
        unsigned char bytes[PRLE_LAYOUT_VENDOR_BYTES]; /* the library's own description, all zero when plain */
    } vendor;
} prle_layout;

/** Everything an implementation needs to know of one node. */
typedef struct prle_op_desc {
    prle_op_kind kind;
    int n_in;
    prle_shape in[PRLE_OP_MAX_IN];
    prle_shape out;
    prle_dtype dtype;  /* F32 or F64: what the arithmetic is done in */
    prle_dtype memory; /* BF16, with dtype F32: values, gradients between operators and packed weights may lie in memory as
                          bfloat16; an implementation that cannot asks for layouts in dtype. Otherwise it says nothing */
    int n_params;
    prle_shape param[PRLE_OP_MAX_PARAMS];
    union {
        prle_conv2d_attrs conv2d;
        prle_batch_norm_attrs batch_norm;
        prle_act_attrs act;
        prle_pool_attrs pool;
        prle_dropout_attrs dropout;
        prle_dct_attrs dct;
        prle_band_filter_attrs band_filter;
        prle_local_spectrum_attrs local_spectrum;
        struct {
            int64_t n_out;
            bool bias;
        } linear;
    } u;
} prle_op_desc;

/** What changes from run to run, filled in by the caller of the plan. */
typedef struct prle_op_run_info {
    int64_t n_valid; /* samples that count: the plan's batch, or 0 when this rank has no share of the step */
    uint64_t seed;   /* of dropout */
    uint32_t epoch;
    const uint64_t *samples; /* [B] indices in the data set, keys of the per-sample draws; NULL: position in the batch */
} prle_op_run_info;

/** The buffers of one run, in the layouts agreed in prle_op_plan; what an implementation did not ask for may be NULL. */
typedef struct prle_op_args {
    const void *in[PRLE_OP_MAX_IN];
    void *out;                 /* forward: written; backward: read, if uses_out */
    const void *dout;          /* gradient of the loss with respect to out */
    void *din[PRLE_OP_MAX_IN]; /* overwritten, not accumulated; NULL where nobody wants it */
    const void *param[PRLE_OP_MAX_PARAMS];
    void *dparam[PRLE_OP_MAX_PARAMS]; /* overwritten; NULL where nobody wants it */
    void *stats[2];                   /* batch norm: running mean and variance [C], plain */
    void *saved;                      /* written by forward, read by backward */
    void *scratch;                    /* contents do not survive the call */
    const prle_op_run_info *info;
} prle_op_args;

/**
 * The agreement between a plan and an implementation for one pass of one node. On entry each layout holds what exists already
 * (what a producer wrote; plain for parameters); the implementation replaces those it wants otherwise (the plan then puts a
 * reorder before it) and sets the layouts of what it writes. Where desc->memory is BF16, what exists may be bfloat16 or f32.
 * Gradients of parameters are f32 always, and so are biases and batch norm's parameters and statistics.
 */
typedef struct prle_op_plan {
    prle_layout in[PRLE_OP_MAX_IN], out; /* FORWARD: in wanted, out set. BACKWARD, WEIGHTS: wanted where uses_in, uses_out */
    prle_layout dout, din[PRLE_OP_MAX_IN];
    prle_layout param[PRLE_OP_MAX_PARAMS], dparam[PRLE_OP_MAX_PARAMS];
    bool uses_in, uses_out; /* BACKWARD, WEIGHTS: reads the forward pass's inputs, output */
    bool din_is_dout;       /* BACKWARD: every din is dout itself (same layout); run is not called */
    bool training;          /* on entry: a backward pass will follow */
    size_t saved_bytes;     /* set by FORWARD when training */
    size_t scratch_bytes;
    void *state; /* owned by the plan's step, freed by destroy */
} prle_op_plan;

/** One implementation of one operator, all passes. The same one serves all passes of a node. */
typedef struct prle_op_impl {
    const char *name; /* "dnnl", "ref" */
    prle_op_kind kind;
    bool (*supports)(const prle_op_desc *desc, const char **why); /* why: static text, set on false */
    prle_status (*plan)(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan);
    prle_status (*run)(const void *state, prle_op_pass pass, const prle_op_args *args);
    void (*destroy)(void *state); /* NULL: prle_free */
} prle_op_impl;

const char *prle_op_kind_name(prle_op_kind kind); /* "conv2d", "batch_norm", ... */

/** Fills desc->out, n_params and param from kind, inputs and attributes; PRLE_ESHAPE says what does not fit. */
PRLE_NODISCARD prle_status prle_op_infer(prle_op_desc *desc);

/** The row-major layout. */
prle_layout prle_layout_plain(prle_dtype dtype, const prle_shape *shape);

/** Same bytes mean the same values. */
bool prle_layout_equal(const prle_layout *a, const prle_layout *b);

/**
 * The first implementation in `list` (ends with NULL) that supports desc. Each refusal is logged at debug with its reason;
 * PRLE_IMPL="conv2d:ref,pool:ref" in the environment forces one by name. PRLE_ENOTSUP lists all refusals.
 */
PRLE_NODISCARD prle_status prle_op_choose(const prle_op_impl *const *list, const prle_op_desc *desc, const prle_op_impl **out);

/** For implementations with nothing to plan but layouts: keeps a copy of the description as the state. */
PRLE_NODISCARD prle_status prle_op_keep_desc(const prle_op_desc *desc, prle_op_plan *plan);

#ifdef __cplusplus
}
#endif
