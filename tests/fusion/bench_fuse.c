/* bench_fuse.c - maps per second on one core for each rule, and for the resize before it. Usage: bench_fuse [T [SIDE]] */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/alloc.h"
#include "core/attention.h"
#include "core/rng.h"
#include "fusion/fuse.h"

enum { N_IMAGES = 8, N_REPEATS = 11 };

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* per core, whatever else the machine does */
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Smooth: 8 x 8 maps resized, as a zoo makes them. Otherwise noise, the worst case of the neighbor rules. */
static prle_status make_maps(uint16_t *q, int n_maps, int64_t side, bool smooth, double *resizes_per_s)
{
    prle_rng rng = prle_rng_make(1, 0, 0, PRLE_RNG_TEST);
    double spent = 0;

    for (int m = 0; m < n_maps; m++) {
        float map[64];

        for (int i = 0; i < 64; i++)
            map[i] = (float)(prle_rng_uniform(&rng) * prle_rng_uniform(&rng) * prle_rng_uniform(&rng));
        PRLE_TRY(prle_attention_normalise(map, 8, 8));
        const double begin = seconds_now();
        PRLE_TRY(prle_attention_quantise(map, 8, 8, side, side, q + m * side * side));
        spent += seconds_now() - begin;
        if (!smooth)
            for (int64_t i = 0; i < side * side; i++)
                q[m * side * side + i] = (uint16_t)prle_rng_below(&rng, PRLE_ATTENTION_ONE + 1);
    }
    *resizes_per_s = n_maps / spent;
    return PRLE_OK;
}

static prle_status bench_rule(const uint16_t *q, int T, int64_t side, prle_fuse_rule rule, const char *kind)
{
    prle_status st = PRLE_OK;
    prle_fuse_opts opts = PRLE_FUSE_OPTS_DEFAULT;
    prle_fuser *fuser = NULL;
    uint16_t *rank = NULL;
    uint8_t *attention = NULL;
    double rate[N_REPEATS];
    uint64_t covered = 0;

    opts.rule = rule;
    PRLE_TRY_OUT(prle_fuser_create(&opts, T, side, side, &fuser));
    PRLE_TRY_OUT(PRLE_NEW(rank, side * side));
    PRLE_TRY_OUT(PRLE_NEW(attention, side * side));
    for (int repeat = 0; repeat < N_REPEATS; repeat++) {
        const double begin = seconds_now();
        covered = 0;
        for (int i = 0; i < N_IMAGES; i++) {
            uint32_t area = 0;
            PRLE_TRY_OUT(prle_fuser_run(fuser, q + i * T * side * side, rank, attention, &area));
            covered += area;
        }
        rate[repeat] = N_IMAGES / (seconds_now() - begin);
    }
    qsort(rate, N_REPEATS, sizeof *rate, compare);
    printf("%-10s %-6s T %d, %lld x %lld: %7.0f maps/s (median of %d; %.0f ... %.0f), area %.1f %%\n", prle_fuse_rule_words[rule],
           kind, T, (long long)side, (long long)side, rate[N_REPEATS / 2], N_REPEATS, rate[0], rate[N_REPEATS - 1],
           100.0 * (double)covered / (double)(N_IMAGES * side * side));
out:
    prle_fuser_destroy(fuser);
    prle_free(rank);
    prle_free(attention);
    return st;
}

static prle_status bench(int T, int64_t side)
{
    prle_status st = PRLE_OK;
    uint16_t *q = NULL;
    double resizes_per_s = 0;

    PRLE_TRY(PRLE_NEW(q, N_IMAGES * T * side * side));
    for (int smooth = 1; smooth >= 0; smooth--) {
        PRLE_TRY_OUT(make_maps(q, N_IMAGES * T, side, smooth, &resizes_per_s));
        for (int rule = PRLE_FUSE_EXPAND; rule <= PRLE_FUSE_HYSTERESIS; rule++)
            PRLE_TRY_OUT(bench_rule(q, T, side, (prle_fuse_rule)rule, smooth ? "smooth" : "noise"));
    }
    printf("resize     8 x 8 to %lld x %lld: %7.0f maps/s\n", (long long)side, (long long)side, resizes_per_s);
out:
    prle_free(q);
    return st;
}

int main(int argc, char **argv)
{
    if (bench(argc > 1 ? atoi(argv[1]) : 3, argc > 2 ? atoi(argv[2]) : 256) == PRLE_OK)
        return 0;
    fprintf(stderr, "%s\n", prle_error_message());
    return 1;
}
