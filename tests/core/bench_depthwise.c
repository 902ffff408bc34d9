/* bench_depthwise.c - the depthwise convolutions of xception and efficientnet_b4: our kernels beside oneDNN's, each in its own
 * layouts, and beside the time that memory needs for the bytes of input and output; in f32, then in bfloat16 where the processor
 * has it. Usage: bench_depthwise [PIXELS [BATCH]]. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/alloc.h"
#include "core/op/impls.h"

enum { MAX_RUNS = 30 };
static const double budget_s = 0.25; /* per implementation, shape and pass */

typedef struct shape {
    int count; /* in the network */
    int64_t C, size, K, stride, before, after;
} shape;

/* At 256 pixels. */
static const shape xception[] = {{1, 64, 125, 3, 1, 1, 1},  {1, 128, 125, 3, 1, 1, 1}, {1, 128, 63, 3, 1, 1, 1},
                                 {1, 256, 63, 3, 1, 1, 1},  {1, 256, 32, 3, 1, 1, 1},  {1, 728, 32, 3, 1, 1, 1},
                                 {26, 728, 16, 3, 1, 1, 1}, {1, 1024, 8, 3, 1, 1, 1},  {1, 1536, 8, 3, 1, 1, 1}};
static const shape efficientnet_b4[] = {{1, 48, 128, 3, 1, 1, 1}, {1, 24, 128, 3, 1, 1, 1}, {1, 144, 128, 3, 2, 0, 1},
                                        {3, 192, 64, 3, 1, 1, 1}, {1, 192, 64, 5, 2, 2, 2}, {3, 336, 32, 5, 1, 2, 2},
                                        {1, 336, 32, 3, 2, 0, 1}, {5, 672, 16, 3, 1, 1, 1}, {1, 672, 16, 5, 1, 2, 2},
                                        {5, 960, 16, 5, 1, 2, 2}, {1, 960, 16, 5, 2, 1, 2}, {7, 1632, 8, 5, 1, 2, 2},
                                        {1, 1632, 8, 3, 1, 1, 1}, {1, 2688, 8, 3, 1, 1, 1}};

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Bytes read and written per second by two threads that copy 12 MiB each, the best of several. */
static double copy_bandwidth(void)
{
    const size_t n = (size_t)12 << 20;
    unsigned char *from = NULL, *to = NULL;
    double best = HUGE_VAL;

    if (prle_alloc(2 * n, 1, (prle_any_ptr *)&from) != PRLE_OK || prle_alloc(2 * n, 1, (prle_any_ptr *)&to) != PRLE_OK)
        return 0;
    memset(from, 1, 2 * n);
    for (int i = 0; i < MAX_RUNS; i++) {
        const double t0 = now_s();
#pragma omp parallel for
        for (int t = 0; t < 2; t++)
            memcpy(to + (size_t)t * n, from + (size_t)t * n, n);
        best = fmin(best, now_s() - t0);
    }
    prle_free(from);
    prle_free(to);
    return 4 * (double)n / best;
}

/* Zeroed or, as f32, random. */
static prle_status buffer(const prle_layout *layout, void **out)
{
    PRLE_TRY(prle_alloc(layout->n_bytes, 1, (prle_any_ptr *)out));
    for (size_t i = 0; i < layout->n_bytes / sizeof(float) && layout->dtype == PRLE_F32; i++)
        ((float *)*out)[i] = (float)(i * 2654435761u % 1000) / 500 - 1;
    return PRLE_OK;
}

/* The shortest of several runs. */
static prle_status repeat(const prle_op_impl *impl, const void *state, prle_op_pass pass, const prle_op_args *args, double *out)
{
    const double begin = now_s();

    PRLE_TRY(impl->run(state, pass, args));
    *out = HUGE_VAL;
    for (int i = 0; i < MAX_RUNS && (i < 3 || now_s() - begin < budget_s); i++) {
        const double t0 = now_s();
        PRLE_TRY(impl->run(state, pass, args));
        *out = fmin(*out, now_s() - t0);
    }
    return PRLE_OK;
}

static prle_status time_pass(const prle_op_impl *impl, const prle_op_desc *desc, prle_op_pass pass, double *out)
{
    const prle_op_run_info info = {.n_valid = desc->in[0].dim[0]};
    prle_op_args args = {.info = &info};
    prle_op_plan plan = {.training = true};
    void *in = NULL, *dout = NULL, *weight = NULL, *dweight = NULL, *din = NULL;
    prle_status st = PRLE_OK;

    plan.in[0] = plan.din[0] = prle_layout_plain(desc->memory, &desc->in[0]);
    plan.out = plan.dout = prle_layout_plain(desc->memory, &desc->out);
    plan.param[0] = plan.dparam[0] = prle_layout_plain(PRLE_F32, &desc->param[0]);
    PRLE_TRY(impl->plan(desc, pass, &plan));
    PRLE_TRY_OUT(buffer(&plan.in[0], &in));
    PRLE_TRY_OUT(buffer(&plan.din[0], &din));
    PRLE_TRY_OUT(buffer(&plan.out, &args.out));
    PRLE_TRY_OUT(buffer(&plan.dout, &dout));
    PRLE_TRY_OUT(buffer(&plan.param[0], &weight));
    PRLE_TRY_OUT(buffer(&plan.dparam[0], &dweight));
    PRLE_TRY_OUT(prle_alloc(plan.scratch_bytes, 1, (prle_any_ptr *)&args.scratch));
    args.in[0] = in;
    args.din[0] = din;
    args.dout = dout;
    args.param[0] = weight;
    args.dparam[0] = dweight;
    PRLE_TRY_OUT(repeat(impl, plan.state, pass, &args, out));
out:
    prle_free(in);
    prle_free(din);
    prle_free(args.out);
    prle_free(dout);
    prle_free(weight);
    prle_free(dweight);
    prle_free(args.scratch);
    if (impl->destroy != NULL)
        impl->destroy(plan.state);
    else
        prle_free(plan.state);
    return st;
}

