/* rng_math.h - Philox 4x32-10, for CPU and GPU: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#pragma once
#include "core/hd.h"
#include "core/rng.h"

PRLE_HD static inline void rng_philox_round(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    const uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
    const uint32_t c0 = (uint32_t)(b >> 32) ^ c[1] ^ k0, c2 = (uint32_t)(a >> 32) ^ c[3] ^ k1;

    c[0] = c0;
    c[1] = (uint32_t)b;
    c[2] = c2;
    c[3] = (uint32_t)a;
}

/* The block of four words at that counter. */
PRLE_HD static inline void rng_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t k0 = key[0], k1 = key[1];

    for (int i = 0; i < 4; i++)
        out[i] = counter[i];
    for (int round = 0; round < 10; round++) {
        rng_philox_round(out, k0, k1);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* Key and first counter of a stream: prle_rng_make. */
PRLE_HD static inline void rng_stream(uint32_t key[2], uint32_t counter[4], uint64_t seed, uint32_t epoch, uint64_t sample,
                                      uint32_t purpose)
{
    key[0] = (uint32_t)seed;
    key[1] = (uint32_t)(seed >> 32);
    counter[0] = 0;
    counter[1] = (uint32_t)sample;
    counter[2] = (uint32_t)(sample >> 32);
    counter[3] = epoch << 8 | purpose;
}

/* What a uniform number in [0,1) is, times 2^53: of the next two words. */
PRLE_HD static inline uint64_t rng_bits_53(uint32_t first, uint32_t second) { return (uint64_t)(first >> 5) << 26 | second >> 6; }
