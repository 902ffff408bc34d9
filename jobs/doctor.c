/* doctor.c - `prle doctor`: what this machine and this build have. */
#include <stdio.h>

#include "core/version.h"
#include "jobs/command.h"

typedef struct doctor_args {
    prle_common common;
} doctor_args;

static prle_status run(void *args, const prle_job *job)
{
    (void)args;
    (void)job;
    printf("prle %s\n", prle_version());
    return PRLE_OK;
}

const prle_command prle_command_doctor = {
    .spec = {.command = "doctor",
             .summary = "what was found: devices, libraries, versions, limits",
             .description = "Reports the build, the processor, the libraries with their versions and the limits that matter.",
             .examples = "prle doctor\nprle doctor --json"},
    .args_bytes = sizeof(doctor_args),
    .defaults = &(const doctor_args){.common = PRLE_COMMON_DEFAULT},
    .run = run,
};
