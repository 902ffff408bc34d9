/* doctor.c - `prle doctor`: what this machine and this build have, and what about them will hurt. */
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/json.h"
#include "core/table.h"
#include "core/threads.h"
#include "core/version.h"
#include "dist/dist.h"
#include "jobs/command.h"

typedef struct doctor_args {
    prle_common common;
} doctor_args;

enum { MAX_FACTS = 64, MAX_ADVICE = 16, KEY_BYTES = 40, TEXT_BYTES = 256 };

/* A number where `text` is empty; keys carry the unit. */
typedef struct doctor_fact {
    const char *section;
    char key[KEY_BYTES], text[TEXT_BYTES];
    int64_t number;
} doctor_fact;

typedef struct doctor_report {
    doctor_fact facts[MAX_FACTS];
    char advice[MAX_ADVICE][TEXT_BYTES];
    int n_facts, n_advice;
} doctor_report;

static void text_add(doctor_report *report, const char *section, const char *key, const char *text)
{
    if (report->n_facts == MAX_FACTS)
        return;
    doctor_fact *fact = &report->facts[report->n_facts++];
    fact->section = section;
    snprintf(fact->key, sizeof fact->key, "%s", key);
    snprintf(fact->text, sizeof fact->text, "%s", text[0] != '\0' ? text : "unknown");
}

static void number_add(doctor_report *report, const char *section, const char *key, int64_t number)
{
    text_add(report, section, key, "-");
    report->facts[report->n_facts - 1].text[0] = '\0';
    report->facts[report->n_facts - 1].number = number;
}

static void PRLE_PRINTF(2, 3)
advice_add(doctor_report *report, const char *fmt, ...)
{
    va_list args;

    if (report->n_advice == MAX_ADVICE)
        return;
    va_start(args, fmt);
    vsnprintf(report->advice[report->n_advice++], TEXT_BYTES, fmt, args);
    va_end(args);
}

/* The rest of the first line of a file that begins with `key`, without leading ": \t"; "" when there is none. */
static const char *line_of_file(const char *path, const char *key, char text[TEXT_BYTES])
{
    char line[4096];

    text[0] = '\0';
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return text;
    while (text[0] == '\0' && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) != 0)
            continue;
        const char *value = line + strlen(key);
        value += strspn(value, ": \t");
        snprintf(text, TEXT_BYTES, "%.*s", (int)strcspn(value, "\n"), value);
    }
    fclose(file);
    return text;
}

static void build_add(doctor_report *report)
{
    text_add(report, "build", "version", prle_version());
    text_add(report, "build", "compiler", prle_version_compiler());
#ifdef NDEBUG
    text_add(report, "build", "assertions", "off");
#else
    text_add(report, "build", "assertions", "on");
#endif
#ifdef __OPTIMIZE__
    text_add(report, "build", "optimised", "yes");
#else
    text_add(report, "build", "optimised", "no");
    advice_add(report, "this build is not optimised: configure with -DCMAKE_BUILD_TYPE=Release");
#endif
}

