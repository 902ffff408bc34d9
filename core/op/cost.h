/* cost.h - the arithmetic of an operator, counted from its shapes. */
#pragma once
#include "core/op/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Multiply-accumulates of one forward pass of an operator that is made of matrix products, for the batch in desc; biases are not
 * counted. 0 for every other operator: those take the time of their bytes, not of their arithmetic.
 *
 *   convolution  B K P Q (C / groups) R S      linear  B K C
 *   dct          B C H W (H + W)               local spectrum  B P Q 2 window^3
 */
double prle_op_macs(const prle_op_desc *desc);

#ifdef __cplusplus
}
#endif
