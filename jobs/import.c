/* import.c - `prle import`: the weights file that somebody brings, matched by name to a network of ours. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/json.h"
#include "core/log.h"
#include "core/table.h"
#include "jobs/command.h"
#include "nets/checkpoint.h"
#include "nets/exchange.h"

typedef enum norm {
    NORM_HALF,
    NORM_IMAGENET,
} norm;
static const char *const norm_words[] = {[NORM_HALF] = "half", [NORM_IMAGENET] = "imagenet", NULL};

typedef struct import_args {
    prle_common common;
    const char *file, *net, *out;
    int64_t size, classes;
    norm norm;
    bool strict, all;
} import_args;

static const prle_option options[] = {
    {PRLE_OPTION_AT(import_args, file), .name = "file", .value = "FILE", .positional = true, .required = true,
     .help = "a .safetensors file, or one of torch.save: .pth, .pt, .bin"},
    {PRLE_OPTION_AT(import_args, net), .name = "net", .words = prle_net_words, .value = "NET",
     .help = "the network that it is for; not given: only says what is in the file"},
    {PRLE_OPTION_AT(import_args, out), .name = "out", .letter = 'o', .value = "FILE",
     .help = "where the model goes (HDF5), for --init and --model; not given: only says what would become of each tensor"},
    {PRLE_OPTION_AT(import_args, strict), .name = "strict", .help = "no file when any tensor is missing or unexpected"},
    {PRLE_OPTION_AT(import_args, all), .name = "all", .help = "the table names tensors that are loaded as they are, too"},
    {PRLE_OPTION_AT(import_args, classes), .name = "classes", .min = 0, .max = 2, .unit = "logits",
     .help = "of the model: 1 or 2 (fake is class 1); 0: those of the file, 2 when it has others"},
    {PRLE_OPTION_AT(import_args, size), .name = "size", .min = 32, .max = 1024, .unit = "px",
     .help = "height and width of the model's input"},
    {PRLE_OPTION_AT(import_args, norm), .name = "norm", .words = norm_words,
     .help = "what the weights want pixels to be: half: mean and deviation 0.5, as most detectors and `prle train` have it; "
             "imagenet: torchvision's means and deviations"},
    PRLE_OPTION_END,
};

/* ---- what is in a file ---- */

static prle_status contents_table(const prle_archive *archive)
{
    prle_table table = {.columns = "lll"};
    char shape[192], *text = NULL;

    prle_table_add(&table, "tensor");
    prle_table_add(&table, "type");
    prle_table_add(&table, "shape");
    for (int64_t i = 0; i < archive->n; i++) {
        prle_table_add(&table, "%s", archive->tensor[i].name);
        prle_table_add(&table, "%s", prle_stored_name(archive->tensor[i].type));
        prle_table_add(&table, "%s", prle_archive_shape_print(&archive->tensor[i], shape));
    }
    PRLE_TRY(prle_table_take(&table, PRLE_TABLE_TEXT, &text));
    printf("%s\n", text);
    prle_free(text);
    return PRLE_OK;
}

static void shape_json(prle_json_writer *json, const char *key, int n, const int64_t *dim)
{
    prle_json_begin_list(json, key);
    for (int d = 0; d < n; d++)
        prle_json_add_int(json, NULL, dim[d]);
    prle_json_end(json);
}

/* Name, type and shape of a tensor of the file, into the open object. */
static void tensor_json(prle_json_writer *json, const prle_archive_tensor *tensor)
{
    prle_json_add_text(json, "in_file", tensor->name);
    prle_json_add_text(json, "type", prle_stored_name(tensor->type));
    shape_json(json, "shape_in_file", tensor->n_dims, tensor->dim);
}

static void skipped_json(prle_json_writer *json, const prle_archive *archive)
{
    prle_json_begin_list(json, "not_understood");
    for (int64_t i = 0; i < archive->skipped.list.n; i++)
        prle_json_add_text(json, NULL, archive->skipped.list.item[i]);
    prle_json_end(json);
}

