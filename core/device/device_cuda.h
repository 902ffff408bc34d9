/* device_cuda.h - what GPU code of all rooms shares: the process's one GPU, its streams and library handles, error macros. All of
 * it is in libprle_cuda.so only; libprle.so sees the table of plugin.h. */
#pragma once
#include <cuda_runtime_api.h>

#include "core/comm.h"
#include "core/device/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As cudnn.h and cublas_v2.h have them, which only *_cudnn.c and *_cublas.c include. */
typedef struct cudnnContext *cudnnHandle_t;
typedef struct cublasContext *cublasHandle_t;

enum { PRLE_CUDA_MAX_BATCH = 4096 };

/** prle_op_run_info in the GPU's memory: kernels read there what changes from run to run, so a captured launch stays right. */
typedef struct prle_cuda_run {
    int64_t n_valid;
    uint64_t seed;
    uint32_t epoch, unused;
    uint64_t samples[PRLE_CUDA_MAX_BATCH]; /* filled with positions where the caller gave none */
} prle_cuda_run;

typedef struct prle_cuda {
    int device;                       /* CUDA ordinal: the rank's place on its machine */
    int n_sm, arch;                   /* multiprocessors; 10 * major + minor */
    bool deterministic;               /* libraries: engines whose sums have a fixed order only; our own kernels are so always */
    bool tf32;                        /* f32 convolutions and GEMMs may use TF32. PRLE_TF32=0 in the environment: off */
    cudaStream_t compute, copy, comm; /* non-blocking; everything of an operator runs on compute */
    cudnnHandle_t dnn;                /* on compute */
    cublasHandle_t blas;              /* on compute, with a workspace of its own */
    const prle_cuda_run *run;         /* device memory, of the current run */
    size_t captured_nodes;            /* kernels and copies of the last capture */
    char name[256], bus[16];          /* "NVIDIA H100 ...", "0000:01:00.0" */
} prle_cuda;

/** The process's one GPU. PRLE_ECUDA before prle_cuda_open. Another thread than the opener calls cudaSetDevice(device) first. */
PRLE_NODISCARD prle_status prle_cuda_get(const prle_cuda **out);

/** Opens GPU number `ordinal` for this process; deterministic: as in prle_cuda. PRLE_ENOTSUP with one line that says what is
 * missing where there is none. */
PRLE_NODISCARD prle_status prle_cuda_open(int ordinal, bool deterministic);
void prle_cuda_close(void);

/** While set, whoever waits on the host for the GPU calls it again and again, with the seconds waited so far, and ends with the
 * status it returns when that is not PRLE_OK: peers may have died (dist/comm_nccl.c). NULL clears. */
void prle_cuda_poll_set(prle_status (*poll)(double waited_s));

/** Waits on the host for work of this GPU; every wait goes through it. */
PRLE_NODISCARD prle_status prle_cuda_wait_event(cudaEvent_t event);

/**
 * A communicator of host's ranks whose sums are of values in their GPUs' memory, queued beside what the GPUs compute: NCCL, in
 * dist/comm_nccl.c. All else goes to host, which is borrowed. At most one in a process at a time.
 *
 * A peer that died or hangs is noticed where the host waits for the GPU (prle_cuda_wait_event): after PRLE_DEADLINE the
 * communicator is aborted, PRLE_ETIMEOUT (PRLE_ENCCL when NCCL knows more) names rank, host, what was summed and GPU.
 * PRLE_EINVAL where two ranks would share a GPU. Collective.
 */
PRLE_NODISCARD prle_status prle_cuda_comm_create(prle_comm **out, prle_comm *host);

/** "cuda": memory of that GPU, operators of core/op/impls_cuda.c. All its functions queue on `compute`; only copy_out and wait
 * make the host wait. */
const prle_device *prle_cuda_device(void);

/** The device's operators, best first, ends with NULL: core/op/impls_cuda.c. */
extern const prle_op_impl *const prle_cuda_impls[];

/** prle_device.cam: cam/maps_cuda.c; prle_device.fuse: fusion/batch_cuda.c. */
extern const struct prle_cam_maps_ops prle_cuda_cam_maps;
extern const struct prle_fuse_batch_ops prle_cuda_fuse_batch;

/** Images channels-last: [B,H,W,C] in memory for the shape [B,C,H,W]. */
prle_layout prle_cuda_layout_nhwc(prle_dtype dtype, const prle_shape *shape);
bool prle_cuda_layout_is_nhwc(const prle_layout *layout);

/* ---- errors: the call's text and the vendor's words ---- */

prle_status prle_cuda_status(cudaError_t error, const char *call, const char *file, int line, const char *func);
prle_status prle_cudnn_status(int status, const char *call, const char *file, int line, const char *func);
prle_status prle_cublas_status(int status, const char *call, const char *file, int line, const char *func);

/** As a value, for PRLE_TRY_OUT. */
#define PRLE_CUDA_STATUS(e)   prle_cuda_status((e), #e, __FILE__, __LINE__, __func__)
#define PRLE_CUDNN_STATUS(e)  prle_cudnn_status((int)(e), #e, __FILE__, __LINE__, __func__)
#define PRLE_CUBLAS_STATUS(e) prle_cublas_status((int)(e), #e, __FILE__, __LINE__, __func__)

/** Like PRLE_TRY. Launchers of kernels return cudaGetLastError(): PRLE_CUDA(prle_scale_cuda(...)). */
#define PRLE_CUDA(e)   PRLE_TRY(PRLE_CUDA_STATUS(e))
#define PRLE_CUDNN(e)  PRLE_TRY(PRLE_CUDNN_STATUS(e))
#define PRLE_CUBLAS(e) PRLE_TRY(PRLE_CUBLAS_STATUS(e))

/* ---- between device_cuda.c and the libraries' own files ---- */

PRLE_NODISCARD prle_status prle_cudnn_create(cudnnHandle_t *out, cudaStream_t stream);
void prle_cudnn_destroy(cudnnHandle_t handle); /* NULL is fine */
const char *prle_cudnn_version(void);          /* "9.19.0". Static storage, as the next */

/** tf32: the handle's GEMMs in f32 may use it. workspace: device memory that only this handle's calls use. */
PRLE_NODISCARD prle_status prle_cublas_create(cublasHandle_t *out, cudaStream_t stream, bool tf32, void *workspace,
                                              size_t n_bytes);
void prle_cublas_destroy(cublasHandle_t handle); /* NULL is fine */
const char *prle_cublas_version(cublasHandle_t handle);

#ifdef __cplusplus
}
#endif
