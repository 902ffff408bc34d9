/* conv2d_ref.c - convolution, plain C: each pass is the definition's sum, with whole rows innermost. */
#include "core/op/act_math.h"
#include "core/op/ref.h"

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    plan->uses_in = pass == PRLE_PASS_WEIGHTS;
    if (desc->u.conv2d.in_act.act != PRLE_ACT_NONE)
        plan->scratch_bytes = (size_t)prle_shape_count(&desc->in[0]) * sizeof(real);
    return ref_plan(desc, plan);
}

typedef struct sizes {
    int64_t B, C, H, W, K, P, Q, R, S, c_group, k_group, stride; /* c_group, k_group: channels in and out per group */
    int64_t top, left;
} sizes;

static sizes sizes_of(const prle_op_desc *d)
{
    const prle_conv2d_attrs *a = &d->u.conv2d;

    return (sizes){.B = d->in[0].dim[0],
                   .C = d->in[0].dim[1],
                   .H = d->in[0].dim[2],
                   .W = d->in[0].dim[3],
                   .K = a->n_out,
                   .P = d->out.dim[2],
                   .Q = d->out.dim[3],
                   .R = a->kernel_h,
                   .S = a->kernel_w,
                   .c_group = d->in[0].dim[1] / a->groups,
                   .k_group = a->n_out / a->groups,
                   .stride = a->stride,
                   .top = a->pad_top,
                   .left = a->pad_left};
}

/* Outputs [*first, *last) whose input at tap `tap` lies inside 0 ... size-1. */
static void inside(int64_t size, int64_t n_out, int64_t stride, int64_t pad, int64_t tap, int64_t *first, int64_t *last)
{
    const int64_t lowest = pad - tap, highest = size - 1 + pad - tap; /* of stride * output */

    *first = lowest <= 0 ? 0 : (lowest + stride - 1) / stride;
    *last = highest < 0 ? 0 : highest / stride + 1;
    if (*last > n_out)
        *last = n_out;
    if (*first > *last)
        *first = *last;
}

/* One output plane += one input plane filtered by one kernel. */
static void plane_forward(const sizes *z, const real *x, const real *w, real *y)
{
    for (int64_t r = 0; r < z->R; r++) {
        int64_t p0, p1;
        inside(z->H, z->P, z->stride, z->top, r, &p0, &p1);
        for (int64_t s = 0; s < z->S; s++) {
            int64_t q0, q1;
            const real tap = w[r * z->S + s];
            inside(z->W, z->Q, z->stride, z->left, s, &q0, &q1);
            for (int64_t p = p0; p < p1; p++) {
                const real *row = x + (p * z->stride - z->top + r) * z->W - z->left + s;
                real *to = y + p * z->Q;
                if (z->stride == 1) {
                    for (int64_t q = q0; q < q1; q++)
                        to[q] += tap * row[q];
                } else {
                    for (int64_t q = q0; q < q1; q++)
                        to[q] += tap * row[q * z->stride];
                }
            }
        }
    }
}

/* The transpose of plane_forward: the input plane's gradient += the output plane's. */
static void plane_backward(const sizes *z, const real *dy, const real *w, real *dx)
{
    for (int64_t r = 0; r < z->R; r++) {
        int64_t p0, p1;
        inside(z->H, z->P, z->stride, z->top, r, &p0, &p1);
        for (int64_t s = 0; s < z->S; s++) {
            int64_t q0, q1;
            const real tap = w[r * z->S + s];
            inside(z->W, z->Q, z->stride, z->left, s, &q0, &q1);
            for (int64_t p = p0; p < p1; p++) {
                const real *from = dy + p * z->Q;
                real *row = dx + (p * z->stride - z->top + r) * z->W - z->left + s;
                if (z->stride == 1) {
                    for (int64_t q = q0; q < q1; q++)
                        row[q] += tap * from[q];
                } else {
                    for (int64_t q = q0; q < q1; q++)
                        row[q * z->stride] += tap * from[q];
                }
            }
        }
    }
}

/* One kernel's gradient += input plane correlated with the output plane's gradient. */
static void plane_weights(const sizes *z, const real *x, const real *dy, real *dw)
{
    for (int64_t r = 0; r < z->R; r++) {
        int64_t p0, p1;
        inside(z->H, z->P, z->stride, z->top, r, &p0, &p1);
        for (int64_t s = 0; s < z->S; s++) {
            int64_t q0, q1;
            inside(z->W, z->Q, z->stride, z->left, s, &q0, &q1);
            for (int64_t p = p0; p < p1; p++) {
                const real *row = x + (p * z->stride - z->top + r) * z->W + q0 * z->stride - z->left + s;
                dw[r * z->S + s] += ref_dot(dy + p * z->Q + q0, row, q1 - q0, z->stride);
            }
        }
    }
}

