/* gate_cuda.cu - each channel of each sample scaled, and the gradients of both factors in one sweep. blockIdx.z: the sample. */
#include "core/op/util_cuda.cuh"

template <int N, typename T> static __global__ void gate_forward(T *y, const T *x, const T *gate, int64_t plane, int64_t C)
{
    const int64_t c = tile_channel<N>();
    float factor[N];

    if (c >= C)
        return;
    load(factor, gate + blockIdx.z * C + c);
    for (int64_t p = tile_row(); p < plane; p += tile_step()) {
        const int64_t at = (blockIdx.z * plane + p) * C + c;
        float v[N];
        load(v, x + at);
#pragma unroll
        for (int k = 0; k < N; k++)
            v[k] *= factor[k];
        store(y + at, v);
    }
}

template <int N, typename T>
static __global__ void __launch_bounds__(IMAGE_THREADS)
    gate_backward(T *dx, T *dgate, const T *x, const T *gate, const T *dy, int64_t plane, int64_t C)
{
    enum { ROWS = IMAGE_ROWS / 2 }; /* of two images */
    __shared__ float shared[IMAGE_THREADS / 2 * N];
    const int64_t c = tile_channel<N>();
    float factor[N], sum[N] = {0};

    if (c < C)
        load(factor, gate + blockIdx.z * C + c);
    for (int64_t p = threadIdx.y; p < plane && c < C; p += ROWS * blockDim.y) {
        float d[ROWS][N], v[ROWS][N];
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            const int64_t row = p + i * blockDim.y, at = (blockIdx.z * plane + row) * C + c;
            load_if(row < plane, d[i], dy + at);
            load_if(row < plane && dgate != NULL, v[i], x + at);
        }
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            const int64_t row = p + i * blockDim.y;
#pragma unroll
            for (int k = 0; k < N; k++) {
                sum[k] = fmaf(d[i][k], v[i][k], sum[k]);
                d[i][k] *= factor[k];
            }
            if (dx != NULL && row < plane)
                store(dx + (blockIdx.z * plane + row) * C + c, d[i]);
        }
    }
    sum_over_rows(sum, shared);
    if (dgate != NULL && threadIdx.y == 0 && c < C)
        store(dgate + blockIdx.z * C + c, sum);
}

cudaError_t prle_gate_cuda(void *y, const void *x, const void *gate, prle_cuda_image z, cudaStream_t stream)
{
    return by_element(z.dtype, rows_are_wide(z.C, z.dtype, y, x, gate), [=](auto e) {
        using T = typename decltype(e)::type;
        const tile t = image_tile(&z, decltype(e)::n);
        gate_forward<decltype(e)::n><<<t.grid, t.block, 0, stream>>>((T *)y, (const T *)x, (const T *)gate, z.plane, z.C);
        return cudaGetLastError();
    });
}

cudaError_t prle_gate_backward_cuda(void *dx, void *dgate, const void *x, const void *gate, const void *dy, prle_cuda_image z,
                                    cudaStream_t stream)
{
    return by_element(z.dtype, rows_are_wide(z.C, z.dtype, dx, dgate, x, gate, dy), [=](auto e) {
        using T = typename decltype(e)::type;
        const tile t = sample_tile(&z, decltype(e)::n);
        gate_backward<decltype(e)::n>
            <<<t.grid, t.block, 0, stream>>>((T *)dx, (T *)dgate, (const T *)x, (const T *)gate, (const T *)dy, z.plane, z.C);
        return cudaGetLastError();
    });
}
