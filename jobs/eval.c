/* eval.c - `prle eval`: how good detectors are on face stores, over ranks. The numbers are made in jobs/eval/. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/log.h"
#include "dist/watchdog.h"
#include "jobs/command.h"
#include "jobs/eval/report.h"
#include "jobs/names.h"
#include "jobs/score.h"
#include "jobs/threshold.h"
#include "nets/checkpoint.h"

typedef struct eval_args {
    prle_common common;
    prle_strings models, data, maps, methods, groups, alphas;
    const char *split, *out, *threshold;
    prle_mask_kind mask;
    prle_mask_fill fill;
    int64_t max_frames, batch;
    int n_replicates, loader_threads;
    double deadline;
} eval_args;

static const prle_option options[] = {
    {PRLE_OPTION_AT(eval_args, models), .name = "model", .value = "MODEL", .many = true, .required = true, .min = 1, .max = 64,
     .help = "run folders or checkpoints; the first is what the others are compared with"},
    {PRLE_OPTION_AT(eval_args, data), .name = "data", .letter = 'd', .value = "FILE", .many = true, .required = true, .min = 1,
     .max = 64, .help = "face stores made by `prle pack`"},
    {PRLE_OPTION_AT(eval_args, split), .name = "split", .words = prle_split_words, .help = "images to score"},
    {PRLE_OPTION_AT(eval_args, methods), .name = "methods", .value = "NAME",
     .help = "score these forgeries only (and all reals)"},
    {PRLE_OPTION_AT(eval_args, max_frames), .name = "frames", .min = 0, .max = 1e6,
     .help = "frames of a video, evenly spaced; 0: all"},
    {PRLE_OPTION_AT(eval_args, out), .name = "out", .letter = 'o', .value = "DIR",
     .help = "folder for metrics.json and the scores of every image, scores.csv; by default nothing is written"},

    {PRLE_OPTION_AT(eval_args, groups), .name = "group", .value = "NAME=METHOD,METHOD", .many = true, .group = "What is reported",
     .help = "forgeries that are reported together, instead of one by one: seen=swap,paste unseen=mouth"},
    {PRLE_OPTION_AT(eval_args, threshold), .name = "threshold", .value = "NUMBER|eer",
     .help = "scores from here on are called fake in ACC; eer: the model's own, with equal errors on its validation images"},
    {PRLE_OPTION_AT(eval_args, n_replicates), .name = "bootstrap", .min = 0, .max = 1e6, .unit = "replicates",
     .help = "for 95 % intervals, identities (else videos) drawn with replacement; 0: no intervals"},

    {PRLE_OPTION_AT(eval_args, mask), .name = "mask", .words = prle_mask_kind_words,
     .group = "Masks (arXiv 2307.12534, Figure 8)", .help = "hide a share of every image: see `prle train --help`"},
    {PRLE_OPTION_AT(eval_args, maps), .name = "maps", .letter = 'm', .value = "FILE", .many = true, .max = 64,
     .help = "maps.h5 of each face store, in the same order"},
    {PRLE_OPTION_AT(eval_args, alphas), .name = "alpha", .value = "SHARE",
     .help = "hidden shares of the region, each in [0,1]; each is scored and reported by itself; by default 1"},
    {PRLE_OPTION_AT(eval_args, fill), .name = "fill", .words = prle_mask_fill_words, .help = "what hidden pixels become"},

    {PRLE_OPTION_AT(eval_args, batch), .name = "batch", .letter = 'b', .min = 1, .max = 4096, .unit = "images",
     .help = "scored at a time by a rank; another number may change the last digits of scores", .group = "Ranks, time"},
    {PRLE_OPTION_AT(eval_args, loader_threads), .name = "loader-threads", .min = 1, .max = PRLE_LOADER_MAX_THREADS,
     .help = "that decode images, each rank"},
    {PRLE_OPTION_AT(eval_args, deadline), .name = "deadline", .min = 0, .max = 1e6, .unit = "s",
     .help = "a wait for other ranks that lasts longer ends the job; 0: PRLE_DEADLINE, else 600 s"},
    PRLE_OPTION_END,
};

/* Everything a run holds. */
typedef struct eval {
    const eval_args *args;
    prle_comm *comm;
    const prle_device *device;
    prle_strings model_names, data_names;
    double *alpha; /* [n_alphas]; one NaN without masks */
    int64_t n_alphas;
    prle_faces **faces; /* [data] */
    prle_maps **maps;   /* [data] NULL where none */
    prle_eval_data *data;
    prle_eval_question question;
    prle_eval_row *rows;
    int64_t n_rows;
    prle_strings score_files; /* [sets] with --out */
} eval;

