/* fuse.c - `prle fuse`: the maps of a zoo become the primary regions that training hides. */
#include <inttypes.h>
#include <stdio.h>

#include "core/json.h"
#include "dist/watchdog.h"
#include "fusion/stage.h"
#include "jobs/command.h"

typedef struct fuse_args {
    prle_common common;
    prle_fuse_stage_opts stage;
    double deadline;
} fuse_args;

static const prle_option options[] = {
    {PRLE_OPTION_AT(fuse_args, stage.cams), .name = "cams", .value = "DIR", .required = true,
     .help = "folder of the zoo's maps, made by `prle cam`: DIR/MEMBER.h5"},
    {PRLE_OPTION_AT(fuse_args, stage.zoo), .name = "zoo", .value = "MEMBER", .max = PRLE_FUSE_MAX_MAPS,
     .help = "members to fuse; by default all in the folder"},
    {PRLE_OPTION_AT(fuse_args, stage.out), .name = "out", .letter = 'o', .value = "FILE", .required = true,
     .help = "fused maps; units are kept in FILE.parts until all are made"},
    {PRLE_OPTION_AT(fuse_args, stage.fuse.rule), .name = "rule", .words = prle_fuse_rule_words,
     .help = "how maps become one: the mean where it is high and else the neighbor value (expand), Eqs. 7-8 as printed "
             "(neighbor), the mean (average), the authors' unused function (hysteresis)"},
    {PRLE_OPTION_AT(fuse_args, stage.fuse.tau1), .name = "tau1", .max = 1,
     .help = "a mean above it is primary; six digits count (average, expand, hysteresis)"},
    {PRLE_OPTION_AT(fuse_args, stage.fuse.lambda), .name = "lambda", .max = 1,
     .help = "detectors disagree where a window's mean distance is above it; six digits count (neighbor, expand)"},
    {PRLE_OPTION_AT(fuse_args, stage.fuse.radius), .name = "radius", .min = 1, .max = PRLE_FUSE_MAX_RADIUS, .unit = "px",
     .help = "windows are 2 radius + 1 wide"},
    {PRLE_OPTION_AT(fuse_args, stage.fuse.hyst_low), .name = "hyst-low", .max = 1,
     .help = "a mean below it is zero; six digits count (hysteresis)"},
    {PRLE_OPTION_AT(fuse_args, stage.fuse.hyst_pair), .name = "hyst-pair", .max = 1,
     .help = "the first pair of maps whose window's mean distance is above it gives the value; six digits count (hysteresis)"},
    {PRLE_OPTION_AT(fuse_args, deadline), .name = "deadline", .min = 0, .max = 1e6, .unit = "s",
     .help = "a wait for other ranks that lasts longer ends the job; 0: PRLE_DEADLINE, else 600 s"},
    PRLE_OPTION_END,
};

static const char *const quantile_names[PRLE_FUSE_QUANTILES] = {"min", "5 %", "25 %", "median", "75 %", "95 %", "max"};
static const char *const quantile_keys[PRLE_FUSE_QUANTILES] = {"min", "p05", "p25", "median", "p75", "p95", "max"};

static void report_print(const fuse_args *a, const prle_fuse_report *r)
{
    const int64_t fresh = r->n_units - r->n_units_before;

    printf("%s: %" PRId64 " maps of %" PRId64 " x %" PRId64 ", rule %s, zoo of %" PRId64 "%s\n", a->stage.out, r->n_maps,
           r->height, r->width, prle_fuse_rule_words[a->stage.fuse.rule], r->n_members, r->was_done ? "; all there already" : "");
    if (fresh > 0)
        printf("%" PRId64 " of %" PRId64 " units made now, in %.1f s\n", fresh, r->n_units, r->seconds);
    printf("primary region, share of the image: mean %.1f %%\n ", 100 * r->mean_share);
    for (int k = 0; k < PRLE_FUSE_QUANTILES; k++)
        printf("  %s %.1f %%", quantile_names[k], 100 * r->share[k]);
    printf("\nempty maps: %" PRId64 " (%.1f %%)\n", r->n_empty,
           r->n_maps > 0 ? 100.0 * (double)r->n_empty / (double)r->n_maps : 0.0);
}

static prle_status report_print_json(const fuse_args *a, const prle_fuse_report *r)
{
    prle_json_writer json = {0};

    prle_json_begin_object(&json, NULL);
    prle_json_add_text(&json, "file", a->stage.out);
    prle_json_add_text(&json, "rule", prle_fuse_rule_words[a->stage.fuse.rule]);
    prle_json_add_int(&json, "members", r->n_members);
    prle_json_add_int(&json, "members_unlike", r->n_unlike);
    prle_json_add_int(&json, "maps", r->n_maps);
    prle_json_add_int(&json, "maps_empty", r->n_empty);
    prle_json_add_int(&json, "height", r->height);
    prle_json_add_int(&json, "width", r->width);
    prle_json_add_double(&json, "share_mean", r->mean_share);
    prle_json_begin_object(&json, "share");
    for (int k = 0; k < PRLE_FUSE_QUANTILES; k++)
        prle_json_add_double(&json, quantile_keys[k], r->share[k]);
    prle_json_end(&json);
    prle_json_add_bool(&json, "was_done", r->was_done);
    prle_json_add_int(&json, "units", r->n_units);
    prle_json_add_int(&json, "units_before", r->n_units_before);
    prle_json_add_double(&json, "seconds", r->seconds);
    prle_json_end(&json);
    return prle_job_json_print(&json);
}

static prle_status run(void *args, const prle_job *job)
{
    prle_status st = PRLE_OK;
    const fuse_args *a = args;
    prle_fuse_stage_opts stage = a->stage;
    prle_fuse_report report;

    stage.threads = job->threads;
    stage.device = job->device;
    PRLE_TRY_OUT(prle_watchdog_begin(job->world, a->deadline));
    PRLE_TRY_OUT(prle_fuse_run(&stage, job->world, &report));
    if (job->world->rank == 0 && a->common.json)
        PRLE_TRY_OUT(report_print_json(a, &report));
    else if (job->world->rank == 0)
        report_print(a, &report);
out:
    prle_watchdog_end();
    return st;
}

static const fuse_args defaults = {.common = PRLE_COMMON_DEFAULT, .stage = PRLE_FUSE_STAGE_OPTS_DEFAULT};

extern const prle_command prle_command_fuse;
const prle_command prle_command_fuse = {
    .spec = {.command = "fuse",
             .summary = "fuse a zoo's maps into primary regions",
             .description =
                 "Joins the attention maps of several detectors into one primary region per image and stores its order, "
                 "so that training can hide any share of it. All in integers: the result is the same for any number of "
                 "ranks and threads, and on a GPU. Work goes in units of 64 images, shared over the ranks of mpirun or srun and "
                 "committed one by one: kill it at any time and run it again. Prints how much of the images the regions "
                 "cover, and warns when more than 5 % of them are empty, or when members' maps are of different methods, targets "
                 "or scores.",
             .examples = "prle fuse --cams cams/ -o maps.h5\n"
                         "prle fuse --cams cams/ --zoo xception,resnet50 --rule average --tau1 0.1 -o low.h5\n"
                         "mpirun --bind-to none -n 2 prle fuse --cams cams/ -o maps.h5",
             .parts = (const prle_option_part[]){{.options = options}, {0}}},
    .args_bytes = sizeof(fuse_args),
    .defaults = &defaults,
    .distributed = true,
    .stops = true,
    .computes = true,
    .run = run,
};
