/* vectors_act.h - activations in the vectors of vectors.h, for `*_simd.c` alone. `rough`: to 2e-4 of the value, for results that
 * are rounded to bfloat16 (4e-3) or made of such; else to 3e-7. NaN stays NaN. */
#pragma once
#include "core/op/act.h"
#include "core/op/vectors.h"

INLINE vec choose(int_vec mask, vec yes, vec no) { return (vec)(((int_vec)yes & mask) | ((int_vec)no & ~mask)); }

/* x, not below -bound or above it. */
INLINE vec within(vec x, float bound)
{
    const vec high = (vec){0} + bound;

#if defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)-high, _mm512_min_ps((__m512)high, (__m512)x));
#elif defined(__AVX2__)
    return (vec)_mm256_max_ps((__m256)-high, _mm256_min_ps((__m256)high, (__m256)x));
#else
    x = choose(x < -high, -high, x);
    return choose(x > high, high, x);
#endif
}

/* 2^y for |y| <= 126, where y = x factor, factor = high + low. 2^n 2^r, |r| <= 1/2; coefficients: least relative error. */
INLINE vec exp2_of(vec x, float high, float low, bool rough)
{
    const vec magic = (vec){0} + 12582912.0F; /* 1.5 2^23: adding it rounds to an integer, kept in the low bits */
    const vec shifted = x * high + magic, n = shifted - magic;
    vec r = x * high - n, p;

    if (rough) {
        p = r * 0.0551716536F + 0.2426111400F;
        p = p * r + 0.6932609677F;
        p = p * r + 0.9999280572F;
    } else {
        r = x * low + r;
        p = r * 0.0013276470F + 0.0096755419F;
        p = p * r + 0.0555071346F;
        p = p * r + 0.2402212024F;
        p = p * r + 0.6931469440F;
        p = p * r + 1.0000001192F;
    }
#if defined(__AVX512F__)
    return (vec)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    return (vec)((int_vec)p + (((int_vec)shifted - (int_vec)magic) << 23));
#endif
}

/* exp(-x) for |x| <= 87, beyond that as there. */
INLINE vec exp_minus(vec x, bool rough) { return exp2_of(within(x, 87.0F), -1.4426950216F, -1.92596303e-8F, rough); }

/* a / b, b at least 1. */
INLINE vec quotient(vec a, vec b, bool rough)
{
#if defined(__AVX512F__)
    if (rough)
        return a * (vec)_mm512_rcp14_ps((__m512)b);
#endif
    (void)rough;
    return a / b;
}

INLINE vec activate(vec x, const prle_act_attrs *a, bool rough)
{
    switch (a->act) {
    case PRLE_ACT_RELU: return choose(x < 0.0F, (vec){0}, x); /* NaN stays, so that it is seen */
    case PRLE_ACT_LEAKY_RELU: return choose(x > 0.0F, x, x * (float)a->slope);
    case PRLE_ACT_SIGMOID: return quotient((vec){0} + 1.0F, exp_minus(x, rough) + 1.0F, rough);
    case PRLE_ACT_SWISH: return quotient(x, exp_minus(x, rough) + 1.0F, rough);
    case PRLE_ACT_NONE:
    case PRLE_N_ACTS: break;
    }
    return x;
}
