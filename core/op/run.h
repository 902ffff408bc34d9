/* run.h - images in f32 or bfloat16 by runs: a run is a stretch of a plane that fits into the first cache, seen as floats, so
 * that arithmetic is written once for both types. Element i of a plane in blocks of channels belongs to channel i % block;
 * sixteen lanes side by side serve every block. */
#pragma once
#include <stdint.h>
#include <string.h>

#include "core/types.h"

enum { RUN_LANES = 16, RUN_MAX = 64 * RUN_LANES };

/** Sixteen lanes as one value, which every compiler keeps in as many registers as it takes; never an argument or a result. */
typedef float run_lanes __attribute__((vector_size(RUN_LANES * sizeof(float))));

static inline float run_widen(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* To nearest, ties to even; NaN stays NaN. */
static inline uint16_t run_narrow(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((value != value ? bits | 0x400000u : bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

/** Elements [at, at + n) of image x, n <= RUN_MAX: in x itself, or widened into buffer. */
static inline const float *run_read(float buffer[RUN_MAX], const void *x, prle_dtype dtype, int64_t at, int64_t n)
{
    const uint16_t *half = (const uint16_t *)x + at;

    if (dtype != PRLE_BF16)
        return (const float *)x + at;
    for (int64_t i = 0; i < n; i++)
        buffer[i] = run_widen(half[i]);
    return buffer;
}

/** Where to put elements [at, at + n) of image y before run_written: in y itself, or in buffer. */
static inline float *run_write(float buffer[RUN_MAX], void *y, prle_dtype dtype, int64_t at)
{
    return dtype == PRLE_BF16 ? buffer : (float *)y + at;
}

static inline void run_written(const float *values, void *y, prle_dtype dtype, int64_t at, int64_t n)
{
    uint16_t *half = (uint16_t *)y + at;

    for (int64_t i = 0; i < n && dtype == PRLE_BF16; i++)
        half[i] = run_narrow(values[i]);
}