static prle_status contents_json(const prle_archive *archive, const char *net)
{
    prle_json_writer json = {0};

    prle_json_begin_object(&json, NULL);
    prle_json_add_text(&json, "file", archive->path);
    prle_json_add_text(&json, "format", archive->format);
    prle_json_add_text(&json, "looks_like", net);
    prle_json_begin_list(&json, "tensors");
    for (int64_t i = 0; i < archive->n; i++) {
        prle_json_begin_object(&json, NULL);
        tensor_json(&json, &archive->tensor[i]);
        prle_json_end(&json);
    }
    prle_json_end(&json);
    skipped_json(&json, archive);
    prle_json_end(&json);
    return prle_job_json_print(&json);
}

static void skipped_print(const prle_archive *archive)
{
    for (int64_t i = 0; i < archive->skipped.list.n; i++)
        printf("%s%s%s", i == 0 ? "not understood and left out: " : ", ", archive->skipped.list.item[i],
               i == archive->skipped.list.n - 1 ? "\n" : "");
}

static prle_status contents_print(const prle_archive *archive, bool as_json)
{
    const char *net = NULL;
    int64_t n_found = 0, n = 0;

    PRLE_TRY(prle_import_guess(&net, &n_found, &n, archive));
    if (as_json)
        return contents_json(archive, net);
    PRLE_TRY(contents_table(archive));
    skipped_print(archive);
    printf("%s: %s, %" PRId64 " tensors; ", archive->path, archive->format, archive->n);
    if (net != NULL)
        printf("looks like %s (%" PRId64 " of its %" PRId64 "): prle import FILE --net %s -o weights.h5\n", net, n_found, n, net);
    else
        printf("of no network here\n");
    return PRLE_OK;
}

/* ---- what becomes of it ---- */

typedef struct answer {
    const import_args *args;
    const prle_archive *archive;
    const prle_import *import;
    const prle_model *model;
} answer;

static prle_status rows_table(const answer *a)
{
    prle_table table = {.columns = "lllll"};
    char ours[96], theirs[192], *text = NULL;

    prle_table_add(&table, "state");
    prle_table_add(&table, "tensor");
    prle_table_add(&table, "shape");
    prle_table_add(&table, "in the file");
    prle_table_add(&table, "how");
    for (int64_t i = 0; i < a->import->n; i++) {
        const prle_import_row *row = &a->import->row[i];
        const prle_segment *s = row->segment >= 0 ? &a->model->graph->segment[row->segment] : NULL;
        const prle_archive_tensor *t = row->tensor >= 0 ? &a->archive->tensor[row->tensor] : NULL;

        if ((row->state == PRLE_IMPORT_LOADED || row->state == PRLE_IMPORT_CONSTANT) && !a->args->all)
            continue;
        prle_table_add(&table, "%s", prle_import_state_name(row->state));
        prle_table_add(&table, "%s", s != NULL ? s->name : "");
        prle_table_add(&table, "%s", s != NULL ? prle_shape_print(&s->shape, ours) : prle_archive_shape_print(t, theirs));
        prle_table_add(&table, "%s", t != NULL ? t->name : "");
        prle_table_add(&table, "%s", row->how);
    }
    PRLE_TRY(prle_table_take(&table, PRLE_TABLE_TEXT, &text));
    if (strchr(text, '\n') != NULL && text[strlen(text) - 2] != '-') /* more than the header */
        printf("%s\n", text);
    prle_free(text);
    return PRLE_OK;
}

