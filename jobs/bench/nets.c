/* nets.c - the suites of networks: train, infer, cam, and ops, which says where the time of a training step, or of logits, goes.
 */
#include <stdio.h>
#include <string.h>

#include "cam/cam.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "jobs/bench/subject.h"

static prle_bench_cell cell_of(const char *suite, const char *net, prle_dtype dtype)
{
    prle_bench_cell cell = {.unit = "images/s"};

    snprintf(cell.suite, sizeof cell.suite, "%s", suite);
    snprintf(cell.what, sizeof cell.what, "%s", net);
    snprintf(cell.dtype, sizeof cell.dtype, "%s", prle_dtype_name(dtype));
    return cell;
}

static prle_status speed(prle_bench_report *report, const prle_bench_opts *o, const char *net, prle_dtype dtype, bool training)
{
    prle_bench_cell cell = cell_of(training ? "train" : "infer", net, dtype);
    prle_subject s = {0};
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_subject_init(&s, o, net, dtype, training ? PRLE_SUBJECT_TRAINING : PRLE_SUBJECT_INFERENCE));
    PRLE_TRY_OUT(prle_rate_measure(&cell.rate, o, (double)o->batch, training ? prle_subject_train : prle_subject_infer, &s));
    prle_subject_deinit(&s); /* the ceiling wants the memory's caches to itself */
    if (o->ceiling)
        PRLE_TRY_OUT(prle_bench_ceiling(net, o, dtype, training, &cell.ceiling));
    PRLE_TRY_OUT(prle_bench_add(report, &cell));
out:
    prle_subject_deinit(&s);
    return st;
}

prle_status prle_bench_train(prle_bench_report *report, const prle_bench_opts *o, const char *net, prle_dtype dtype)
{
    return speed(report, o, net, dtype, true);
}

prle_status prle_bench_infer(prle_bench_report *report, const prle_bench_opts *o, const char *net, prle_dtype dtype)
{
    return speed(report, o, net, dtype, false);
}

/* ---- cam ---- */

typedef struct cam_subject {
    prle_subject s;
    prle_cam_engine *engine;
    double *maps;
} cam_subject;

static prle_status cam_run(void *ctx)
{
    cam_subject *c = ctx;

    return prle_cam_engine_run(c->engine, c->s.images, c->s.labels, c->s.batch, c->maps, NULL);
}

prle_status prle_bench_cam(prle_bench_report *report, const prle_bench_opts *o, const char *net, prle_dtype dtype)
{
    prle_bench_cell cell = cell_of("cam", net, dtype);
    prle_cam_opts opts = PRLE_CAM_OPTS_DEFAULT;
    cam_subject c = {.engine = NULL};
    int64_t height = 0, width = 0;
    prle_status st = PRLE_OK;

    opts.batch = o->batch;
    opts.dtype = dtype;
    PRLE_TRY_OUT(prle_subject_init(&c.s, o, net, dtype, PRLE_SUBJECT_BARE));
    opts.pixels = &c.s.pixels;
    PRLE_TRY_OUT(prle_cam_engine_create(&c.engine, c.s.model, &opts));
    prle_cam_engine_size(c.engine, &height, &width);
    PRLE_TRY_OUT(PRLE_NEW(c.maps, o->batch * height * width));
    PRLE_TRY_OUT(prle_rate_measure(&cell.rate, o, (double)o->batch, cam_run, &c));
    PRLE_TRY_OUT(prle_bench_add(report, &cell));
out:
    prle_cam_engine_destroy(c.engine);
    prle_free(c.maps);
    prle_subject_deinit(&c.s);
    return st;
}

/* ---- ops ---- */

/* What a step did, as a reader of the table would say it. */
static const char *work_of(const prle_plan_profile *p)
{
    if (strcmp(p->impl, "pack") == 0)
        return "packing";
    if (p->pass == PRLE_PASS_WEIGHTS)
        return "weights";
    return p->backward ? "backward" : "forward";
}

/* Adds a step to the row of its kind (or, with o->nodes, of its node too), making the row when there is none. */
static prle_status row_add(prle_bench_report *report, int first, const prle_bench_opts *o, const prle_bench_op *row)
{
    for (int i = first; i < report->n_ops; i++) {
        prle_bench_op *at = &report->ops[i];
        if (o->nodes || strcmp(at->part, row->part) != 0 || strcmp(at->what, row->what) != 0)
            continue;
        at->steps += row->steps;
        at->seconds += row->seconds;
        at->bytes += row->bytes;
        at->flop += row->flop;
        return PRLE_OK;
    }
    return prle_bench_add_op(report, row);
}

static bool is_depthwise(const prle_graph *g, const prle_plan_profile *p)
{
    prle_node node = -1;

    return p->kind == PRLE_OP_CONV2D && prle_graph_find(g, p->node, &node) == PRLE_OK && g->node[node].desc.u.conv2d.groups > 1;
}

