/* libraries.c - cuDNN graphs, cuBLAS products and NCCL sums as a program writes them, each right and each with a planted
 * mistake: libraries NAME; those that begin with `sum` under mpirun -n 2. */
#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <math.h>
#include <mpi.h>
#include <nccl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef cudnnBackendDescriptor_t descriptor;

#define CHECK(e)                                                                                                                 \
    do {                                                                                                                         \
        const int code = (int)(e);                                                                                               \
        if (code != 0) {                                                                                                         \
            fprintf(stderr, "%s: %d\n", #e, code);                                                                               \
            exit(1);                                                                                                             \
        }                                                                                                                        \
    } while (0)

static float random_value(void)
{
    static uint32_t state = 1;

    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / (float)(1 << 24) - 0.5F;
}

static float *device_copy(const float *host, size_t n)
{
    void *p = NULL;

    CHECK(cudaMalloc(&p, n * sizeof(float)));
    if (host != NULL)
        CHECK(cudaMemcpy(p, host, n * sizeof(float), cudaMemcpyHostToDevice));
    return p;
}

/* ---- cuDNN ---- */

static descriptor make(cudnnBackendDescriptorType_t type)
{
    descriptor d;

    CHECK(cudnnBackendCreateDescriptor(type, &d));
    return d;
}

static void set(descriptor d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n, const void *value)
{
    CHECK(cudnnBackendSetAttribute(d, name, type, n, value));
}

static void set_child(descriptor d, cudnnBackendAttributeName_t name, descriptor value)
{
    set(d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static descriptor channels_last(int64_t id, const int64_t dim[4])
{
    const int64_t stride[4] = {dim[1] * dim[2] * dim[3], 1, dim[3] * dim[1], dim[1]}, alignment = 16;
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    descriptor d = make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);

    set(d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dim);
    set(d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, stride);
    set(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    set(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    CHECK(cudnnBackendFinalize(d));
    return d;
}

static descriptor convolution_of(int64_t pad)
{
    const int64_t two = 2, pads[2] = {pad, pad}, ones[2] = {1, 1};
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    descriptor d = make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);

    set(d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &two);
    set(d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pads);
    set(d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pads);
    set(d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, ones);
    set(d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, ones);
    CHECK(cudnnBackendFinalize(d));
    return d;
}

static descriptor this_device(void)
{
    const int32_t id = 0;
    descriptor d = make(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);

    set(d, CUDNN_ATTR_DEVICEPROP_DEVICE_ID, CUDNN_TYPE_INT32, 1, &id);
    CHECK(cudnnBackendFinalize(d));
    return d;
}

static descriptor plan_of(descriptor op)
{
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    descriptor device = this_device(), graph = make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR),
               heuristic = make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR), engine = make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR),
               plan = make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    int64_t n = 0;

    set_child(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, op);
    CHECK(cudnnBackendFinalize(graph));
    set_child(heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    set(heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    set_child(heuristic, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device);
    CHECK(cudnnBackendFinalize(heuristic));
    CHECK(cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &engine));
    set_child(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, engine);
    set_child(plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device);
    CHECK(cudnnBackendFinalize(plan));
    return plan;
}

/* What is done wrong. */
typedef struct conv_mistakes {
    bool workspace, output, unwritten, pointer, alignment, unfinished, destroyed, changed;
} conv_mistakes;

static void execute(descriptor plan, float *x, float *w, float *y, conv_mistakes m)
{
    const int64_t ids[3] = {1, m.pointer ? 7 : 2, 3};
    void *const pointers[3] = {x, w, y};
    void *workspace = NULL;
    int64_t n = 0, n_bytes = 0;
    cudnnHandle_t handle;
    descriptor pack = make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);

    CHECK(cudnnCreate(&handle));
    CHECK(cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n, &n_bytes));
    if (m.workspace && n_bytes == 0) {
        fprintf(stderr, "the plan takes no workspace: this mistake cannot be planted\n");
        exit(3);
    }
    if (n_bytes > 0)
        CHECK(cudaMalloc(&workspace, (size_t)(m.workspace ? n_bytes - 1 : n_bytes)));
    set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3, ids);
    set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, pointers);
    set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    if (!m.unfinished)
        CHECK(cudnnBackendFinalize(pack));
    if (m.changed)
        set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    if (m.destroyed)
        CHECK(cudnnBackendDestroyDescriptor(pack));
    CHECK(cudnnBackendExecute(handle, plan, pack));
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaFree(workspace));
    CHECK(cudnnDestroy(handle));
}

enum { N = 2, C = 8, H = 6, K = 16, R = 3, X = N * C * H * H, W = K * C * R * R, Y = N * K * H * H };

