/* features.cu - what kernels are written with, each against the same arithmetic on the host. Runs under cudasim; on a GPU it
 * runs as well. */
#include <cmath>
#include <cooperative_groups.h>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <vector>

static const int N = 256;

template <class T> struct Buffer {
    T *device = nullptr;
    std::vector<T> host;
    explicit Buffer(int n) : host(n)
    {
        cudaMalloc((void **)&device, n * sizeof(T));
        cudaMemset(device, 0, n * sizeof(T));
    }
    ~Buffer() { cudaFree(device); }
    void up() { cudaMemcpy(device, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice); }
    void down() { cudaMemcpy(host.data(), device, host.size() * sizeof(T), cudaMemcpyDeviceToHost); }
};

static float input(int i) { return (float)(i * 37 % 256) / 256.0F; }
static int integer(int i) { return (i - 100) * 7919; }

struct Floats : Buffer<float> {
    explicit Floats(int n = N) : Buffer<float>(n)
    {
        for (int i = 0; i < n; i++)
            host[i] = input(i);
        up();
    }
};

struct Integers : Buffer<int> {
    Integers() : Buffer<int>(N)
    {
        for (int i = 0; i < N; i++)
            host[i] = integer(i);
        up();
    }
};

static double worst(double a, double b) { return b <= a ? a : b; /* NaN is worst */ }

/* ---- float4 loads, read-only loads ---- */
__global__ void vectors(const float4 *a, float4 *o)
{
    const float4 v = __ldg(a + threadIdx.x);
    o[threadIdx.x] = make_float4(v.x + 1, v.y * 2, fmaxf(v.z, .5F), rsqrtf(v.w + 1));
}
static double test_vectors()
{
    Floats a(4 * N), o(4 * N);
    double e = 0;
    vectors<<<1, N>>>((const float4 *)a.device, (float4 *)o.device);
    o.down();
    for (int i = 0; i < N; i++) {
        const float *x = &a.host[4 * i], *y = &o.host[4 * i];
        e = worst(e, fabs(y[0] - x[0] - 1) + fabs(y[1] - 2 * x[1]) + fabs(y[2] - fmaxf(x[2], .5F)) +
                         fabs(y[3] - 1 / sqrtf(x[3] + 1)));
    }
    return e;
}

/* ---- the mathematical functions ---- */
__host__ __device__ static float functions_of(float x)
{
    return expf(x) + logf(x + 1) + tanhf(x) + sinf(x * 10) + powf(x + .1F, 2.5F) + erff(x) + floorf(x * 7) + fmodf(x * 9, 2.F) +
           sqrtf(x) + x / 3.F + cosf(x * 1000.F) + log1pf(x) + rintf(x * 9) + roundf(x * 5);
}
__global__ void functions(const float *a, float *o) { o[threadIdx.x] = functions_of(a[threadIdx.x]); }
static double test_functions()
{
    Floats a, o;
    double e = 0;
    functions<<<1, N>>>(a.device, o.device);
    o.down();
    for (int i = 0; i < N; i++)
        e = worst(e, fabs(o.host[i] - functions_of(a.host[i])));
    return e;
}

/* ---- half and bfloat16, in pairs and alone ---- */
__global__ void halves(const __half2 *a, __half2 *o)
{
    const __half2 v = a[threadIdx.x];
    o[threadIdx.x] = __hmax2(__hfma2(v, v, __float2half2_rn(.25F)), __hsub2(v, h2exp(v)));
}
static double test_halves()
{
    Buffer<__half> a(2 * N), o(2 * N);
    double e = 0;
    for (int i = 0; i < 2 * N; i++)
        a.host[i] = __float2half(input(i));
    a.up();
    halves<<<1, N>>>((const __half2 *)a.device, (__half2 *)o.device);
    o.down();
    for (int i = 0; i < 2 * N; i++) {
        const float f = __half2float(a.host[i]);
        e = worst(e, fabs(__half2float(o.host[i]) - fmaxf(f * f + .25F, f - expf(f))));
    }
    return e;
}

