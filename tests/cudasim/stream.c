/* stream.c - streams are queues; when their work is done is the schedule's choice (sim.h), within CUDA's rules. Lazy does it only
 * when somebody waits for it, which is what shows a missing wait. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/cudasim/sim.h"

typedef enum entry_kind { WORK, RECORD, WAIT } entry_kind;

typedef struct entry {
    struct entry *next;
    entry_kind kind;
    sim_work work; /* WORK */
    void *argument;
    struct CUevent_st *event; /* RECORD, WAIT */
    uint64_t generation;
} entry;

struct CUstream_st {
    struct CUstream_st *next;
    entry *head, *tail;
    bool non_blocking; /* does not order itself with the default stream */
    sim_capture *capture;
    int n_tips, *tips; /* capturing: the last nodes, which the next one comes after */
    bool origin;       /* the capture began here */
};

struct CUevent_st {
    uint64_t recorded, done; /* generations */
    bool dropped;            /* destroyed, but still queued somewhere */
    int n_queued;
    sim_capture *capture;
    int n_tips, *tips;
};

static struct CUstream_st default_stream, *streams = &default_stream;

static struct CUstream_st *stream_of(cudaStream_t stream)
{
    if (stream == NULL || stream == cudaStreamLegacy)
        return &default_stream;
    for (struct CUstream_st *s = streams; s != NULL; s = s->next)
        if (s == stream)
            return s;
    sim_fatal("%p is no stream, or a destroyed one", (void *)stream);
}

/* ---- running ---- */

typedef enum progress { NOTHING, DONE, BLOCKED, LATER } progress;

static void entry_free(entry *e)
{
    if (e->event != NULL && --e->event->n_queued == 0 && e->event->dropped)
        free(e->event);
    if (e->work.end != NULL)
        e->work.end(e->argument);
    free(e->argument);
    free(e);
}

/* The stream's first entry, if it may be done now. */
static progress step(struct CUstream_st *s)
{
    entry *e = s->head;

    if (e == NULL)
        return NOTHING;
    if (e->kind == WAIT && e->event->done < e->generation)
        return BLOCKED;
    if (e->kind == WORK && !e->work.run(e->argument))
        return LATER;
    if (e->kind == RECORD)
        e->event->done = e->generation;
    s->head = e->next;
    if (s->head == NULL)
        s->tail = NULL;
    entry_free(e);
    return DONE;
}

/* One step of any stream; what became of it. */
static progress step_any(void)
{
    progress best = NOTHING;

    for (struct CUstream_st *s = streams; s != NULL; s = s->next) {
        const progress p = step(s);
        if (p == DONE)
            return DONE;
        if (p == LATER || best == NOTHING)
            best = p;
    }
    return best;
}

/* Lets another process or thread come on. */
static void pause_unlocked(void)
{
    sim_unlock();
    usleep(20);
    sim_lock();
}

/* Work that others must do first is done too. */
static void step_towards(struct CUstream_st *s)
{
    progress p = step(s);

    if (p == BLOCKED)
        p = step_any();
    if (p == BLOCKED)
        sim_fatal("deadlock: a stream waits for an event that no queued work records");
    if (p == LATER)
        pause_unlocked();
}

static void drain(struct CUstream_st *s)
{
    while (s->head != NULL)
        step_towards(s);
}

void sim_drain(cudaStream_t stream) { drain(stream_of(stream)); }

void sim_drain_all(void)
{
    for (struct CUstream_st *s = streams; s != NULL; s = s->next)
        drain(s);
}

void sim_streams_check(void)
{
    for (struct CUstream_st *s = streams; s != NULL; s = s->next)
        if (s->head != NULL)
            sim_report("the process ends with a %s queued that nobody waited for",
                       s->head->kind == WORK ? s->head->work.what : "event");
}

/* A random stream goes a random way. */
static void tick(void)
{
    int n = 0;

    if (sim_schedule_get() != SIM_RANDOM)
        return;
    for (const struct CUstream_st *s = streams; s != NULL; s = s->next)
        n++;
    for (uint32_t steps = sim_random() % 4; steps > 0; steps--) {
        struct CUstream_st *s = streams;
        for (uint32_t i = sim_random() % (uint32_t)n; i > 0; i--)
            s = s->next;
        step(s);
    }
}

/* ---- queueing ---- */

/* The default stream waits for all blocking ones and they for it. */
static void order_with_default(struct CUstream_st *s)
{
    if (s != &default_stream) {
        if (!s->non_blocking)
            drain(&default_stream);
        return;
    }
    for (struct CUstream_st *other = streams; other != NULL; other = other->next)
        if (other != s && !other->non_blocking)
            drain(other);
}

