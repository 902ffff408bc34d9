/* predict.c - `prle predict`: which faces in image files are forged, and what the detector looked at. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/heatmap.h"
#include "core/json.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/table.h"
#include "core/text.h"
#include "jobs/command.h"
#include "jobs/look.h"
#include "jobs/threshold.h"

/* What the heat maps explain: prle_cam_target without "label", which nobody knows here. */
typedef enum target {
    TARGET_ARGMAX,
    TARGET_FAKE,
} target;
static const char *const target_words[] = {[TARGET_ARGMAX] = "argmax", [TARGET_FAKE] = "fake", NULL};

typedef struct predict_args {
    prle_common common;
    prle_strings files;
    const char *model, *threshold, *heatmap;
    target target;
    prle_cam_method method;
    double strength;
    int64_t batch;
} predict_args;

static const prle_option options[] = {
    {PRLE_OPTION_AT(predict_args, files), .name = "files", .value = "FILE", .positional = true, .many = true, .required = true,
     .help = "JPEG and PNG files of one face each, cropped like the faces of the training; a folder stands for its images"},
    {PRLE_OPTION_AT(predict_args, model), .name = "model", .value = "MODEL", .required = true,
     .help = "run folder or checkpoint of a trained detector"},
    {PRLE_OPTION_AT(predict_args, threshold), .name = "threshold", .value = "NUMBER|eer",
     .help = "scores from here on are called fake; eer: the model's own, with equal errors on its validation images"},
    {PRLE_OPTION_AT(predict_args, heatmap), .name = "heatmap", .value = "DIR",
     .help = "folder for a picture of each face with the detector's attention over it"},
    {PRLE_OPTION_AT(predict_args, method), .name = "method", .words = prle_cam_method_words,
     .help = "kind of heat map: see `prle cam --help`"},
    {PRLE_OPTION_AT(predict_args, target), .name = "target", .words = target_words,
     .help = "class that the heat maps explain: the decided one, or fake (eigencam: none)"},
    {PRLE_OPTION_AT(predict_args, strength), .name = "strength", .min = 0, .max = 1, .help = "of the colours over the face"},
    {PRLE_OPTION_AT(predict_args, batch), .name = "batch", .letter = 'b', .min = 1, .max = 1024, .unit = "images",
     .help = "computed at a time; another number may change the last digits of scores"},
    PRLE_OPTION_END,
};

/* A file and what became of it. */
typedef struct item {
    char *path;
    char *shown; /* the path, fit to print */
    bool done;
    double score;
    char *error;   /* why it is not done */
    char *heatmap; /* its path; NULL: none */
} item;

typedef struct predict {
    const predict_args *args;
    item *item; /* [n] */
    int64_t n, n_bad;
    prle_look *look;
    double threshold;
    int64_t *slot; /* [batch] the item in each place of the batch */
    prle_names heatmap_names;
} predict;

static void predict_deinit(predict *p)
{
    for (int64_t i = 0; i < p->n; i++) {
        prle_free(p->item[i].path);
        prle_free(p->item[i].shown);
        prle_free(p->item[i].error);
        prle_free(p->item[i].heatmap);
    }
    prle_names_deinit(&p->heatmap_names);
    prle_look_destroy(p->look);
    prle_free(p->slot);
    prle_free(p->item);
}

/* ---- files ---- */

/* Names of files are bytes; tables and JSON take UTF-8. */
static prle_status shown_make(const char *path, char **out)
{
    PRLE_TRY(prle_strdup(path, out));
    if (!prle_text_is_utf8(*out))
        for (char *at = *out; *at != '\0'; at++)
            if ((unsigned char)*at >= 0x80)
                *at = '?';
    return PRLE_OK;
}

/* Takes path. */
static prle_status item_add(predict *p, char *path)
{
    prle_status st = prle_realloc((size_t)p->n, (size_t)p->n + 1, sizeof *p->item, (prle_any_ptr *)&p->item);

    if (st != PRLE_OK) {
        prle_free(path);
        return st;
    }
    p->item[p->n].path = path;
    return shown_make(path, &p->item[p->n++].shown);
}

static bool is_image_name(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png"};

    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        const size_t n = strlen(name), n_ending = strlen(endings[i]);
        if (n > n_ending && strcasecmp(name + n - n_ending, endings[i]) == 0)
            return true;
    }
    return false;
}

static prle_status item_fail(predict *p, item *it)
{
    p->n_bad++;
    prle_log(PRLE_LOG_WARN, "predict", "%s", prle_error_message());
    return prle_strdup(prle_error_message(), &it->error);
}

