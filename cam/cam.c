/* cam.c - see cam.h. */
#include "cam/cam.h"

#include <inttypes.h>
#include <string.h>

#include "cam/tail.h"
#include "core/alloc.h"
#include "core/attention.h"
#include "core/log.h"
#include "core/threads.h"
#include "nets/loss.h"

const char *const prle_cam_target_words[] = {
    [PRLE_CAM_LABEL] = "label", [PRLE_CAM_FAKE] = "fake", [PRLE_CAM_ARGMAX] = "argmax", NULL};
const char *const prle_cam_score_words[] = {[PRLE_CAM_PROB] = "prob", [PRLE_CAM_LOGIT] = "logit", NULL};

const char *const prle_cam_way_words[] = {
    [PRLE_CAM_FORWARD] = "without gradients", [PRLE_CAM_CLOSED] = "closed form", [PRLE_CAM_BACKWARD] = "backward", NULL};

/* What one thread needs for one image. */
typedef struct worker {
    double *values, *gradients; /* [C,P] at the largest node */
    double *scratch;            /* of the method */
} worker;

struct prle_cam_engine {
    prle_model *model;
    prle_cam_opts opts;
    prle_plan *plan;
    prle_cam_way way;
    prle_cam_tail tail[PRLE_PLAN_MAX_NODES]; /* CLOSED: of each node */
    int64_t height, width;                   /* of the maps */
    double *logits;                          /* room for [batch,classes]: logits, then seeds */
    double *scores;                          /* [batch] */
    double *value_room[PRLE_PLAN_MAX_NODES]; /* for the nodes' values and gradients in the host's memory, where the device's is */
    double *grad_room[PRLE_PLAN_MAX_NODES];  /* another; else NULL */
    const void *value[PRLE_PLAN_MAX_NODES], *grad[PRLE_PLAN_MAX_NODES]; /* of the batch: there, or in the device's memory */
    int64_t n;                                                          /* images of the last run */
    int64_t n_native;                                                   /* pixels of all nodes of an image */
    double *native;                                                     /* [batch,n_native] */
    double *resized;                                                    /* [height,width] */
    worker *workers;                                                    /* [n_workers] */
    int64_t n_workers, n_scratch;
};

static int64_t largest(int64_t a, int64_t b) { return a > b ? a : b; }

/* The nodes' shapes: size of the maps, and room for one image at any of them. */
static prle_status nodes_check(prle_cam_engine *e, int64_t *n_values)
{
    const prle_graph *g = e->model->graph;

    if (e->opts.nodes.n == 0)
        e->opts.nodes = (prle_nodes){.n = 1, .node = {g->cam}};
    for (int i = 0; i < e->opts.nodes.n; i++) {
        const prle_node node = e->opts.nodes.node[i];
        PRLE_CHECK(node >= 0 && node < g->n_nodes, PRLE_EINVAL, "%s: node %d: there are %d", g->name, node, g->n_nodes);
        const prle_shape *shape = &g->node[node].desc.out;
        PRLE_CHECK(shape->n == 4, PRLE_EINVAL, "%s: node %s is no image", g->name, g->node[node].name);
        const int64_t channels = shape->dim[1], pixels = shape->dim[2] * shape->dim[3];
        *n_values = largest(*n_values, channels * pixels);
        e->n_native += pixels;
        e->height = largest(e->height, shape->dim[2]);
        e->width = largest(e->width, shape->dim[3]);
    }
    return PRLE_OK;
}

static prle_cam_way way_choose(prle_cam_engine *e)
{
    if (!prle_cam_method_has_score(e->opts.method))
        return PRLE_CAM_FORWARD;
    for (int i = 0; i < e->opts.nodes.n; i++)
        if (e->opts.general || !prle_cam_tail_find(&e->tail[i], e->model->graph, e->opts.nodes.node[i]))
            return PRLE_CAM_BACKWARD;
    return PRLE_CAM_CLOSED;
}

static int64_t batch_values(const prle_cam_engine *e, int k)
{
    const prle_shape *shape = &e->model->graph->node[e->opts.nodes.node[k]].desc.out;

    return e->opts.batch * shape->dim[1] * shape->dim[2] * shape->dim[3];
}

