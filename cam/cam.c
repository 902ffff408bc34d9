/* cam.c - see cam.h. */
#include "cam/cam.h"

#include <inttypes.h>
#include <string.h>

#include "core/alloc.h"
#include "core/attention.h"
#include "core/log.h"
#include "nets/loss.h"

const char *const prle_cam_target_words[] = {
    [PRLE_CAM_LABEL] = "label", [PRLE_CAM_FAKE] = "fake", [PRLE_CAM_ARGMAX] = "argmax", NULL};
const char *const prle_cam_score_words[] = {[PRLE_CAM_PROB] = "prob", [PRLE_CAM_LOGIT] = "logit", NULL};

struct prle_cam_engine {
    prle_model *model;
    prle_cam_opts opts;
    prle_plan *plan;
    int head;              /* closed form: the weight segment of the linear layer behind the pool, else -1 */
    int64_t height, width; /* of the maps */
    double *scores;        /* [batch] */
    double *weights;       /* [channels of the widest node] */
    double *sum;           /* [h w of the largest native map] */
    float *native, *resized;
};

/* The only node that reads n; -1 when there are several or none. */
static prle_node only_reader(const prle_graph *g, prle_node n)
{
    prle_node reader = -1;

    for (prle_node m = n + 1; m < g->n_nodes; m++)
        for (int i = 0; i < g->node[m].desc.n_in; i++)
            if (g->node[m].in[i] == n) {
                if (reader >= 0)
                    return -1;
                reader = m;
            }
    return reader;
}

/* node - global mean - [dropout] - linear = output: the gradient at each pixel is the linear weight over UV. */
static int closed_form_head(const prle_graph *g, prle_node node)
{
    prle_node next = only_reader(g, node);

    if (next < 0 || g->node[next].desc.kind != PRLE_OP_POOL || !g->node[next].desc.u.pool.global)
        return -1;
    next = only_reader(g, next);
    if (next >= 0 && g->node[next].desc.kind == PRLE_OP_DROPOUT)
        next = only_reader(g, next);
    return next == g->output && g->node[next].desc.kind == PRLE_OP_LINEAR ? g->node[next].param[0] : -1;
}

static prle_status nodes_check(prle_cam_engine *e, int64_t *channels)
{
    const prle_graph *g = e->model->graph;

    if (e->opts.nodes.n == 0)
        e->opts.nodes = (prle_nodes){.n = 1, .node = {g->cam}};
    for (int i = 0; i < e->opts.nodes.n; i++) {
        const prle_node node = e->opts.nodes.node[i];
        PRLE_CHECK(node >= 0 && node < g->n_nodes, PRLE_EINVAL, "%s: node %d: there are %d", g->name, node, g->n_nodes);
        const prle_shape *shape = &g->node[node].desc.out;
        PRLE_CHECK(shape->n == 4, PRLE_EINVAL, "%s: node %s is no image", g->name, g->node[node].name);
        *channels = shape->dim[1] > *channels ? shape->dim[1] : *channels;
        e->height = shape->dim[2] > e->height ? shape->dim[2] : e->height;
        e->width = shape->dim[3] > e->width ? shape->dim[3] : e->width;
    }
    return PRLE_OK;
}

prle_status prle_cam_engine_create(prle_cam_engine **out, prle_model *model, const prle_cam_opts *opts)
{
    prle_status st = PRLE_OK;
    prle_cam_engine *e = NULL;
    prle_plan_opts plan = {.batch = opts->batch, .dtype = opts->dtype};
    int64_t channels = 0;

    PRLE_TRY(PRLE_NEW(e, 1));
    e->model = model;
    e->opts = *opts;
    e->head = -1;
    PRLE_TRY_OUT(nodes_check(e, &channels));
    if (!opts->general && e->opts.nodes.n == 1)
        e->head = closed_form_head(model->graph, e->opts.nodes.node[0]);
    plan.keep = e->opts.nodes;
    if (e->head < 0)
        plan.wanted = e->opts.nodes;
    PRLE_TRY_OUT(prle_plan_create(&e->plan, model, prle_device_cpu(), &plan));
    PRLE_TRY_OUT(PRLE_NEW(e->scores, opts->batch));
    PRLE_TRY_OUT(PRLE_NEW(e->weights, channels));
    PRLE_TRY_OUT(PRLE_NEW(e->sum, e->height * e->width));
    PRLE_TRY_OUT(PRLE_NEW(e->native, e->height * e->width));
    PRLE_TRY_OUT(PRLE_NEW(e->resized, e->height * e->width));
    prle_log(PRLE_LOG_DEBUG, "cam", "%s: %s", model->graph->name, e->head >= 0 ? "closed form" : "backward to the nodes");
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
    prle_free(e->scores);
    prle_free(e->weights);
    prle_free(e->sum);
    prle_free(e->native);
    prle_free(e->resized);
    prle_free(e);
}

void prle_cam_engine_size(const prle_cam_engine *e, int64_t *height, int64_t *width)
{
    *height = e->height;
    *width = e->width;
}

bool prle_cam_engine_is_closed_form(const prle_cam_engine *e) { return e->head >= 0; }

static double get(const prle_cam_engine *e, const void *values, int64_t i)
{
    return e->model->dtype == PRLE_F64 ? ((const double *)values)[i] : (double)((const float *)values)[i];
}

static void put(const prle_cam_engine *e, void *values, int64_t i, double v)
{
    if (e->model->dtype == PRLE_F64)
        ((double *)values)[i] = v;
    else
        ((float *)values)[i] = (float)v;
}

