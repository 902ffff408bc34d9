/* conv2d_cudnn.c - convolution by cuDNN: images and kernels channels last, in f32 or bf16, sums in f32.
 *
 * What is fused behind a convolution (bias, residual, activation) is a kernel of ours. With PRLE_CONV_FUSED=1 in the environment
 * cuDNN takes it along in inference where it has an engine for the whole (bias, residual, relu): the image is
 * written once, but by another engine than it prefers for the convolution alone, and one that it compiles first, for a second
 * each.
 *
 * cuDNN 9.19 gives the gradient of the weights in the images' type (in f32 of bf16 images it has engines for few shapes only), so
 * in bf16 it is rounded once, after sums in f32, as in PyTorch. It lands in scratch, which is aligned as cuDNN wants it, and from
 * there goes row-major and in f32 to where the plan wants it. */
#include "core/op/conv2d_cudnn.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/op/impls_cuda.h"

enum { X = 1, W, Y, BIAS, RESIDUAL, PRODUCTS, BIASED, SUMMED };

/* A plan that all convolutions of one kind share: networks repeat themselves, and a plan may take a second. */
typedef struct shared_plan {
    struct shared_plan *next;
    prle_op_desc desc;
    prle_op_pass pass;
    bool fused;
    prle_cudnn_wishes wishes;
    prle_cudnn_plan *plan;
    int n_users;
} shared_plan;

static shared_plan *all_plans;
static pthread_mutex_t all_plans_lock = PTHREAD_MUTEX_INITIALIZER;

typedef struct conv_state {
    prle_op_desc desc;
    shared_plan *shared;
    size_t dweight_at, sums_at; /* bytes into scratch, behind the library's: the weights' gradient, sums for the bias's */
    bool fused, follows;        /* bias, residual and activation: taken along by cuDNN, or by a kernel of ours */
} conv_state;

static bool supports(const prle_op_desc *desc, const char **why)
{
    *why = "cuDNN's convolutions read their input as it is";
    return desc->u.conv2d.in_act.act == PRLE_ACT_NONE && prle_cuda_supports(desc, why);
}

/* y = relu(products + bias + residual): between the convolution and Y lie tensors that are never in memory. */
static void graph_fuse(const prle_op_desc *desc, prle_cudnn_graph *g)
{
    const prle_conv2d_attrs *a = &desc->u.conv2d;
    const int64_t *y = desc->out.dim, bias[4] = {1, y[1], 1, 1};
    const bool relu = a->act.act == PRLE_ACT_RELU;

    prle_cudnn_tensor(g, BIAS, PRLE_F32, bias, false);
    prle_cudnn_tensor(g, PRODUCTS, PRLE_F32, y, true);
    prle_cudnn_tensor(g, BIASED, PRLE_F32, y, true);
    prle_cudnn_convolution(g, PRLE_PASS_FORWARD, X, W, PRODUCTS, a);
    prle_cudnn_add(g, PRODUCTS, BIAS, a->residual || relu ? BIASED : Y);
    if (a->residual) {
        prle_cudnn_tensor(g, RESIDUAL, desc->memory, y, false);
        prle_cudnn_tensor(g, SUMMED, PRLE_F32, y, true);
        prle_cudnn_add(g, BIASED, RESIDUAL, relu ? SUMMED : Y);
    }
    if (relu)
        prle_cudnn_relu(g, a->residual ? SUMMED : BIASED, Y);
}

static void graph_make(const prle_op_desc *desc, prle_op_pass pass, bool fused, prle_cudnn_graph *g)
{
    prle_cudnn_tensor(g, X, desc->memory, desc->in[0].dim, false);
    prle_cudnn_tensor(g, W, desc->memory, desc->param[0].dim, false);
    prle_cudnn_tensor(g, Y, desc->memory, desc->out.dim, false);
    if (fused)
        graph_fuse(desc, g);
    else
        prle_cudnn_convolution(g, pass, X, W, Y, &desc->u.conv2d);
}

prle_status prle_conv2d_cudnn_plan(const prle_op_desc *desc, prle_op_pass pass, bool fused, const prle_cudnn_wishes *wishes,
                                   prle_cudnn_plan **out)
{
    prle_cudnn_graph *g = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(prle_cudnn_graph_create(&g));
    graph_make(desc, pass, fused, g);
    PRLE_TRY_OUT(prle_cudnn_plan_create(out, g, wishes));
out:
    prle_cudnn_graph_destroy(g);
    return st;
}

/* ---- plans, shared ---- */

