/* pool_ref.c - pooling, plain C. Saved: for each maximum, where it stood in its plane (int32). */
#include "core/op/ref.h"

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    (void)pass;
    plan->saved_bytes = desc->u.pool.max ? (size_t)prle_shape_count(&desc->out) * sizeof(int32_t) : 0;
    return ref_plan(desc, plan);
}

typedef struct window {
    int64_t h0, h1, w0, w1; /* inside the image */
} window;

static int64_t at_least_0(int64_t v) { return v > 0 ? v : 0; }
static int64_t at_most(int64_t v, int64_t limit) { return v < limit ? v : limit; }

static window window_at(const prle_pool_attrs *a, int64_t p, int64_t q, int64_t H, int64_t W)
{
    const int64_t n = a->bins;

    if (a->global)
        return (window){0, H, 0, W};
    if (n > 0)
        return (window){p * H / n, ((p + 1) * H + n - 1) / n, q * W / n, ((q + 1) * W + n - 1) / n};
    const int64_t h = p * a->stride - a->pad, w = q * a->stride - a->pad;
    const window win = {at_least_0(h), at_most(h + a->kernel, H), at_least_0(w), at_most(w + a->kernel, W)};

    return win;
}

/* What the sum of a window is divided by to be its mean. */
static real window_area(const prle_pool_attrs *a, window win)
{
    return (real)(a->global || a->bins > 0 ? (win.h1 - win.h0) * (win.w1 - win.w0) : a->kernel * a->kernel);
}

static real window_max(const real *x, int64_t W, window win, int32_t *where)
{
    *where = (int32_t)(win.h0 * W + win.w0);
    for (int64_t h = win.h0; h < win.h1; h++)
        for (int64_t w = win.w0; w < win.w1; w++)
            if (x[h * W + w] > x[*where] || isnan(x[h * W + w])) /* NaN wins, so that it is seen */
                *where = (int32_t)(h * W + w);
    return x[*where];
}

static real window_sum(const real *x, int64_t W, window win)
{
    double sum = 0;

    for (int64_t h = win.h0; h < win.h1; h++)
        for (int64_t w = win.w0; w < win.w1; w++)
            sum += (double)x[h * W + w];
    return (real)sum;
}

static void forward_plane(const prle_op_desc *desc, const real *x, real *y, int32_t *where)
{
    const prle_pool_attrs *a = &desc->u.pool;
    const int64_t H = desc->in[0].dim[2], W = desc->in[0].dim[3], P = a->global ? 1 : desc->out.dim[2],
                  Q = a->global ? 1 : desc->out.dim[3];
    int32_t unused;

    for (int64_t p = 0; p < P; p++) {
        for (int64_t q = 0; q < Q; q++) {
            const window win = window_at(a, p, q, H, W);

            y[p * Q + q] = a->max ? window_max(x, W, win, where != NULL ? &where[p * Q + q] : &unused)
                                  : window_sum(x, W, win) / window_area(a, win);
        }
    }
}

static void backward_plane(const prle_op_desc *desc, const real *dy, real *dx, const int32_t *where)
{
    const prle_pool_attrs *a = &desc->u.pool;
    const int64_t H = desc->in[0].dim[2], W = desc->in[0].dim[3], P = a->global ? 1 : desc->out.dim[2],
                  Q = a->global ? 1 : desc->out.dim[3];

    for (int64_t i = 0; i < H * W; i++)
        dx[i] = 0;
    for (int64_t p = 0; p < P; p++) {
        for (int64_t q = 0; q < Q; q++) {
            const window win = window_at(a, p, q, H, W);
            const real share = dy[p * Q + q] / window_area(a, win);

            if (a->max) {
                dx[where[p * Q + q]] += dy[p * Q + q];
                continue;
            }
            for (int64_t h = win.h0; h < win.h1; h++)
                for (int64_t w = win.w0; w < win.w1; w++)
                    dx[h * W + w] += share;
        }
    }
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_op_desc *desc = state;
    const int64_t planes = desc->in[0].dim[0] * desc->in[0].dim[1];
    const int64_t n_in = prle_shape_count(&desc->in[0]) / planes, n_out = prle_shape_count(&desc->out) / planes;
    const real *x = args->in[0], *dy = args->dout;
    real *y = args->out, *dx = args->din[0];
    int32_t *where = desc->u.pool.max ? args->saved : NULL;

#pragma omp parallel for
    for (int64_t i = 0; i < planes; i++) {
        int32_t *where_i = where != NULL ? where + i * n_out : NULL;
        if (pass == PRLE_PASS_FORWARD)
            forward_plane(desc, x + i * n_in, y + i * n_out, where_i);
        else
            backward_plane(desc, dy + i * n_out, dx + i * n_in, where_i);
    }
    return PRLE_OK;
}

PRLE_REF_IMPL(pool, PRLE_OP_POOL);
