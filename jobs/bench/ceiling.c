/* ceiling.c - the convolutions of a network alone, each as fast as it goes; --log-level debug:bench shows all. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/op/cost.h"
#include "jobs/bench/subject.h"

enum { MAX_RUNS = 20, MAX_BUFFERS = 24 };
static const double budget_s = 0.2; /* of a convolution and pass */

/* Buffers of one pass. */
typedef struct pool {
    const prle_device *device;
    int n;
    void *buffer[MAX_BUFFERS];
} pool;

static prle_status take(pool *p, size_t n_bytes, void **out)
{
    PRLE_TRY(p->device->alloc(n_bytes, out));
    p->buffer[p->n++] = *out;
    return p->device->zero(*out, n_bytes);
}

static prle_status take_all(pool *p, const prle_op_desc *desc, const prle_op_plan *plan, prle_op_args *args)
{
    for (int i = 0; i < desc->n_in; i++) {
        PRLE_TRY(take(p, plan->in[i].n_bytes, (void **)(uintptr_t)&args->in[i]));
        PRLE_TRY(take(p, plan->din[i].n_bytes, &args->din[i]));
    }
    for (int i = 0; i < desc->n_params; i++) {
        PRLE_TRY(take(p, plan->param[i].n_bytes, (void **)(uintptr_t)&args->param[i]));
        PRLE_TRY(take(p, plan->dparam[i].n_bytes, &args->dparam[i]));
    }
    PRLE_TRY(take(p, plan->out.n_bytes, &args->out));
    PRLE_TRY(take(p, plan->dout.n_bytes, (void **)(uintptr_t)&args->dout));
    PRLE_TRY(take(p, plan->saved_bytes, &args->saved));
    return take(p, plan->scratch_bytes, &args->scratch);
}

/* The layouts are offered plain: a convolution answers with those it likes best. */
static void offer(const prle_op_desc *desc, bool training, prle_op_plan *plan)
{
    memset(plan, 0, sizeof *plan);
    plan->training = training;
    for (int i = 0; i < desc->n_in; i++)
        plan->in[i] = prle_layout_plain(desc->dtype, &desc->in[i]);
    plan->out = plan->dout = prle_layout_plain(desc->dtype, &desc->out);
    for (int i = 0; i < desc->n_params; i++)
        plan->param[i] = plan->dparam[i] = prle_layout_plain(desc->dtype, &desc->param[i]);
}

static prle_status best_of(const prle_device *device, const prle_op_impl *impl, const void *state, prle_op_pass pass,
                           const prle_op_args *args, double *best)
{
    const double begin = prle_clock_s();

    PRLE_TRY(impl->run(state, pass, args)); /* touches every page */
    PRLE_TRY(prle_device_wait(device));
    *best = HUGE_VAL;
    for (int i = 0; i < MAX_RUNS && (i < 2 || prle_clock_s() - begin < budget_s); i++) {
        const double before = prle_clock_s();
        PRLE_TRY(impl->run(state, pass, args));
        PRLE_TRY(prle_device_wait(device));
        *best = fmin(*best, prle_clock_s() - before);
    }
    return PRLE_OK;
}

static prle_status time_pass(const prle_device *device, const prle_op_desc *desc, prle_op_pass pass, bool training,
                             double *seconds)
{
    const prle_op_run_info info = {.n_valid = desc->in[0].dim[0]};
    const prle_op_impl *impl = NULL;
    prle_op_args args = {.info = &info};
    prle_op_plan plan;
    pool p = {.device = device};
    prle_status st = PRLE_OK;

    offer(desc, training, &plan);
    PRLE_TRY(prle_op_choose(device->impls, desc, &impl));
    PRLE_TRY(impl->plan(desc, pass, &plan));
    PRLE_TRY_OUT(take_all(&p, desc, &plan, &args));
    PRLE_TRY_OUT(best_of(device, impl, plan.state, pass, &args, seconds));
out:
    for (int i = 0; i < p.n; i++)
        device->free(p.buffer[i]);
    if (impl->destroy != NULL)
        impl->destroy(plan.state);
    else
        prle_free(plan.state);
    return st;
}

