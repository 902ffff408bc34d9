/* dct_dnnl.c - the cosine transform by oneDNN's matrix product: two for each plane, planes shared out to threads, so that a
 * plane, its half-way product and the matrices (256 KiB each at 256 x 256) stay in a core's cache. */
#include <oneapi/dnnl/dnnl.h>

#include "core/alloc.h"
#include "core/op/dct.h"
#include "core/op/impls.h"
#include "core/op/util_dnnl.h"

enum { MAX_SLOTS = 64 }; /* planes under way at a time, each with room for its half-way product */

typedef struct transform {
    int64_t planes, height, width, slots;
    bool inverse;
    float matrix[]; /* D_H [H,H], D_W [W,W] */
} transform;

static void matrix_fill(float *out, int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        for (int64_t i = 0; i < n; i++)
            out[k * n + i] = (float)prle_dct_element(k, i, n);
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    const int64_t H = desc->in[0].dim[2], W = desc->in[0].dim[3], planes = desc->in[0].dim[0] * desc->in[0].dim[1];
    transform *t = NULL;

    plan->in[0] = plan->out = plan->dout = plan->din[0] = prle_layout_plain(PRLE_F32, &desc->in[0]);
    PRLE_TRY(prle_alloc(1, sizeof *t + (size_t)(H * H + W * W) * sizeof(float), (prle_any_ptr *)&t));
    t->planes = planes;
    t->height = H;
    t->width = W;
    t->slots = planes < MAX_SLOTS ? planes : MAX_SLOTS;
    t->inverse = desc->u.dct.inverse != (pass == PRLE_PASS_BACKWARD);
    matrix_fill(t->matrix, H);
    matrix_fill(t->matrix + H * H, W);
    plan->scratch_bytes = (size_t)(t->slots * H * W) * sizeof(float);
    plan->state = t;
    return PRLE_OK;
}

/* in D_W^T, then D_H of that; inverse: in D_W, D_H^T of that. */
static dnnl_status_t plane(const transform *t, const float *in, float *half, float *out)
{
    const int64_t H = t->height, W = t->width;
    const dnnl_status_t st = dnnl_sgemm('N', t->inverse ? 'N' : 'T', H, W, W, 1.0F, in, W, t->matrix + H * H, W, 0.0F, half, W);

    if (st != dnnl_success)
        return st;
    return dnnl_sgemm(t->inverse ? 'T' : 'N', 'N', H, W, H, 1.0F, t->matrix, H, half, W, 0.0F, out, W);
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const transform *t = state;
    const int64_t n = t->height * t->width;
    const float *in = pass == PRLE_PASS_FORWARD ? args->in[0] : args->dout;
    float *out = pass == PRLE_PASS_FORWARD ? args->out : args->din[0], *half = args->scratch;
    dnnl_status_t worst = dnnl_success;

#pragma omp parallel for
    for (int64_t s = 0; s < t->slots; s++) {
        for (int64_t p = s * t->planes / t->slots; p < (s + 1) * t->planes / t->slots; p++) {
            const dnnl_status_t st = plane(t, in + p * n, half + s * n, out + p * n);
            if (st != dnnl_success) {
#pragma omp atomic write
                worst = st;
            }
        }
    }
    PRLE_TRY(prle_dnnl_status(worst, "dnnl_sgemm", __FILE__, __LINE__, __func__));
    return PRLE_OK;
}

const prle_op_impl prle_dct_dnnl = {
    .name = "dnnl", .kind = PRLE_OP_DCT, .supports = prle_dnnl_supports, .plan = plan_pass, .run = run};