static prle_status rooms_make(prle_cam_engine *e)
{
    for (int k = 0; k < e->opts.nodes.n && !e->model->device->host_memory; k++) {
        PRLE_TRY(PRLE_NEW(e->value_room[k], batch_values(e, k)));
        if (e->way == PRLE_CAM_BACKWARD)
            PRLE_TRY(PRLE_NEW(e->grad_room[k], batch_values(e, k)));
    }
    return PRLE_OK;
}

static prle_status workers_make(prle_cam_engine *e, int64_t n_values)
{
    e->n_workers = prle_threads_current();
    PRLE_TRY(PRLE_NEW(e->workers, e->n_workers));
    for (int64_t t = 0; t < e->n_workers; t++) {
        PRLE_TRY(PRLE_NEW(e->workers[t].values, n_values));
        PRLE_TRY(PRLE_NEW(e->workers[t].gradients, e->way == PRLE_CAM_FORWARD ? 0 : n_values));
    }
    return PRLE_OK;
}

/* Room for what that method wants. */
static prle_status scratch_require(prle_cam_engine *e, prle_cam_method method)
{
    int64_t n = 0;

    for (int i = 0; i < e->opts.nodes.n; i++) {
        const prle_shape *shape = &e->model->graph->node[e->opts.nodes.node[i]].desc.out;
        n = largest(n, prle_cam_method_scratch(method, shape->dim[1], shape->dim[2] * shape->dim[3]));
    }
    if (n <= e->n_scratch)
        return PRLE_OK;
    e->n_scratch = 0;
    for (int64_t t = 0; t < e->n_workers; t++) {
        prle_free(e->workers[t].scratch);
        e->workers[t].scratch = NULL;
        PRLE_TRY(PRLE_NEW(e->workers[t].scratch, n));
    }
    e->n_scratch = n;
    return PRLE_OK;
}

prle_status prle_cam_engine_create(prle_cam_engine **out, prle_model *model, const prle_cam_opts *opts)
{
    prle_status st = PRLE_OK;
    prle_cam_engine *e = NULL;
    prle_plan_opts plan = {.batch = opts->batch, .dtype = opts->dtype};
    int64_t n_values = 0;

    PRLE_TRY(PRLE_NEW(e, 1));
    e->model = model;
    e->opts = *opts;
    PRLE_TRY_OUT(prle_model_check_finite(model)); /* oneDNN's relu and max pool make NaN a number */
    PRLE_TRY_OUT(nodes_check(e, &n_values));
    e->way = way_choose(e);
    plan.keep = e->opts.nodes;
    if (e->way == PRLE_CAM_BACKWARD)
        plan.wanted = e->opts.nodes;
    PRLE_TRY_OUT(prle_plan_create(&e->plan, model, model->device, &plan));
    PRLE_TRY_OUT(rooms_make(e));
    PRLE_TRY_OUT(PRLE_NEW(e->logits, opts->batch * model->opts.classes));
    PRLE_TRY_OUT(PRLE_NEW(e->scores, opts->batch));
    PRLE_TRY_OUT(PRLE_NEW(e->native, opts->batch * e->n_native));
    PRLE_TRY_OUT(PRLE_NEW(e->resized, e->height * e->width));
    PRLE_TRY_OUT(workers_make(e, n_values));
    PRLE_TRY_OUT(scratch_require(e, opts->method));
    prle_log(PRLE_LOG_DEBUG, "cam", "%s: %s, %s", model->graph->name, prle_cam_method_words[opts->method],
             prle_cam_way_words[e->way]);
    *out = e;
    e = NULL;
out:
    prle_cam_engine_destroy(e);
    return st;
}

