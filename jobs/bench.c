/* bench.c - `prle bench`: how fast this machine is at each part, and where the time goes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/json.h"
#include "core/table.h"
#include "core/version.h"
#include "jobs/bench/bench.h"
#include "jobs/bench/card.h"
#include "jobs/command.h"

enum { MAX_DTYPES = 3 };

typedef struct bench_args {
    prle_common common;
    prle_bench_opts bench;
    prle_strings suites, nets, dtypes;
    const char *model;
    int64_t logits;
} bench_args;

typedef prle_status (*net_suite)(prle_bench_report *report, const prle_bench_opts *o, const char *net, prle_dtype dtype);
typedef prle_status (*plain_suite)(prle_bench_report *report, const prle_bench_opts *o);

/* In the order of the way of the data. */
static const struct {
    const char *name;
    net_suite of_net; /* once for each network and type */
    plain_suite plain;
} suites[] = {
    {.name = "train", .of_net = prle_bench_train},  {.name = "infer", .of_net = prle_bench_infer},
    {.name = "cam", .of_net = prle_bench_cam},      {.name = "fuse", .plain = prle_bench_fuse},
    {.name = "loader", .plain = prle_bench_loader}, {.name = "ops", .of_net = prle_bench_ops},
};
enum { N_SUITES = sizeof suites / sizeof suites[0] };
static const char *const suite_words[N_SUITES + 1] = {"train", "infer", "cam", "fuse", "loader", "ops", NULL};
static const char *const dtype_words[] = {"f32", "f64", "bf16", NULL};

static const prle_option options[] = {
    {PRLE_OPTION_AT(bench_args, suites), .name = "suite", .positional = true, .words = suite_words, .value = "SUITE",
     .help =
         "train: whole steps (forward, loss, backward, Adam); infer: logits; cam: Grad-CAM maps; fuse: primary regions; loader: "
         "CPU time of loading and masking an image; ops: where the time of a training step, or with --infer of logits, goes"},
    {PRLE_OPTION_AT(bench_args, nets), .name = "net", .words = prle_net_words, .value = "NET", .help = "networks to measure"},
    {PRLE_OPTION_AT(bench_args, bench.size), .name = "size", .min = 32, .max = 1024, .unit = "px",
     .help = "height and width of the input"},
    {PRLE_OPTION_AT(bench_args, bench.batch), .name = "batch", .letter = 'b', .min = 1, .max = 4096, .unit = "images",
     .help = "computed at a time"},
    {PRLE_OPTION_AT(bench_args, dtypes), .name = "dtypes", .words = dtype_words, .min = 1, .max = MAX_DTYPES,
     .help = "element types to measure; --dtype gives a single one"},
    {PRLE_OPTION_AT(bench_args, bench.rounds), .name = "rounds", .min = 1, .max = 100,
     .help = "the median of so many is shown, with the lowest and highest"},
    {PRLE_OPTION_AT(bench_args, bench.seconds), .name = "seconds", .min = 0, .max = 3600, .unit = "s",
     .help = "of each figure, all rounds together; 0: each round one run. With --model 0 measures nothing"},
    {PRLE_OPTION_AT(bench_args, bench.ceiling), .name = "ceiling",
     .help = "train, infer: also the sum of the best times of the convolutions alone, and which share of it is reached"},
    {PRLE_OPTION_AT(bench_args, bench.nodes), .name = "nodes",
     .help = "ops: every step of the plan, not only kinds of operators"},
    {PRLE_OPTION_AT(bench_args, bench.infer), .name = "infer", .help = "ops: of computing logits, not of a training step"},
    {PRLE_OPTION_AT(bench_args, bench.data), .name = "data", .letter = 'd', .value = "FILE",
     .help = "loader: a face store of your own, by default one made up"},
    {PRLE_OPTION_AT(bench_args, bench.maps), .name = "maps", .letter = 'm', .value = "FILE", .help = "loader: its maps"},

    {PRLE_OPTION_AT(bench_args, model), .name = "model", .words = prle_net_words, .value = "NET", .group = "Model card",
     .help = "no suites, but what this network costs: parameters, multiply-accumulates, activation memory, images/s"},
    {PRLE_OPTION_AT(bench_args, logits), .name = "logits", .min = 1, .max = 100000, .help = "outputs that the card counts with"},
    PRLE_OPTION_END,
};