static prle_status folder_add(predict *p, const char *folder)
{
    prle_status st = PRLE_OK;
    const int64_t before = p->n;
    prle_strings names = {0};
    char *path = NULL;

    PRLE_TRY_OUT(prle_folder_list(folder, &names));
    for (int64_t i = 0; i < names.n; i++)
        if (is_image_name(names.item[i])) {
            PRLE_TRY_OUT(prle_path_join(folder, names.item[i], &path));
            PRLE_TRY_OUT(item_add(p, path));
        }
    PRLE_CHECK_OUT(p->n > before, PRLE_EFORMAT, "%s: no .jpg, .jpeg or .png files in this folder", folder);
out:
    prle_strings_deinit(&names);
    return st;
}

static prle_status files_find(predict *p)
{
    const prle_strings *files = &p->args->files;
    char *path = NULL;

    for (int64_t i = 0; i < files->n; i++) {
        if (prle_folder_exists(files->item[i])) {
            PRLE_TRY(folder_add(p, files->item[i]));
        } else {
            PRLE_TRY(prle_strdup(files->item[i], &path));
            PRLE_TRY(item_add(p, path));
        }
    }
    return PRLE_OK;
}

/* ---- scores ---- */

/* "DIR/face.png" of "photos/face.jpg"; "DIR/face-2.png" for the next file of that name. */
static prle_status heatmap_path(predict *p, const char *path, char **out)
{
    prle_status st = PRLE_OK;
    const char *name = prle_path_name(path), *dot = strrchr(name, '.');
    const int n = dot != NULL && dot > name ? (int)(dot - name) : (int)strlen(name);
    char *own = NULL;
    int64_t before, index = -1;

    for (int copy = 1; index < 0; copy++) {
        if (copy == 1)
            PRLE_TRY(prle_asprintf(&own, "%.*s.png", n, name));
        else
            PRLE_TRY(prle_asprintf(&own, "%.*s-%d.png", n, name, copy));
        before = p->heatmap_names.list.n;
        st = prle_names_intern(&p->heatmap_names, own, &index);
        if (st == PRLE_OK && index < before)
            index = -1; /* another file's already */
        else if (st == PRLE_OK)
            st = prle_path_join(p->args->heatmap, own, out);
        prle_free(own);
        PRLE_TRY(st);
    }
    return PRLE_OK;
}

/* The map in place i of the batch over its file, which is decoded once more: a batch of photographs would be much to keep. */
static prle_status heatmap_write(predict *p, item *it, int64_t i)
{
    prle_status st = PRLE_OK;
    const prle_look *look = p->look;
    prle_image image = {0};

    PRLE_TRY_OUT(heatmap_path(p, it->path, &it->heatmap));
    PRLE_TRY_OUT(prle_image_load(&image, it->path, 3));
    PRLE_TRY_OUT(prle_heatmap_overlay_map(&image, &image, look->maps + i * look->map_height * look->map_width, look->map_height,
                                          look->map_width, p->args->strength));
    PRLE_TRY_OUT(prle_image_save(it->heatmap, &image, NULL));
out:
    prle_image_deinit(&image);
    return st;
}

static prle_status batch_run(predict *p, int64_t n)
{
    PRLE_TRY(prle_look_run(p->look, n));
    for (int64_t i = 0; i < n; i++) {
        item *it = &p->item[p->slot[i]];
        it->done = true;
        it->score = p->look->scores[i];
        if (p->args->heatmap != NULL)
            PRLE_TRY(heatmap_write(p, it, i));
    }
    return PRLE_OK;
}

/* Into place i of the batch; a file that is no image is noted and leaves the place free. */
static prle_status item_load(predict *p, int64_t at, int64_t i, bool *taken)
{
    prle_image image = {0};
    prle_status st = prle_image_load(&image, p->item[at].path, 3);

    *taken = st == PRLE_OK;
    if (st == PRLE_ENOMEM)
        return st;
    if (st != PRLE_OK)
        return item_fail(p, &p->item[at]);
    p->slot[i] = at;
    st = prle_look_put(p->look, i, &image, 0);
    prle_image_deinit(&image);
    return st;
}

static prle_status items_run(predict *p)
{
    prle_status st = PRLE_OK;
    prle_progress_opts shown = PRLE_PROGRESS_OPTS_DEFAULT;
    prle_progress *progress = NULL;
    int64_t in_batch = 0;

    shown.what = "predict";
    shown.total = p->n;
    PRLE_TRY_OUT(prle_progress_create(&progress, &shown));
    for (int64_t at = 0; at < p->n; at++) {
        bool taken;
        PRLE_TRY_OUT(item_load(p, at, in_batch, &taken));
        in_batch += taken;
        if (in_batch == p->args->batch || (in_batch > 0 && at == p->n - 1)) {
            PRLE_TRY_OUT(batch_run(p, in_batch));
            in_batch = 0;
        }
        prle_progress_add(progress, 1);
    }
out:
    prle_progress_destroy(progress);
    return st;
}