static void eval_deinit(eval *e)
{
    for (int64_t d = 0; d < e->args->data.n; d++) {
        if (e->data != NULL)
            prle_free(e->data[d].index);
        if (e->maps != NULL)
            prle_maps_close(e->maps[d]);
        if (e->faces != NULL)
            prle_faces_close(e->faces[d]);
    }
    prle_eval_question_deinit(&e->question);
    prle_strings_deinit(&e->score_files);
    prle_strings_deinit(&e->model_names);
    prle_strings_deinit(&e->data_names);
    prle_free(e->rows);
    prle_free(e->alpha);
    prle_free(e->data);
    prle_free(e->maps);
    prle_free(e->faces);
}

/* ---- options ---- */

static prle_status alphas_make(eval *e)
{
    const prle_strings *given = &e->args->alphas;

    PRLE_CHECK(given->n == 0 || e->args->mask != PRLE_MASK_NONE, PRLE_EINVAL, "--alpha says how much --mask hides: give both");
    e->n_alphas = given->n > 0 ? given->n : 1;
    PRLE_TRY(PRLE_NEW(e->alpha, e->n_alphas));
    e->alpha[0] = e->args->mask == PRLE_MASK_NONE ? (double)NAN : 1;
    for (int64_t i = 0; i < given->n; i++)
        PRLE_TRY(prle_share_parse("alpha", given->item[i], &e->alpha[i]));
    return PRLE_OK;
}

/* "seen=swap,paste" */
static prle_status group_parse(const char *text, prle_eval_group *out)
{
    const size_t n_name = strcspn(text, "=");
    char *method = NULL;
    prle_status st = PRLE_OK;

    PRLE_CHECK(n_name > 0 && text[n_name] == '=' && text[n_name + 1] != '\0', PRLE_EINVAL,
               "option group = \"%s\": expected NAME=METHOD,METHOD", text);
    PRLE_TRY(prle_asprintf(&out->name, "%.*s", (int)n_name, text));
    for (const char *at = text + n_name + 1; *at != '\0' && st == PRLE_OK; at += strcspn(at, ","), at += *at == ',') {
        PRLE_TRY(prle_asprintf(&method, "%.*s", (int)strcspn(at, ","), at));
        st = prle_strings_add(&out->methods, method);
        prle_free(method);
    }
    return st;
}

static prle_status groups_make(eval *e)
{
    const prle_strings *given = &e->args->groups;

    PRLE_TRY(PRLE_NEW(e->question.group, given->n));
    e->question.n_groups = given->n;
    for (int64_t g = 0; g < given->n; g++)
        PRLE_TRY(group_parse(given->item[g], &e->question.group[g]));
    return PRLE_OK;
}

static prle_status options_take(eval *e)
{
    const eval_args *a = e->args;

    PRLE_TRY(prle_short_names(&e->model_names, &a->models));
    PRLE_TRY(prle_short_names(&e->data_names, &a->data));
    PRLE_TRY(alphas_make(e));
    PRLE_TRY(groups_make(e));
    PRLE_TRY(prle_threshold_check(a->threshold));
    PRLE_CHECK(a->maps.n > 0 || !prle_mask_needs_rank(a->mask), PRLE_EINVAL, "--mask %s needs --maps FILE (made by `prle fuse`)",
               prle_mask_kind_words[a->mask]);
    PRLE_CHECK(a->maps.n == 0 || a->maps.n == a->data.n, PRLE_EINVAL, "%" PRId64 " --maps for %" PRId64 " --data: one for each",
               a->maps.n, a->data.n);
    e->question.n_models = a->models.n;
    e->question.n_replicates = a->n_replicates;
    e->question.seed = a->common.seed;
    return PRLE_OK;
}

