/* bugs.cu - planted mistakes, and beside each the same thing done right. `bugs NAME` does one; test_cudasim.sh knows what the
 * simulator must say of it. */
#include <cstdio>
#include <cstring>
#include <cuda_runtime.h>

static int wrong_result; /* what the process ends with */

static float *device(int n) /* n floats of zeros */
{
    float *p = nullptr;
    cudaMalloc((void **)&p, n * sizeof(float));
    cudaMemset(p, 0, n * sizeof(float));
    return p;
}

template <class Kernel, class... Args> static void run(Kernel kernel, int blocks, int threads, Args... args)
{
    float *o = device(256);
    kernel<<<blocks, threads>>>(o, args...);
    cudaDeviceSynchronize();
    cudaFree(o);
}

/* ---- shared memory ---- */

__global__ void shared_no_barrier(float *o)
{
    __shared__ float s[64];
    s[threadIdx.x] = (float)threadIdx.x;
    o[threadIdx.x] = s[63 - threadIdx.x];
}
__global__ void shared_barrier(float *o)
{
    __shared__ float s[64];
    s[threadIdx.x] = (float)threadIdx.x;
    __syncthreads();
    o[threadIdx.x] = s[63 - threadIdx.x];
}
__global__ void warp_no_sync(float *o) /* relies on lanes in lockstep */
{
    __shared__ float s[32];
    s[threadIdx.x] = (float)threadIdx.x;
    o[threadIdx.x] = s[31 - threadIdx.x];
}
__global__ void warp_sync(float *o)
{
    __shared__ float s[32];
    s[threadIdx.x] = (float)threadIdx.x;
    __syncwarp();
    o[threadIdx.x] = s[31 - threadIdx.x];
}
__global__ void read_then_write(float *o, int k)
{
    __shared__ float s[64];
    s[threadIdx.x] = 1;
    __syncthreads();
    const float v = s[(threadIdx.x + k) & 63];
    s[threadIdx.x] = v + 1;
    __syncthreads();
    o[threadIdx.x] = s[threadIdx.x];
}
__global__ void read_barrier_write(float *o, int k)
{
    __shared__ float s[64];
    s[threadIdx.x] = 1;
    __syncthreads();
    const float v = s[(threadIdx.x + k) & 63];
    __syncthreads();
    s[threadIdx.x] = v + 1;
    __syncthreads();
    o[threadIdx.x] = s[threadIdx.x];
}
__global__ void shared_unwritten(float *o)
{
    __shared__ float s[64];
    if (threadIdx.x != 0)
        s[threadIdx.x] = 1;
    __syncthreads();
    o[threadIdx.x] = s[threadIdx.x];
}
__global__ void shared_past_end(float *o, int k)
{
    __shared__ float s[32];
    s[threadIdx.x & 31] = 1;
    __syncthreads();
    o[threadIdx.x] = s[(threadIdx.x + k) % 64];
}

/* ---- barriers and warps ---- */

__global__ void two_barriers(float *o)
{
    if (threadIdx.x < 32) {
        o[threadIdx.x] = 1;
        __syncthreads();
        o[threadIdx.x] = 2;
    } else {
        o[threadIdx.x] = 3;
        __syncthreads();
        o[threadIdx.x] = 4;
    }
}
__global__ void return_before_barrier(float *o)
{
    if (threadIdx.x < 32)
        return;
    __syncthreads();
    o[threadIdx.x] = 1;
}
__global__ void absent_lanes(float *o) /* lanes 16 to 31 never come */
{
    float v = (float)threadIdx.x;
    if (threadIdx.x < 16)
        v += __shfl_down_sync(0xffffffffu, v, 8);
    o[threadIdx.x] = v;
}
__global__ void named_lanes(float *o)
{
    float v = (float)threadIdx.x;
    if (threadIdx.x < 16)
        v += __shfl_down_sync(0xffffu, v, 8, 16);
    o[threadIdx.x] = v;
}
__global__ void endless(float *o)
{
    while (*(volatile float *)o == 0)
        ;
}

/* ---- global memory ---- */

__global__ void sum_without_atomics(float *o) { o[0] += (float)threadIdx.x; }
__global__ void sum_with_atomics(float *o) { atomicAdd(&o[0], (float)threadIdx.x); }
__global__ void blocks_collide(float *o)
{
    if (threadIdx.x == 0)
        o[0] = (float)blockIdx.x;
}
__global__ void blocks_apart(float *o)
{
    if (threadIdx.x == 0)
        o[blockIdx.x] = (float)blockIdx.x;
}
__global__ void neighbour_in_place(float *o) { o[threadIdx.x] = o[threadIdx.x + 1] + 1; }
__global__ void own_in_place(float *o) { o[threadIdx.x] = o[threadIdx.x] + 1; }
__global__ void bytes_side_by_side(float *o) { ((unsigned char *)o)[threadIdx.x] = 1; }
__global__ void past_end(float *o) { o[threadIdx.x + 200] = 1; }
__global__ void misaligned(float *o) { ((float2 *)(o + 1))[threadIdx.x] = make_float2(1, 2); }
__global__ void copy(float *to, const float *from) { to[threadIdx.x] = from[threadIdx.x]; }

