/* model.c - see model.h. */
#include "nets/model.h"

#include <inttypes.h>
#include <math.h>

#include "core/alloc.h"
#include "core/rng.h"

prle_status prle_model_create(prle_model **out, const char *net, const prle_net_opts *opts, prle_dtype dtype)
{
    prle_status st = PRLE_OK;
    prle_model *model = NULL;
    const size_t size = prle_dtype_bytes(dtype);

    PRLE_CHECK(dtype != PRLE_BF16, PRLE_EINVAL, "a model's masters are f32 or f64");
    PRLE_CHECK(opts->classes <= 2, PRLE_EINVAL, "%" PRId64 " logits: 1 or 2", opts->classes);
    PRLE_TRY(PRLE_NEW(model, 1));
    model->opts = *opts;
    model->dtype = dtype;
    model->version = 1;
    PRLE_TRY_OUT(prle_net_build(&model->graph, net, opts));
    PRLE_TRY_OUT(prle_alloc((size_t)model->graph->n_weights, size, (prle_any_ptr *)&model->weights));
    PRLE_TRY_OUT(prle_alloc((size_t)model->graph->n_stats, size, (prle_any_ptr *)&model->stats));
    PRLE_TRY_OUT(PRLE_NEW(model->counters, model->graph->n_counters));
    PRLE_TRY_OUT(prle_model_place(model, prle_device_cpu()));
    *out = model;
    model = NULL;
out:
    prle_model_destroy(model);
    return st;
}

static size_t weights_bytes(const prle_model *model) { return (size_t)model->graph->n_weights * prle_dtype_bytes(model->dtype); }

static size_t stats_bytes(const prle_model *model) { return (size_t)model->graph->n_stats * prle_dtype_bytes(model->dtype); }

static void there_free(prle_model *model)
{
    if (model->device == NULL)
        return;
    model->device->free(model->grads);
    if (!model->device->host_memory) {
        model->device->free(model->there.weights);
        model->device->free(model->there.stats);
    }
}

prle_status prle_model_place(prle_model *model, const prle_device *device)
{
    PRLE_CHECK(model->grads == NULL, PRLE_EINVAL, "%s has gradients on %s already", model->graph->name, model->device->name);
    there_free(model);
    model->device = device;
    model->there = (prle_model_there){.weights = model->weights, .stats = model->stats};
    if (device->host_memory)
        return PRLE_OK;
    model->there = (prle_model_there){.weights = NULL};
    PRLE_CHECK(model->dtype == PRLE_F32, PRLE_ENOTSUP, "a model in %s: %s computes in f32 and bf16",
               prle_dtype_name(model->dtype), device->name);
    PRLE_TRY(device->alloc(weights_bytes(model), &model->there.weights));
    return device->alloc(stats_bytes(model), &model->there.stats);
}

prle_status prle_model_pull(prle_model *model)
{
    if (!model->there.ahead)
        return PRLE_OK;
    PRLE_CHECK(model->version == model->there.version, PRLE_EINVAL,
               "%s was changed on the host while %s had newer numbers: prle_model_pull comes first", model->graph->name,
               model->device->name);
    PRLE_TRY(model->device->copy_out(model->weights, model->there.weights, weights_bytes(model)));
    PRLE_TRY(model->device->copy_out(model->stats, model->there.stats, stats_bytes(model)));
    model->there.ahead = false;
    return PRLE_OK;
}

prle_status prle_model_bring(prle_model *model, const prle_device *device)
{
    if (device->host_memory)
        return prle_model_pull(model);
    if (model->there.version == model->version)
        return PRLE_OK;
    PRLE_TRY(prle_model_pull(model)); /* refuses when both have changed */
    PRLE_TRY(device->copy_in(model->there.weights, model->weights, weights_bytes(model)));
    PRLE_TRY(device->copy_in(model->there.stats, model->stats, stats_bytes(model)));
    model->there.version = model->version;
    return PRLE_OK;
}

void prle_model_moved(prle_model *model, const prle_device *device)
{
    model->version++;
    if (device->host_memory)
        return;
    model->there.version = model->version;
    model->there.ahead = true;
}

void prle_model_destroy(prle_model *model)
{
    if (model == NULL)
        return;
    prle_graph_destroy(model->graph);
    there_free(model);
    prle_free(model->weights);
    prle_free(model->stats);
    prle_free(model->counters);
    prle_free(model);
}

prle_status prle_model_grads_require(prle_model *model)
{
    if (model->grads != NULL)
        return PRLE_OK;
    PRLE_TRY(model->device->alloc(weights_bytes(model), &model->grads));
    return model->device->zero(model->grads, weights_bytes(model));
}

void *prle_model_segment(const prle_model *model, int segment)
{
    const prle_segment *s = &model->graph->segment[segment];
    char *base = s->kind == PRLE_SEGMENT_WEIGHT ? model->weights : model->stats;

    if (s->kind == PRLE_SEGMENT_COUNTER)
        return model->counters + s->offset;
    return base + (size_t)s->offset * prle_dtype_bytes(model->dtype);
}

static double draw(const prle_segment *s, prle_rng *rng)
{
    const double bound = 1 / sqrt((double)s->fan_in);

    switch (s->init) {
    case PRLE_INIT_ONE: return 1;
    case PRLE_INIT_TORCH: return prle_rng_range(rng, -bound, bound);
    case PRLE_INIT_KAIMING_FAN_OUT: return sqrt(2 / (double)s->fan_out) * prle_rng_normal(rng);
    case PRLE_INIT_NORMAL: return s->deviation * prle_rng_normal(rng);
    case PRLE_INIT_ZERO: break;
    }
    return 0;
}

static void segment_init(prle_model *model, int segment, uint64_t seed)
{
    const prle_segment *s = &model->graph->segment[segment];
    prle_rng rng = prle_rng_make(seed, 0, (uint64_t)segment, PRLE_RNG_INIT);
    void *values = prle_model_segment(model, segment);

    for (int64_t k = 0; k < s->count; k++) {
        if (s->kind == PRLE_SEGMENT_COUNTER)
            ((int64_t *)values)[k] = 0;
        else if (model->dtype == PRLE_F64)
            ((double *)values)[k] = draw(s, &rng);
        else
            ((float *)values)[k] = (float)draw(s, &rng);
    }
}

void prle_model_init(prle_model *model, uint64_t seed)
{
#pragma omp parallel for schedule(dynamic) /* each segment has its own stream: threads change nothing */
    for (int i = 0; i < model->graph->n_segments; i++)
        segment_init(model, i, seed);
    model->version++;
}

prle_status prle_model_check_finite(const prle_model *model)
{
    for (int i = 0; i < model->graph->n_segments; i++) {
        const prle_segment *s = &model->graph->segment[i];
        const void *values = prle_model_segment(model, i);

        for (int64_t k = 0; k < s->count && s->kind != PRLE_SEGMENT_COUNTER; k++) {
            const double v = model->dtype == PRLE_F64 ? ((const double *)values)[k] : (double)((const float *)values)[k];
            PRLE_CHECK(isfinite(v), PRLE_ENUMERIC, "%s: %s[%" PRId64 "] is %g", model->graph->name, s->name, k, v);
        }
    }
    return PRLE_OK;
}
