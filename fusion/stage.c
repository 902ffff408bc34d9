/* stage.c - opens the members, agrees on what is fused, and lets dist/units.h run it image by image. */
#include "fusion/stage.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "augment/maps.h"
#include "cam/cam_file.h"
#include "core/alloc.h"
#include "core/attention.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/text.h"
#include "dist/units_meter.h"
#include "fusion/batch.h"

#define EMPTY_SHARE_WARNED 0.05

const double prle_fuse_quantiles[PRLE_FUSE_QUANTILES] = {0, 0.05, 0.25, 0.5, 0.75, 0.95, 1};

/** What one thread reads of one image. */
typedef struct worker {
    float *maps;                             /* all members', one after another */
    float *map[PRLE_FUSE_MAX_MAPS];          /* [zoo.n] [h,w] each, in maps */
    const float *native[PRLE_FUSE_MAX_MAPS]; /* the same */
} worker;

/** One run of the stage, on one rank. */
typedef struct stage {
    const prle_fuse_stage_opts *opts;
    prle_strings zoo;
    prle_cam **member; /* [zoo.n] */
    int64_t *index;    /* [n_items] images of the face store that have a map in every member, ascending */
    int64_t n_items;
    prle_maps_info info; /* its texts are the three below and static ones */
    char *zoo_text, *cams_text, *faces_text;
    worker *workers; /* [n_workers] */
    int n_workers;
    const prle_fuse_batch_ops *ops;
    void *batch;
    prle_fuse_result fused[2]; /* of a unit that is made, of one that is committed */
    prle_units_meter meter;
} stage;

/* ---- the zoo ---- */

/* MEMBER of every MEMBER.h5 in the folder, by name. */
static prle_status members_list(const char *folder, prle_strings *members)
{
    prle_status st = PRLE_OK;
    prle_strings names = {0};

    PRLE_TRY(prle_folder_list(folder, &names));
    for (int64_t i = 0; i < names.n; i++) {
        char *dot = strrchr(names.item[i], '.');
        if (dot == NULL || strcmp(dot, ".h5") != 0)
            continue;
        *dot = '\0';
        PRLE_TRY_OUT(prle_strings_add(members, names.item[i]));
    }
out:
    prle_strings_deinit(&names);
    return st;
}

static prle_status strings_join(const prle_strings *list, char **out)
{
    prle_text text = {0};

    for (int64_t i = 0; i < list->n; i++)
        prle_text_add(&text, "%s%s", i > 0 ? "," : "", list->item[i]);
    return prle_text_take(&text, out);
}

static prle_status zoo_check(const prle_strings *zoo, const prle_strings *there, const char *folder)
{
    prle_status st = PRLE_OK;
    char *all = NULL;

    PRLE_TRY_OUT(strings_join(there, &all));
    PRLE_CHECK_OUT(there->n > 0, PRLE_EINVAL, "%s: no MEMBER.h5 there: run `prle cam` first", folder);
    PRLE_CHECK_OUT(zoo->n <= PRLE_FUSE_MAX_MAPS, PRLE_EINVAL, "a zoo of %" PRId64 " members: at most %d", zoo->n,
                   PRLE_FUSE_MAX_MAPS);
    for (int64_t i = 0; i < zoo->n; i++) {
        PRLE_CHECK_OUT(prle_strings_find(there, zoo->item[i]) >= 0, PRLE_EINVAL,
                       "zoo member \"%s\" has no maps in %s: there are %s", zoo->item[i], folder, all);
        PRLE_CHECK_OUT(prle_strings_find(zoo, zoo->item[i]) == i, PRLE_EINVAL, "zoo member \"%s\" is named twice", zoo->item[i]);
    }
out:
    prle_free(all);
    return st;
}

static prle_status zoo_choose(stage *s)
{
    const prle_fuse_stage_opts *opts = s->opts;
    prle_status st = PRLE_OK;
    prle_strings there = {0};

    PRLE_TRY_OUT(members_list(opts->cams, &there));
    for (int64_t i = 0; i < opts->zoo.n; i++)
        PRLE_TRY_OUT(prle_strings_add(&s->zoo, opts->zoo.item[i]));
    PRLE_TRY_OUT(zoo_check(opts->zoo.n > 0 ? &s->zoo : &there, &there, opts->cams));
    if (opts->zoo.n == 0)
        PRLE_TRY_OUT(prle_strings_append(&s->zoo, &there));
out:
    prle_strings_deinit(&there);
    return st;
}

