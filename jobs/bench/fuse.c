/* fuse.c - maps per second of one core, for each rule. Smooth maps are what a zoo makes: 8 x 8, resized; noise is the worst case
 * of the rules that look at neighbours. */
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/attention.h"
#include "core/rng.h"
#include "fusion/fuse.h"
#include "jobs/bench/bench.h"

enum { N_IMAGES = 8, N_MAPS = 3, NATIVE = 8, MAX_SIDE = 256 };

typedef struct fuse_subject {
    prle_fuser *fuser;
    int64_t side;
    uint16_t *q; /* [N_IMAGES, N_MAPS, side, side] */
    uint16_t *rank;
    uint8_t *attention;
    float *native; /* [N_IMAGES N_MAPS, NATIVE, NATIVE] */
} fuse_subject;

static prle_status resize_run(void *ctx)
{
    fuse_subject *f = ctx;

    for (int m = 0; m < N_IMAGES * N_MAPS; m++)
        PRLE_TRY(prle_attention_quantise(f->native + m * NATIVE * NATIVE, NATIVE, NATIVE, f->side, f->side,
                                         f->q + m * f->side * f->side));
    return PRLE_OK;
}

static prle_status fuse_run(void *ctx)
{
    fuse_subject *f = ctx;
    uint32_t area = 0;

    for (int i = 0; i < N_IMAGES; i++)
        PRLE_TRY(prle_fuser_run(f->fuser, f->q + i * N_MAPS * f->side * f->side, f->rank, f->attention, &area));
    return PRLE_OK;
}

static prle_status native_make(fuse_subject *f, uint64_t seed)
{
    prle_rng rng = prle_rng_make(seed, 0, 0, PRLE_RNG_TEST);
    double exact[NATIVE * NATIVE];

    for (int m = 0; m < N_IMAGES * N_MAPS; m++) {
        for (int i = 0; i < NATIVE * NATIVE; i++) /* mostly low, with a few peaks */
            exact[i] = prle_rng_uniform(&rng) * prle_rng_uniform(&rng) * prle_rng_uniform(&rng);
        PRLE_TRY(prle_attention_normalise(exact, NATIVE, NATIVE));
        for (int i = 0; i < NATIVE * NATIVE; i++)
            f->native[m * NATIVE * NATIVE + i] = (float)exact[i];
    }
    return PRLE_OK;
}

static prle_status cell_add(prle_bench_report *report, const prle_bench_opts *o, fuse_subject *f, const char *what, double units,
                            prle_status (*run)(void *ctx))
{
    prle_bench_cell cell = {.suite = "fuse", .unit = "maps/s a core"};

    snprintf(cell.what, sizeof cell.what, "%s", what);
    PRLE_TRY(prle_rate_measure(&cell.rate, o, units, run, f));
    return prle_bench_add(report, &cell);
}

static prle_status rules(prle_bench_report *report, const prle_bench_opts *o, fuse_subject *f, const char *kind)
{
    char what[64];

    for (int rule = PRLE_FUSE_EXPAND; prle_fuse_rule_words[rule] != NULL; rule++) {
        prle_fuse_opts opts = PRLE_FUSE_OPTS_DEFAULT;
        opts.rule = (prle_fuse_rule)rule;
        prle_fuser_destroy(f->fuser);
        f->fuser = NULL;
        PRLE_TRY(prle_fuser_create(&opts, N_MAPS, f->side, f->side, &f->fuser));
        snprintf(what, sizeof what, "%s, %s, T = %d, %d px", prle_fuse_rule_words[rule], kind, N_MAPS, (int)f->side);
        PRLE_TRY(cell_add(report, o, f, what, N_IMAGES, fuse_run));
    }
    return PRLE_OK;
}

prle_status prle_bench_fuse(prle_bench_report *report, const prle_bench_opts *o)
{
    fuse_subject f = {.side = o->size < MAX_SIDE ? o->size : MAX_SIDE}; /* ranks have 16 bits */
    prle_rng rng = prle_rng_make(o->seed, 1, 0, PRLE_RNG_TEST);
    const int64_t cells = f.side * f.side;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(PRLE_NEW(f.q, N_IMAGES * N_MAPS * cells));
    PRLE_TRY_OUT(PRLE_NEW(f.rank, cells));
    PRLE_TRY_OUT(PRLE_NEW(f.attention, cells));
    PRLE_TRY_OUT(PRLE_NEW(f.native, N_IMAGES * N_MAPS * NATIVE * NATIVE));
    PRLE_TRY_OUT(native_make(&f, o->seed));
    PRLE_TRY_OUT(cell_add(report, o, &f, "resize 8 px to full", N_IMAGES * N_MAPS, resize_run));
    PRLE_TRY_OUT(rules(report, o, &f, "smooth"));
    for (int64_t i = 0; i < N_IMAGES * N_MAPS * cells; i++)
        f.q[i] = (uint16_t)prle_rng_below(&rng, PRLE_ATTENTION_ONE + 1);
    PRLE_TRY_OUT(rules(report, o, &f, "noise"));
out:
    prle_fuser_destroy(f.fuser);
    prle_free(f.q);
    prle_free(f.rank);
    prle_free(f.attention);
    prle_free(f.native);
    return st;
}
