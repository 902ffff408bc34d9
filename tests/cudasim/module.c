/* module.c - the program's fat binaries and kernels, which nvcc's start-up code registers here, and launches. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cudasim/ptx.h"

enum { DEFAULT_SHARED = 49152, MAX_SHARED = 232448, MAX_THREADS = 1024, MAX_CONFIGURATIONS = 16 };

/* Called by the code that nvcc generates, which is their only declaration elsewhere. */
void **__cudaRegisterFatBinary(void *fat);
void __cudaRegisterFatBinaryEnd(void **handle);
void __cudaUnregisterFatBinary(void **handle);
char __cudaInitModule(void **handle);
void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name, int thread_limit, uint3 *tid,
                            uint3 *bid, dim3 *block, dim3 *grid, int *warp_size);
void __cudaRegisterVar(void **handle, char *host, char *device, const char *name, int external, size_t n_bytes, int constant,
                       int global);
cudaError_t __cudaGetKernel(cudaKernel_t *out, const void *host);
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **args, size_t dynamic_bytes,
                               cudaStream_t stream);
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t dynamic_bytes, struct CUstream_st *stream);
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *dynamic_bytes, void *stream);

/** What __fatBinC_Wrapper_t is. */
typedef struct fat_binary {
    int magic, version;
    const uint8_t *data;
    void *file_name;
} fat_binary;

typedef struct module {
    const char *ptx;
} module;

static sim_kernel **kernels;
static int n_kernels;

typedef struct host_variable {
    const void *host;
    const char *name;
} host_variable;

static host_variable *host_variables;
static int n_host_variables;

/** One of its parts: PTX or machine code for one architecture. The text follows the header. */
typedef struct fat_entry {
    uint16_t kind, unknown;
    uint32_t header_bytes;
    uint64_t data_bytes;
    uint32_t compressed_bytes, unknown_too;
    uint16_t minor, major;
    uint32_t architecture;
} fat_entry;

enum { FAT_PTX = 1 };

/* The PTX of the highest architecture. */
static const char *ptx_in(const fat_binary *fat)
{
    uint16_t header_bytes;
    uint64_t n_bytes;
    uint32_t architecture = 0;
    const char *found = NULL;
    fat_entry e;

    memcpy(&header_bytes, fat->data + 6, sizeof header_bytes);
    memcpy(&n_bytes, fat->data + 8, sizeof n_bytes);
    for (uint64_t at = 0; at + sizeof e <= n_bytes; at += e.header_bytes + e.data_bytes) {
        memcpy(&e, fat->data + header_bytes + at, sizeof e);
        const char *text = (const char *)fat->data + header_bytes + at + e.header_bytes;
        if (e.kind != FAT_PTX || e.architecture < architecture)
            continue;
        if (memmem(text, e.data_bytes, ".version ", 9) == NULL)
            sim_fatal("the PTX for architecture %u is compressed: build with --compress-mode=none", e.architecture);
        architecture = e.architecture;
        found = text;
    }
    if (found == NULL)
        sim_fatal("a fat binary without PTX: build for a virtual architecture too");
    return found;
}

SIM_API void **__cudaRegisterFatBinary(void *fat)
{
    module *m = sim_new(sizeof *m);

    sim_lock();
    m->ptx = ptx_in(fat);
    ptx_module_variables(m->ptx);
    sim_unlock();
    return (void **)m;
}

SIM_API void __cudaRegisterFatBinaryEnd(void **handle) { (void)handle; }
SIM_API void __cudaUnregisterFatBinary(void **handle) { (void)handle; }

SIM_API char __cudaInitModule(void **handle)
{
    (void)handle;
    return 1;
}

SIM_API void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name, int thread_limit, uint3 *tid,
                                    uint3 *bid, dim3 *block, dim3 *grid, int *warp_size)
{
    (void)device;
    (void)thread_limit;
    (void)tid;
    (void)bid;
    (void)block;
    (void)grid;
    (void)warp_size;
    sim_lock();
    kernels = sim_grow(kernels, (size_t)n_kernels, sizeof *kernels);
    sim_kernel *k = kernels[n_kernels++] = sim_new(sizeof *k);
    k->name = strdup(name);
    k->ptx = ((module *)handle)->ptx;
    k->host = host;
    k->dynamic_limit = DEFAULT_SHARED;
    sim_unlock();
}

