/* gate_dnnl.c - channel gate on oneDNN's layouts, in f32 and bfloat16, by loops of our own: oneDNN has no gradient of a product,
 * and its parts would read the image three times where one sweep does. A plane is contiguous, and element i of it belongs to
 * channel i % block: a row of sixteen factors serves every block. */
#include "core/alloc.h"
#include "core/op/channels.h"
#include "core/op/impls.h"
#include "core/op/plane.h"
#include "core/op/util_dnnl.h"

enum { LANES = PRLE_PLANE_LANES };

typedef struct gate_state {
    prle_channels z;
    const prle_plane_kernels *kernels;
    bool bf16; /* images are */
} gate_state;

/* The image as it comes; the factors plain, and in f32: few, and each scales a whole channel. */
static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    gate_state *s = NULL;
    prle_channels z;

    if (!prle_channels_of(&plan->in[0], &z)) {
        plan->in[0] = prle_layout_plain(plan->in[0].dtype, &desc->in[0]);
        PRLE_CHECK(prle_channels_of(&plan->in[0], &z), PRLE_ENOTSUP, "a plain image is not contiguous");
    }
    plan->out = plan->dout = plan->din[0] = plan->in[0];
    plan->in[1] = plan->din[1] = prle_layout_plain(PRLE_F32, &desc->in[1]);
    plan->uses_in = pass == PRLE_PASS_BACKWARD;
    PRLE_TRY(PRLE_NEW(s, 1));
    *s = (gate_state){z, prle_plane_kernels_get(), plan->in[0].dtype == PRLE_BF16};
    plan->state = s;
    return PRLE_OK;
}

/* Block `block` of sample b; lanes beyond the last channel stay zero. */
static void block_run(const gate_state *s, prle_op_pass pass, const prle_op_args *args, int64_t b, int64_t block)
{
    const int64_t first = block * s->z.block, at = b * s->z.batch + block * s->z.slice;
    const bool forward = pass == PRLE_PASS_FORWARD;
    const float *gate = (const float *)args->in[1] + b * s->z.C;
    float *dgate = forward || args->din[1] == NULL ? NULL : (float *)args->din[1] + b * s->z.C;
    float factor[LANES];
    double sum[LANES] = {0};

    for (int64_t l = 0; l < LANES; l++)
        factor[l] = first + l % s->z.block < s->z.C ? gate[first + l % s->z.block] : 0;
    s->kernels->scale(forward ? args->out : args->din[0], forward ? args->in[0] : args->dout, dgate != NULL ? args->in[0] : NULL,
                      s->bf16, factor, sum, at, s->z.plane * s->z.block);
    for (int64_t c = first; c < first + s->z.block && c < s->z.C && dgate != NULL; c++) {
        double total = 0;
        for (int64_t l = c - first; l < LANES; l += s->z.block)
            total += sum[l];
        dgate[c] = (float)total;
    }
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const gate_state *s = state;
    const int64_t n_blocks = (s->z.C + s->z.block - 1) / s->z.block;

#pragma omp parallel for
    for (int64_t i = 0; i < s->z.B * n_blocks; i++)
        block_run(s, pass, args, i / n_blocks, i % n_blocks);
    return PRLE_OK;
}

const prle_op_impl prle_gate_dnnl = {
    .name = "dnnl", .kind = PRLE_OP_GATE, .supports = prle_dnnl_supports, .plan = plan_pass, .run = run};
