/* plugin.c - see plugin.h. */
#include "core/device/plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "core/version.h"

const char *const prle_device_words[] = {
    [PRLE_DEVICE_AUTO] = "auto", [PRLE_DEVICE_CPU] = "cpu", [PRLE_DEVICE_CUDA] = "cuda", NULL};

static const prle_plugin *plugin; /* the open one */

/* Beside the library, or the program, that this function is in. */
static prle_status path_find(char path[PATH_MAX])
{
    static const char here;
    const char *given = getenv("PRLE_CUDA_PLUGIN");
    Dl_info info;

    if (given != NULL) {
        PRLE_CHECK(strlen(given) < PATH_MAX, PRLE_EINVAL, "PRLE_CUDA_PLUGIN is too long");
        snprintf(path, PATH_MAX, "%s", given);
        return PRLE_OK;
    }
    PRLE_CHECK(dladdr(&here, &info) != 0 && info.dli_fname != NULL, PRLE_ENOTSUP, "cannot tell where libprle.so lies");
    const char *slash = strrchr(info.dli_fname, '/');
    const int n = slash != NULL ? (int)(slash - info.dli_fname) : 1;
    const int length = snprintf(path, PATH_MAX, "%.*s/libprle_cuda.so", n, slash != NULL ? info.dli_fname : ".");
    PRLE_CHECK(length < PATH_MAX, PRLE_ENOTSUP, "%s: the path is too long", info.dli_fname);
    return PRLE_OK;
}

/* usual: what is missing here is missing on most machines. Before the plugin is loaded, which is slow. */
static prle_status look_for_driver(const char *path, bool *usual)
{
    void *driver = NULL;

    *usual = true;
    PRLE_CHECK(access(path, F_OK) == 0, PRLE_ENOTSUP,
               "%s is not there: this build has no GPU part (docs/gpu.md: build where the CUDA toolkit is)", path);
    driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    PRLE_CHECK(driver != NULL, PRLE_ENOTSUP, "there is no NVIDIA driver on this machine (libcuda.so.1 is not found)");
    dlclose(driver);
    *usual = false;
    return PRLE_OK;
}

/* It stays loaded: CUDA's libraries do not survive being unloaded. */
static prle_status load(const char *path, const prle_plugin **out)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    PRLE_CHECK(library != NULL, PRLE_ENOTSUP,
               "cannot load %s: %s; install what is missing, or name its folder in LD_LIBRARY_PATH", path, dlerror());
    const prle_plugin *found = dlsym(library, "prle_cuda_plugin");
    PRLE_CHECK(found != NULL, PRLE_ENOTSUP, "%s is no plugin of prle: it has no prle_cuda_plugin", path);
    PRLE_CHECK(
        found->abi == PRLE_PLUGIN_ABI && strcmp(found->revision, prle_version_revision()) == 0, PRLE_ENOTSUP,
        "%s is of another build (git %s, interface %d) than this program (git %s, interface %d): install both of one build", path,
        found->revision, found->abi, prle_version_revision(), PRLE_PLUGIN_ABI);
    *out = found;
    return PRLE_OK;
}

static prle_status gpu_open(const prle_device **out, const prle_device_opts *opts, bool *usual)
{
    char path[PATH_MAX];
    const prle_plugin *found = NULL;

    *usual = false;
    PRLE_TRY(path_find(path));
    PRLE_TRY(look_for_driver(path, usual));
    PRLE_TRY(load(path, &found));
    PRLE_TRY(found->open(out, opts));
    plugin = found;
    return PRLE_OK;
}

prle_status prle_device_open(const prle_device **out, const prle_device_opts *opts)
{
    const prle_device_choice choice = opts->choice;
    bool usual = false;

    PRLE_CHECK(choice != PRLE_DEVICE_CUDA || opts->dtype != PRLE_F64, PRLE_EINVAL,
               "option device = \"cuda\": GPUs compute in f32 and bf16 here, not in f64; use --device cpu");
    if (choice == PRLE_DEVICE_CPU || opts->dtype == PRLE_F64) {
        *out = prle_device_cpu();
        return PRLE_OK;
    }
    const prle_status st = gpu_open(out, opts, &usual);
    if (st == PRLE_ENOTSUP && choice == PRLE_DEVICE_AUTO) {
        prle_log(usual ? PRLE_LOG_DEBUG : PRLE_LOG_INFO, "device", "computing on the processor: %s", prle_error_message());
        *out = prle_device_cpu();
        return PRLE_OK;
    }
    if (st == PRLE_ENOTSUP)
        return PRLE_FAIL(PRLE_EINVAL, "option device = \"cuda\": %s", prle_error_message());
    return st;
}

void prle_device_close(void)
{
    if (plugin != NULL)
        plugin->close();
    plugin = NULL;
}

void prle_device_describe(void (*add)(void *ctx, const char *key, const char *text), void *ctx)
{
    if (plugin != NULL)
        plugin->describe(add, ctx);
}
