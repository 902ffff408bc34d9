/* loader.c - threads that fill a ring of batches. A batch is a slot of the ring; threads take its images one by one, in order. */
#include "augment/loader.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "augment/prepare.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/hash.h"
#include "core/image.h"
#include "core/log.h"
#include "core/threads.h"

enum {
    MAX_PREFETCH = 64,
    FEW_CPUS = 4,   /* as many or fewer: loading must not take them from the network's threads */
    NICENESS = 5,   /* of the loader's threads there */
    MESSAGE = 1024, /* bytes of an error's text */
};

/* One batch in the making, later in the consumer's hands. */
typedef struct slot {
    prle_batch pub; /* points to the rest */
    uint8_t *images;
    uint8_t *labels;
    double *weights;
    uint64_t *samples;
    bool *masked;
    prle_mask_lack *lacks;
    int64_t n_done;     /* images finished, well or badly */
    int64_t failed;     /* place of the first bad image in the batch; max_batch: none */
    prle_status status; /* of that image */
    char message[MESSAGE];
} slot;

typedef struct worker {
    prle_loader *loader;
    prle_preparer *preparer;
    pthread_t thread;
    bool started;
} worker;

/* What prle_loader_begin was given, and how far it has come. Batch b lives in slot b mod n_slots. */
typedef struct pass {
    uint32_t epoch;
    uint32_t *samples;
    int64_t *first; /* [n_batches + 1] place of a batch's first sample */
    int64_t n_batches;
    size_t samples_capacity, first_capacity;
    int64_t batch, item; /* the next image to take */
    int64_t n_out;       /* batches handed out */
    int64_t n_freed;     /* of these, batches that the consumer is done with */
} pass;

struct prle_loader {
    const prle_faces *faces;
    prle_loader_opts opts;
    int64_t max_batch;
    bool polite;        /* few CPUs: workers run at a lower priority */
    size_t image_bytes; /* of one image of a batch */
    int64_t n_slots;
    slot *slots;
    worker *workers; /* [opts.threads] */

    pthread_mutex_t lock; /* over all below, and over the counters of slots */
    pthread_cond_t more;  /* for workers: there are images to take, or the end */
    pthread_cond_t done;  /* for the consumer: a batch is whole, or no worker is busy */
    pass pass;
    int n_busy;
    bool ends;
    prle_loader_stats stats;
};

typedef struct task {
    slot *slot;
    int64_t at; /* in the batch */
    uint32_t epoch, sample;
} task;

/* The threads. */

static int64_t batch_size(const pass *p, int64_t batch) { return p->first[batch + 1] - p->first[batch]; }

/* The next image of the pass whose batch has a slot. Locked. */
static bool task_take(prle_loader *loader, task *out)
{
    pass *p = &loader->pass;

    while (p->batch < p->n_batches && p->batch < p->n_freed + loader->n_slots) {
        if (p->item < batch_size(p, p->batch)) {
            *out = (task){.slot = &loader->slots[p->batch % loader->n_slots],
                          .at = p->item,
                          .epoch = p->epoch,
                          .sample = p->samples[p->first[p->batch] + p->item]};
            p->item++;
            loader->n_busy++;
            return true;
        }
        p->batch++;
        p->item = 0;
    }
    return false;
}

/* Fills the image's place in the batch; no other thread touches it. */
static prle_status task_run(prle_loader *loader, prle_preparer *preparer, const task *t)
{
    prle_mask_result mask = {0};

    PRLE_TRY(prle_preparer_run(preparer, t->epoch, t->sample, t->slot->images + (size_t)t->at * loader->image_bytes, &mask));
    t->slot->labels[t->at] = loader->faces->label[t->sample];
    t->slot->weights[t->at] = mask.masked ? loader->opts.mask.gamma : 1.0;
    t->slot->samples[t->at] = t->sample;
    t->slot->masked[t->at] = mask.masked;
    t->slot->lacks[t->at] = mask.lack;
    return PRLE_OK;
}

/* Locked. The error kept is that of the first bad image in the batch, whoever meets it when. */
static void task_end(prle_loader *loader, const task *t, prle_status st)
{
    slot *s = t->slot;

    if (st != PRLE_OK && t->at < s->failed) {
        s->failed = t->at;
        s->status = st;
        const size_t n = strnlen(prle_error_message(), MESSAGE - 1);
        memcpy(s->message, prle_error_message(), n);
        s->message[n] = '\0';
    }
    s->n_done++;
    loader->n_busy--;
    if (s->n_done == s->pub.n || loader->n_busy == 0)
        pthread_cond_broadcast(&loader->done);
}