/* ---- the answer ---- */

static const char *decision(const predict *p, const item *it)
{
    return !it->done ? "unreadable" : it->score >= p->threshold ? "fake" : "real";
}

static prle_status json_make(const predict *p, char **text)
{
    prle_json_writer json = {0};

    prle_json_begin_object(&json, NULL);
    prle_json_add_text(&json, "model", p->args->model);
    prle_json_add_double(&json, "threshold", p->threshold);
    prle_json_begin_list(&json, "files");
    for (int64_t i = 0; i < p->n; i++) {
        const item *it = &p->item[i];
        prle_json_begin_object(&json, NULL);
        prle_json_add_text(&json, "file", it->shown);
        prle_json_add_text(&json, "decision", it->done ? decision(p, it) : NULL);
        if (it->done)
            prle_json_add_double(&json, "score", it->score);
        if (it->heatmap != NULL)
            prle_json_add_text(&json, "heatmap", it->heatmap);
        if (it->error != NULL)
            prle_json_add_text(&json, "error", it->error);
        prle_json_end(&json);
    }
    prle_json_end(&json);
    prle_json_end(&json);
    return prle_json_take(&json, true, text);
}

static prle_status table_make(const predict *p, char **text)
{
    prle_table table = {.columns = "lrl"};

    prle_table_add(&table, "file");
    prle_table_add(&table, "score");
    prle_table_add(&table, "decision");
    for (int64_t i = 0; i < p->n; i++) {
        prle_table_add(&table, "%s", p->item[i].shown);
        if (p->item[i].done)
            prle_table_add(&table, "%.4f", p->item[i].score);
        else
            prle_table_add(&table, "-");
        prle_table_add(&table, "%s", decision(p, &p->item[i]));
    }
    return prle_table_take(&table, PRLE_TABLE_TEXT, text);
}

static prle_status answer_print(const predict *p)
{
    char *text = NULL;

    if (p->args->common.json) {
        PRLE_TRY(json_make(p, &text));
        printf("%s\n", text);
    } else {
        PRLE_TRY(table_make(p, &text));
        printf("%s\nscore: P(fake) by %s; fake from %.4f on\n", text, p->args->model, p->threshold);
    }
    prle_free(text);
    return PRLE_OK;
}

static prle_status run(void *args, const prle_job *job)
{
    prle_status st = PRLE_OK;
    const predict_args *a = args;
    predict p = {.args = a};
    const prle_look_opts look = {.device = job->device,
                                 .batch = a->batch,
                                 .dtype = a->common.dtype,
                                 .maps = a->heatmap != NULL,
                                 .method = a->method,
                                 .target = a->target == TARGET_FAKE ? PRLE_CAM_FAKE : PRLE_CAM_ARGMAX};

    PRLE_TRY_OUT(prle_threshold_check(a->threshold));
    PRLE_TRY_OUT(files_find(&p));
    PRLE_TRY_OUT(prle_look_create(&p.look, a->model, &look));
    PRLE_TRY_OUT(prle_threshold_choose(&p.threshold, a->threshold, a->model, &p.look->info));
    PRLE_TRY_OUT(PRLE_NEW(p.slot, a->batch));
    if (a->heatmap != NULL)
        PRLE_TRY_OUT(prle_folder_make(a->heatmap));
    PRLE_TRY_OUT(items_run(&p));
    PRLE_TRY_OUT(answer_print(&p));
    PRLE_CHECK_OUT(p.n_bad == 0, PRLE_EFORMAT, "%" PRId64 " of %" PRId64 " files could not be read", p.n_bad, p.n);
out:
    predict_deinit(&p);
    return st;
}

static const predict_args defaults = {.common = PRLE_COMMON_DEFAULT, .threshold = "eer", .strength = 0.5, .batch = 16};

extern const prle_command prle_command_predict;
const prle_command prle_command_predict = {
    .spec = {.command = "predict",
             .summary = "score image files with a trained detector",
             .description =
                 "Prints P(fake) and a decision for each image file. A file of any size is resized to the network's input, so it "
                 "must hold one face, cropped and aligned like the faces that the detector was trained on; a whole photograph "
                 "gives a number without meaning. Files that cannot be read are named and counted, the others are scored; the "
                 "exit code is 3 then.",
             .examples = "prle predict --model runs/prle face.jpg\n"
                         "prle predict --model runs/prle faces/ --heatmap looks/ --json",
             .parts = (const prle_option_part[]){{.options = options}, {0}}},
    .args_bytes = sizeof(predict_args),
    .defaults = &defaults,
    .computes = true,
    .run = run,
};