/* ---- stores ---- */

/* Images that were to be masked and have no map would silently be scored as they are. */
static prle_status maps_check(const eval *e, const prle_eval_data *data, const prle_maps *maps)
{
    int64_t without = 0, empty = 0;

    PRLE_CHECK(maps->info.n == data->faces->n, PRLE_EFORMAT, "%s: has maps of a store of %" PRId64 " images, %s has %" PRId64,
               maps->path, maps->info.n, data->path, data->faces->n);
    for (int64_t i = 0; i < data->n; i++) {
        without += !prle_maps_has(maps, data->index[i]);
        empty += maps->area[data->index[i]] == 0;
    }
    PRLE_CHECK(without == 0, PRLE_EFORMAT,
               "%s: %" PRId64 " of the %" PRId64
               " images asked for have no map; `prle cam --split any` and `prle fuse` make them",
               maps->path, without, data->n);
    if (empty > 0 && e->comm->rank == 0)
        prle_log(PRLE_LOG_WARN, "eval", "%s: %" PRId64 " of %" PRId64 " maps are empty: these images are scored as they are",
                 maps->path, empty, data->n);
    return PRLE_OK;
}

static void landmarks_check(const eval *e, const prle_eval_data *data)
{
    int64_t without = 0;

    for (int64_t i = 0; i < data->n; i++)
        without += isnan(data->faces->landmarks[data->index[i] * PRLE_FACES_LANDMARKS * 2]);
    if (without > 0 && e->comm->rank == 0)
        prle_log(PRLE_LOG_WARN, "eval", "%s: %" PRId64 " of %" PRId64 " images have no landmarks and are scored as they are",
                 data->path, without, data->n);
}

static prle_status store_open(eval *e, int64_t d)
{
    const eval_args *a = e->args;
    prle_faces_query query = PRLE_FACES_QUERY_DEFAULT;
    prle_eval_data *data = &e->data[d];

    PRLE_TRY(prle_split_parse(a->split, &query.split));
    query.methods = a->methods.n > 0 ? (const char *const *)a->methods.item : NULL;
    query.n_methods = a->methods.n;
    query.max_frames = a->max_frames;
    PRLE_TRY(prle_faces_open(a->data.item[d], &e->faces[d]));
    *data = (prle_eval_data){.name = e->data_names.item[d], .path = a->data.item[d], .faces = e->faces[d]};
    PRLE_TRY(prle_faces_select(data->faces, &query, &data->index, &data->n));
    PRLE_CHECK(data->n > 0, PRLE_EFORMAT, "%s: no images in split %s", data->path, a->split);
    if (a->maps.n > 0) {
        PRLE_TRY(prle_maps_open(a->maps.item[d], &e->maps[d]));
        PRLE_TRY(maps_check(e, data, e->maps[d]));
    }
    if (a->mask == PRLE_MASK_LANDMARK)
        landmarks_check(e, data);
    return PRLE_OK;
}

static prle_status stores_open(eval *e)
{
    const int64_t n = e->args->data.n;

    PRLE_TRY(PRLE_NEW(e->faces, n));
    PRLE_TRY(PRLE_NEW(e->maps, n));
    PRLE_TRY(PRLE_NEW(e->data, n));
    for (int64_t d = 0; d < n; d++)
        PRLE_TRY(store_open(e, d));
    return PRLE_OK;
}

/* ---- scores ---- */