__global__ void bfloats(const __nv_bfloat162 *a, __nv_bfloat162 *o, __nv_bfloat16 *single)
{
    const __nv_bfloat162 v = a[threadIdx.x];
    o[threadIdx.x] = __hadd2(__hmul2(v, v), v);
    single[threadIdx.x] = __float2bfloat16(__bfloat162float(v.x) * 3 + __bfloat162float(v.y));
}
static double test_bfloats()
{
    Buffer<__nv_bfloat16> a(2 * N), o(2 * N), single(N);
    double e = 0;
    for (int i = 0; i < 2 * N; i++)
        a.host[i] = __float2bfloat16(input(i));
    a.up();
    bfloats<<<1, N>>>((const __nv_bfloat162 *)a.device, (__nv_bfloat162 *)o.device, single.device);
    o.down();
    single.down();
    for (int i = 0; i < 2 * N; i++) {
        const float f = __bfloat162float(a.host[i]);
        e = worst(e, fabs(__bfloat162float(o.host[i]) - (f * f + f)) / (1 + f));
    }
    for (int i = 0; i < N; i++) {
        const float exact = __bfloat162float(a.host[2 * i]) * 3 + __bfloat162float(a.host[2 * i + 1]);
        e = worst(e, fabs(__bfloat162float(single.host[i]) - __bfloat162float(__float2bfloat16(exact))));
    }
    return e;
}

/* ---- integers ---- */
__global__ void integers(const int *a, int *o)
{
    const int x = a[threadIdx.x];
    const unsigned u = (unsigned)x;
    o[threadIdx.x] = x / 7 + x % 13 + (int)(u / 11u) + __popc(u) + __clz(x) + (int)__brev(u) + __mulhi(x, 12345) + (x >> 3) +
                     (int)(u >> 5) + min(x, 77) + abs(x) + (int)(((long long)x * x) % 1000003) +
                     (int)__byte_perm(u, 0x01020304, 0x5140) + __ffs(x) + (int)__funnelshift_l(u, (unsigned)x, 7);
}
static int integers_of(int x)
{
    const unsigned u = (unsigned)x;
    unsigned reversed = 0;
    for (int b = 0; b < 32; b++)
        reversed |= (u >> b & 1) << (31 - b);
    const unsigned bytes = (u & 255) | 4u << 8 | (u >> 8 & 255) << 16 | 3u << 24; /* selector 0x5140 */
    const unsigned funnel = (unsigned)((((unsigned long long)u << 32 | u) << 7) >> 32);
    return (int)((unsigned)(x / 7) + (unsigned)(x % 13) + u / 11u + (unsigned)__builtin_popcount(u) +
                 (unsigned)(u != 0 ? __builtin_clz(u) : 32) + reversed + (unsigned)(((long long)x * 12345) >> 32) +
                 (unsigned)(x >> 3) + (u >> 5) + (unsigned)(x < 77 ? x : 77) + (unsigned)(x < 0 ? -x : x) +
                 (unsigned)(((long long)x * x) % 1000003) + bytes + (unsigned)__builtin_ffs(x) + funnel);
}
static double test_integers()
{
    Integers a, o;
    double e = 0;
    integers<<<1, N>>>(a.device, o.device);
    o.down();
    for (int i = 0; i < N; i++)
        e += o.host[i] != integers_of(a.host[i]);
    return e;
}

/* ---- an array of the thread's own, reached by a computed index ---- */
__host__ __device__ static float shuffled_by(const float *a, int at, int k)
{
    float t[16];
    for (int j = 0; j < 16; j++)
        t[j] = a[(at + j) % N];
    for (int j = 0; j < 16; j++) {
        const int m = (j * k) & 15;
        const float s = t[j];
        t[j] = t[m];
        t[m] = s;
    }
    return t[k & 15] + t[(k + 3) & 15];
}
__global__ void local_array(const float *a, float *o, int k) { o[threadIdx.x] = shuffled_by(a, (int)threadIdx.x, k); }
static double test_local_array()
{
    Floats a, o;
    double e = 0;
    local_array<<<1, N>>>(a.device, o.device, 5);
    o.down();
    for (int i = 0; i < N; i++)
        e = worst(e, fabs(o.host[i] - shuffled_by(a.host.data(), i, 5)));
    return e;
}