/* y, dx or dw of a 3 x 3 convolution with padding 1, channels last, in double. */
static void by_hand(int way, const float *x, const float *w, const float *y, double *out)
{
    for (int at = 0; at < N * H * H * K * C * R * R; at++) {
        const int s = at % R, r = at / R % R, c = at / (R * R) % C, k = at / (R * R * C) % K, q = at / (R * R * C * K) % H,
                  p = at / (R * R * C * K * H) % H, n = at / (R * R * C * K * H * H), h = p + r - 1, v = q + s - 1;
        if (h < 0 || h >= H || v < 0 || v >= H)
            continue;
        const int xi = ((n * H + h) * H + v) * C + c, wi = ((k * R + r) * R + s) * C + c, yi = ((n * H + p) * H + q) * K + k;
        if (way == 0)
            out[yi] += (double)x[xi] * (double)w[wi];
        else if (way == 1)
            out[xi] += (double)y[yi] * (double)w[wi];
        else
            out[wi] += (double)y[yi] * (double)x[xi];
    }
}

static descriptor convolution_op(int way, const int64_t y_dim[4])
{
    static const cudnnBackendDescriptorType_t types[3] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                                                          CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                                                          CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR};
    static const cudnnBackendAttributeName_t names[3][6] = {
        {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
        {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
        {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA}};
    const float one = 1, zero = 0;
    descriptor op = make(types[way]);

    set_child(op, names[way][0], channels_last(1, (const int64_t[4]){N, C, H, H}));
    set_child(op, names[way][1], channels_last(2, (const int64_t[4]){K, C, R, R}));
    set_child(op, names[way][2], channels_last(3, y_dim));
    set_child(op, names[way][3], convolution_of(1));
    set(op, names[way][4], CUDNN_TYPE_FLOAT, 1, &one);
    set(op, names[way][5], CUDNN_TYPE_FLOAT, 1, &zero);
    CHECK(cudnnBackendFinalize(op));
    return op;
}

static int convolutions(int way, conv_mistakes m)
{
    const int n_out = way == 0 ? Y : way == 1 ? X : W;
    float *x = calloc(X, sizeof *x), *w = calloc(W, sizeof *w), *y = calloc(Y, sizeof *y),
          *out = calloc((size_t)n_out, sizeof *out);
    double *exact = calloc((size_t)n_out, sizeof *exact), worst = 0;

    for (int i = 0; i < X; i++)
        x[i] = random_value();
    for (int i = 0; i < W; i++)
        w[i] = random_value();
    for (int i = 0; i < Y; i++)
        y[i] = random_value();
    float *dx = device_copy(way == 1 || m.unwritten ? NULL : x, X), *dw = device_copy(way == 2 ? NULL : w, W),
          *dy = device_copy(way == 0 ? NULL : y, (size_t)(m.output ? Y - 1 : Y));
    execute(plan_of(convolution_op(way, (const int64_t[4]){N, K, H, H})), m.alignment ? dx + 1 : dx, dw, dy, m);
    CHECK(cudaMemcpy(out, way == 0 ? dy : way == 1 ? dx : dw, (size_t)n_out * sizeof *out, cudaMemcpyDeviceToHost));
    by_hand(way, x, w, y, exact);
    for (int i = 0; i < n_out; i++)
        worst = fabs((double)out[i] - exact[i]) <= worst ? worst : fabs((double)out[i] - exact[i]);
    CHECK(cudaFree(dx));
    CHECK(cudaFree(dw));
    CHECK(cudaFree(dy));
    free(x);
    free(w);
    free(y);
    free(out);
    free(exact);
    printf("error %.2g\n", worst);
    return !(worst <= 1e-5);
}

/* The output is one row too high: cuDNN itself refuses. */
static int wrong_shape(void)
{
    convolution_op(0, (const int64_t[4]){N, K, H + 1, H});
    return 0;
}

/* ---- cuBLAS ---- */

typedef struct product_mistakes {
    bool leading, operand, workspace, host, freed;
} product_mistakes;

static int product(product_mistakes m)
{
    enum { M = 5, NN = 7, KK = 3 };
    float a[M * KK], b[KK * NN], c[M * NN];
    const float one = 1, zero = 0;
    double worst = 0;
    cublasHandle_t handle;

    for (int i = 0; i < M * KK; i++)
        a[i] = random_value();
    for (int i = 0; i < KK * NN; i++)
        b[i] = random_value();
    float *da = device_copy(a, (size_t)(m.operand ? M * KK - 1 : M * KK)), *db = device_copy(b, KK * NN),
          *dc = device_copy(NULL, M * NN);
    CHECK(cublasCreate(&handle));
    if (m.workspace)
        CHECK(cublasSetWorkspace(handle, (char *)db + 4, 64));
    if (m.freed)
        CHECK(cudaFree(da));
    CHECK(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_T, M, NN, KK, &one, m.host ? a : da, CUDA_R_32F, m.leading ? M - 1 : M, db,
                       CUDA_R_32F, NN, &zero, dc, CUDA_R_32F, M, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
    CHECK(cudaMemcpy(c, dc, sizeof c, cudaMemcpyDeviceToHost));
    for (int i = 0; i < M; i++) {
        for (int j = 0; j < NN; j++) {
            double sum = 0;
            for (int k = 0; k < KK; k++)
                sum += (double)a[k * M + i] * (double)b[k * NN + j];
            worst = fabs((double)c[j * M + i] - sum) <= worst ? worst : fabs((double)c[j * M + i] - sum);
        }
    }
    CHECK(cublasDestroy(handle));
    CHECK(cudaFree(da));
    CHECK(cudaFree(db));
    CHECK(cudaFree(dc));
    return !(worst <= 1e-6);
}

/* ---- NCCL ---- */

typedef struct sum_mistakes {
    bool counts, kinds, early, unwritten, absent;
} sum_mistakes;

static int sums(sum_mistakes m)
{
    enum { COUNT = 100001 }; /* more than one chunk */
    int rank = 0, size = 0;
    ncclUniqueId id;
    ncclComm_t comm;
    ncclResult_t state = ncclInProgress;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    cudaStream_t stream;

    MPI_Init(NULL, NULL);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (rank == 0)
        CHECK(ncclGetUniqueId(&id));
    MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
    config.blocking = 0;
    if (m.early && rank == 1)
        sleep(2); /* so that the other one is early for certain */
    const ncclResult_t begun = ncclCommInitRankConfig(&comm, size, id, rank, &config);
    if (begun != ncclSuccess && begun != ncclInProgress)
        CHECK(begun);
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    while (state == ncclInProgress && !m.early)
        CHECK(ncclCommGetAsyncError(comm, &state));
    if (!m.early)
        CHECK(state);
    float *host = calloc(COUNT, sizeof *host);
    for (int i = 0; i < COUNT; i++)
        host[i] = (float)(i % 1000 + rank);
    float *d = device_copy(m.unwritten ? NULL : host, COUNT);
    if (m.kinds && rank == 1)
        CHECK(ncclBroadcast(d, d, COUNT, ncclFloat32, 0, comm, stream));
    for (int turn = m.absent ? rank : 0; turn < 2; turn++)
        CHECK(ncclAllReduce(d, d, (size_t)(COUNT - (m.counts ? rank : 0)), ncclFloat32, ncclSum, comm, stream));
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaMemcpy(host, d, COUNT * sizeof *host, cudaMemcpyDeviceToHost));
    int wrong = 0;
    for (int i = 0; i < COUNT; i++)
        wrong += host[i] != (float)(size * (size * (i % 1000) + size * (size - 1) / 2));
    CHECK(ncclCommDestroy(comm));
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaFree(d));
    free(host);
    MPI_Finalize();
    return wrong != 0;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";

#define DO(what, call)                                                                                                           \
    if (strcmp(name, what) == 0)                                                                                                 \
        return call;
    DO("forward", convolutions(0, (conv_mistakes){0}))
    DO("data_gradient", convolutions(1, (conv_mistakes){0}))
    DO("filter_gradient", convolutions(2, (conv_mistakes){0}))
    DO("small_workspace", convolutions(1, (conv_mistakes){.workspace = true})) /* on the A100 of devices/ its plan takes one */
    DO("small_output", convolutions(0, (conv_mistakes){.output = true}))
    DO("unwritten_input", convolutions(0, (conv_mistakes){.unwritten = true}))
    DO("wrong_shape", wrong_shape())
    DO("no_pointer", convolutions(0, (conv_mistakes){.pointer = true}))
    DO("misaligned_tensor", convolutions(0, (conv_mistakes){.alignment = true}))
    DO("not_finalized", convolutions(0, (conv_mistakes){.unfinished = true}))
    DO("set_when_finalized", convolutions(0, (conv_mistakes){.changed = true}))
    DO("destroyed_descriptor", convolutions(0, (conv_mistakes){.destroyed = true}))
    DO("product", product((product_mistakes){0}))
    DO("product_leading", product((product_mistakes){.leading = true}))
    DO("product_operand", product((product_mistakes){.operand = true}))
    DO("product_workspace", product((product_mistakes){.workspace = true}))
    DO("product_host", product((product_mistakes){.host = true}))
    DO("product_freed", product((product_mistakes){.freed = true}))
    DO("sum", sums((sum_mistakes){0}))
    DO("sum_counts_differ", sums((sum_mistakes){.counts = true}))
    DO("sum_kinds_differ", sums((sum_mistakes){.kinds = true}))
    DO("sum_too_early", sums((sum_mistakes){.early = true}))
    DO("sum_one_absent", sums((sum_mistakes){.absent = true}))
    DO("sum_unwritten", sums((sum_mistakes){.unwritten = true}))
    fprintf(stderr, "libraries: what is '%s'?\n", name);
    return 2;
}