static prle_status steps_add(prle_bench_report *report, const prle_bench_opts *o, const prle_subject *s, prle_dtype dtype,
                             int n_runs, double *sum)
{
    const int first = report->n_ops;

    *sum = 0;
    for (int i = 0; i < prle_plan_profile_count(s->plan); i++) {
        const prle_plan_profile p = prle_plan_profile_get(s->plan, i);
        prle_bench_op row = {.steps = 1, .seconds = p.seconds / n_runs, .bytes = (double)p.bytes, .flop = p.flop};

        snprintf(row.net, sizeof row.net, "%s", s->model->graph->name);
        snprintf(row.dtype, sizeof row.dtype, "%s", prle_dtype_name(dtype));
        snprintf(row.what, sizeof row.what, "%s", work_of(&p));
        if (o->nodes)
            snprintf(row.part, sizeof row.part, "%.40s %s %s", p.node, prle_op_kind_name(p.kind), p.impl);
        else
            snprintf(row.part, sizeof row.part, "%s%s %s", prle_op_kind_name(p.kind),
                     is_depthwise(s->model->graph, &p) ? " depthwise" : "", p.impl);
        *sum += row.seconds;
        PRLE_TRY(row_add(report, first, o, &row));
    }
    return PRLE_OK;
}

static prle_status outside_add(prle_bench_report *report, const prle_subject *s, prle_dtype dtype, const char *what,
                               double seconds, double bytes)
{
    prle_bench_op row = {.steps = 1, .seconds = seconds, .bytes = bytes};

    snprintf(row.net, sizeof row.net, "%s", s->model->graph->name);
    snprintf(row.dtype, sizeof row.dtype, "%s", prle_dtype_name(dtype));
    snprintf(row.part, sizeof row.part, "%s", what);
    snprintf(row.what, sizeof row.what, "step");
    return prle_bench_add_op(report, &row);
}

/* Seconds of one of RUNS updates that move nothing: norm, clipping and optimiser. */
static prle_status update_time(const prle_subject *s, double *seconds)
{
    enum { RUNS = 5 };
    const prle_learn_in in = {.labels = s->labels, .weights = s->ones, .lr = 0};
    prle_learn_out out[PRLE_TRAIN_MAX_PENDING];
    int n = 0;

    *seconds = 0;
    for (int i = 0; i < RUNS; i++) {
        PRLE_TRY(prle_learner_begin(s->learner, &in));
        PRLE_TRY(prle_device_wait(s->model->device));
        const double begin = prle_clock_s();
        PRLE_TRY(prle_learner_update(s->learner));
        prle_learner_end(s->learner);
        PRLE_TRY(prle_device_wait(s->model->device));
        *seconds += (prle_clock_s() - begin) / RUNS;
    }
    return prle_learner_results(s->learner, out, &n);
}

/* What a step does beside running its plan. The norm reads the gradients; Adam reads weights, gradients and two moments, and
 * writes all but the gradients. */
static prle_status outside(prle_bench_report *report, const prle_subject *s, prle_dtype dtype, double rest)
{
    const double bytes = (double)s->model->graph->n_weights * (double)prle_dtype_bytes(s->model->dtype);
    double update_s = 0;

    PRLE_TRY(update_time(s, &update_s));
    PRLE_TRY(outside_add(report, s, dtype, "norm and adam", update_s, 8 * bytes));
    return outside_add(report, s, dtype, "all else", rest > update_s ? rest - update_s : 0, 0);
}

/* Runs for o->seconds, each step of the plan timed: *n_runs times, *spent seconds in all. */
static prle_status profile_run(prle_subject *s, const prle_bench_opts *o, prle_status (*run)(void *subject), int *n_runs,
                               double *spent)
{
    PRLE_TRY(run(s)); /* touches every page, packs weights */
    PRLE_TRY(prle_plan_profile_begin(s->plan));
    const double begin = prle_clock_s();
    do {
        PRLE_TRY(run(s));
        ++*n_runs;
        *spent = prle_clock_s() - begin;
    } while (*spent < o->seconds);
    return PRLE_OK;
}

prle_status prle_bench_ops(prle_bench_report *report, const prle_bench_opts *o, const char *net, prle_dtype dtype)
{
    const prle_subject_what what = o->infer ? PRLE_SUBJECT_INFERENCE : PRLE_SUBJECT_TRAINING;
    prle_subject s = {0};
    prle_status st = PRLE_OK;
    double spent = 0, in_plan = 0;
    prle_train_step_result results[PRLE_TRAIN_MAX_PENDING];
    int n_runs = 0, n_results = 0;

    PRLE_TRY_OUT(prle_subject_init(&s, o, net, dtype, what));
    PRLE_TRY_OUT(profile_run(&s, o, o->infer ? prle_subject_infer : prle_subject_train, &n_runs, &spent));
    PRLE_TRY_OUT(steps_add(report, o, &s, dtype, n_runs, &in_plan));
    if (o->infer) {
        PRLE_TRY_OUT(outside_add(report, &s, dtype, "all else", spent / n_runs - in_plan, 0));
    } else {
        PRLE_TRY_OUT(prle_train_step_results(&s.step, results, &n_results)); /* none may be outstanding below */
        PRLE_TRY_OUT(outside(report, &s, dtype, spent / n_runs - in_plan));
    }
out:
    prle_subject_deinit(&s);
    return st;
}
