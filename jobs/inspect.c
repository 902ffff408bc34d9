/* inspect.c - `prle inspect`: what is in one of our HDF5 files. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "augment/faces.h"
#include "augment/maps.h"
#include "cam/cam_file.h"
#include "core/alloc.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/hdf5.h"
#include "core/json.h"
#include "core/table.h"
#include "jobs/command.h"
#include "jobs/inspect/traces.h"
#include "jobs/leak.h"
#include "nets/checkpoint.h"

typedef struct inspect_args {
    prle_common common;
    const char *file, *faces;
    bool verify;
} inspect_args;

static const prle_option options[] = {
    {PRLE_OPTION_AT(inspect_args, file), .name = "file", .value = "FILE", .positional = true, .required = true,
     .help = "any HDF5 file of prle"},
    {PRLE_OPTION_AT(inspect_args, verify), .name = "verify", .help = "read everything and compare it with its checksums"},
    {PRLE_OPTION_AT(inspect_args, faces), .name = "faces", .value = "FILE",
     .help = "of fused maps: the face store they are of; says whether they lie where the forgeries changed it"},
    PRLE_OPTION_END,
};

/* Everything said goes into both; one of them is printed. */
typedef struct answer {
    prle_json_writer json;
    prle_table facts;    /* name, value */
    prle_table methods;  /* of a face store */
    prle_table traces;   /* of fused maps on a face store */
    prle_table datasets; /* name, type, shape, bytes */
} answer;

static void say_text(answer *a, const char *name, const char *value)
{
    prle_json_add_text(&a->json, name, value);
    prle_table_add(&a->facts, "%s", name);
    prle_table_add(&a->facts, "%s", value);
}

static void say_int(answer *a, const char *name, int64_t value)
{
    prle_json_add_int(&a->json, name, value);
    prle_table_add(&a->facts, "%s", name);
    prle_table_add(&a->facts, "%lld", (long long)value);
}

static void say_double(answer *a, const char *name, double value)
{
    prle_json_add_double(&a->json, name, value);
    prle_table_add(&a->facts, "%s", name);
    prle_table_add(&a->facts, "%.4g", value);
}

/* Every file: attributes and datasets. */

static prle_status say_attribute(answer *a, prle_h5 *file, const char *name)
{
    prle_h5_type type;
    int64_t integer;
    double real;
    char *text = NULL;

    PRLE_TRY(prle_h5_attr_type(file, name, &type));
    if (type == PRLE_H5_I64) {
        PRLE_TRY(prle_h5_attr_read_int(file, name, &integer));
        say_int(a, name, integer);
    } else if (type == PRLE_H5_F64) {
        PRLE_TRY(prle_h5_attr_read_double(file, name, &real));
        say_double(a, name, real);
    } else {
        PRLE_TRY(prle_h5_attr_read_string(file, name, &text));
        say_text(a, name, text);
        prle_free(text);
    }
    return PRLE_OK;
}

static prle_status say_attributes(answer *a, prle_h5 *file)
{
    prle_status st = PRLE_OK;
    prle_strings names = {0};

    PRLE_TRY_OUT(prle_h5_attr_list(file, &names));
    prle_json_begin_object(&a->json, "attributes");
    for (int64_t i = 0; i < names.n; i++)
        PRLE_TRY_OUT(say_attribute(a, file, names.item[i]));
    prle_json_end(&a->json);
out:
    prle_strings_deinit(&names);
    return st;
}

typedef struct group_sum {
    int64_t n_datasets;
    uint64_t stored_bytes;
} group_sum;

static void size_cell(answer *a, uint64_t n_bytes)
{
    if (n_bytes < 1 << 20)
        prle_table_add(&a->datasets, "%.1f KiB", (double)n_bytes / 1024);
    else
        prle_table_add(&a->datasets, "%.1f MiB", (double)n_bytes / (1 << 20));
}