void prle_cam_engine_destroy(prle_cam_engine *e)
{
    if (e == NULL)
        return;
    prle_plan_destroy(e->plan);
    for (int k = 0; k < PRLE_PLAN_MAX_NODES; k++) {
        prle_free(e->value_room[k]);
        prle_free(e->grad_room[k]);
    }
    prle_free(e->logits);
    prle_free(e->scores);
    for (int64_t t = 0; e->workers != NULL && t < e->n_workers; t++) {
        prle_free(e->workers[t].values);
        prle_free(e->workers[t].gradients);
        prle_free(e->workers[t].scratch);
    }
    prle_free(e->workers);
    prle_free(e->native);
    prle_free(e->resized);
    prle_free(e);
}

void prle_cam_engine_size(const prle_cam_engine *e, int64_t *height, int64_t *width)
{
    *height = e->height;
    *width = e->width;
}

prle_cam_way prle_cam_engine_way(const prle_cam_engine *e) { return e->way; }

static int explained_class(const prle_cam_engine *e, const uint8_t *labels, int64_t i)
{
    switch (e->opts.target) {
    case PRLE_CAM_FAKE: return 1;
    case PRLE_CAM_ARGMAX: return e->scores[i] > 0.5;
    case PRLE_CAM_LABEL: break;
    }
    return labels[i];
}

/* seed [classes] = d score / d logits of an image explained as that class. */
static void seed_make(const prle_cam_engine *e, int explained, double seed[2])
{
    const double other = e->opts.score == PRLE_CAM_PROB ? -1 : 0;

    seed[0] = explained == 0 ? 1 : other;
    seed[1] = explained == 1 ? 1 : other;
    if (e->model->opts.classes == 1)
        seed[0] = explained == 1 ? 1 : -1;
}

/* out [n] = the model's numbers from `first` on. */
static void widen(const prle_cam_engine *e, double *out, const void *values, int64_t first, int64_t n)
{
    if (e->model->dtype == PRLE_F64)
        memcpy(out, (const double *)values + first, (size_t)n * sizeof *out);
    else
        for (int64_t i = 0; i < n; i++)
            out[i] = (double)((const float *)values)[first + i];
}

/* Map of image i at the k-th node, as the method gives it. */
static void node_weigh(const prle_cam_engine *e, const worker *w, prle_cam_method method, int k, int64_t i, int explained,
                       double *map)
{
    const prle_node node = e->opts.nodes.node[k];
    const prle_shape *shape = &e->model->graph->node[node].desc.out;
    const int64_t channels = shape->dim[1], pixels = shape->dim[2] * shape->dim[3], n = channels * pixels;
    double seed[2];

    widen(e, w->values, e->value[k], i * n, n);
    if (e->way == PRLE_CAM_BACKWARD)
        widen(e, w->gradients, e->grad[k], i * n, n);
    if (e->way == PRLE_CAM_CLOSED) {
        seed_make(e, explained, seed);
        prle_cam_tail_gradients(w->gradients, &e->tail[k], e->model, w->values, seed, channels, pixels);
    }
    prle_cam_method_run(method, map, w->values, w->gradients, channels, pixels, w->scratch);
}

/* Of all nodes and images, into e->native; each image by one thread, so that any number of threads gives the same bits. */
static void weigh(const prle_cam_engine *e, prle_cam_method method, const uint8_t *labels)
{
#pragma omp parallel for schedule(static, 1)
    for (int64_t t = 0; t < e->n_workers; t++)
        for (int64_t i = t; i < e->n; i += e->n_workers) {
            double *map = e->native + i * e->n_native;
            for (int k = 0; k < e->opts.nodes.n; k++) {
                const prle_shape *shape = &e->model->graph->node[e->opts.nodes.node[k]].desc.out;
                node_weigh(e, &e->workers[t], method, k, i, explained_class(e, labels, i), map);
                map += shape->dim[2] * shape->dim[3];
            }
        }
}

