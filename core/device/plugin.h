/* plugin.h - which device computes: the processor, or a GPU. All GPU code is in libprle_cuda.so, which is opened only when a GPU
 * may be used: CUDA's libraries cost half a second and 200 MB in a process. */
#pragma once
#include "core/device/device.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum prle_device_choice {
    PRLE_DEVICE_AUTO, /* a GPU where one can be used, else the processor */
    PRLE_DEVICE_CPU,
    PRLE_DEVICE_CUDA,
} prle_device_choice;

extern const char *const prle_device_words[]; /* "auto", "cpu", "cuda", NULL: for an option table */

typedef struct prle_device_opts {
    prle_device_choice choice;
    prle_dtype dtype;   /* of the plans to come */
    int ordinal;        /* which of the machine's GPUs: the rank's place among those of its machine */
    bool deterministic; /* sums in one order only: two runs give the same bits. The processor always does so */
} prle_device_opts;

/**
 * The device this process computes on. Call once; again after prle_device_close.
 *
 * Choice CUDA: PRLE_EINVAL (exit code 2) with one line that says what is missing. AUTO: that line is logged and the processor is
 * taken; at debug where there is no driver or no plugin, as on machines and builds without GPUs. GPUs compute in F32 and BF16:
 * with F64 AUTO takes the processor. PRLE_EINVAL where there are fewer GPUs than the ordinal wants.
 *
 * libprle_cuda.so lies beside libprle.so, or where the environment's PRLE_CUDA_PLUGIN says.
 */
PRLE_NODISCARD prle_status prle_device_open(const prle_device **out, const prle_device_opts *opts);

/** After all plans and models are gone. Nothing where the processor computes. */
void prle_device_close(void);

/** What the plugin has to say of itself and its GPU: "name", "NVIDIA H100". Nothing where the processor computes. */
void prle_device_describe(void (*add)(void *ctx, const char *key, const char *text), void *ctx);

/* ---- what the plugin exports as `prle_cuda_plugin` ---- */

enum { PRLE_PLUGIN_ABI = 2 }; /* of this table and of prle_device */

typedef struct prle_plugin {
    int abi;              /* these two are read before all else, and never move */
    const char *revision; /* prle_version_revision() of its build */
    prle_status (*open)(const prle_device **out, const prle_device_opts *opts); /* PRLE_ENOTSUP: no GPU; PRLE_EINVAL: too few */
    void (*close)(void);
    void (*describe)(void (*add)(void *ctx, const char *key, const char *text), void *ctx);
} prle_plugin;

#ifdef __cplusplus
}
#endif
