/* gate_dnnl.c - channel gate on oneDNN's layouts, by loops of our own: oneDNN has no gradient of a product, and its parts would
 * read the image three times where one sweep does. A plane is contiguous, and element i of it belongs to channel i % block: a
 * row of sixteen factors serves every block. */
#include <string.h>

#include "core/alloc.h"
#include "core/op/channels.h"
#include "core/op/impls.h"
#include "core/op/util_dnnl.h"
#include "core/simd.h"

enum { LANES = 16, RUN = 64 * LANES }; /* a run: 4 KiB of each tensor, so that the second loop finds it in the first cache */

/* The image as it comes, in f32; the factors plain. */
static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    prle_channels channels, *state = NULL;

    PRLE_TRY(prle_layout_as(PRLE_F32, &plan->in[0], &plan->in[0]));
    if (!prle_channels_of(&plan->in[0], &channels)) {
        plan->in[0] = prle_layout_plain(PRLE_F32, &desc->in[0]);
        PRLE_CHECK(prle_channels_of(&plan->in[0], &channels), PRLE_ENOTSUP, "a plain image is not contiguous");
    }
    plan->out = plan->dout = plan->din[0] = plan->in[0];
    plan->in[1] = plan->din[1] = prle_layout_plain(PRLE_F32, &desc->in[1]);
    plan->uses_in = pass == PRLE_PASS_BACKWARD;
    PRLE_TRY(PRLE_NEW(state, 1));
    *state = channels;
    plan->state = state;
    return PRLE_OK;
}

PRLE_SIMD_CLONES
static void scale(float *y, const float *x, const float factor[LANES], int64_t n)
{
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            y[i + l] = x[i + l] * factor[l];
    for (; i < n; i++)
        y[i] = x[i] * factor[i % LANES];
}

/* sum[l] += products of lane l */
PRLE_SIMD_CLONES
static void dot(double sum[LANES], const float *a, const float *b, int64_t n)
{
    float part[LANES] = {0};
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            part[l] += a[i + l] * b[i + l];
    for (; i < n; i++)
        part[i % LANES] += a[i] * b[i];
    for (int l = 0; l < LANES; l++)
        sum[l] += (double)part[l];
}

/* One plane's blocks of channels, from element `at` of the images: `count` of its channels exist, the other lanes are zero. */
static void plane_run(const prle_channels *z, prle_op_pass pass, const prle_op_args *args, int64_t at, const float *gate,
                      float *dgate, int64_t count)
{
    const float *x = (const float *)args->in[0] + at, *dy = (const float *)args->dout + at;
    const bool forward = pass == PRLE_PASS_FORWARD;
    float *to = forward ? args->out : args->din[0];
    float factor[LANES];
    double sum[LANES] = {0};

    for (int64_t l = 0; l < LANES; l++)
        factor[l] = l % z->block < count ? gate[l % z->block] : 0;
    for (int64_t i = 0, n = 0; i < z->plane * z->block; i += n) {
        n = z->plane * z->block - i < RUN ? z->plane * z->block - i : RUN;
        if (to != NULL)
            scale(to + at + i, (forward ? x : dy) + i, factor, n);
        if (dgate != NULL)
            dot(sum, dy + i, x + i, n);
    }
    for (int64_t c = 0; c < count && dgate != NULL; c++) {
        double total = 0;
        for (int64_t l = c; l < LANES; l += z->block)
            total += sum[l];
        dgate[c] = (float)total;
    }
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_channels *z = state;
    const int64_t n_blocks = (z->C + z->block - 1) / z->block;
    const float *gate = args->in[1];
    float *dgate = pass == PRLE_PASS_FORWARD ? NULL : args->din[1];

#pragma omp parallel for
    for (int64_t i = 0; i < z->B * n_blocks; i++) {
        const int64_t b = i / n_blocks, c = i % n_blocks * z->block;

        plane_run(z, pass, args, b * z->batch + i % n_blocks * z->slice, gate + b * z->C + c,
                  dgate != NULL ? dgate + b * z->C + c : NULL, z->C - c < z->block ? z->C - c : z->block);
    }
    return PRLE_OK;
}

const prle_op_impl prle_gate_dnnl = {
    .name = "dnnl", .kind = PRLE_OP_GATE, .supports = prle_dnnl_supports, .plan = plan_pass, .run = run};
