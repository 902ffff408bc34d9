/* kernels_cuda.h - the operators' kernels as C functions that queue them and return cudaGetLastError(); every pointer is the
 * device's. An image [B,C,H,W] lies channels last: B H W rows of C channels; a vector [B,C] is B rows. Images are f32 or bf16,
 * parameters and statistics f32. Beside each: the least bytes that it must move, E being those of an element. */
#pragma once
#include <cuda_runtime_api.h>

#include "core/device/device_cuda.h"
#include "core/op/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What is read or written as rows of channels. */
typedef struct prle_cuda_rows {
    int64_t rows, C;
    prle_dtype dtype;
} prle_cuda_rows;

/** An image of `batch` samples with `plane` pixels each. */
typedef struct prle_cuda_image {
    int64_t batch, plane, C;
    prle_dtype dtype;
} prle_cuda_image;

/* reorder_cuda.cu */

/** to[b][c][r] = from[b][r][c] of `count` matrices [rows, columns]. n (E_from + E_to) bytes. */
cudaError_t prle_transpose_cuda(void *to, prle_dtype to_type, const void *from, prle_dtype from_type, int64_t count, int64_t rows,
                                int64_t columns, cudaStream_t stream);

/** n elements in another type, or copied. n (E_from + E_to) bytes. */
cudaError_t prle_convert_cuda(void *to, prle_dtype to_type, const void *from, prle_dtype from_type, int64_t n,
                              cudaStream_t stream);

/* conv2d_cuda.cu */

/** y = act(y + bias[c] + r); bias, r NULL: none. y and r are read, y written: 2 n E, 3 n E with r. */
cudaError_t prle_epilogue_cuda(void *y, const void *r, const float *bias, prle_act_attrs act, prle_cuda_rows z,
                               cudaStream_t stream);

/** sums[c] = sum of x over rows, in f32 by blocks and in double between them. n E bytes. scratch: prle_sums_cuda_scratch. */
cudaError_t prle_sums_cuda(float *sums, const void *x, prle_cuda_rows z, void *scratch, cudaStream_t stream);
size_t prle_sums_cuda_scratch(prle_cuda_rows z);

/* act_cuda.cu */

/** y = f(x): 2 n E bytes. */
cudaError_t prle_act_cuda(void *y, const void *x, prle_act_attrs act, int64_t n, prle_dtype dtype, cudaStream_t stream);

/** dx = dy f'(x): 3 n E bytes. */
cudaError_t prle_act_backward_cuda(void *dx, const void *x, const void *dy, prle_act_attrs act, int64_t n, prle_dtype dtype,
                                   cudaStream_t stream);

/** y = a + b; y may be a or b. 3 n E bytes. */
cudaError_t prle_add_cuda(void *y, const void *a, const void *b, int64_t n, prle_dtype dtype, cudaStream_t stream);

/* concat_cuda.cu */

/** Channels [0, n) of `rows` rows: to[r to_C + c] = from[r from_C + c]. 2 rows n E bytes. */
cudaError_t prle_copy_channels_cuda(void *to, int64_t to_C, const void *from, int64_t from_C, int64_t n, int64_t rows,
                                    prle_dtype dtype, cudaStream_t stream);

/* gate_cuda.cu */

/** y[b,p,c] = x[b,p,c] gate[b,c]: 2 n E bytes. */
cudaError_t prle_gate_cuda(void *y, const void *x, const void *gate, prle_cuda_image z, cudaStream_t stream);

/** dx = dy gate, dgate[b,c] = sum over p of dy x; either may be NULL. 3 n E bytes, or 2 n E. */
cudaError_t prle_gate_backward_cuda(void *dx, void *dgate, const void *x, const void *gate, const void *dy, prle_cuda_image z,
                                    cudaStream_t stream);

/* batch_norm_cuda.cu */

/** Per channel, what forward leaves for backward: value = (x - mean) scale + shift; rest = mean - the exact mean. */
typedef struct prle_cuda_norm {
    float *mean, *scale, *shift, *invstd, *rest; /* [C] each */
} prle_cuda_norm;

/** Parameters and running statistics [C], which follow the batch's when `moves`. */
typedef struct prle_cuda_affine {
    const float *gamma, *beta;
    float *running_mean, *running_var;
    double eps, momentum;
    bool moves;
} prle_cuda_affine;

/** mean, invstd, scale and shift of the batch. n E bytes. */
cudaError_t prle_norm_batch_cuda(const prle_cuda_norm *norm, const void *x, const prle_cuda_affine *affine, prle_cuda_rows z,
                                 void *scratch, cudaStream_t stream);

/** The same of the running statistics: 9 C floats. */
cudaError_t prle_norm_running_cuda(const prle_cuda_norm *norm, const prle_cuda_affine *affine, int64_t C, cudaStream_t stream);

/** Statistics of all ranks: what this rank's are made of, and what is summed over ranks. A rank without a share zeroes sums and
 * squares instead of calling norm_rank and norm_rank_squares. */
typedef struct prle_cuda_ranks {
    double *mean, *square; /* [C] this rank's mean, and squares about it */
    double *sums;          /* [C+1] of values, and how many: summed over ranks after norm_rank */
    double *squares;       /* [C] about the mean of all: summed over ranks after norm_rank_squares */
} prle_cuda_ranks;

