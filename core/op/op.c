/* op.c - shape inference of every operator, layouts, and the choice of an implementation. */
#include "core/op/op.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"

static const char *const kind_names[PRLE_OP_N_KINDS] = {
    [PRLE_OP_INPUT] = "input",
    [PRLE_OP_CONV2D] = "conv2d",
    [PRLE_OP_BATCH_NORM] = "batch_norm",
    [PRLE_OP_ACT] = "act",
    [PRLE_OP_POOL] = "pool",
    [PRLE_OP_ADD] = "add",
    [PRLE_OP_CONCAT] = "concat",
    [PRLE_OP_GATE] = "gate",
    [PRLE_OP_LINEAR] = "linear",
    [PRLE_OP_DROPOUT] = "dropout",
    [PRLE_OP_FLATTEN] = "flatten",
    [PRLE_OP_REORDER] = "reorder",
    [PRLE_OP_NORMALISE] = "normalise",
    [PRLE_OP_DCT] = "dct",
    [PRLE_OP_BAND_FILTER] = "band_filter",
    [PRLE_OP_LOCAL_SPECTRUM] = "local_spectrum",
};

const char *prle_op_kind_name(prle_op_kind kind) { return kind_names[kind]; }

static prle_status expect_dims(const prle_op_desc *desc, int n)
{
    char text[96];

    PRLE_CHECK(desc->in[0].n == n, PRLE_ESHAPE, "%s wants an input of %d dimensions, got %s", kind_names[desc->kind], n,
               prle_shape_print(&desc->in[0], text));
    return PRLE_OK;
}

/* Positions of a window of `kernel` along `size` pixels with `pad` of padding in all. */
static prle_status windows(int64_t size, int64_t pad, int64_t kernel, int64_t stride, int64_t *out)
{
    PRLE_CHECK(kernel >= 1 && stride >= 1 && pad >= 0, PRLE_EINVAL, "kernel %" PRId64 ", stride %" PRId64 ", pad %" PRId64,
               kernel, stride, pad);
    PRLE_CHECK(size + pad >= kernel, PRLE_ESHAPE,
               "a window of %" PRId64 " pixels does not fit into %" PRId64 " + %" PRId64 " of padding", kernel, size, pad);
    *out = (size + pad - kernel) / stride + 1;
    return PRLE_OK;
}

static prle_status infer_conv2d(prle_op_desc *desc)
{
    const prle_conv2d_attrs *a = &desc->u.conv2d;
    const int64_t *x = desc->in[0].dim;
    int64_t h = 0, w = 0;

    PRLE_TRY(expect_dims(desc, 4));
    PRLE_CHECK(a->n_out >= 1 && a->groups >= 1 && x[1] % a->groups == 0 && a->n_out % a->groups == 0, PRLE_ESHAPE,
               "%" PRId64 " channels in and %" PRId64 " out cannot be split into %" PRId64 " groups", x[1], a->n_out, a->groups);
    PRLE_TRY(windows(x[2], a->pad_top + a->pad_bottom, a->kernel_h, a->stride, &h));
    PRLE_TRY(windows(x[3], a->pad_left + a->pad_right, a->kernel_w, a->stride, &w));
    desc->out = PRLE_SHAPE(x[0], a->n_out, h, w);
    desc->param[0] = PRLE_SHAPE(a->n_out, x[1] / a->groups, a->kernel_h, a->kernel_w);
    desc->param[1] = PRLE_SHAPE(a->n_out);
    desc->n_params = a->bias ? 2 : 1;
    PRLE_CHECK(desc->n_in == (a->residual ? 2 : 1), PRLE_ESHAPE, "conv2d got %d inputs", desc->n_in);
    PRLE_CHECK(!a->residual || prle_shape_equal(&desc->in[1], &desc->out), PRLE_ESHAPE,
               "conv2d: the residual's shape differs from the output's");
    return PRLE_OK;
}

