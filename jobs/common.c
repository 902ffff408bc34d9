/* common.c - see common.h. */
#include "jobs/common.h"

#include <stdio.h>

#include "core/alloc.h"

static const char *const dtype_words[] = {[PRLE_F32] = "f32", [PRLE_F64] = "f64", [PRLE_BF16] = "bf16", NULL};

const prle_option prle_common_options[] = {
    {PRLE_OPTION_AT(prle_common, device), .name = "device", .words = prle_device_words,
     .help = "where to compute; auto: on a GPU where one can be used", .group = "Common options"},
    {PRLE_OPTION_AT(prle_common, dtype), .name = "dtype", .words = dtype_words,
     .help = "element type of activations; f64 runs on the plain C reference, the oracle"},
    {PRLE_OPTION_AT(prle_common, deterministic), .name = "deterministic",
     .help = "sums in one order only, so that two runs give the same bits; no: cuDNN may choose engines that do not"},
    {PRLE_OPTION_AT(prle_common, threads), .name = "threads", .min = 0, .max = 1024,
     .help = "threads of each rank; 0: as many as the processors it may use"},
    {PRLE_OPTION_AT(prle_common, seed), .name = "seed", .help = "of every random draw"},
    {PRLE_OPTION_AT(prle_common, log_level), .name = "log-level", .value = "LEVEL",
     .help = "error, warn, info, debug or trace, then optionally :SUBSYSTEM,... (debug:dist,op)", .environment = "PRLE_LOG"},
    {PRLE_OPTION_AT(prle_common, json), .name = "json", .help = "print what a program can read"},
    PRLE_OPTION_END,
};

prle_status prle_job_json_print(prle_json_writer *json)
{
    char *text = NULL;

    PRLE_TRY(prle_json_take(json, true, &text));
    printf("%s\n", text);
    prle_free(text);
    return PRLE_OK;
}