/* Datasets in the root get a line each, those in groups only a record; the group's line follows. */
static prle_status say_dataset(answer *a, prle_h5 *file, const char *name, bool in_root, group_sum *sum)
{
    prle_h5_dataset info;
    char shape[96];

    PRLE_TRY(prle_h5_dataset_get(file, name, &info));
    prle_shape_print(&info.shape, shape);
    prle_json_begin_object(&a->json, NULL);
    prle_json_add_text(&a->json, "name", name);
    prle_json_add_text(&a->json, "type", prle_h5_type_name(info.type));
    prle_json_add_text(&a->json, "shape", shape);
    prle_json_add_int(&a->json, "stored_bytes", (int64_t)info.stored_bytes);
    prle_json_end(&a->json);
    sum->n_datasets++;
    sum->stored_bytes += info.stored_bytes;
    if (in_root) {
        prle_table_add(&a->datasets, "%s", name);
        prle_table_add(&a->datasets, "%s", prle_h5_type_name(info.type));
        prle_table_add(&a->datasets, "%s", shape);
        size_cell(a, info.stored_bytes);
    }
    return PRLE_OK;
}

static prle_status say_group(answer *a, prle_h5 *file, const char *group, int depth, group_sum *sum);

static prle_status say_member(answer *a, prle_h5 *file, const char *name, int depth, group_sum *sum)
{
    if (!prle_h5_is_group(file, name))
        return say_dataset(a, file, name, depth == 0, sum);
    group_sum inner = {0};
    PRLE_TRY(say_group(a, file, name, depth + 1, depth == 0 ? &inner : sum));
    if (depth == 0) {
        prle_table_add(&a->datasets, "%s/", name);
        prle_table_add(&a->datasets, "%lld datasets", (long long)inner.n_datasets);
        prle_table_add(&a->datasets, "%s", "");
        size_cell(a, inner.stored_bytes);
    }
    return PRLE_OK;
}

static prle_status say_group(answer *a, prle_h5 *file, const char *group, int depth, group_sum *sum)
{
    prle_status st = PRLE_OK;
    prle_strings names = {0};
    char *path = NULL;

    PRLE_CHECK(depth <= 8, PRLE_EFORMAT, "%s: groups more than 8 deep", prle_h5_path(file));
    PRLE_TRY_OUT(prle_h5_list(file, depth == 0 ? "/" : group, &names));
    for (int64_t i = 0; i < names.n; i++) {
        prle_free(path);
        path = NULL;
        PRLE_TRY_OUT(prle_path_join(group, names.item[i], &path));
        PRLE_TRY_OUT(say_member(a, file, path, depth, sum));
    }
out:
    prle_free(path);
    prle_strings_deinit(&names);
    return st;
}

static prle_status say_datasets(answer *a, prle_h5 *file)
{
    group_sum sum = {0};

    prle_table_add(&a->datasets, "dataset");
    prle_table_add(&a->datasets, "type");
    prle_table_add(&a->datasets, "shape");
    prle_table_add(&a->datasets, "stored");
    prle_json_begin_list(&a->json, "datasets");
    PRLE_TRY(say_group(a, file, "", 0, &sum));
    prle_json_end(&a->json);
    return PRLE_OK;
}

/* Face stores. */

/* Images and videos of one method in one split. */
static void method_count(const prle_faces *faces, int64_t method, int split, int64_t *n_images, int64_t *n_videos, uint8_t *seen)
{
    *n_images = *n_videos = 0;
    memset(seen, 0, (size_t)faces->n_videos);
    for (int64_t i = 0; i < faces->n; i++) {
        if (faces->method[i] != method || faces->split[i] != split)
            continue;
        ++*n_images;
        *n_videos += !seen[faces->video[i]];
        seen[faces->video[i]] = 1;
    }
}

static prle_status say_methods(answer *a, const prle_faces *faces)
{
    prle_status st = PRLE_OK;
    uint8_t *seen = NULL;
    int64_t n_images, n_videos;

    PRLE_TRY(PRLE_NEW(seen, faces->n_videos));
    prle_table_add(&a->methods, "images (videos)");
    for (int split = 0; split < PRLE_SPLITS; split++)
        prle_table_add(&a->methods, "%s", prle_split_name((prle_split)split));
    prle_json_begin_object(&a->json, "methods");
    for (int64_t method = 0; method < faces->n_methods; method++) {
        prle_table_add(&a->methods, "%s", faces->method_names[method]);
        prle_json_begin_object(&a->json, faces->method_names[method]);
        for (int split = 0; split < PRLE_SPLITS; split++) {
            method_count(faces, method, split, &n_images, &n_videos, seen);
            prle_table_add(&a->methods, "%lld (%lld)", (long long)n_images, (long long)n_videos);
            prle_json_begin_object(&a->json, prle_split_name((prle_split)split));
            prle_json_add_int(&a->json, "images", n_images);
            prle_json_add_int(&a->json, "videos", n_videos);
            prle_json_end(&a->json);
        }
        prle_json_end(&a->json);
    }
    prle_json_end(&a->json);
    prle_free(seen);
    return st;
}

