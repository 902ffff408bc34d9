/* maps.c - see maps.h: on the processor, image by image, in double. */
#include "cam/maps.h"

#include <inttypes.h>
#include <string.h>

#include "core/alloc.h"
#include "core/attention.h"
#include "core/threads.h"

/* What one thread needs for one image. */
typedef struct worker {
    double *values, *gradients; /* [C,P] at the largest node */
    double *scratch;            /* of the method */
} worker;

typedef struct maps {
    prle_cam_maps_desc desc;
    void *value_room[PRLE_PLAN_MAX_NODES]; /* for the nodes' values and gradients in the host's memory, where the device's is */
    void *grad_room[PRLE_PLAN_MAX_NODES];  /* another; else NULL */
    const void *value[PRLE_PLAN_MAX_NODES], *grad[PRLE_PLAN_MAX_NODES]; /* of the batch: there, or in the device's memory */
    int64_t n_native;                                                   /* pixels of all nodes of an image */
    double *native;                                                     /* [batch,n_native] */
    double *resized;                                                    /* [height,width] */
    worker *workers;                                                    /* [n_workers] */
    int64_t n_workers, n_scratch;
} maps;

void prle_cam_seed(double seed[2], prle_cam_score score, int64_t classes, int explained)
{
    const double other = score == PRLE_CAM_PROB ? -1 : 0;

    seed[0] = explained == 0 ? 1 : other;
    seed[1] = explained == 1 ? 1 : other;
    if (classes == 1)
        seed[0] = explained == 1 ? 1 : -1;
}

static int64_t largest(int64_t a, int64_t b) { return a > b ? a : b; }

static const prle_shape *shape_of(const maps *m, int k)
{
    return &m->desc.model->graph->node[m->desc.opts.nodes.node[k]].desc.out;
}

static int64_t pixels_of(const maps *m, int k) { return shape_of(m, k)->dim[2] * shape_of(m, k)->dim[3]; }

static size_t batch_bytes(const maps *m, int k)
{
    return (size_t)(m->desc.opts.batch * shape_of(m, k)->dim[1] * pixels_of(m, k)) * prle_dtype_bytes(m->desc.model->dtype);
}

static void maps_destroy(void *of)
{
    maps *m = of;

    if (m == NULL)
        return;
    for (int k = 0; k < PRLE_PLAN_MAX_NODES; k++) {
        prle_free(m->value_room[k]);
        prle_free(m->grad_room[k]);
    }
    for (int64_t t = 0; m->workers != NULL && t < m->n_workers; t++) {
        prle_free(m->workers[t].values);
        prle_free(m->workers[t].gradients);
        prle_free(m->workers[t].scratch);
    }
    prle_free(m->workers);
    prle_free(m->native);
    prle_free(m->resized);
    prle_free(m);
}

static prle_status rooms_make(maps *m)
{
    for (int k = 0; k < m->desc.opts.nodes.n && !m->desc.model->device->host_memory; k++) {
        PRLE_TRY(prle_alloc(batch_bytes(m, k), 1, (prle_any_ptr *)&m->value_room[k]));
        if (m->desc.way == PRLE_CAM_BACKWARD)
            PRLE_TRY(prle_alloc(batch_bytes(m, k), 1, (prle_any_ptr *)&m->grad_room[k]));
    }
    return PRLE_OK;
}

static prle_status workers_make(maps *m, int64_t n_values)
{
    m->n_workers = prle_threads_current();
    PRLE_TRY(PRLE_NEW(m->workers, m->n_workers));
    for (int64_t t = 0; t < m->n_workers; t++) {
        PRLE_TRY(PRLE_NEW(m->workers[t].values, n_values));
        PRLE_TRY(PRLE_NEW(m->workers[t].gradients, m->desc.way == PRLE_CAM_FORWARD ? 0 : n_values));
    }
    return PRLE_OK;
}

/* Room for what that method wants. */
static prle_status scratch_require(maps *m, prle_cam_method method)
{
    int64_t n = 0;

    for (int k = 0; k < m->desc.opts.nodes.n; k++)
        n = largest(n, prle_cam_method_scratch(method, shape_of(m, k)->dim[1], pixels_of(m, k)));
    if (n <= m->n_scratch)
        return PRLE_OK;
    m->n_scratch = 0;
    for (int64_t t = 0; t < m->n_workers; t++) {
        prle_free(m->workers[t].scratch);
        m->workers[t].scratch = NULL;
        PRLE_TRY(PRLE_NEW(m->workers[t].scratch, n));
    }
    m->n_scratch = n;
    return PRLE_OK;
}

