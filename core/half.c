/* half.c - see half.h. */
#include "core/half.h"

#include <string.h>

enum { MANTISSA_SHIFT = 23 - 10 };

/* value >> shift, rounded to nearest even; 1 <= shift <= 31. */
static uint32_t shift_round(uint32_t value, uint32_t shift)
{
    const uint32_t kept = value >> shift, rest = value & ((1u << shift) - 1), tie = 1u << (shift - 1);

    return kept + (rest > tie || (rest == tie && (kept & 1)));
}

uint16_t prle_half_from_float(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    const uint32_t sign = bits >> 31 << 15, magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u)
        return (uint16_t)(sign | 0x7E00u);
    if (magnitude >= 0x477FF000u) /* 65520 and more rounds past the largest half */
        return (uint16_t)(sign | 0x7C00u);
    if (magnitude >= 0x38800000u) /* 2^-14: a normal half; rounding may carry into the exponent, which is right */
        return (uint16_t)(sign | shift_round(magnitude - ((127u - 15u) << 23), MANTISSA_SHIFT));
    if (magnitude < 0x33000000u) /* under 2^-25: zero */
        return (uint16_t)sign;
    const uint32_t mantissa = (magnitude & 0x7FFFFFu) | 0x800000u;
    return (uint16_t)(sign | shift_round(mantissa, 126u - (magnitude >> 23)));
}

float prle_half_to_float(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half >> 15) << 31, exponent = (half >> 10) & 0x1Fu, mantissa = half & 0x3FFu;
    uint32_t bits;
    float value;

    if (exponent == 0) { /* zero and subnormals: mantissa * 2^-24, exact in float */
        value = (float)mantissa * 0x1p-24f;
        return sign != 0 ? -value : value;
    }
    if (exponent == 0x1F)
        bits = sign | 0x7F800000u | mantissa << MANTISSA_SHIFT;
    else
        bits = sign | (exponent + 127u - 15u) << 23 | mantissa << MANTISSA_SHIFT;
    memcpy(&value, &bits, sizeof value);
    return value;
}
