/* plan_impl.h - the inside of a plan, shared by plan.c, plan_build.c, plan_profile.c, groups.c, slices.c, pack.c and arena.c
 * only. */
#pragma once
#include "core/alloc.h"
#include "nets/plan.h"

/** Where an argument of a step lies. */
typedef enum place_kind {
    AT_NOWHERE,
    AT_BUFFER,  /* index: an activation, gradient or saved buffer in the arena */
    AT_WEIGHTS, /* index: element of model->weights */
    AT_GRADS,   /* index: element of model->grads */
    AT_STATS,   /* index: element of model->stats */
    AT_PACKED,  /* index: plan->packed */
} place_kind;

typedef struct place {
    place_kind kind;
    int64_t index;
} place;

/** A stretch of the arena, alive from step `first` to step `last` (forward and backward counted through). */
typedef struct arena_buffer {
    size_t n_bytes, offset;
    size_t image_bytes; /* of one that has the whole batch, which steps read and write slice by slice; else 0 */
    int first, last;
} arena_buffer;

/** Memory that outlives a run: weights in another layout, folded or rounded. */
typedef struct plan_packed {
    size_t n_bytes;
    void *data;
} plan_packed;

/** One call of an implementation. */
typedef struct plan_step {
    const prle_op_impl *impl;
    prle_op_pass pass;
    prle_node node; /* whose work this is, for messages */
    void *state;
    place in[PRLE_OP_MAX_IN], out, dout, din[PRLE_OP_MAX_IN];
    place param[PRLE_OP_MAX_PARAMS], dparam[PRLE_OP_MAX_PARAMS], stats[2], saved;
    prle_op_args args;                /* the places as pointers, of the first slice */
    int64_t images;                   /* that it computes at a time */
    int64_t round_out, round_din;     /* floats to round to bfloat16 afterwards, when that is emulated */
    int64_t *counter;                 /* num_batches_tracked to increment, or NULL */
    int64_t grads_first, grads_count; /* gradients that are final after this step */
} plan_step;

/** How packed weights are remade when the model's version has moved, in order. */
typedef enum pack_kind {
    PACK_FOLD,    /* convolution and running batch norm -> weight (to) and bias (to_bias), plain */
    PACK_ROUND,   /* from -> to, rounded to bfloat16, n floats */
    PACK_REORDER, /* step */
} pack_kind;

typedef struct plan_pack {
    pack_kind kind;
    prle_node conv, norm; /* FOLD */
    place from, to, to_bias;
    int64_t n;
    prle_layout layout; /* REORDER: of to */
    plan_step step;     /* REORDER */
} plan_pack;

/** Nodes computed as one operator: the value of `out` from the values of `in`. */
typedef struct plan_group {
    prle_node first, out; /* the operator, and the last node that was fused into it */
    prle_node norm;       /* batch norm folded into a convolution, or -1 */
    prle_op_desc desc;    /* with the plan's batch, and what was fused */
    prle_node in[PRLE_OP_MAX_IN];
    int64_t images; /* computed at a time */
    bool backward;  /* takes part in the backward pass */
    /* filled in while building */
    const prle_op_impl *impl;
    prle_layout in_layout[PRLE_OP_MAX_IN], out_layout;
    size_t saved_bytes;
    int saved; /* buffer, or -1 */
} plan_group;

/** A value, or gradient, of a node in one layout. */
typedef struct copy {
    prle_node node;
    bool gradient;
    prle_layout layout;
    int buffer, stretch;
} copy;

struct prle_plan {
    prle_model *model;
    const prle_device *device;
    prle_plan_opts opts;
    prle_dtype compute;            /* F32 or F64 */
    void *weights, *grads, *stats; /* the model's, in the device's memory */
    prle_dtype memory;             /* of operators: BF16 when the plan is BF16 and the device has it, else compute */
    uint64_t version;              /* of the model when the weights were packed */

