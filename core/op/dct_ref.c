/* dct_ref.c - the cosine transform, plain C: two matrix products for every plane. */
#include "core/alloc.h"
#include "core/op/dct.h"
#include "core/op/ref.h"

/* out = left in right. */
typedef struct transform {
    prle_op_desc desc;
    int64_t height, width;
    real matrix[]; /* left [H,H], right [W,W] */
} transform;

/* D_n, or its transpose. */
static void matrix_fill(real *out, int64_t n, bool transposed)
{
    for (int64_t k = 0; k < n; k++)
        for (int64_t i = 0; i < n; i++)
            out[transposed ? i * n + k : k * n + i] = (real)prle_dct_element(k, i, n);
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    const int64_t H = desc->in[0].dim[2], W = desc->in[0].dim[3];
    const bool inverse = desc->u.dct.inverse != (pass == PRLE_PASS_BACKWARD);
    transform *t = NULL;

    ref_layouts(desc, plan);
    PRLE_TRY(prle_alloc(1, sizeof *t + (size_t)(H * H + W * W) * sizeof(real), (prle_any_ptr *)&t));
    t->desc = *desc;
    t->height = H;
    t->width = W;
    matrix_fill(t->matrix, H, inverse);
    matrix_fill(t->matrix + H * H, W, !inverse);
    plan->scratch_bytes = (size_t)prle_shape_count(&desc->in[0]) * sizeof(real);
    plan->state = t;
    return PRLE_OK;
}

/* out [R,C] = a [R,N] b [N,C] */
static void product(real *out, const real *a, const real *b, int64_t R, int64_t N, int64_t C)
{
    for (int64_t r = 0; r < R; r++) {
        for (int64_t c = 0; c < C; c++)
            out[r * C + c] = 0;
        for (int64_t n = 0; n < N; n++)
            for (int64_t c = 0; c < C; c++)
                out[r * C + c] += a[r * N + n] * b[n * C + c];
    }
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const transform *t = state;
    const int64_t H = t->height, W = t->width, planes = prle_shape_count(&t->desc.in[0]) / (H * W);
    const real *in = pass == PRLE_PASS_FORWARD ? args->in[0] : args->dout;
    real *out = pass == PRLE_PASS_FORWARD ? args->out : args->din[0], *half = args->scratch;

#pragma omp parallel for
    for (int64_t p = 0; p < planes; p++) {
        product(half + p * H * W, in + p * H * W, t->matrix + H * H, H, W, W);
        product(out + p * H * W, t->matrix, half + p * H * W, H, H, W);
    }
    return PRLE_OK;
}

PRLE_REF_IMPL(dct, PRLE_OP_DCT);
