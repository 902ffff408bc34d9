/* cudnn.c - cuDNN's graph API. Every descriptor, heuristic and plan is the real library's, in its deviceless mode, for the GPU
 * that CUDASIM_DEVICE_JSON describes: what it refuses there it refuses on the GPU. Beside it each attribute is kept here, so that
 * cudnnBackendExecute, the one call that needs a device, can be done by plain loops: convolutions and pointwise operations, sums
 * in double, values rounded where a tensor has another type than float. A plan made of its text computes what the text says. */
#include <cudnn.h>
#include <dlfcn.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cudasim/ptx.h" /* number formats */

typedef cudnnBackendDescriptor_t descriptor;

typedef struct attribute {
    struct attribute *next;
    int name;
    int64_t n;
    uint8_t *value;
} attribute;

/** What we know of one of the library's descriptors. */
typedef struct shadow {
    struct shadow *next;
    descriptor key;
    int type;
    bool finalized;
    attribute *attributes;
    descriptor graph;     /* engine configurations, and plans made of text: what they compute */
    struct shadow *parts; /* such plans: the descriptors of that graph, which the library knows nothing of */
} shadow;

enum { BUCKETS = 4096, MAX_DIMS = 8, MAX_OPS = 16 };
static shadow *shadows[BUCKETS];

struct cudnnContext {
    cudaStream_t stream;
};

/* ---- convolutions ---- */

typedef enum direction { FORWARD, DATA, FILTER } direction;

/* Names of the attributes: x, w, y, geometry. */
static const int conv_names[3][4] = {
    {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC},
    {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC},
    {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC}};

static direction conv_direction(int type)
{
    return type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR         ? FORWARD
           : type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR ? DATA
                                                                                  : FILTER;
}

/* ---- the real library ---- */

static void *real(const char *name)
{
    static void *library;

    if (library == NULL)
        library = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
    void *function = library == NULL ? NULL : dlsym(library, name);
    if (function == NULL)
        sim_fatal("the real cuDNN has no %s: %s", name, dlerror());
    return function;
}

typedef cudnnStatus_t (*create_function)(cudnnBackendDescriptorType_t, descriptor *);
typedef cudnnStatus_t (*descriptor_function)(descriptor);
typedef cudnnStatus_t (*set_function)(descriptor, cudnnBackendAttributeName_t, cudnnBackendAttributeType_t, int64_t,
                                      const void *);
typedef cudnnStatus_t (*get_function)(descriptor const, cudnnBackendAttributeName_t, cudnnBackendAttributeType_t, int64_t,
                                      int64_t *, void *);
typedef void (*last_error_function)(char *, size_t);

/* POSIX lets a pointer to data become one to a function; ISO C does not. */
#define REAL(type, name) (*(type *)&(void *){real(name)})

/* ---- shadows ---- */

static shadow **bucket(descriptor d) { return &shadows[((uint64_t)d >> 4) % BUCKETS]; }

static shadow *shadow_of(descriptor d)
{
    for (shadow *s = *bucket(d); s != NULL; s = s->next)
        if (s->key == d)
            return s;
    sim_fatal("cuDNN: %p is no descriptor, or a destroyed one", (void *)d);
}

static const attribute *find(const shadow *s, int name)
{
    for (const attribute *a = s->attributes; a != NULL; a = a->next)
        if (a->name == name)
            return a;
    return NULL;
}

static const attribute *need(const shadow *s, int name)
{
    const attribute *a = find(s, name);

    if (a == NULL)
        sim_fatal("cuDNN: a descriptor of type %d without attribute %d", s->type, name);
    return a;
}

static const int64_t *longs(const shadow *s, int name) { return (const int64_t *)(const void *)need(s, name)->value; }
static int word_of(const shadow *s, int name) { return *(const int *)(const void *)need(s, name)->value; }

static const shadow *child(const shadow *s, int name)
{
    descriptor d;

    memcpy(&d, need(s, name)->value, sizeof d);
    return shadow_of(d);
}

static size_t item_bytes(cudnnBackendAttributeType_t type)
{
    switch (type) {
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
    case CUDNN_TYPE_HANDLE: return 8;
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR: return 1;
    default: return 4;
    }
}

/* key NULL: a descriptor of ours, known by its shadow's address. */
static shadow *shadow_new(descriptor key, int type)
{
    shadow *s = sim_new(sizeof *s);

    *s = (shadow){.key = key != NULL ? key : (descriptor)(void *)s, .type = type};
    shadow **at = bucket(s->key);
    s->next = *at;
    *at = s;
    return s;
}