/* An image's maps normalised, at one size, averaged. */
static prle_status image_map(const prle_cam_engine *e, double *native, double *cam)
{
    const int64_t pixels = e->height * e->width;
    const int n = e->opts.nodes.n;

    for (int k = 0; k < n; k++) {
        const prle_shape *shape = &e->model->graph->node[e->opts.nodes.node[k]].desc.out;

        PRLE_TRY(prle_attention_normalise(native, shape->dim[2], shape->dim[3]));
        PRLE_TRY(prle_attention_resize(native, shape->dim[2], shape->dim[3], e->height, e->width, e->resized));
        for (int64_t p = 0; p < pixels; p++)
            cam[p] = (k > 0 ? cam[p] : 0) + e->resized[p] / n;
        native += shape->dim[2] * shape->dim[3];
    }
    return n > 1 ? prle_attention_normalise(cam, e->height, e->width) : PRLE_OK;
}

static prle_status maps_make(const prle_cam_engine *e, prle_cam_method method, const uint8_t *labels, double *cam)
{
    weigh(e, method, labels);
    for (int64_t i = 0; i < e->n; i++)
        if (image_map(e, e->native + i * e->n_native, cam + i * e->height * e->width) != PRLE_OK)
            return prle_error_prefix("%s: map of image %" PRId64 " of the batch", e->model->graph->name, i);
    return PRLE_OK;
}

static prle_status backward(prle_cam_engine *e, const uint8_t *labels, int64_t n)
{
    const int64_t classes = e->model->opts.classes;
    const size_t seeds_bytes = (size_t)(e->opts.batch * classes) * prle_dtype_bytes(e->model->dtype);
    void *seeds = e->logits; /* which have become scores */

    for (int64_t i = 0; i < e->opts.batch; i++) {
        double seed[2] = {0, 0};
        if (i < n)
            seed_make(e, explained_class(e, labels, i), seed);
        for (int64_t c = 0; c < classes; c++)
            if (e->model->dtype == PRLE_F64)
                ((double *)seeds)[i * classes + c] = seed[c];
            else
                ((float *)seeds)[i * classes + c] = (float)seed[c];
    }
    PRLE_TRY(e->model->device->copy_in(prle_plan_seed(e->plan), seeds, seeds_bytes));
    return prle_plan_backward(e->plan, NULL, NULL);
}

/* What the plan has computed, in the host's memory. */
static prle_status results_view(prle_cam_engine *e)
{
    const prle_device *device = e->model->device;

    for (int k = 0; k < e->opts.nodes.n; k++) {
        const prle_node node = e->opts.nodes.node[k];
        const size_t n_bytes = (size_t)batch_values(e, k) * prle_dtype_bytes(e->model->dtype);

        PRLE_TRY(prle_device_view(device, &e->value[k], prle_plan_value(e->plan, node), n_bytes, e->value_room[k]));
        if (e->way == PRLE_CAM_BACKWARD)
            PRLE_TRY(prle_device_view(device, &e->grad[k], prle_plan_grad(e->plan, node), n_bytes, e->grad_room[k]));
    }
    return PRLE_OK;
}

prle_status prle_cam_engine_run(prle_cam_engine *e, const void *images, const uint8_t *labels, int64_t n, double *cam,
                                double *scores)
{
    PRLE_TRY(prle_plan_input_set(e->plan, images, n));
    PRLE_TRY(prle_plan_forward(e->plan, NULL));
    PRLE_TRY(prle_plan_output_get(e->plan, e->logits, n));
    prle_scores(e->logits, n, e->model->opts.classes, e->model->dtype, e->scores);
    if (e->way == PRLE_CAM_BACKWARD)
        PRLE_TRY(backward(e, labels, n));
    PRLE_TRY(results_view(e));
    e->n = n;
    PRLE_TRY(maps_make(e, e->opts.method, labels, cam));
    if (scores != NULL)
        memcpy(scores, e->scores, (size_t)n * sizeof *scores);
    return PRLE_OK;
}

prle_status prle_cam_engine_again(prle_cam_engine *e, prle_cam_method method, const uint8_t *labels, double *cam)
{
    PRLE_CHECK(e->way != PRLE_CAM_FORWARD || !prle_cam_method_has_score(method), PRLE_EINVAL,
               "%s: %s wants gradients, which an engine for %s has not", e->model->graph->name, prle_cam_method_words[method],
               prle_cam_method_words[e->opts.method]);
    PRLE_TRY(scratch_require(e, method));
    return maps_make(e, method, labels, cam);
}