static prle_status dtypes_resolve(const bench_args *a, const prle_job *job, prle_dtype out[MAX_DTYPES], int *n)
{
    *n = 0;
    if (strcmp(prle_options_origin(job->options, "dtype"), "default") != 0 &&
        strcmp(prle_options_origin(job->options, "dtypes"), "default") == 0) {
        out[(*n)++] = a->common.dtype;
        return PRLE_OK;
    }
    for (int64_t i = 0; i < a->dtypes.n; i++)
        PRLE_TRY(prle_dtype_parse(a->dtypes.item[i], &out[(*n)++]));
    return PRLE_OK;
}

/* A name misspelt is said before minutes are spent. */
static prle_status nets_check(const bench_args *a)
{
    const prle_net_opts opts = {.height = a->bench.size, .width = a->bench.size, .classes = 2};

    for (int64_t i = 0; i < a->nets.n; i++) {
        prle_graph *g = NULL;
        PRLE_TRY(prle_net_build(&g, a->nets.item[i], &opts));
        prle_graph_destroy(g);
    }
    return PRLE_OK;
}

static prle_status suite_run(prle_bench_report *report, const bench_args *a, int suite, const prle_dtype *dtypes, int n_dtypes)
{
    if (suites[suite].plain != NULL)
        return suites[suite].plain(report, &a->bench);
    for (int64_t i = 0; i < a->nets.n; i++)
        for (int d = 0; d < n_dtypes; d++)
            PRLE_TRY(suites[suite].of_net(report, &a->bench, a->nets.item[i], dtypes[d]));
    return PRLE_OK;
}

/* ---- the answer ---- */

static void header_add(prle_table *table, const char *const *words)
{
    for (int i = 0; words[i] != NULL; i++)
        prle_table_add(table, "%s", words[i]);
}

static prle_status table_print(prle_table *table)
{
    char *text = NULL;

    PRLE_TRY(prle_table_take(table, PRLE_TABLE_TEXT, &text));
    printf("%s", text);
    prle_free(text);
    return PRLE_OK;
}

static prle_status cells_print(const prle_bench_report *r)
{
    static const char *const header[] = {"suite",   "what", "type",    "median", "lowest",
                                         "highest", "unit", "ceiling", "of it",  NULL};
    prle_table table = {.columns = "lllrrrlrr"};

    header_add(&table, header);
    for (int i = 0; i < r->n_cells; i++) {
        const prle_bench_cell *c = &r->cells[i];
        prle_table_add(&table, "%s", c->suite);
        prle_table_add(&table, "%s", c->what);
        prle_table_add(&table, "%s", c->dtype);
        prle_table_add(&table, "%.1f", c->rate.median);
        prle_table_add(&table, "%.1f", c->rate.low);
        prle_table_add(&table, "%.1f", c->rate.high);
        prle_table_add(&table, "%s", c->unit);
        if (c->ceiling > 0) {
            prle_table_add(&table, "%.1f", c->ceiling);
            prle_table_add(&table, "%.0f %%", 100 * c->rate.median / c->ceiling);
        } else {
            prle_table_add(&table, "-");
            prle_table_add(&table, "-");
        }
    }
    return table_print(&table);
}

static void per_second_add(prle_table *table, double amount, double seconds)
{
    if (amount > 0 && seconds > 0)
        prle_table_add(table, "%.1f", 1e-9 * amount / seconds);
    else
        prle_table_add(table, "-");
}

static int dearer_first(const void *a, const void *b)
{
    const double x = ((const prle_bench_op *)a)->seconds, y = ((const prle_bench_op *)b)->seconds;

    return (x < y) - (x > y);
}