static prle_status rows_json(const answer *a)
{
    prle_json_writer json = {0};

    prle_json_begin_object(&json, NULL);
    prle_json_add_text(&json, "file", a->archive->path);
    prle_json_add_text(&json, "format", a->archive->format);
    prle_json_add_text(&json, "net", a->model->graph->name);
    prle_json_add_text(&json, "names", a->import->naming->name);
    prle_json_add_text(&json, "prefix", a->import->prefix);
    prle_json_add_int(&json, "classes", a->model->opts.classes);
    prle_json_begin_object(&json, "counts");
    for (int state = 0; state < PRLE_IMPORT_STATES; state++)
        prle_json_add_int(&json, prle_import_state_name((prle_import_state)state), a->import->count[state]);
    prle_json_add_int(&json, "outside of the prefix", a->import->n_outside);
    prle_json_end(&json);
    prle_json_begin_list(&json, "tensors");
    for (int64_t i = 0; i < a->import->n; i++) {
        const prle_import_row *row = &a->import->row[i];
        const prle_segment *s = row->segment >= 0 ? &a->model->graph->segment[row->segment] : NULL;

        prle_json_begin_object(&json, NULL);
        prle_json_add_text(&json, "state", prle_import_state_name(row->state));
        prle_json_add_text(&json, "name", s != NULL ? s->name : NULL);
        if (s != NULL)
            shape_json(&json, "shape", s->shape.n, s->shape.dim);
        if (row->tensor >= 0)
            tensor_json(&json, &a->archive->tensor[row->tensor]);
        prle_json_add_text(&json, "how", row->how);
        prle_json_end(&json);
    }
    prle_json_end(&json);
    skipped_json(&json, a->archive);
    prle_json_end(&json);
    return prle_job_json_print(&json);
}

static prle_status rows_print(const answer *a)
{
    const int64_t *count = a->import->count;

    if (a->args->common.json)
        return rows_json(a);
    PRLE_TRY(rows_table(a));
    skipped_print(a->archive);
    printf("%s: %s, names of %s", a->archive->path, a->archive->format, a->import->naming->name);
    if (a->import->prefix[0] != '\0')
        printf(" behind \"%s\"", a->import->prefix);
    printf("\n%s with %" PRId64 " logits:", a->model->graph->name, a->model->opts.classes);
    for (int state = 0; state < PRLE_IMPORT_STATES; state++)
        if (count[state] > 0 || state == PRLE_IMPORT_LOADED)
            printf(" %" PRId64 " %s,", count[state], prle_import_state_name((prle_import_state)state));
    printf(" %" PRId64 " of other things\n", a->import->n_outside);
    return PRLE_OK;
}

/* ---- the command ---- */

static void warn(const answer *a)
{
    const prle_naming *naming = a->import->naming;
    const int64_t *count = a->import->count;

    if (naming->not_for != NULL && strcmp(naming->not_for, a->args->net) == 0)
        prle_log(PRLE_LOG_WARN, "import",
                 "%s: the names are %s's, whose network pads and normalises otherwise than %s: take --net %s", a->args->file,
                 naming->name, a->args->net, naming->instead);
    if (count[PRLE_IMPORT_MISSING] > 0)
        prle_log(PRLE_LOG_WARN, "import",
                 "%s: %" PRId64 " tensors are missing and keep their random initial values (seed %" PRIu64 ")", a->args->file,
                 count[PRLE_IMPORT_MISSING], a->args->common.seed);
    if (count[PRLE_IMPORT_NEW_HEAD] > 0)
        prle_log(PRLE_LOG_WARN, "import",
                 "%s: its last layer is for %" PRId64 " classes; the model's begins at random: train it with --init",
                 a->args->file, a->import->classes);
}

/* The logits that were asked for, else the file's, else two. */
static prle_status classes_choose(const import_args *args, const prle_archive *archive, int64_t *classes)
{
    prle_net_opts opts = {.height = args->size, .width = args->size, .classes = 2};
    prle_import *import = NULL;
    prle_graph *graph = NULL;
    prle_status st = PRLE_OK;

    *classes = args->classes;
    if (args->classes != 0)
        return PRLE_OK;
    PRLE_TRY_OUT(prle_net_build(&graph, args->net, &opts));
    PRLE_TRY_OUT(prle_import_match(&import, archive, graph));
    *classes = import->classes == 1 ? 1 : 2;
out:
    prle_import_destroy(import);
    prle_graph_destroy(graph);
    return st;
}

