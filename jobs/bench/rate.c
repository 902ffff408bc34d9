/* rate.c - rounds, medians, and the list of results. */
#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "jobs/bench/bench.h"

enum { MAX_ROUNDS = 100 };

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double prle_bench_median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, compare);
    return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

prle_status prle_rate_measure(prle_rate *out, const prle_bench_opts *o, double units, prle_status (*run)(void *ctx), void *ctx)
{
    const int rounds = o->rounds < MAX_ROUNDS ? o->rounds : MAX_ROUNDS;
    double rate[MAX_ROUNDS];

    PRLE_TRY(run(ctx)); /* touches every page, packs weights, fills caches */
    PRLE_TRY(prle_device_wait(o->device));
    for (int r = 0; r < rounds; r++) {
        const double begin = prle_clock_s();
        int n = 0;
        do {
            PRLE_TRY(run(ctx));
            n++;
        } while (prle_clock_s() - begin < o->seconds / rounds);
        PRLE_TRY(prle_device_wait(o->device));
        rate[r] = n * units / (prle_clock_s() - begin);
    }
    out->median = prle_bench_median(rate, rounds);
    out->low = rate[0];
    out->high = rate[rounds - 1];
    return PRLE_OK;
}

prle_status prle_bench_add(prle_bench_report *report, const prle_bench_cell *cell)
{
    PRLE_TRY(prle_realloc((size_t)report->n_cells, (size_t)report->n_cells + 1, sizeof *report->cells,
                          (prle_any_ptr *)&report->cells));
    report->cells[report->n_cells++] = *cell;
    prle_log(PRLE_LOG_INFO, "bench", "%s %s%s%s: %.1f %s", cell->suite, cell->what, cell->dtype[0] != '\0' ? " " : "",
             cell->dtype, cell->rate.median, cell->unit);
    return PRLE_OK;
}

prle_status prle_bench_add_op(prle_bench_report *report, const prle_bench_op *op)
{
    PRLE_TRY(prle_realloc((size_t)report->n_ops, (size_t)report->n_ops + 1, sizeof *report->ops, (prle_any_ptr *)&report->ops));
    report->ops[report->n_ops++] = *op;
    return PRLE_OK;
}

void prle_bench_report_deinit(prle_bench_report *report)
{
    prle_free(report->cells);
    prle_free(report->ops);
    *report = (prle_bench_report){0};
}