SIM_API void __cudaRegisterVar(void **handle, char *host, char *device, const char *name, int external, size_t n_bytes,
                               int constant, int global)
{
    (void)handle;
    (void)device;
    (void)external;
    (void)n_bytes;
    (void)constant;
    (void)global;
    sim_lock();
    host_variables = sim_grow(host_variables, (size_t)n_host_variables, sizeof *host_variables);
    host_variables[n_host_variables++] = (host_variable){host, name};
    sim_unlock();
}

SIM_API cudaError_t cudaGetSymbolAddress(void **out, const void *symbol)
{
    uint64_t n_bytes;

    for (int i = 0; i < n_host_variables; i++) {
        if (host_variables[i].host == symbol) {
            *out = (void *)ptx_variable(host_variables[i].name, NULL, &n_bytes);
            return *out != NULL ? cudaSuccess : sim_error(cudaErrorInvalidSymbol);
        }
    }
    return sim_error(cudaErrorInvalidSymbol);
}

SIM_API cudaError_t cudaMemcpyToSymbol(const void *symbol, const void *from, size_t n_bytes, size_t offset,
                                       enum cudaMemcpyKind kind)
{
    void *to = NULL;
    const cudaError_t error = cudaGetSymbolAddress(&to, symbol);

    return error != cudaSuccess ? error : cudaMemcpy((char *)to + offset, from, n_bytes, kind);
}

static sim_kernel *kernel_of(const void *host)
{
    for (int i = 0; i < n_kernels; i++)
        if (kernels[i]->host == host)
            return kernels[i];
    return NULL;
}

/* ---- launches ---- */

typedef struct launch {
    sim_kernel *kernel;
    dim3 grid, block;
    size_t dynamic_bytes;
    uint8_t params[PTX_PARAM_BYTES];
} launch;

static bool launch_run(void *argument)
{
    const launch *l = argument;

    ptx_run(l->kernel, l->grid, l->block, l->dynamic_bytes, l->params);
    return true;
}

static bool fits(const sim_kernel *k, dim3 grid, dim3 block, size_t dynamic_bytes)
{
    const uint64_t n_threads = (uint64_t)block.x * block.y * block.z;
    const uint32_t limit = k->program->max_threads > 0 ? k->program->max_threads : MAX_THREADS;

    if (n_threads == 0 || n_threads > limit || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
        grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535) {
        sim_report("launch of %s: grid (%u,%u,%u), block (%u,%u,%u) of at most %u threads", k->name, grid.x, grid.y, grid.z,
                   block.x, block.y, block.z, limit);
        return false;
    }
    if (dynamic_bytes > k->dynamic_limit) {
        sim_report("launch of %s: %zu bytes of dynamic shared memory, %zu are allowed (cudaFuncSetAttribute)", k->name,
                   dynamic_bytes, k->dynamic_limit);
        return false;
    }
    return true;
}

static cudaError_t launch_submit(sim_kernel *k, dim3 grid, dim3 block, void **args, size_t dynamic_bytes, cudaStream_t stream)
{
    static const sim_work work = {.run = launch_run, .what = "kernel", .capturable = true};
    launch l = {.kernel = k, .grid = grid, .block = block, .dynamic_bytes = dynamic_bytes};

    if (k->program == NULL)
        k->program = ptx_parse(k->name, k->ptx);
    if (!fits(k, grid, block, dynamic_bytes))
        return cudaErrorInvalidConfiguration;
    for (int i = 0; i < k->program->n_params; i++)
        memcpy(l.params + k->program->param_offset[i], args[i], k->program->param_bytes[i]);
    return sim_submit(stream, &work, &l, sizeof l);
}

