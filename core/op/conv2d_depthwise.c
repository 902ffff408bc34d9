/* conv2d_depthwise.c - depthwise convolution by kernels of our own, in the layouts of oneDNN's neighbours: all passes move little
 * more than the bytes of their tensors. oneDNN 2.6.3 has no weight gradient for kernels wider than 3 but one over plain images
 * that takes a hundred times as long, and for the rest needs up to three times the time of the memory. Rows of outputs are shared
 * out evenly among the threads; sums are split by shapes alone, so that the result has the same bits for any number of threads.
 */
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/op/channels.h"
#include "core/op/conv2d_depthwise.h"
#include "core/op/impls.h"
#include "core/threads.h"

typedef struct depthwise_state {
    prle_depthwise shape;
    const prle_depthwise_kernels *kernels;
    int n_workers;
    int64_t work_floats; /* of each worker, in scratch */
    int64_t sums_floats; /* WEIGHTS: behind them */
} depthwise_state;

/* In blocks of the size that oneDNN's convolutions like best with these vectors: 16 channels with AVX-512, else 8. */
static const prle_depthwise_kernels *kernels_choose(void)
{
#if PRLE_SIMD_X86
    switch (prle_simd_widest()) {
    case PRLE_SIMD_AVX512: return &prle_depthwise_avx512;
    case PRLE_SIMD_AVX2: return &prle_depthwise_avx2;
    case PRLE_SIMD_BASE: break;
    }
#endif
    return &prle_depthwise_base;
}

static bool supports(const prle_op_desc *desc, const char **why)
{
    const prle_conv2d_attrs *a = &desc->u.conv2d;
    const bool depthwise = a->groups == desc->in[0].dim[1] && a->n_out == a->groups;
    const bool kernel = a->kernel_h == a->kernel_w && (a->kernel_h == 3 || a->kernel_h == 5 || a->kernel_h == 7);

    if (desc->dtype != PRLE_F32)
        *why = "computes in f32";
    else if (desc->memory == PRLE_BF16 && !prle_dnnl_has_bf16())
        *why = "no instructions for bfloat16 on this processor";
    else if (!depthwise)
        *why = "depthwise only, one output for each channel";
    else if (!kernel)
        *why = "kernels 3x3, 5x5 and 7x7 only";
    else if (a->in_act.act != PRLE_ACT_NONE && a->in_act.act != PRLE_ACT_SWISH)
        *why = "of activations, reads swish only";
    else if (a->stride != 1 && a->stride != 2)
        *why = "strides 1 and 2 only";
    else if (a->pad_top >= a->kernel_h || a->pad_left >= a->kernel_w)
        *why = "padding as wide as the kernel";
    else if (prle_shape_count(&desc->in[0]) == 0)
        *why = "empty input";
    else
        return true;
    return false;
}

/* Parts of the batch with sums of their own: enough for many threads where channels are few. */
static int64_t batch_groups(int64_t B, int64_t blocks)
{
    const int64_t wanted = (64 + blocks - 1) / blocks;

    return wanted < B ? wanted : B;
}

static prle_depthwise shape_of(const prle_op_desc *desc, int block)
{
    const prle_conv2d_attrs *a = &desc->u.conv2d;
    const int64_t *x = desc->in[0].dim, blocks = (x[1] + block - 1) / block;

    return (prle_depthwise){.B = x[0],
                            .C = x[1],
                            .H = x[2],
                            .W = x[3],
                            .P = desc->out.dim[2],
                            .Q = desc->out.dim[3],
                            .blocks = blocks,
                            .K = (int)a->kernel_h,
                            .stride = (int)a->stride,
                            .bf16 = desc->memory == PRLE_BF16,
                            .top = a->pad_top,
                            .left = a->pad_left,
                            .bias = a->bias,
                            .residual = a->residual,
                            .in_act = a->in_act,
                            .act = a->act,
                            .groups = batch_groups(x[0], blocks)};
}

