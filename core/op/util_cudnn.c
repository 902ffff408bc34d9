/* util_cudnn.c - see util_cudnn.h. A descriptor is made, given its attributes and finalized; `set` and `finish` keep the first
 * error, so that building reads without a check on every line. */
#include "core/op/util_cudnn.h"

#include <cudnn.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/cache.h"
#include "core/log.h"
#include "core/text.h"

typedef cudnnBackendDescriptor_t descriptor;

enum {
    MAX_OPS = 4,
    MAX_DESCRIPTORS = 32,
    MAX_ENGINES = 64,
    MAX_NOTES = 16,
    CHOICE = 1, /* grows when engines are chosen otherwise: plans kept on disk are made anew */
};

struct prle_cudnn_graph {
    prle_status st;
    prle_text words; /* what it computes: a plan on disk is known by them */
    descriptor owned[MAX_DESCRIPTORS], tensor[PRLE_CUDNN_MAX_TENSORS + 1], op[MAX_OPS];
    int n_owned, n_ops;
};

struct prle_cudnn_plan {
    descriptor plan, engine_config, graph, owned[MAX_DESCRIPTORS]; /* a plan needs what it was made of */
    int n_owned;
    size_t scratch_bytes;
    char name[96];
};

/* ---- descriptors ---- */

static void drop(descriptor d)
{
    if (d != NULL)
        (void)cudnnBackendDestroyDescriptor(d);
}

/* A new one, owned by the graph; NULL after an error. */
static descriptor make(prle_cudnn_graph *g, cudnnBackendDescriptorType_t type)
{
    descriptor d = NULL;

    if (g->st != PRLE_OK)
        return NULL;
    if (g->n_owned == MAX_DESCRIPTORS) {
        g->st = PRLE_FAIL(PRLE_EINVAL, "a cuDNN graph of more than %d descriptors", MAX_DESCRIPTORS);
        return NULL;
    }
    g->st = PRLE_CUDNN_STATUS(cudnnBackendCreateDescriptor(type, &d));
    if (g->st == PRLE_OK)
        g->owned[g->n_owned++] = d;
    return d;
}

static void set(prle_cudnn_graph *g, descriptor d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n,
                const void *value)
{
    if (g->st == PRLE_OK)
        g->st = PRLE_CUDNN_STATUS(cudnnBackendSetAttribute(d, name, type, n, value));
}

static void set_longs(prle_cudnn_graph *g, descriptor d, cudnnBackendAttributeName_t name, int64_t n, const int64_t *values)
{
    set(g, d, name, CUDNN_TYPE_INT64, n, values);
}

static void set_child(prle_cudnn_graph *g, descriptor d, cudnnBackendAttributeName_t name, descriptor child)
{
    set(g, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &child);
}

static void finish(prle_cudnn_graph *g, descriptor d)
{
    if (g->st == PRLE_OK)
        g->st = PRLE_CUDNN_STATUS(cudnnBackendFinalize(d));
}

/* ---- graphs ---- */

prle_status prle_cudnn_graph_create(prle_cudnn_graph **out)
{
    prle_cudnn_graph *g = NULL;

    PRLE_TRY(PRLE_NEW(g, 1));
    *out = g;
    return PRLE_OK;
}

static void drop_all(descriptor *owned, int n)
{
    while (n > 0)
        drop(owned[--n]);
}

void prle_cudnn_graph_destroy(prle_cudnn_graph *g)
{
    if (g == NULL)
        return;
    drop_all(g->owned, g->n_owned);
    prle_text_drop(&g->words);
    prle_free(g);
}