static prle_status member_open(const stage *s, const char *name, prle_cam **out)
{
    prle_status st = PRLE_OK;
    char *path = NULL;

    PRLE_TRY(prle_asprintf(&path, "%s/%s.h5", s->opts->cams, name));
    PRLE_TRY_OUT(prle_cam_open(path, out));
out:
    prle_free(path);
    return st;
}

/* The same images of the same store as the first member. */
static prle_status member_check(const prle_cam *cam, const prle_cam *first)
{
    PRLE_CHECK(strcmp(cam->info.faces, first->info.faces) == 0 && cam->info.n == first->info.n, PRLE_EFORMAT,
               "%s: maps of the face store %s (%" PRId64 " images), but %s is of %s (%" PRId64 "): run `prle cam` on one store",
               cam->path, cam->info.faces, cam->info.n, first->path, first->info.faces, first->info.n);
    PRLE_CHECK(cam->info.face_height == first->info.face_height && cam->info.face_width == first->info.face_width, PRLE_EFORMAT,
               "%s: faces of another size than in %s", cam->path, first->path);
    PRLE_CHECK(cam->count == first->count, PRLE_EFORMAT,
               "%s: %" PRId64 " images have a map, but %" PRId64 " in %s: run `prle cam` on the same split for both", cam->path,
               cam->count, first->count, first->path);
    for (int64_t i = 0; i < cam->info.n; i++)
        PRLE_CHECK(prle_cam_has(cam, i) == prle_cam_has(first, i), PRLE_EFORMAT,
                   "image %" PRId64 " has a map in one of %s and %s only: run `prle cam` on the same split for both", i,
                   cam->path, first->path);
    return PRLE_OK;
}

static prle_status zoo_open(stage *s)
{
    PRLE_TRY(zoo_choose(s));
    PRLE_TRY(PRLE_NEW(s->member, s->zoo.n));
    for (int64_t t = 0; t < s->zoo.n; t++) {
        PRLE_TRY(member_open(s, s->zoo.item[t], &s->member[t]));
        PRLE_TRY(member_check(s->member[t], s->member[0]));
    }
    return PRLE_OK;
}

/* Members whose maps explain something else than the first one's do; each is warned of, for means of them mean little. */
static int64_t zoo_unlike(const stage *s)
{
    const prle_cam_info *first = &s->member[0]->info;
    int64_t n = 0;

    for (int64_t t = 1; t < s->zoo.n; t++) {
        const prle_cam_info *info = &s->member[t]->info;

        if (strcmp(info->method, first->method) == 0 && strcmp(info->target, first->target) == 0 &&
            strcmp(info->score, first->score) == 0)
            continue;
        prle_log(PRLE_LOG_WARN, "fusion",
                 "%s: made by %s of target %s, score %s, but %s by %s of target %s, score %s: such maps are fused all the same; "
                 "`prle cam` with one --method, --target and --score makes them alike",
                 s->member[t]->path, info->method, info->target, info->score, s->member[0]->path, first->method, first->target,
                 first->score);
        n++;
    }
    return n;
}

/* ---- what is to be made ---- */

static prle_status index_make(stage *s)
{
    const prle_cam *first = s->member[0];

    PRLE_TRY(PRLE_NEW(s->index, first->count));
    for (int64_t i = 0; i < first->info.n; i++)
        if (prle_cam_has(first, i))
            s->index[s->n_items++] = i;
    return PRLE_OK;
}