static void *work(void *argument)
{
    worker *w = argument;
    prle_loader *loader = w->loader;
    task t;

    if (loader->polite) /* on Linux the calling thread's own; where it is refused, nothing is lost */
        setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICENESS);
    pthread_mutex_lock(&loader->lock);
    for (;;) {
        while (!loader->ends && !task_take(loader, &t))
            pthread_cond_wait(&loader->more, &loader->lock);
        if (loader->ends)
            break;
        pthread_mutex_unlock(&loader->lock);
        const double cpu_s = prle_preparer_thread_cpu_s(), mask_cpu_s = prle_preparer_mask_cpu_s(w->preparer);
        const prle_status st = task_run(loader, w->preparer, &t);
        const double cpu_end_s = prle_preparer_thread_cpu_s(), mask_cpu_end_s = prle_preparer_mask_cpu_s(w->preparer);
        pthread_mutex_lock(&loader->lock);
        loader->stats.cpu_s += cpu_end_s - cpu_s;
        loader->stats.mask_cpu_s += mask_cpu_end_s - mask_cpu_s;
        task_end(loader, &t, st);
    }
    pthread_mutex_unlock(&loader->lock);
    return NULL;
}

/* Creation. */

static prle_status opts_check(const prle_loader_opts *opts, int64_t max_batch)
{
    PRLE_CHECK(opts->height >= 1 && opts->width >= 1 && opts->height <= PRLE_IMAGE_MAX_SIDE && opts->width <= PRLE_IMAGE_MAX_SIDE,
               PRLE_EINVAL, "loader: input of %lld x %lld pixels: sides of 1 to %d are allowed", (long long)opts->width,
               (long long)opts->height, PRLE_IMAGE_MAX_SIDE);
    for (int c = 0; c < 3; c++)
        PRLE_CHECK(isfinite(opts->mean[c]), PRLE_EINVAL, "loader: mean %g of channel %d: a finite number", (double)opts->mean[c],
                   c);
    PRLE_CHECK(opts->threads >= 1 && opts->threads <= PRLE_LOADER_MAX_THREADS, PRLE_EINVAL,
               "loader: %d threads: 1 to %d are allowed", opts->threads, PRLE_LOADER_MAX_THREADS);
    PRLE_CHECK(opts->prefetch >= 1 && opts->prefetch <= MAX_PREFETCH, PRLE_EINVAL,
               "loader: %d batches ahead: 1 to %d are allowed", opts->prefetch, MAX_PREFETCH);
    PRLE_CHECK(max_batch >= 1, PRLE_EINVAL, "loader: batches of at most %lld images: 1 or more are needed", (long long)max_batch);
    return prle_mask_opts_check(&opts->mask);
}

static prle_status maps_check(const prle_faces *faces, const prle_maps *maps, prle_mask_kind kind)
{
    char hash[17];

    PRLE_CHECK(maps != NULL || !prle_mask_needs_rank(kind), PRLE_EINVAL, "mask %s needs maps: give --maps (made by `prle fuse`)",
               prle_mask_kind_words[kind]);
    if (maps == NULL)
        return PRLE_OK;
    prle_hash_print(faces->content_hash, hash);
    PRLE_CHECK(strcmp(maps->info.faces, hash) == 0, PRLE_EFORMAT,
               "%s: made for the face store with content hash %s, but %s has %s: run `prle cam` and `prle fuse` on this store",
               maps->path, maps->info.faces, faces->path, hash);
    PRLE_CHECK(maps->info.n == faces->n, PRLE_EFORMAT, "%s: of %lld images, %s has %lld", maps->path, (long long)maps->info.n,
               faces->path, (long long)faces->n);
    PRLE_CHECK(maps->info.height == faces->height && maps->info.width == faces->width, PRLE_ESHAPE,
               "%s: maps of %lld x %lld pixels, %s has images of %lld x %lld: masks are made at the images' own size, run `prle "
               "fuse` for it",
               maps->path, (long long)maps->info.width, (long long)maps->info.height, faces->path, (long long)faces->width,
               (long long)faces->height);
    return PRLE_OK;
}

static prle_status slot_init(slot *s, int64_t max_batch, size_t image_bytes)
{
    PRLE_TRY(prle_alloc((size_t)max_batch, image_bytes, (prle_any_ptr *)&s->images));
    PRLE_TRY(PRLE_NEW(s->labels, max_batch));
    PRLE_TRY(PRLE_NEW(s->weights, max_batch));
    PRLE_TRY(PRLE_NEW(s->samples, max_batch));
    PRLE_TRY(PRLE_NEW(s->masked, max_batch));
    PRLE_TRY(PRLE_NEW(s->lacks, max_batch));
    s->pub =
        (prle_batch){.images = s->images, .labels = s->labels, .weights = s->weights, .samples = s->samples, .masked = s->masked};
    return PRLE_OK;
}

