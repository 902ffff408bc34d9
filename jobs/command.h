/* command.h - what a command is. A new one: jobs/NAME.c with `const prle_command prle_command_NAME`, and a line in commands.c. */
#pragma once
#include "core/comm.h"
#include "core/option.h"
#include "jobs/common.h"

/** What main has set up for a running command. Borrowed. */
typedef struct prle_job {
    prle_comm *world;            /* all ranks of the launcher for a distributed command, else prle_comm_self() */
    const prle_device *device;   /* what the command computes on, if it does; else the processor */
    int threads;                 /* of this rank; OpenMP has been told */
    const prle_options *options; /* for prle_options_dump into a run folder */
    const char *about;           /* program version, newline, command line: `created_by` in files */
} prle_job;

typedef struct prle_command {
    prle_option_spec spec; /* spec.parts need not name prle_common_options, nor spec.sections anything: main adds them */
    size_t args_bytes;     /* of the command's options struct, whose FIRST member is `prle_common common` */
    const void *defaults;  /* &(const x_args){.common = PRLE_COMMON_DEFAULT, ...} */
    bool distributed;      /* joins the ranks that mpirun or srun started */
    bool stops;            /* looks at prle_stop_pending: asked to by a signal, it ends early, with exit code 75 */
    bool computes;         /* on job->device, which --device chooses */
    /* args: the filled struct, common options already applied. Rank 0 prints the answer to stdout; main prints errors. */
    prle_status (*run)(void *args, const prle_job *job);
} prle_command;

/** In the order of the way of the data (docs/design.md), ended by NULL. */
extern const prle_command *const prle_commands[];