static int explained_class(const prle_cam_engine *e, const uint8_t *labels, int64_t i)
{
    switch (e->opts.target) {
    case PRLE_CAM_FAKE: return 1;
    case PRLE_CAM_ARGMAX: return e->scores[i] > 0.5;
    case PRLE_CAM_LABEL: break;
    }
    return labels[i];
}

/* d score / d logit c' of an image explained as class c. */
static double seed_of(const prle_cam_engine *e, int explained, int64_t logit)
{
    if (e->model->opts.classes == 1)
        return explained == 1 ? 1 : -1;
    if (logit == explained)
        return 1;
    return e->opts.score == PRLE_CAM_PROB ? -1 : 0;
}

/* w_k of the closed form: sum_c seed_c W[c,k] / UV. */
static void weights_closed(const prle_cam_engine *e, int explained, int64_t channels, int64_t pixels)
{
    const void *w = prle_model_segment(e->model, e->head);

    for (int64_t k = 0; k < channels; k++) {
        double sum = 0;
        for (int64_t c = 0; c < e->model->opts.classes; c++)
            sum += seed_of(e, explained, c) * get(e, w, c * channels + k);
        e->weights[k] = sum / (double)pixels;
    }
}

/* w_k of the general path: the mean gradient of channel k. */
static void weights_general(const prle_cam_engine *e, prle_node node, int64_t i, int64_t channels, int64_t pixels)
{
    const void *grad = prle_plan_grad(e->plan, node);

    for (int64_t k = 0; k < channels; k++) {
        double sum = 0;
        for (int64_t p = 0; p < pixels; p++)
            sum += get(e, grad, (i * channels + k) * pixels + p);
        e->weights[k] = sum / (double)pixels;
    }
}

/* One node's normalised map of image i, at its native size, into e->native. */
static prle_status node_map(const prle_cam_engine *e, prle_node node, int64_t i, int explained)
{
    const prle_shape *shape = &e->model->graph->node[node].desc.out;
    const int64_t channels = shape->dim[1], pixels = shape->dim[2] * shape->dim[3];
    const void *value = prle_plan_value(e->plan, node);

    if (e->head >= 0)
        weights_closed(e, explained, channels, pixels);
    else
        weights_general(e, node, i, channels, pixels);
    memset(e->sum, 0, (size_t)pixels * sizeof *e->sum);
    for (int64_t k = 0; k < channels; k++)
        for (int64_t p = 0; p < pixels; p++)
            e->sum[p] += e->weights[k] * get(e, value, (i * channels + k) * pixels + p);
    for (int64_t p = 0; p < pixels; p++)
        e->native[p] = (float)(e->sum[p] > 0 || e->sum[p] != e->sum[p] ? e->sum[p] : 0); /* ReLU; NaN is seen below */
    return prle_attention_normalise(e->native, shape->dim[2], shape->dim[3]);
}

static prle_status image_map(const prle_cam_engine *e, int64_t i, int explained, float *cam)
{
    const int64_t pixels = e->height * e->width;
    const int n = e->opts.nodes.n;

    for (int k = 0; k < n; k++) {
        const prle_shape *shape = &e->model->graph->node[e->opts.nodes.node[k]].desc.out;

        PRLE_TRY(node_map(e, e->opts.nodes.node[k], i, explained));
        PRLE_TRY(prle_attention_resize(e->native, shape->dim[2], shape->dim[3], e->height, e->width, e->resized));
        for (int64_t p = 0; p < pixels; p++)
            cam[p] = (k > 0 ? cam[p] : 0) + e->resized[p] / (float)n;
    }
    return n > 1 ? prle_attention_normalise(cam, e->height, e->width) : PRLE_OK;
}

static prle_status backward(prle_cam_engine *e, const uint8_t *labels, int64_t n)
{
    const int64_t classes = e->model->opts.classes;

    for (int64_t i = 0; i < e->opts.batch; i++)
        for (int64_t c = 0; c < classes; c++)
            put(e, prle_plan_seed(e->plan), i * classes + c, i < n ? seed_of(e, explained_class(e, labels, i), c) : 0);
    return prle_plan_backward(e->plan, NULL, NULL, NULL);
}

prle_status prle_cam_engine_run(prle_cam_engine *e, const void *images, const uint8_t *labels, int64_t n, float *cam,
                                double *scores)
{
    const prle_net_opts *net = &e->model->opts;
    const size_t image_bytes = (size_t)(3 * net->height * net->width) * prle_dtype_bytes(e->model->dtype);
    char *input = prle_plan_input(e->plan);

    memcpy(input, images, (size_t)n * image_bytes);
    memset(input + (size_t)n * image_bytes, 0, (size_t)(e->opts.batch - n) * image_bytes);
    PRLE_TRY(prle_plan_forward(e->plan, NULL));
    prle_scores(prle_plan_output(e->plan), n, net->classes, e->model->dtype, e->scores);
    if (e->head < 0)
        PRLE_TRY(backward(e, labels, n));
    for (int64_t i = 0; i < n; i++)
        if (image_map(e, i, explained_class(e, labels, i), cam + i * e->height * e->width) != PRLE_OK)
            return prle_error_prefix("%s: map of image %" PRId64 " of the batch", e->model->graph->name, i);
    if (scores != NULL)
        memcpy(scores, e->scores, (size_t)n * sizeof *scores);
    return PRLE_OK;
}