    int n_groups, n_copies, n_buffers, n_steps, n_forward, n_packed, n_packs;
    plan_group *groups;
    copy *copies;
    arena_buffer *buffers;
    plan_step *steps;
    plan_packed *packed;
    plan_pack *packs;

    prle_node *alias;      /* [n_nodes] the node whose value this one has */
    bool *carries;         /* [n_nodes] the gradient of its value is needed */
    int *grad;             /* [n_nodes] copy index of its gradient so far, -1 */
    int *segment_uses;     /* [n_segments] backward contributions still to come */
    bool *segment_written; /* [n_segments] a contribution has been emitted */
    int64_t images;        /* while building: at a time, of the stretch (slices.c) with number `stretch` */
    int stretch;
    plan_step pending; /* planned, not yet pushed; owned, so that an error on the way leaks nothing */
    place pixel_table; /* of prle_plan_opts.pixels, in the arithmetic's type */
    int input;         /* buffer, as the following ones are */
    int value[PRLE_PLAN_MAX_NODES + 1], wanted[PRLE_PLAN_MAX_NODES]; /* of the kept (last: the output) and wanted nodes */
    int seed[PRLE_PLAN_MAX_NODES + 1];                               /* last: the output's; -1 without backward */

    size_t arena_bytes, scratch_bytes;
    void *arena, *scratch;
    prle_op_run_info info; /* of the current run; steps point to it */
    double *step_seconds;  /* [n_steps + 1] prle_plan_profile_begin; the last: packing. NULL: nothing is timed */
};

/** Which nodes are computed together, in order: fills groups, alias, carries. */
PRLE_NODISCARD prle_status plan_groups_make(prle_plan *plan);

/** How many images each group computes at a time: its `images`, and its description for as many. */
void plan_slices_choose(prle_plan *plan);

/** The group's value is read outside of its stretch. */
bool plan_slices_cross(const prle_plan *plan, const plan_group *gr);

/** The end of the stretch of forward steps that begins with `first`. */
int plan_slices_end(const prle_plan *plan, int first);

/** Buffers with the whole batch live as long as the stretches that use them. */
void plan_slices_live(prle_plan *plan);

/** Steps, layouts, buffers. */
PRLE_NODISCARD prle_status plan_build(prle_plan *plan);

/** Places of a parameter as the implementation wants it, adding what packing it takes. `norm` >= 0: folded into it. */
PRLE_NODISCARD prle_status plan_pack_param(prle_plan *plan, const plan_group *gr, int index, const prle_layout *wanted,
                                           place *out);

/** Memory that lives as long as the plan. */
PRLE_NODISCARD prle_status plan_packed_add(prle_plan *plan, size_t n_bytes, place *out);

/** Remakes packed weights when the model has changed. */
PRLE_NODISCARD prle_status plan_pack_run(prle_plan *plan);

/** Plans and fills a reorder of `from` (in layout a) to `to` (in layout b). */
PRLE_NODISCARD prle_status plan_reorder_make(prle_plan *plan, const prle_layout *a, const prle_layout *b, plan_step *out);

/** Offsets for all buffers such that no two that are alive together overlap; sets arena_bytes. */
PRLE_NODISCARD prle_status plan_arena_assign(prle_plan *plan);

/** Memory for everything, then each step's places become pointers. */
PRLE_NODISCARD prle_status plan_resolve(prle_plan *plan);

void *plan_pointer(const prle_plan *plan, place at);
void plan_step_resolve(prle_plan *plan, plan_step *s);

/** Rounds n floats to the nearest bfloat16, ties to even, in place. */
void plan_round_bf16(float *values, int64_t n);

/** Frees what the implementation planned. */
void plan_step_deinit(plan_step *s);

/** Appends one zeroed item to a growing list. */
#define PLAN_APPEND(list, n) plan_append((prle_any_ptr *)&(list), &(n), sizeof *(list))
PRLE_NODISCARD prle_status plan_append(prle_any_ptr *list, int *n, size_t size);
