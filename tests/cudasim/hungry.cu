/* hungry.cu - kernels that ask for more registers than there are, and one that does not, for kernels.py. Never run. */
#include <cuda_runtime.h>

/* N values that must all be held at a time. */
template <int N> __device__ static void hold(float *o)
{
    float v[N], sum = 0;
#pragma unroll
    for (int i = 0; i < N; i++)
        v[i] = o[i * 1024 + threadIdx.x];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < N; i++)
        sum += v[i] * o[(N - i) * 1024 - threadIdx.x];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < N; i++)
        o[i * 1024 + threadIdx.x] = v[i] * sum;
}

__global__ void unbounded(float *o) { hold<96>(o); }                        /* a block of 1,024 threads cannot be launched */
__global__ void __launch_bounds__(1024) spilling(float *o) { hold<96>(o); } /* its 64 registers do not do */
__global__ void __launch_bounds__(256) bounded(float *o) { hold<96>(o); }
__global__ void indexed(float *o, int k) /* an array in memory: no register has a number that is not known */
{
    float v[32];
    for (int i = 0; i < 32; i++)
        v[i * k & 31] = o[i];
    o[threadIdx.x] = v[threadIdx.x & 31];
}