static prle_status set_score(const eval *e, prle_eval_set *set, prle_model *model, const prle_checkpoint_info *info, int64_t d)
{
    prle_status st = PRLE_OK;
    const eval_args *a = e->args;
    prle_progress_opts shown = PRLE_PROGRESS_OPTS_DEFAULT;
    prle_score_opts opts = {.dtype = a->common.dtype,
                            .batch = a->batch,
                            .loader_threads = a->loader_threads,
                            .mask = PRLE_MASK_OPTS_DEFAULT,
                            .maps = e->maps[d],
                            .seed = a->common.seed};
    prle_scorer *scorer = NULL;
    prle_progress *progress = NULL;

    opts.mask.kind = a->mask;
    opts.mask.fill = a->fill;
    opts.mask.alpha = set->alpha;
    memcpy(opts.mean, info->mean, sizeof opts.mean);
    memcpy(opts.std, info->std, sizeof opts.std);
    shown.what = set->model;
    shown.total = set->data->n;
    shown.rank = e->comm->rank;
    PRLE_TRY_OUT(prle_scorer_create(&scorer, model, set->data->faces, &opts));
    PRLE_TRY_OUT(prle_progress_create(&progress, &shown));
    PRLE_TRY_OUT(prle_scorer_run(scorer, &set->scores, set->data->index, set->data->n, e->comm, progress));
    prle_progress_end(progress);
out:
    prle_progress_destroy(progress);
    prle_scorer_destroy(scorer);
    return st;
}

/* All sets of model m. */
static prle_status model_score(eval *e, int64_t m)
{
    prle_status st = PRLE_OK;
    prle_model *model = NULL;
    prle_checkpoint_info info;
    const char *path = e->args->models.item[m];
    double threshold;

    PRLE_TRY_OUT(prle_model_load(&model, &info, NULL, path, e->args->common.dtype));
    PRLE_TRY_OUT(prle_model_place(model, e->device));
    PRLE_TRY_OUT(prle_threshold_choose(&threshold, e->args->threshold, path, &info));
    for (int64_t d = 0; d < e->args->data.n; d++)
        for (int64_t i = 0; i < e->n_alphas; i++) {
            prle_eval_set *set = &e->question.set[e->question.n_sets++];
            *set = (prle_eval_set){.model = e->model_names.item[m],
                                   .model_path = path,
                                   .data = &e->data[d],
                                   .alpha = e->alpha[i],
                                   .threshold = threshold};
            PRLE_TRY_OUT(set_score(e, set, model, &info, d));
        }
out:
    prle_model_destroy(model);
    return st;
}

/* ---- the answer, on rank 0 ---- */

static prle_status text_write(const char *folder, const char *name, const char *text)
{
    char *path = NULL;

    PRLE_TRY(prle_path_join(folder, name, &path));
    const prle_status st = prle_file_write_atomic(path, text, strlen(text));
    prle_free(path);
    return st;
}

static prle_status set_write(eval *e, const prle_eval_set *set)
{
    prle_status st = PRLE_OK;
    char *name = NULL, *csv = NULL;

    PRLE_TRY_OUT(prle_eval_csv_name(&name, set, &e->question));
    PRLE_TRY_OUT(prle_strings_add(&e->score_files, name));
    PRLE_TRY_OUT(prle_eval_csv(&csv, set));
    PRLE_TRY_OUT(text_write(e->args->out, name, csv));
out:
    prle_free(csv);
    prle_free(name);
    return st;
}

static prle_status json_make(const eval *e, const char *about, char **text)
{
    const eval_args *a = e->args;
    prle_json_writer json = {0};
    char *object = NULL;

    prle_json_begin_object(&json, NULL);
    prle_json_add_text(&json, "created_by", about);
    prle_json_add_text(&json, "split", a->split);
    prle_json_add_text(&json, "mask", prle_mask_kind_words[a->mask]);
    prle_json_add_int(&json, "bootstrap_replicates", a->n_replicates);
    prle_json_add_int(&json, "seed", (int64_t)a->common.seed);
    prle_eval_json(&json, e->rows, e->n_rows, &e->question, a->out != NULL ? e->score_files.item : NULL);
    prle_json_end(&json);
    PRLE_TRY(prle_json_take(&json, true, &object));
    const prle_status st = prle_asprintf(text, "%s\n", object);
    prle_free(object);
    return st;
}