static prle_status info_make(stage *s)
{
    const prle_cam_info *cam = &s->member[0]->info;
    const prle_fuse_opts *fuse = &s->opts->fuse;
    prle_text checksums = {0};
    char hex[17];

    for (int64_t t = 0; t < s->zoo.n; t++)
        prle_text_add(&checksums, "%s%s", t > 0 ? "," : "", prle_hash_print(s->member[t]->checksum, hex));
    PRLE_TRY(prle_text_take(&checksums, &s->cams_text));
    PRLE_TRY(strings_join(&s->zoo, &s->zoo_text));
    PRLE_TRY(prle_strdup(cam->faces, &s->faces_text));
    s->info = (prle_maps_info){.n = cam->n,
                               .height = cam->face_height,
                               .width = cam->face_width,
                               .rule = prle_fuse_rule_words[fuse->rule],
                               .tau1 = fuse->tau1,
                               .lambda = fuse->lambda,
                               .radius = fuse->radius,
                               .hyst_low = fuse->hyst_low,
                               .hyst_pair = fuse->hyst_pair,
                               .zoo = s->zoo_text,
                               .cams = s->cams_text,
                               .faces = s->faces_text};
    return PRLE_OK;
}

static prle_status workers_make(stage *s)
{
    int64_t all = 0;

    for (int64_t t = 0; t < s->zoo.n; t++)
        all += s->member[t]->info.height * s->member[t]->info.width;
    s->n_workers = s->opts->threads;
    PRLE_TRY(PRLE_NEW(s->workers, s->n_workers));
    for (int i = 0; i < s->n_workers; i++) {
        worker *w = &s->workers[i];
        int64_t at = 0;

        PRLE_TRY(PRLE_NEW(w->maps, all));
        for (int64_t t = 0; t < s->zoo.n; t++) {
            w->native[t] = w->map[t] = w->maps + at;
            at += s->member[t]->info.height * s->member[t]->info.width;
        }
    }
    return PRLE_OK;
}

static prle_status batch_make(stage *s)
{
    prle_fuse_native native[PRLE_FUSE_MAX_MAPS];
    const prle_fuse_batch_desc desc = {.opts = s->opts->fuse,
                                       .T = (int)s->zoo.n,
                                       .H = s->info.height,
                                       .W = s->info.width,
                                       .native = native,
                                       .max_images = PRLE_UNIT_ITEMS,
                                       .threads = s->n_workers};

    for (int64_t t = 0; t < s->zoo.n; t++)
        native[t] = (prle_fuse_native){s->member[t]->info.height, s->member[t]->info.width};
    s->ops = prle_fuse_batch_ops_of(s->opts->device != NULL ? s->opts->device : prle_device_cpu());
    return s->ops->create(&s->batch, &desc);
}

static prle_status stage_init(stage *s)
{
    PRLE_CHECK(s->opts->threads >= 1, PRLE_EINVAL, "%d threads: must be at least 1", s->opts->threads);
    PRLE_TRY(zoo_open(s));
    PRLE_TRY(index_make(s));
    PRLE_TRY(info_make(s));
    PRLE_TRY(workers_make(s));
    return batch_make(s);
}

static void stage_deinit(stage *s)
{
    if (s->batch != NULL)
        s->ops->destroy(s->batch);
    for (int i = 0; s->workers != NULL && i < s->n_workers; i++)
        prle_free(s->workers[i].maps);
    for (int64_t t = 0; s->member != NULL && t < s->zoo.n; t++)
        prle_cam_close(s->member[t]);
    prle_free(s->workers);
    prle_free(s->member);
    prle_strings_deinit(&s->zoo);
    prle_free(s->index);
    prle_free(s->zoo_text);
    prle_free(s->cams_text);
    prle_free(s->faces_text);
    prle_progress_destroy(s->meter.progress);
}

/* ---- units ---- */

/* Reads an image's maps and gives them to the batch as number `at` of the unit. */
static prle_status image_put(const stage *s, int thread, int64_t image, int64_t at)
{
    const worker *w = &s->workers[thread];

    for (int64_t t = 0; t < s->zoo.n; t++) {
        const prle_cam *cam = s->member[t];

        PRLE_TRY(prle_cam_read(cam, image, w->map[t]));
        if (prle_attention_check(w->map[t], cam->info.height, cam->info.width) != PRLE_OK)
            return prle_error_prefix("%s: image %" PRId64, cam->path, image);
    }
    return s->ops->put(s->batch, thread, at, w->native);
}

/* Images begin ... end - 1 of the unit at items[]. The error record belongs to the thread that failed: the message of the lowest
 * image is carried over to this one. */