static void instructions_text(char text[TEXT_BYTES])
{
    size_t used = 0;

    text[0] = '\0';
#if defined(__x86_64__)
    __builtin_cpu_init();
    const struct {
        const char *name;
        bool there;
    } sets[] = {
        {"sse4.2", __builtin_cpu_supports("sse4.2")},
        {"avx2", __builtin_cpu_supports("avx2")},
        {"fma", __builtin_cpu_supports("fma")},
        {"avx512f", __builtin_cpu_supports("avx512f")},
        {"avx512bw", __builtin_cpu_supports("avx512bw")},
        {"avx512vnni", __builtin_cpu_supports("avx512vnni")},
        {"avx512bf16", __builtin_cpu_supports("avx512bf16")},
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (sets[i].there)
            used += (size_t)snprintf(text + used, TEXT_BYTES - used, "%s%s", used > 0 ? " " : "", sets[i].name);
#else
    (void)used;
#endif
}

static void processor_add(doctor_report *report, const prle_job *job)
{
    char text[TEXT_BYTES];
    const char *isa = prle_version_dnnl_isa();
    const bool has_bf16 = strstr(isa, "bf16") != NULL || strstr(isa, "amx") != NULL;
    const int online = (int)sysconf(_SC_NPROCESSORS_ONLN), available = prle_threads_available();

    text_add(report, "processor", "model", line_of_file("/proc/cpuinfo", "model name", text));
    instructions_text(text);
    text_add(report, "processor", "instructions", text);
    number_add(report, "processor", "online", online);
    number_add(report, "processor", "available", available);
    number_add(report, "processor", "threads", job->threads);
    text_add(report, "processor", "bf16", has_bf16 ? "in hardware" : "emulated, slow");
    if (job->threads > available)
        advice_add(report, "%d threads on %d processors: give --threads %d", job->threads, available, available);
}

static void libraries_add(doctor_report *report)
{
    text_add(report, "libraries", "onednn", prle_version_dnnl());
    text_add(report, "libraries", "onednn_instructions", prle_version_dnnl_isa());
    text_add(report, "libraries", "mpi", prle_version_mpi());
    text_add(report, "libraries", "hdf5", prle_version_hdf5());
    text_add(report, "libraries", "libjpeg-turbo", prle_version_jpeg());
    text_add(report, "libraries", "libpng", prle_version_png());
    text_add(report, "libraries", "jansson", prle_version_jansson());
    text_add(report, "libraries", "libyaml", prle_version_yaml());
}

static void gpu_fact_add(void *ctx, const char *key, const char *text) { text_add(ctx, "gpu", key, text); }

/* Only when it is asked for: to look costs half a second. */
static prle_status gpu_add(doctor_report *report, prle_device_choice choice)
{
    const prle_device_opts opts = {.choice = choice, .dtype = PRLE_F32, .deterministic = true};
    const prle_device *device = NULL;

    if (choice != PRLE_DEVICE_CUDA) {
        text_add(report, "gpu", "name", "not looked for: add --device cuda");
        return PRLE_OK;
    }
    const prle_status st = prle_device_open(&device, &opts);
    if (st != PRLE_OK)
        text_add(report, "gpu", "name", prle_error_message());
    prle_device_describe(gpu_fact_add, report);
    return st;
}

/* By affinity alone: a container's quota is no binding. */
static int bound_cpus(int online)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : online;
}

/* Under mpirun each rank is bound to a core or socket by default, and all threads of a rank share it. */
static void ranks_add(doctor_report *report)
{
    const char *size = getenv("OMPI_COMM_WORLD_SIZE"), *local = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    const int online = (int)sysconf(_SC_NPROCESSORS_ONLN), bound = bound_cpus(online);

    if (size == NULL) {
        text_add(report, "ranks", "launcher", getenv("SLURM_PROCID") != NULL ? "slurm" : "none");
        return;
    }
    text_add(report, "ranks", "launcher", "mpirun");
    number_add(report, "ranks", "ranks", atoi(size));
    number_add(report, "ranks", "ranks_on_this_machine", local != NULL ? atoi(local) : 1);
    text_add(report, "ranks", "bound", bound < online ? "yes" : "no");
    if (bound < online)
        advice_add(report, "ranks are bound to %d of %d processors, which all threads of a rank share: mpirun --bind-to none",
                   bound, online);
}

static void memory_add(doctor_report *report)
{
    char text[TEXT_BYTES];

    number_add(report, "memory", "total_bytes", 1024 * atoll(line_of_file("/proc/meminfo", "MemTotal", text)));
    number_add(report, "memory", "available_bytes", 1024 * atoll(line_of_file("/proc/meminfo", "MemAvailable", text)));
    text_add(report, "memory", "huge_pages", line_of_file("/sys/kernel/mm/transparent_hugepage/enabled", "", text));
}

static void space_add(doctor_report *report, const char *name, const char *path, int64_t least_bytes)
{
    struct statvfs info;
    char key[KEY_BYTES];

    if (statvfs(path, &info) != 0) {
        text_add(report, "space", name, "not there");
        return;
    }
    const int64_t n_bytes = (int64_t)info.f_bavail * (int64_t)info.f_frsize;
    snprintf(key, sizeof key, "%.30s_bytes", name);
    number_add(report, "space", key, n_bytes);
    if (n_bytes < least_bytes)
        advice_add(report, "%s: only %lld MiB are free", path, (long long)(n_bytes >> 20));
}