typedef struct sums {
    double bound, ours[PRLE_N_PASSES], dnnl[PRLE_N_PASSES];
} sums;

static prle_status bench_shape(const shape *s, prle_dtype memory, int64_t pixels, int64_t batch, double bandwidth, sums *total)
{
    const int64_t size = s->size * pixels / 256, block = 16;
    prle_op_desc desc = {.kind = PRLE_OP_CONV2D, .n_in = 1, .in = {PRLE_SHAPE(batch, s->C, size, size)}, .dtype = PRLE_F32};

    desc.memory = memory;
    desc.u.conv2d = (prle_conv2d_attrs){.n_out = s->C,
                                        .kernel_h = s->K,
                                        .kernel_w = s->K,
                                        .stride = s->stride,
                                        .pad_top = s->before,
                                        .pad_left = s->before,
                                        .pad_bottom = s->after,
                                        .pad_right = s->after,
                                        .groups = s->C};
    PRLE_TRY(prle_op_infer(&desc));
    const double planes = (double)(batch * ((s->C + block - 1) / block * block));
    const double bytes = planes * (double)(size * size + desc.out.dim[2] * desc.out.dim[3]) * (double)prle_dtype_bytes(memory);
    const double bound = bytes / bandwidth;
    printf("%3dx %4" PRId64 " x %3" PRId64 "  %" PRId64 "x%" PRId64 "/%" PRId64 "  %7.3f", s->count, s->C, size, s->K, s->K,
           s->stride, 1e3 * bound);
    total->bound += s->count * bound;
    for (int pass = 0; pass < PRLE_N_PASSES; pass++) {
        double ours = 0, dnnl = 0;
        PRLE_TRY(time_pass(&prle_conv2d_depthwise, &desc, (prle_op_pass)pass, &ours));
        PRLE_TRY(time_pass(&prle_conv2d_dnnl, &desc, (prle_op_pass)pass, &dnnl));
        printf("  | %8.3f %8.3f %6.2f", 1e3 * dnnl, 1e3 * ours, dnnl / ours);
        total->ours[pass] += s->count * ours;
        total->dnnl[pass] += s->count * dnnl;
    }
    printf("\n");
    fflush(stdout);
    return PRLE_OK;
}

static prle_status bench_net(const char *net, const shape *shapes, size_t n, prle_dtype memory, int64_t pixels, int64_t batch,
                             double bandwidth)
{
    sums total = {0};

    printf("%s in %s, milliseconds: bound | forward: oneDNN, ours, ratio | data gradient | weight gradient\n", net,
           prle_dtype_name(memory));
    for (size_t i = 0; i < n; i++)
        PRLE_TRY(bench_shape(&shapes[i], memory, pixels, batch, bandwidth, &total));
    printf("%-20s %7.2f", "sum", 1e3 * total.bound);
    for (int pass = 0; pass < PRLE_N_PASSES; pass++)
        printf("  | %8.2f %8.2f %6.2f", 1e3 * total.dnnl[pass], 1e3 * total.ours[pass], total.dnnl[pass] / total.ours[pass]);
    printf("\n");
    return PRLE_OK;
}

static prle_status bench(int64_t pixels, int64_t batch)
{
    static const prle_dtype types[] = {PRLE_F32, PRLE_BF16};
    const double bandwidth = copy_bandwidth();

    printf("copy bandwidth %.1f GB/s, batch %" PRId64 " at %" PRId64 " pixels\n", 1e-9 * bandwidth, batch, pixels);
    for (int i = 0; i < (prle_dnnl_has_bf16() ? 2 : 1); i++) {
        PRLE_TRY(bench_net("xception", xception, sizeof xception / sizeof *xception, types[i], pixels, batch, bandwidth));
        PRLE_TRY(bench_net("efficientnet_b4", efficientnet_b4, sizeof efficientnet_b4 / sizeof *efficientnet_b4, types[i], pixels,
                           batch, bandwidth));
    }
    return PRLE_OK;
}

int main(int argc, char **argv)
{
    if (bench(argc > 1 ? strtoll(argv[1], NULL, 10) : 256, argc > 2 ? strtoll(argv[2], NULL, 10) : 16) != PRLE_OK) {
        fprintf(stderr, "%s\n", prle_error_message());
        return 1;
    }
    return 0;
}
