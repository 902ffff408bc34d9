/* cam.c - `prle cam`: a zoo member's class activation maps of a face store. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "augment/loader.h"
#include "cam/stage.h"
#include "core/json.h"
#include "dist/watchdog.h"
#include "jobs/command.h"
#include "nets/checkpoint.h"

typedef struct cam_args {
    prle_common common;
    const char *model, *data, *out, *member, *split;
    prle_strings nodes;
    prle_cam_opts cam;
    int loader_threads;
    double deadline;
} cam_args;

static const prle_option options[] = {
    {PRLE_OPTION_AT(cam_args, model), .name = "model", .value = "MODEL", .required = true,
     .help = "run folder or checkpoint of a trained detector"},
    {PRLE_OPTION_AT(cam_args, data), .name = "data", .letter = 'd', .value = "FILE", .required = true,
     .help = "face store made by `prle pack`"},
    {PRLE_OPTION_AT(cam_args, out), .name = "out", .letter = 'o', .value = "DIR", .required = true,
     .help = "folder of the zoo's maps: DIR/MEMBER.h5"},
    {PRLE_OPTION_AT(cam_args, member), .name = "member", .value = "NAME",
     .help = "the detector's name in the zoo; by default its network's"},
    {PRLE_OPTION_AT(cam_args, split), .name = "split", .words = prle_split_words, .help = "images to explain"},
    {PRLE_OPTION_AT(cam_args, cam.method), .name = "method", .words = prle_cam_method_words,
     .help = "kind of map: gradcam, the paper's, and gradcam++ weigh whole channels, layercam and hirescam each pixel; eigencam "
             "is the values' first principal component, of no class"},
    {PRLE_OPTION_AT(cam_args, cam.target), .name = "target", .words = prle_cam_target_words,
     .help = "class that is explained: the image's own, fake, or the decided one (eigencam: none)"},
    {PRLE_OPTION_AT(cam_args, cam.score), .name = "score", .words = prle_cam_score_words,
     .help = "what is differentiated: the probability (by its margin) or the logit (eigencam: nothing)"},
    {PRLE_OPTION_AT(cam_args, nodes), .name = "node", .value = "NAME", .max = PRLE_PLAN_MAX_NODES,
     .help = "whose values are weighted; several are averaged; by default the network's own"},
    {PRLE_OPTION_AT(cam_args, cam.general), .name = "general",
     .help = "differentiate backward even where the closed form would do"},
    {PRLE_OPTION_AT(cam_args, cam.batch), .name = "batch", .letter = 'b', .min = 1, .max = 64, .unit = "images",
     .help = "computed at a time by a rank"},
    {PRLE_OPTION_AT(cam_args, loader_threads), .name = "loader-threads", .min = 1, .max = PRLE_LOADER_MAX_THREADS,
     .help = "that decode images, each rank"},
    {PRLE_OPTION_AT(cam_args, deadline), .name = "deadline", .min = 0, .max = 1e6, .unit = "s",
     .help = "a wait for other ranks that lasts longer ends the job; 0: PRLE_DEADLINE, else 600 s"},
    PRLE_OPTION_END,
};

static prle_status report_print(const cam_args *a, const prle_model *model, const prle_cam_stage_report *r)
{
    const int64_t fresh = r->images - r->already;
    prle_json_writer json = {0};

    if (!a->common.json) {
        printf("%s: %" PRId64 " maps of %" PRId64 " x %" PRId64 ", %s, %s%s\n", model->graph->name, r->images, r->height,
               r->width, prle_cam_method_words[a->cam.method], prle_cam_way_words[r->way],
               r->was_done ? "; all there already" : "");
        if (fresh > 0 && !r->was_done)
            printf("%.1f images/s over %.1f s\n", (double)fresh / r->seconds, r->seconds);
        return PRLE_OK;
    }
    prle_json_begin_object(&json, NULL);
    prle_json_add_text(&json, "net", model->graph->name);
    prle_json_add_int(&json, "images", r->images);
    prle_json_add_int(&json, "images_before", r->already);
    prle_json_add_int(&json, "map_height", r->height);
    prle_json_add_int(&json, "map_width", r->width);
    prle_json_add_text(&json, "method", prle_cam_method_words[a->cam.method]);
    prle_json_add_text(&json, "way", prle_cam_way_words[r->way]);
    prle_json_add_double(&json, "seconds", r->seconds);
    prle_json_end(&json);
    return prle_job_json_print(&json);
}

static prle_status stage_opts_make(const cam_args *a, const prle_model *model, const prle_checkpoint_info *info, uint64_t hash,
                                   prle_cam_stage_opts *out)
{
    *out = (prle_cam_stage_opts){
        .out = a->out, .member = a->member, .cam = a->cam, .loader_threads = a->loader_threads, .weights_hash = hash};
    out->cam.dtype = a->common.dtype;
    memcpy(out->mean, info->mean, sizeof out->mean);
    memcpy(out->std, info->std, sizeof out->std);
    PRLE_TRY(prle_split_parse(a->split, &out->split));
    out->cam.nodes.n = (int)a->nodes.n;
    for (int i = 0; i < out->cam.nodes.n; i++)
        PRLE_TRY(prle_graph_find(model->graph, a->nodes.item[i], &out->cam.nodes.node[i]));
    return PRLE_OK;
}

static prle_status run(void *args, const prle_job *job)
{
    prle_status st = PRLE_OK;
    const cam_args *a = args;
    prle_faces *faces = NULL;
    prle_model *model = NULL;
    prle_checkpoint_info info;
    prle_cam_stage_opts opts;
    prle_cam_stage_report report;
    uint64_t hash = 0;

    PRLE_TRY_OUT(prle_watchdog_begin(job->world, a->deadline));
    PRLE_TRY_OUT(prle_faces_open(a->data, &faces));
    PRLE_TRY_OUT(prle_model_load(&model, &info, &hash, a->model, a->common.dtype));
    PRLE_TRY_OUT(prle_model_place(model, job->device));
    PRLE_TRY_OUT(stage_opts_make(a, model, &info, hash, &opts));
    PRLE_TRY_OUT(prle_cam_stage_run(&report, model, faces, &opts, job->world));
    if (job->world->rank == 0)
        PRLE_TRY_OUT(report_print(a, model, &report));
out:
    prle_watchdog_end();
    prle_model_destroy(model);
    prle_faces_close(faces);
    return st;
}

static const cam_args defaults = {.common = PRLE_COMMON_DEFAULT, .split = "train", .cam = {.batch = 16}, .loader_threads = 1};

extern const prle_command prle_command_cam;
const prle_command prle_command_cam = {
    .spec = {.command = "cam",
             .summary = "make a detector's attention maps of a face store",
             .description = "Explains what a trained detector looks at: one map per image at the network's native size, in "
                            "units of 64 images that are committed one by one and shared over the ranks of mpirun or srun. Kill "
                            "it at any time and run it again, with any number of ranks: it does what is missing, and the result "
                            "is the same.",
             .examples = "prle cam --model runs/zoo/xception --data faces.h5 -o cams/\n"
                         "prle cam --model runs/zoo/xception --data faces.h5 -o layercams/ --method layercam --node block12.add\n"
                         "mpirun --bind-to none -n 2 prle cam --model runs/zoo/resnet50 --data faces.h5 -o cams/ --split any",
             .parts = (const prle_option_part[]){{.options = options}, {0}}},
    .args_bytes = sizeof(cam_args),
    .defaults = &defaults,
    .distributed = true,
    .stops = true,
    .computes = true,
    .run = run,
};