static prle_status infer_batch_norm(prle_op_desc *desc)
{
    PRLE_CHECK(desc->in[0].n >= 2, PRLE_ESHAPE, "batch_norm wants [B,C,...]");
    PRLE_CHECK(desc->u.batch_norm.act == PRLE_ACT_NONE || desc->u.batch_norm.act == PRLE_ACT_RELU, PRLE_ENOTSUP,
               "batch_norm can be fused with relu only");
    PRLE_CHECK(desc->n_in == (desc->u.batch_norm.residual ? 2 : 1), PRLE_ESHAPE, "batch_norm got %d inputs", desc->n_in);
    PRLE_CHECK(desc->n_in == 1 || prle_shape_equal(&desc->in[0], &desc->in[1]), PRLE_ESHAPE,
               "batch_norm: the residual's shape differs from the input's");
    desc->out = desc->in[0];
    desc->param[0] = desc->param[1] = PRLE_SHAPE(desc->in[0].dim[1]);
    desc->n_params = 2;
    return PRLE_OK;
}

static prle_status infer_pool(prle_op_desc *desc)
{
    const prle_pool_attrs *a = &desc->u.pool;
    const int64_t *x = desc->in[0].dim;
    int64_t h = 0, w = 0;

    PRLE_TRY(expect_dims(desc, 4));
    if (a->global) {
        PRLE_CHECK(!a->max, PRLE_ENOTSUP, "global pooling takes the mean");
        desc->out = a->keep_dims ? PRLE_SHAPE(x[0], x[1], 1, 1) : PRLE_SHAPE(x[0], x[1]);
        return PRLE_OK;
    }
    if (a->bins > 0) {
        PRLE_CHECK(!a->max, PRLE_ENOTSUP, "adaptive pooling takes the mean");
        PRLE_CHECK(x[2] >= 1 && x[3] >= 1, PRLE_ESHAPE, "pool: an image without pixels");
        desc->out = PRLE_SHAPE(x[0], x[1], a->bins, a->bins);
        return PRLE_OK;
    }
    PRLE_CHECK(2 * a->pad <= a->kernel, PRLE_ESHAPE, "pool: padding %" PRId64 " is more than half the window %" PRId64, a->pad,
               a->kernel);
    PRLE_TRY(windows(x[2], 2 * a->pad, a->kernel, a->stride, &h));
    PRLE_TRY(windows(x[3], 2 * a->pad, a->kernel, a->stride, &w));
    desc->out = PRLE_SHAPE(x[0], x[1], h, w);
    return PRLE_OK;
}

static prle_status infer_add(prle_op_desc *desc)
{
    char a[96], b[96];

    PRLE_CHECK(desc->n_in == 2 && prle_shape_equal(&desc->in[0], &desc->in[1]), PRLE_ESHAPE, "add of %s and %s",
               prle_shape_print(&desc->in[0], a), prle_shape_print(&desc->in[1], b));
    desc->out = desc->in[0];
    return PRLE_OK;
}

static prle_status infer_concat(prle_op_desc *desc)
{
    desc->out = desc->in[0];
    for (int i = 1; i < desc->n_in; i++) {
        prle_shape rest = desc->in[i];
        rest.dim[1] = desc->in[0].dim[1];
        PRLE_CHECK(prle_shape_equal(&rest, &desc->in[0]), PRLE_ESHAPE,
                   "concat: input %d differs from the first in more than its channels", i);
        desc->out.dim[1] += desc->in[i].dim[1];
    }
    return PRLE_OK;
}

static prle_status infer_gate(prle_op_desc *desc)
{
    const int64_t *x = desc->in[0].dim;
    const prle_shape gate = PRLE_SHAPE(x[0], x[1], 1, 1);
    char a[96], b[96];

    PRLE_TRY(expect_dims(desc, 4));
    PRLE_CHECK(desc->n_in == 2 && prle_shape_equal(&desc->in[1], &gate), PRLE_ESHAPE, "gate of %s by %s",
               prle_shape_print(&desc->in[0], a), prle_shape_print(&desc->in[1], b));
    desc->out = desc->in[0];
    return PRLE_OK;
}

