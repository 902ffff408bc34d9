/* util_cudnn.h - cuDNN's graph API in as many words as a convolution takes: tensors by number, operations on them, a plan that
 * the library's heuristics choose, runs of it. All images and kernels lie channels last. */
#pragma once
#include "core/device/device_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Being built. The first error is remembered; calls after it do nothing; prle_cudnn_plan_create reports it. */
typedef struct prle_cudnn_graph prle_cudnn_graph;

PRLE_NODISCARD prle_status prle_cudnn_graph_create(prle_cudnn_graph **out);
void prle_cudnn_graph_destroy(prle_cudnn_graph *g); /* NULL is fine */

enum { PRLE_CUDNN_MAX_TENSORS = 8 }; /* numbered from 1 */

/** Tensor number `id`, [N,C,H,W] in f32 or bf16. is_virtual: between two operations only, never in memory. */
void prle_cudnn_tensor(prle_cudnn_graph *g, int id, prle_dtype dtype, const int64_t dim[4], bool is_virtual);

/** y = x * w (FORWARD), its transposes into x (BACKWARD) or w (WEIGHTS); groups follow from the shapes. Sums in f32. */
void prle_cudnn_convolution(prle_cudnn_graph *g, prle_op_pass pass, int x, int w, int y, const prle_conv2d_attrs *attrs);

/** y = a + b, b broadcast along dimensions of 1. */
void prle_cudnn_add(prle_cudnn_graph *g, int a, int b, int y);

/** y = max(a, 0). */
void prle_cudnn_relu(prle_cudnn_graph *g, int a, int y);

/** What a plan must be like. */
typedef struct prle_cudnn_wishes {
    const char *device_json; /* a GPU that need not be here, as cuDNN describes it; NULL: this process's */
    bool deterministic;      /* sums in one order only */
    bool exact;              /* f32 as f32: no TF32, no Winograd, no FFT */
    size_t most_scratch_bytes;
} prle_cudnn_wishes;

/** A graph that cuDNN has kernels for. Immutable once made. */
typedef struct prle_cudnn_plan prle_cudnn_plan;

/**
 * The first of the heuristics' engines (mode A, then the fallback) that fulfils the wishes and finalizes. PRLE_ENOTSUP says how
 * many were tried and why the last one was refused.
 *
 * A plan is kept in the user's cache folder (core/cache.h) and taken from there the next time the same is asked for.
 */
PRLE_NODISCARD prle_status prle_cudnn_plan_create(prle_cudnn_plan **out, prle_cudnn_graph *g, const prle_cudnn_wishes *wishes);
void prle_cudnn_plan_destroy(prle_cudnn_plan *plan); /* NULL is fine */

size_t prle_cudnn_plan_scratch(const prle_cudnn_plan *plan);
const char *prle_cudnn_plan_name(const prle_cudnn_plan *plan); /* "engine 38, tensor cores, kept": borrowed */

/** Queues it on the compute stream. ids, pointers [n]: every tensor that is not virtual, 16-byte aligned. Allocates nothing of
 * ours. */
PRLE_NODISCARD prle_status prle_cudnn_plan_run(const prle_cudnn_plan *plan, int n, const int64_t *ids, void *const *pointers,
                                               void *scratch);

#ifdef __cplusplus
}
#endif