/* Steps stay in their order; kinds of operators are ordered by what they cost. */
static prle_status ops_print_one(const bench_args *a, const prle_bench_report *r, int first, int end)
{
    static const char *const header[] = {"operator", "pass", "steps", "ms", "share", "GB", "GB/s", "GFLOP", "GFLOP/s", NULL};
    prle_table table = {.columns = "llrrrrrrr"};
    double total = 0;

    if (!a->bench.nodes)
        qsort(r->ops + first, (size_t)(end - first), sizeof *r->ops, dearer_first);
    for (int i = first; i < end; i++)
        total += r->ops[i].seconds;
    printf("\n%s %s: %s, %.1f ms\n", r->ops[first].net, r->ops[first].dtype, a->bench.infer ? "logits" : "a training step",
           1e3 * total);
    header_add(&table, header);
    for (int i = first; i < end; i++) {
        const prle_bench_op *op = &r->ops[i];
        prle_table_add(&table, "%s", op->part);
        prle_table_add(&table, "%s", op->what);
        prle_table_add(&table, "%d", op->steps);
        prle_table_add(&table, "%.2f", 1e3 * op->seconds);
        prle_table_add(&table, "%.1f %%", 100 * op->seconds / total);
        prle_table_add(&table, "%.3f", 1e-9 * op->bytes);
        per_second_add(&table, op->bytes, op->seconds);
        if (op->flop > 0)
            prle_table_add(&table, "%.1f", 1e-9 * op->flop);
        else
            prle_table_add(&table, "-");
        per_second_add(&table, op->flop, op->seconds);
    }
    return table_print(&table);
}

/* The end of the rows of one network and type. */
static int ops_end(const prle_bench_report *r, int first)
{
    int end = first;

    while (end < r->n_ops && strcmp(r->ops[end].net, r->ops[first].net) == 0 &&
           strcmp(r->ops[end].dtype, r->ops[first].dtype) == 0)
        end++;
    return end;
}

static prle_status report_print(const bench_args *a, const prle_bench_report *r)
{
    printf("prle %s, onednn %s (%s), %d threads, batch %" PRId64 ", %" PRId64 " px, %d rounds\n", prle_version(),
           prle_version_dnnl(), prle_version_dnnl_isa(), a->bench.threads, a->bench.batch, a->bench.size, a->bench.rounds);
    if (r->n_cells > 0)
        PRLE_TRY(cells_print(r));
    for (int first = 0; first < r->n_ops; first = ops_end(r, first))
        PRLE_TRY(ops_print_one(a, r, first, ops_end(r, first)));
    return PRLE_OK;
}

static void cells_add_json(const prle_bench_report *r, prle_json_writer *json)
{
    prle_json_begin_list(json, "cells");
    for (int i = 0; i < r->n_cells; i++) {
        const prle_bench_cell *c = &r->cells[i];
        prle_json_begin_object(json, NULL);
        prle_json_add_text(json, "suite", c->suite);
        prle_json_add_text(json, "what", c->what);
        prle_json_add_text(json, "dtype", c->dtype[0] != '\0' ? c->dtype : NULL);
        prle_json_add_text(json, "unit", c->unit);
        prle_json_add_double(json, "median", c->rate.median);
        prle_json_add_double(json, "low", c->rate.low);
        prle_json_add_double(json, "high", c->rate.high);
        if (c->ceiling > 0)
            prle_json_add_double(json, "ceiling", c->ceiling);
        prle_json_end(json);
    }
    prle_json_end(json);
}

static void ops_add_json(const prle_bench_report *r, prle_json_writer *json)
{
    prle_json_begin_list(json, "ops");
    for (int i = 0; i < r->n_ops; i++) {
        const prle_bench_op *op = &r->ops[i];
        prle_json_begin_object(json, NULL);
        prle_json_add_text(json, "net", op->net);
        prle_json_add_text(json, "dtype", op->dtype);
        prle_json_add_text(json, "operator", op->part);
        prle_json_add_text(json, "pass", op->what);
        prle_json_add_int(json, "steps", op->steps);
        prle_json_add_double(json, "seconds", op->seconds);
        prle_json_add_double(json, "bytes", op->bytes);
        prle_json_add_double(json, "flop", op->flop);
        prle_json_end(json);
    }
    prle_json_end(json);
}

