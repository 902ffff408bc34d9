/* act_cuda.cu - activations, their gradients and sums of two tensors, whatever the layout: element by element. */
#include "core/op/act_math.h"
#include "core/op/util_cuda.cuh"

/* out[i] = f(a[i], b[i]); b NULL: f(a[i], 0). Sixteen bytes at a time while they last. */
template <int N, typename T, typename F> static __global__ void map(T *out, const T *a, const T *b, int64_t n, F f)
{
    const int64_t whole = n / N;

    for (int64_t i = flat_first(); i < whole; i += flat_step()) {
        float x[N], y[N] = {0};
        load(x, a + i * N);
        if (b != NULL)
            load(y, b + i * N);
#pragma unroll
        for (int k = 0; k < N; k++)
            x[k] = f(x[k], y[k]);
        store(out + i * N, x);
    }
    for (int64_t i = whole * N + flat_first(); i < n; i += flat_step())
        narrow(out[i], f(widen(a[i]), b != NULL ? widen(b[i]) : 0));
}

template <typename F>
static cudaError_t map_all(void *out, const void *a, const void *b, int64_t n, prle_dtype dtype, F f, cudaStream_t stream)
{
    return by_element(dtype, aligned_16(out) && aligned_16(a) && aligned_16(b), [=](auto e) {
        using T = typename decltype(e)::type;
        map<decltype(e)::n>
            <<<flat_blocks(n / decltype(e)::n), FLAT_THREADS, 0, stream>>>((T *)out, (const T *)a, (const T *)b, n, f);
        return cudaGetLastError();
    });
}

/* As values, so that a kernel can be made of each. */
struct act_of {
    prle_act_attrs attrs;
    __device__ float operator()(float x, float) const { return act_elem(&attrs, x); }
};

struct slope_of {
    prle_act_attrs attrs;
    __device__ float operator()(float x, float dy) const { return dy * act_elem_grad(&attrs, x); }
};

struct sum_of {
    __device__ float operator()(float a, float b) const { return a + b; }
};

cudaError_t prle_act_cuda(void *y, const void *x, prle_act_attrs act, int64_t n, prle_dtype dtype, cudaStream_t stream)
{
    return map_all(y, x, NULL, n, dtype, act_of{act}, stream);
}

cudaError_t prle_act_backward_cuda(void *dx, const void *x, const void *dy, prle_act_attrs act, int64_t n, prle_dtype dtype,
                                   cudaStream_t stream)
{
    return map_all(dx, x, dy, n, dtype, slope_of{act}, stream);
}

cudaError_t prle_add_cuda(void *y, const void *a, const void *b, int64_t n, prle_dtype dtype, cudaStream_t stream)
{
    return map_all(y, a, b, n, dtype, sum_of{}, stream);
}