static void shadow_free(shadow *s)
{
    shadow **at = bucket(s->key);

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    while (s->attributes != NULL) {
        attribute *a = s->attributes;
        s->attributes = a->next;
        free(a->value);
        free(a);
    }
    while (s->parts != NULL) {
        shadow *part = s->parts;
        s->parts = part->parts;
        part->parts = NULL;
        shadow_free(part);
    }
    free(s);
}

SIM_API cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, descriptor *out)
{
    sim_lock();
    const cudnnStatus_t status = REAL(create_function, "cudnnBackendCreateDescriptor")(type, out);
    if (status == CUDNN_STATUS_SUCCESS)
        shadow_new(*out, (int)type);
    sim_unlock();
    return status;
}

SIM_API cudnnStatus_t cudnnBackendDestroyDescriptor(descriptor d)
{
    sim_lock();
    shadow_free(shadow_of(d));
    const cudnnStatus_t status = REAL(descriptor_function, "cudnnBackendDestroyDescriptor")(d);
    sim_unlock();
    return status;
}

static void remember(shadow *s, int name, cudnnBackendAttributeType_t type, int64_t n, const void *value)
{
    const size_t n_bytes = (size_t)n * item_bytes(type);
    attribute *a = sim_new(sizeof *a);

    *a = (attribute){.next = s->attributes, .name = name, .n = n};
    a->value = memcpy(sim_new(n_bytes), value, n_bytes);
    s->attributes = a;
}

/* "The device of this process" becomes the one that is described. */
SIM_API cudnnStatus_t cudnnBackendSetAttribute(descriptor d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                                               int64_t n, const void *value)
{
    const set_function set = REAL(set_function, "cudnnBackendSetAttribute");
    cudnnStatus_t status;

    sim_lock();
    shadow *s = shadow_of(d);
    if (s->finalized)
        sim_report("cuDNN: attribute %d of a finalized descriptor is set", (int)name);
    if (name == CUDNN_ATTR_DEVICEPROP_DEVICE_ID || name == CUDNN_ATTR_DEVICEPROP_HANDLE) {
        const char *json = sim_device_json();
        status = set(d, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, (int64_t)strlen(json), json);
    } else {
        remember(s, (int)name, type, n, value);
        status = set(d, name, type, n, value);
    }
    sim_unlock();
    return status;
}

/* ---- plans made of text ---- */

static const struct {
    const char *word;
    int value;
} words[] = {
    {"CUDNN_DATA_FLOAT", CUDNN_DATA_FLOAT},
    {"CUDNN_DATA_HALF", CUDNN_DATA_HALF},
    {"CUDNN_DATA_BFLOAT16", CUDNN_DATA_BFLOAT16},
    {"CUDNN_POINTWISE_ADD", CUDNN_POINTWISE_ADD},
    {"CUDNN_POINTWISE_MUL", CUDNN_POINTWISE_MUL},
    {"CUDNN_POINTWISE_RELU_FWD", CUDNN_POINTWISE_RELU_FWD},
    {"CUDNN_POINTWISE_SWISH_FWD", CUDNN_POINTWISE_SWISH_FWD},
    {"CUDNN_POINTWISE_SIGMOID_FWD", CUDNN_POINTWISE_SIGMOID_FWD},
    {"CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR", CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR},
    {"CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR", CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR},
    {"CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR",
     CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR},
    {"CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR",
     CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR},
};

static int value_of(const json_t *word)
{
    const char *text = json_is_string(word) ? json_string_value(word) : "?";

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].word, text) == 0)
            return words[i].value;
    sim_fatal("cuDNN: %s in a plan's text is not simulated", text);
}

static shadow *part_new(shadow *plan, int type)
{
    shadow *s = shadow_new(NULL, type);

    s->finalized = true;
    s->parts = plan->parts;
    plan->parts = s;
    return s;
}

static void remember_word(shadow *s, int name, const json_t *word)
{
    const int value = value_of(word);

    remember(s, name, CUDNN_TYPE_DATA_TYPE, 1, &value);
}

static void remember_longs(shadow *s, int name, const json_t *list)
{
    int64_t values[MAX_DIMS];
    const size_t n = json_array_size(list);

    if (n == 0 || n > MAX_DIMS)
        sim_fatal("cuDNN: a list of %zu numbers in a plan's text is not simulated", n);
    for (size_t i = 0; i < n; i++)
        values[i] = json_integer_value(json_array_get(list, i));
    remember(s, name, CUDNN_TYPE_INT64, (int64_t)n, values);
}

