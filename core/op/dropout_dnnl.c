/* dropout_dnnl.c - dropout of whole samples on oneDNN's layouts, in f32 and bfloat16, by a loop of our own: a sample is
 * contiguous in every layout whose outermost dimension is the batch. Saved: one byte per sample, 1 = kept. */
#include <string.h>

#include "core/alloc.h"
#include "core/op/channels.h"
#include "core/op/dropout_math.h"
#include "core/op/impls.h"
#include "core/op/plane.h"
#include "core/op/util_dnnl.h"

typedef struct dropout_state {
    prle_dropout_attrs attrs;
    const prle_plane_kernels *kernels;
    bool bf16;    /* images are */
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

    return prle_channels_of(layout, &z) && (size_t)(z.B * z.batch) * prle_dtype_bytes(layout->dtype) == layout->n_bytes;
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    prle_layout *image = pass == PRLE_PASS_FORWARD ? &plan->in[0] : &plan->dout;
    dropout_state *s = NULL;

    if (!is_contiguous_by_sample(image))
        *image = prle_layout_plain(image->dtype, &desc->out);
    if (pass == PRLE_PASS_FORWARD)
        plan->out = *image;
    else
        plan->din[0] = *image;
    plan->saved_bytes = (size_t)desc->out.dim[0];
    PRLE_TRY(PRLE_NEW(s, 1));
    *s = (dropout_state){.attrs = desc->u.dropout,
                         .kernels = prle_plane_kernels_get(),
                         .bf16 = image->dtype == PRLE_BF16,
                         .B = desc->out.dim[0],
                         .n = (int64_t)(image->n_bytes / prle_dtype_bytes(image->dtype)) / desc->out.dim[0]};
    plan->state = s;
    return PRLE_OK;
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const dropout_state *s = state;
    const void *from = pass == PRLE_PASS_FORWARD ? args->in[0] : args->dout;
    void *to = pass == PRLE_PASS_FORWARD ? args->out : args->din[0];
    const size_t bytes = (size_t)s->n * prle_dtype_bytes(s->bf16 ? PRLE_BF16 : PRLE_F32);
    float factor[PRLE_PLANE_LANES];
    uint8_t *kept = args->saved;

    for (int l = 0; l < PRLE_PLANE_LANES; l++)
        factor[l] = (float)(1.0 / (1.0 - s->attrs.p));
#pragma omp parallel for
    for (int64_t b = 0; b < s->B; b++) {
        if (pass == PRLE_PASS_FORWARD) {
            prle_rng rng = dropout_stream(args->info, b, s->attrs.layer);
            kept[b] = dropout_keeps(&s->attrs, &rng);
        }
        if (kept[b])
            s->kernels->scale(to, from, NULL, s->bf16, factor, NULL, b * s->n, s->n);
        else
            memset((char *)to + (size_t)b * bytes, 0, bytes);
    }
    return PRLE_OK;
}

const prle_op_impl prle_dropout_dnnl = {
    .name = "dnnl", .kind = PRLE_OP_DROPOUT, .supports = supports, .plan = plan_pass, .run = run};
