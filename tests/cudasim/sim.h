/* sim.h - the parts of cudasim to each other. The program under test sees CUDA's own functions only.
 *
 * One lock (sim_lock) is held by whoever is inside of the simulator; functions below want it held unless they say otherwise. */
#pragma once
#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/cudasim/cudasim.h"

#define SIM_API __attribute__((visibility("default")))

/* ---- report.c: messages, settings, the lock ---- */

void sim_lock(void);
void sim_unlock(void);

/** A misuse that can be survived: printed, counted, and the process ends with 95 (after twenty of them with 98). */
void sim_report(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** One that cannot: printed, and the process ends with 97. */
_Noreturn void sim_fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** malloc, or the end. */
void *sim_new(size_t n_bytes);
void *sim_grow(void *list, size_t n, size_t item_bytes); /* room for item n, doubling from time to time */

/** When queued work is done: at once, only when somebody waits for it, or at random moments.
 * CUDASIM_SCHED=eager|lazy|random:SEED. */
typedef enum sim_schedule { SIM_EAGER, SIM_LAZY, SIM_RANDOM } sim_schedule;
sim_schedule sim_schedule_get(void);
uint32_t sim_random(void); /* by CUDASIM_SCHED's seed */

extern cudasim_counts sim_counts;

/** Remembers an error for cudaGetLastError. Returns it. */
cudaError_t sim_error(cudaError_t error);

/* ---- memory.c: device and pinned memory ---- */

/** One allocation. Never reused: an address tells it for ever. */
typedef struct sim_block {
    uint64_t begin; /* the address that the program sees */
    size_t n_bytes, mapped_bytes;
    unsigned id;
    bool freed, pinned, module; /* module: a __device__ variable, which nobody frees */
    int reading, writing;       /* copies in flight from, to this pinned memory */
    const void *site;           /* who allocated it */
} sim_block;

/** Who touched four bytes last, in one launch: thread + 1, and the barriers it had passed. */
typedef struct sim_touch {
    uint32_t launch, writer, writer_epoch, reader, reader_epoch;
    uint8_t written, read; /* bit per byte */
    bool atomic;           /* the write was */
} sim_touch;

cudaError_t sim_alloc(sim_block **out, size_t n_bytes, bool pinned, const void *site);
sim_block *sim_find(uint64_t address); /* freed ones too; NULL outside any */
bool sim_is_ours(const void *p);       /* device or pinned */
bool sim_follows(uint64_t address);    /* lies in the page behind an allocation */

/** The simulator's own view of memory that the program may not touch. */
uint8_t *sim_view(uint64_t address);
uint8_t *sim_valid(uint64_t address); /* a byte each: 1 once written */
sim_touch *sim_touched(uint64_t address);

/** Marks the 32-byte sectors of [address, address + n) as read, or written, by this launch; returns the bytes of those that were
 * not yet. */
int64_t sim_sectors(uint64_t address, size_t n_bytes, bool write, uint32_t launch);

typedef enum sim_access { SIM_READ, SIM_WRITE } sim_access;

/** Checks that [p, p + n) is device memory, alive, in range, and (reading) written; a write makes it so. Returns the view. */
void *sim_device(const void *p, size_t n_bytes, sim_access access, const char *who);

/** A copy from or to pinned memory begins or ends: the program may not touch it meanwhile. */
void sim_pinned_busy(sim_block *block, sim_access by_the_copy, int change);

/** What is still allocated; the number of them. */
int sim_leaks(void);

/* ---- stream.c, graph.c: queues, events, capture ---- */

/** Work for a stream. The argument is copied. */
typedef struct sim_work {
    bool (*run)(void *argument);   /* false: not yet (waits for another process), ask again */
    void (*begin)(void *argument); /* when it is queued; NULL: nothing */
    void (*end)(void *argument);   /* when it is done or dropped: frees what the argument owns; NULL: nothing */
    const char *what;              /* "kernel", "copy", ... */
    bool capturable;
} sim_work;

cudaError_t sim_submit(cudaStream_t stream, const sim_work *work, const void *argument, size_t n_bytes);
bool sim_capturing(cudaStream_t stream);
void sim_drain(cudaStream_t stream);
void sim_drain_all(void);
void sim_streams_check(void); /* at exit: what was never waited for */

/** A node of a captured graph, and the nodes that must be done before it. */
typedef struct sim_node {
    sim_work work;
    void *argument;
    size_t n_bytes;
    int n_before, *before;
} sim_node;

typedef struct sim_capture sim_capture;
cudaError_t sim_capture_add(sim_capture *capture, const sim_work *work, const void *argument, size_t n_bytes, const int *before,
                            int n_before, int *out);
bool sim_capture_before(const sim_capture *capture, int node, const int *tips,
                        int n_tips); /* node is one of them, or before one */
cudaGraph_t sim_capture_end(sim_capture *capture);
sim_capture *sim_capture_begin(void);
bool sim_capture_ended(const sim_capture *capture);

/* ---- device.c ---- */

/** The GPU as cuDNN takes it: JSON. */
const char *sim_device_json(void);

/* ---- module.c, ptx*.c: kernels ---- */

typedef struct ptx_program ptx_program;

typedef struct sim_kernel {
    char *name;
    const char *ptx; /* text of its module */
    const void *host;
    ptx_program *program; /* parsed at the first launch */
    size_t dynamic_limit; /* bytes of dynamic shared memory allowed */
    cudasim_traffic traffic;
} sim_kernel;

extern uint32_t sim_launch_number;

void sim_traffic_reset(void);