/* NULL: the text names none. */
static shadow *part_find(shadow *plan, int type, const char *id)
{
    for (shadow *s = plan->parts; s != NULL && id != NULL; s = s->parts)
        if (s->type == type && *longs(s, CUDNN_ATTR_TENSOR_UNIQUE_ID) == strtoll(id, NULL, 10))
            return s;
    return NULL;
}

static void tensor_parse(shadow *plan, const json_t *text)
{
    shadow *s = part_new(plan, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    const int64_t id = strtoll(json_string_value(json_object_get(text, "name")), NULL, 10),
                  alignment = json_integer_value(json_object_get(text, "ptrAlignment"));
    const bool is_virtual = json_is_true(json_object_get(text, "isVirtual"));

    remember(s, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    remember(s, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    remember(s, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    remember_word(s, CUDNN_ATTR_TENSOR_DATA_TYPE, json_object_get(text, "dataType"));
    remember_longs(s, CUDNN_ATTR_TENSOR_DIMENSIONS, json_object_get(text, "dim"));
    remember_longs(s, CUDNN_ATTR_TENSOR_STRIDES, json_object_get(text, "stride"));
}

/* The tensor that stands under one of two names: X or dX. */
static void remember_tensor(shadow *plan, shadow *op, int name, const json_t *text, const char *plain, const char *gradient)
{
    const char *id = json_string_value(json_object_get(text, plain));
    const shadow *s =
        part_find(plan, CUDNN_BACKEND_TENSOR_DESCRIPTOR, id != NULL ? id : json_string_value(json_object_get(text, gradient)));

    if (s != NULL)
        remember(op, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &s->key);
}

static void convolution_parse(shadow *plan, shadow *op, const json_t *text)
{
    const int *names = conv_names[conv_direction(op->type)];
    shadow *how = part_new(plan, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    const json_t *pad = json_object_get(text, "pad");

    remember_longs(how, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, pad != NULL ? pad : json_object_get(text, "pad_lower"));
    remember_longs(how, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, json_object_get(text, "stride"));
    remember_tensor(plan, op, names[0], text, "X", "dX");
    remember_tensor(plan, op, names[1], text, "W", "dW");
    remember_tensor(plan, op, names[2], text, "Y", "dY");
    remember(op, names[3], CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &how->key);
}

static void pointwise_parse(shadow *plan, shadow *op, const json_t *text)
{
    shadow *how = part_new(plan, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);

    remember_word(how, CUDNN_ATTR_POINTWISE_MODE, json_object_get(text, "pointwiseMode"));
    remember(op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &how->key);
    remember_tensor(plan, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, text, "X", "dX");
    remember_tensor(plan, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, text, "B", "dB");
    remember_tensor(plan, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, text, "Y", "dY");
}

/* What the library's own text says that the plan computes. */
static void plan_parse(shadow *plan, const attribute *text)
{
    json_t *root = json_loadb((const char *)text->value, strnlen((const char *)text->value, (size_t)text->n), 0, NULL), *item;
    const json_t *graph = json_object_get(root, "operationGraph"), *nodes = json_object_get(graph, "nodes");
    descriptor ops[MAX_OPS];
    size_t i;

    if (json_array_size(nodes) == 0 || json_array_size(nodes) > MAX_OPS)
        sim_fatal("cuDNN: a plan's text of %zu operations is not simulated", json_array_size(nodes));
    json_array_foreach(json_object_get(graph, "tensors"), i, item) tensor_parse(plan, item);
    json_array_foreach(nodes, i, item)
    {
        shadow *op = part_new(plan, value_of(json_object_get(item, "operation")));
        ops[i] = op->key;
        if (op->type == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)
            pointwise_parse(plan, op, item);
        else
            convolution_parse(plan, op, item);
    }
    shadow *whole = part_new(plan, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    remember(whole, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, (int64_t)json_array_size(nodes), ops);
    plan->graph = whole->key;
    json_decref(root);
}

/* A plan is finalized, or a heuristic: one of those that cost time. */
static void finalized(shadow *s)
{
    const attribute *text = find(s, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION);

    s->finalized = true;
    sim_counts.heuristics += s->type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR;
    if (s->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR && text != NULL)
        plan_parse(s, text);
}

/* A program may ask for plans and heuristics that do not exist, and must be ready to be refused. */
static bool may_be_refused(const shadow *s)
{
    return s->type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR || s->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR;
}

SIM_API cudnnStatus_t cudnnBackendFinalize(descriptor d)
{
    char message[512] = "";

    sim_lock();
    const cudnnStatus_t status = REAL(descriptor_function, "cudnnBackendFinalize")(d);
    if (status == CUDNN_STATUS_SUCCESS) {
        finalized(shadow_of(d));
    } else if (!may_be_refused(shadow_of(d))) {
        REAL(last_error_function, "cudnnGetLastErrorString")(message, sizeof message);
        sim_report("the real cuDNN refuses a descriptor of type %d: %d %s", shadow_of(d)->type, (int)status, message);
    }
    sim_unlock();
    return status;
}

/* Engine configurations that a heuristic hands out compute the heuristic's graph. */
SIM_API cudnnStatus_t cudnnBackendGetAttribute(descriptor const d, cudnnBackendAttributeName_t name,
                                               cudnnBackendAttributeType_t type, int64_t room, int64_t *n, void *values)
{
    int64_t unused = 0, *got = n != NULL ? n : &unused;

    sim_lock();
    const cudnnStatus_t status = REAL(get_function, "cudnnBackendGetAttribute")(d, name, type, room, got, values);
    if (status == CUDNN_STATUS_SUCCESS && name == CUDNN_ATTR_ENGINEHEUR_RESULTS && values != NULL) {
        const descriptor graph = child(shadow_of(d), CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH)->key;
        for (int64_t i = 0; i < room && i < *got; i++)
            shadow_of(((descriptor *)values)[i])->graph = graph;
    }
    sim_unlock();
    return status;
}

/* ---- handles ---- */

SIM_API cudnnStatus_t cudnnCreate(cudnnHandle_t *out)
{
    *out = sim_new(sizeof **out);
    return CUDNN_STATUS_SUCCESS;
}

SIM_API cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
    free(handle);
    return CUDNN_STATUS_SUCCESS;
}

SIM_API cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

SIM_API cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t *out)
{
    *out = handle->stream;
    return CUDNN_STATUS_SUCCESS;
}

/* ---- executing ---- */

enum { MAX_TENSORS = 64, MAX_POINTERS = 64 };

/** A tensor as dense doubles in logical order, while its graph is computed. */
typedef struct tensor {
    int64_t id, dim[MAX_DIMS], stride[MAX_DIMS], n, span;
    int n_dims;
    ptx_type type;
    bool is_virtual;
    double *values;
} tensor;

typedef struct execution {
    const shadow *graph;
    int64_t id[MAX_POINTERS];
    void *pointer[MAX_POINTERS], *workspace;
    int n_pointers;
    int64_t workspace_bytes;
} execution;

static tensor tensors[MAX_TENSORS]; /* of the graph that runs now */
static int n_tensors;

static ptx_type number_type(int type)
{
    switch (type) {
    case CUDNN_DATA_FLOAT: return (ptx_type){PTX_FLOAT, 4, 1};
    case CUDNN_DATA_HALF: return (ptx_type){PTX_HALF, 2, 1};
    case CUDNN_DATA_BFLOAT16: return (ptx_type){PTX_BFLOAT, 2, 1};
    default: sim_fatal("cuDNN's type %d is not simulated", type);
    }
}

static void *pointer_of(const execution *e, int64_t id)
{
    for (int i = 0; i < e->n_pointers; i++)
        if (e->id[i] == id)
            return e->pointer[i];
    sim_fatal("cuDNN: the variant pack has no pointer for tensor %lld", (long long)id);
}

static int64_t offset_of(const tensor *t, int64_t i)
{
    int64_t offset = 0;

    for (int d = t->n_dims - 1; d >= 0; d--) {
        offset += i % t->dim[d] * t->stride[d];
        i /= t->dim[d];
    }
    return offset;
}

static void tensor_read(const execution *e, tensor *t, const shadow *s)
{
    void *at = pointer_of(e, t->id);
    const int64_t alignment = *longs(s, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);

    if ((int64_t)at % alignment != 0)
        sim_fatal("cuDNN: tensor %lld is not aligned to its %lld bytes", (long long)t->id, (long long)alignment);
    const uint8_t *from = sim_device(at, (size_t)(t->span * t->type.bytes), SIM_READ, "cuDNN's input");
    for (int64_t i = 0; i < t->n; i++) {
        uint64_t bits = 0;
        memcpy(&bits, from + offset_of(t, i) * t->type.bytes, t->type.bytes);
        t->values[i] = ptx_to_double(bits, t->type);
    }
}

/* The tensor that a descriptor describes; `input`: its values are needed. */
static tensor *tensor_of(const execution *e, const shadow *s, bool input)
{
    const int64_t id = *longs(s, CUDNN_ATTR_TENSOR_UNIQUE_ID);
    const attribute *is_virtual = find(s, CUDNN_ATTR_TENSOR_IS_VIRTUAL);

    for (int i = 0; i < n_tensors; i++)
        if (tensors[i].id == id)
            return &tensors[i];
    if (n_tensors == MAX_TENSORS)
        sim_fatal("cuDNN: a graph of more than %d tensors", MAX_TENSORS);
    tensor *t = &tensors[n_tensors++];
    *t = (tensor){.id = id, .n = 1, .span = 1, .n_dims = (int)need(s, CUDNN_ATTR_TENSOR_DIMENSIONS)->n};
    memcpy(t->dim, longs(s, CUDNN_ATTR_TENSOR_DIMENSIONS), (size_t)t->n_dims * sizeof *t->dim);
    memcpy(t->stride, longs(s, CUDNN_ATTR_TENSOR_STRIDES), (size_t)t->n_dims * sizeof *t->stride);
    t->type = number_type(word_of(s, CUDNN_ATTR_TENSOR_DATA_TYPE));
    t->is_virtual = is_virtual != NULL && *is_virtual->value != 0;
    for (int d = 0; d < t->n_dims; d++) {
        t->n *= t->dim[d];
        t->span += (t->dim[d] - 1) * t->stride[d];
    }
    t->values = sim_new((size_t)t->n * sizeof *t->values);
    if (input && t->is_virtual)
        sim_fatal("cuDNN: tensor %lld is virtual and read before it is computed", (long long)id);
    if (input)
        tensor_read(e, t, s);
    return t;
}

/* Rounds to the tensor's type and, unless it is virtual, puts it into memory. */
static void tensor_write(const execution *e, tensor *t)
{
    uint8_t *to =
        t->is_virtual ? NULL : sim_device(pointer_of(e, t->id), (size_t)(t->span * t->type.bytes), SIM_WRITE, "cuDNN's output");

    for (int64_t i = 0; i < t->n; i++) {
        const uint64_t bits = ptx_from_double(t->values[i], t->type);
        t->values[i] = ptx_to_double(bits, t->type);
        if (to != NULL)
            memcpy(to + offset_of(t, i) * t->type.bytes, &bits, t->type.bytes);
    }
}

/* One pair of pixels that a kernel weight joins. */
static void join(direction way, double *x, double *w, double *y)
{
    switch (way) {
    case FORWARD: *y += *x * *w; break;
    case DATA: *x += *y * *w; break;
    case FILTER: *w += *y * *x; break;
    }
}

static void convolve(direction way, const tensor *x, const tensor *w, const tensor *y, const shadow *how)
{
    const int64_t *pad = longs(how, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS),
                  *stride = longs(how, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
    const int64_t C = x->dim[1], H = x->dim[2], W = x->dim[3], K = y->dim[1], P = y->dim[2], Q = y->dim[3], R = w->dim[2],
                  S = w->dim[3];
    const int64_t per_group = w->dim[1], K_group = K / (C / per_group);
    const tensor *out = way == FORWARD ? y : way == DATA ? x : w;

    memset(out->values, 0, (size_t)out->n * sizeof *out->values);
    for (int64_t nk = 0; nk < y->dim[0] * K; nk++) {
        const int64_t n = nk / K, k = nk % K;
        for (int64_t pq = 0; pq < P * Q; pq++) {
            const int64_t top = pq / Q * stride[0] - pad[0], left = pq % Q * stride[1] - pad[1];
            for (int64_t c = 0; c < per_group; c++) {
                for (int64_t rs = 0; rs < R * S; rs++) {
                    const int64_t h = top + rs / S, v = left + rs % S;
                    if (h >= 0 && h < H && v >= 0 && v < W)
                        join(way, &x->values[((n * C + k / K_group * per_group + c) * H + h) * W + v],
                             &w->values[(k * per_group + c) * R * S + rs], &y->values[nk * P * Q + pq]);
                }
            }
        }
    }
}

/* The element of t, broadcast along dimensions of one, at element i of `as`. */
static double broadcast(const tensor *t, const tensor *as, int64_t i)
{
    int64_t at = 0, step = 1;

    for (int d = as->n_dims - 1; d >= 0; d--) {
        at += (t->dim[d] == 1 ? 0 : i % as->dim[d]) * step;
        step *= t->dim[d];
        i /= as->dim[d];
    }
    return t->values[at];
}

static double pointwise_of(int mode, double a, double b)
{
    switch (mode) {
    case CUDNN_POINTWISE_ADD: return a + b;
    case CUDNN_POINTWISE_MUL: return a * b;
    case CUDNN_POINTWISE_RELU_FWD: return a > 0 || isnan(a) ? a : 0;
    case CUDNN_POINTWISE_SWISH_FWD: return a / (1 + exp(-a));
    case CUDNN_POINTWISE_SIGMOID_FWD: return 1 / (1 + exp(-a));
    default: sim_fatal("cuDNN's pointwise mode %d is not simulated", mode);
    }
}

static void pointwise(const execution *e, const shadow *op)
{
    const shadow *how = child(op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    const int mode = word_of(how, CUDNN_ATTR_POINTWISE_MODE);
    const tensor *a = tensor_of(e, child(op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC), true);
    const bool two = find(op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC) != NULL;
    const tensor *b = two ? tensor_of(e, child(op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC), true) : NULL;
    tensor *y = tensor_of(e, child(op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC), false);

    for (int64_t i = 0; i < y->n; i++)
        y->values[i] = pointwise_of(mode, broadcast(a, y, i), two ? broadcast(b, y, i) : 0);
    tensor_write(e, y);
}

static void convolution(const execution *e, const shadow *op, direction way)
{
    const int *names = conv_names[way], out = way == FORWARD ? 2 : way == DATA ? 0 : 1;
    tensor *t[3];

    for (int i = 0; i < 3; i++)
        t[i] = tensor_of(e, child(op, names[i]), i != out);
    convolve(way, t[0], t[1], t[2], child(op, names[3]));
    tensor_write(e, t[out]);
}

static void operation(const execution *e, const shadow *op)
{
    switch (op->type) {
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR: convolution(e, op, conv_direction(op->type)); break;
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR: pointwise(e, op); break;
    default: sim_fatal("cuDNN's operation of type %d is not simulated", op->type);
    }
}

static bool execution_run(void *argument)
{
    const execution *e = argument;
    const attribute *ops = need(e->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS);

    n_tensors = 0;
    if (e->workspace_bytes > 0) /* whatever the plan leaves in it */
        memset(sim_device(e->workspace, (size_t)e->workspace_bytes, SIM_WRITE, "cuDNN's workspace"), 0xA5,
               (size_t)e->workspace_bytes);
    for (int64_t i = 0; i < ops->n; i++) {
        descriptor d;
        memcpy(&d, ops->value + (size_t)i * sizeof d, sizeof d);
        operation(e, shadow_of(d));
    }
    for (int i = 0; i < n_tensors; i++)
        free(tensors[i].values);
    sim_counts.library_calls++;
    return true;
}

static void pack_read(execution *e, const shadow *pack)
{
    const attribute *ids = need(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS),
                    *pointers = need(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS),
                    *workspace = find(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE);

    if (ids->n > MAX_POINTERS || ids->n != pointers->n)
        sim_fatal("cuDNN: a variant pack of %lld tensors and %lld pointers", (long long)ids->n, (long long)pointers->n);
    e->n_pointers = (int)ids->n;
    memcpy(e->id, ids->value, (size_t)ids->n * sizeof *e->id);
    memcpy(e->pointer, pointers->value, (size_t)ids->n * sizeof *e->pointer);
    if (workspace != NULL)
        memcpy(&e->workspace, workspace->value, sizeof e->workspace);
}

SIM_API cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, descriptor plan, descriptor pack)
{
    static const sim_work work = {.run = execution_run, .what = "cuDNN graph", .capturable = true};
    const get_function get = REAL(get_function, "cudnnBackendGetAttribute");
    execution e = {.n_pointers = 0};
    int64_t n = 0;

    sim_lock();
    const shadow *p = shadow_of(plan), *v = shadow_of(pack);
    if (!p->finalized || !v->finalized)
        sim_fatal("cuDNN: a plan or variant pack is executed before it is finalized");
    const shadow *of = p->graph != NULL ? p : child(p, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
    if (of->graph == NULL)
        sim_fatal("cuDNN: an engine configuration that no heuristic handed out is not simulated");
    e.graph = shadow_of(of->graph);
    pack_read(&e, v);
    get(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n, &e.workspace_bytes);
    const cudaError_t error = sim_submit(handle->stream, &work, &e, sizeof e);
    sim_unlock();
    return error == cudaSuccess ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}
