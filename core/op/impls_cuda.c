/* impls_cuda.c - every operator implementation of the GPU, in the order they are tried. */
#include "core/device/device_cuda.h"

const prle_op_impl *const prle_cuda_impls[] = {NULL};