static prle_status stretch_put(const stage *s, const int64_t *items, int64_t begin, int64_t end)
{
    prle_status st = PRLE_OK;
    int64_t failed_at = end;
    int n_started = 0;
    char message[1024] = "";

#pragma omp parallel num_threads(s->n_workers)
    {
        int own_thread;

#pragma omp atomic capture
        own_thread = n_started++;
#pragma omp for schedule(dynamic)
        for (int64_t i = begin; i < end; i++) {
            const prle_status own = image_put(s, own_thread, items[i], i);
#pragma omp critical
            if (own != PRLE_OK && i < failed_at) {
                st = own;
                failed_at = i;
                snprintf(message, sizeof message, "%s", prle_error_message());
            }
        }
    }
    return st == PRLE_OK ? PRLE_OK : PRLE_FAIL(st, "%s", message);
}

/* A device fuses one stretch while the next is read. */
static prle_status unit_fuse(const stage *s, int64_t first, int64_t n, prle_fuse_result *result)
{
    for (int64_t at = 0; at < n; at += s->ops->stretch) {
        const int64_t end = n - at < s->ops->stretch ? n : at + s->ops->stretch;

        PRLE_TRY(stretch_put(s, s->index + first, at, end));
        PRLE_TRY(s->ops->submit(s->batch, at, end - at));
    }
    return s->ops->wait(s->batch, result);
}

static prle_status unit_make(void *ctx, int64_t first, int64_t n, int slot)
{
    stage *s = ctx;

    return unit_fuse(s, first, n, &s->fused[slot]);
}

static prle_status unit_commit(void *ctx, int64_t first, int64_t n, int slot, const char *path)
{
    const stage *s = ctx;
    const prle_fuse_result *fused = &s->fused[slot];

    return prle_maps_part_write(path, &s->info, s->index + first, n, fused->rank, fused->attention, fused->area);
}

static prle_status unit_check(void *ctx, int64_t first, int64_t n, const char *path)
{
    const stage *s = ctx;

    return prle_maps_part_check(path, &s->info, s->index + first, n);
}

static prle_status beat(void *comm) { return prle_units_beat(comm); }

static prle_status finish(void *ctx, const char *parts_dir, int64_t n_units, prle_comm *comm)
{
    const stage *s = ctx;

    return prle_maps_compact(s->opts->out, &s->info, parts_dir, n_units, &(prle_rows_beat){beat, comm});
}

static void show(void *ctx, const prle_units_progress *progress)
{
    stage *s = ctx;

    prle_units_meter_show(&s->meter, progress);
}

static prle_status units_run(stage *s, const char *parts_dir, prle_comm *comm)
{
    prle_units_opts units = PRLE_UNITS_OPTS_DEFAULT;

    s->meter = (prle_units_meter){.what = "fuse", .n_images = s->n_items, .comm = comm};
    units.parts_dir = parts_dir;
    units.n_items = s->n_items;
    units.ctx = s;
    units.make = unit_make;
    units.commit = unit_commit;
    units.check = unit_check;
    units.finish = finish;
    units.progress = show;
    PRLE_TRY(prle_units_run(comm, &units));
    prle_progress_end(s->meter.progress);
    return PRLE_OK;
}

/* ---- the result ---- */

static bool info_equal(const prle_maps_info *a, const prle_maps_info *b)
{
    return a->n == b->n && a->height == b->height && a->width == b->width && strcmp(a->rule, b->rule) == 0 &&
           a->tau1 == b->tau1 && a->lambda == b->lambda && a->radius == b->radius && a->hyst_low == b->hyst_low &&
           a->hyst_pair == b->hyst_pair && strcmp(a->zoo, b->zoo) == 0 && strcmp(a->cams, b->cams) == 0 &&
           strcmp(a->faces, b->faces) == 0;
}

/* Rank 0: is the result there? Then units that a killed run left are of no use. */
static prle_status result_look(const stage *s, const char *parts_dir, bool *done)
{
    prle_status st = PRLE_OK;
    prle_maps *maps = NULL;

    *done = prle_file_exists(s->opts->out);
    if (!*done)
        return PRLE_OK;
    PRLE_TRY(prle_maps_open(s->opts->out, &maps));
    PRLE_CHECK_OUT(info_equal(&maps->info, &s->info), PRLE_EINVAL,
                   "%s is there already, made by rule %s (tau1 %g, lambda %g, radius %" PRId64 ") from %s, or from other maps: "
                   "remove it or choose another name",
                   s->opts->out, maps->info.rule, maps->info.tau1, maps->info.lambda, maps->info.radius, maps->info.zoo);
    PRLE_TRY_OUT(prle_folder_remove(parts_dir));
out:
    prle_maps_close(maps);
    return st;
}

