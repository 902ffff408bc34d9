/* half.h - IEEE 754 binary16 in plain C: how attention maps are kept on disk. */
#pragma once
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Nearest half, ties to even; beyond 65504 infinity; NaN stays NaN. The same bits on every machine. */
uint16_t prle_half_from_float(float value);

/** Exact. */
float prle_half_to_float(uint16_t half);

#ifdef __cplusplus
}
#endif