static prle_status infer_linear(prle_op_desc *desc)
{
    PRLE_TRY(expect_dims(desc, 2));
    desc->out = PRLE_SHAPE(desc->in[0].dim[0], desc->u.linear.n_out);
    desc->param[0] = PRLE_SHAPE(desc->u.linear.n_out, desc->in[0].dim[1]);
    desc->param[1] = PRLE_SHAPE(desc->u.linear.n_out);
    desc->n_params = desc->u.linear.bias ? 2 : 1;
    return PRLE_OK;
}

static prle_status infer_flatten(prle_op_desc *desc)
{
    const int64_t *x = desc->in[0].dim;

    PRLE_TRY(expect_dims(desc, 4));
    desc->out = PRLE_SHAPE(x[0], x[1] * x[2] * x[3]);
    return PRLE_OK;
}

static prle_status infer_dct(prle_op_desc *desc)
{
    PRLE_TRY(expect_dims(desc, 4));
    desc->out = desc->in[0];
    return PRLE_OK;
}

/* One parameter [H,W] for each band. */
static prle_status infer_bands(prle_op_desc *desc, const prle_bands *bands, int64_t H, int64_t W)
{
    PRLE_CHECK(bands->n >= 1 && bands->n <= PRLE_MAX_BANDS, PRLE_EINVAL, "%s of %d bands: from 1 to %d", kind_names[desc->kind],
               bands->n, PRLE_MAX_BANDS);
    for (int m = 0; m < bands->n; m++)
        desc->param[m] = PRLE_SHAPE(H, W);
    desc->n_params = bands->n;
    return PRLE_OK;
}

static prle_status infer_band_filter(prle_op_desc *desc)
{
    const prle_bands *bands = &desc->u.band_filter.bands;
    const int64_t *x = desc->in[0].dim;

    PRLE_TRY(expect_dims(desc, 4));
    PRLE_TRY(infer_bands(desc, bands, x[2], x[3]));
    desc->out = PRLE_SHAPE(x[0], bands->n * x[1], x[2], x[3]);
    return PRLE_OK;
}

static prle_status infer_local_spectrum(prle_op_desc *desc)
{
    const prle_local_spectrum_attrs *a = &desc->u.local_spectrum;
    const int64_t *x = desc->in[0].dim;
    int64_t h = 0, w = 0;

    PRLE_TRY(expect_dims(desc, 4));
    PRLE_CHECK(x[1] == 3, PRLE_ESHAPE, "local_spectrum wants three colours, got %" PRId64 " channels", x[1]);
    PRLE_TRY(windows(x[2], 2 * a->pad, a->window, a->stride, &h));
    PRLE_TRY(windows(x[3], 2 * a->pad, a->window, a->stride, &w));
    PRLE_TRY(infer_bands(desc, &a->bands, a->window, a->window));
    for (int m = 0; m < a->bands.n; m++) /* i + j takes every integer from 0 to 2 window - 2 */
        PRLE_CHECK(ceil(fmax(a->bands.band[m].low, 0)) <= fmin(a->bands.band[m].high, (double)(2 * a->window - 2)), PRLE_EINVAL,
                   "local_spectrum: no coefficient is in band %d, %g to %g", m, a->bands.band[m].low, a->bands.band[m].high);
    desc->out = PRLE_SHAPE(x[0], a->bands.n, h, w);
    return PRLE_OK;
}

static prle_status infer_normalise(prle_op_desc *desc)
{
    PRLE_TRY(expect_dims(desc, 4));
    PRLE_CHECK(desc->in[0].dim[1] == 3, PRLE_ESHAPE, "bytes of %lld channels: pictures have 3", (long long)desc->in[0].dim[1]);
    desc->out = desc->in[0];
    desc->n_params = 1;
    desc->param[0] = PRLE_SHAPE(3, 256);
    return PRLE_OK;
}