static prle_status model_write(const answer *a)
{
    prle_checkpoint_info info = {
        .mean = {0.5F, 0.5F, 0.5F}, .std = {0.5F, 0.5F, 0.5F}, .threshold_eer = (double)NAN, .val_auc = (double)NAN};
    prle_h5 *file = NULL;
    prle_status st = PRLE_OK;

    if (a->args->norm == NORM_IMAGENET) {
        memcpy(info.mean, (const float[]){0.485F, 0.456F, 0.406F}, sizeof info.mean);
        memcpy(info.std, (const float[]){0.229F, 0.224F, 0.225F}, sizeof info.std);
    }
    PRLE_TRY_OUT(prle_h5_create(a->args->out, PRLE_CHECKPOINT_SCHEMA, PRLE_CHECKPOINT_VERSION, &file));
    PRLE_TRY_OUT(prle_checkpoint_write(file, a->model, &info, NULL));
    PRLE_TRY_OUT(prle_h5_commit(file));
out:
    prle_h5_close(file);
    return st;
}

static prle_status import_run(const import_args *args, const prle_archive *archive)
{
    prle_net_opts opts = {.height = args->size, .width = args->size};
    prle_import *import = NULL;
    prle_model *model = NULL;
    prle_status st = PRLE_OK;
    answer a = {.args = args, .archive = archive};

    PRLE_TRY_OUT(classes_choose(args, archive, &opts.classes));
    PRLE_TRY_OUT(prle_model_create(&model, args->net, &opts, args->common.dtype == PRLE_F64 ? PRLE_F64 : PRLE_F32));
    PRLE_TRY_OUT(prle_import_match(&import, archive, model->graph));
    a.model = model;
    a.import = import;
    PRLE_TRY_OUT(rows_print(&a));
    PRLE_TRY_OUT(prle_import_check(import, archive, model->graph, args->strict));
    warn(&a);
    prle_model_init(model, args->common.seed);
    PRLE_TRY_OUT(prle_import_load(model, import, archive));
    if (args->out != NULL)
        PRLE_TRY_OUT(model_write(&a));
out:
    prle_import_destroy(import);
    prle_model_destroy(model);
    return st;
}

static prle_status run(void *args, const prle_job *job)
{
    const import_args *import = args;
    prle_archive *archive = NULL;
    prle_status st = PRLE_OK;

    (void)job;
    PRLE_CHECK(import->net != NULL || import->out == NULL, PRLE_EINVAL, "-o needs --net: which network are the weights of?");
    PRLE_TRY_OUT(prle_archive_open(&archive, import->file));
    st = import->net != NULL ? import_run(import, archive) : contents_print(archive, import->common.json);
out:
    prle_archive_close(archive);
    return st;
}

static const import_args defaults = {.common = PRLE_COMMON_DEFAULT, .size = 256};

extern const prle_command prle_command_import;
const prle_command prle_command_import = {
    .spec =
        {.command = "import",
         .summary = "weights of PyTorch, timm and others, for our networks",
         .description =
             "Reads a file of weights (safetensors, or PyTorch's in both containers; half precision, views, training "
             "checkpoints and pickled modules too), finds the network's tensors in it by name, whatever stands before them "
             "(state_dict, model, module, ...), and says of each what became of it: loaded, converted (another type; 1 x 1 "
             "convolutions kept as matrices; an image stem spread over F3-Net's channels), missing, unexpected. Known names: "
             "Cadene's and FaceForensics++'s xception; torchvision's resnet50 and vgg; timm's; lukemelas' efficientnet_b4; "
             "DeepfakeBench's. A last layer for another number of classes is left out, the model's begins at random. The model "
             "goes to `prle train --init`, or, where the file is a whole detector, to cam, eval and predict as --model. No code "
             "in the file is run. Mind what a file does not tell: how pixels were normalised (--norm), that class 1 is fake, "
             "the padding of EfficientNets (three networks here), and the stride of resnet50, which is torchvision's (in the 3 "
             "x 3 convolution).",
         .examples = "prle import xception-b5690688.pth\n"
                     "prle import xception-b5690688.pth --net xception -o xception.h5\n"
                     "prle train --net xception --init xception.h5 --data faces.h5 --run runs/a\n"
                     "prle import full_c23.p --net xception --size 299 --strict -o ff.h5",
         .parts = (const prle_option_part[]){{.options = options}, {0}}},
    .args_bytes = sizeof(import_args),
    .defaults = &defaults,
    .run = run,
};
