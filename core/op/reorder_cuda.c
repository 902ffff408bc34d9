/* reorder_cuda.c - row-major and channels-last into each other, f32 and bf16 into each other: between operators, and when
 * parameters are packed (a kernel [K,C,R,S] is then an image of R x S pixels). */
#include "core/alloc.h"
#include "core/op/impls_cuda.h"
#include "core/op/kernels_cuda.h"

typedef struct reorder_state {
    prle_dtype from, to;
    int64_t count, rows, columns; /* matrices to transpose; count 0: nothing but another type */
    int64_t n;
} reorder_state;

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    const prle_layout *a = &plan->in[0], *b = &plan->out;
    const int64_t *x = a->shape.dim;
    reorder_state s = {.from = a->dtype, .to = b->dtype, .n = prle_shape_count(&desc->in[0])}, *state = NULL;

    PRLE_CHECK(pass == PRLE_PASS_FORWARD, PRLE_ENOTSUP, "a reorder has no gradient: plan one the other way");
    PRLE_CHECK(a->dtype != PRLE_F64 && b->dtype != PRLE_F64, PRLE_ENOTSUP, "the GPU reorders f32 and bf16, not f64");
    if (a->plain != b->plain && x[1] > 1 && x[2] * x[3] > 1) {
        s.count = x[0];
        s.rows = a->plain ? x[1] : x[2] * x[3];
        s.columns = a->plain ? x[2] * x[3] : x[1];
    }
    PRLE_TRY(PRLE_NEW(state, 1));
    *state = s;
    plan->state = state;
    return PRLE_OK;
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const reorder_state *s = state;
    const prle_cuda *gpu = NULL;

    (void)pass;
    PRLE_TRY(prle_cuda_get(&gpu));
    if (s->count > 0)
        PRLE_CUDA(prle_transpose_cuda(args->out, s->to, args->in[0], s->from, s->count, s->rows, s->columns, gpu->compute));
    else
        PRLE_CUDA(prle_convert_cuda(args->out, s->to, args->in[0], s->from, s->n, gpu->compute));
    return PRLE_OK;
}

const prle_op_impl prle_reorder_impl_cuda = {
    .name = "cuda", .kind = PRLE_OP_REORDER, .supports = prle_cuda_supports, .plan = plan_pass, .run = run};
