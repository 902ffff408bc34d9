/* common.h - the options every command has. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "core/json.h"
#include "core/option.h"
#include "core/types.h"

typedef enum prle_device_choice {
    PRLE_DEVICE_AUTO, /* the best there is: here the CPU */
    PRLE_DEVICE_CPU,
    PRLE_DEVICE_CUDA,
} prle_device_choice;

typedef struct prle_common {
    prle_device_choice device;
    prle_dtype dtype;
    int threads; /* 0: the processors this rank may use */
    uint64_t seed;
    const char *log_level;
    bool json;
} prle_common;

#define PRLE_COMMON_DEFAULT                                                                                                      \
    {                                                                                                                            \
        .device = PRLE_DEVICE_AUTO, .dtype = PRLE_F32, .seed = 1, .log_level = "info"                                            \
    }

extern const prle_option prle_common_options[];

/** Sets up the log and refuses a device that is not there. */
PRLE_NODISCARD prle_status prle_common_apply(const prle_common *common);

/** The answer of --json: takes the writer's value and prints it to stdout, indented. */
PRLE_NODISCARD prle_status prle_job_json_print(prle_json_writer *json);