/* ---- votes, block-wide counts, reductions and matches of a warp ---- */
__global__ void votes(const float *a, int *o)
{
    const int p = a[threadIdx.x] > .5F;
    const unsigned ballot = __ballot_sync(~0u, p);
    o[threadIdx.x] = __popc(ballot) + 1000 * __any_sync(~0u, p) + 2000 * __all_sync(~0u, p) + 10000 * __syncthreads_count(p) +
                     __syncthreads_or(p);
}
static double test_votes()
{
    Floats a;
    Integers o;
    double e = 0;
    int total = 0;
    votes<<<1, N>>>(a.device, o.device);
    o.down();
    for (int i = 0; i < N; i++)
        total += a.host[i] > .5F;
    for (int i = 0; i < N; i++) {
        int n = 0;
        for (int j = 0; j < 32; j++)
            n += a.host[i / 32 * 32 + j] > .5F;
        e += o.host[i] != n + 1000 * (n > 0) + 2000 * (n == 32) + 10000 * total + (total > 0);
    }
    return e;
}

__global__ void warps(const int *a, int *o)
{
    o[threadIdx.x] = __reduce_add_sync(~0u, a[threadIdx.x]) + (int)__match_any_sync(~0u, a[threadIdx.x] & 3);
}
static double test_warps()
{
    Integers a, o;
    double e = 0;
    warps<<<1, N>>>(a.device, o.device);
    o.down();
    for (int i = 0; i < N; i++) {
        unsigned sum = 0, same = 0;
        for (int j = 0; j < 32; j++) {
            const int other = a.host[i / 32 * 32 + j];
            sum += (unsigned)other;
            same |= (unsigned)((other & 3) == (a.host[i] & 3)) << j;
        }
        e += o.host[i] != (int)(sum + same);
    }
    return e;
}

/* ---- sums by shuffles, shared memory and barriers; cooperative groups ---- */
__global__ void block_sum(const float *a, float *o)
{
    __shared__ float part[N / 32];
    float v = a[blockIdx.x * N + threadIdx.x];
    for (int s = 16; s > 0; s >>= 1)
        v += __shfl_down_sync(~0u, v, s);
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int w = 1; w < N / 32; w++)
            v += part[w];
        o[blockIdx.x] = v;
    }
}
static double test_block_sum()
{
    Floats a(4 * N), o(4);
    double e = 0;
    block_sum<<<4, N>>>(a.device, o.device);
    o.down();
    for (int b = 0; b < 4; b++) {
        double sum = 0;
        for (int i = 0; i < N; i++)
            sum += a.host[b * N + i];
        e = worst(e, fabs(sum - o.host[b]));
    }
    return e;
}

__global__ void groups(const float *a, float *o)
{
    auto tile = cooperative_groups::tiled_partition<32>(cooperative_groups::this_thread_block());
    float v = a[threadIdx.x];
    for (unsigned s = tile.size() / 2; s > 0; s >>= 1)
        v += tile.shfl_xor(v, s);
    o[threadIdx.x] = v;
}
static double test_groups()
{
    Floats a, o;
    double e = 0;
    groups<<<1, N>>>(a.device, o.device);
    o.down();
    for (int i = 0; i < N; i++) {
        double sum = 0;
        for (int j = 0; j < 32; j++)
            sum += a.host[i / 32 * 32 + j];
        e = worst(e, fabs(o.host[i] - sum));
    }
    return e;
}

/* ---- atomics ---- */
__global__ void atomics(const float *a, int *histogram, float *most, unsigned long long *count, double *sum)
{
    atomicAdd(&histogram[(int)(a[threadIdx.x] * 15.99F)], 1);
    int old = atomicAdd((int *)most, 0), assumed;
    do {
        assumed = old;
        old = atomicCAS((int *)most, assumed, __float_as_int(fmaxf(a[threadIdx.x], __int_as_float(assumed))));
    } while (assumed != old);
    atomicAdd(count, 3ull);
    atomicAdd(sum, 0.5);
}
static double test_atomics()
{
    Floats a, most(1);
    Buffer<int> histogram(16);
    Buffer<unsigned long long> count(1);
    Buffer<double> sum(1);
    double e = 0;
    int expected[16] = {0};
    float greatest = 0;
    atomics<<<1, N>>>(a.device, histogram.device, most.device, count.device, sum.device);
    histogram.down();
    most.down();
    count.down();
    sum.down();
    for (int i = 0; i < N; i++) {
        expected[(int)(a.host[i] * 15.99F)]++;
        greatest = fmaxf(greatest, a.host[i]);
    }
    for (int i = 0; i < 16; i++)
        e += histogram.host[i] != expected[i];
    return e + (most.host[0] != greatest) + (count.host[0] != 3ull * N) + (sum.host[0] != .5 * N);
}