/* What cuDNN sees of two convolutions is the same. */
static bool is_same(const shared_plan *p, const prle_op_desc *desc, prle_op_pass pass, bool fused,
                    const prle_cudnn_wishes *wishes)
{
    const prle_conv2d_attrs *a = &p->desc.u.conv2d, *b = &desc->u.conv2d;

    return p->pass == pass && p->desc.memory == desc->memory && p->wishes.deterministic == wishes->deterministic &&
           p->wishes.exact == wishes->exact && prle_shape_equal(&p->desc.in[0], &desc->in[0]) &&
           prle_shape_equal(&p->desc.param[0], &desc->param[0]) && prle_shape_equal(&p->desc.out, &desc->out) &&
           a->stride == b->stride && a->pad_top == b->pad_top && a->pad_left == b->pad_left && a->pad_bottom == b->pad_bottom &&
           a->pad_right == b->pad_right && p->fused == fused &&
           (!fused || (a->residual == b->residual && a->act.act == b->act.act));
}

static prle_status shared_make(const prle_op_desc *desc, prle_op_pass pass, bool fused, const prle_cudnn_wishes *wishes,
                               shared_plan **out)
{
    shared_plan *p = NULL;

    PRLE_TRY(PRLE_NEW(p, 1));
    *p = (shared_plan){.next = all_plans, .desc = *desc, .pass = pass, .fused = fused, .wishes = *wishes};
    const prle_status st = prle_conv2d_cudnn_plan(desc, pass, fused, wishes, &p->plan);
    if (st != PRLE_OK) {
        prle_free(p);
        return st;
    }
    *out = all_plans = p;
    return PRLE_OK;
}

static prle_status shared_take(const prle_op_desc *desc, prle_op_pass pass, bool fused, const prle_cudnn_wishes *wishes,
                               shared_plan **out)
{
    shared_plan *p = NULL;
    prle_status st = PRLE_OK;

    pthread_mutex_lock(&all_plans_lock);
    for (p = all_plans; p != NULL && !is_same(p, desc, pass, fused, wishes);)
        p = p->next;
    if (p == NULL)
        st = shared_make(desc, pass, fused, wishes, &p);
    if (st == PRLE_OK) {
        p->n_users++;
        *out = p;
    }
    pthread_mutex_unlock(&all_plans_lock);
    return st;
}

static void shared_drop(shared_plan *p)
{
    shared_plan **at = &all_plans;

    pthread_mutex_lock(&all_plans_lock);
    if (--p->n_users == 0) {
        while (*at != p)
            at = &(*at)->next;
        *at = p->next;
        prle_cudnn_plan_destroy(p->plan);
        prle_free(p);
    }
    pthread_mutex_unlock(&all_plans_lock);
}

static void destroy(void *state)
{
    conv_state *s = state;

    if (s != NULL && s->shared != NULL)
        shared_drop(s->shared);
    prle_free(s);
}

/* ---- the operator ---- */

static void layouts(const prle_op_desc *desc, prle_op_pass pass, bool fused, prle_op_plan *plan)
{
    plan->in[0] = plan->din[0] = prle_cuda_layout_nhwc(desc->memory, &desc->in[0]);
    plan->in[1] = plan->out = plan->dout = prle_cuda_layout_nhwc(desc->memory, &desc->out);
    plan->param[0] = prle_cuda_layout_nhwc(desc->memory, &desc->param[0]); /* KRSC */
    plan->dparam[0] = prle_layout_plain(PRLE_F32, &desc->param[0]);
    if (desc->u.conv2d.bias)
        plan->param[1] = plan->dparam[1] = prle_layout_plain(PRLE_F32, &desc->param[1]);
    if (fused) /* a copy of its own, which is aligned */
        plan->param[1] = prle_cuda_layout_nhwc(PRLE_F32, &desc->param[1]);
    plan->uses_in = pass == PRLE_PASS_WEIGHTS;
}

static bool may_fuse(const prle_op_desc *desc, prle_op_pass pass, const prle_op_plan *plan)
{
    const prle_conv2d_attrs *a = &desc->u.conv2d;
    const char *wanted = getenv("PRLE_CONV_FUSED");

    return wanted != NULL && strcmp(wanted, "1") == 0 && pass == PRLE_PASS_FORWARD && !plan->training && a->bias &&
           (a->act.act == PRLE_ACT_NONE || a->act.act == PRLE_ACT_RELU);
}

static size_t aligned(size_t n_bytes) { return (n_bytes + 255) / 256 * 256; }

static void scratch_book(conv_state *s, prle_op_pass pass, prle_op_plan *plan)
{
    const prle_layout dweight = prle_layout_plain(s->desc.memory, &s->desc.param[0]);

    plan->scratch_bytes = prle_cudnn_plan_scratch(s->shared->plan);
    if (pass != PRLE_PASS_WEIGHTS)
        return;
    s->dweight_at = aligned(plan->scratch_bytes);
    s->sums_at = s->dweight_at + aligned(dweight.n_bytes);
    plan->scratch_bytes = s->sums_at;
    if (s->desc.u.conv2d.bias)
        plan->scratch_bytes += prle_sums_cuda_scratch(prle_cuda_rows_of(&s->desc.out, s->desc.memory));
}

