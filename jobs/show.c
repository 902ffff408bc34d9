/* show.c - `prle show`: pictures of what detectors look at and of what is hidden (Figures 3, 7 and 9 of arXiv 2307.12534). */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/json.h"
#include "core/sheet.h"
#include "jobs/command.h"
#include "jobs/show/page.h"

enum { SHEET_COLUMNS = 5, OVERVIEW_TILE = 96 };

typedef struct show_args {
    prle_common common;
    const char *data, *maps, *out, *split;
    prle_strings cams, models, methods;
    prle_cam_method cam_method;
    prle_cam_target target;
    int64_t images;
    double strength;
} show_args;

static const prle_option options[] = {
    {PRLE_OPTION_AT(show_args, data), .name = "data", .letter = 'd', .value = "FILE", .required = true,
     .help = "face store made by `prle pack`"},
    {PRLE_OPTION_AT(show_args, out), .name = "out", .letter = 'o', .value = "DIR", .required = true,
     .help = "folder of the pictures: overview.png, a sheet for each image, and index.html, which says what is what"},
    {PRLE_OPTION_AT(show_args, maps), .name = "maps", .letter = 'm', .value = "FILE",
     .help = "maps.h5 of the store: fused attention, and the masks of alpha = 1.0, 0.9 ... 0.1"},
    {PRLE_OPTION_AT(show_args, cams), .name = "cams", .value = "FILE", .many = true, .max = 64,
     .help = "maps of zoo members, made by `prle cam`"},
    {PRLE_OPTION_AT(show_args, models), .name = "model", .value = "MODEL", .many = true, .max = 64,
     .help = "run folders or checkpoints, whose attention maps are made here and now"},
    {PRLE_OPTION_AT(show_args, cam_method), .name = "cam-method", .words = prle_cam_method_words,
     .help = "kind of the maps of --model: see `prle cam --help`"},
    {PRLE_OPTION_AT(show_args, target), .name = "target", .words = prle_cam_target_words,
     .help = "class that the maps of --model explain: the image's own, fake, or the decided one (eigencam: none)"},
    {PRLE_OPTION_AT(show_args, images), .name = "images", .letter = 'n', .min = 1, .max = 1000,
     .help = "of the reals and of each method's fakes, evenly spaced over those that have all maps"},
    {PRLE_OPTION_AT(show_args, methods), .name = "methods", .value = "NAME", .help = "show these forgeries only (and reals)"},
    {PRLE_OPTION_AT(show_args, split), .name = "split", .words = prle_split_words, .help = "images to choose from"},
    {PRLE_OPTION_AT(show_args, strength), .name = "strength", .min = 0, .max = 1, .help = "of the colours over the face"},
    PRLE_OPTION_END,
};

typedef struct show {
    const show_args *args;
    prle_gallery *gallery;
    prle_page_image *image; /* [n] reals first, then method by method */
    int64_t n;
    prle_image *tiles; /* [gallery->n_tiles] of the image at hand */
    prle_sheet overview;
} show;

static void show_deinit(show *s)
{
    for (int64_t i = 0; i < s->n; i++) {
        prle_free(s->image[i].sheet);
        prle_free(s->image[i].scores);
    }
    prle_sheet_deinit(&s->overview);
    prle_free(s->image);
    prle_free(s->tiles);
    prle_gallery_destroy(s->gallery);
}

/* Appends some of the images that a query finds. */
static prle_status images_choose(show *s, const prle_faces_query *query)
{
    prle_status st = PRLE_OK;
    int64_t *index = NULL, n = 0, n_with = 0, take = 0;

    PRLE_TRY_OUT(prle_faces_select(s->gallery->faces, query, &index, &n));
    for (int64_t i = 0; i < n; i++)
        if (prle_gallery_has(s->gallery, index[i]))
            index[n_with++] = index[i];
    take = n_with < s->args->images ? n_with : s->args->images;
    PRLE_TRY_OUT(prle_realloc((size_t)s->n, (size_t)(s->n + take), sizeof *s->image, (prle_any_ptr *)&s->image));
    for (int64_t j = 0; j < take; j++)
        s->image[s->n++].image = index[prle_spaced(n_with, take, j)];
out:
    prle_free(index);
    return st;
}

