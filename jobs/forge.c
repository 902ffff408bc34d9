/* forge.c - `prle forge`: photographs with 68 landmarks become a set of real and forged faces. */
#include <stdio.h>
#include <string.h>

#include "augment/faces.h"
#include "augment/forge/quality.h"
#include "core/alloc.h"
#include "core/json.h"
#include "core/progress.h"
#include "core/table.h"
#include "core/text.h"
#include "jobs/command.h"

typedef struct forge_args {
    prle_common common;
    prle_forge_opts forge;
    prle_strings methods;
    bool check;
} forge_args;

static const prle_option options[] = {
    {PRLE_OPTION_AT(forge_args, forge.src), .name = "src", .value = "PHOTOS", .positional = true, .required = true,
     .help =
         "a CSV file, or a folder with manifest.csv: columns file, id, x0, y0 ... x67, y67 (iBUG order); the files lie beside it "
         "or in img/"},
    {PRLE_OPTION_AT(forge_args, forge.out), .name = "out", .letter = 'o', .value = "DIR", .required = true,
     .help = "the set: {train,val,test}/{real,fake/METHOD}/VIDEO/FRAME.jpg, masks/, landmarks.csv, forge.json"},
    {PRLE_OPTION_AT(forge_args, methods), .name = "methods", .value = "NAME",
     .help = "which forgeries, out of swap, paste, reenact, mouth, blend; all of them where none is named"},
    {PRLE_OPTION_AT(forge_args, forge.size), .name = "size", .min = 32, .max = 1024, .unit = "px", .help = "side of a frame"},
    {PRLE_OPTION_AT(forge_args, forge.frames), .name = "frames", .min = 1, .max = 1000, .help = "of each video"},
    {PRLE_OPTION_AT(forge_args, forge.margin), .name = "margin", .min = 1, .max = 3,
     .help = "side of a frame over the longer side of the landmarks' box"},
    {PRLE_OPTION_AT(forge_args, forge.val_share), .name = "val-share", .min = 0, .max = 0.9,
     .help = "of the identities; each split gets two at least"},
    {PRLE_OPTION_AT(forge_args, forge.test_share), .name = "test-share", .min = 0, .max = 0.9, .help = "of the identities"},
    {PRLE_OPTION_AT(forge_args, forge.quality_min), .name = "quality-min", .min = 1, .max = 100,
     .help = "lowest JPEG quality of a frame"},
    {PRLE_OPTION_AT(forge_args, forge.quality_max), .name = "quality-max", .min = 1, .max = 100,
     .help = "highest JPEG quality of a frame"},
    {PRLE_OPTION_AT(forge_args, check), .name = "check",
     .help = "afterwards measures whether statistics of whole frames tell forged from real (AUC below 0.65 is wanted)"},
    PRLE_OPTION_END,
};

static prle_status methods_parse(unsigned *out, const prle_strings *names)
{
    unsigned methods = names->n == 0 ? PRLE_FORGE_ALL : 0;

    for (int64_t i = 0; i < names->n; i++) {
        int m = 0;
        while (m < PRLE_FORGE_METHODS && strcmp(names->item[i], prle_forge_method_names[m]) != 0)
            m++;
        if (m == PRLE_FORGE_METHODS) {
            const char *near = prle_text_nearest(names->item[i], prle_forge_method_names, PRLE_FORGE_METHODS);
            return PRLE_FAIL(PRLE_EINVAL, "--methods: no forgery \"%s\"%s%s%s; there are swap, paste, reenact, mouth, blend",
                             names->item[i], near == NULL ? "" : ": did you mean \"", near == NULL ? "" : near,
                             near == NULL ? "" : "\"?");
        }
        methods |= 1u << m;
    }
    *out = methods;
    return PRLE_OK;
}

/* ---- progress: the total is known when the first video is done ---- */

typedef struct display {
    prle_progress *progress;
    prle_status st;
    bool begun;
} display;

static void on_video(void *user, int64_t n_done, int64_t n_videos)
{
    display *d = user;
    prle_progress_opts opts = PRLE_PROGRESS_OPTS_DEFAULT;

    if (!d->begun) {
        opts.what = "forge";
        opts.unit = "videos";
        opts.total = n_videos;
        opts.done = n_done - 1;
        d->st = prle_progress_create(&d->progress, &opts);
        d->begun = true;
    }
    prle_progress_add(d->progress, 1);
}

/* ---- answers ---- */