static void slot_deinit(slot *s)
{
    prle_free(s->images);
    prle_free(s->labels);
    prle_free(s->weights);
    prle_free(s->samples);
    prle_free(s->masked);
    prle_free(s->lacks);
}

static prle_status workers_start(prle_loader *loader, const prle_maps *maps)
{
    for (int i = 0; i < loader->opts.threads; i++) {
        worker *w = &loader->workers[i];
        w->loader = loader;
        PRLE_TRY(prle_preparer_create(&w->preparer, loader->faces, maps, &loader->opts));
        PRLE_TRY(prle_thread_start(&w->thread, work, w, "loader"));
        w->started = true;
    }
    return PRLE_OK;
}

prle_status prle_loader_create(prle_loader **out, const prle_faces *faces, const prle_maps *maps, const prle_loader_opts *opts,
                               int64_t max_batch)
{
    prle_loader *loader = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(opts_check(opts, max_batch));
    PRLE_TRY(maps_check(faces, maps, opts->mask.kind));
    PRLE_TRY(PRLE_NEW(loader, 1));
    loader->faces = faces;
    loader->opts = *opts;
    loader->max_batch = max_batch;
    loader->polite = prle_threads_available() <= FEW_CPUS;
    loader->image_bytes = (size_t)(3 * opts->height * opts->width);
    loader->n_slots = opts->prefetch + 1;
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->more, NULL);
    pthread_cond_init(&loader->done, NULL);
    PRLE_TRY_OUT(PRLE_NEW(loader->slots, loader->n_slots));
    for (int64_t i = 0; i < loader->n_slots; i++)
        PRLE_TRY_OUT(slot_init(&loader->slots[i], max_batch, loader->image_bytes));
    PRLE_TRY_OUT(PRLE_NEW(loader->workers, opts->threads));
    PRLE_TRY_OUT(workers_start(loader, maps));
    *out = loader;
    loader = NULL;
out:
    prle_loader_destroy(loader);
    return st;
}

static void workers_end(prle_loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    loader->ends = true;
    pthread_cond_broadcast(&loader->more);
    pthread_mutex_unlock(&loader->lock);
    for (int i = 0; loader->workers != NULL && i < loader->opts.threads; i++) {
        if (loader->workers[i].started)
            pthread_join(loader->workers[i].thread, NULL);
        prle_preparer_destroy(loader->workers[i].preparer);
    }
}

void prle_loader_destroy(prle_loader *loader)
{
    if (loader == NULL)
        return;
    workers_end(loader);
    for (int64_t i = 0; loader->slots != NULL && i < loader->n_slots; i++)
        slot_deinit(&loader->slots[i]);
    pthread_cond_destroy(&loader->more);
    pthread_cond_destroy(&loader->done);
    pthread_mutex_destroy(&loader->lock);
    prle_free(loader->slots);
    prle_free(loader->workers);
    prle_free(loader->pass.samples);
    prle_free(loader->pass.first);
    prle_free(loader);
}

/* A pass. */

/* Nothing more is taken, and nobody writes into a slot any more. */
static void pass_stop(prle_loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    loader->pass.n_batches = loader->pass.batch = loader->pass.n_out = loader->pass.n_freed = 0;
    while (loader->n_busy > 0)
        pthread_cond_wait(&loader->done, &loader->lock);
    pthread_mutex_unlock(&loader->lock);
}

static prle_status pass_check(const prle_loader *loader, uint32_t epoch, const uint32_t *samples, const int64_t *batch_sizes,
                              int64_t n_batches, int64_t *n_samples)
{
    int64_t n = 0;

    PRLE_CHECK(epoch < UINT32_C(1) << 24, PRLE_EINVAL, "loader: epoch %" PRIu32 ": below 2^24 is allowed", epoch);
    PRLE_CHECK(n_batches >= 0, PRLE_EINVAL, "loader: a pass of %lld batches", (long long)n_batches);
    for (int64_t b = 0; b < n_batches; b++) {
        PRLE_CHECK(batch_sizes[b] >= 0 && batch_sizes[b] <= loader->max_batch, PRLE_EINVAL,
                   "loader: batch %lld of %lld images: 0 to %lld are allowed", (long long)b, (long long)batch_sizes[b],
                   (long long)loader->max_batch);
        n += batch_sizes[b];
    }
    for (int64_t i = 0; i < n; i++)
        PRLE_CHECK(samples[i] < loader->faces->n, PRLE_EINVAL, "loader: sample %" PRIu32 ": %s has %lld images", samples[i],
                   loader->faces->path, (long long)loader->faces->n);
    *n_samples = n;
    return PRLE_OK;
}