static prle_status images_find(show *s)
{
    const show_args *a = s->args;
    const prle_faces *faces = s->gallery->faces;
    const char *const *methods = a->methods.n > 0 ? (const char *const *)a->methods.item : faces->method_names;
    const int64_t n_methods = a->methods.n > 0 ? a->methods.n : faces->n_methods;
    prle_faces_query query = PRLE_FACES_QUERY_DEFAULT;

    PRLE_TRY(prle_split_parse(a->split, &query.split));
    query.label = 0;
    PRLE_TRY(images_choose(s, &query));
    query.label = 1;
    query.n_methods = 1;
    for (int64_t m = 0; m < n_methods; m++) {
        query.methods = &methods[m];
        PRLE_TRY(images_choose(s, &query));
    }
    PRLE_CHECK(s->n > 0, PRLE_EFORMAT, "%s: no image of split %s has all the maps asked for", a->data, a->split);
    return PRLE_OK;
}

/* "03-swap-417.png": in the overview's order; method names become letters, digits and dashes. */
static prle_status sheet_name(show *s, int64_t i)
{
    const prle_faces *faces = s->gallery->faces;
    const int64_t image = s->image[i].image;
    char **name = &s->image[i].sheet;

    PRLE_TRY(prle_asprintf(name, "%02" PRId64 "-%s-%" PRId64 ".png", i + 1, faces->method_names[faces->method[image]], image));
    for (char *at = *name; *at != '\0'; at++)
        if (!isalnum((unsigned char)*at) && *at != '.' && *at != '_')
            *at = '-';
    return PRLE_OK;
}

static int64_t rows_of(int64_t n) { return (n + SHEET_COLUMNS - 1) / SHEET_COLUMNS; }

/* The tiles at hand as a sheet: looks, then masks from a new row on. */
static prle_status sheet_write(show *s, int64_t i)
{
    prle_status st = PRLE_OK;
    const prle_gallery *g = s->gallery;
    const int64_t look_rows = rows_of(g->n_looks), rows = look_rows + rows_of(g->n_tiles - g->n_looks);
    prle_sheet sheet = {0};
    char *path = NULL;

    PRLE_TRY_OUT(sheet_name(s, i));
    PRLE_TRY_OUT(prle_path_join(s->args->out, s->image[i].sheet, &path));
    PRLE_TRY_OUT(prle_sheet_init(&sheet, rows, SHEET_COLUMNS, g->faces->height, g->faces->width));
    for (int64_t t = 0; t < g->n_tiles; t++) {
        const int64_t place = t < g->n_looks ? t : look_rows * SHEET_COLUMNS + t - g->n_looks;
        if (s->tiles[t].data != NULL)
            PRLE_TRY_OUT(prle_sheet_put(&sheet, place / SHEET_COLUMNS, place % SHEET_COLUMNS, &s->tiles[t]));
    }
    PRLE_TRY_OUT(prle_image_save(path, &sheet.image, NULL));
out:
    prle_sheet_deinit(&sheet);
    prle_free(path);
    return st;
}

static prle_status image_show(show *s, int64_t i)
{
    prle_status st = PRLE_OK;
    const prle_gallery *g = s->gallery;

    PRLE_TRY_OUT(prle_gallery_draw(s->gallery, s->image[i].image, s->tiles));
    PRLE_TRY_OUT(PRLE_NEW(s->image[i].scores, g->n_models));
    for (int64_t m = 0; m < g->n_models; m++)
        s->image[i].scores[m] = g->scores[m];
    for (int64_t t = 0; t < g->n_tiles; t++)
        if (s->tiles[t].data != NULL)
            PRLE_TRY_OUT(prle_sheet_put(&s->overview, i, t, &s->tiles[t]));
    PRLE_TRY_OUT(sheet_write(s, i));
out:
    for (int64_t t = 0; t < g->n_tiles; t++)
        prle_image_deinit(&s->tiles[t]);
    return st;
}

static prle_status overview_init(show *s)
{
    const prle_faces *faces = s->gallery->faces;
    const int64_t side = faces->height < OVERVIEW_TILE ? faces->height : OVERVIEW_TILE;

    return prle_sheet_init(&s->overview, s->n, s->gallery->n_tiles, side, side * faces->width / faces->height);
}

