/* cam.c - see cam.h. */
#include "cam/cam.h"

#include <string.h>

#include "cam/maps.h"
#include "core/alloc.h"
#include "core/log.h"
#include "nets/loss.h"

const char *const prle_cam_target_words[] = {
    [PRLE_CAM_LABEL] = "label", [PRLE_CAM_FAKE] = "fake", [PRLE_CAM_ARGMAX] = "argmax", NULL};
const char *const prle_cam_score_words[] = {[PRLE_CAM_PROB] = "prob", [PRLE_CAM_LOGIT] = "logit", NULL};

const char *const prle_cam_way_words[] = {
    [PRLE_CAM_FORWARD] = "without gradients", [PRLE_CAM_CLOSED] = "closed form", [PRLE_CAM_BACKWARD] = "backward", NULL};

struct prle_cam_engine {
    prle_model *model;
    prle_plan *plan;
    prle_cam_maps_desc desc; /* the options with nodes, how gradients are found, the size of the maps */
    void *own, *processor;   /* what makes maps: the device itself, the processor; NULL until needed */
    size_t image_bytes;      /* of one that comes in */
    double *logits;          /* room for [batch,classes]: logits, then seeds */
    double *scores;          /* [batch] */
    uint8_t *explained;      /* [batch] class of each image of the last run */
    int64_t n;               /* images of the last run */
};

static int64_t largest(int64_t a, int64_t b) { return a > b ? a : b; }

/* Which nodes, and the size of the maps. */
static prle_status nodes_check(prle_cam_maps_desc *d)
{
    const prle_graph *g = d->model->graph;

    if (d->opts.nodes.n == 0)
        d->opts.nodes = (prle_nodes){.n = 1, .node = {g->cam}};
    for (int i = 0; i < d->opts.nodes.n; i++) {
        const prle_node node = d->opts.nodes.node[i];
        PRLE_CHECK(node >= 0 && node < g->n_nodes, PRLE_EINVAL, "%s: node %d: there are %d", g->name, node, g->n_nodes);
        const prle_shape *shape = &g->node[node].desc.out;
        PRLE_CHECK(shape->n == 4, PRLE_EINVAL, "%s: node %s is no image", g->name, g->node[node].name);
        d->height = largest(d->height, shape->dim[2]);
        d->width = largest(d->width, shape->dim[3]);
    }
    return PRLE_OK;
}

static prle_cam_way way_choose(prle_cam_maps_desc *d)
{
    if (!prle_cam_method_has_score(d->opts.method))
        return PRLE_CAM_FORWARD;
    for (int i = 0; i < d->opts.nodes.n; i++)
        if (d->opts.general || !prle_cam_tail_find(&d->tail[i], d->model->graph, d->opts.nodes.node[i]))
            return PRLE_CAM_BACKWARD;
    return PRLE_CAM_CLOSED;
}

/* Who makes maps by that method; out arguments NULL: it will be wanted. */
static prle_status maker_require(prle_cam_engine *e, prle_cam_method method, const prle_cam_maps_ops **ops, void **maps)
{
    const prle_cam_maps_ops *device = e->model->device->cam;
    const bool own = device != NULL && device->has(method);
    const prle_cam_maps_ops *found = own ? device : &prle_cam_maps_processor;
    void **made = own ? &e->own : &e->processor;

    if (*made == NULL)
        PRLE_TRY(found->create(made, &e->desc));
    if (ops != NULL)
        *ops = found;
    if (maps != NULL)
        *maps = *made;
    return PRLE_OK;
}

prle_status prle_cam_engine_create(prle_cam_engine **out, prle_model *model, const prle_cam_opts *opts)
{
    prle_status st = PRLE_OK;
    prle_cam_engine *e = NULL;
    prle_plan_opts plan = {.batch = opts->batch, .dtype = opts->dtype, .pixels = opts->pixels};

    PRLE_TRY(PRLE_NEW(e, 1));
    e->model = model;
    e->desc = (prle_cam_maps_desc){.model = model, .opts = *opts};
    e->image_bytes =
        (size_t)(3 * model->opts.height * model->opts.width) * (opts->pixels != NULL ? 1 : prle_dtype_bytes(model->dtype));
    PRLE_TRY_OUT(prle_model_check_finite(model)); /* oneDNN's relu and max pool make NaN a number */
    PRLE_TRY_OUT(nodes_check(&e->desc));
    e->desc.way = way_choose(&e->desc);
    plan.keep = e->desc.opts.nodes;
    if (e->desc.way == PRLE_CAM_BACKWARD)
        plan.wanted = e->desc.opts.nodes;
    PRLE_TRY_OUT(prle_plan_create(&e->plan, model, model->device, &plan));
    e->desc.plan = e->plan;
    PRLE_TRY_OUT(maker_require(e, opts->method, NULL, NULL));
    PRLE_TRY_OUT(PRLE_NEW(e->logits, opts->batch * model->opts.classes));
    PRLE_TRY_OUT(PRLE_NEW(e->scores, opts->batch));
    PRLE_TRY_OUT(PRLE_NEW(e->explained, opts->batch));
    prle_log(PRLE_LOG_DEBUG, "cam", "%s: %s, %s", model->graph->name, prle_cam_method_words[opts->method],
             prle_cam_way_words[e->desc.way]);
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
    if (e->model->device->feed_ahead != NULL)
        (void)e->model->device->feed_ahead(NULL, 0);
    if (e->own != NULL)
        e->model->device->cam->destroy(e->own);
    prle_cam_maps_processor.destroy(e->processor);
    prle_plan_destroy(e->plan);
    prle_free(e->logits);
    prle_free(e->scores);
    prle_free(e->explained);
    prle_free(e);
}

