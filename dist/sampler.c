/* sampler.c - see sampler.h. */
#include "dist/sampler.h"

#include <string.h>

#include "core/alloc.h"
#include "core/rng.h"

enum { MAX_CLASSES = 256 };

struct prle_sampler {
    prle_sampler_opts opts;
    int64_t n_order; /* positions in an epoch */
    uint32_t *order; /* [n_order] */
    /* Balanced sampling only. */
    int64_t n_most;                       /* samples of the largest class */
    uint32_t *members;                    /* [n] samples, class after class, each in ascending order */
    uint32_t *turn;                       /* [n_most] one permutation of a class */
    int64_t class_first[MAX_CLASSES + 1]; /* where each class begins in members */
};

static prle_status opts_check(const prle_sampler_opts *o)
{
    PRLE_CHECK(o->n >= 1 && o->n <= UINT32_MAX, PRLE_EINVAL, "cannot sample from %lld samples: 1 ... 2^32 - 1", (long long)o->n);
    PRLE_CHECK(o->batch >= 1, PRLE_EINVAL, "batch %lld: at least 1", (long long)o->batch);
    PRLE_CHECK(o->size >= 1 && o->rank >= 0 && o->rank < o->size, PRLE_EINVAL, "rank %d of %d ranks", o->rank, o->size);
    PRLE_CHECK(o->classes == NULL || (o->n_classes >= 1 && o->n_classes <= MAX_CLASSES), PRLE_EINVAL, "%d classes: 1 ... %d",
               o->n_classes, MAX_CLASSES);
    return PRLE_OK;
}

static int64_t class_count(const prle_sampler *s, int class) { return s->class_first[class + 1] - s->class_first[class]; }

static prle_status classes_count(prle_sampler *s)
{
    const prle_sampler_opts *o = &s->opts;

    for (int64_t i = 0; i < o->n; i++) {
        PRLE_CHECK(o->classes[i] < o->n_classes, PRLE_EINVAL, "sample %lld has class %d of %d", (long long)i, o->classes[i],
                   o->n_classes);
        s->class_first[o->classes[i] + 1]++;
    }
    for (int c = 0; c < o->n_classes; c++) {
        const int64_t n = s->class_first[c + 1];
        PRLE_CHECK(n > 0, PRLE_EINVAL, "class %d has no samples: it cannot be balanced", c);
        s->n_most = n > s->n_most ? n : s->n_most;
    }
    for (int c = 0; c < o->n_classes; c++)
        s->class_first[c + 1] += s->class_first[c];
    s->n_order = s->n_most * o->n_classes;
    PRLE_CHECK(s->n_order <= UINT32_MAX, PRLE_EINVAL, "a balanced epoch of %lld samples is too long: at most 2^32 - 1",
               (long long)s->n_order);
    return PRLE_OK;
}

static prle_status classes_create(prle_sampler *s)
{
    int64_t next[MAX_CLASSES];

    PRLE_TRY(classes_count(s));
    PRLE_TRY(PRLE_NEW(s->members, s->opts.n));
    PRLE_TRY(PRLE_NEW(s->turn, s->n_most));
    memcpy(next, s->class_first, sizeof next);
    for (int64_t i = 0; i < s->opts.n; i++)
        s->members[next[s->opts.classes[i]]++] = (uint32_t)i;
    return PRLE_OK;
}

prle_status prle_sampler_create(prle_sampler **out, const prle_sampler_opts *opts)
{
    prle_sampler *s = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(opts_check(opts));
    PRLE_TRY(PRLE_NEW(s, 1));
    s->opts = *opts;
    s->n_order = opts->n;
    if (opts->classes != NULL)
        PRLE_TRY_OUT(classes_create(s));
    PRLE_TRY_OUT(PRLE_NEW(s->order, s->n_order));
    *out = s;
    s = NULL;
out:
    prle_sampler_destroy(s);
    return st;
}

/* n_most positions for one class: whole permutations, each from a stream of its own, and the beginning of a last one. */
static void class_fill(prle_sampler *s, uint32_t epoch, int class, uint32_t *positions)
{
    const int64_t n = class_count(s, class);

    for (int64_t at = 0, round = 0; at < s->n_most; at += n, round++) {
        const uint64_t stream = (uint64_t) class << 32 | (uint64_t)round;
        prle_rng rng = prle_rng_make(s->opts.seed, epoch, stream, PRLE_RNG_BALANCE);
        memcpy(s->turn, s->members + s->class_first[class], (size_t)n * sizeof *s->turn);
        prle_rng_shuffle(&rng, s->turn, (uint32_t)n);
        memcpy(positions + at, s->turn, (size_t)(n < s->n_most - at ? n : s->n_most - at) * sizeof *positions);
    }
}

void prle_sampler_epoch_set(prle_sampler *s, uint32_t epoch)
{
    prle_rng rng = prle_rng_make(s->opts.seed, epoch, 0, PRLE_RNG_SHUFFLE);

    if (s->members != NULL)
        for (int c = 0; c < s->opts.n_classes; c++)
            class_fill(s, epoch, c, s->order + c * s->n_most);
    else
        for (int64_t i = 0; i < s->n_order; i++)
            s->order[i] = (uint32_t)i;
    prle_rng_shuffle(&rng, s->order, (uint32_t)s->n_order);
}

int64_t prle_sampler_steps(const prle_sampler *s) { return (s->n_order - 1) / s->opts.batch + 1; }

int64_t prle_sampler_count(const prle_sampler *s) { return s->n_order; }

prle_sampler_share prle_sampler_step(const prle_sampler *s, int64_t step)
{
    const int64_t first = step * s->opts.batch, left = s->n_order - first;
    const int64_t n_global = left < s->opts.batch ? left : s->opts.batch;
    const int64_t after = n_global - s->opts.rank; /* positions from ours on */

    PRLE_ASSERT(step >= 0 && step < prle_sampler_steps(s));
    return (prle_sampler_share){
        .samples = after > 0 ? s->order + first + s->opts.rank : NULL,
        .stride = s->opts.size,
        .n = after > 0 ? (after - 1) / s->opts.size + 1 : 0,
        .n_global = n_global,
    };
}

void prle_sampler_destroy(prle_sampler *s)
{
    if (s == NULL)
        return;
    prle_free(s->order);
    prle_free(s->members);
    prle_free(s->turn);
    prle_free(s);
}