static prle_status maps_create(void **out, const prle_cam_maps_desc *desc)
{
    prle_status st = PRLE_OK;
    int64_t n_values = 0;
    maps *m = NULL;

    PRLE_TRY(PRLE_NEW(m, 1));
    m->desc = *desc;
    for (int k = 0; k < desc->opts.nodes.n; k++) {
        n_values = largest(n_values, shape_of(m, k)->dim[1] * pixels_of(m, k));
        m->n_native += pixels_of(m, k);
    }
    PRLE_TRY_OUT(rooms_make(m));
    PRLE_TRY_OUT(PRLE_NEW(m->native, desc->opts.batch * m->n_native));
    PRLE_TRY_OUT(PRLE_NEW(m->resized, desc->height * desc->width));
    PRLE_TRY_OUT(workers_make(m, n_values));
    PRLE_TRY_OUT(scratch_require(m, desc->opts.method));
    *out = m;
    m = NULL;
out:
    maps_destroy(m);
    return st;
}

/* What the plan has computed, in the host's memory. */
static prle_status results_view(maps *m)
{
    const prle_device *device = m->desc.model->device;

    for (int k = 0; k < m->desc.opts.nodes.n; k++) {
        const prle_node node = m->desc.opts.nodes.node[k];
        const size_t n_bytes = batch_bytes(m, k);

        PRLE_TRY(prle_device_view(device, &m->value[k], prle_plan_value(m->desc.plan, node), n_bytes, m->value_room[k]));
        if (m->desc.way == PRLE_CAM_BACKWARD)
            PRLE_TRY(prle_device_view(device, &m->grad[k], prle_plan_grad(m->desc.plan, node), n_bytes, m->grad_room[k]));
    }
    return PRLE_OK;
}

/* out [n] = the model's numbers from `first` on. */
static void widen(const maps *m, double *out, const void *values, int64_t first, int64_t n)
{
    if (m->desc.model->dtype == PRLE_F64)
        memcpy(out, (const double *)values + first, (size_t)n * sizeof *out);
    else
        for (int64_t i = 0; i < n; i++)
            out[i] = (double)((const float *)values)[first + i];
}

/* Map of image i at the k-th node, as the method gives it. */
static void node_weigh(const maps *m, const worker *w, prle_cam_method method, int k, int64_t i, int explained, double *map)
{
    const int64_t channels = shape_of(m, k)->dim[1], pixels = pixels_of(m, k), n = channels * pixels;
    double seed[2];

    widen(m, w->values, m->value[k], i * n, n);
    if (m->desc.way == PRLE_CAM_BACKWARD)
        widen(m, w->gradients, m->grad[k], i * n, n);
    if (m->desc.way == PRLE_CAM_CLOSED) {
        prle_cam_seed(seed, m->desc.opts.score, m->desc.model->opts.classes, explained);
        prle_cam_tail_gradients(w->gradients, &m->desc.tail[k], m->desc.model, w->values, seed, channels, pixels);
    }
    prle_cam_method_run(method, map, w->values, w->gradients, channels, pixels, w->scratch);
}

/* Of all nodes and images, into m->native; each image by one thread, so that any number of threads gives the same bits. */
static void weigh(const maps *m, prle_cam_method method, const uint8_t *explained, int64_t n)
{
#pragma omp parallel for schedule(static, 1)
    for (int64_t t = 0; t < m->n_workers; t++)
        for (int64_t i = t; i < n; i += m->n_workers) {
            double *map = m->native + i * m->n_native;
            for (int k = 0; k < m->desc.opts.nodes.n; k++) {
                node_weigh(m, &m->workers[t], method, k, i, explained[i], map);
                map += pixels_of(m, k);
            }
        }
}

/* An image's maps normalised, at one size, averaged. */
static prle_status image_map(const maps *m, double *native, double *cam)
{
    const int64_t H = m->desc.height, W = m->desc.width;
    const int n = m->desc.opts.nodes.n;

    for (int k = 0; k < n; k++) {
        const int64_t h = shape_of(m, k)->dim[2], w = shape_of(m, k)->dim[3];

        PRLE_TRY(prle_attention_normalise(native, h, w));
        PRLE_TRY(prle_attention_resize(native, h, w, H, W, m->resized));
        for (int64_t p = 0; p < H * W; p++)
            cam[p] = (k > 0 ? cam[p] : 0) + m->resized[p] / n;
        native += h * w;
    }
    return n > 1 ? prle_attention_normalise(cam, H, W) : PRLE_OK;
}

static prle_status maps_run(void *of, prle_cam_method method, const uint8_t *explained, int64_t n, double *cam)
{
    maps *m = of;

    PRLE_TRY(scratch_require(m, method));
    PRLE_TRY(results_view(m));
    weigh(m, method, explained, n);
    for (int64_t i = 0; i < n; i++)
        if (image_map(m, m->native + i * m->n_native, cam + i * m->desc.height * m->desc.width) != PRLE_OK)
            return prle_error_prefix("map of image %" PRId64 " of the batch", i);
    return PRLE_OK;
}

static bool has_all(prle_cam_method method)
{
    (void)method;
    return true;
}

const prle_cam_maps_ops prle_cam_maps_processor = {
    .has = has_all, .create = maps_create, .destroy = maps_destroy, .run = maps_run};
