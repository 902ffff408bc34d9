/* stage.c - see stage.h. */
#include "cam/stage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "augment/loader.h"
#include "cam/cam_file.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/hash.h"
#include "dist/units_meter.h"

enum { NODES_BYTES = PRLE_PLAN_MAX_NODES * PRLE_NAME_BYTES };

typedef struct stage {
    const prle_cam_stage_opts *o;
    const prle_faces *faces;
    prle_model *model;
    prle_cam_engine *engine;
    prle_loader *loader;
    int64_t *index, n; /* images of the split */
    float *cam[2];     /* [PRLE_UNIT_ITEMS, h, w] of a unit that is made, of one that is committed */
    double *maps;      /* [batch, h, w] */
    char *path, *parts;
    char nodes[NODES_BYTES], weights[17], faces_hash[17];
    prle_cam_info info;
    prle_units_meter meter;
} stage;

/* Batches of one unit: whole ones and a rest. */
static prle_status unit_load(stage *s, int64_t first, int64_t n)
{
    uint32_t samples[PRLE_UNIT_ITEMS];
    int64_t sizes[PRLE_UNIT_ITEMS], n_batches = 0;

    for (int64_t i = 0; i < n; i++)
        samples[i] = (uint32_t)s->index[first + i];
    for (int64_t at = 0; at < n; at += s->o->cam.batch)
        sizes[n_batches++] = n - at < s->o->cam.batch ? n - at : s->o->cam.batch;
    return prle_loader_begin(s->loader, 0, samples, sizes, n_batches);
}

/* The next batch of the unit, while the device computes the one before. */
static prle_status batch_ahead(const stage *s, const prle_batch **batch)
{
    PRLE_TRY(prle_loader_next(s->loader, batch));
    return prle_cam_engine_ahead(s->engine, (*batch)->images, (*batch)->n);
}

/* Which images an error is of: n of the split, from the first on. */
static prle_status images_prefix(const stage *s, int64_t first, int64_t n)
{
    return prle_error_prefix("%s: images %" PRId64 " ... %" PRId64, s->faces->path, s->index[first], s->index[first + n - 1]);
}

static prle_status unit_make(void *ctx, int64_t first, int64_t n, int slot)
{
    stage *s = ctx;
    const prle_batch *batch = NULL;
    const int64_t pixels = s->info.height * s->info.width;
    int64_t count = 0;

    PRLE_TRY(unit_load(s, first, n));
    PRLE_TRY(prle_loader_next(s->loader, &batch));
    for (int64_t done = 0; done < n; done += count) {
        count = batch->n;
        if (prle_cam_engine_begin(s->engine, batch->images, batch->labels, count) != PRLE_OK)
            return images_prefix(s, first + done, count);
        if (done + count < n)
            PRLE_TRY(batch_ahead(s, &batch));
        if (prle_cam_engine_end(s->engine, s->maps, NULL) != PRLE_OK)
            return images_prefix(s, first + done, count);
        for (int64_t at = 0; at < count * pixels; at++)
            s->cam[slot][done * pixels + at] = (float)s->maps[at];
    }
    return PRLE_OK;
}

static prle_status unit_commit(void *ctx, int64_t first, int64_t n, int slot, const char *path)
{
    const stage *s = ctx;

    return prle_cam_part_write(path, &s->info, s->index + first, n, s->cam[slot]);
}

static prle_status unit_check(void *ctx, int64_t first, int64_t n, const char *path)
{
    stage *s = ctx;

    return prle_cam_part_check(path, &s->info, s->index + first, n);
}

static prle_status beat(void *comm) { return prle_units_beat(comm); }

static prle_status finish(void *ctx, const char *parts_dir, int64_t n_units, prle_comm *comm)
{
    stage *s = ctx;

    return prle_cam_compact(s->path, &s->info, parts_dir, n_units, &(prle_rows_beat){beat, comm});
}

static void show(void *ctx, const prle_units_progress *progress)
{
    stage *s = ctx;

    prle_units_meter_show(&s->meter, progress);
}

/* "act4" or "features.28,features.29" */
static void nodes_print(stage *s)
{
    const prle_graph *g = s->model->graph;
    const prle_nodes *nodes = &s->o->cam.nodes;
    size_t used = 0;

    if (nodes->n == 0)
        snprintf(s->nodes, sizeof s->nodes, "%s", g->node[g->cam].name);
    for (int i = 0; i < nodes->n; i++)
        used += (size_t)snprintf(s->nodes + used, sizeof s->nodes - used, "%s%s", i > 0 ? "," : "", g->node[nodes->node[i]].name);
}