/** n E bytes. */
cudaError_t prle_norm_rank_cuda(const prle_cuda_ranks *ranks, const void *x, prle_cuda_rows z, void *scratch,
                                cudaStream_t stream);
/** 4 C doubles. */
cudaError_t prle_norm_rank_squares_cuda(const prle_cuda_ranks *ranks, prle_cuda_rows z, cudaStream_t stream);
/** *count: values per channel on all ranks. 2 C doubles and 9 C floats. */
cudaError_t prle_norm_ranks_cuda(const prle_cuda_norm *norm, double *count, const prle_cuda_ranks *ranks,
                                 const prle_cuda_affine *affine, int64_t C, cudaStream_t stream);

/** y = act((x - mean) scale + shift + r); r NULL: none. 2 n E bytes, 3 n E with r. */
cudaError_t prle_norm_apply_cuda(void *y, const void *x, const void *r, const prle_cuda_norm *norm, bool relu, prle_cuda_rows z,
                                 cudaStream_t stream);

/** Where the gradient d of the value before the relu comes from: dy, or 0 where y is not positive. y NULL: computed from x. */
typedef struct prle_cuda_norm_gradient {
    const void *x, *y, *dy;
    bool relu;
} prle_cuda_norm_gradient;

/** dgamma, dbeta (NULL: not wanted), and in scratch what norm_input_gradient wants; or, sums not NULL, [2 C] for all ranks: of d,
 * and of d (x - mean). 2 n E bytes, 3 n E with y. */
cudaError_t prle_norm_sums_cuda(float *dgamma, float *dbeta, double *sums, const prle_cuda_norm *norm,
                                const prle_cuda_norm_gradient *g, prle_cuda_rows z, void *scratch, cudaStream_t stream);

/** What norm_input_gradient wants, of sums over all ranks and the count of norm_ranks. 2 C doubles and 4 C floats. */
cudaError_t prle_norm_ranks_sums_cuda(const double *sums, const double *count, const prle_cuda_norm *norm, prle_cuda_rows z,
                                      void *scratch, cudaStream_t stream);

/** dx = ((d - offset) + (x - mean) slope) scale, offset and slope 0 when frozen; dr = d; either may be NULL. 3 n E bytes, and n E
 * each for y and dr. */
cudaError_t prle_norm_input_gradient_cuda(void *dx, void *dr, const prle_cuda_norm *norm, bool frozen,
                                          const prle_cuda_norm_gradient *g, prle_cuda_rows z, const void *scratch,
                                          cudaStream_t stream);
size_t prle_norm_cuda_scratch(prle_cuda_rows z); /* of both passes */

/* normalise_cuda.cu */

/**
 * n pixels of RGB, channels last as they come from the store and as convolutions want them: out = table[c][in].
 * cudaErrorInvalidValue for an F64 out.
 *
 * table  in   [3,256]  prle_normaliser.f32
 * in     in   [n,3]    16-byte aligned
 * out    out  [n,3]    F32 or BF16 (the float rounded to nearest, ties to even); 16-byte aligned
 *
 * 15 bytes a pixel (9 to BF16), and the table (3 KiB) once for each block of 32,768 values.
 */
cudaError_t prle_normalise_cuda(const float *table, const uint8_t *in, int64_t n, void *out, prle_dtype dtype,
                                cudaStream_t stream);

/* dropout_cuda.cu */

/** What is dropped: samples of `plane` pixels with C channels each, draws counted through the row-major sample. */
typedef struct prle_cuda_dropout {
    prle_cuda_image image;
    bool channels_last;
    prle_dropout_attrs attrs;
} prle_cuda_dropout;

/** y = x kept / (1 - p); kept [one byte per draw, in the order of y]. 2 n E bytes and one for each draw. */
cudaError_t prle_dropout_cuda(void *y, uint8_t *kept, const void *x, const prle_cuda_dropout *z, const prle_cuda_run *run,
                              cudaStream_t stream);
cudaError_t prle_dropout_backward_cuda(void *dx, const uint8_t *kept, const void *dy, const prle_cuda_dropout *z,
                                       cudaStream_t stream);

/* pool_cuda.cu */

/** Of pool.h. */
typedef struct prle_cuda_pool {
    prle_pool_attrs attrs;
    int64_t B, C, H, W, P, Q;
    prle_dtype dtype;
} prle_cuda_pool;

/** y [B,P,Q,C]; where [B,P,Q,C]: which element of its window a maximum is, NULL: not wanted. (n_in + n_out) E + n_out bytes. */
cudaError_t prle_pool_forward_cuda(void *y, uint8_t *where, const void *x, const prle_cuda_pool *z, cudaStream_t stream);
cudaError_t prle_pool_backward_cuda(void *dx, const uint8_t *where, const void *dy, const prle_cuda_pool *z, cudaStream_t stream);

/** y [B,C] = mean over pixels: (n + B C) E bytes; and back. */
cudaError_t prle_mean_cuda(void *y, const void *x, prle_cuda_image z, cudaStream_t stream);
cudaError_t prle_mean_backward_cuda(void *dx, const void *dy, prle_cuda_image z, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