static const real *activated(const prle_op_desc *desc, const prle_op_args *args)
{
    const prle_act_attrs *act = &desc->u.conv2d.in_act;
    const real *x = args->in[0];
    real *to = args->scratch;

    if (act->act == PRLE_ACT_NONE)
        return x;
#pragma omp parallel for
    for (int64_t i = 0; i < prle_shape_count(&desc->in[0]); i++)
        to[i] = act_elem(act, x[i]);
    return to;
}

static void forward(const prle_op_desc *desc, const prle_op_args *args)
{
    const sizes z = sizes_of(desc);
    const real *x = activated(desc, args), *residual = args->in[1], *w = args->param[0], *bias = args->param[1];
    real *y = args->out;

#pragma omp parallel for collapse(2)
    for (int64_t b = 0; b < z.B; b++) {
        for (int64_t k = 0; k < z.K; k++) {
            const int64_t n = z.P * z.Q, at = (b * z.K + k) * n, c0 = k / z.k_group * z.c_group;

            for (int64_t i = 0; i < n; i++)
                y[at + i] = (desc->u.conv2d.bias ? bias[k] : 0) + (desc->u.conv2d.residual ? residual[at + i] : 0);
            for (int64_t c = 0; c < z.c_group; c++)
                plane_forward(&z, x + (b * z.C + c0 + c) * z.H * z.W, w + (k * z.c_group + c) * z.R * z.S, y + at);
            for (int64_t i = 0; i < n && desc->u.conv2d.act.act != PRLE_ACT_NONE; i++)
                y[at + i] = act_elem(&desc->u.conv2d.act, y[at + i]);
        }
    }
}

static void backward_data(const prle_op_desc *desc, const prle_op_args *args)
{
    const sizes z = sizes_of(desc);
    const real *dy = args->dout, *w = args->param[0];
    real *dx = args->din[0];

#pragma omp parallel for collapse(2)
    for (int64_t b = 0; b < z.B; b++) {
        for (int64_t c = 0; c < z.C; c++) {
            const int64_t k0 = c / z.c_group * z.k_group, c_in = c % z.c_group;
            real *plane = dx + (b * z.C + c) * z.H * z.W;

            for (int64_t i = 0; i < z.H * z.W; i++)
                plane[i] = 0;
            for (int64_t k = k0; k < k0 + z.k_group; k++)
                plane_backward(&z, dy + (b * z.K + k) * z.P * z.Q, w + (k * z.c_group + c_in) * z.R * z.S, plane);
        }
    }
}

static void backward_weights(const prle_op_desc *desc, const prle_op_args *args)
{
    const sizes z = sizes_of(desc);
    const real *x = args->in[0], *dy = args->dout;
    real *dw = args->dparam[0], *dbias = args->dparam[1];

#pragma omp parallel for
    for (int64_t k = 0; k < z.K; k++) {
        const int64_t c0 = k / z.k_group * z.c_group;
        real *dw_k = dw + k * z.c_group * z.R * z.S;
        double sum = 0;

        for (int64_t i = 0; i < z.c_group * z.R * z.S; i++)
            dw_k[i] = 0;
        for (int64_t b = 0; b < z.B; b++) {
            const real *dy_k = dy + (b * z.K + k) * z.P * z.Q;
            for (int64_t c = 0; c < z.c_group; c++)
                plane_weights(&z, x + (b * z.C + c0 + c) * z.H * z.W, dy_k, dw_k + c * z.R * z.S);
            for (int64_t i = 0; i < z.P * z.Q; i++)
                sum += (double)dy_k[i];
        }
        if (dbias != NULL)
            dbias[k] = (real)sum;
    }
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    static void (*const passes[])(const prle_op_desc *, const prle_op_args *) = {
        [PRLE_PASS_FORWARD] = forward, [PRLE_PASS_BACKWARD] = backward_data, [PRLE_PASS_WEIGHTS] = backward_weights};

    passes[pass](state, args);
    return PRLE_OK;
}

PRLE_REF_IMPL(conv2d, PRLE_OP_CONV2D);