static void push(struct CUstream_st *s, const entry *what)
{
    order_with_default(s);
    entry *e = sim_new(sizeof *e);
    *e = *what;
    if (e->event != NULL)
        e->event->n_queued++;
    if (s->tail != NULL)
        s->tail->next = e;
    else
        s->head = e;
    s->tail = e;
    if (sim_schedule_get() == SIM_EAGER)
        drain(s);
    else
        tick();
}

/* ---- capture: entries become nodes of a graph ---- */

static void tips_set(int **tips, int *n, const int *from, int n_from)
{
    int *fresh = n_from > 0 ? memcpy(sim_new((size_t)n_from * sizeof *fresh), from, (size_t)n_from * sizeof *fresh) : NULL;

    free(*tips);
    *tips = fresh;
    *n = n_from;
}

static void tips_join(struct CUstream_st *s, const int *from, int n_from)
{
    int *all = sim_new((size_t)(s->n_tips + n_from) * sizeof *all);

    if (s->n_tips > 0)
        memcpy(all, s->tips, (size_t)s->n_tips * sizeof *all);
    if (n_from > 0)
        memcpy(all + s->n_tips, from, (size_t)n_from * sizeof *all);
    free(s->tips);
    s->tips = all;
    s->n_tips += n_from;
}

bool sim_capturing(cudaStream_t stream)
{
    if (stream != NULL)
        return stream_of(stream)->capture != NULL;
    for (const struct CUstream_st *s = streams; s != NULL; s = s->next)
        if (s->capture != NULL)
            return true;
    return false;
}

cudaError_t sim_submit(cudaStream_t stream, const sim_work *work, const void *argument, size_t n_bytes)
{
    struct CUstream_st *s = stream_of(stream);

    if (s->capture != NULL) {
        int node = -1;
        const cudaError_t error = sim_capture_add(s->capture, work, argument, n_bytes, s->tips, s->n_tips, &node);
        if (error == cudaSuccess)
            tips_set(&s->tips, &s->n_tips, &node, 1);
        return error;
    }
    void *copy = memcpy(sim_new(n_bytes), argument, n_bytes);
    if (work->begin != NULL)
        work->begin(copy);
    push(s, &(entry){.kind = WORK, .work = *work, .argument = copy});
    return cudaSuccess;
}

SIM_API cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    (void)mode;
    sim_lock();
    struct CUstream_st *s = stream_of(stream);
    if (s == &default_stream || s->capture != NULL) {
        sim_unlock();
        return sim_error(cudaErrorStreamCaptureUnsupported);
    }
    s->capture = sim_capture_begin();
    s->origin = true;
    tips_set(&s->tips, &s->n_tips, NULL, 0);
    sim_unlock();
    return cudaSuccess;
}

SIM_API cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *out)
{
    sim_lock();
    *out = sim_capturing(stream) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    sim_unlock();
    return cudaSuccess;
}

/* Work of a forked stream must be waited for by the stream where the capture began: its tips lie before that stream's. */
static bool joined(const struct CUstream_st *origin, const struct CUstream_st *s)
{
    for (int i = 0; i < s->n_tips; i++)
        if (!sim_capture_before(s->capture, s->tips[i], origin->tips, origin->n_tips))
            return false;
    return true;
}

SIM_API cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    cudaError_t error = cudaSuccess;

    *out = NULL;
    sim_lock();
    struct CUstream_st *origin = stream_of(stream);
    sim_capture *capture = origin->capture;
    if (capture == NULL || !origin->origin) {
        sim_unlock();
        return sim_error(cudaErrorIllegalState);
    }
    for (struct CUstream_st *s = streams; s != NULL; s = s->next) {
        if (s->capture != capture)
            continue;
        if (s != origin && !joined(origin, s)) {
            sim_report("a capture ends while the work of a forked stream is not joined to the stream it began on");
            error = cudaErrorStreamCaptureUnjoined;
        }
        if (s != origin)
            s->capture = NULL;
    }
    origin->capture = NULL;
    origin->origin = false;
    *out = sim_capture_end(capture);
    sim_unlock();
    return sim_error(error);
}

/* ---- streams ---- */

SIM_API cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags)
{
    sim_lock();
    struct CUstream_st *s = sim_new(sizeof *s);
    s->non_blocking = (flags & cudaStreamNonBlocking) != 0;
    s->next = streams->next;
    streams->next = s;
    *out = s;
    sim_unlock();
    return cudaSuccess;
}

