/* device.h - where tensors live and what runs on them there. */
#pragma once
#include "core/comm.h"
#include "core/op/fold.h"
#include "core/op/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A kind of device. Constant tables; nothing is owned. Where work is queued (a GPU), it is done in the order of these calls and
 * of operators' runs; copy_out and wait return when all of it is done.
 */
typedef struct prle_device {
    const char *name;                                 /* "cpu", "cuda" */
    const prle_op_impl *const *impls;                 /* best first, reference last, ends with NULL */
    bool (*has_bf16)(void);                           /* some of impls are fast on tensors in bfloat16; NULL: none is */
    prle_status (*alloc)(size_t n_bytes, void **out); /* 64-byte aligned, content undefined; n_bytes 0 gives NULL */
    void (*free)(void *ptr);                          /* NULL is fine */
    prle_status (*zero)(void *ptr, size_t n_bytes);
    prle_status (*copy_in)(void *to_device, const void *from_host, size_t n_bytes); /* from_host is free when it returns */
    prle_status (*copy_out)(void *to_host, const void *from_device, size_t n_bytes);
    /* copy_in of a batch: may overlap with work that is queued already, and takes room for several at its first call. */
    prle_status (*feed)(void *to_device, const void *from_host, size_t n_bytes);
    /* Begins to copy what the next feed will be given, which must stay as it is until then; NULL: forget it. The slot NULL:
     * nothing can be begun. */
    prle_status (*feed_ahead)(const void *from_host, size_t n_bytes);
    prle_status (*wait)(void); /* until all queued work is done; NULL: nothing is queued */
    /* What `work` queues becomes one thing, which replay queues again and again: a CUDA graph. work runs once, on the host only.
     * NULL (all three): nothing is queued. */
    prle_status (*capture)(void **out, prle_status (*work)(void *ctx), void *ctx);
    prle_status (*replay)(void *captured);
    void (*capture_free)(void *captured); /* NULL is fine */
    bool host_memory;                     /* its memory is the host's: pointers may be followed, nothing is copied */
    /* What changes from run to run, for a batch of that many samples, comes to where operators read it; NULL: they read
     * prle_op_args.info. PRLE_ENOTSUP for a batch the device has no room for. */
    prle_status (*run_info)(const prle_op_run_info *info, int64_t batch);
    prle_status (*fold)(const prle_fold_args *args); /* fold.h; pointers into the device's memory */
    prle_status (*scale)(void *values, int64_t n, prle_dtype dtype, double factor); /* values [n] *= factor */
    /* A communicator of the same ranks whose sums are in the device's memory; NULL: the host's serves. Collective. */
    prle_status (*comm_create)(prle_comm **out, prle_comm *host);
    size_t cache_bytes; /* what a step of inference should read and write at most, so that the next finds it in the processor's
                           cache: batches are cut into slices for it (nets/slices.c); 0: they are not */
    int steps_ahead;    /* training steps worth queueing before their results are read; 1 where nothing is queued */
    const struct prle_learn_ops *learn; /* training (nets/learn_impl.h); NULL: in the host's memory, or not at all */
    /* What stages do on this device in their own way; NULL: as on the processor. */
    const struct prle_cam_maps_ops *cam;    /* cam/maps.h */
    const struct prle_fuse_batch_ops *fuse; /* fusion/batch.h */
} prle_device;

/** oneDNN where it can, plain C where it cannot; F64 is all plain C, the oracle. */
const prle_device *prle_device_cpu(void);

/** The same buffers with the plain C reference operators only. */
const prle_device *prle_device_cpu_ref(void);

static inline prle_status prle_device_wait(const prle_device *device) { return device->wait != NULL ? device->wait() : PRLE_OK; }

/** *out sums in the device's memory: `host` itself (destroy it all the same, with prle_device_comm_destroy) where that is the
 * host's, or there is one rank. PRLE_ENOTSUP where the device has no communicator. Collective. */
PRLE_NODISCARD prle_status prle_device_comm(const prle_device *device, prle_comm **out, prle_comm *host);
void prle_device_comm_destroy(prle_comm *comm, const prle_comm *host); /* NULL is fine */

/** *out = `there` itself where the device's memory is the host's, else `room` with a copy of it. */
PRLE_NODISCARD prle_status prle_device_view(const prle_device *device, const void **out, const void *there, size_t n_bytes,
                                            void *room);

#ifdef __cplusplus
}
#endif