void prle_cudnn_tensor(prle_cudnn_graph *g, int id, prle_dtype dtype, const int64_t dim[4], bool is_virtual)
{
    const int64_t stride[4] = {dim[1] * dim[2] * dim[3], 1, dim[3] * dim[1], dim[1]}, alignment = 16, number = id;
    const cudnnDataType_t type = dtype == PRLE_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    const descriptor d = make(g, CUDNN_BACKEND_TENSOR_DESCRIPTOR);

    set(g, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set_longs(g, d, CUDNN_ATTR_TENSOR_DIMENSIONS, 4, dim);
    set_longs(g, d, CUDNN_ATTR_TENSOR_STRIDES, 4, stride);
    set_longs(g, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, 1, &number);
    set_longs(g, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 1, &alignment);
    set(g, d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    finish(g, d);
    g->tensor[id] = d;
    prle_text_add(&g->words, "tensor %d: %s %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "%s\n", id, prle_dtype_name(dtype),
                  dim[0], dim[1], dim[2], dim[3], is_virtual ? ", virtual" : "");
}

static descriptor geometry(prle_cudnn_graph *g, const prle_conv2d_attrs *a)
{
    const int64_t dims = 2, before[2] = {a->pad_top, a->pad_left}, after[2] = {a->pad_bottom, a->pad_right};
    const int64_t strides[2] = {a->stride, a->stride}, dilations[2] = {1, 1};
    const cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const descriptor d = make(g, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);

    set_longs(g, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 1, &dims);
    set(g, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    set(g, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set_longs(g, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, 2, before);
    set_longs(g, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, 2, after);
    set_longs(g, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, 2, dilations);
    set_longs(g, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, 2, strides);
    finish(g, d);
    return d;
}

static void push_op(prle_cudnn_graph *g, descriptor op)
{
    finish(g, op);
    if (g->st == PRLE_OK && g->n_ops == MAX_OPS)
        g->st = PRLE_FAIL(PRLE_EINVAL, "a cuDNN graph of more than %d operations", MAX_OPS);
    if (g->st == PRLE_OK)
        g->op[g->n_ops++] = op;
}

void prle_cudnn_convolution(prle_cudnn_graph *g, prle_op_pass pass, int x, int w, int y, const prle_conv2d_attrs *attrs)
{
    static const cudnnBackendDescriptorType_t types[PRLE_N_PASSES] = {
        [PRLE_PASS_FORWARD] = CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
        [PRLE_PASS_BACKWARD] = CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
        [PRLE_PASS_WEIGHTS] = CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR};
    static const struct {
        cudnnBackendAttributeName_t x, w, y, geometry, alpha, beta;
    } names[PRLE_N_PASSES] = {
        [PRLE_PASS_FORWARD] = {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
        [PRLE_PASS_BACKWARD] = {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
        [PRLE_PASS_WEIGHTS] = {
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA}};
    const float one = 1, zero = 0;
    const descriptor how = geometry(g, attrs), op = make(g, types[pass]);

    set_child(g, op, names[pass].x, g->tensor[x]);
    set_child(g, op, names[pass].w, g->tensor[w]);
    set_child(g, op, names[pass].y, g->tensor[y]);
    set_child(g, op, names[pass].geometry, how);
    set(g, op, names[pass].alpha, CUDNN_TYPE_FLOAT, 1, &one);
    set(g, op, names[pass].beta, CUDNN_TYPE_FLOAT, 1, &zero);
    push_op(g, op);
    prle_text_add(&g->words, "convolution, pass %d, of %d %d %d: stride %d, padding %d %d %d %d\n", (int)pass, x, w, y,
                  (int)attrs->stride, (int)attrs->pad_top, (int)attrs->pad_left, (int)attrs->pad_bottom, (int)attrs->pad_right);
}

/* b < 0: of one tensor only. */
static void pointwise(prle_cudnn_graph *g, cudnnPointwiseMode_t mode, int a, int b, int y)
{
    const cudnnDataType_t arithmetic = CUDNN_DATA_FLOAT;
    const descriptor how = make(g, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);

    set(g, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set(g, how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &arithmetic);
    finish(g, how);
    const descriptor op = make(g, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_child(g, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
    set_child(g, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, g->tensor[a]);
    if (b >= 0)
        set_child(g, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, g->tensor[b]);
    set_child(g, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, g->tensor[y]);
    push_op(g, op);
    prle_text_add(&g->words, "pointwise %d of %d %d: %d\n", (int)mode, a, b, y);
}

void prle_cudnn_add(prle_cudnn_graph *g, int a, int b, int y) { pointwise(g, CUDNN_POINTWISE_ADD, a, b, y); }
void prle_cudnn_relu(prle_cudnn_graph *g, int a, int y) { pointwise(g, CUDNN_POINTWISE_RELU_FWD, a, -1, y); }

/* ---- plans ---- */

/* The GPU that is described, or this process's. */
static descriptor device_of(prle_cudnn_graph *g, const char *json)
{
    const prle_cuda *gpu = NULL;
    const descriptor d = make(g, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);

    if (json != NULL)
        set(g, d, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, (int64_t)strlen(json), json);
    else if (g->st == PRLE_OK && (g->st = prle_cuda_get(&gpu)) == PRLE_OK)
        set(g, d, CUDNN_ATTR_DEVICEPROP_HANDLE, CUDNN_TYPE_HANDLE, 1, &gpu->dnn);
    finish(g, d);
    return d;
}

static descriptor graph_of(prle_cudnn_graph *g)
{
    const descriptor d = make(g, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);

    set(g, d, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, g->n_ops, g->op);
    finish(g, d);
    return d;
}

/* A number or a list that cuDNN knows of one of its descriptors. */
static int64_t ask(descriptor d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t room, void *values)
{
    int64_t n = 0;

    return cudnnBackendGetAttribute(d, name, type, room, &n, values) == CUDNN_STATUS_SUCCESS ? n : 0;
}

/* What an engine is like. */
typedef struct engine_notes {
    int64_t index;
    bool tensor_cores, varying, approximate, compiled;
    bool kept; /* on disk, by an earlier process */
} engine_notes;

static prle_status notes_read(descriptor config, engine_notes *out)
{
    cudnnBackendNumericalNote_t numerical[MAX_NOTES];
    cudnnBackendBehaviorNote_t behaviour[MAX_NOTES];
    descriptor engine = NULL;

    *out = (engine_notes){.index = -1};
    PRLE_CUDNN(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine));
    (void)ask(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &engine);
    (void)ask(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &out->index);
    const int64_t n = ask(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, MAX_NOTES, numerical);
    for (int64_t i = 0; i < n; i++) {
        out->tensor_cores = out->tensor_cores || numerical[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
        out->varying = out->varying || numerical[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
        out->approximate =
            out->approximate || numerical[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS ||
            numerical[i] == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION || numerical[i] == CUDNN_NUMERICAL_NOTE_FFT ||
            numerical[i] == CUDNN_NUMERICAL_NOTE_WINOGRAD || numerical[i] == CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4 ||
            numerical[i] == CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6 || numerical[i] == CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13;
    }
    const int64_t m = ask(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, MAX_NOTES, behaviour);
    for (int64_t i = 0; i < m; i++)
        out->compiled = out->compiled || behaviour[i] == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
    drop(engine);
    return PRLE_OK;
}

/* What became of the engines that the heuristics named. */
typedef struct search {
    descriptor device, graph;
    const prle_cudnn_wishes *wishes;
    int n_tried;
    char why[192]; /* the last was refused */
} search;

/* The engine sums as is wished; else s->why. */
static bool engine_fits(search *s, const engine_notes *notes)
{
    const prle_cudnn_wishes *w = s->wishes;
    const bool varies = w->deterministic && notes->varying, rounds = w->exact && (notes->tensor_cores || notes->approximate);

    if (varies || rounds)
        snprintf(s->why, sizeof s->why, "engine %d %s", (int)notes->index,
                 varies ? "is not deterministic" : "is not exact in f32");
    return !varies && !rounds;
}

/* Of a finalized plan; names it. */
static bool scratch_fits(search *s, const engine_notes *notes, prle_cudnn_plan *plan)
{
    int64_t scratch = 0;

    (void)ask(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &scratch);
    plan->scratch_bytes = (size_t)scratch;
    snprintf(plan->name, sizeof plan->name, "engine %d%s%s%s%s", (int)notes->index, notes->tensor_cores ? ", tensor cores" : "",
             notes->varying ? ", varying sums" : "", notes->compiled ? ", compiled here" : "", notes->kept ? ", kept" : "");
    if (plan->scratch_bytes > s->wishes->most_scratch_bytes)
        snprintf(s->why, sizeof s->why, "engine %d wants %lld MiB of scratch", (int)notes->index, (long long)scratch >> 20);
    return plan->scratch_bytes <= s->wishes->most_scratch_bytes;
}

static prle_status plan_begin(const search *s, prle_cudnn_plan *plan)
{
    PRLE_CUDNN(cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan->plan));
    PRLE_CUDNN(
        cudnnBackendSetAttribute(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &s->device));
    return PRLE_OK;
}

static void plan_drop(prle_cudnn_plan *plan)
{
    drop(plan->plan);
    plan->plan = NULL;
}

/* Takes the engine if it will do; the plan owns the configuration then. */
static prle_status engine_try(search *s, descriptor config, prle_cudnn_plan *plan, bool *taken)
{
    engine_notes notes;

    *taken = false;
    s->n_tried++;
    PRLE_TRY(notes_read(config, &notes));
    if (!engine_fits(s, &notes))
        return PRLE_OK;
    PRLE_TRY(plan_begin(s, plan));
    PRLE_CUDNN(
        cudnnBackendSetAttribute(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config));
    const cudnnStatus_t status = cudnnBackendFinalize(plan->plan);
    if (status != CUDNN_STATUS_SUCCESS)
        snprintf(s->why, sizeof s->why, "engine %d: %s", (int)notes.index, cudnnGetErrorString(status));
    *taken = status == CUDNN_STATUS_SUCCESS && scratch_fits(s, &notes, plan);
    if (!*taken)
        plan_drop(plan);
    return PRLE_OK;
}

/* The engines of one heuristic, best first; each has its descriptor, which the caller drops. */
static prle_status engines_ask(const search *s, cudnnBackendHeurMode_t mode, descriptor engines[MAX_ENGINES], int64_t *n)
{
    descriptor heuristic = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(PRLE_CUDNN_STATUS(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristic)));
    PRLE_TRY_OUT(PRLE_CUDNN_STATUS(
        cudnnBackendSetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &s->graph)));
    PRLE_TRY_OUT(
        PRLE_CUDNN_STATUS(cudnnBackendSetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode)));
    PRLE_TRY_OUT(PRLE_CUDNN_STATUS(
        cudnnBackendSetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &s->device)));
    if (cudnnBackendFinalize(heuristic) != CUDNN_STATUS_SUCCESS) /* it knows nothing of such a graph */
        goto out;
    for (int i = 0; i < MAX_ENGINES; i++)
        PRLE_TRY_OUT(PRLE_CUDNN_STATUS(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &engines[i])));
    *n = ask(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, MAX_ENGINES, engines);
out:
    drop(heuristic);
    return st;
}

static prle_status engine_find(search *s, cudnnBackendHeurMode_t mode, prle_cudnn_plan *plan)
{
    descriptor engines[MAX_ENGINES] = {NULL};
    int64_t n = 0;
    prle_status st = engines_ask(s, mode, engines, &n);
    bool taken = false;

    for (int64_t i = 0; i < n && st == PRLE_OK && !taken; i++) {
        st = engine_try(s, engines[i], plan, &taken);
        if (taken) {
            plan->engine_config = engines[i];
            engines[i] = NULL;
        }
    }
    drop_all(engines, MAX_ENGINES);
    return st;
}

static prle_status plan_find(search *s, prle_cudnn_plan *plan)
{
    PRLE_TRY(engine_find(s, CUDNN_HEUR_MODE_A, plan));
    if (plan->plan == NULL)
        PRLE_TRY(engine_find(s, CUDNN_HEUR_MODE_FALLBACK, plan));
    PRLE_CHECK(plan->plan != NULL, PRLE_ENOTSUP, "cuDNN has no engine for this convolution: %d tried; the last: %s", s->n_tried,
               s->why);
    return PRLE_OK;
}

/* ---- plans on disk: cuDNN writes a plan as text, with the kernels it has compiled, and makes one of it again ---- */

static const char *cache_kind(char text[48])
{
    snprintf(text, 48, "cudnn-%s", prle_cudnn_version());
    return text;
}

/* All that decides a plan, in words. GPUs of one kind share plans. */
static prle_status key_of(const prle_cudnn_graph *g, const prle_cudnn_wishes *w, char **out)
{
    const prle_cuda *gpu = NULL;
    prle_text key = {0};
    int driver = 0;

    PRLE_TRY(g->words.st);
    if (w->device_json != NULL) {
        prle_text_add(&key, "GPU %s\n", w->device_json);
    } else {
        PRLE_TRY(prle_cuda_get(&gpu));
        PRLE_CUDA(cudaDriverGetVersion(&driver));
        prle_text_add(&key, "GPU %s, sm_%d, %d multiprocessors, driver %d\n", gpu->name, gpu->arch, gpu->n_sm, driver);
    }
    prle_text_add(&key, "cuDNN %s, choice %d, deterministic %d, exact %d, scratch %zu\n", prle_cudnn_version(), CHOICE,
                  w->deterministic, w->exact, w->most_scratch_bytes);
    prle_text_add_bytes(&key, g->words.bytes, g->words.n_bytes);
    return prle_text_take(&key, out);
}

/* The plan that an earlier process kept, without asking heuristics or compilers. It has to fulfil the wishes all the same. */
static prle_status plan_load(search *s, const char *key, prle_cudnn_plan *plan)
{
    char kind[48];
    uint8_t *json = NULL;
    size_t n_bytes = 0;
    descriptor config = NULL;
    engine_notes notes;
    prle_status st = PRLE_OK;

    PRLE_TRY(prle_cache_get(cache_kind(kind), key, &json, &n_bytes));
    PRLE_TRY_OUT(plan_begin(s, plan));
    PRLE_TRY_OUT(PRLE_CUDNN_STATUS(cudnnBackendSetAttribute(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                                            CUDNN_TYPE_CHAR, (int64_t)n_bytes, json)));
    PRLE_TRY_OUT(PRLE_CUDNN_STATUS(cudnnBackendFinalize(plan->plan)));
    PRLE_TRY_OUT(PRLE_CUDNN_STATUS(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &config)));
    (void)ask(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config);
    PRLE_TRY_OUT(notes_read(config, &notes));
    notes.kept = true;
    PRLE_CHECK_OUT(engine_fits(s, &notes) && scratch_fits(s, &notes, plan), PRLE_EFORMAT, "the plan on disk: %s", s->why);
out:
    if (st != PRLE_OK)
        plan_drop(plan);
    drop(config);
    prle_free(json);
    return st;
}

static prle_status plan_keep(const prle_cudnn_plan *plan, const char *key)
{
    const cudnnBackendAttributeName_t name = CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION;
    char kind[48], *json = NULL;
    int64_t n = 0;
    prle_status st = PRLE_OK;

    PRLE_CUDNN(cudnnBackendGetAttribute(plan->plan, name, CUDNN_TYPE_CHAR, 0, &n, NULL));
    PRLE_TRY(PRLE_NEW(json, n));
    PRLE_TRY_OUT(PRLE_CUDNN_STATUS(cudnnBackendGetAttribute(plan->plan, name, CUDNN_TYPE_CHAR, n, &n, json)));
    PRLE_TRY_OUT(prle_cache_put(cache_kind(kind), key, json, (size_t)n));
out:
    prle_free(json);
    return st;
}

/* From the disk, or found and put there. What is wrong with the disk is no error. */
static prle_status plan_make(search *s, const char *key, prle_cudnn_plan *plan)
{
    const prle_status loaded = plan_load(s, key, plan);

    if (loaded == PRLE_OK)
        return PRLE_OK;
    if (loaded != PRLE_ENOTSUP)
        prle_log(PRLE_LOG_DEBUG, "op", "plans kept on disk: %s: made anew", prle_error_message());
    PRLE_TRY(plan_find(s, plan));
    if (plan_keep(plan, key) != PRLE_OK)
        prle_log(PRLE_LOG_DEBUG, "op", "plans kept on disk: %s", prle_error_message());
    return PRLE_OK;
}

prle_status prle_cudnn_plan_create(prle_cudnn_plan **out, prle_cudnn_graph *g, const prle_cudnn_wishes *wishes)
{
    search s = {.device = device_of(g, wishes->device_json), .wishes = wishes, .why = "no engine was named"};
    prle_cudnn_plan *plan = NULL;
    char *key = NULL;
    prle_status st = PRLE_OK;

    s.graph = graph_of(g);
    PRLE_TRY_OUT(g->st);
    PRLE_TRY_OUT(key_of(g, wishes, &key));
    PRLE_TRY_OUT(PRLE_NEW(plan, 1));
    PRLE_TRY_OUT(plan_make(&s, key, plan));
    memcpy(plan->owned, g->owned, sizeof g->owned);
    plan->n_owned = g->n_owned;
    g->n_owned = 0;
    *out = plan;
    plan = NULL;
out:
    prle_free(key);
    prle_cudnn_plan_destroy(plan);
    return st;
}

void prle_cudnn_plan_destroy(prle_cudnn_plan *plan)
{
    if (plan == NULL)
        return;
    drop(plan->plan);
    drop(plan->engine_config);
    drop_all(plan->owned, plan->n_owned);
    prle_free(plan);
}

size_t prle_cudnn_plan_scratch(const prle_cudnn_plan *plan) { return plan->scratch_bytes; }
const char *prle_cudnn_plan_name(const prle_cudnn_plan *plan) { return plan->name; }

prle_status prle_cudnn_plan_run(const prle_cudnn_plan *plan, int n, const int64_t *ids, void *const *pointers, void *scratch)
{
    const prle_cuda *gpu = NULL;
    descriptor pack = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(prle_cuda_get(&gpu));
    PRLE_CUDNN(cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack));
    PRLE_TRY_OUT(PRLE_CUDNN_STATUS(cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n, ids)));
    PRLE_TRY_OUT(PRLE_CUDNN_STATUS(
        cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, n, pointers)));
    PRLE_TRY_OUT(
        PRLE_CUDNN_STATUS(cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &scratch)));
    PRLE_TRY_OUT(PRLE_CUDNN_STATUS(cudnnBackendFinalize(pack)));
    PRLE_TRY_OUT(PRLE_CUDNN_STATUS(cudnnBackendExecute(gpu->dnn, plan->plan, pack)));
out:
    drop(pack);
    return st;
}