static prle_status json_print(const bench_args *a, const prle_bench_report *r, const prle_model_card *card)
{
    prle_json_writer json = {0};

    prle_json_begin_object(&json, NULL);
    prle_json_add_text(&json, "version", prle_version());
    prle_json_add_text(&json, "onednn", prle_version_dnnl());
    prle_json_add_text(&json, "onednn_instructions", prle_version_dnnl_isa());
    prle_json_add_int(&json, "threads", a->bench.threads);
    prle_json_add_int(&json, "batch", a->bench.batch);
    prle_json_add_int(&json, "size_px", a->bench.size);
    prle_json_add_int(&json, "rounds", a->bench.rounds);
    if (card != NULL)
        prle_model_card_add_json(card, &json);
    else {
        cells_add_json(r, &json);
        ops_add_json(r, &json);
    }
    prle_json_end(&json);
    return prle_job_json_print(&json);
}

/* ---- running ---- */

static prle_status card_run(const bench_args *a, const prle_dtype *dtypes, int n_dtypes)
{
    prle_model_card card;

    PRLE_TRY(prle_model_card_make(&card, &a->bench, a->model, a->logits, dtypes, n_dtypes));
    return a->common.json ? json_print(a, NULL, &card) : prle_model_card_print(&card);
}

static prle_status suites_run(const bench_args *a, const prle_dtype *dtypes, int n_dtypes)
{
    prle_bench_report report = {0};
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(nets_check(a));
    for (int64_t i = 0; i < a->suites.n; i++)
        for (int s = 0; s < N_SUITES; s++)
            if (strcmp(a->suites.item[i], suites[s].name) == 0)
                PRLE_TRY_OUT(suite_run(&report, a, s, dtypes, n_dtypes));
    PRLE_TRY_OUT(a->common.json ? json_print(a, &report, NULL) : report_print(a, &report));
out:
    prle_bench_report_deinit(&report);
    return st;
}

static prle_status run(void *args, const prle_job *job)
{
    bench_args *a = args;
    prle_dtype dtypes[MAX_DTYPES];
    int n_dtypes = 0;

    a->bench.device = job->device;
    a->bench.threads = job->threads;
    a->bench.seed = a->common.seed;
    PRLE_TRY(dtypes_resolve(a, job, dtypes, &n_dtypes));
    return a->model != NULL ? card_run(a, dtypes, n_dtypes) : suites_run(a, dtypes, n_dtypes);
}

static const bench_args defaults = {.common = PRLE_COMMON_DEFAULT,
                                    .bench = {.size = 256, .batch = 16, .rounds = 5, .seconds = 10},
                                    .suites = {.item = (char *[]){"train", "infer"}, .n = 2},
                                    .nets = {.item = (char *[]){"xception", "resnet50"}, .n = 2},
                                    .dtypes = {.item = (char *[]){"f32", "bf16"}, .n = 2},
                                    .logits = 2};

extern const prle_command prle_command_bench;
const prle_command prle_command_bench = {
    .spec =
        {.command = "bench",
         .summary = "measure speed on this machine, and say where the time goes",
         .description =
             "Runs one part at a time on made-up data and shows the median of several rounds beside the lowest and the highest: "
             "where these lie far apart, something else was running. --ceiling shows what the convolutions alone would allow. "
             "ops splits a training step (--infer: the computing of logits) by operator: bytes are what must be moved at least, "
             "so GB/s near the memory's mean that memory bounds it, and GFLOP/s near the ceiling's that arithmetic does. "
             "docs/performance.md reads such tables.",
         .examples = "prle bench\n"
                     "prle bench train infer --net resnet50 --dtypes bf16 --ceiling\n"
                     "prle bench ops --net xception --dtype f32 --nodes\n"
                     "prle bench ops --net efficientnet_b4 --infer\n"
                     "prle bench fuse loader --threads 1 --json\n"
                     "prle bench --model xception --size 299 --batch 64 --seconds 0",
         .parts = (const prle_option_part[]){{.options = options}, {0}}},
    .args_bytes = sizeof(bench_args),
    .defaults = &defaults,
    .computes = true,
    .run = run,
};