static void unwritten()
{
    float *a = nullptr, *o = device(64);
    cudaMalloc((void **)&a, 64 * sizeof(float));
    copy<<<1, 64>>>(o, a);
    cudaDeviceSynchronize();
    cudaFree(a);
    cudaFree(o);
}

static void after_free()
{
    float *a = device(64), *o = device(64);
    cudaFree(a);
    copy<<<1, 64>>>(o, a);
    cudaDeviceSynchronize();
    cudaFree(o);
}

static void host_pointer()
{
    static float a[64];
    float *o = device(64);
    copy<<<1, 64>>>(o, a);
    cudaDeviceSynchronize();
    cudaFree(o);
}

/* ---- the host ---- */

static void host_reads_device()
{
    float *a = device(64);
    printf("%f\n", (double)a[0]);
}

static void leak() { device(64); }

static void freed_twice()
{
    float *a = device(64);
    cudaFree(a);
    cudaFree(a);
}

static void wrong_direction()
{
    static float h[64];
    float *a = device(64);
    cudaMemcpy(h, a, sizeof h, cudaMemcpyHostToDevice);
}

static void copy_past_end()
{
    static float h[65];
    float *a = device(64);
    cudaMemcpy(a, h, sizeof h, cudaMemcpyHostToDevice);
}

struct Pinned {
    float *host = nullptr, *a = device(64);
    cudaStream_t stream, other;
    cudaEvent_t event;
    Pinned()
    {
        cudaMallocHost((void **)&host, 64 * sizeof(float));
        cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
        cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
        cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
        memset(host, 0, 64 * sizeof(float));
        cudaDeviceSynchronize();
    }
    ~Pinned()
    {
        cudaStreamDestroy(stream);
        cudaStreamDestroy(other);
        cudaEventDestroy(event);
        cudaFreeHost(host);
        cudaFree(a);
    }
};

static void pinned_reused(bool wait)
{
    Pinned p;
    cudaMemcpyAsync(p.a, p.host, 64 * sizeof(float), cudaMemcpyHostToDevice, p.stream);
    if (wait)
        cudaStreamSynchronize(p.stream);
    p.host[0] = 1;
    cudaStreamSynchronize(p.stream);
}

static void result_not_waited(bool wait)
{
    Pinned p;
    own_in_place<<<1, 64, 0, p.stream>>>(p.a);
    cudaMemcpyAsync(p.host, p.a, 64 * sizeof(float), cudaMemcpyDeviceToHost, p.stream);
    if (wait)
        cudaStreamSynchronize(p.stream);
    const bool right = p.host[0] == 1;
    cudaStreamSynchronize(p.stream);
    wrong_result = !right;
}

/* The second stream copies what the first has not computed yet: no crash, a wrong number. */
static void streams_not_ordered(bool order)
{
    Pinned p;
    own_in_place<<<1, 64, 0, p.stream>>>(p.a);
    if (order) {
        cudaEventRecord(p.event, p.stream);
        cudaStreamWaitEvent(p.other, p.event, 0);
    }
    cudaMemcpyAsync(p.host, p.a, 64 * sizeof(float), cudaMemcpyDeviceToHost, p.other);
    cudaStreamSynchronize(p.other);
    const bool right = p.host[0] == 1;
    cudaStreamSynchronize(p.stream);
    wrong_result = !right;
}

static void never_waited()
{
    Pinned *p = new Pinned;
    own_in_place<<<1, 64, 0, p->stream>>>(p->a);
}

static void too_many_threads() { run(own_in_place, 1, 2048); }

__global__ void dynamic(float *o)
{
    extern __shared__ float s[];
    s[threadIdx.x] = 1;
    o[threadIdx.x] = s[threadIdx.x];
}
static void shared_not_allowed(bool allow)
{
    float *o = device(256);
    if (allow)
        cudaFuncSetAttribute((const void *)dynamic, cudaFuncAttributeMaxDynamicSharedMemorySize, 65536);
    dynamic<<<1, 64, 65536>>>(o);
    cudaDeviceSynchronize();
    cudaFree(o);
}

/* ---- captured graphs ---- */

static void graph_allocates()
{
    Pinned p;
    cudaGraph_t graph;
    float *late = nullptr;
    cudaStreamBeginCapture(p.stream, cudaStreamCaptureModeThreadLocal);
    cudaMalloc((void **)&late, 256);
    cudaStreamEndCapture(p.stream, &graph);
    cudaGraphDestroy(graph);
}

