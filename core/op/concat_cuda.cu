/* concat_cuda.cu - some channels of each row, copied into or out of wider rows. */
#include "core/op/util_cuda.cuh"

template <int N, typename T>
static __global__ void copy_channels(T *to, int64_t to_C, const T *from, int64_t from_C, int64_t n, int64_t rows)
{
    const int64_t c = tile_channel<N>();

    for (int64_t row = tile_row(); row < rows && c < n; row += tile_step())
        *(run_of<T, N> *)(to + row * to_C + c) = *(const run_of<T, N> *)(from + row * from_C + c);
}

cudaError_t prle_copy_channels_cuda(void *to, int64_t to_C, const void *from, int64_t from_C, int64_t n, int64_t rows,
                                    prle_dtype dtype, cudaStream_t stream)
{
    const bool wide = rows_are_wide(n, dtype, to, from) && to_C % run_length(dtype) == 0 && from_C % run_length(dtype) == 0;

    return by_element(dtype, wide, [=](auto e) {
        using T = typename decltype(e)::type;
        const tile t = tile_of(rows, n, decltype(e)::n, 4);
        copy_channels<decltype(e)::n><<<t.grid, t.block, 0, stream>>>((T *)to, to_C, (const T *)from, from_C, n, rows);
        return cudaGetLastError();
    });
}
