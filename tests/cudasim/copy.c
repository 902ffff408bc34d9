/* copy.c - memcpy and memset, queued. The direction must fit the pointers; pinned memory is locked while its copy is in flight;
 * pageable memory is copied aside at once, as CUDA may or may not do, and counted. */
#include <stdlib.h>
#include <string.h>

#include "tests/cudasim/sim.h"

typedef enum side { PAGEABLE, PINNED, DEVICE } side;

typedef struct copy {
    void *to;
    const void *from;
    size_t n_bytes;
    sim_block *reads, *writes; /* pinned sides */
    void *staged;              /* of a pageable source; owned */
} copy;

typedef struct fill {
    void *to;
    int value;
    size_t n_bytes;
} fill;

static side side_of(const void *p)
{
    const sim_block *b = sim_is_ours(p) ? sim_find((uint64_t)p) : NULL;

    return b == NULL ? PAGEABLE : b->pinned ? PINNED : DEVICE;
}

static void copy_begin(void *argument)
{
    const copy *c = argument;

    if (c->reads != NULL)
        sim_pinned_busy(c->reads, SIM_READ, +1);
    if (c->writes != NULL)
        sim_pinned_busy(c->writes, SIM_WRITE, +1);
}

static const void *source(const copy *c)
{
    if (c->staged != NULL)
        return c->staged;
    if (c->reads != NULL)
        return sim_view((uint64_t)c->from);
    return side_of(c->from) == DEVICE ? sim_device(c->from, c->n_bytes, SIM_READ, "copy from") : c->from;
}

static void *destination(const copy *c)
{
    if (c->writes != NULL)
        return sim_view((uint64_t)c->to);
    return side_of(c->to) == DEVICE ? sim_device(c->to, c->n_bytes, SIM_WRITE, "copy to") : c->to;
}

static bool copy_run(void *argument)
{
    const copy *c = argument;

    memmove(destination(c), source(c), c->n_bytes);
    sim_counts.copies++;
    sim_counts.copied_bytes += (int64_t)c->n_bytes;
    if (c->reads != NULL)
        sim_pinned_busy(c->reads, SIM_READ, -1);
    if (c->writes != NULL)
        sim_pinned_busy(c->writes, SIM_WRITE, -1);
    return true;
}

static void copy_end(void *argument) { free(((copy *)argument)->staged); }

static bool fill_run(void *argument)
{
    const fill *f = argument;

    memset(sim_device(f->to, f->n_bytes, SIM_WRITE, "memset"), f->value, f->n_bytes);
    sim_counts.copies++;
    sim_counts.copied_bytes += (int64_t)f->n_bytes;
    return true;
}

static const sim_work copy_work = {.run = copy_run, .begin = copy_begin, .end = copy_end, .what = "copy", .capturable = true};
static const sim_work fill_work = {.run = fill_run, .what = "memset", .capturable = true};

static enum cudaMemcpyKind kind_of(side to, side from)
{
    if (to == DEVICE)
        return from == DEVICE ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice;
    return from == DEVICE ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost;
}

static cudaError_t copy_submit(void *to, const void *from, size_t n_bytes, enum cudaMemcpyKind kind, cudaStream_t stream,
                               bool blocking)
{
    const side to_side = side_of(to), from_side = side_of(from);
    copy c = {.to = to, .from = from, .n_bytes = n_bytes};

    if (n_bytes == 0)
        return cudaSuccess;
    if (kind != cudaMemcpyDefault && kind != kind_of(to_side, from_side))
        sim_fatal("memcpy of kind %d from %s to %s memory", (int)kind, from_side == DEVICE ? "device" : "host",
                  to_side == DEVICE ? "device" : "host");
    if (to_side == PAGEABLE || from_side == PAGEABLE) {
        sim_counts.pageable_copies++;
        if (sim_capturing(stream))
            sim_report("a captured copy has a pageable side: it would read or write the same host bytes at every replay");
    }
    if (from_side == PAGEABLE && to_side == DEVICE)
        c.staged = memcpy(sim_new(n_bytes), from, n_bytes);
    c.reads = from_side == PINNED ? sim_find((uint64_t)from) : NULL;
    c.writes = to_side == PINNED ? sim_find((uint64_t)to) : NULL;
    const cudaError_t error = sim_submit(stream, &copy_work, &c, sizeof c);
    if (error == cudaSuccess && (blocking || (to_side == PAGEABLE && from_side == DEVICE))) {
        sim_counts.synchronisations++;
        sim_drain(stream);
    }
    return error;
}

SIM_API cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n_bytes, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    sim_lock();
    const cudaError_t error = copy_submit(to, from, n_bytes, kind, stream, false);
    sim_unlock();
    return sim_error(error);
}

SIM_API cudaError_t cudaMemcpy(void *to, const void *from, size_t n_bytes, enum cudaMemcpyKind kind)
{
    sim_lock();
    const cudaError_t error = copy_submit(to, from, n_bytes, kind, NULL, true);
    sim_unlock();
    return sim_error(error);
}

SIM_API cudaError_t cudaMemsetAsync(void *to, int value, size_t n_bytes, cudaStream_t stream)
{
    const fill f = {to, value, n_bytes};

    if (n_bytes == 0)
        return cudaSuccess;
    sim_lock();
    const cudaError_t error = sim_submit(stream, &fill_work, &f, sizeof f);
    sim_unlock();
    return sim_error(error);
}

SIM_API cudaError_t cudaMemset(void *to, int value, size_t n_bytes) { return cudaMemsetAsync(to, value, n_bytes, NULL); }