static void slot_reset(prle_loader *loader, int64_t batch)
{
    slot *s = &loader->slots[batch % loader->n_slots];

    if (batch >= loader->pass.n_batches)
        return;
    s->pub.n = batch_size(&loader->pass, batch);
    s->n_done = 0;
    s->failed = loader->max_batch;
}

static void pass_start(prle_loader *loader, uint32_t epoch, const uint32_t *samples, const int64_t *batch_sizes,
                       int64_t n_batches)
{
    pass *p = &loader->pass;

    pthread_mutex_lock(&loader->lock);
    p->epoch = epoch;
    for (int64_t b = 0; b < n_batches; b++)
        p->first[b + 1] = p->first[b] + batch_sizes[b];
    if (p->first[n_batches] > 0)
        memcpy(p->samples, samples, (size_t)p->first[n_batches] * sizeof *samples);
    p->item = 0;
    p->n_batches = n_batches;
    for (int64_t b = 0; b < loader->n_slots; b++)
        slot_reset(loader, b);
    pthread_cond_broadcast(&loader->more);
    pthread_mutex_unlock(&loader->lock);
}

static prle_status capacity_grow(prle_any_ptr *ptr, size_t *capacity, size_t count, size_t size)
{
    if (count <= *capacity)
        return PRLE_OK;
    PRLE_TRY(prle_realloc(*capacity, count, size, ptr));
    *capacity = count;
    return PRLE_OK;
}

prle_status prle_loader_begin(prle_loader *loader, uint32_t epoch, const uint32_t *samples, const int64_t *batch_sizes,
                              int64_t n_batches)
{
    pass *p = &loader->pass;
    int64_t n_samples = 0;

    pass_stop(loader);
    PRLE_TRY(pass_check(loader, epoch, samples, batch_sizes, n_batches, &n_samples));
    PRLE_TRY(capacity_grow((prle_any_ptr *)&p->samples, &p->samples_capacity, (size_t)n_samples, sizeof *p->samples));
    PRLE_TRY(capacity_grow((prle_any_ptr *)&p->first, &p->first_capacity, (size_t)n_batches + 1, sizeof *p->first));
    pass_start(loader, epoch, samples, batch_sizes, n_batches);
    return PRLE_OK;
}

/* Gives back the slot of the batch that the consumer has had. Locked. */
static void batch_free(prle_loader *loader)
{
    pass *p = &loader->pass;

    if (p->n_freed == p->n_out)
        return;
    slot_reset(loader, p->n_freed + loader->n_slots);
    p->n_freed = p->n_out;
    pthread_cond_broadcast(&loader->more);
}

/* Waits until the next batch is whole. Locked. */
static const slot *batch_wait(prle_loader *loader)
{
    const slot *s = &loader->slots[loader->pass.n_out % loader->n_slots];
    const double start_s = prle_clock_s();

    while (s->n_done < s->pub.n)
        pthread_cond_wait(&loader->done, &loader->lock);
    loader->stats.wait_s += prle_clock_s() - start_s;
    return s;
}

static void batch_count(prle_loader_stats *stats, const slot *s)
{
    stats->images += s->pub.n;
    for (int64_t i = 0; i < s->pub.n; i++) {
        stats->masked += s->masked[i];
        stats->without_map += s->lacks[i] == PRLE_MASK_LACKS_MAP;
        stats->empty_map += s->lacks[i] == PRLE_MASK_LACKS_AREA;
        stats->without_landmarks += s->lacks[i] == PRLE_MASK_LACKS_LANDMARKS;
    }
}

/* Locked. */
static prle_status batch_take(prle_loader *loader, const prle_batch **out)
{
    PRLE_CHECK(loader->pass.n_out < loader->pass.n_batches, PRLE_EINVAL, "loader: all %lld batches of the pass were handed out",
               (long long)loader->pass.n_batches);
    batch_free(loader);
    const slot *s = batch_wait(loader);
    PRLE_CHECK(s->failed == loader->max_batch, s->status, "%s", s->message);
    batch_count(&loader->stats, s);
    loader->pass.n_out++;
    *out = &s->pub;
    return PRLE_OK;
}

prle_status prle_loader_next(prle_loader *loader, const prle_batch **out)
{
    pthread_mutex_lock(&loader->lock);
    const prle_status st = batch_take(loader, out);
    pthread_mutex_unlock(&loader->lock);
    return st;
}

prle_loader_stats prle_loader_stats_get(prle_loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    const prle_loader_stats stats = loader->stats;
    pthread_mutex_unlock(&loader->lock);
    return stats;
}
