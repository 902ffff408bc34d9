/* conv2d_cuda.cu - what follows a convolution or a linear layer where the library did not take it along (bias, residual,
 * activation), and the gradient of a bias. */
#include "core/op/act_math.h"
#include "core/op/util_cuda.cuh"

template <int N, typename T>
static __global__ void epilogue(T *y, const T *r, const float *bias, prle_act_attrs act, int64_t rows, int64_t C)
{
    const int64_t c = tile_channel<N>();
    float b[N] = {0};

    if (c >= C)
        return;
    for (int k = 0; k < N && bias != NULL; k++) /* they lie among all parameters: not aligned */
        b[k] = bias[c + k];
    for (int64_t row = tile_row(); row < rows; row += tile_step()) {
        float v[N], add[N] = {0};
        load(v, y + row * C + c);
        if (r != NULL)
            load(add, r + row * C + c);
#pragma unroll
        for (int k = 0; k < N; k++)
            v[k] = act_elem(&act, v[k] + b[k] + add[k]);
        store(y + row * C + c, v);
    }
}

cudaError_t prle_epilogue_cuda(void *y, const void *r, const float *bias, prle_act_attrs act, prle_cuda_rows z,
                               cudaStream_t stream)
{
    return by_element(z.dtype, rows_are_wide(z.C, z.dtype, y, r), [=](auto e) {
        using T = typename decltype(e)::type;
        const tile t = tile_of(z.rows, z.C, decltype(e)::n, 4);
        epilogue<decltype(e)::n><<<t.grid, t.block, 0, stream>>>((T *)y, (const T *)r, bias, act, z.rows, z.C);
        return cudaGetLastError();
    });
}

/* parts [blocks, C]: each block's sum. */
template <int N, typename T> static __global__ void sums_of_rows(float *parts, const T *x, int64_t rows, int64_t C)
{
    __shared__ float shared[TILE_THREADS / 2 * N];
    const int64_t c = tile_channel<N>();
    float sum[N] = {0};

    for (int64_t row = tile_row(); row < rows && c < C; row += tile_step()) {
        float v[N];
        load(v, x + row * C + c);
#pragma unroll
        for (int k = 0; k < N; k++)
            sum[k] += v[k];
    }
    sum_over_rows(sum, shared);
    for (int k = 0; k < N && threadIdx.y == 0 && c < C; k++)
        parts[blockIdx.x * C + c + k] = sum[k];
}

static __global__ void __launch_bounds__(PART_CHANNELS *PART_LANES)
    sums_of_parts(float *sums, const float *from, int64_t parts, int64_t C)
{
    __shared__ double shared[PART_CHANNELS * PART_LANES];
    const int64_t c = (int64_t)blockIdx.x * PART_CHANNELS + threadIdx.x;
    const double sum = sum_of_parts(from, parts, C, c, shared);

    if (threadIdx.y == 0 && c < C)
        sums[c] = (float)sum;
}

enum { SUMS_LEAST = 8 };

size_t prle_sums_cuda_scratch(prle_cuda_rows z)
{
    return (size_t)(tile_most(z.rows, z.C, z.dtype, SUMS_LEAST) * z.C) * sizeof(float);
}

cudaError_t prle_sums_cuda(float *sums, const void *x, prle_cuda_rows z, void *scratch, cudaStream_t stream)
{
    return by_element(z.dtype, rows_are_wide(z.C, z.dtype, x), [=](auto e) {
        using T = typename decltype(e)::type;
        const tile t = tile_of(z.rows, z.C, decltype(e)::n, SUMS_LEAST);
        sums_of_rows<decltype(e)::n><<<t.grid, t.block, 0, stream>>>((float *)scratch, (const T *)x, z.rows, z.C);
        sums_of_parts<<<part_blocks(z.C), dim3(PART_CHANNELS, PART_LANES), 0, stream>>>(sums, (const float *)scratch, t.grid.x,
                                                                                        z.C);
        return cudaGetLastError();
    });
}