static void graph_waits()
{
    Pinned p;
    cudaGraph_t graph;
    cudaStreamBeginCapture(p.stream, cudaStreamCaptureModeThreadLocal);
    own_in_place<<<1, 64, 0, p.stream>>>(p.a);
    cudaStreamSynchronize(p.stream);
    cudaStreamEndCapture(p.stream, &graph);
    cudaGraphDestroy(graph);
}

static void graph_not_joined(bool join)
{
    Pinned p;
    cudaGraph_t graph;
    cudaEvent_t back;
    cudaEventCreateWithFlags(&back, cudaEventDisableTiming);
    cudaStreamBeginCapture(p.stream, cudaStreamCaptureModeThreadLocal);
    cudaEventRecord(p.event, p.stream);
    cudaStreamWaitEvent(p.other, p.event, 0);
    own_in_place<<<1, 64, 0, p.other>>>(p.a);
    if (join) {
        cudaEventRecord(back, p.other);
        cudaStreamWaitEvent(p.stream, back, 0);
    }
    cudaStreamEndCapture(p.stream, &graph);
    cudaGraphDestroy(graph);
    cudaEventDestroy(back);
}

static void graph_pageable(bool pinned)
{
    static float h[64];
    Pinned p;
    cudaGraph_t graph;
    cudaStreamBeginCapture(p.stream, cudaStreamCaptureModeThreadLocal);
    cudaMemcpyAsync(p.a, pinned ? p.host : h, sizeof h, cudaMemcpyHostToDevice, p.stream);
    cudaStreamEndCapture(p.stream, &graph);
    cudaGraphDestroy(graph);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
#define DO(what, ...)                                                                                                            \
    if (strcmp(name, what) == 0) {                                                                                               \
        __VA_ARGS__;                                                                                                             \
        return wrong_result;                                                                                                     \
    }
    DO("shared_no_barrier", run(shared_no_barrier, 1, 64))
    DO("shared_barrier", run(shared_barrier, 1, 64))
    DO("warp_no_sync", run(warp_no_sync, 1, 32))
    DO("warp_sync", run(warp_sync, 1, 32))
    DO("read_then_write", run(read_then_write, 1, 64, 33))
    DO("read_barrier_write", run(read_barrier_write, 1, 64, 33))
    DO("shared_unwritten", run(shared_unwritten, 1, 64))
    DO("shared_past_end", run(shared_past_end, 1, 64, 3))
    DO("two_barriers", run(two_barriers, 1, 64))
    DO("return_before_barrier", run(return_before_barrier, 1, 64))
    DO("absent_lanes", run(absent_lanes, 1, 32))
    DO("named_lanes", run(named_lanes, 1, 32))
    DO("endless", run(endless, 1, 1))
    DO("sum_without_atomics", run(sum_without_atomics, 1, 64))
    DO("sum_with_atomics", run(sum_with_atomics, 1, 64))
    DO("blocks_collide", run(blocks_collide, 2, 32))
    DO("blocks_apart", run(blocks_apart, 2, 32))
    DO("neighbour_in_place", run(neighbour_in_place, 1, 64))
    DO("own_in_place", run(own_in_place, 1, 64))
    DO("bytes_side_by_side", run(bytes_side_by_side, 1, 64))
    DO("past_end", run(past_end, 1, 64))
    DO("misaligned", run(misaligned, 1, 32))
    DO("unwritten", unwritten())
    DO("after_free", after_free())
    DO("host_pointer", host_pointer())
    DO("host_reads_device", host_reads_device())
    DO("leak", leak())
    DO("freed_twice", freed_twice())
    DO("wrong_direction", wrong_direction())
    DO("copy_past_end", copy_past_end())
    DO("pinned_reused", pinned_reused(false))
    DO("pinned_waited", pinned_reused(true))
    DO("result_not_waited", result_not_waited(false))
    DO("result_waited", result_not_waited(true))
    DO("streams_not_ordered", streams_not_ordered(false))
    DO("streams_ordered", streams_not_ordered(true))
    DO("never_waited", never_waited())
    DO("too_many_threads", too_many_threads())
    DO("shared_not_allowed", shared_not_allowed(false))
    DO("shared_allowed", shared_not_allowed(true))
    DO("graph_allocates", graph_allocates())
    DO("graph_waits", graph_waits())
    DO("graph_not_joined", graph_not_joined(false))
    DO("graph_joined", graph_not_joined(true))
    DO("graph_pageable", graph_pageable(false))
    DO("graph_pinned", graph_pageable(true))
    fprintf(stderr, "bugs: what is '%s'?\n", name);
    return 2;
}
