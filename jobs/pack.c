/* pack.c - `prle pack`: a tree of face images becomes a face store. */
#include <stdio.h>

#include "augment/pack.h"
#include "core/alloc.h"
#include "core/json.h"
#include "core/table.h"
#include "dist/stop.h"
#include "jobs/command.h"

typedef struct pack_args {
    prle_common common;
    const char *src, *out, *dataset, *compression;
    int64_t frames, size;
} pack_args;

static const prle_option options[] = {
    {PRLE_OPTION_AT(pack_args, src), .name = "src", .value = "DIR", .positional = true, .required = true,
     .help = "the tree: {train,val,test}/{real,fake}/[METHOD/]VIDEO/FRAME.{jpg,png}, with landmarks.csv and masks/ where known"},
    {PRLE_OPTION_AT(pack_args, out), .name = "out", .letter = 'o', .value = "FILE", .required = true, .help = "the face store"},
    {PRLE_OPTION_AT(pack_args, frames), .name = "frames", .min = 0, .max = 1e9,
     .help = "frames of each video, evenly spaced over it; 0: all"},
    {PRLE_OPTION_AT(pack_args, size), .name = "size", .min = 0, .max = 16384, .unit = "px",
     .help = "side of the stored images; others are resized by area and kept as PNG; 0: height and width of the first image"},
    {PRLE_OPTION_AT(pack_args, dataset), .name = "dataset", .value = "NAME",
     .help = "first word of the video names, the folder's name by default"},
    {PRLE_OPTION_AT(pack_args, compression), .name = "compression", .value = "NAME", .help = "third word of the video names"},
    PRLE_OPTION_END,
};

static prle_status print_json(const prle_pack_report *report)
{
    prle_json_writer json = {0};

    prle_json_begin_object(&json, NULL);
    prle_json_add_bool(&json, "already", report->already);
    prle_json_add_int(&json, "found", report->n_found);
    prle_json_add_int(&json, "ignored", report->n_ignored);
    prle_json_add_int(&json, "chosen", report->n_chosen);
    prle_json_add_int(&json, "packed", report->n_packed);
    prle_json_add_int(&json, "skipped", report->n_skipped);
    prle_json_add_int(&json, "resized", report->n_resized);
    prle_json_add_int(&json, "masks", report->n_masks);
    prle_json_add_int(&json, "landmarks", report->n_landmarks);
    prle_json_add_int(&json, "videos", report->n_videos);
    prle_json_add_int(&json, "height_px", report->height);
    prle_json_add_int(&json, "width_px", report->width);
    for (int split = 0; split < PRLE_SPLITS; split++) {
        prle_json_begin_object(&json, prle_split_name((prle_split)split));
        prle_json_add_int(&json, "real", report->count[split][0]);
        prle_json_add_int(&json, "fake", report->count[split][1]);
        prle_json_end(&json);
    }
    prle_json_end(&json);
    return prle_job_json_print(&json);
}

static prle_status print_table(const char *out, const prle_pack_report *report)
{
    prle_table table = {.columns = "lrr"};
    char *text = NULL;

    prle_table_add(&table, "split");
    prle_table_add(&table, "real");
    prle_table_add(&table, "fake");
    for (int split = 0; split < PRLE_SPLITS; split++) {
        prle_table_add(&table, "%s", prle_split_name((prle_split)split));
        prle_table_add(&table, "%lld", (long long)report->count[split][0]);
        prle_table_add(&table, "%lld", (long long)report->count[split][1]);
    }
    PRLE_TRY(prle_table_take(&table, PRLE_TABLE_TEXT, &text));
    printf("%s: %lld images of %lld x %lld in %lld videos%s\n", out, (long long)report->n_packed, (long long)report->height,
           (long long)report->width, (long long)report->n_videos, report->already ? ", already there" : "");
    printf("found %lld, chosen %lld, skipped %lld, resized %lld, with masks %lld, with landmarks %lld, other files %lld\n\n%s",
           (long long)report->n_found, (long long)report->n_chosen, (long long)report->n_skipped, (long long)report->n_resized,
           (long long)report->n_masks, (long long)report->n_landmarks, (long long)report->n_ignored, text);
    prle_free(text);
    return PRLE_OK;
}

static prle_status run(void *args, const prle_job *job)
{
    const pack_args *pack = args;
    prle_pack_report report = {0};
    const prle_pack_opts opts = {
        .src = pack->src,
        .out = pack->out,
        .dataset = pack->dataset,
        .compression = pack->compression,
        .frames = pack->frames,
        .size = pack->size,
        .progress = true,
        .stop = prle_stop_pending,
    };

    (void)job;
    PRLE_TRY(prle_pack_run(&opts, &report));
    return pack->common.json ? print_json(&report) : print_table(pack->out, &report);
}

const prle_command prle_command_pack = {
    .spec =
        {.command = "pack",
         .summary = "packs face images into one store",
         .description =
             "Makes the face store that all other commands read. Images of the right size are stored byte for byte; what cannot "
             "be read is reported, counted and left out. Work is committed in parts beside the store (FILE.parts/): a pack that "
             "was killed goes on where it was, and ends with the same content.",
         .examples = "prle pack forged/ -o faces.h5\nprle pack faces/ -o faces.h5 --frames 32 --size 256",
         .parts = (const prle_option_part[]){{.options = options}, {0}}},
    .args_bytes = sizeof(pack_args),
    .defaults = &(const pack_args){.common = PRLE_COMMON_DEFAULT, .compression = "raw"},
    .stops = true,
    .run = run,
};
