/* vectors.h - the vectors that gcc and clang both know, for sources that are compiled once for each instruction set (`*_simd.c`;
 * SIMD_NAME, SIMD_BLOCK: lanes of a vector). To be included there alone: functions that other code is compiled with would be
 * lowered to its instruction set before they are inlined. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define INLINE   static inline __attribute__((always_inline, unused))
#define UNROLLED _Pragma("GCC unroll 16")

#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)
#define STRING_(a)  #a
#define STRING(a)   STRING_(a)

#ifndef SIMD_BLOCK /* looked at alone, as by an editor */
#define SIMD_BLOCK 4
#endif

enum { LANES = SIMD_BLOCK };

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t int_vec __attribute__((vector_size(4 * LANES)));
typedef uint32_t bits_vec __attribute__((vector_size(4 * LANES)));
typedef uint16_t half_vec __attribute__((vector_size(2 * LANES)));
typedef float vec_at __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t half_vec_at __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

INLINE vec load(const float *at) { return *(const vec_at *)at; }
INLINE void store(float *at, vec v) { *(vec_at *)at = v; }

/* gcc 12 makes four shuffles of this conversion. */
INLINE bits_vec widen(half_vec half)
{
#if defined(__AVX512F__)
    return (bits_vec)_mm512_cvtepu16_epi32((__m256i)half);
#elif defined(__AVX2__)
    return (bits_vec)_mm256_cvtepu16_epi32((__m128i)half);
#else
    return __builtin_convertvector(half, bits_vec);
#endif
}

INLINE vec load_bf16(const uint16_t *at) { return (vec)(widen(*(const half_vec_at *)at) << 16); }

/* To nearest, ties to even; NaN stays NaN. */
INLINE void store_bf16(uint16_t *at, vec v)
{
#if defined(__AVX512BF16__)
    *(half_vec_at *)at = (half_vec)_mm512_cvtneps_pbh((__m512)v);
#else
    const bits_vec bits = (bits_vec)v, nan = (bits_vec)(v != v);
    const bits_vec rounded = bits + 0x7FFF + ((bits >> 16) & 1), quiet = bits | 0x400000;

    *(half_vec_at *)at = __builtin_convertvector(((rounded & ~nan) | (quiet & nan)) >> 16, half_vec);
#endif
}

/* The LANES elements of a tensor from element i on. */
INLINE vec load_element(const void *tensor, int64_t i, bool bf16)
{
    return bf16 ? load_bf16((const uint16_t *)tensor + i) : load((const float *)tensor + i);
}

INLINE void store_element(void *tensor, int64_t i, vec v, bool bf16)
{
    if (bf16)
        store_bf16((uint16_t *)tensor + i, v);
    else
        store((float *)tensor + i, v);
}