void prle_cam_engine_size(const prle_cam_engine *e, int64_t *height, int64_t *width)
{
    *height = e->desc.height;
    *width = e->desc.width;
}

prle_cam_way prle_cam_engine_way(const prle_cam_engine *e) { return e->desc.way; }

static int explained_class(const prle_cam_engine *e, const uint8_t *labels, int64_t i)
{
    switch (e->desc.opts.target) {
    case PRLE_CAM_FAKE: return 1;
    case PRLE_CAM_ARGMAX: return e->scores[i] > 0.5;
    case PRLE_CAM_LABEL: break;
    }
    return labels[i];
}

static prle_status backward(prle_cam_engine *e, int64_t n)
{
    const int64_t classes = e->model->opts.classes;
    const size_t seeds_bytes = (size_t)(e->desc.opts.batch * classes) * prle_dtype_bytes(e->model->dtype);
    void *seeds = e->logits; /* which have become scores */

    for (int64_t i = 0; i < e->desc.opts.batch; i++) {
        double seed[2] = {0, 0};
        if (i < n)
            prle_cam_seed(seed, e->desc.opts.score, classes, e->explained[i]);
        for (int64_t c = 0; c < classes; c++)
            if (e->model->dtype == PRLE_F64)
                ((double *)seeds)[i * classes + c] = seed[c];
            else
                ((float *)seeds)[i * classes + c] = (float)seed[c];
    }
    PRLE_TRY(e->model->device->copy_in(prle_plan_seed(e->plan), seeds, seeds_bytes));
    return prle_plan_backward(e->plan, NULL, NULL);
}

static void explain(prle_cam_engine *e, const uint8_t *labels)
{
    for (int64_t i = 0; i < e->n; i++)
        e->explained[i] = (uint8_t)explained_class(e, labels, i);
}

static prle_status maps_make(prle_cam_engine *e, prle_cam_method method, double *cam)
{
    const prle_cam_maps_ops *ops = NULL;
    void *maps = NULL;

    PRLE_TRY(maker_require(e, method, &ops, &maps));
    if (ops->run(maps, method, e->explained, e->n, cam) != PRLE_OK)
        return prle_error_prefix("%s", e->model->graph->name);
    return PRLE_OK;
}

prle_status prle_cam_engine_begin(prle_cam_engine *e, const void *images, const uint8_t *labels, int64_t n)
{
    PRLE_TRY(prle_plan_input_set(e->plan, images, n));
    memcpy(e->explained, labels, (size_t)n);
    e->n = n;
    return prle_plan_forward(e->plan, NULL);
}

prle_status prle_cam_engine_ahead(prle_cam_engine *e, const void *images, int64_t n)
{
    const prle_device *device = e->model->device;

    return device->feed_ahead == NULL ? PRLE_OK : device->feed_ahead(images, (size_t)n * e->image_bytes);
}

prle_status prle_cam_engine_end(prle_cam_engine *e, double *cam, double *scores)
{
    PRLE_TRY(prle_plan_output_get(e->plan, e->logits, e->n));
    prle_scores(e->logits, e->n, e->model->opts.classes, e->model->dtype, e->scores);
    explain(e, e->explained); /* labels until here */
    if (e->desc.way == PRLE_CAM_BACKWARD)
        PRLE_TRY(backward(e, e->n));
    PRLE_TRY(maps_make(e, e->desc.opts.method, cam));
    if (scores != NULL)
        memcpy(scores, e->scores, (size_t)e->n * sizeof *scores);
    return PRLE_OK;
}

prle_status prle_cam_engine_run(prle_cam_engine *e, const void *images, const uint8_t *labels, int64_t n, double *cam,
                                double *scores)
{
    PRLE_TRY(prle_cam_engine_begin(e, images, labels, n));
    return prle_cam_engine_end(e, cam, scores);
}

prle_status prle_cam_engine_again(prle_cam_engine *e, prle_cam_method method, const uint8_t *labels, double *cam)
{
    PRLE_CHECK(e->desc.way != PRLE_CAM_FORWARD || !prle_cam_method_has_score(method), PRLE_EINVAL,
               "%s: %s wants gradients, which an engine for %s has not", e->model->graph->name, prle_cam_method_words[method],
               prle_cam_method_words[e->desc.opts.method]);
    explain(e, labels);
    return maps_make(e, method, cam);
}
