/* grad_sum.c - see grad_sum.h. */
#include "dist/grad_sum.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/threads.h"

enum { MAX_BUCKET_BYTES = 16 << 20 };

const char *const prle_grad_sum_mode_words[] = {"auto", "plain", "thread", "stream", NULL};

struct prle_grad_sum {
    prle_comm *comm; /* the one summed over: borrowed in plain mode, our duplicate in thread mode */
    char *buffer;
    int64_t n, elem_bytes, bucket, n_buckets; /* bucket: elements in each but the last one summed */
    prle_dtype dtype;
    prle_grad_sum_mode mode;
    /* Thread and stream mode only; from here on under the lock. */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    int64_t *n_ready; /* [n_buckets] final elements of this step */
    int64_t n_summed; /* buckets of this step; stream mode: begun */
    bool started, ends;
    prle_status failure; /* the first of this step, with its message: the error record belongs to the thread */
    char message[1024];
};

/* Bucket b counts from the end of the buffer. */
static int64_t bucket_end(const prle_grad_sum *s, int64_t b) { return s->n - b * s->bucket; }

static int64_t bucket_first(const prle_grad_sum *s, int64_t b)
{
    const int64_t first = bucket_end(s, b) - s->bucket;

    return first > 0 ? first : 0;
}

static int64_t bucket_count(const prle_grad_sum *s, int64_t b) { return bucket_end(s, b) - bucket_first(s, b); }

static prle_status bucket_sum(prle_grad_sum *s, int64_t b)
{
    return prle_comm_sum(s->comm, s->buffer + bucket_first(s, b) * s->elem_bytes, bucket_count(s, b), s->dtype, "gradients");
}

/* Waits for the next bucket to be final; false when the thread is to end. Under the lock. */
static bool next_bucket_wait(prle_grad_sum *s)
{
    while (!s->ends && (s->n_summed == s->n_buckets || s->n_ready[s->n_summed] < bucket_count(s, s->n_summed)))
        pthread_cond_wait(&s->work, &s->lock);
    return !s->ends;
}

