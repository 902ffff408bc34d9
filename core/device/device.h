/* device.h - where tensors live and what runs on them there. */
#pragma once
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
    prle_status (*wait)(void); /* until all queued work is done; NULL: nothing is queued */
} prle_device;

/** oneDNN where it can, plain C where it cannot; F64 is all plain C, the oracle. */
const prle_device *prle_device_cpu(void);

/** The same buffers with the plain C reference operators only. */
const prle_device *prle_device_cpu_ref(void);

#ifdef __cplusplus
}
#endif
