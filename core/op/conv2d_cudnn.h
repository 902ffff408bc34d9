/* conv2d_cudnn.h - what cuDNN makes of a convolution, for tests that ask it without a GPU. */
#pragma once
#include "core/op/util_cudnn.h"

#ifdef __cplusplus
extern "C" {
#endif

/** No convolution takes more scratch than this, in bytes. */
enum { PRLE_CONV2D_MOST_SCRATCH = 256 << 20 };

/** A plan for one pass of it, as the operator makes it. desc: inferred, with memory F32 or BF16. fused: FORWARD with its bias,
 * residual and relu. The caller destroys *out. */
PRLE_NODISCARD prle_status prle_conv2d_cudnn_plan(const prle_op_desc *desc, prle_op_pass pass, bool fused,
                                                  const prle_cudnn_wishes *wishes, prle_cudnn_plan **out);

#ifdef __cplusplus
}
#endif
