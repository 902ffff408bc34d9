/* device.c - what the program may ask about its GPU. The answers come from the description that cuDNN plans with: a file of
 * devices/, named by CUDASIM_DEVICE_JSON. CUDASIM_DEVICES: how many there are (default 1; 0: none; -1: no driver either;
 * -2: one that is too old). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cudasim/sim.h"

enum { MAX_TEXT = 8192 };

const char *sim_device_json(void)
{
    static char text[MAX_TEXT];
    const char *path = getenv("CUDASIM_DEVICE_JSON");

    if (text[0] != '\0')
        return text;
    FILE *in = path == NULL ? NULL : fopen(path, "r");
    if (in == NULL)
        sim_fatal("CUDASIM_DEVICE_JSON must name a file of tests/cudasim/devices, not '%s'", path == NULL ? "" : path);
    const size_t n = fread(text, 1, sizeof text - 1, in);
    fclose(in);
    text[n] = '\0';
    return text;
}

/* The text behind "key": in the description. */
static const char *json_value(const char *key)
{
    char quoted[64];

    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(sim_device_json(), quoted);
    if (at == NULL)
        sim_fatal("the device description has no %s", key);
    return at + strlen(quoted);
}

static int json_int(const char *key) { return (int)strtol(json_value(key), NULL, 10); }

static int device_count(void)
{
    const char *n = getenv("CUDASIM_DEVICES");

    return n == NULL ? 1 : (int)strtol(n, NULL, 10);
}

static _Thread_local int current;

SIM_API cudaError_t cudaGetDeviceCount(int *out)
{
    const int n = device_count();

    *out = n > 0 ? n : 0;
    return sim_error(n > 0 ? cudaSuccess : n == 0 ? cudaErrorNoDevice : cudaErrorInsufficientDriver);
}

SIM_API cudaError_t cudaSetDevice(int device)
{
    if (device < 0 || device >= device_count())
        return sim_error(cudaErrorInvalidDevice);
    current = device;
    return cudaSuccess;
}

SIM_API cudaError_t cudaGetDevice(int *out)
{
    *out = current;
    return cudaSuccess;
}

SIM_API cudaError_t cudaDriverGetVersion(int *out)
{
    const int n = device_count();

    *out = n == -1 ? 0 : n == -2 ? 12040 : json_int("driverVer");
    return cudaSuccess;
}

SIM_API cudaError_t cudaRuntimeGetVersion(int *out)
{
    *out = CUDART_VERSION;
    return cudaSuccess;
}

SIM_API cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int device)
{
    if (device < 0 || device >= device_count())
        return sim_error(cudaErrorInvalidDevice);
    memset(out, 0, sizeof *out);
    const char *name = strchr(json_value("deviceName"), '"') + 1;
    snprintf(out->name, sizeof out->name, "%.*s (cudasim)", (int)strcspn(name, "\""), name);
    out->major = json_int("deviceVer") / 100;
    out->minor = json_int("deviceVer") % 100 / 10;
    out->warpSize = 32;
    out->multiProcessorCount = json_int("multiProcessorCount");
    out->maxThreadsPerBlock = 1024;
    out->sharedMemPerBlock = (size_t)json_int("maxSharedMemoryPerBlock");
    out->sharedMemPerBlockOptin = (size_t)json_int("maxSharedMemoryPerBlockOptin");
    out->totalGlobalMem = strtoull(json_value("totalGlobalMem"), NULL, 10);
    out->l2CacheSize = json_int("l2CacheSize");
    return cudaSuccess;
}

SIM_API cudaError_t cudaDeviceGetAttribute(int *out, enum cudaDeviceAttr attribute, int device)
{
    if (device < 0 || device >= device_count())
        return sim_error(cudaErrorInvalidDevice);
    switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *out = json_int("multiProcessorCount"); break;
    case cudaDevAttrComputeCapabilityMajor: *out = json_int("deviceVer") / 100; break;
    case cudaDevAttrComputeCapabilityMinor: *out = json_int("deviceVer") % 100 / 10; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *out = json_int("maxSharedMemoryPerBlockOptin"); break;
    case cudaDevAttrMaxThreadsPerBlock: *out = 1024; break;
    case cudaDevAttrWarpSize: *out = 32; break;
    default: sim_fatal("device attribute %d is not simulated", (int)attribute);
    }
    return cudaSuccess;
}

SIM_API cudaError_t cudaDeviceGetPCIBusId(char *out, int n_bytes, int device)
{
    snprintf(out, (size_t)n_bytes, "0000:%02x:00.0", (unsigned)device + 1);
    return cudaSuccess;
}

SIM_API cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}
