/* bench_ops_dnnl.c - the ceiling of this machine: what oneDNN's operators take on each node of a network, each in its own
 * layouts. Nothing else is counted: no reorder, no packing, no optimiser. Usage: bench_ops_dnnl NET PIXELS BATCH, e.g. resnet50
 * 256 16. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/op/impls.h"
#include "core/op/util_dnnl.h"
#include "nets/net.h"

enum { MAX_RUNS = 20, NAME_BYTES = 32 };
static const double budget_s = 0.5; /* per node and pass */

static const prle_op_impl *const impls[] = {PRLE_IMPLS_DNNL};

static const prle_op_impl *impl_of(prle_op_kind kind)
{
    for (size_t i = 0; i < sizeof impls / sizeof *impls; i++)
        if (impls[i]->kind == kind)
            return impls[i];
    return NULL;
}

/* cpu: of all threads together, which other processes do not disturb; wall: what was waited, the shortest of several runs. */
typedef struct timing {
    double wall_s, cpu_s;
} timing;

static double clock_s(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static timing now(void) { return (timing){clock_s(CLOCK_MONOTONIC), clock_s(CLOCK_PROCESS_CPUTIME_ID)}; }

/* As a convolution would hand it over. */
static prle_status blocked(const prle_shape *shape, prle_layout *out)
{
    const dnnl_dims_t dims = {shape->dim[0], shape->dim[1], shape->dim[2], shape->dim[3]};
    dnnl_memory_desc_t md;

    *out = prle_layout_plain(PRLE_F32, shape);
    if (shape->n != 4 || shape->dim[1] % 8 != 0)
        return PRLE_OK;
    PRLE_TRY(PRLE_DNNL(dnnl_memory_desc_init_by_tag(&md, 4, dims, dnnl_f32, dnnl_nChw8c)));
    PRLE_TRY(prle_dnnl_layout(&md, shape, out));
    return PRLE_OK;
}

static prle_status entry(const prle_op_desc *desc, prle_op_plan *plan)
{
    *plan = (prle_op_plan){.training = true};
    for (int i = 0; i < desc->n_in; i++)
        PRLE_TRY(blocked(&desc->in[i], &plan->in[i]));
    PRLE_TRY(blocked(&desc->out, &plan->out));
    plan->dout = plan->out;
    for (int i = 0; i < desc->n_params; i++)
        plan->param[i] = plan->dparam[i] = prle_layout_plain(PRLE_F32, &desc->param[i]);
    return PRLE_OK;
}

/* Buffers of one pass, in the order they were made. */
typedef struct pool {
    int n;
    void *buffer[24];
} pool;

static prle_status take(pool *p, size_t n_bytes, void **out)
{
    PRLE_TRY(prle_alloc(n_bytes, 1, (prle_any_ptr *)out));
    p->buffer[p->n++] = *out;
    return PRLE_OK;
}

static prle_status take_all(pool *p, const prle_op_desc *desc, prle_op_pass pass, const prle_op_plan *plan, size_t saved_bytes,
                            prle_op_args *args)
{
    for (int i = 0; i < desc->n_in; i++) {
        PRLE_TRY(take(p, plan->in[i].n_bytes, (void **)(uintptr_t)&args->in[i]));
        PRLE_TRY(take(p, plan->din[i].n_bytes, &args->din[i]));
    }
    for (int i = 0; i < desc->n_params; i++) {
        PRLE_TRY(take(p, plan->param[i].n_bytes, (void **)(uintptr_t)&args->param[i]));
        PRLE_TRY(take(p, plan->dparam[i].n_bytes, &args->dparam[i]));
        PRLE_TRY(take(p, plan->param[i].n_bytes, &args->stats[i]));
    }
    PRLE_TRY(take(p, plan->out.n_bytes, &args->out));
    PRLE_TRY(take(p, pass == PRLE_PASS_FORWARD ? 0 : plan->dout.n_bytes, (void **)(uintptr_t)&args->dout));
    PRLE_TRY(take(p, saved_bytes, &args->saved));
    PRLE_TRY(take(p, plan->scratch_bytes, &args->scratch));
    return PRLE_OK;
}

static prle_status repeat(const prle_op_impl *impl, const void *state, prle_op_pass pass, const prle_op_args *args, timing *best)
{
    const timing begin = now();

    PRLE_TRY(impl->run(state, pass, args)); /* the first touches every page and cache */
    *best = (timing){HUGE_VAL, HUGE_VAL};
    for (int i = 0; i < MAX_RUNS && (i < 2 || now().wall_s - begin.wall_s < budget_s); i++) {
        const timing t0 = now();
        PRLE_TRY(impl->run(state, pass, args));
        const timing t1 = now();
        best->wall_s = fmin(best->wall_s, t1.wall_s - t0.wall_s);
        best->cpu_s = fmin(best->cpu_s, t1.cpu_s - t0.cpu_s);
    }
    return PRLE_OK;
}

/* *saved_bytes: set by FORWARD, read by the others. */
static prle_status time_pass(const prle_op_desc *desc, prle_op_pass pass, size_t *saved_bytes, timing *out, char name[NAME_BYTES])
{
    const prle_op_impl *impl = impl_of(desc->kind);
    const prle_op_run_info info = {.n_valid = desc->in[0].dim[0]};
    prle_op_args args = {.info = &info};
    prle_op_plan plan;
    pool p = {0};
    prle_status st = PRLE_OK;

    *out = (timing){0, 0};
    PRLE_TRY(entry(desc, &plan));
    PRLE_TRY(impl->plan(desc, pass, &plan));
    if (plan.din_is_dout)
        return PRLE_OK;
    if (pass == PRLE_PASS_FORWARD)
        *saved_bytes = plan.saved_bytes;
    snprintf(name, NAME_BYTES, "%s", prle_dnnl_name(plan.state));
    PRLE_TRY_OUT(take_all(&p, desc, pass, &plan, *saved_bytes, &args));
    PRLE_TRY_OUT(repeat(impl, plan.state, pass, &args, out));
out:
    for (int i = 0; i < p.n; i++)
        prle_free(p.buffer[i]);
    impl->destroy(plan.state);
    return st;
}

/* Seconds of all nodes of each kind, in each pass. */
static timing totals[PRLE_OP_N_KINDS][PRLE_N_PASSES];

static double gflop(const prle_op_desc *desc)
{
    return 2e-9 * (double)prle_shape_count(&desc->param[0]) * (double)(prle_shape_count(&desc->out) / desc->out.dim[1]);
}

static bool has_pass(const prle_op_desc *desc, prle_op_pass pass, bool first)
{
    const bool weighted = desc->kind == PRLE_OP_CONV2D || desc->kind == PRLE_OP_LINEAR;

    return pass == PRLE_PASS_FORWARD || (pass == PRLE_PASS_WEIGHTS && weighted) ||
           (pass == PRLE_PASS_BACKWARD && !first); /* nobody asks for the gradient of the pictures */
}

/* All passes of one node, which stands `count` times in the network. */
static prle_status bench_node(const prle_op_desc *desc, int count, bool first)
{
    const prle_conv2d_attrs *a = &desc->u.conv2d;
    size_t saved_bytes = 0;

    if (desc->kind == PRLE_OP_CONV2D)
        printf("%3dx %4" PRId64 " -> %4" PRId64 "  %" PRId64 "x%" PRId64 "/%" PRId64 "%s on %3" PRId64, count, desc->in[0].dim[1],
               a->n_out, a->kernel_h, a->kernel_w, a->stride, a->groups > 1 ? " depthwise" : "          ", desc->in[0].dim[2]);
    for (int pass = 0; pass < PRLE_N_PASSES; pass++) {
        char name[NAME_BYTES] = "";
        timing t;
        if (!has_pass(desc, (prle_op_pass)pass, first))
            continue;
        PRLE_TRY(time_pass(desc, (prle_op_pass)pass, &saved_bytes, &t, name));
        totals[desc->kind][pass].wall_s += count * t.wall_s;
        totals[desc->kind][pass].cpu_s += count * t.cpu_s;
        if (desc->kind == PRLE_OP_CONV2D)
            printf("  |%8.3f ms %6.1f GFLOP/s %-13s", 1e3 * t.wall_s, gflop(desc) / t.wall_s, name);
    }
    if (desc->kind == PRLE_OP_CONV2D)
        printf("\n");
    fflush(stdout);
    return PRLE_OK;
}

static void print_total(const char *what, timing forward, timing training, double batch, int threads)
{
    printf("%-28s inference %7.1f images/s (%.1f by CPU time)   training %7.1f (%.1f)\n", what, batch / forward.wall_s,
           batch * threads / forward.cpu_s, batch / training.wall_s, batch * threads / training.cpu_s);
}

static void add(timing *to, timing t)
{
    to->wall_s += t.wall_s;
    to->cpu_s += t.cpu_s;
}

static void print_totals(double batch)
{
    const char *text = getenv("OMP_NUM_THREADS");
    const int threads = text != NULL ? atoi(text) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    timing forward = {0, 0}, training = {0, 0};

    printf("\nmilliseconds for a batch of %.0f  forward  backward  weights\n", batch);
    for (int kind = 0; kind < PRLE_OP_N_KINDS; kind++) {
        const timing *t = totals[kind];
        if (t[0].wall_s > 0)
            printf("%-28s %9.1f %9.1f %8.1f\n", prle_op_kind_name((prle_op_kind)kind), 1e3 * t[0].wall_s, 1e3 * t[1].wall_s,
                   1e3 * t[2].wall_s);
        add(&forward, t[0]);
        for (int pass = 0; pass < PRLE_N_PASSES; pass++)
            add(&training, t[pass]);
        if (kind == PRLE_OP_CONV2D)
            print_total("convolutions alone", forward, training, batch, threads);
    }
    print_total("all operators", forward, training, batch, threads);
}

/* Every node of the network, equal ones once. */
static prle_status bench_net(const char *net, int64_t pixels, int64_t batch)
{
    const prle_net_opts opts = {.height = pixels, .width = pixels, .classes = 2};
    prle_graph *graph = NULL;
    prle_op_desc *seen = NULL;
    int *count = NULL, *first = NULL, n = 0;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_net_build(&graph, net, &opts));
    PRLE_TRY_OUT(PRLE_NEW(seen, graph->n_nodes));
    PRLE_TRY_OUT(PRLE_NEW(count, graph->n_nodes));
    PRLE_TRY_OUT(PRLE_NEW(first, graph->n_nodes));
    for (int i = 0; i < graph->n_nodes; i++) {
        prle_op_desc desc = graph->node[i].desc;
        int at = 0;
        if (impl_of(desc.kind) == NULL)
            continue;
        for (int j = 0; j < desc.n_in; j++)
            desc.in[j].dim[0] = batch;
        desc.dtype = PRLE_F32;
        PRLE_TRY_OUT(prle_op_infer(&desc));
        while (at < n && memcmp(&seen[at], &desc, sizeof desc) != 0)
            at++;
        n += at == n;
        seen[at] = desc;
        count[at]++;
        first[at] = graph->node[i].in[0] == 0;
    }
    for (int i = 0; i < n; i++)
        PRLE_TRY_OUT(bench_node(&seen[i], count[i], first[i]));
    print_totals((double)batch);
out:
    prle_free(seen);
    prle_free(count);
    prle_free(first);
    prle_graph_destroy(graph);
    return st;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s NET PIXELS BATCH, e.g. resnet50 256 16\n", argv[0]);
        return 2;
    }
    if (bench_net(argv[1], strtoll(argv[2], NULL, 10), strtoll(argv[3], NULL, 10)) != PRLE_OK) {
        fprintf(stderr, "%s\n", prle_error_message());
        return 1;
    }
    return 0;
}
