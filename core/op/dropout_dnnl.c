/* dropout_dnnl.c - dropout of whole samples on oneDNN's layouts, by a loop of our own: a sample is contiguous in every layout
 * whose outermost dimension is the batch. Saved: one byte per sample, 1 = kept. */
#include <string.h>

#include "core/alloc.h"
#include "core/op/channels.h"
#include "core/op/dropout_math.h"
#include "core/op/impls.h"
#include "core/op/util_dnnl.h"
#include "core/simd.h"

typedef struct dropout_state {
    prle_dropout_attrs attrs;
    int64_t B, n; /* samples, elements of each with the lanes that fill up blocks */
} dropout_state;

static bool supports(const prle_op_desc *desc, const char **why)
{
    if (!prle_dnnl_supports(desc, why))
        return false;
    *why = "draws of single elements follow the plain layout";
    return desc->u.dropout.per_sample && desc->out.n == 4;
}

static bool is_contiguous_by_sample(const prle_layout *layout)
{
    prle_channels z;

    return prle_channels_of(layout, &z) && (size_t)(z.B * z.batch) * sizeof(float) == layout->n_bytes;
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    prle_layout *image = pass == PRLE_PASS_FORWARD ? &plan->in[0] : &plan->dout;
    dropout_state *s = NULL;

    PRLE_TRY(prle_layout_as(PRLE_F32, image, image));
    if (!is_contiguous_by_sample(image))
        *image = prle_layout_plain(PRLE_F32, &desc->out);
    if (pass == PRLE_PASS_FORWARD)
        plan->out = *image;
    else
        plan->din[0] = *image;
    plan->saved_bytes = (size_t)desc->out.dim[0];
    PRLE_TRY(PRLE_NEW(s, 1));
    *s = (dropout_state){
        .attrs = desc->u.dropout, .B = desc->out.dim[0], .n = (int64_t)(image->n_bytes / sizeof(float)) / desc->out.dim[0]};
    plan->state = s;
    return PRLE_OK;
}

PRLE_SIMD_CLONES
static void scale(float *y, const float *x, float factor, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * factor;
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const dropout_state *s = state;
    const float *from = pass == PRLE_PASS_FORWARD ? args->in[0] : args->dout;
    float *to = pass == PRLE_PASS_FORWARD ? args->out : args->din[0];
    uint8_t *kept = args->saved;

#pragma omp parallel for
    for (int64_t b = 0; b < s->B; b++) {
        if (pass == PRLE_PASS_FORWARD) {
            prle_rng rng = dropout_stream(args->info, b, s->attrs.layer);
            kept[b] = dropout_keeps(&s->attrs, &rng);
        }
        if (kept[b])
            scale(to + b * s->n, from + b * s->n, (float)(1.0 / (1.0 - s->attrs.p)), s->n);
        else
            memset(to + b * s->n, 0, (size_t)s->n * sizeof(float));
    }
    return PRLE_OK;
}

const prle_op_impl prle_dropout_dnnl = {
    .name = "dnnl", .kind = PRLE_OP_DROPOUT, .supports = supports, .plan = plan_pass, .run = run};