SIM_API cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned flags, int priority)
{
    (void)priority;
    return cudaStreamCreateWithFlags(out, flags);
}

SIM_API cudaError_t cudaStreamCreate(cudaStream_t *out) { return cudaStreamCreateWithFlags(out, cudaStreamDefault); }

SIM_API cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    sim_lock();
    struct CUstream_st *s = stream_of(stream);
    drain(s);
    for (struct CUstream_st *before = streams; before != NULL; before = before->next)
        if (before->next == s)
            before->next = s->next;
    free(s->tips);
    free(s);
    sim_unlock();
    return cudaSuccess;
}

/* False, reported, when the host may not wait now. */
static bool may_wait(cudaStream_t stream, const char *who)
{
    sim_counts.synchronisations++;
    if (!sim_capturing(stream))
        return true;
    sim_report("%s while a stream captures", who);
    return false;
}

SIM_API cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    sim_lock();
    const bool may = may_wait(stream_of(stream), "cudaStreamSynchronize");
    if (may)
        drain(stream_of(stream));
    sim_unlock();
    return may ? cudaSuccess : sim_error(cudaErrorStreamCaptureUnsupported);
}

SIM_API cudaError_t cudaDeviceSynchronize(void)
{
    sim_lock();
    const bool may = may_wait(NULL, "cudaDeviceSynchronize");
    if (may)
        sim_drain_all();
    sim_unlock();
    return may ? cudaSuccess : sim_error(cudaErrorStreamCaptureUnsupported);
}

SIM_API cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    sim_lock();
    struct CUstream_st *s = stream_of(stream);
    if (step(s) == BLOCKED)
        step_any();
    const bool busy = s->head != NULL;
    sim_unlock();
    return busy ? cudaErrorNotReady : cudaSuccess; /* no error to remember */
}

/* ---- events ---- */

SIM_API cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags)
{
    (void)flags;
    *out = sim_new(sizeof **out);
    return cudaSuccess;
}

SIM_API cudaError_t cudaEventCreate(cudaEvent_t *out) { return cudaEventCreateWithFlags(out, cudaEventDefault); }

SIM_API cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    sim_lock();
    free(event->tips);
    event->tips = NULL;
    event->dropped = true;
    if (event->n_queued == 0)
        free(event);
    sim_unlock();
    return cudaSuccess;
}

SIM_API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    sim_lock();
    struct CUstream_st *s = stream_of(stream);
    event->capture = s->capture;
    if (s->capture != NULL)
        tips_set(&event->tips, &event->n_tips, s->tips, s->n_tips);
    else
        push(s, &(entry){.kind = RECORD, .event = event, .generation = ++event->recorded});
    sim_unlock();
    return cudaSuccess;
}

SIM_API cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    cudaError_t error = cudaSuccess;

    (void)flags;
    sim_lock();
    struct CUstream_st *s = stream_of(stream);
    if (event->capture != NULL && sim_capture_ended(event->capture)) {
        sim_report("a stream waits for an event that a capture, now over, recorded");
        error = cudaErrorCapturedEvent;
    } else if (event->capture != NULL) {
        if (s->capture == NULL)
            tips_set(&s->tips, &s->n_tips, NULL, 0);
        if (s->capture != NULL && s->capture != event->capture)
            error = cudaErrorStreamCaptureMerge;
        s->capture = event->capture;
        tips_join(s, event->tips, event->n_tips);
    } else if (s->capture != NULL) {
        sim_report("a capturing stream waits for an event that was recorded outside of the capture");
        error = cudaErrorStreamCaptureIsolation;
    } else if (event->recorded > 0) {
        push(s, &(entry){.kind = WAIT, .event = event, .generation = event->recorded});
    }
    sim_unlock();
    return sim_error(error);
}

SIM_API cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    sim_lock();
    const uint64_t generation = event->recorded;
    sim_counts.synchronisations++;
    while (event->done < generation) {
        const progress p = step_any();
        if (p == LATER)
            pause_unlocked();
        else if (p != DONE)
            sim_fatal("deadlock: an event is waited for that no queued work records");
    }
    sim_unlock();
    return cudaSuccess;
}

SIM_API cudaError_t cudaEventQuery(cudaEvent_t event)
{
    sim_lock();
    step_any();
    const bool busy = event->done < event->recorded;
    sim_unlock();
    return busy ? cudaErrorNotReady : cudaSuccess;
}

SIM_API cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t begin, cudaEvent_t end)
{
    if (begin->done < begin->recorded || end->done < end->recorded)
        return sim_error(cudaErrorNotReady);
    *milliseconds = 0.5F; /* no speed here */
    return cudaSuccess;
}