prle_status prle_op_infer(prle_op_desc *desc)
{
    desc->n_params = 0;
    switch (desc->kind) {
    case PRLE_OP_CONV2D: return infer_conv2d(desc);
    case PRLE_OP_BATCH_NORM: return infer_batch_norm(desc);
    case PRLE_OP_POOL: return infer_pool(desc);
    case PRLE_OP_ADD: return infer_add(desc);
    case PRLE_OP_CONCAT: return infer_concat(desc);
    case PRLE_OP_GATE: return infer_gate(desc);
    case PRLE_OP_LINEAR: return infer_linear(desc);
    case PRLE_OP_FLATTEN: return infer_flatten(desc);
    case PRLE_OP_DCT: return infer_dct(desc);
    case PRLE_OP_BAND_FILTER: return infer_band_filter(desc);
    case PRLE_OP_LOCAL_SPECTRUM: return infer_local_spectrum(desc);
    case PRLE_OP_ACT:
    case PRLE_OP_DROPOUT:
    case PRLE_OP_REORDER: desc->out = desc->in[0]; return PRLE_OK;
    case PRLE_OP_NORMALISE: return infer_normalise(desc);
    case PRLE_OP_INPUT:
    case PRLE_OP_N_KINDS: break;
    }
    return PRLE_FAIL(PRLE_EINVAL, "operator %d has no shape rule", (int)desc->kind);
}

prle_layout prle_layout_plain(prle_dtype dtype, const prle_shape *shape)
{
    prle_layout layout = {.dtype = dtype, .shape = *shape, .plain = true};

    layout.n_bytes = (size_t)prle_shape_count(shape) * prle_dtype_bytes(dtype);
    return layout;
}

bool prle_layout_equal(const prle_layout *a, const prle_layout *b)
{
    return a->dtype == b->dtype && prle_shape_equal(&a->shape, &b->shape) && a->plain == b->plain &&
           memcmp(a->vendor.bytes, b->vendor.bytes, sizeof a->vendor.bytes) == 0;
}

/* The name that PRLE_IMPL demands for this kind, or "" when it says nothing of it. */
static void forced_name(prle_op_kind kind, char out[32])
{
    const char *at = getenv("PRLE_IMPL");
    const size_t n = strlen(kind_names[kind]);

    out[0] = '\0';
    for (; at != NULL && *at != '\0'; at += strcspn(at, ","), at += *at == ',') {
        if (strncmp(at, kind_names[kind], n) == 0 && at[n] == ':')
            snprintf(out, 32, "%.*s", (int)strcspn(at + n + 1, ","), at + n + 1);
    }
}

prle_status prle_op_choose(const prle_op_impl *const *list, const prle_op_desc *desc, const prle_op_impl **out)
{
    char forced[32], refusals[512] = "", shape[96];

    forced_name(desc->kind, forced);
    prle_shape_print(&desc->in[0], shape);
    for (; *list != NULL; list++) {
        const char *why = "another was forced by PRLE_IMPL";

        if ((*list)->kind != desc->kind)
            continue;
        if ((forced[0] == '\0' || strcmp(forced, (*list)->name) == 0) && (*list)->supports(desc, &why)) {
            *out = *list;
            return PRLE_OK;
        }
        prle_log(PRLE_LOG_DEBUG, "op", "%s %s %s: not %s: %s", kind_names[desc->kind], shape, prle_dtype_name(desc->dtype),
                 (*list)->name, why);
        const size_t used = strlen(refusals);
        snprintf(refusals + used, sizeof refusals - used, "; %s: %s", (*list)->name, why);
    }
    return PRLE_FAIL(PRLE_ENOTSUP, "nothing can run %s on %s in %s%s", kind_names[desc->kind], shape,
                     prle_dtype_name(desc->dtype), refusals);
}

prle_status prle_op_keep_desc(const prle_op_desc *desc, prle_op_plan *plan)
{
    prle_op_desc *copy = NULL;

    PRLE_TRY(PRLE_NEW(copy, 1));
    *copy = *desc;
    plan->state = copy;
    return PRLE_OK;
}
