/* maps_cuda.c - see maps.h: on a GPU a batch's maps are a launch for each node, normalised, resized and averaged there. */
#include <inttypes.h>
#include <math.h>

#include "cam/maps.h"
#include "cam/method_cuda.h"
#include "core/alloc.h"
#include "core/attention_cuda.h"
#include "core/device/device_cuda.h"

typedef struct maps {
    prle_cam_maps_desc desc;
    const prle_cuda *cuda;
    uint64_t version;                               /* of the model that the channels were made of; 0: none yet */
    prle_cam_channel *channel[PRLE_PLAN_MAX_NODES]; /* device [C] of each node, where way is CLOSED */
    prle_cam_channel *room;                         /* [C] of the node with most */
    uint8_t *explained;                             /* device [batch] */
    double *native, *cam;                           /* device [batch,height,width] */
} maps;

static const prle_shape *shape_of(const maps *m, int k)
{
    return &m->desc.model->graph->node[m->desc.opts.nodes.node[k]].desc.out;
}

static void maps_destroy(void *of)
{
    const prle_device *device = prle_cuda_device();
    maps *m = of;

    if (m == NULL)
        return;
    for (int k = 0; k < m->desc.opts.nodes.n; k++)
        device->free(m->channel[k]);
    device->free(m->explained);
    device->free(m->native);
    device->free(m->cam);
    prle_free(m->room);
    prle_free(m);
}

static prle_status channels_check(const maps *m, int64_t *most)
{
    for (int k = 0; k < m->desc.opts.nodes.n; k++) {
        const int64_t channels = shape_of(m, k)->dim[1];
        PRLE_CHECK(channels <= PRLE_CAM_CUDA_MAX_CHANNELS, PRLE_ENOTSUP,
                   "node %s has %" PRId64 " channels; maps on a GPU: at most %d",
                   m->desc.model->graph->node[m->desc.opts.nodes.node[k]].name, channels, PRLE_CAM_CUDA_MAX_CHANNELS);
        *most = channels > *most ? channels : *most;
    }
    return PRLE_OK;
}

static prle_status maps_create(void **out, const prle_cam_maps_desc *desc)
{
    const prle_device *device = prle_cuda_device();
    const size_t map_bytes = (size_t)(desc->opts.batch * desc->height * desc->width) * sizeof(double);
    prle_status st = PRLE_OK;
    int64_t most = 0;
    maps *m = NULL;

    PRLE_TRY(PRLE_NEW(m, 1));
    m->desc = *desc;
    PRLE_TRY_OUT(prle_cuda_get(&m->cuda));
    PRLE_TRY_OUT(channels_check(m, &most));
    PRLE_TRY_OUT(PRLE_NEW(m->room, most));
    for (int k = 0; k < desc->opts.nodes.n && desc->way == PRLE_CAM_CLOSED; k++)
        PRLE_TRY_OUT(device->alloc((size_t)shape_of(m, k)->dim[1] * sizeof *m->room, (void **)&m->channel[k]));
    PRLE_TRY_OUT(device->alloc((size_t)desc->opts.batch, (void **)&m->explained));
    PRLE_TRY_OUT(device->alloc(map_bytes, (void **)&m->native));
    PRLE_TRY_OUT(device->alloc(map_bytes, (void **)&m->cam));
    *out = m;
    m = NULL;
out:
    maps_destroy(m);
    return st;
}

