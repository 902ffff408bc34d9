/* rng.c - Philox 4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#include "core/rng.h"

#include <math.h>

static void philox_round(uint32_t c[4], const uint32_t k[2])
{
    const uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
    const uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k[0], (uint32_t)b, (uint32_t)(a >> 32) ^ c[3] ^ k[1], (uint32_t)a};

    for (int i = 0; i < 4; i++)
        c[i] = next[i];
}

static void refill(prle_rng *rng)
{
    uint32_t k[2] = {rng->key[0], rng->key[1]};

    for (int i = 0; i < 4; i++)
        rng->out[i] = rng->counter[i];
    for (int round = 0; round < 10; round++) {
        philox_round(rng->out, k);
        k[0] += 0x9E3779B9u;
        k[1] += 0xBB67AE85u;
    }
    rng->counter[0]++;
    rng->n_left = 4;
}

prle_rng prle_rng_make(uint64_t seed, uint32_t epoch, uint64_t sample, prle_rng_purpose purpose)
{
    prle_rng rng = {
        .key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
        .counter = {0, (uint32_t)sample, (uint32_t)(sample >> 32), epoch << 8 | (uint32_t)purpose},
    };
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
    const uint32_t hi = prle_rng_u32(rng) >> 5, lo = prle_rng_u32(rng) >> 6;

    return (hi * 67108864.0 + lo) / 9007199254740992.0;
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
