/* batch_norm_ref.c - batch normalisation, plain C, sums in double; with a communicator, sums over all ranks.
 * Saved: mean [C], 1/sqrt(var+eps) [C] and the number of values per channel, all double. Scratch: two doubles per channel + 1. */
#include "core/op/ref.h"

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    const size_t C = (size_t)desc->in[0].dim[1];

    plan->uses_in = pass == PRLE_PASS_BACKWARD;
    plan->uses_out = pass == PRLE_PASS_BACKWARD && desc->u.batch_norm.act == PRLE_ACT_RELU;
    plan->saved_bytes = (2 * C + 1) * sizeof(double);
    plan->scratch_bytes = (4 * C + 2) * sizeof(double);
    return ref_plan(desc, plan);
}

typedef struct sizes {
    int64_t B, C, N; /* N: pixels of a plane */
} sizes;

static sizes sizes_of(const prle_op_desc *desc)
{
    const int64_t B = desc->in[0].dim[0], C = desc->in[0].dim[1];

    return (sizes){.B = B, .C = C, .N = prle_shape_count(&desc->in[0]) / (B * C)};
}

/* sums[c] = sum over the batch of (x - shift[c])^power, power 1 or 2; shift NULL means 0. */
static void channel_sums(const sizes *z, const real *x, const double *shift, int power, double *sums)
{
#pragma omp parallel for
    for (int64_t c = 0; c < z->C; c++) {
        const double m = shift != NULL ? shift[c] : 0;
        double sum = 0;

        for (int64_t b = 0; b < z->B; b++) {
            const real *plane = x + (b * z->C + c) * z->N;
            for (int64_t i = 0; i < z->N; i++) {
                const double d = (double)plane[i] - m;
                sum += power == 2 ? d * d : d;
            }
        }
        sums[c] = sum;
    }
}

/* Sums of all ranks; a rank without a share contributes nothing. */
static prle_status reduce(const prle_batch_norm_attrs *a, bool has_share, double *values, int64_t n, const char *what)
{
    if (a->comm == NULL)
        return PRLE_OK;
    for (int64_t i = 0; i < n && !has_share; i++)
        values[i] = 0;
    return prle_comm_sum(a->comm, values, n, PRLE_F64, what);
}

/* mean, invstd and count of this batch into saved; running statistics follow. */
static prle_status batch_statistics(const prle_op_desc *desc, const prle_op_args *args, const sizes *z, double *saved,
                                    double *sums)
{
    const prle_batch_norm_attrs *a = &desc->u.batch_norm;
    const bool has_share = args->info->n_valid > 0;
    real *running_mean = args->stats[0], *running_var = args->stats[1];

    channel_sums(z, args->in[0], NULL, 1, sums);
    sums[z->C] = (double)(z->B * z->N);
    PRLE_TRY(reduce(a, has_share, sums, z->C + 1, "batch norm mean"));
    const double count = sums[z->C];
    for (int64_t c = 0; c < z->C; c++)
        saved[c] = sums[c] / count;
    channel_sums(z, args->in[0], saved, 2, sums);
    PRLE_TRY(reduce(a, has_share, sums, z->C, "batch norm variance"));
    saved[2 * z->C] = count;
    for (int64_t c = 0; c < z->C; c++) {
        const double var = sums[c] / count, unbiased = count > 1 ? sums[c] / (count - 1) : var;

        saved[z->C + c] = 1 / sqrt(var + a->eps);
        if (a->comm == NULL && !has_share)
            continue;
        running_mean[c] = (real)((1 - a->momentum) * (double)running_mean[c] + a->momentum * saved[c]);
        running_var[c] = (real)((1 - a->momentum) * (double)running_var[c] + a->momentum * unbiased);
    }
    return PRLE_OK;
}

static void running_statistics(const prle_op_desc *desc, const prle_op_args *args, const sizes *z, double *saved)
{
    const real *mean = args->stats[0], *var = args->stats[1];

    for (int64_t c = 0; c < z->C; c++) {
        saved[c] = (double)mean[c];
        saved[z->C + c] = 1 / sqrt((double)var[c] + desc->u.batch_norm.eps);
    }
    saved[2 * z->C] = 0;
}