static prle_status layouts(const prle_op_desc *desc, prle_op_pass pass, int block, prle_op_plan *plan)
{
    const prle_dtype memory = desc->memory == PRLE_BF16 ? PRLE_BF16 : PRLE_F32;
    prle_layout image, out, weights;

    PRLE_TRY(prle_layout_blocked(memory, &desc->in[0], block, &image));
    PRLE_TRY(prle_layout_blocked(memory, &desc->out, block, &out));
    PRLE_TRY(prle_layout_blocked_depthwise(&desc->param[0], block, &weights));
    plan->in[0] = plan->din[0] = image;
    plan->in[1] = plan->out = plan->dout = out;
    plan->param[0] = plan->dparam[0] = weights;
    plan->param[1] = plan->dparam[1] = prle_layout_plain(PRLE_F32, &desc->param[1]);
    plan->uses_in = pass == PRLE_PASS_WEIGHTS;
    return PRLE_OK;
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    const prle_depthwise_kernels *kernels = kernels_choose();
    depthwise_state *s = NULL;
    char shape[96];

    PRLE_TRY(layouts(desc, pass, kernels->block, plan));
    PRLE_TRY(PRLE_NEW(s, 1));
    *s = (depthwise_state){.shape = shape_of(desc, kernels->block), .kernels = kernels, .n_workers = prle_threads_current()};
    s->work_floats = (kernels->work_floats(&s->shape, pass) + 15) / 16 * 16;
    if (pass == PRLE_PASS_WEIGHTS)
        s->sums_floats = s->shape.groups * s->shape.blocks * (s->shape.K * s->shape.K + 1) * kernels->block;
    plan->scratch_bytes = (size_t)(s->n_workers * s->work_floats + s->sums_floats) * sizeof(float);
    plan->state = s;
    prle_log(PRLE_LOG_DEBUG, "op", "conv2d %s: depthwise kernels for %s", prle_shape_print(&desc->in[0], shape), kernels->name);
    return PRLE_OK;
}

static void weights_reduce(const prle_depthwise *z, int block, const float *sums, float *dweight, float *dbias)
{
    const int64_t n_taps = z->K * z->K, n = (n_taps + 1) * block;

#pragma omp parallel for
    for (int64_t k = 0; k < z->blocks; k++) {
        float *to = dweight + k * n_taps * block;

        memset(to, 0, (size_t)(n_taps * block) * sizeof *to);
        for (int64_t g = 0; g < z->groups; g++)
            for (int64_t i = 0; i < n_taps * block; i++)
                to[i] += sums[(g * z->blocks + k) * n + i];
        for (int64_t c = k * block; c < (k + 1) * block && c < z->C && dbias != NULL; c++) {
            dbias[c] = 0;
            for (int64_t g = 0; g < z->groups; g++)
                dbias[c] += sums[(g * z->blocks + k) * n + n_taps * block + c % block];
        }
    }
}

/* Pieces of the pass that workers share: rows of images, or sums. */
static int64_t n_pieces(const prle_depthwise *z, prle_op_pass pass)
{
    switch (pass) {
    case PRLE_PASS_FORWARD: return z->B * z->blocks * z->P;
    case PRLE_PASS_BACKWARD: return z->B * z->blocks * z->H;
    default: return z->groups * z->blocks;
    }
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const depthwise_state *s = state;
    const prle_depthwise *z = &s->shape;
    const int64_t n = n_pieces(z, pass);
    float *scratch = args->scratch, *sums = scratch + s->n_workers * s->work_floats;

#pragma omp parallel for schedule(static, 1)
    for (int64_t t = 0; t < s->n_workers; t++) {
        const int64_t first = t * n / s->n_workers, last = (t + 1) * n / s->n_workers;
        float *work = scratch + t * s->work_floats;

        switch (pass) {
        case PRLE_PASS_FORWARD: s->kernels->forward(z, args, first, last, work); break;
        case PRLE_PASS_BACKWARD: s->kernels->backward(z, args, first, last, work); break;
        default: s->kernels->weights(z, args, sums, first, last, work); break;
        }
    }
    if (pass == PRLE_PASS_WEIGHTS)
        weights_reduce(z, s->kernels->block, sums, args->dparam[0], z->bias ? args->dparam[1] : NULL);
    return PRLE_OK;
}

const prle_op_impl prle_conv2d_depthwise = {
    .name = "depthwise", .kind = PRLE_OP_CONV2D, .supports = supports, .plan = plan_pass, .run = run};