static prle_status stage_init(stage *s)
{
    const char *member = s->o->member != NULL ? s->o->member : s->model->graph->name;
    prle_faces_query query = PRLE_FACES_QUERY_DEFAULT;
    prle_loader_opts loader = PRLE_LOADER_OPTS_DEFAULT;
    const prle_normaliser pixels = prle_normaliser_make(s->o->mean, s->o->std);
    prle_cam_opts cam = s->o->cam;
    const bool scored = prle_cam_method_has_score(s->o->cam.method);

    PRLE_TRY(prle_asprintf(&s->path, "%s/%s.h5", s->o->out, member));
    PRLE_TRY(prle_asprintf(&s->parts, "%s/%s.parts", s->o->out, member));
    query.split = s->o->split;
    PRLE_TRY(prle_faces_select(s->faces, &query, &s->index, &s->n));
    PRLE_CHECK(s->n > 0, PRLE_EFORMAT, "%s: no images in split %s", s->faces->path, prle_split_name(s->o->split));
    cam.pixels = &pixels;
    PRLE_TRY(prle_cam_engine_create(&s->engine, s->model, &cam));
    loader.height = s->model->opts.height;
    loader.width = s->model->opts.width;
    loader.mask.kind = PRLE_MASK_NONE;
    loader.threads = s->o->loader_threads;
    memcpy(loader.mean, s->o->mean, sizeof loader.mean);
    PRLE_TRY(prle_loader_create(&s->loader, s->faces, NULL, &loader, s->o->cam.batch));
    nodes_print(s);
    s->info = (prle_cam_info){.n = s->faces->n,
                              .face_height = s->faces->height,
                              .face_width = s->faces->width,
                              .net = s->model->graph->name,
                              .node = s->nodes,
                              .method = prle_cam_method_words[s->o->cam.method],
                              .target = scored ? prle_cam_target_words[s->o->cam.target] : "none",
                              .score = scored ? prle_cam_score_words[s->o->cam.score] : "none",
                              .dtype = prle_dtype_name(s->o->cam.dtype),
                              .weights = prle_hash_print(s->o->weights_hash, s->weights),
                              .faces = prle_hash_print(s->faces->content_hash, s->faces_hash)};
    prle_cam_engine_size(s->engine, &s->info.height, &s->info.width);
    for (int k = 0; k < 2; k++)
        PRLE_TRY(PRLE_NEW(s->cam[k], PRLE_UNIT_ITEMS * s->info.height * s->info.width));
    PRLE_TRY(PRLE_NEW(s->maps, s->o->cam.batch * s->info.height * s->info.width));
    return prle_folder_make(s->o->out);
}

/* Whether finished maps are those that we would make; what is not the same is named. */
static prle_status result_check(const stage *s, const prle_cam *cam)
{
    const struct {
        const char *what, *is, *wanted;
    } notes[] = {{"network", cam->info.net, s->info.net},        {"weights", cam->info.weights, s->info.weights},
                 {"face store", cam->info.faces, s->info.faces}, {"method", cam->info.method, s->info.method},
                 {"node", cam->info.node, s->info.node},         {"target", cam->info.target, s->info.target},
                 {"score", cam->info.score, s->info.score},      {"dtype", cam->info.dtype, s->info.dtype}};
    bool all = cam->count == s->n;

    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++)
        PRLE_CHECK(strcmp(notes[i].is, notes[i].wanted) == 0, PRLE_EINVAL,
                   "%s: there already, with %s %s, not %s: remove it, or choose another --out or --member", s->path,
                   notes[i].what, notes[i].is, notes[i].wanted);
    for (int64_t i = 0; i < s->n && all; i++)
        all = prle_cam_has(cam, s->index[i]);
    PRLE_CHECK(all, PRLE_EINVAL, "%s: there already, of another split: remove it, or choose another --out or --member", s->path);
    return PRLE_OK;
}

/* Rank 0: whether the finished file is there, made as we would make it; its parts are not needed then. */
static prle_status result_look(const stage *s, bool *done)
{
    prle_status st = PRLE_OK;
    prle_cam *cam = NULL;

    *done = prle_file_exists(s->path);
    if (!*done)
        return PRLE_OK;
    PRLE_TRY_OUT(prle_cam_open(s->path, &cam));
    PRLE_TRY_OUT(result_check(s, cam));
    PRLE_TRY_OUT(prle_folder_remove(s->parts));
out:
    prle_cam_close(cam);
    return st;
}

static prle_status units_run(stage *s, prle_comm *comm, prle_cam_stage_report *report)
{
    prle_units_opts units = PRLE_UNITS_OPTS_DEFAULT;

    s->meter = (prle_units_meter){.what = s->model->graph->name, .n_images = s->n, .comm = comm};
    units.parts_dir = s->parts;
    units.n_items = s->n;
    units.ctx = s;
    units.make = unit_make;
    units.commit = unit_commit;
    units.check = unit_check;
    units.finish = finish;
    units.progress = show;
    PRLE_TRY(prle_units_run(comm, &units));
    report->already = prle_units_meter_images(&s->meter, s->meter.n_units_before);
    prle_progress_end(s->meter.progress);
    return PRLE_OK;
}

prle_status prle_cam_stage_run(prle_cam_stage_report *report, prle_model *model, const prle_faces *faces,
                               const prle_cam_stage_opts *opts, prle_comm *comm)
{
    prle_status st = PRLE_OK;
    stage s = {.o = opts, .faces = faces, .model = model};
    prle_cam_stage_report r = {0};
    const double begin = prle_clock_s();
    bool done = false;

    st = stage_init(&s);
    if (st == PRLE_OK && comm->rank == 0)
        st = result_look(&s, &done);
    PRLE_TRY_OUT(prle_comm_agree(comm, st, "setting up the maps"));
    PRLE_TRY_OUT(prle_comm_broadcast(comm, &done, sizeof done, 0, "look for maps"));
    if (done)
        r.already = s.n;
    else
        PRLE_TRY_OUT(units_run(&s, comm, &r));
    r.images = s.n;
    r.was_done = done;
    r.height = s.info.height;
    r.width = s.info.width;
    r.way = prle_cam_engine_way(s.engine);
    r.seconds = prle_clock_s() - begin;
    *report = r;
out:
    prle_progress_destroy(s.meter.progress);
    prle_loader_destroy(s.loader);
    prle_cam_engine_destroy(s.engine);
    prle_free(s.index);
    prle_free(s.cam[0]);
    prle_free(s.cam[1]);
    prle_free(s.maps);
    prle_free(s.path);
    prle_free(s.parts);
    return st;
}
