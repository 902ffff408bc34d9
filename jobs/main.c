/* main.c - finds the command, fills its options, runs it; the only place that turns a status into an exit code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/text.h"
#include "core/threads.h"
#include "core/version.h"
#include "dist/dist.h"
#include "dist/stop.h"
#include "jobs/command.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INPUT = 3, EXIT_STOPPED = 75, MAX_COMMANDS = 64, MAX_PARTS = 16 };

static const char exit_codes[] =
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 bad input file, 75 stopped early with a checkpoint "
    "(run again to go on).";

static int exit_code(prle_status st)
{
    switch (st) {
    case PRLE_OK: return EXIT_DONE;
    case PRLE_EINVAL: return EXIT_USAGE;
    case PRLE_EFORMAT: return EXIT_INPUT;
    case PRLE_ESTOP: return EXIT_STOPPED;
    default: return EXIT_FAILED;
    }
}

/* Before MPI is up: what the launcher says, 0 without one. */
static int launcher_rank(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = getenv(names[i]);
        if (text != NULL)
            return atoi(text);
    }
    return 0;
}

/* One line, once. A failed peer prints its own; what every rank refuses alike before it joins the others, rank 0 says. */
static void error_print(prle_status st, const char *command, const prle_comm *world)
{
    const bool all_alike = st == PRLE_EINVAL && world->size == 1;

    if (st == PRLE_EPEER)
        return;
    if (all_alike && launcher_rank() != 0) {
        usleep(300000); /* mpirun ends all ranks when the first one is gone: rank 0 must have spoken by then */
        return;
    }
    fprintf(stderr, "prle%s%s: %s\n", command != NULL ? " " : "", command != NULL ? command : "", prle_error_message());
    prle_log(PRLE_LOG_DEBUG, "jobs", "%s", prle_error_details());
}

static void overview_print(FILE *out)
{
    fprintf(out, "prle %s - trains generalizable detectors of face forgeries (arXiv 2307.12534)\n\n", prle_version());
    fprintf(out, "Usage: prle COMMAND [OPTION]... [ARGUMENT]...\n\nCommands\n");
    for (int i = 0; prle_commands[i] != NULL; i++)
        fprintf(out, "  %-10s %s\n", prle_commands[i]->spec.command, prle_commands[i]->spec.summary);
    fprintf(out, "\nprle COMMAND --help explains a command; prle --version says what this build is.\n%s\n", exit_codes);
}

static int names_list(const char *names[MAX_COMMANDS])
{
    int n = 0;

    while (prle_commands[n] != NULL && n < MAX_COMMANDS - 1) {
        names[n] = prle_commands[n]->spec.command;
        n++;
    }
    names[n] = NULL;
    return n;
}

static prle_status command_find(const char *name, const prle_command **out)
{
    const char *names[MAX_COMMANDS];
    const int n = names_list(names);

    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0) {
            *out = prle_commands[i];
            return PRLE_OK;
        }
    const char *near = prle_text_nearest(name, names, n);
    return PRLE_FAIL(PRLE_EINVAL, "unknown command \"%.80s\"%s%s%s (prle --help lists all)", name,
                     near != NULL ? ": did you mean " : "", near != NULL ? near : "", near != NULL ? "?" : "");
}

static prle_status about_make(int argc, char *const argv[], char **out)
{
    prle_text text = {0};

    prle_text_add(&text, "prle %s\n", prle_version());
    for (int i = 0; i < argc; i++)
        prle_text_add(&text, "%s%s", i > 0 ? " " : "", argv[i]);
    return prle_text_take(&text, out);
}

static prle_status stdout_flush(void)
{
    PRLE_CHECK(fflush(stdout) == 0 && !ferror(stdout), PRLE_EIO, "cannot write to the standard output");
    return PRLE_OK;
}

static prle_status help_print(const prle_options *options)
{
    char *page = NULL;

    PRLE_TRY(prle_options_help(options, &page));
    if (launcher_rank() == 0)
        printf("%s\n%s\n", page, exit_codes);
    prle_free(page);
    return PRLE_OK;
}