static prle_status say_faces(answer *a, const prle_faces *faces)
{
    int64_t n_fake = 0, n_masks = 0, n_landmarks = 0;

    for (int64_t i = 0; i < faces->n; i++) {
        n_fake += faces->label[i];
        n_masks += prle_faces_mask_bytes(faces, i) > 0;
        n_landmarks += !isnan(faces->landmarks[2 * PRLE_FACES_LANDMARKS * i]);
    }
    say_int(a, "images", faces->n);
    say_int(a, "fake", n_fake);
    say_int(a, "videos", faces->n_videos);
    say_int(a, "identities", faces->n_identities);
    say_int(a, "with_masks", n_masks);
    say_int(a, "with_landmarks", n_landmarks);
    if (faces->n > 0)
        say_double(a, "mean_image_bytes", (double)faces->offset[faces->n] / (double)faces->n);
    return say_methods(a, faces);
}

static prle_status inspect_faces(answer *a, const inspect_args *args)
{
    prle_status st = PRLE_OK;
    prle_faces *faces = NULL;

    PRLE_TRY(prle_faces_open(args->file, &faces));
    PRLE_TRY_OUT(say_faces(a, faces));
    if (args->verify)
        PRLE_TRY_OUT(prle_faces_verify(faces));
out:
    prle_faces_close(faces);
    return st;
}

/* Maps. */

