/* reorder_cuda.cu - images and kernels between row-major and channels-last, between element types. */
#include "core/op/util_cuda.cuh"

enum { SIDE = 32, HIGH = 8, NARROW = 8 };

/* Through a square in shared memory, so that both sides are whole sectors. */
template <typename D, typename S> static __global__ void transpose_squares(D *to, const S *from, int64_t rows, int64_t columns)
{
    __shared__ float square[SIDE][SIDE + 1];
    const int64_t base = blockIdx.z * rows * columns, row = (int64_t)blockIdx.y * SIDE, column = (int64_t)blockIdx.x * SIDE;

    for (int i = threadIdx.y; i < SIDE; i += HIGH)
        if (row + i < rows && column + threadIdx.x < columns)
            square[i][threadIdx.x] = widen(from[base + (row + i) * columns + column + threadIdx.x]);
    __syncthreads();
    for (int i = threadIdx.y; i < SIDE; i += HIGH)
        if (column + i < columns && row + threadIdx.x < rows)
            narrow(to[base + (column + i) * rows + row + threadIdx.x], square[threadIdx.x][i]);
}

/* Few rows: a thread for each column, which is a row of `to`. */
template <typename D, typename S> static __global__ void transpose_few_rows(D *to, const S *from, int rows, int64_t columns)
{
    const int64_t base = blockIdx.y * rows * columns, i = flat_first();

    for (int r = 0; r < rows && i < columns; r++)
        narrow(to[base + i * rows + r], widen(from[base + r * columns + i]));
}

template <typename D, typename S> static __global__ void transpose_few_columns(D *to, const S *from, int64_t rows, int columns)
{
    const int64_t base = blockIdx.y * rows * columns, i = flat_first();

    for (int c = 0; c < columns && i < rows; c++)
        narrow(to[base + c * rows + i], widen(from[base + i * columns + c]));
}

enum { MOST_MATRICES = 65535 }; /* of a grid */

template <typename D, typename S>
static cudaError_t transpose(D *to, const S *from, int64_t count, int64_t rows, int64_t columns, cudaStream_t stream)
{
    const unsigned n = (unsigned)count;

    if (rows <= NARROW)
        transpose_few_rows<<<dim3((unsigned)ceil_div(columns, FLAT_THREADS), n), FLAT_THREADS, 0, stream>>>(to, from, (int)rows,
                                                                                                            columns);
    else if (columns <= NARROW)
        transpose_few_columns<<<dim3((unsigned)ceil_div(rows, FLAT_THREADS), n), FLAT_THREADS, 0, stream>>>(to, from, rows,
                                                                                                            (int)columns);
    else
        transpose_squares<<<dim3((unsigned)ceil_div(columns, SIDE), (unsigned)ceil_div(rows, SIDE), n), dim3(SIDE, HIGH), 0,
                            stream>>>(to, from, rows, columns);
    return cudaGetLastError();
}

/* f(to, from) with the pointers in their types. */
template <typename F> static cudaError_t by_types(void *to, prle_dtype to_type, const void *from, prle_dtype from_type, F f)
{
    using half = __nv_bfloat16;

    if (to_type == PRLE_BF16)
        return from_type == PRLE_BF16 ? f((half *)to, (const half *)from) : f((half *)to, (const float *)from);
    return from_type == PRLE_BF16 ? f((float *)to, (const half *)from) : f((float *)to, (const float *)from);
}

cudaError_t prle_transpose_cuda(void *to, prle_dtype to_type, const void *from, prle_dtype from_type, int64_t count, int64_t rows,
                                int64_t columns, cudaStream_t stream)
{
    return by_types(to, to_type, from, from_type, [=](auto *d, auto *s) {
        cudaError_t error = cudaSuccess;
        for (int64_t at = 0; at < count && error == cudaSuccess; at += MOST_MATRICES)
            error = transpose(d + at * rows * columns, s + at * rows * columns, at_most(count - at, MOST_MATRICES), rows, columns,
                              stream);
        return error;
    });
}

enum { PER_THREAD = 4 };

template <typename D, typename S> static __global__ void convert(D *to, const S *from, int64_t n)
{
    const int64_t whole = n / PER_THREAD;
    float v[PER_THREAD];

    for (int64_t i = flat_first(); i < whole; i += flat_step()) {
        load(v, from + i * PER_THREAD);
        store(to + i * PER_THREAD, v);
    }
    for (int64_t i = whole * PER_THREAD + flat_first(); i < n; i += flat_step())
        narrow(to[i], widen(from[i]));
}

template <typename D, typename S> static __global__ void convert_one_by_one(D *to, const S *from, int64_t n)
{
    for (int64_t i = flat_first(); i < n; i += flat_step())
        narrow(to[i], widen(from[i]));
}

cudaError_t prle_convert_cuda(void *to, prle_dtype to_type, const void *from, prle_dtype from_type, int64_t n,
                              cudaStream_t stream)
{
    if (to_type == from_type)
        return cudaMemcpyAsync(to, from, (size_t)n * prle_dtype_bytes(to_type), cudaMemcpyDeviceToDevice, stream);
    return by_types(to, to_type, from, from_type, [=](auto *d, auto *s) {
        if (aligned_16(to) && aligned_16(from)) /* master weights begin anywhere */
            convert<<<flat_blocks(n / PER_THREAD), FLAT_THREADS, 0, stream>>>(d, s, n);
        else
            convert_one_by_one<<<flat_blocks(n), FLAT_THREADS, 0, stream>>>(d, s, n);
        return cudaGetLastError();
    });
}
