/* bench.h - what the suites of `prle bench` share: how a rate is measured, and the table their results go into. */
#pragma once
#include "core/comm.h"
#include "core/strings.h"
#include "core/types.h"
#include "nets/plan.h"

/** What is measured, from the command line. */
typedef struct prle_bench_opts {
    const prle_device *device; /* of suites of networks; in f64 they take the processor */
    int64_t size, batch;       /* images of size x size, batch at a time */
    int rounds;                /* the median of so many is reported */
    double seconds;            /* of a cell: all its rounds together, after a first run that is not counted */
    bool ceiling;              /* also the best of the convolutions alone */
    bool nodes;                /* ops: every step, not only kinds of operators */
    bool infer;                /* ops: of logits, not of a training step */
    int threads;               /* said in the answer */
    uint64_t seed;
    const char *data, *maps; /* of loader and run; NULL: made up */
} prle_bench_opts;

/** Units per second over several rounds. */
typedef struct prle_rate {
    double median, low, high;
} prle_rate;

/** Runs once to warm up, then in rounds; each run does `units` units of work. */
PRLE_NODISCARD prle_status prle_rate_measure(prle_rate *out, const prle_bench_opts *o, double units,
                                             prle_status (*run)(void *ctx), void *ctx);

/** One figure of the answer. */
typedef struct prle_bench_cell {
    char suite[16], what[64], dtype[8], unit[16]; /* dtype "" where there is none */
    prle_rate rate;
    double ceiling; /* in the same unit; 0: not asked for */
} prle_bench_cell;

/** Where the time of a training step, or of logits, goes: one row. */
typedef struct prle_bench_op {
    char net[32], dtype[8], part[64], what[24]; /* part: kind of operator, or node; what: "forward", "backward", "weights" */
    int steps;
    double seconds, bytes, flop; /* of one step; bytes and flop 0: not counted */
} prle_bench_op;

/** The figures so far; begin with {0}. */
typedef struct prle_bench_report {
    int n_cells, n_ops;
    prle_bench_cell *cells;
    prle_bench_op *ops;
} prle_bench_report;

/** Adds a copy, and says it on the log: long benches show how far they are. */
PRLE_NODISCARD prle_status prle_bench_add(prle_bench_report *report, const prle_bench_cell *cell);
PRLE_NODISCARD prle_status prle_bench_add_op(prle_bench_report *report, const prle_bench_op *op);
void prle_bench_report_deinit(prle_bench_report *report);

/* The suites. Networks: one net and element type at a time. */
PRLE_NODISCARD prle_status prle_bench_train(prle_bench_report *report, const prle_bench_opts *o, const char *net,
                                            prle_dtype dtype);
PRLE_NODISCARD prle_status prle_bench_infer(prle_bench_report *report, const prle_bench_opts *o, const char *net,
                                            prle_dtype dtype);
PRLE_NODISCARD prle_status prle_bench_cam(prle_bench_report *report, const prle_bench_opts *o, const char *net, prle_dtype dtype);
PRLE_NODISCARD prle_status prle_bench_ops(prle_bench_report *report, const prle_bench_opts *o, const char *net, prle_dtype dtype);
PRLE_NODISCARD prle_status prle_bench_fuse(prle_bench_report *report, const prle_bench_opts *o);
PRLE_NODISCARD prle_status prle_bench_loader(prle_bench_report *report, const prle_bench_opts *o);

/**
 * What nothing built on these operators can beat: the sum over the network's convolutions of the best time of each, alone, in
 * the layouts its implementation likes best; no other operator, reorder or packing is counted. Images per second.
 */
PRLE_NODISCARD prle_status prle_bench_ceiling(const char *net, const prle_bench_opts *o, prle_dtype dtype, bool training,
                                              double *images_per_s);

/** Median of values [n], which it sorts. */
double prle_bench_median(double *values, int n);
