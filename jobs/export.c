/* export.c - `prle export`: a model's weights for PyTorch and others, under the public names. */
#include <inttypes.h>
#include <stdio.h>

#include "core/alloc.h"
#include "core/json.h"
#include "jobs/command.h"
#include "nets/checkpoint.h"
#include "nets/exchange.h"

typedef struct export_args {
    prle_common common;
    const char *model, *out, *names;
} export_args;

static const prle_option options[] = {
    {PRLE_OPTION_AT(export_args, model), .name = "model", .value = "MODEL", .positional = true, .required = true,
     .help = "run folder (its best.h5, else last.h5), or a model's file"},
    {PRLE_OPTION_AT(export_args, out), .name = "out", .letter = 'o', .value = "FILE", .required = true,
     .help = "the .safetensors file"},
    {PRLE_OPTION_AT(export_args, names), .name = "names", .value = "WHOSE",
     .help = "names: cadene, last_linear (xception); torchvision, last_linear (resnet50); lukemelas, timm, torchvision "
             "(efficientnet_b4); not given: the first, which are ours"},
    PRLE_OPTION_END,
};

static prle_status metadata_make(char **about, const prle_model *model, const prle_checkpoint_info *info)
{
    return prle_asprintf(about,
                         "%s, RGB %" PRId64 " x %" PRId64 ", (pixel / 255 - mean) / std with mean %g %g %g and std %g %g %g, %s",
                         model->graph->name, model->opts.height, model->opts.width, (double)info->mean[0], (double)info->mean[1],
                         (double)info->mean[2], (double)info->std[0], (double)info->std[1], (double)info->std[2],
                         model->opts.classes == 1 ? "one logit: sigmoid is P(fake)" : "two logits: softmax, class 1 is fake");
}

static prle_status answer_print(const export_args *args, const prle_model *model, const prle_naming *naming)
{
    prle_json_writer json = {0};

    if (!args->common.json) {
        printf("%s: %d tensors, %" PRId64 " parameters of %s, names of %s\n", args->out, model->graph->n_segments,
               model->graph->n_weights, model->graph->name, naming->name);
        return PRLE_OK;
    }
    prle_json_begin_object(&json, NULL);
    prle_json_add_text(&json, "file", args->out);
    prle_json_add_text(&json, "net", model->graph->name);
    prle_json_add_text(&json, "names", naming->name);
    prle_json_add_int(&json, "tensors", model->graph->n_segments);
    prle_json_add_int(&json, "parameters", model->graph->n_weights);
    prle_json_end(&json);
    return prle_job_json_print(&json);
}

static prle_status run(void *args, const prle_job *job)
{
    const export_args *a = args;
    prle_status st = PRLE_OK;
    prle_checkpoint_info info;
    prle_model *model = NULL;
    const prle_naming *naming = NULL;
    char *about = NULL;

    PRLE_TRY_OUT(prle_model_load(&model, &info, NULL, a->model, a->common.dtype));
    naming = prle_naming_get(model->graph->name, 0);
    if (a->names != NULL)
        PRLE_TRY_OUT(prle_naming_find(&naming, model->graph->name, a->names));
    PRLE_TRY_OUT(metadata_make(&about, model, &info));
    PRLE_TRY_OUT(prle_model_export(model, a->out, naming,
                                   (const char *[]){"format", "pt", "model", about, "created_by", job->about, NULL}));
    PRLE_TRY_OUT(answer_print(a, model, naming));
out:
    prle_free(about);
    prle_model_destroy(model);
    return st;
}

extern const prle_command prle_command_export;
const prle_command prle_command_export = {
    .spec =
        {.command = "export",
         .summary = "a model's weights as safetensors, for PyTorch and others",
         .description =
             "Writes all parameters and statistics of a model under the names that the public checkpoint of its network has, so "
             "that the original's load_state_dict takes them (strict=True). How pixels are normalised and what the logits "
             "mean stands in the file's metadata.",
         .examples = "prle export runs/prle -o prle.safetensors\n"
                     "prle export runs/prle -o prle.safetensors --names last_linear\n"
                     "python3 -c 'import safetensors.torch as s; net.load_state_dict(s.load_file(\"prle.safetensors\"))'",
         .parts = (const prle_option_part[]){{.options = options}, {0}}},
    .args_bytes = sizeof(export_args),
    .defaults = &(const export_args){.common = PRLE_COMMON_DEFAULT},
    .run = run,
};