/* ---- branches by a table ---- */
__host__ __device__ static int switched(int x)
{
    switch (x & 7) {
    case 0: return 5;
    case 1: return x * 3;
    case 2: return x ^ 77;
    case 3: return 9 - x;
    case 4: return x / 3;
    case 5: return 100 + x;
    case 6: return -x;
    default: return x << 2;
    }
}
__global__ void branches(const int *a, int *o) { o[threadIdx.x] = switched(a[threadIdx.x]); }
static double test_branches()
{
    Integers a, o;
    double e = 0;
    branches<<<1, N>>>(a.device, o.device);
    o.down();
    for (int i = 0; i < N; i++)
        e += o.host[i] != switched(a.host[i]);
    return e;
}

/* ---- constant and device variables, set from the host ---- */
__constant__ float weights[9] = {1, 2, 1, 2, 4, 2, 1, 2, 1};
__constant__ float scale;
__device__ int visits;
__global__ void constants(const float *a, float *o)
{
    float s = 0;
    for (int j = 0; j < 9; j++)
        s += weights[j] * a[(threadIdx.x + j) % N];
    o[threadIdx.x] = scale * s;
    atomicAdd(&visits, 1);
}
static double test_constants()
{
    static const float w[9] = {1, 2, 1, 2, 4, 2, 1, 2, 1};
    Floats a, o;
    double e = 0;
    int n = 0;
    void *at = nullptr;
    const float two = 2;
    cudaMemcpyToSymbol(scale, &two, sizeof two);
    constants<<<1, N>>>(a.device, o.device);
    o.down();
    cudaGetSymbolAddress(&at, visits);
    cudaMemcpy(&n, at, sizeof n, cudaMemcpyDeviceToHost);
    for (int i = 0; i < N; i++) {
        float s = 0;
        for (int j = 0; j < 9; j++)
            s += w[j] * a.host[(i + j) % N];
        e = worst(e, fabs(o.host[i] - 2 * s));
    }
    return e + (n != N);
}

/* ---- a structure as parameter, doubles, long integers, conversions ---- */
struct Parameters {
    int n;
    float s;
    double d;
    const float *p;
};
__global__ void structures(Parameters q, float *o) { o[threadIdx.x] = q.p[threadIdx.x] * q.s + (float)q.d + (float)q.n; }
static double test_structures()
{
    Floats a, o;
    double e = 0;
    structures<<<1, N>>>(Parameters{3, 2.F, .5, a.device}, o.device);
    o.down();
    for (int i = 0; i < N; i++)
        e = worst(e, fabs(o.host[i] - (a.host[i] * 2 + 3.5F)));
    return e;
}

__global__ void doubles(const float *a, double *o)
{
    const double x = a[threadIdx.x];
    o[threadIdx.x] = x / 3 + sqrt(x) + exp(x) + (double)(long long)(x * 1e6);
}
static double test_doubles()
{
    Floats a;
    Buffer<double> o(N);
    double e = 0;
    doubles<<<1, N>>>(a.device, o.device);
    o.down();
    for (int i = 0; i < N; i++) {
        const double x = a.host[i];
        e = worst(e, fabs(o.host[i] - (x / 3 + sqrt(x) + exp(x) + (double)(long long)(x * 1e6))));
    }
    return e;
}

__host__ __device__ static float converted(float x)
{
    return x * (float)(signed char)(x * 100) + (float)(unsigned char)(x * 255.F) + (float)(short)(x * -3000.F) +
           (float)(unsigned)(x * 4e9F);
}
__global__ void conversions(const float *a, float *o)
{
    const float x = a[threadIdx.x];
    o[threadIdx.x] = converted(x) + (isnan(x) || isinf(x) || signbit(x) ? 1.F : 0.F) + __half2float(__float2half_rz(x)) -
                     __half2float(__float2half_ru(x));
}
static double test_conversions()
{
    Floats a, o;
    double e = 0;
    conversions<<<1, N>>>(a.device, o.device);
    o.down();
    for (int i = 0; i < N; i++)
        e = worst(e, fabs(o.host[i] - converted(a.host[i])) / (1 + converted(a.host[i]))); /* inputs are exact halves */
    return e;
}