static prle_status forward(const prle_op_desc *desc, const prle_op_args *args)
{
    const sizes z = sizes_of(desc);
    const real *x = args->in[0], *residual = args->in[1], *gamma = args->param[0], *beta = args->param[1];
    double *sums = args->scratch, *saved = args->saved != NULL ? args->saved : sums + 2 * z.C + 1;
    const bool relu = desc->u.batch_norm.act == PRLE_ACT_RELU;
    real *y = args->out;

    if (desc->u.batch_norm.frozen)
        running_statistics(desc, args, &z, saved);
    else
        PRLE_TRY(batch_statistics(desc, args, &z, saved, sums));
#pragma omp parallel for
    for (int64_t i = 0; i < z.B * z.C; i++) {
        const int64_t c = i % z.C;
        const double mean = saved[c], scale = saved[z.C + c] * (double)gamma[c], shift = (double)beta[c];

        for (int64_t j = i * z.N; j < (i + 1) * z.N; j++) {
            const double v = ((double)x[j] - mean) * scale + shift + (desc->u.batch_norm.residual ? (double)residual[j] : 0);
            y[j] = (real)(relu && v < 0 ? 0 : v);
        }
    }
    return PRLE_OK;
}

/* sums[c] = sum dy, sums[C+c] = sum dy xhat, where dy is already masked by the relu. */
static void gradient_sums(const sizes *z, const real *x, const real *y, const real *dy, const double *saved, double *sums)
{
#pragma omp parallel for
    for (int64_t c = 0; c < z->C; c++) {
        double sum = 0, dot = 0;

        for (int64_t b = 0; b < z->B; b++) {
            const int64_t at = (b * z->C + c) * z->N;
            for (int64_t i = at; i < at + z->N; i++) {
                const double d = y != NULL && !(y[i] > 0) ? 0 : (double)dy[i];
                sum += d;
                dot += d * ((double)x[i] - saved[c]) * saved[z->C + c];
            }
        }
        sums[c] = sum;
        sums[z->C + c] = dot;
    }
}

static prle_status backward(const prle_op_desc *desc, const prle_op_args *args)
{
    const sizes z = sizes_of(desc);
    const prle_batch_norm_attrs *a = &desc->u.batch_norm;
    const real *x = args->in[0], *dy = args->dout, *gamma = args->param[0];
    const real *y = a->act == PRLE_ACT_RELU ? args->out : NULL;
    const bool has_share = args->info->n_valid > 0;
    const double *saved = args->saved, count = saved[2 * z.C];
    double *sums = args->scratch;
    real *dx = args->din[0], *dresidual = a->residual ? args->din[1] : NULL, *dgamma = args->dparam[0], *dbeta = args->dparam[1];

    gradient_sums(&z, x, y, dy, saved, sums);
    for (int64_t c = 0; c < z.C && dgamma != NULL; c++) {
        dgamma[c] = (real)(has_share ? sums[z.C + c] : 0); /* this rank's part: ranks are summed with all other gradients */
        dbeta[c] = (real)(has_share ? sums[c] : 0);
    }
    if (!a->frozen)
        PRLE_TRY(reduce(a, has_share, sums, 2 * z.C, "batch norm gradient"));
    for (int64_t j = 0; j < z.B * z.C * z.N && dresidual != NULL; j++)
        dresidual[j] = !has_share || (y != NULL && !(y[j] > 0)) ? 0 : dy[j];
    if (dx == NULL)
        return PRLE_OK;
#pragma omp parallel for
    for (int64_t i = 0; i < z.B * z.C; i++) {
        const int64_t c = i % z.C;
        const double invstd = saved[z.C + c], scale = (double)gamma[c] * invstd;
        const double mean_dy = a->frozen ? 0 : sums[c] / count, mean_dot = a->frozen ? 0 : sums[z.C + c] / count;

        for (int64_t j = i * z.N; j < (i + 1) * z.N; j++) {
            const double d = y != NULL && !(y[j] > 0) ? 0 : (double)dy[j], xhat = ((double)x[j] - saved[c]) * invstd;
            dx[j] = (real)(has_share ? scale * (d - mean_dy - xhat * mean_dot) : 0);
        }
    }
    return PRLE_OK;
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    return pass == PRLE_PASS_FORWARD ? forward(state, args) : backward(state, args);
}

PRLE_REF_IMPL(batch_norm, PRLE_OP_BATCH_NORM);
