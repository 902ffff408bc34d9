/* command.h - what a command is. A new one: jobs/NAME.c with `const prle_command prle_command_NAME`, and a line in commands.c. */
#pragma once
#include "core/option.h"
#include "jobs/common.h"

/** What main knows and a running command may want. Borrowed. */
typedef struct prle_job {
    const prle_options *options; /* for prle_options_dump into a run folder */
    const char *about;           /* program version and command line: `created_by` in files */
} prle_job;

typedef struct prle_command {
    prle_option_spec spec; /* spec.parts need not name prle_common_options, nor spec.sections anything: main adds them */
    size_t args_bytes;     /* of the command's options struct, whose FIRST member is `prle_common common` */
    const void *defaults;  /* &(const x_args){.common = PRLE_COMMON_DEFAULT, ...} */
    /* args: the filled struct, common options already applied. Prints its answer to stdout; main prints errors. */
    prle_status (*run)(void *args, const prle_job *job);
} prle_command;

/** In the order of the way of the data (docs/design.md), ended by NULL. */
extern const prle_command *const prle_commands[];