static int by_value(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Quantiles of |V| / HW, and the share of maps that are empty. */
static prle_status say_areas(answer *a, const prle_maps *maps)
{
    static const struct {
        const char *name;
        double at;
    } quantiles[] = {{"area_min", 0}, {"area_q25", 0.25}, {"area_median", 0.5}, {"area_q75", 0.75}, {"area_max", 1}};
    uint32_t *area = NULL;
    int64_t n = 0, n_empty = 0;
    const double cells = (double)(maps->info.height * maps->info.width);

    PRLE_TRY(PRLE_NEW(area, maps->count));
    for (int64_t i = 0; i < maps->info.n; i++) {
        if (!prle_maps_has(maps, i))
            continue;
        area[n++] = maps->area[i];
        n_empty += maps->area[i] == 0;
    }
    if (n > 0) {
        qsort(area, (size_t)n, sizeof *area, by_value);
        for (size_t q = 0; q < sizeof quantiles / sizeof quantiles[0]; q++)
            say_double(a, quantiles[q].name, area[(int64_t)(quantiles[q].at * (double)(n - 1) + 0.5)] / cells);
        say_double(a, "empty_share", (double)n_empty / (double)n);
    }
    prle_free(area);
    return PRLE_OK;
}

static void say_share(answer *a, const char *name, double value)
{
    prle_json_add_double(&a->json, name, value);
    prle_table_add(&a->traces, isnan(value) ? "-" : "%.3f", value);
}

static void say_trace(answer *a, const char *method, const prle_traces *t)
{
    prle_json_begin_object(&a->json, method);
    prle_table_add(&a->traces, "%s", method);
    prle_json_add_int(&a->json, "images", t->n);
    prle_table_add(&a->traces, "%lld", (long long)t->n);
    say_share(a, "region", t->region);
    say_share(a, "changed", t->changed);
    say_share(a, "inside", t->inside);
    say_share(a, "covered", t->covered);
    say_share(a, "lift", t->lift);
    prle_json_end(&a->json);
}

static prle_status say_traces(answer *a, const prle_maps *maps, const char *store)
{
    static const char *const columns[] = {"maps by method", "images", "region", "changed", "inside", "covered", "lift"};
    prle_status st = PRLE_OK;
    prle_faces *faces = NULL;
    prle_traces *traces = NULL;
    double leak;

    PRLE_TRY(prle_faces_open(store, &faces));
    PRLE_TRY_OUT(PRLE_NEW(traces, faces->n_methods));
    PRLE_TRY_OUT(prle_traces_measure(traces, maps, faces));
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        prle_table_add(&a->traces, "%s", columns[i]);
    prle_json_begin_object(&a->json, "traces");
    for (int64_t m = 0; m < faces->n_methods; m++)
        say_trace(a, faces->method_names[m], &traces[m]);
    prle_json_end(&a->json);
    PRLE_TRY_OUT(prle_leak_measure(&leak, maps, faces, NULL, 0));
    say_double(a, "leak_auc", leak);
out:
    prle_free(traces);
    prle_faces_close(faces);
    return st;
}

static prle_status inspect_maps(answer *a, const inspect_args *args)
{
    prle_status st = PRLE_OK;
    prle_maps *maps = NULL;

    PRLE_TRY(prle_maps_open(args->file, &maps));
    say_int(a, "images", maps->info.n);
    say_int(a, "with_maps", maps->count);
    PRLE_TRY_OUT(say_areas(a, maps));
    if (args->faces != NULL)
        PRLE_TRY_OUT(say_traces(a, maps, args->faces));
    for (int64_t i = 0; args->verify && i < maps->info.n; i++)
        if (prle_maps_has(maps, i))
            PRLE_TRY_OUT(prle_maps_verify(maps, i));
out:
    prle_maps_close(maps);
    return st;
}

static prle_status verify_cam(const prle_cam *cam)
{
    prle_status st = PRLE_OK;
    float *map = NULL;

    PRLE_TRY(PRLE_NEW(map, cam->info.height * cam->info.width));
    for (int64_t i = 0; i < cam->info.n; i++)
        if (prle_cam_has(cam, i))
            PRLE_TRY_OUT(prle_cam_read(cam, i, map));
out:
    prle_free(map);
    return st;
}

static prle_status inspect_cam(answer *a, const inspect_args *args)
{
    prle_cam *cam = NULL;
    char text[17];

    PRLE_TRY(prle_cam_open(args->file, &cam));
    say_int(a, "images", cam->info.n);
    say_int(a, "with_maps", cam->count);
    say_text(a, "checksum", prle_hash_print(cam->checksum, text));
    const prle_status st = args->verify ? verify_cam(cam) : PRLE_OK;
    prle_cam_close(cam);
    return st;
}

/* A tensor of any type and shape; its checksums are compared on the way. */
static prle_status verify_tensor(prle_h5 *file, const char *name)
{
    prle_any_ptr data = NULL;
    prle_h5_dataset info;

    PRLE_TRY(prle_h5_dataset_get(file, name, &info));
    PRLE_TRY(prle_h5_read_alloc(file, name, info.type, &info.shape, &data));
    prle_free(data);
    return PRLE_OK;
}

static prle_status verify_optim(const char *path)
{
    prle_status st = PRLE_OK;
    prle_strings names = {0};
    prle_h5 *file = NULL;
    char *name = NULL;

    PRLE_TRY_OUT(prle_h5_open(path, PRLE_CHECKPOINT_SCHEMA, PRLE_CHECKPOINT_VERSION, &file));
    if (!prle_h5_is_group(file, "optim"))
        goto out;
    PRLE_TRY_OUT(prle_h5_list(file, "optim", &names));
    for (int64_t i = 0; i < names.n; i++) {
        prle_free(name);
        name = NULL;
        PRLE_TRY_OUT(prle_path_join("optim", names.item[i], &name));
        PRLE_TRY_OUT(verify_tensor(file, name));
    }
out:
    prle_free(name);
    prle_strings_deinit(&names);
    prle_h5_close(file);
    return st;
}

static prle_status inspect_checkpoint(answer *a, const inspect_args *args)
{
    prle_checkpoint_info info;
    prle_model *model = NULL;
    uint64_t hash = 0;
    char text[17];

    PRLE_TRY(prle_model_load(&model, &info, &hash, args->file, PRLE_F32));
    say_int(a, "parameters", model->graph->n_weights);
    say_text(a, "model", prle_hash_print(hash, text));
    prle_model_destroy(model);
    return args->verify ? verify_optim(args->file) : PRLE_OK;
}

/* Schemas with a summary of their own; the others show attributes and datasets only. */
static const struct {
    const char *schema;
    prle_status (*inspect)(answer *a, const inspect_args *args);
} schemas[] = {
    {PRLE_FACES_SCHEMA, inspect_faces},
    {PRLE_MAPS_SCHEMA, inspect_maps},
    {PRLE_CAM_SCHEMA, inspect_cam},
    {PRLE_CHECKPOINT_SCHEMA, inspect_checkpoint},
};

static prle_status say_content(answer *a, const inspect_args *args, const char *schema)
{
    PRLE_CHECK(args->faces == NULL || strcmp(schema, PRLE_MAPS_SCHEMA) == 0, PRLE_EINVAL,
               "%s: --faces is for fused maps, made by `prle fuse`", args->file);
    for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++)
        if (strcmp(schemas[i].schema, schema) == 0)
            return schemas[i].inspect(a, args);
    PRLE_CHECK(!args->verify, PRLE_ENOTSUP, "%s: %s files have no checksums that could be verified", args->file,
               schema[0] == '\0' ? "such" : schema);
    return PRLE_OK;
}