/* The overview and the page. */
static prle_status index_write(const show *s, const char *about)
{
    prle_status st = PRLE_OK;
    char *overview = NULL, *index = NULL, *html = NULL;

    PRLE_TRY_OUT(prle_path_join(s->args->out, "overview.png", &overview));
    PRLE_TRY_OUT(prle_path_join(s->args->out, "index.html", &index));
    PRLE_TRY_OUT(prle_image_save(overview, &s->overview.image, NULL));
    PRLE_TRY_OUT(prle_page_make(&html, s->gallery, s->image, s->n, SHEET_COLUMNS, about));
    PRLE_TRY_OUT(prle_file_write_atomic(index, html, strlen(html)));
out:
    prle_free(html);
    prle_free(index);
    prle_free(overview);
    return st;
}

static prle_status answer_print(const show *s)
{
    prle_json_writer json = {0};

    if (!s->args->common.json) {
        printf("%s: %" PRId64 " images of %" PRId64 " pictures each; open %s/index.html\n", s->args->out, s->n,
               s->gallery->n_tiles, s->args->out);
        return PRLE_OK;
    }
    prle_json_begin_object(&json, NULL);
    prle_json_add_text(&json, "out", s->args->out);
    prle_json_begin_list(&json, "pictures");
    for (int64_t t = 0; t < s->gallery->n_tiles; t++)
        prle_json_add_text(&json, NULL, s->gallery->tile[t].title);
    prle_json_end(&json);
    prle_json_begin_list(&json, "images");
    for (int64_t i = 0; i < s->n; i++) {
        prle_json_begin_object(&json, NULL);
        prle_json_add_int(&json, "image", s->image[i].image);
        prle_json_add_text(&json, "sheet", s->image[i].sheet);
        prle_json_end(&json);
    }
    prle_json_end(&json);
    prle_json_end(&json);
    return prle_job_json_print(&json);
}

static prle_status run(void *args, const prle_job *job)
{
    prle_status st = PRLE_OK;
    const show_args *a = args;
    show s = {.args = a};
    const prle_gallery_opts opts = {.device = job->device,
                                    .data = a->data,
                                    .maps = a->maps,
                                    .cams = &a->cams,
                                    .models = &a->models,
                                    .method = a->cam_method,
                                    .target = a->target,
                                    .dtype = a->common.dtype,
                                    .strength = a->strength};

    PRLE_CHECK_OUT(a->maps != NULL || a->cams.n > 0 || a->models.n > 0, PRLE_EINVAL,
                   "nothing to show beside the faces: give --maps, --cams or --model");
    PRLE_TRY_OUT(prle_gallery_create(&s.gallery, &opts));
    PRLE_TRY_OUT(images_find(&s));
    PRLE_TRY_OUT(PRLE_NEW(s.tiles, s.gallery->n_tiles));
    PRLE_TRY_OUT(overview_init(&s));
    PRLE_TRY_OUT(prle_folder_make(a->out));
    for (int64_t i = 0; i < s.n; i++)
        PRLE_TRY_OUT(image_show(&s, i));
    PRLE_TRY_OUT(index_write(&s, job->about));
    PRLE_TRY_OUT(answer_print(&s));
out:
    show_deinit(&s);
    return st;
}

static const show_args defaults = {.common = PRLE_COMMON_DEFAULT, .split = "any", .images = 2, .strength = 0.5};

extern const prle_command prle_command_show;
const prle_command prle_command_show = {
    .spec = {.command = "show",
             .summary = "make pictures of what detectors look at and of what masks hide",
             .description =
                 "Writes contact sheets of a few reals and of a few fakes of each method: the face, where the forgery changed it "
                 "where that is known, fused attention, maps of zoo members and of trained models, and the face with growing "
                 "shares of its primary region hidden. Images without a map in one of the files are not chosen.",
             .examples = "prle show --data faces.h5 --maps maps.h5 --cams cams/xception.h5 cams/resnet50.h5 --out pictures\n"
                         "prle show --data faces.h5 --model runs/plain runs/prle --split test --out looks",
             .parts = (const prle_option_part[]){{.options = options}, {0}}},
    .args_bytes = sizeof(show_args),
    .defaults = &defaults,
    .computes = true,
    .run = run,
};