static prle_status plan_pass(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan)
{
    static const char *const pass_names[PRLE_N_PASSES] = {"forward", "backward", "weights"};
    const prle_conv2d_attrs *a = &desc->u.conv2d;
    prle_cudnn_wishes wishes = {.most_scratch_bytes = PRLE_CONV2D_MOST_SCRATCH};
    const prle_cuda *gpu = NULL;
    conv_state *s = NULL;
    prle_status st = PRLE_OK;
    char shape[96];

    PRLE_TRY_OUT(prle_cuda_get(&gpu));
    PRLE_TRY_OUT(PRLE_NEW(s, 1));
    s->desc = *desc;
    wishes.deterministic = gpu->deterministic;
    wishes.exact = desc->memory == PRLE_F32 && !gpu->tf32;
    s->fused = may_fuse(desc, pass, plan) && shared_take(desc, pass, true, &wishes, &s->shared) == PRLE_OK;
    if (!s->fused)
        PRLE_TRY_OUT(shared_take(desc, pass, false, &wishes, &s->shared));
    prle_log(PRLE_LOG_DEBUG, "op", "conv2d %s %s: cuDNN %s", prle_shape_print(&desc->in[0], shape), pass_names[pass],
             prle_cudnn_plan_name(s->shared->plan));
    layouts(desc, pass, s->fused, plan);
    s->follows = !s->fused && (a->bias || a->residual || a->act.act != PRLE_ACT_NONE);
    scratch_book(s, pass, plan);
    plan->state = s;
    s = NULL;
out:
    destroy(s);
    return st;
}

static void *unconst(const void *p) { return (void *)(uintptr_t)p; } /* cuDNN takes all pointers as writable */

static prle_status convolve(const conv_state *s, const void *x, const void *w, const void *y, void *scratch)
{
    const int64_t ids[] = {X, W, Y};
    void *const pointers[] = {unconst(x), unconst(w), unconst(y)};

    return prle_cudnn_plan_run(s->shared->plan, 3, ids, pointers, scratch);
}

static prle_status forward(const conv_state *s, const prle_op_args *args, cudaStream_t stream)
{
    const prle_conv2d_attrs *a = &s->desc.u.conv2d;

    if (s->fused) {
        const int64_t ids[] = {X, W, Y, BIAS, RESIDUAL};
        void *const pointers[] = {unconst(args->in[0]), unconst(args->param[0]), args->out, unconst(args->param[1]),
                                  unconst(args->in[1])};
        return prle_cudnn_plan_run(s->shared->plan, a->residual ? 5 : 4, ids, pointers, args->scratch);
    }
    PRLE_TRY(convolve(s, args->in[0], args->param[0], args->out, args->scratch));
    if (s->follows)
        PRLE_CUDA(prle_epilogue_cuda(args->out, a->residual ? args->in[1] : NULL, a->bias ? args->param[1] : NULL, a->act,
                                     prle_cuda_rows_of(&s->desc.out, s->desc.memory), stream));
    return PRLE_OK;
}

static prle_status backward_weights(const conv_state *s, const prle_op_args *args, cudaStream_t stream)
{
    const int64_t *w = s->desc.param[0].dim, taps = w[2] * w[3];
    const prle_dtype memory = s->desc.memory;
    void *dweight = (char *)args->scratch + s->dweight_at, *sums = (char *)args->scratch + s->sums_at;

    PRLE_TRY(convolve(s, args->in[0], dweight, args->dout, args->scratch));
    if (taps == 1 || w[1] == 1)
        PRLE_CUDA(prle_convert_cuda(args->dparam[0], PRLE_F32, dweight, memory, w[0] * w[1] * taps, stream));
    else
        PRLE_CUDA(prle_transpose_cuda(args->dparam[0], PRLE_F32, dweight, memory, w[0], taps, w[1], stream));
    if (s->desc.u.conv2d.bias && args->dparam[1] != NULL)
        PRLE_CUDA(prle_sums_cuda(args->dparam[1], args->dout, prle_cuda_rows_of(&s->desc.out, memory), sums, stream));
    return PRLE_OK;
}

static prle_status run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    const prle_cuda *gpu = NULL;

    PRLE_TRY(prle_cuda_get(&gpu));
    switch (pass) {
    case PRLE_PASS_FORWARD: return forward(state, args, gpu->compute);
    case PRLE_PASS_BACKWARD: return convolve(state, args->din[0], args->param[0], args->dout, args->scratch);
    default: return backward_weights(state, args, gpu->compute);
    }
}

const prle_op_impl prle_conv2d_impl_cudnn = {
    .name = "cudnn", .kind = PRLE_OP_CONV2D, .supports = supports, .plan = plan_pass, .run = run, .destroy = destroy};