static prle_status say_all(answer *a, const inspect_args *args)
{
    prle_status st = PRLE_OK;
    prle_h5 *file = NULL;
    uint64_t file_bytes = 0;

    PRLE_TRY(prle_h5_open(args->file, NULL, 0, &file));
    prle_json_begin_object(&a->json, NULL);
    PRLE_TRY_OUT(prle_file_size(args->file, &file_bytes));
    say_text(a, "file", args->file);
    say_int(a, "file_bytes", (int64_t)file_bytes);
    PRLE_TRY_OUT(say_attributes(a, file));
    PRLE_TRY_OUT(say_datasets(a, file));
    PRLE_TRY_OUT(say_content(a, args, prle_h5_schema(file)));
    if (args->verify)
        say_text(a, "verified", "everything agrees with its checksums");
    prle_json_end(&a->json);
out:
    prle_h5_close(file);
    return st;
}

static prle_status print_table(prle_table *table)
{
    char *text = NULL;

    if (table->cells.n == 0)
        return PRLE_OK;
    PRLE_TRY(prle_table_take(table, PRLE_TABLE_TEXT, &text));
    printf("%s\n", text);
    prle_free(text);
    return PRLE_OK;
}

static prle_status print(answer *a, bool as_json)
{
    char *text = NULL;

    if (!as_json) {
        PRLE_TRY(print_table(&a->facts));
        PRLE_TRY(print_table(&a->methods));
        PRLE_TRY(print_table(&a->traces));
        return print_table(&a->datasets);
    }
    PRLE_TRY(prle_json_take(&a->json, true, &text));
    printf("%s\n", text);
    prle_free(text);
    return PRLE_OK;
}

static prle_status run(void *args, const prle_job *job)
{
    const inspect_args *inspect = args;
    answer a = {.facts = {.columns = "ll"},
                .methods = {.columns = "lrrr"},
                .traces = {.columns = "lrrrrrr"},
                .datasets = {.columns = "lllr"}};

    (void)job;
    prle_table_add(&a.facts, "what");
    prle_table_add(&a.facts, "value");
    prle_status st = say_all(&a, inspect);
    if (st == PRLE_OK)
        st = print(&a, inspect->common.json);
    prle_json_drop(&a.json);
    prle_table_drop(&a.facts);
    prle_table_drop(&a.methods);
    prle_table_drop(&a.traces);
    prle_table_drop(&a.datasets);
    return st;
}

const prle_command prle_command_inspect = {
    .spec =
        {.command = "inspect",
         .summary = "what is in an HDF5 file of prle",
         .description =
             "Shows schema, attributes and datasets of any of our files; of a face store also its methods, splits and videos, "
             "of maps how much of the images they cover. Every index is checked on the way. With --faces, of fused maps by "
             "method: the share of the image they cover (region) and that the forgery changed, how much of the region lies "
             "inside of what was changed, how much of that it covers, and how many times more than chance (lift); and how well "
             "the maps alone tell fakes from reals (leak_auc, 0.5: not at all): detectors learn to read masks that do.",
         .examples = "prle inspect faces.h5\nprle inspect maps.h5 --verify --json\nprle inspect maps.h5 --faces faces.h5",
         .parts = (const prle_option_part[]){{.options = options}, {0}}},
    .args_bytes = sizeof(inspect_args),
    .defaults = &(const inspect_args){.common = PRLE_COMMON_DEFAULT},
    .run = run,
};