static void say(const prle_op_desc *desc, prle_op_pass pass, double seconds)
{
    static const char *const passes[] = {"forward", "backward", "weights"};
    const prle_conv2d_attrs *a = &desc->u.conv2d;

    prle_log(PRLE_LOG_DEBUG, "bench",
             "%4" PRId64 " -> %4" PRId64 " %" PRId64 "x%" PRId64 "/%" PRId64 "%s on %3" PRId64 " %-8s %8.3f ms %6.1f GFLOP/s",
             desc->in[0].dim[1], a->n_out, a->kernel_h, a->kernel_w, a->stride, a->groups > 1 ? " depthwise" : "",
             desc->in[0].dim[2], passes[pass], 1e3 * seconds, 2e-9 * prle_op_macs(desc) / seconds);
}

/* Nobody asks for the gradient of the pictures. */
static prle_status time_node(const prle_device *device, const prle_op_desc *desc, bool first, bool training, double *sum)
{
    for (int pass = PRLE_PASS_FORWARD; pass < PRLE_N_PASSES; pass++) {
        double seconds = 0;
        if (pass != PRLE_PASS_FORWARD && (!training || (pass == PRLE_PASS_BACKWARD && first)))
            continue;
        PRLE_TRY(time_pass(device, desc, (prle_op_pass)pass, training, &seconds));
        say(desc, (prle_op_pass)pass, seconds);
        *sum += seconds;
    }
    return PRLE_OK;
}

/* The convolution of a node as the plan has it, batch norm folded away. */
static prle_status describe(const prle_graph_node *node, const prle_bench_opts *o, prle_dtype dtype, prle_op_desc *out)
{
    const prle_device *device = prle_subject_device(o, dtype);
    const bool bf16 = dtype == PRLE_BF16 && device->has_bf16 != NULL && device->has_bf16(); /* as plan.c decides */

    *out = node->desc;
    for (int i = 0; i < out->n_in; i++)
        out->in[i].dim[0] = o->batch;
    out->dtype = dtype == PRLE_F64 ? PRLE_F64 : PRLE_F32;
    out->memory = bf16 ? PRLE_BF16 : out->dtype;
    return prle_op_infer(out);
}

/* Equal ones are timed once. */
static prle_status ceiling(const prle_graph *g, const prle_bench_opts *o, prle_dtype dtype, bool training, prle_op_desc *seen,
                           double *seconds, double *sum)
{
    int n = 0;

    for (int i = 0; i < g->n_nodes; i++) {
        int at = 0;

        if (g->node[i].desc.kind != PRLE_OP_CONV2D)
            continue;
        PRLE_TRY(describe(&g->node[i], o, dtype, &seen[n]));
        while (memcmp(&seen[at], &seen[n], sizeof *seen) != 0)
            at++;
        if (at == n)
            PRLE_TRY(time_node(prle_subject_device(o, dtype), &seen[n], g->node[g->node[i].in[0]].desc.kind == PRLE_OP_INPUT,
                               training, &seconds[n]));
        *sum += seconds[at];
        n += at == n;
    }
    return PRLE_OK;
}

prle_status prle_bench_ceiling(const char *net, const prle_bench_opts *o, prle_dtype dtype, bool training, double *images_per_s)
{
    const prle_net_opts opts = {.height = o->size, .width = o->size, .classes = 2};
    prle_graph *g = NULL;
    prle_op_desc *seen = NULL;
    double *seconds = NULL, sum = 0;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_net_build(&g, net, &opts));
    PRLE_TRY_OUT(PRLE_NEW(seen, g->n_nodes + 1));
    PRLE_TRY_OUT(PRLE_NEW(seconds, g->n_nodes + 1));
    PRLE_TRY_OUT(ceiling(g, o, dtype, training, seen, seconds, &sum));
    *images_per_s = (double)o->batch / sum;
out:
    prle_free(seen);
    prle_free(seconds);
    prle_graph_destroy(g);
    return st;
}
