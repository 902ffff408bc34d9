/* util_dnnl.h - what every *_dnnl.c stands on: statuses, layouts as memory descriptors, a primitive bound to arguments. */
#pragma once
#include <oneapi/dnnl/dnnl.h>
#include <stddef.h>

#include "core/op/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The status of a oneDNN call: PRLE_EDNNL with the call's name and oneDNN's reason. */
#define PRLE_DNNL(e) prle_dnnl_status((e), #e, __FILE__, __LINE__, __func__)
prle_status prle_dnnl_status(dnnl_status_t code, const char *call, const char *file, int line, const char *func);

/** The processor, as oneDNN knows it: one for the process, made at the first call, never destroyed. Thread-safe. */
PRLE_NODISCARD prle_status prle_dnnl_engine(dnnl_engine_t *out);

/** What every implementation here refuses: other arithmetic than f32, memory in bfloat16 where oneDNN is slow at it (see
 * prle_dnnl_has_bf16 in impls.h), and tensors without elements. */
bool prle_dnnl_supports(const prle_op_desc *desc, const char **why);

/* Descriptors of tensors of type F32 or BF16. `any`: the primitive chooses. */
PRLE_NODISCARD prle_status prle_dnnl_md_plain(prle_dtype dtype, int n_dims, const dnnl_dims_t dims, dnnl_memory_desc_t *out);
PRLE_NODISCARD prle_status prle_dnnl_md_any(prle_dtype dtype, int n_dims, const dnnl_dims_t dims, dnnl_memory_desc_t *out);

/** How `layout` lies in memory. A vector [B,C] is seen as the image [B,C,1,1]: the same bytes. */
PRLE_NODISCARD prle_status prle_dnnl_md(const prle_layout *layout, dnnl_memory_desc_t *out);

/**
 * The layout of a tensor of that shape which lies in memory as `md` says. A dense row-major descriptor gives the plain layout,
 * whatever blocks it is written with. PRLE_ENOTSUP for what is no f32 or bfloat16 tensor in blocks.
 */
PRLE_NODISCARD prle_status prle_dnnl_layout(const dnnl_memory_desc_t *md, const prle_shape *shape, prle_layout *out);

/** Whether oneDNN has the activation; NONE is none. */
bool prle_dnnl_supports_act(const prle_act_attrs *act, const char **why);

/** PRLE_ACT_* as oneDNN's algorithm and its alpha. PRLE_ENOTSUP for those that prle_dnnl_supports_act refuses. */
PRLE_NODISCARD prle_status prle_dnnl_act(const prle_act_attrs *act, dnnl_alg_kind_t *out, float *alpha);

/** Where the primitive's argument lies at run time: `offset` bytes behind a pointer of prle_op_args. */
typedef struct prle_dnnl_place {
    size_t member; /* offset of the pointer in prle_op_args */
    size_t offset_bytes;
    bool has_spare;
    size_t spare_bytes; /* offset in args->scratch to use where the pointer is NULL, if has_spare */
} prle_dnnl_place;

#define PRLE_DNNL_AT(pointer) ((prle_dnnl_place){.member = offsetof(prle_op_args, pointer)})
#define PRLE_DNNL_AT_OFFSET(pointer, n_bytes)                                                                                    \
    ((prle_dnnl_place){.member = offsetof(prle_op_args, pointer), .offset_bytes = (n_bytes)})

/** The address of a place; NULL where the operator got no buffer and there is no spare one. */
void *prle_dnnl_find(const prle_dnnl_place *place, const prle_op_args *args);

enum { PRLE_DNNL_MAX_ARGS = 12 };

/** A primitive and where each of its arguments is found: with this as a state, running an operator is prle_dnnl_run. */
typedef struct prle_dnnl_call {
    dnnl_primitive_t primitive;
    int n_args;
    dnnl_exec_arg_t arg[PRLE_DNNL_MAX_ARGS]; /* memory objects without memory of their own */
    prle_dnnl_place place[PRLE_DNNL_MAX_ARGS];
} prle_dnnl_call;

/** Attributes every primitive is made with: its scratch is the caller's. The caller destroys *out. */
PRLE_NODISCARD prle_status prle_dnnl_attr(dnnl_primitive_attr_t *out);

/** A primitive descriptor with those attributes; `hint` is the forward pass's, for a gradient. The caller destroys *out. */
PRLE_NODISCARD prle_status prle_dnnl_pd(const_dnnl_op_desc_t op, const_dnnl_primitive_desc_t hint, dnnl_primitive_desc_t *out);

/**
 * Makes the primitive that `pd` describes, books its scratch in the plan and logs its name at debug. On failure `call` is as
 * deinit leaves it.
 */
PRLE_NODISCARD prle_status prle_dnnl_call_init(prle_dnnl_call *call, const_dnnl_primitive_desc_t pd, const prle_op_desc *desc,
                                               prle_op_pass pass, prle_op_plan *plan);

/** The primitive's argument `arg` (DNNL_ARG_*) lies at `place`. */
PRLE_NODISCARD prle_status prle_dnnl_call_bind(prle_dnnl_call *call, int arg, prle_dnnl_place place);

/** The same; where the pointer is NULL (nobody wants that output) it goes to scratch, which is booked in the plan. */
PRLE_NODISCARD prle_status prle_dnnl_call_bind_spare(prle_dnnl_call *call, int arg, prle_dnnl_place place, prle_op_plan *plan);

/** The same as bind; *layout becomes the one the primitive reads or writes there. */
PRLE_NODISCARD prle_status prle_dnnl_call_bind_layout(prle_dnnl_call *call, int arg, prle_dnnl_place place,
                                                      const prle_shape *shape, prle_layout *layout);

/** Bytes of the primitive's argument; 0 when it has none of that name. */
size_t prle_dnnl_call_arg_bytes(const prle_dnnl_call *call, int arg);

/** Adds `n_bytes` to the plan's scratch; returns where they start in it, aligned to 64. */
size_t prle_dnnl_book_scratch(prle_op_plan *plan, size_t n_bytes);

/** Runs the primitive, one run of a call at a time. PRLE_EINVAL where an argument has no buffer. Allocates nothing of ours. */
PRLE_NODISCARD prle_status prle_dnnl_call_run(const prle_dnnl_call *call, const prle_op_args *args);

void prle_dnnl_call_deinit(prle_dnnl_call *call); /* an all-zero one is fine */

/** What tells the operators of one primitive apart: which one it is, and where its arguments lie (layouts are set on the way). */
typedef prle_status (*prle_dnnl_create)(const prle_op_desc *desc, prle_op_pass pass, const prle_op_plan *plan,
                                        dnnl_primitive_desc_t *out);
typedef prle_status (*prle_dnnl_bind)(const prle_op_desc *desc, prle_op_pass pass, prle_dnnl_call *call, prle_op_plan *plan);

/** plan() of such an operator. The state is a prle_dnnl_call, which run and destroy below serve. */
PRLE_NODISCARD prle_status prle_dnnl_plan(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan,
                                          prle_dnnl_create create, prle_dnnl_bind bind);
prle_status prle_dnnl_run(const void *state, prle_op_pass pass, const prle_op_args *args);

/** Also for larger states that begin with their prle_dnnl_call. */
void prle_dnnl_destroy(void *state);

/** "jit:avx2", "jit_dw:avx2", "x64:gemm:jit", ...: what oneDNN chose. The state begins with a prle_dnnl_call. */
const char *prle_dnnl_name(const void *state);

#ifdef __cplusplus
}
#endif
