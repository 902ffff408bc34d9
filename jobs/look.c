/* look.c - see look.h. */
#include "jobs/look.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "nets/loss.h"
#include "nets/plan.h"

/* What callers see, and what stays behind it. */
typedef struct state {
    prle_look pub;
    int64_t batch;
    prle_model *model;
    prle_plan *plan;         /* without maps */
    prle_cam_engine *engine; /* with maps */
    prle_image fitted;       /* a picture at the network's size */
    uint8_t *images;         /* [batch,H,W,3] */
    uint8_t *labels;         /* [batch] */
    double *logits;          /* room for [batch, classes] */
    double *scores;
    double *exact; /* [batch,h,w] the maps before they are rounded */
    float *maps;
} state;

static size_t image_bytes(const state *s) { return (size_t)(3 * s->model->opts.height * s->model->opts.width); }

static prle_status network_plan(state *s, const prle_look_opts *opts)
{
    const prle_normaliser pixels = prle_normaliser_make(s->pub.info.mean, s->pub.info.std);
    const prle_plan_opts plan = {.batch = opts->batch, .dtype = opts->dtype, .pixels = &pixels};
    const prle_cam_opts cam = {
        .batch = opts->batch, .dtype = opts->dtype, .method = opts->method, .target = opts->target, .pixels = &pixels};

    if (!opts->maps)
        return prle_plan_create(&s->plan, s->model, opts->device, &plan);
    PRLE_TRY(prle_cam_engine_create(&s->engine, s->model, &cam));
    prle_cam_engine_size(s->engine, &s->pub.map_height, &s->pub.map_width);
    PRLE_TRY(PRLE_NEW(s->exact, opts->batch * s->pub.map_height * s->pub.map_width));
    return PRLE_NEW(s->maps, opts->batch * s->pub.map_height * s->pub.map_width);
}

prle_status prle_look_create(prle_look **out, const char *model, const prle_look_opts *opts)
{
    prle_status st = PRLE_OK;
    state *s = NULL;

    PRLE_TRY(PRLE_NEW(s, 1));
    s->batch = opts->batch;
    PRLE_TRY_OUT(prle_model_load(&s->model, &s->pub.info, NULL, model, opts->dtype));
    PRLE_TRY_OUT(prle_model_place(s->model, opts->device));
    PRLE_TRY_OUT(network_plan(s, opts));
    PRLE_TRY_OUT(prle_image_init(&s->fitted, s->model->opts.height, s->model->opts.width, 3));
    PRLE_TRY_OUT(PRLE_NEW(s->images, (size_t)opts->batch * image_bytes(s)));
    PRLE_TRY_OUT(PRLE_NEW(s->labels, opts->batch));
    PRLE_TRY_OUT(PRLE_NEW(s->logits, opts->batch * s->model->opts.classes));
    PRLE_TRY_OUT(PRLE_NEW(s->scores, opts->batch));
    s->pub.scores = s->scores;
    s->pub.maps = s->maps;
    *out = &s->pub;
    s = NULL;
out:
    prle_look_destroy(s != NULL ? &s->pub : NULL);
    return st;
}

void prle_look_destroy(prle_look *look)
{
    state *s = (state *)look;

    if (s == NULL)
        return;
    prle_plan_destroy(s->plan);
    prle_cam_engine_destroy(s->engine);
    prle_model_destroy(s->model);
    prle_image_deinit(&s->fitted);
    prle_free(s->images);
    prle_free(s->labels);
    prle_free(s->logits);
    prle_free(s->scores);
    prle_free(s->exact);
    prle_free(s->maps);
    prle_free(s);
}

prle_status prle_look_put(prle_look *look, int64_t i, const prle_image *image, int label)
{
    state *s = (state *)look;
    const int64_t height = s->fitted.height, width = s->fitted.width;
    const uint8_t *pixels = image->data;

    if (image->height != height || image->width != width) {
        PRLE_TRY(prle_image_resize(&s->fitted, image, PRLE_RESIZE_AREA));
        pixels = s->fitted.data;
    }
    memcpy(s->images + (size_t)i * image_bytes(s), pixels, image_bytes(s));
    s->labels[i] = (uint8_t)label;
    return PRLE_OK;
}

prle_status prle_look_run(prle_look *look, int64_t n)
{
    state *s = (state *)look;

    if (s->engine != NULL) {
        PRLE_TRY(prle_cam_engine_run(s->engine, s->images, s->labels, n, s->exact, s->scores));
        for (int64_t i = 0; i < n * look->map_height * look->map_width; i++)
            s->maps[i] = (float)s->exact[i];
    } else {
        PRLE_TRY(prle_plan_input_set(s->plan, s->images, s->batch));
        PRLE_TRY(prle_plan_forward(s->plan, NULL));
        PRLE_TRY(prle_plan_output_get(s->plan, s->logits, n));
        prle_scores(s->logits, n, s->model->opts.classes, s->model->dtype, s->scores);
    }
    for (int64_t i = 0; i < n; i++)
        PRLE_CHECK(isfinite(s->scores[i]), PRLE_ENUMERIC, "%s: score %g of picture %" PRId64 " is not finite",
                   s->model->graph->name, s->scores[i], i);
    return PRLE_OK;
}
