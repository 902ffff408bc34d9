/* rng.h - counter-based random numbers (Philox 4x32-10): value = f(seed, epoch, sample, purpose, draw), whoever draws it. */
#pragma once
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What a stream of draws is for: no two purposes share numbers. Values are part of the file format of checkpoints: append only.
 */
typedef enum prle_rng_purpose {
    PRLE_RNG_SHUFFLE = 1, /* the epoch's permutation */
    PRLE_RNG_MASK = 2,    /* u, alpha, region and noise of the mask of a sample */
    PRLE_RNG_AUGMENT = 3, /* flips, rotations, blur, ... */
    PRLE_RNG_INIT = 4,    /* weights; `sample` is the segment */
    PRLE_RNG_DROPOUT = 5, /* `sample` is the sample's index in the data set */
    PRLE_RNG_FORGE = 6,
    PRLE_RNG_BOOTSTRAP = 7,
    PRLE_RNG_TEST = 8,
    PRLE_RNG_BALANCE = 9, /* balanced sampling */
} prle_rng_purpose;

/** A stream; a plain value, free to copy. */
typedef struct prle_rng {
    uint32_t key[2];
    uint32_t counter[4]; /* counter[0] runs; the rest names the stream */
    uint32_t out[4];
    int n_left; /* unused words of out */
} prle_rng;

/** epoch < 2^24, sample < 2^64 (folded), any seed. */
prle_rng prle_rng_make(uint64_t seed, uint32_t epoch, uint64_t sample, prle_rng_purpose purpose);

uint32_t prle_rng_u32(prle_rng *rng);
double prle_rng_uniform(prle_rng *rng);                     /* [0,1), 53 bits */
double prle_rng_range(prle_rng *rng, double lo, double hi); /* [lo,hi) */
uint32_t prle_rng_below(prle_rng *rng, uint32_t n);         /* 0 ... n-1 without bias, n >= 1 */
double prle_rng_normal(prle_rng *rng);                      /* mean 0, variance 1 (Box-Muller; two uniforms each) */

/** A random permutation of 0 ... n-1 (Fisher-Yates). */
void prle_rng_shuffle(prle_rng *rng, uint32_t *items, uint32_t n);

#ifdef __cplusplus
}
#endif
