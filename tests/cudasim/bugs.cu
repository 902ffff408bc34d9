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
__global__ void shared_all_written(float *o)
{
    __shared__ float s[64];
    s[threadIdx.x] = 1;
    __syncthreads();
    o[threadIdx.x] = s[threadIdx.x];
}
__global__ void shared_within(float *o, int k)
{
    __shared__ float s[32];
    s[threadIdx.x & 31] = 1;
    __syncthreads();
    o[threadIdx.x] = s[(threadIdx.x + k) % 32];
}
__global__ void shared_two_writers(float *o)
{
    __shared__ float s[32];
    s[threadIdx.x / 2] = (float)threadIdx.x;
    __syncthreads();
    o[threadIdx.x] = s[threadIdx.x / 2];
}
__global__ void shared_one_writer(float *o)
{
    __shared__ float s[32];
    if (threadIdx.x % 2 == 0)
        s[threadIdx.x / 2] = (float)threadIdx.x;
    __syncthreads();
    o[threadIdx.x] = s[threadIdx.x / 2];
}
__global__ void local_past_end(float *o, int k) /* k is 40 */
{
    float v[32];
    for (int i = 0; i < 32; i++)
        v[i * 7 % 32] = o[i];
    o[32 + threadIdx.x] = v[threadIdx.x + k];
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
__global__ void one_barrier(float *o)
{
    o[threadIdx.x] = threadIdx.x < 32 ? 1 : 3;
    __syncthreads();
    o[threadIdx.x] = threadIdx.x < 32 ? 2 : 4;
}
__global__ void return_before_barrier(float *o)
{
    if (threadIdx.x < 32)
        return;
    __syncthreads();
    o[threadIdx.x] = 1;
}
__global__ void return_after_barrier(float *o)
{
    __syncthreads();
    if (threadIdx.x < 32)
        return;
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
__global__ void shuffle_outside_mask(float *o) /* lane 8 to 15 read from 16 to 23 */
{
    float v = (float)threadIdx.x;
    if (threadIdx.x < 16)
        v += __shfl_down_sync(0xffffu, v, 8);
    o[threadIdx.x] = v;
}
__global__ void mask_lacks_caller(float *o) { o[threadIdx.x] = (float)__any_sync(0xfffeu, 1); }
__global__ void mask_has_caller(float *o) { o[threadIdx.x] = (float)__any_sync(0xffffffffu, 1); }
__global__ void warp_waits_for_block(float *o) /* half of the warp waits for the warp, the other half for the block */
{
    if (threadIdx.x < 16)
        __syncwarp(0xffffffffu);
    else
        __syncthreads();
    o[threadIdx.x] = 1;
}
__global__ void trap(float *o)
{
    if (o[0] == 0)
        __trap();
}
__global__ void no_trap(float *o)
{
    if (o[0] != 0)
        __trap();
}
__global__ void barrier_by_number(float *o)
{
    asm volatile("bar.sync 1;");
    o[threadIdx.x] = 1;
}
__global__ void unknown_instruction(float *o)
{
    asm volatile("cp.async.wait_all;");
    o[threadIdx.x] = 1;
}
__global__ void endless(float *o)
{
    while (*(volatile float *)o == 0)
        ;
}
__global__ void ends(float *o)
{
    while (*(volatile float *)o != 0)
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
__global__ void mirror(float *o) /* reads what another thread wrote, or will */
{
    o[threadIdx.x] = 1;
    o[threadIdx.x + 64] = o[63 - threadIdx.x];
}
__global__ void mirror_barrier(float *o)
{
    o[threadIdx.x] = 1;
    __syncthreads();
    o[threadIdx.x + 64] = o[63 - threadIdx.x];
}
__global__ void own_in_place(float *o) { o[threadIdx.x] = o[threadIdx.x] + 1; }
__global__ void bytes_side_by_side(float *o) { ((unsigned char *)o)[threadIdx.x] = 1; }
__global__ void past_end(float *o) { o[threadIdx.x + 200] = 1; }
__global__ void to_end(float *o) { o[threadIdx.x + 192] = 1; }
__global__ void aligned(float *o) { ((float2 *)(o + 2))[threadIdx.x] = make_float2(1, 2); }
__global__ void __launch_bounds__(64) bounded(float *o) { o[threadIdx.x] = 1; }
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

/* Beside the three above: memory of the device, written, alive. */
static void written()
{
    float *a = device(64), *o = device(64);
    copy<<<1, 64>>>(o, a);
    cudaDeviceSynchronize();
    cudaFree(a);
    cudaFree(o);
}

static void pinned_pointer()
{
    float *a = nullptr, *o = device(64);
    cudaMallocHost((void **)&a, 64 * sizeof(float));
    copy<<<1, 64>>>(o, a);
    cudaDeviceSynchronize();
    cudaFreeHost(a);
    cudaFree(o);
}

/* ---- the host ---- */

static void host_reads_device()
{
    float *a = device(64);
    printf("%f\n", (double)a[0]);
}

static void leak() { device(64); }

static void leak_pinned()
{
    void *p = nullptr;
    cudaMallocHost(&p, 64);
}

/* Beside all of this part: what is allocated is copied to and from, whole, and freed once. */
static void host_copies_device()
{
    static float h[64];
    float *a = device(64);
    cudaMemcpy(a, h, sizeof h, cudaMemcpyHostToDevice);
    cudaMemcpy(h, a, sizeof h, cudaMemcpyDeviceToHost);
    cudaFree(a);
}

static void freed_by_another()
{
    float *a = device(64);
    cudaFreeHost(a);
}

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

static void waited()
{
    Pinned p;
    own_in_place<<<1, 64, 0, p.stream>>>(p.a);
    cudaStreamSynchronize(p.stream);
}

static void stream_destroyed()
{
    Pinned p;
    cudaStream_t gone;
    cudaStreamCreateWithFlags(&gone, cudaStreamNonBlocking);
    cudaStreamDestroy(gone);
    own_in_place<<<1, 64, 0, gone>>>(p.a);
}

static void too_many_threads() { run(own_in_place, 1, 2048); }
static void beyond_bounds() { run(bounded, 1, 128); }
static void within_bounds() { run(bounded, 1, 64); }

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

/* A stream outside of the capture waits for an event that is part of it. */
static void graph_event_kept(bool fresh)
{
    Pinned p;
    cudaGraph_t graph;
    cudaStreamBeginCapture(p.stream, cudaStreamCaptureModeThreadLocal);
    own_in_place<<<1, 64, 0, p.stream>>>(p.a);
    cudaEventRecord(p.event, p.stream);
    cudaStreamEndCapture(p.stream, &graph);
    if (fresh)
        cudaEventRecord(p.event, p.stream);
    cudaStreamWaitEvent(p.other, p.event, 0);
    cudaStreamSynchronize(p.other);
    cudaGraphDestroy(graph);
}

static void graph_waits_outside()
{
    Pinned p;
    cudaGraph_t graph;
    cudaEventRecord(p.event, p.other);
    cudaStreamBeginCapture(p.stream, cudaStreamCaptureModeThreadLocal);
    cudaStreamWaitEvent(p.stream, p.event, 0);
    own_in_place<<<1, 64, 0, p.stream>>>(p.a);
    cudaStreamEndCapture(p.stream, &graph);
    cudaStreamSynchronize(p.other);
    cudaGraphDestroy(graph);
}

static void graph_in_graph()
{
    Pinned p;
    cudaGraph_t inner, outer;
    cudaGraphExec_t ready;
    cudaStreamBeginCapture(p.stream, cudaStreamCaptureModeThreadLocal);
    own_in_place<<<1, 64, 0, p.stream>>>(p.a);
    cudaStreamEndCapture(p.stream, &inner);
    cudaGraphInstantiate(&ready, inner, 0);
    cudaStreamBeginCapture(p.stream, cudaStreamCaptureModeThreadLocal);
    cudaGraphLaunch(ready, p.stream);
    cudaStreamEndCapture(p.stream, &outer);
    cudaGraphExecDestroy(ready);
    cudaGraphDestroy(inner);
    cudaGraphDestroy(outer);
}

static void many_mistakes()
{
    Pinned p;
    cudaGraph_t graph;
    cudaStreamBeginCapture(p.stream, cudaStreamCaptureModeThreadLocal);
    for (int i = 0; i < 100; i++)
        cudaStreamSynchronize(p.stream);
    cudaStreamEndCapture(p.stream, &graph);
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
    DO("shared_all_written", run(shared_all_written, 1, 64))
    DO("shared_past_end", run(shared_past_end, 1, 32, 3))
    DO("shared_within", run(shared_within, 1, 32, 3))
    DO("shared_two_writers", run(shared_two_writers, 1, 64))
    DO("shared_one_writer", run(shared_one_writer, 1, 64))
    DO("local_past_end", run(local_past_end, 1, 32, 40))
    DO("local_within", run(local_past_end, 1, 32, 0))
    DO("two_barriers", run(two_barriers, 1, 64))
    DO("one_barrier", run(one_barrier, 1, 64))
    DO("return_before_barrier", run(return_before_barrier, 1, 64))
    DO("return_after_barrier", run(return_after_barrier, 1, 64))
    DO("absent_lanes", run(absent_lanes, 1, 32))
    DO("named_lanes", run(named_lanes, 1, 32))
    DO("shuffle_outside_mask", run(shuffle_outside_mask, 1, 32))
    DO("mask_lacks_caller", run(mask_lacks_caller, 1, 32))
    DO("mask_has_caller", run(mask_has_caller, 1, 32))
    DO("warp_waits_for_block", run(warp_waits_for_block, 1, 32))
    DO("trap", run(trap, 1, 32))
    DO("no_trap", run(no_trap, 1, 32))
    DO("barrier_by_number", run(barrier_by_number, 1, 32))
    DO("unknown_instruction", run(unknown_instruction, 1, 32))
    DO("endless", run(endless, 1, 1))
    DO("ends", run(ends, 1, 1))
    DO("sum_without_atomics", run(sum_without_atomics, 1, 64))
    DO("sum_with_atomics", run(sum_with_atomics, 1, 64))
    DO("blocks_collide", run(blocks_collide, 2, 32))
    DO("blocks_apart", run(blocks_apart, 2, 32))
    DO("neighbour_in_place", run(neighbour_in_place, 1, 64))
    DO("mirror", run(mirror, 1, 64))
    DO("mirror_barrier", run(mirror_barrier, 1, 64))
    DO("own_in_place", run(own_in_place, 1, 64))
    DO("bytes_side_by_side", run(bytes_side_by_side, 1, 64))
    DO("past_end", run(past_end, 1, 64))
    DO("to_end", run(to_end, 1, 64))
    DO("misaligned", run(misaligned, 1, 32))
    DO("aligned", run(aligned, 1, 32))
    DO("unwritten", unwritten())
    DO("after_free", after_free())
    DO("host_pointer", host_pointer())
    DO("pinned_pointer", pinned_pointer())
    DO("written", written())
    DO("host_reads_device", host_reads_device())
    DO("host_copies_device", host_copies_device())
    DO("leak", leak())
    DO("leak_pinned", leak_pinned())
    DO("freed_twice", freed_twice())
    DO("freed_by_another", freed_by_another())
    DO("wrong_direction", wrong_direction())
    DO("copy_past_end", copy_past_end())
    DO("pinned_reused", pinned_reused(false))
    DO("pinned_waited", pinned_reused(true))
    DO("result_not_waited", result_not_waited(false))
    DO("result_waited", result_not_waited(true))
    DO("streams_not_ordered", streams_not_ordered(false))
    DO("streams_ordered", streams_not_ordered(true))
    DO("never_waited", never_waited())
    DO("waited", waited())
    DO("stream_destroyed", stream_destroyed())
    DO("too_many_threads", too_many_threads())
    DO("beyond_bounds", beyond_bounds())
    DO("within_bounds", within_bounds())
    DO("shared_not_allowed", shared_not_allowed(false))
    DO("shared_allowed", shared_not_allowed(true))
    DO("graph_allocates", graph_allocates())
    DO("graph_waits", graph_waits())
    DO("graph_not_joined", graph_not_joined(false))
    DO("graph_joined", graph_not_joined(true))
    DO("graph_pageable", graph_pageable(false))
    DO("graph_pinned", graph_pageable(true))
    DO("graph_event_kept", graph_event_kept(false))
    DO("graph_event_fresh", graph_event_kept(true))
    DO("graph_waits_outside", graph_waits_outside())
    DO("graph_in_graph", graph_in_graph())
    DO("many_mistakes", many_mistakes())
    fprintf(stderr, "bugs: what is '%s'?\n", name);
    return 2;
}
