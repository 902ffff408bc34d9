/* common.h - the options every command has. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "core/device/plugin.h"
#include "core/json.h"
#include "core/option.h"
#include "core/types.h"

typedef struct prle_common {
    prle_device_choice device;
    prle_dtype dtype;
    bool deterministic;
    int threads; /* 0: the processors this rank may use */
    uint64_t seed;
    const char *log_level;
    bool json;
} prle_common;

#define PRLE_COMMON_DEFAULT                                                                                                      \
    {                                                                                                                            \
        .device = PRLE_DEVICE_AUTO, .dtype = PRLE_F32, .deterministic = true, .seed = 1, .log_level = "info"                     \
    }

extern const prle_option prle_common_options[];

/** The answer of --json: takes the writer's value and prints it to stdout, indented. */
PRLE_NODISCARD prle_status prle_job_json_print(prle_json_writer *json);