static int by_size(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static prle_status shares_measure(const prle_maps *maps, prle_fuse_report *report)
{
    const double size = (double)(maps->info.height * maps->info.width);
    uint32_t *area = NULL;
    int64_t n = 0;
    double sum = 0;

    PRLE_TRY(PRLE_NEW(area, maps->count));
    for (int64_t i = 0; i < maps->info.n; i++)
        if (prle_maps_has(maps, i)) {
            area[n++] = maps->area[i];
            sum += maps->area[i];
            report->n_empty += maps->area[i] == 0;
        }
    if (n > 0) {
        qsort(area, (size_t)n, sizeof *area, by_size);
        for (int k = 0; k < PRLE_FUSE_QUANTILES; k++) {
            const int64_t at = (int64_t)ceil(prle_fuse_quantiles[k] * (double)n) - 1;
            report->share[k] = area[at < 0 ? 0 : at] / size;
        }
        report->mean_share = sum / (double)n / size;
    }
    prle_free(area);
    return PRLE_OK;
}

/* Rank 0. */
static prle_status report_make(const stage *s, bool was_done, prle_fuse_report *report)
{
    prle_status st = PRLE_OK;
    prle_maps *maps = NULL;

    PRLE_TRY(prle_maps_open(s->opts->out, &maps));
    *report = (prle_fuse_report){.n_images = maps->info.n,
                                 .n_maps = maps->count,
                                 .height = maps->info.height,
                                 .width = maps->info.width,
                                 .n_members = s->zoo.n,
                                 .n_unlike = zoo_unlike(s),
                                 .was_done = was_done,
                                 .n_units = s->meter.n_units,
                                 .n_units_before = s->meter.n_units_before};
    PRLE_TRY_OUT(shares_measure(maps, report));
    if ((double)report->n_empty > EMPTY_SHARE_WARNED * (double)report->n_maps)
        prle_log(PRLE_LOG_WARN, "fusion",
                 "%s: %" PRId64 " of %" PRId64 " maps are empty (%.1f %%): their images are never masked; "
                 "rule %s with these thresholds suits this zoo badly",
                 s->opts->out, report->n_empty, report->n_maps, 100.0 * (double)report->n_empty / (double)report->n_maps,
                 maps->info.rule);
out:
    prle_maps_close(maps);
    return st;
}

/* Every rank has opened its members; from here on all go the same way. */
static prle_status stage_run(stage *s, const char *parts_dir, prle_comm *comm, prle_fuse_report *report)
{
    prle_status st = PRLE_OK;
    prle_fuse_report made = {0};
    bool done = false;

    if (comm->rank == 0)
        st = result_look(s, parts_dir, &done);
    PRLE_TRY(prle_comm_agree(comm, st, "look for maps"));
    PRLE_TRY(prle_comm_broadcast(comm, &done, sizeof done, 0, "look for maps"));
    if (!done)
        PRLE_TRY(units_run(s, parts_dir, comm));
    if (comm->rank == 0)
        st = report_make(s, done, &made);
    PRLE_TRY(prle_comm_agree(comm, st, "report"));
    PRLE_TRY(prle_comm_broadcast(comm, &made, sizeof made, 0, "report"));
    *report = made;
    return PRLE_OK;
}

prle_status prle_fuse_run(const prle_fuse_stage_opts *opts, prle_comm *comm, prle_fuse_report *report)
{
    stage s = {.opts = opts};
    const double begin = prle_clock_s();
    char *parts_dir = NULL;
    prle_status st = prle_asprintf(&parts_dir, "%s.parts", opts->out);

    if (st == PRLE_OK)
        st = stage_init(&s);
    st = prle_comm_agree(comm, st, "zoo");
    if (st == PRLE_OK)
        st = stage_run(&s, parts_dir, comm, report);
    if (st == PRLE_OK)
        report->seconds = prle_clock_s() - begin;
    stage_deinit(&s);
    prle_free(parts_dir);
    return st;
}
