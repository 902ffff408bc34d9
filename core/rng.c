/* rng.c - streams of numbers out of the blocks of rng_math.h. */
#include "core/rng.h"

#include <math.h>

#include "core/rng_math.h"

static void refill(prle_rng *rng)
{
    rng_philox(rng->out, rng->counter, rng->key);
    rng->counter[0]++;
    rng->n_left = 4;
}

prle_rng prle_rng_make(uint64_t seed, uint32_t epoch, uint64_t sample, prle_rng_purpose purpose)
{
    prle_rng rng = {.n_left = 0};

    rng_stream(rng.key, rng.counter, seed, epoch, sample, purpose);
    return rng;
}

uint32_t prle_rng_u32(prle_rng *rng)
{
    if (rng->n_left == 0)
        refill(rng);
    return rng->out[4 - rng->n_left--];
}

double prle_rng_uniform(prle_rng *rng)
{
    const uint32_t first = prle_rng_u32(rng), second = prle_rng_u32(rng);

    return (double)rng_bits_53(first, second) / 9007199254740992.0;
}

double prle_rng_range(prle_rng *rng, double lo, double hi) { return lo + (hi - lo) * prle_rng_uniform(rng); }

uint32_t prle_rng_below(prle_rng *rng, uint32_t n)
{
    const uint32_t reject = (uint32_t)(-n) % n; /* 2^32 mod n: draws below it would favour small values */

    for (;;) {
        const uint64_t product = (uint64_t)prle_rng_u32(rng) * n;
        if ((uint32_t)product >= reject)
            return (uint32_t)(product >> 32);
    }
}

double prle_rng_normal(prle_rng *rng)
{
    const double u = 1.0 - prle_rng_uniform(rng), v = prle_rng_uniform(rng); /* u in (0,1] */

    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

void prle_rng_shuffle(prle_rng *rng, uint32_t *items, uint32_t n)
{
    for (uint32_t i = n; i > 1; i--) {
        const uint32_t j = prle_rng_below(rng, i), swap = items[i - 1];
        items[i - 1] = items[j];
        items[j] = swap;
    }
}