static void limits_add(doctor_report *report)
{
    const char *tmp = getenv("TMPDIR");
    struct rlimit files = {0};

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        number_add(report, "limits", "open_files", (int64_t)files.rlim_cur);
        if (files.rlim_cur < 1024)
            advice_add(report, "only %lld open files are allowed: ulimit -n 4096", (long long)files.rlim_cur);
    }
    space_add(report, "working_folder", ".", (int64_t)1 << 30);
    space_add(report, "temporary_files", tmp != NULL ? tmp : "/tmp", (int64_t)64 << 20);
    space_add(report, "shared_memory", "/dev/shm", (int64_t)64 << 20); /* mpirun's ranks talk through it */
}

static prle_status print_json(const doctor_report *report)
{
    prle_json_writer json = {0};
    const char *section = NULL;

    prle_json_begin_object(&json, NULL);
    for (int i = 0; i < report->n_facts; i++) {
        const doctor_fact *fact = &report->facts[i];
        if (section == NULL || strcmp(section, fact->section) != 0) {
            if (section != NULL)
                prle_json_end(&json);
            prle_json_begin_object(&json, fact->section);
            section = fact->section;
        }
        if (fact->text[0] != '\0')
            prle_json_add_text(&json, fact->key, fact->text);
        else
            prle_json_add_int(&json, fact->key, fact->number);
    }
    prle_json_end(&json);
    prle_json_begin_list(&json, "advice");
    for (int i = 0; i < report->n_advice; i++)
        prle_json_add_text(&json, NULL, report->advice[i]);
    prle_json_end(&json);
    prle_json_end(&json);
    return prle_job_json_print(&json);
}

static void cell_add(prle_table *table, const doctor_fact *fact)
{
    const size_t n = strlen(fact->key), n_unit = strlen("_bytes");

    if (fact->text[0] != '\0')
        prle_table_add(table, "%s", fact->text);
    else if (n > n_unit && strcmp(fact->key + n - n_unit, "_bytes") == 0)
        prle_table_add(table, "%.1f GiB", (double)fact->number / (double)(1 << 30));
    else
        prle_table_add(table, "%lld", (long long)fact->number);
}

static prle_status print_table(const doctor_report *report)
{
    prle_table table = {.columns = "lll"};
    char *text = NULL;

    prle_table_add(&table, "of");
    prle_table_add(&table, "what");
    prle_table_add(&table, "found");
    for (int i = 0; i < report->n_facts; i++) {
        const doctor_fact *fact = &report->facts[i];
        const bool first = i == 0 || strcmp(report->facts[i - 1].section, fact->section) != 0;
        const char *unit = fact->text[0] == '\0' ? strstr(fact->key, "_bytes") : NULL;
        prle_table_add(&table, "%s", first ? fact->section : "");
        prle_table_add(&table, "%.*s", unit != NULL ? (int)(unit - fact->key) : KEY_BYTES, fact->key);
        cell_add(&table, fact);
    }
    PRLE_TRY(prle_table_take(&table, PRLE_TABLE_TEXT, &text));
    printf("%s", text);
    prle_free(text);
    for (int i = 0; i < report->n_advice; i++)
        printf("%sadvice: %s\n", i == 0 ? "\n" : "", report->advice[i]);
    return PRLE_OK;
}

static prle_status run(void *args, const prle_job *job)
{
    const doctor_args *doctor = args;
    doctor_report *report = NULL;

    PRLE_TRY(PRLE_NEW(report, 1));
    build_add(report);
    processor_add(report, job);
    libraries_add(report);
    const prle_status found = gpu_add(report, doctor->common.device);
    ranks_add(report);
    memory_add(report);
    limits_add(report);
    const prle_status st = doctor->common.json ? print_json(report) : print_table(report);
    prle_free(report);
    return found != PRLE_OK ? found : st;
}

const prle_command prle_command_doctor = {
    .spec =
        {.command = "doctor",
         .summary = "what was found: devices, libraries, versions, limits",
         .description =
             "Reports the build, the processor, the libraries with their versions and the limits that matter, and "
             "gives advice where one of them will hurt. Under mpirun each rank reports, without starting MPI: the "
             "way to see whether ranks are bound to processors. GPUs are looked for with --device cuda; exit code 2 where none "
             "can be used.",
         .examples = "prle doctor\nprle doctor --device cuda\nprle doctor --json\nmpirun -n 2 prle doctor"},
    .args_bytes = sizeof(doctor_args),
    .defaults = &(const doctor_args){.common = PRLE_COMMON_DEFAULT},
    .run = run,
};