/* The command's tables, then the common one; sections: the other commands. */
static prle_option_spec spec_complete(const prle_command *command, prle_option_part parts[MAX_PARTS],
                                      const char *names[MAX_COMMANDS])
{
    prle_option_spec spec = command->spec;
    int n = 0;

    for (; spec.parts != NULL && spec.parts[n].options != NULL && n < MAX_PARTS - 2; n++)
        parts[n] = spec.parts[n];
    parts[n] = (prle_option_part){.options = prle_common_options};
    parts[n + 1] = (prle_option_part){0};
    names_list(names);
    spec.parts = parts;
    spec.sections = names;
    return spec;
}

/* All ranks compute on GPUs, or none does: their sums would not be of one kind. Rank 0 says so for all. */
static prle_status device_open(const prle_device **out, const prle_common *common, prle_comm *world)
{
    const prle_device_opts opts = {
        .choice = common->device, .dtype = common->dtype, .ordinal = world->local_rank, .deterministic = common->deterministic};
    int64_t first[2] = {0, 0}; /* of the ranks on the processor, on GPUs: size - the lowest, 0 where there is none */

    PRLE_TRY(prle_comm_agree(world, prle_device_open(out, &opts), "opening the device"));
    first[(*out)->host_memory ? 0 : 1] = world->size - world->rank;
    PRLE_TRY(prle_comm_max_i64(world, first, 2, "kind of device"));
    const bool mixed = first[0] > 0 && first[1] > 0;
    PRLE_CHECK(!mixed || world->rank == 0, PRLE_EPEER, "the ranks compute on different kinds of devices (rank 0 says which)");
    PRLE_CHECK(!mixed, PRLE_EINVAL, "rank %d has a GPU, rank %d has none: choose machines alike, or --device cpu",
               world->size - (int)first[1], world->size - (int)first[0]);
    return PRLE_OK;
}

/* Everything a command stands on, then the command. */
static prle_status job_run(const prle_command *command, void *args, const prle_options *options, int argc, char *argv[],
                           prle_comm **world)
{
    const prle_common *common = args;
    prle_job job = {.options = options, .device = prle_device_cpu()};
    char *about = NULL;

    PRLE_TRY(prle_log_setup(common->log_level));
    PRLE_TRY(prle_threads_wait_setup(common->threads, argv));
    if (command->stops) /* before MPI is up, which takes long; to the end: a signal that is late must not kill what is done */
        PRLE_TRY(prle_stop_begin());
    if (command->distributed)
        PRLE_TRY(prle_dist_begin(NULL, world));
    job.world = *world;
    PRLE_TRY(prle_threads_setup(common->threads, job.world->cpu_sharers, &job.threads));
    PRLE_TRY(about_make(argc, argv, &about));
    job.about = about;
    prle_status st = command->computes ? device_open(&job.device, common, job.world) : PRLE_OK;
    if (st == PRLE_OK)
        st = command->run(args, &job);
    prle_device_close();
    prle_free(about);
    return st;
}

static prle_status command_run(const prle_command *command, int argc, char *argv[], prle_comm **world)
{
    prle_option_part parts[MAX_PARTS];
    const char *names[MAX_COMMANDS];
    const prle_option_spec spec = spec_complete(command, parts, names);
    prle_options *options = NULL;
    void *args = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_alloc(1, command->args_bytes, &args));
    memcpy(args, command->defaults, command->args_bytes);
    PRLE_TRY_OUT(prle_options_parse(&options, &spec, args, argc - 2, argv + 2));
    if (prle_options_help_wanted(options))
        PRLE_TRY_OUT(help_print(options));
    else
        PRLE_TRY_OUT(job_run(command, args, options, argc, argv, world));
    PRLE_TRY_OUT(stdout_flush());
out:
    prle_options_destroy(options);
    prle_free(args);
    return st;
}

int main(int argc, char *argv[])
{
    const prle_command *command = NULL;
    prle_comm *world = prle_comm_self();

    prle_alloc_setup();
    if (argc < 2) {
        overview_print(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        overview_print(stdout);
        return exit_code(stdout_flush());
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("prle %s\n", prle_version());
        return exit_code(stdout_flush());
    }
    prle_status st = command_find(argv[1], &command);
    if (st == PRLE_OK)
        st = command_run(command, argc, argv, &world);
    if (st != PRLE_OK)
        error_print(st, command != NULL ? command->spec.command : NULL, world);
    return prle_dist_end(world, exit_code(st));
}