static void *sum_thread(void *arg)
{
    prle_grad_sum *s = arg;

    pthread_mutex_lock(&s->lock);
    while (next_bucket_wait(s)) {
        prle_status st = s->failure; /* after a failure the rest is only counted */
        if (st == PRLE_OK) {
            const int64_t b = s->n_summed;
            pthread_mutex_unlock(&s->lock);
            st = bucket_sum(s, b);
            pthread_mutex_lock(&s->lock);
            if (st != PRLE_OK)
                snprintf(s->message, sizeof s->message, "%s", prle_error_message());
            s->failure = st;
        }
        if (++s->n_summed == s->n_buckets)
            pthread_cond_signal(&s->done);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Begins the sums of all buckets that are final, in their order; after a failure none. */
static void stream_begin(prle_grad_sum *s)
{
    while (s->failure == PRLE_OK && s->n_summed < s->n_buckets && s->n_ready[s->n_summed] == bucket_count(s, s->n_summed)) {
        const int64_t b = s->n_summed++;
        s->failure = prle_comm_sum_begin(s->comm, s->buffer + bucket_first(s, b) * s->elem_bytes, bucket_count(s, b), s->dtype,
                                         "gradients");
        if (s->failure != PRLE_OK)
            snprintf(s->message, sizeof s->message, "%s", prle_error_message());
    }
}

/* Duplicates the communicator for thread mode; where the library cannot, AUTO falls back to plain, on all ranks alike. */
static prle_status mode_choose(prle_grad_sum *s, prle_comm *comm, prle_grad_sum_mode wanted)
{
    s->mode = wanted;
    s->comm = comm;
    if (wanted == PRLE_GRAD_SUM_AUTO)
        s->mode = prle_comm_overlaps(comm)         ? PRLE_GRAD_SUM_STREAM
                  : comm->local_size == comm->size ? PRLE_GRAD_SUM_PLAIN
                                                   : PRLE_GRAD_SUM_THREAD;
    PRLE_CHECK(s->mode != PRLE_GRAD_SUM_STREAM || prle_comm_overlaps(comm), PRLE_ENOTSUP,
               "gradients are summed as a stream on GPUs only: choose auto, plain or thread");
    if (s->mode != PRLE_GRAD_SUM_THREAD)
        return PRLE_OK;
    const prle_status st = prle_comm_duplicate(comm, &s->comm);
    if (st == PRLE_ENOTSUP && wanted == PRLE_GRAD_SUM_AUTO) {
        prle_log(PRLE_LOG_WARN, "dist", "gradients are summed after backward, not during it: %s", prle_error_message());
        s->mode = PRLE_GRAD_SUM_PLAIN;
        return PRLE_OK;
    }
    if (st != PRLE_OK)
        s->mode = PRLE_GRAD_SUM_PLAIN; /* nothing of ours to destroy */
    return st;
}

static prle_status opts_check(const prle_grad_sum_opts *opts, int64_t n, prle_dtype dtype)
{
    PRLE_CHECK(dtype == PRLE_F32 || dtype == PRLE_F64, PRLE_ENOTSUP, "cannot sum %s gradients: give f32 or f64",
               prle_dtype_name(dtype));
    PRLE_CHECK(n >= 0, PRLE_EINVAL, "%lld gradients", (long long)n);
    PRLE_CHECK(opts->bucket_bytes >= (int64_t)prle_dtype_bytes(dtype) && opts->bucket_bytes <= MAX_BUCKET_BYTES, PRLE_EINVAL,
               "buckets of %lld bytes: one element ... %d", (long long)opts->bucket_bytes, MAX_BUCKET_BYTES);
    return PRLE_OK;
}

prle_status prle_grad_sum_create(prle_grad_sum **out, prle_comm *comm, void *buffer, int64_t n, prle_dtype dtype,
                                 const prle_grad_sum_opts *opts)
{
    const prle_grad_sum_opts given = opts != NULL ? *opts : PRLE_GRAD_SUM_OPTS_DEFAULT;
    prle_grad_sum *s = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(opts_check(&given, n, dtype));
    PRLE_TRY(PRLE_NEW(s, 1));
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->done, NULL);
    s->buffer = buffer;
    s->n = n;
    s->dtype = dtype;
    s->elem_bytes = (int64_t)prle_dtype_bytes(dtype);
    s->bucket = given.bucket_bytes / s->elem_bytes;
    s->n_buckets = (n + s->bucket - 1) / s->bucket;
    PRLE_TRY_OUT(mode_choose(s, comm, given.mode));
    if (s->mode != PRLE_GRAD_SUM_PLAIN)
        PRLE_TRY_OUT(PRLE_NEW(s->n_ready, s->n_buckets));
    if (s->mode == PRLE_GRAD_SUM_THREAD) {
        PRLE_TRY_OUT(prle_thread_start(&s->thread, sum_thread, s, "communication"));
        s->started = true;
    }
    prle_log(PRLE_LOG_DEBUG, "dist", "gradients %lld, buckets %lld, mode %s", (long long)n, (long long)s->n_buckets,
             prle_grad_sum_mode_words[s->mode]);
    *out = s;
    s = NULL;
out:
    prle_grad_sum_destroy(s);
    return st;
}

void prle_grad_sum_ready(prle_grad_sum *s, int64_t offset, int64_t n)
{
    const int64_t end = offset + n;

    PRLE_ASSERT(offset >= 0 && n >= 0 && end <= s->n);
    if (s->mode == PRLE_GRAD_SUM_PLAIN || n == 0)
        return;
    pthread_mutex_lock(&s->lock);
    for (int64_t b = (s->n - end) / s->bucket; b < s->n_buckets && bucket_end(s, b) > offset; b++) {
        const int64_t lo = offset > bucket_first(s, b) ? offset : bucket_first(s, b);
        const int64_t hi = end < bucket_end(s, b) ? end : bucket_end(s, b);
        s->n_ready[b] += hi - lo;
        PRLE_ASSERT(s->n_ready[b] <= bucket_count(s, b)); /* an element was named twice */
    }
    if (s->mode == PRLE_GRAD_SUM_STREAM)
        stream_begin(s);
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}

static prle_status plain_wait(prle_grad_sum *s)
{
    for (int64_t b = 0; b < s->n_buckets; b++)
        PRLE_TRY(bucket_sum(s, b));
    return PRLE_OK;
}

/* What was named and what was not: all is final. Thread mode: the sums are made; stream mode: they are begun. */
static prle_status rest_wait(prle_grad_sum *s)
{
    pthread_mutex_lock(&s->lock);
    for (int64_t b = 0; b < s->n_buckets; b++)
        s->n_ready[b] = bucket_count(s, b);
    if (s->mode == PRLE_GRAD_SUM_STREAM)
        stream_begin(s);
    pthread_cond_signal(&s->work);
    while (s->mode == PRLE_GRAD_SUM_THREAD && s->n_summed < s->n_buckets)
        pthread_cond_wait(&s->done, &s->lock);
    const prle_status st = s->failure;
    s->failure = PRLE_OK;
    s->n_summed = 0;
    for (int64_t b = 0; b < s->n_buckets; b++)
        s->n_ready[b] = 0;
    pthread_mutex_unlock(&s->lock);
    PRLE_CHECK(st == PRLE_OK, st, "%s", s->message);
    return PRLE_OK;
}

prle_status prle_grad_sum_wait(prle_grad_sum *s)
{
    if (s->mode == PRLE_GRAD_SUM_PLAIN)
        return plain_wait(s);
    PRLE_TRY(rest_wait(s));
    return s->mode == PRLE_GRAD_SUM_STREAM ? prle_comm_sum_end(s->comm) : PRLE_OK;
}

prle_grad_sum_mode prle_grad_sum_mode_get(const prle_grad_sum *s) { return s->mode; }

void prle_grad_sum_destroy(prle_grad_sum *s)
{
    if (s == NULL)
        return;
    if (s->started) {
        pthread_mutex_lock(&s->lock);
        s->ends = true;
        pthread_cond_signal(&s->work);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
    }
    if (s->mode == PRLE_GRAD_SUM_THREAD)
        prle_comm_destroy(s->comm);
    pthread_cond_destroy(&s->done);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    prle_free(s->n_ready);
    prle_free(s);
}