static void answer_print(const eval *e, const char *json, const char *table)
{
    bool by_identity = true;

    if (e->args->common.json) {
        printf("%s", json);
        return;
    }
    for (int64_t i = 0; i < e->n_rows; i++)
        by_identity &= e->rows[i].interval.by_identity;
    printf("%s", table);
    if (e->args->n_replicates > 0)
        printf("\n[95 %%]: %d bootstraps over %s\n", e->args->n_replicates,
               by_identity ? "identities" : "videos (some identities are unknown)");
}

static prle_status answer(eval *e, const char *about)
{
    prle_status st = PRLE_OK;
    char *json = NULL, *table = NULL;

    PRLE_TRY_OUT(prle_eval_answer(&e->rows, &e->n_rows, &e->question));
    for (int64_t s = 0; e->args->out != NULL && s < e->question.n_sets; s++)
        PRLE_TRY_OUT(set_write(e, &e->question.set[s]));
    PRLE_TRY_OUT(json_make(e, about, &json));
    if (e->args->out != NULL)
        PRLE_TRY_OUT(text_write(e->args->out, "metrics.json", json));
    PRLE_TRY_OUT(prle_eval_table(&table, e->rows, e->n_rows, &e->question));
    answer_print(e, json, table);
out:
    prle_free(table);
    prle_free(json);
    return st;
}

static prle_status run(void *args, const prle_job *job)
{
    prle_status st = PRLE_OK;
    eval e = {.args = args, .comm = job->world, .device = job->device};

    PRLE_TRY_OUT(options_take(&e));
    PRLE_TRY_OUT(prle_watchdog_begin(job->world, e.args->deadline));
    PRLE_TRY_OUT(stores_open(&e));
    if (e.args->out != NULL)
        PRLE_TRY_OUT(prle_folder_make(e.args->out));
    PRLE_TRY_OUT(PRLE_NEW(e.question.set, e.args->models.n * e.args->data.n * e.n_alphas));
    for (int64_t m = 0; m < e.args->models.n; m++)
        PRLE_TRY_OUT(model_score(&e, m));
    if (job->world->rank == 0)
        st = answer(&e, job->about);
    PRLE_TRY_OUT(prle_comm_agree(job->world, st, "the answer"));
out:
    prle_watchdog_end();
    eval_deinit(&e);
    return st;
}

static const eval_args defaults = {
    .common = PRLE_COMMON_DEFAULT, .split = "test", .threshold = "0.5", .n_replicates = 1000, .batch = 16, .loader_threads = 1};

extern const prle_command prle_command_eval;
const prle_command prle_command_eval = {
    .spec = {.command = "eval",
             .summary = "score face stores and say how good detectors are",
             .description =
                 "Scores every image of a split once, shared over the ranks of mpirun or srun, and prints ACC, AUC, AP, EER and "
                 "TPR at FPR by frame and by video (the mean score of its frames), for all forgeries and for each method or "
                 "--group against all reals. Intervals are 95 % bootstraps over identities. Further models are compared with the "
                 "first on the same draws, so the difference of their AUC has an interval of its own. The answer does not depend "
                 "on the number of ranks. Mind that maps of `prle cam --target label` know the true class, and so do masks made "
                 "of them: take --target fake or argmax to test with.",
             .examples =
                 "prle eval --model runs/plain --data faces.h5\n"
                 "prle eval --model runs/plain runs/prle --data faces.h5 --group seen=swap,paste unseen=mouth,blend\n"
                 "mpirun -n 2 prle eval --model runs/plain --data faces.h5 --mask primary --maps maps.h5 --alpha 0,0.2,0.4",
             .parts = (const prle_option_part[]){{.options = options}, {0}}},
    .args_bytes = sizeof(eval_args),
    .defaults = &defaults,
    .distributed = true,
    .computes = true,
    .run = run,
};
