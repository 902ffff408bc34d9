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
    *out = model;
    model = NULL;
out:
    prle_model_destroy(model);
    return st;
}

void prle_model_destroy(prle_model *model)
{
    if (model == NULL)
        return;
    prle_graph_destroy(model->graph);
    prle_free(model->weights);
    prle_free(model->grads);
    prle_free(model->stats);
    prle_free(model->counters);
    prle_free(model);
}

prle_status prle_model_grads_require(prle_model *model)
{
    if (model->grads != NULL)
        return PRLE_OK;
    return prle_alloc((size_t)model->graph->n_weights, prle_dtype_bytes(model->dtype), (prle_any_ptr *)&model->grads);
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
