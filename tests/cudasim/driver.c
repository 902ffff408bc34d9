/* driver.c - a libcuda.so.1 without a device, in tests only: cuDNN's engines that compile kernels at run time load their result
 * through it while a plan is made. Loading succeeds, nothing can be launched. */
#include <stddef.h>

enum { SUCCESS = 0, NO_DEVICE = 100, VERSION = 13000 };

#define DRIVER __attribute__((visibility("default")))

DRIVER int cuInit(unsigned flags);
DRIVER int cuInit(unsigned flags)
{
    (void)flags;
    return NO_DEVICE;
}

DRIVER int cuDriverGetVersion(int *out);
DRIVER int cuDriverGetVersion(int *out)
{
    *out = VERSION;
    return SUCCESS;
}

DRIVER int cuDeviceGetCount(int *out);
DRIVER int cuDeviceGetCount(int *out)
{
    *out = 0;
    return SUCCESS;
}

/* A library is any address that is not NULL, a kernel its name. */
DRIVER int cuLibraryLoadData(void **out, const void *code, void *a, void *b, unsigned n, void *c, void *d, unsigned m);
DRIVER int cuLibraryLoadData(void **out, const void *code, void *a, void *b, unsigned n, void *c, void *d, unsigned m)
{
    static char library;

    (void)code, (void)a, (void)b, (void)n, (void)c, (void)d, (void)m;
    *out = &library;
    return SUCCESS;
}

DRIVER int cuLibraryUnload(void *library);
DRIVER int cuLibraryUnload(void *library)
{
    (void)library;
    return SUCCESS;
}

DRIVER int cuLibraryGetKernel(const void **out, void *library, const char *name);
DRIVER int cuLibraryGetKernel(const void **out, void *library, const char *name)
{
    (void)library;
    *out = name;
    return SUCCESS;
}

DRIVER int cuKernelGetAttribute(int *out, int attribute, void *kernel, int device);
DRIVER int cuKernelGetAttribute(int *out, int attribute, void *kernel, int device)
{
    (void)attribute, (void)kernel, (void)device;
    *out = 0;
    return SUCCESS;
}

DRIVER int cuKernelSetAttribute(int attribute, int value, void *kernel, int device);
DRIVER int cuKernelSetAttribute(int attribute, int value, void *kernel, int device)
{
    (void)attribute, (void)value, (void)kernel, (void)device;
    return SUCCESS;
}

DRIVER int cuOccupancyMaxPotentialClusterSize(int *out, void *kernel, void *configuration);
DRIVER int cuOccupancyMaxPotentialClusterSize(int *out, void *kernel, void *configuration)
{
    (void)kernel, (void)configuration;
    *out = 8;
    return SUCCESS;
}

DRIVER int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *out, void *kernel, int block, size_t n_bytes);
DRIVER int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *out, void *kernel, int block, size_t n_bytes)
{
    (void)kernel, (void)block, (void)n_bytes;
    *out = 1;
    return SUCCESS;
}

DRIVER int cuGetErrorString(int error, const char **out);
DRIVER int cuGetErrorString(int error, const char **out)
{
    *out = error == SUCCESS ? "no error" : "no device (cudasim)";
    return SUCCESS;
}

DRIVER int cuGetErrorName(int error, const char **out);
DRIVER int cuGetErrorName(int error, const char **out) { return cuGetErrorString(error, out); }

/* Looked up by name, and answered with "no device" should anybody call them. */
#define NOT_HERE(name)                                                                                                           \
    DRIVER int name(void);                                                                                                       \
    DRIVER int name(void) { return NO_DEVICE; }
NOT_HERE(cuLaunchKernel)
NOT_HERE(cuLaunchKernelEx)
NOT_HERE(cuLaunchCooperativeKernel)
NOT_HERE(cuDeviceGet)
NOT_HERE(cuDeviceGetAttribute)
NOT_HERE(cuDevicePrimaryCtxRetain)
NOT_HERE(cuDevicePrimaryCtxRelease)
NOT_HERE(cuDevicePrimaryCtxReset)
NOT_HERE(cuCtxGetCurrent)
NOT_HERE(cuCtxGetDevice)
NOT_HERE(cuCtxGetLimit)
NOT_HERE(cuCtxPushCurrent)
NOT_HERE(cuCtxPopCurrent)
NOT_HERE(cuStreamGetCtx)
NOT_HERE(cuStreamSynchronize)
NOT_HERE(cuLinkCreate)
NOT_HERE(cuLinkCreate_v2)
NOT_HERE(cuLinkAddData)
NOT_HERE(cuLinkAddData_v2)
NOT_HERE(cuLinkAddFile)
NOT_HERE(cuLinkAddFile_v2)
NOT_HERE(cuLinkComplete)
NOT_HERE(cuLinkDestroy)
NOT_HERE(cuLibraryLoadFromFile)
NOT_HERE(cuLibraryGetModule)
NOT_HERE(cuKernelGetFunction)
NOT_HERE(cuModuleLoadData)
NOT_HERE(cuModuleLoadDataEx)
NOT_HERE(cuModuleLoadFatBinary)
NOT_HERE(cuModuleUnload)
NOT_HERE(cuModuleGetFunction)
NOT_HERE(cuModuleGetGlobal)
NOT_HERE(cuModuleGetGlobal_v2)
NOT_HERE(cuFuncGetAttribute)
NOT_HERE(cuFuncSetAttribute)
NOT_HERE(cuMemcpyDtoH)
NOT_HERE(cuMemcpyDtoH_v2)
NOT_HERE(cuTensorMapEncodeTiled)
