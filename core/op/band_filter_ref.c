/* band_filter_ref.c - the learnt filters, plain C; also what the processor runs: it is bound by memory, and the compiler makes
 * vectors of its loops. Scratch: the gains [n,H,W]. */
#include "core/op/band_math.h"
#include "core/op/ref.h"

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    const size_t n_gains = (size_t)(desc->u.band_filter.bands.n * prle_shape_count(&desc->param[0]));

    plan->scratch_bytes = n_gains * sizeof(real);
    plan->uses_in = pass == PRLE_PASS_BACKWARD;
    return ref_plan(desc, plan);
}

static void gains_fill(const prle_op_desc *desc, const prle_op_args *args, real *gains)
{
    const int64_t H = desc->in[0].dim[2], W = desc->in[0].dim[3];

#pragma omp parallel for collapse(2)
    for (int m = 0; m < desc->u.band_filter.bands.n; m++)
        for (int64_t i = 0; i < H; i++)
            for (int64_t j = 0; j < W; j++)
                gains[(m * H + i) * W + j] =
                    band_gain(desc->u.band_filter.bands.band[m], i, j, ((const real *)args->param[m])[i * W + j]);
}

static void forward(const prle_op_desc *desc, const real *x, real *y, const real *gains)
{
    const int64_t B = desc->in[0].dim[0], C = desc->in[0].dim[1], n = desc->u.band_filter.bands.n,
                  HW = desc->in[0].dim[2] * desc->in[0].dim[3];

#pragma omp parallel for collapse(3)
    for (int64_t b = 0; b < B; b++)
        for (int64_t m = 0; m < n; m++)
            for (int64_t c = 0; c < C; c++)
                for (int64_t i = 0; i < HW; i++)
                    y[((b * n + m) * C + c) * HW + i] = x[(b * C + c) * HW + i] * gains[m * HW + i];
}

static void backward_input(const prle_op_desc *desc, const real *dy, real *dx, const real *gains)
{
    const int64_t B = desc->in[0].dim[0], C = desc->in[0].dim[1], n = desc->u.band_filter.bands.n,
                  HW = desc->in[0].dim[2] * desc->in[0].dim[3];

#pragma omp parallel for collapse(2)
    for (int64_t b = 0; b < B; b++) {
        for (int64_t c = 0; c < C; c++) {
            real *to = dx + (b * C + c) * HW;
            for (int64_t i = 0; i < HW; i++)
                to[i] = 0;
            for (int64_t m = 0; m < n; m++)
                for (int64_t i = 0; i < HW; i++)
                    to[i] += dy[((b * n + m) * C + c) * HW + i] * gains[m * HW + i];
        }
    }
}

/* Row i of dw_m: over all images and channels, in one order. */
static void backward_row(const prle_op_desc *desc, const prle_op_args *args, int m, int64_t i)
{
    const int64_t B = desc->in[0].dim[0], C = desc->in[0].dim[1], n = desc->u.band_filter.bands.n, H = desc->in[0].dim[2],
                  W = desc->in[0].dim[3];
    const real *w = (const real *)args->param[m] + i * W;
    real *dw = (real *)args->dparam[m] + i * W;

    for (int64_t j = 0; j < W; j++)
        dw[j] = 0;
    for (int64_t b = 0; b < B; b++) {
        for (int64_t c = 0; c < C; c++) {
            const real *x = (const real *)args->in[0] + ((b * C + c) * H + i) * W;
            const real *dy = (const real *)args->dout + (((b * n + m) * C + c) * H + i) * W;
            for (int64_t j = 0; j < W; j++)
                dw[j] += x[j] * dy[j];
        }
    }
    for (int64_t j = 0; j < W; j++)
        dw[j] *= band_gain_slope(w[j]);
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_op_desc *desc = state;
    real *gains = args->scratch;

    if (pass == PRLE_PASS_FORWARD || args->din[0] != NULL)
        gains_fill(desc, args, gains);
    if (pass == PRLE_PASS_FORWARD) {
        forward(desc, args->in[0], args->out, gains);
        return PRLE_OK;
    }
    if (args->din[0] != NULL)
        backward_input(desc, args->dout, args->din[0], gains);
#pragma omp parallel for collapse(2)
    for (int m = 0; m < desc->u.band_filter.bands.n; m++)
        for (int64_t i = 0; i < desc->in[0].dim[2]; i++)
            if (args->dparam[m] != NULL)
                backward_row(desc, args, m, i);
    return PRLE_OK;
}

PRLE_REF_IMPL(band_filter, PRLE_OP_BAND_FILTER);