static prle_status print_json(const char *out, const prle_forge_report *report, const prle_forge_quality *quality)
{
    prle_json_writer json = {0};

    prle_json_begin_object(&json, NULL);
    prle_json_add_text(&json, "out", out);
    prle_json_add_int(&json, "photographs", report->n_photos);
    prle_json_begin_object(&json, "identities");
    for (int split = 0; split < PRLE_SPLITS; split++)
        prle_json_add_int(&json, prle_split_name((prle_split)split), report->n_identities[split]);
    prle_json_end(&json);
    prle_json_add_int(&json, "videos", report->n_videos);
    prle_json_add_int(&json, "found", report->n_found);
    prle_json_add_int(&json, "frames_written", report->n_frames);
    if (quality != NULL) {
        prle_json_begin_object(&json, "auc_of_statistics");
        for (int m = 0; m < PRLE_FORGE_METHODS; m++)
            if (quality->n_fake[m] > 0)
                prle_json_add_double(&json, prle_forge_method_names[m], quality->auc[m]);
        prle_json_end(&json);
    }
    prle_json_end(&json);
    return prle_job_json_print(&json);
}

static prle_status print_quality(const prle_forge_quality *quality)
{
    prle_table table = {.columns = "lrrl"};
    char *text = NULL;

    prle_table_add(&table, "method");
    prle_table_add(&table, "frames");
    prle_table_add(&table, "AUC");
    prle_table_add(&table, "verdict");
    for (int m = 0; m < PRLE_FORGE_METHODS; m++) {
        if (quality->n_fake[m] == 0)
            continue;
        prle_table_add(&table, "%s", prle_forge_method_names[m]);
        prle_table_add(&table, "%lld", (long long)quality->n_fake[m]);
        prle_table_add(&table, "%.3f", quality->auc[m]);
        prle_table_add(&table, "%s", quality->auc[m] < PRLE_FORGE_QUALITY_LIMIT ? "hidden" : "gives itself away");
    }
    PRLE_TRY(prle_table_take(&table, PRLE_TABLE_TEXT, &text));
    printf("\nforged against %lld real frames by statistics of the whole picture, out of fold by identity\n\n%s",
           (long long)quality->n_real, text);
    prle_free(text);
    return PRLE_OK;
}

static prle_status run(void *args, const prle_job *job)
{
    forge_args *forge = args;
    display shown = {0};
    prle_forge_report report = {0};
    prle_forge_quality quality;

    (void)job;
    PRLE_TRY(methods_parse(&forge->forge.methods, &forge->methods));
    forge->forge.seed = forge->common.seed;
    forge->forge.progress = on_video;
    forge->forge.user = &shown;
    const prle_status st = prle_forge_run(&forge->forge, &report);
    if (st == PRLE_OK)
        prle_progress_end(shown.progress);
    prle_progress_destroy(shown.progress);
    PRLE_TRY(st);
    PRLE_TRY(shown.st);
    if (forge->check)
        PRLE_TRY(prle_forge_quality_measure(&quality, forge->forge.out));
    if (forge->common.json)
        return print_json(forge->forge.out, &report, forge->check ? &quality : NULL);
    printf("%s: %lld videos of %d frames from %lld photographs, %lld there before; identities: %lld train, %lld val, %lld test\n",
           forge->forge.out, (long long)report.n_videos, forge->forge.frames, (long long)report.n_photos,
           (long long)report.n_found, (long long)report.n_identities[0], (long long)report.n_identities[1],
           (long long)report.n_identities[2]);
    return forge->check ? print_quality(&quality) : PRLE_OK;
}

const prle_command prle_command_forge = {
    .spec =
        {.command = "forge",
         .summary = "makes forged faces from real photographs: the built-in data set",
         .description =
             "Aligns each face, makes real and forged videos of it with the same history of resampling and JPEG, and writes "
             "manipulation masks and landmarks beside them. swap and paste put another face in (FaceSwap, Deepfakes), reenact "
             "warps the face to another expression (Face2Face), mouth replaces the lower face (NeuralTextures), blend mixes two "
             "identities (FaceShifter). Identities never cross splits; donors come from the same split. The same seed gives the "
             "same bytes. A run that was killed goes on where it was. Use photographs of people who consented.",
         .examples =
             "prle forge photos/ -o forged/\nprle forge photos/ -o forged/ --methods swap,blend --size 128 --frames 8 --check",
         .parts = (const prle_option_part[]){{.options = options}, {0}}},
    .args_bytes = sizeof(forge_args),
    .defaults = &(const forge_args){.common = PRLE_COMMON_DEFAULT, .forge = PRLE_FORGE_OPTS_INIT},
    .run = run,
};