/* The closed form's channels of the k-th node, of the weights as they are now. */
static prle_status channels_make(const maps *m, int k)
{
    const prle_model *model = m->desc.model;
    const prle_shape *shape = shape_of(m, k);
    const int64_t channels = shape->dim[1], pixels = shape->dim[2] * shape->dim[3];
    double seed[2][2];

    for (int class = 0; class < 2; class ++)
        prle_cam_seed(seed[class], m->desc.opts.score, model->opts.classes, class);
    for (int64_t c = 0; c < channels; c++)
        for (int class = 0; class < 2; class ++) {
            const prle_cam_tail_channel one =
                prle_cam_tail_channel_get(&m->desc.tail[k], model, seed[class], c, channels, pixels);
            m->room[c].weight[class] = one.weight;
            m->room[c].scale = one.scale;
            m->room[c].mean = one.mean;
            m->room[c].beta = one.beta;
        }
    return prle_cuda_device()->copy_in(m->channel[k], m->room, (size_t)channels * sizeof *m->room);
}

static prle_status channels_update(maps *m)
{
    if (m->desc.way != PRLE_CAM_CLOSED || m->version == m->desc.model->version + 1)
        return PRLE_OK;
    for (int k = 0; k < m->desc.opts.nodes.n; k++)
        PRLE_TRY(channels_make(m, k));
    m->version = m->desc.model->version + 1;
    return PRLE_OK;
}

/* The k-th node's maps, into the mean of all. */
static prle_status node_run(const maps *m, prle_cam_method method, int k, int64_t n)
{
    const prle_node node = m->desc.opts.nodes.node[k];
    const prle_shape *shape = shape_of(m, k);
    const int64_t channels = shape->dim[1], h = shape->dim[2], w = shape->dim[3];
    const prle_cam_gradients gradients = {.array = m->desc.way == PRLE_CAM_BACKWARD ? prle_plan_grad(m->desc.plan, node) : NULL,
                                          .channel = m->channel[k],
                                          .explained = m->explained,
                                          .act = m->desc.way == PRLE_CAM_CLOSED
                                                     ? prle_cam_tail_act(&m->desc.tail[k], m->desc.model)
                                                     : (prle_act_attrs){.act = PRLE_ACT_NONE}};
    const cudaStream_t stream = m->cuda->compute;

    PRLE_CUDA(
        prle_cam_method_cuda(method, prle_plan_value(m->desc.plan, node), &gradients, n, channels, h * w, m->native, stream));
    PRLE_CUDA(prle_attention_normalise_cuda(m->native, n, h * w, stream));
    PRLE_CUDA(prle_attention_mean_cuda(m->native, n, h, w, m->desc.height, m->desc.width, m->desc.opts.nodes.n, k == 0, m->cam,
                                       stream));
    return PRLE_OK;
}

static prle_status finite_check(const double *cam, int64_t n, int64_t height, int64_t width)
{
    const int64_t pixels = height * width;

    for (int64_t i = 0; i < n * pixels; i++)
        PRLE_CHECK(isfinite(cam[i]), PRLE_ENUMERIC,
                   "map of image %" PRId64 " of the batch: attention map: value %g at row %" PRId64 ", column %" PRId64
                   " is not finite",
                   i / pixels, cam[i], i % pixels / width, i % width);
    return PRLE_OK;
}

static prle_status maps_run(void *of, prle_cam_method method, const uint8_t *explained, int64_t n, double *cam)
{
    const prle_device *device = prle_cuda_device();
    maps *m = of;
    const int64_t pixels = m->desc.height * m->desc.width;

    PRLE_TRY(channels_update(m));
    PRLE_TRY(device->copy_in(m->explained, explained, (size_t)n));
    for (int k = 0; k < m->desc.opts.nodes.n; k++)
        PRLE_TRY(node_run(m, method, k, n));
    if (m->desc.opts.nodes.n > 1)
        PRLE_CUDA(prle_attention_normalise_cuda(m->cam, n, pixels, m->cuda->compute));
    PRLE_TRY(device->copy_out(cam, m->cam, (size_t)(n * pixels) * sizeof *cam));
    return finite_check(cam, n, m->desc.height, m->desc.width);
}

const struct prle_cam_maps_ops prle_cuda_cam_maps = {
    .has = prle_cam_method_cuda_has, .create = maps_create, .destroy = maps_destroy, .run = maps_run};