SIM_API cudaError_t cudaLaunchKernel(const void *host, dim3 grid, dim3 block, void **args, size_t dynamic_bytes,
                                     cudaStream_t stream)
{
    sim_lock();
    sim_kernel *k = kernel_of(host);
    const cudaError_t error =
        k == NULL ? cudaErrorInvalidDeviceFunction : launch_submit(k, grid, block, args, dynamic_bytes, stream);
    sim_unlock();
    return sim_error(error);
}

/* What <<< >>> becomes since CUDA 12: a handle of the kernel, then a launch by it. */
SIM_API cudaError_t __cudaGetKernel(cudaKernel_t *out, const void *host)
{
    sim_lock();
    sim_kernel *k = kernel_of(host);
    sim_unlock();
    *out = (cudaKernel_t)k;
    return k != NULL ? cudaSuccess : sim_error(cudaErrorInvalidDeviceFunction);
}

SIM_API cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **args, size_t dynamic_bytes,
                                       cudaStream_t stream)
{
    sim_lock();
    const cudaError_t error = launch_submit((sim_kernel *)kernel, grid, block, args, dynamic_bytes, stream);
    sim_unlock();
    return sim_error(error);
}

/** Between the <<< >>> and the call of the stub. */
static _Thread_local struct {
    dim3 grid, block;
    size_t dynamic_bytes;
    struct CUstream_st *stream;
} configurations[MAX_CONFIGURATIONS];
static _Thread_local int n_configurations;

SIM_API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t dynamic_bytes, struct CUstream_st *stream)
{
    if (n_configurations == MAX_CONFIGURATIONS)
        return 1;
    configurations[n_configurations].grid = grid;
    configurations[n_configurations].block = block;
    configurations[n_configurations].dynamic_bytes = dynamic_bytes;
    configurations[n_configurations++].stream = stream;
    return 0;
}

SIM_API cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *dynamic_bytes, void *stream)
{
    if (n_configurations == 0)
        return sim_error(cudaErrorMissingConfiguration);
    n_configurations--;
    *grid = configurations[n_configurations].grid;
    *block = configurations[n_configurations].block;
    *dynamic_bytes = configurations[n_configurations].dynamic_bytes;
    *(struct CUstream_st **)stream = configurations[n_configurations].stream;
    return cudaSuccess;
}

SIM_API cudaError_t cudaFuncSetAttribute(const void *host, enum cudaFuncAttribute attribute, int value)
{
    sim_lock();
    sim_kernel *k = kernel_of(host);
    if (k != NULL && attribute == cudaFuncAttributeMaxDynamicSharedMemorySize && value <= MAX_SHARED)
        k->dynamic_limit = (size_t)value;
    sim_unlock();
    return k == NULL            ? sim_error(cudaErrorInvalidDeviceFunction)
           : value > MAX_SHARED ? sim_error(cudaErrorInvalidValue)
                                : cudaSuccess;
}

SIM_API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *out, const void *host, int block,
                                                                           size_t dynamic_bytes, unsigned flags)
{
    (void)host;
    (void)dynamic_bytes;
    (void)flags;
    *out = 2048 / (block > 0 ? block : 1);
    return cudaSuccess;
}

/* ---- what tests ask ---- */

SIM_API void cudasim_traffic_get(const char *part, cudasim_traffic *out)
{
    *out = (cudasim_traffic){0};
    sim_lock();
    for (int i = 0; i < n_kernels; i++) {
        const cudasim_traffic *t = &kernels[i]->traffic;
        if (strstr(kernels[i]->name, part) == NULL)
            continue;
        out->launches += t->launches;
        out->read_bytes += t->read_bytes;
        out->written_bytes += t->written_bytes;
        out->distinct_read_bytes += t->distinct_read_bytes;
        out->distinct_written_bytes += t->distinct_written_bytes;
        out->instructions += t->instructions;
    }
    sim_unlock();
}

void sim_traffic_reset(void)
{
    for (int i = 0; i < n_kernels; i++)
        kernels[i]->traffic = (cudasim_traffic){0};
}