/* ---- dynamic shared memory, a tile turned round ---- */
__global__ void transpose(const float *a, float *o, int n)
{
    extern __shared__ float tile[];
    const int x = blockIdx.x * 16 + threadIdx.x, y = blockIdx.y * 16 + threadIdx.y;
    if (x < n && y < n)
        tile[threadIdx.y * 17 + threadIdx.x] = a[y * n + x];
    __syncthreads();
    const int u = blockIdx.y * 16 + threadIdx.x, v = blockIdx.x * 16 + threadIdx.y;
    if (u < n && v < n)
        o[v * n + u] = tile[threadIdx.x * 17 + threadIdx.y];
}
static double test_transpose()
{
    const int n = 37;
    Floats a(n * n), o(n * n);
    double e = 0;
    transpose<<<dim3(3, 3), dim3(16, 16), 16 * 17 * sizeof(float)>>>(a.device, o.device, n);
    o.down();
    for (int y = 0; y < n; y++)
        for (int x = 0; x < n; x++)
            e = worst(e, fabs(o.host[x * n + y] - a.host[y * n + x]));
    return e;
}

/* ---- streams, events, a graph that is captured once and run three times ---- */
__global__ void add(float *o, const float *a, float by) { o[threadIdx.x] = a[threadIdx.x] + by; }

static double test_graph()
{
    Floats a, x, y, o;
    cudaStream_t main_stream, side;
    cudaEvent_t fork, join;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    size_t n_nodes = 0;
    double e = 0;
    cudaStreamCreateWithFlags(&main_stream, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&fork, cudaEventDisableTiming);
    cudaEventCreateWithFlags(&join, cudaEventDisableTiming);
    cudaStreamBeginCapture(main_stream, cudaStreamCaptureModeThreadLocal);
    add<<<1, N, 0, main_stream>>>(x.device, a.device, 1);
    cudaEventRecord(fork, main_stream);
    cudaStreamWaitEvent(side, fork, 0);
    add<<<1, N, 0, side>>>(y.device, x.device, 1);
    cudaEventRecord(join, side);
    cudaStreamWaitEvent(main_stream, join, 0);
    add<<<1, N, 0, main_stream>>>(a.device, y.device, 1); /* a grows by 3 each time */
    cudaStreamEndCapture(main_stream, &graph);
    cudaGraphGetNodes(graph, nullptr, &n_nodes);
    cudaGraphInstantiate(&exec, graph, 0);
    for (int i = 0; i < 3; i++)
        cudaGraphLaunch(exec, main_stream);
    cudaStreamSynchronize(main_stream);
    cudaMemcpy(o.host.data(), a.device, N * sizeof(float), cudaMemcpyDeviceToHost);
    for (int i = 0; i < N; i++)
        e = worst(e, fabs(o.host[i] - (a.host[i] + 9)));
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    cudaEventDestroy(fork);
    cudaEventDestroy(join);
    cudaStreamDestroy(main_stream);
    cudaStreamDestroy(side);
    return e + (n_nodes != 3);
}

static const struct {
    const char *name;
    double (*run)();
    double tolerance;
} tests[] = {
    {"vectors", test_vectors, 1e-6},
    {"functions", test_functions, 2e-5},
    {"halves", test_halves, 2e-3},
    {"bfloats", test_bfloats, 1e-2},
    {"integers", test_integers, 0},
    {"local_array", test_local_array, 0},
    {"votes", test_votes, 0},
    {"warps", test_warps, 0},
    {"block_sum", test_block_sum, 1e-4},
    {"groups", test_groups, 1e-5},
    {"atomics", test_atomics, 0},
    {"branches", test_branches, 0},
    {"constants", test_constants, 1e-5},
    {"structures", test_structures, 1e-6},
    {"doubles", test_doubles, 1e-9},
    {"conversions", test_conversions, 1e-6},
    {"transpose", test_transpose, 0},
    {"graph", test_graph, 0},
};

int main()
{
    int failed = 0;

    for (const auto &t : tests) {
        const double e = t.run();
        const bool ok = e <= t.tolerance && cudaGetLastError() == cudaSuccess;
        printf("%-12s error %.3g%s\n", t.name, e, ok ? "" : "  FAILED");
        failed += !ok;
    }
    printf("%d of %zu failed\n", failed, sizeof tests / sizeof *tests);
    return failed != 0;
}
