/* util_dnnl.c - see util_dnnl.h. */
#include "core/op/util_dnnl.h"

#include <pthread.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/op/channels.h"
#include "core/op/impls.h"

_Static_assert(sizeof(dnnl_memory_desc_t) <= PRLE_LAYOUT_VENDOR_BYTES, "prle_layout has no room for oneDNN's descriptor");
_Static_assert(PRLE_MAX_DIMS < DNNL_MAX_NDIMS, "a grouped kernel has one dimension more");

static const char *reason(dnnl_status_t code)
{
    switch (code) {
    case dnnl_success: return "success";
    case dnnl_out_of_memory: return "out of memory";
    case dnnl_invalid_arguments: return "invalid arguments";
    case dnnl_unimplemented: return "not implemented for these sizes and layouts";
    case dnnl_iterator_ends: return "no implementation left";
    case dnnl_runtime_error: return "error while running";
    case dnnl_not_required: return "not required";
    }
    return "unknown error";
}

prle_status prle_dnnl_status(dnnl_status_t code, const char *call, const char *file, int line, const char *func)
{
    if (code == dnnl_success)
        return PRLE_OK;
    return prle_error_set(PRLE_EDNNL, file, line, func, "%.*s: %s", (int)strcspn(call, "("), call, reason(code));
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static dnnl_engine_t the_engine;
static dnnl_stream_t the_stream;
static dnnl_status_t once_status;

static void create_engine(void)
{
    once_status = dnnl_engine_create(&the_engine, dnnl_cpu, 0);
    if (once_status == dnnl_success)
        once_status = dnnl_stream_create(&the_stream, the_engine, dnnl_stream_default_flags);
}

prle_status prle_dnnl_engine(dnnl_engine_t *out)
{
    pthread_once(&once, create_engine);
    PRLE_TRY(PRLE_DNNL(once_status));
    *out = the_engine;
    return PRLE_OK;
}

bool prle_dnnl_has_bf16(void)
{
    const dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();

    return ((unsigned)isa & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
}

static dnnl_data_type_t data_type(prle_dtype dtype) { return dtype == PRLE_BF16 ? dnnl_bf16 : dnnl_f32; }

bool prle_dnnl_supports(const prle_op_desc *desc, const char **why)
{
    if (desc->dtype != PRLE_F32) {
        *why = "oneDNN computes in f32 here";
        return false;
    }
    if (desc->memory == PRLE_BF16 && !prle_dnnl_has_bf16()) {
        *why = "oneDNN has no fast bfloat16 on this processor";
        return false;
    }
    for (int i = 0; i < desc->n_in; i++) {
        if (prle_shape_count(&desc->in[i]) == 0) {
            *why = "empty input";
            return false;
        }
    }
    return true;
}

prle_status prle_dnnl_md_plain(prle_dtype dtype, int n_dims, const dnnl_dims_t dims, dnnl_memory_desc_t *out)
{
    PRLE_TRY(PRLE_DNNL(dnnl_memory_desc_init_by_strides(out, n_dims, dims, data_type(dtype), NULL)));
    return PRLE_OK;
}

prle_status prle_dnnl_md_any(prle_dtype dtype, int n_dims, const dnnl_dims_t dims, dnnl_memory_desc_t *out)
{
    PRLE_TRY(PRLE_DNNL(dnnl_memory_desc_init_by_tag(out, n_dims, dims, data_type(dtype), dnnl_format_tag_any)));
    return PRLE_OK;
}

prle_status prle_dnnl_md(const prle_layout *layout, dnnl_memory_desc_t *out)
{
    dnnl_dims_t dims = {1, 1, 1, 1};

    PRLE_CHECK(layout->dtype != PRLE_F64, PRLE_ENOTSUP, "oneDNN reads f32 and bf16 here, not f64");
    if (!layout->plain) {
        memcpy(out, layout->vendor.bytes, sizeof *out);
        return PRLE_OK;
    }
    memcpy(dims, layout->shape.dim, (size_t)layout->shape.n * sizeof *dims);
    PRLE_TRY(prle_dnnl_md_plain(layout->dtype, layout->shape.n == 2 ? 4 : layout->shape.n, dims, out));
    return PRLE_OK;
}

/* The elements a dimension is cut into: its outer blocks, then the inner ones, outermost first. */
typedef struct piece {
    dnnl_dim_t size, stride;
} piece;

/* All pieces in row-major order of the elements they step over. */
static int pieces_of(const dnnl_memory_desc_t *md, piece out[2 * DNNL_MAX_NDIMS])
{
    const dnnl_blocking_desc_t *blocking = &md->format_desc.blocking;
    int n = 0;

    for (int d = 0; d < md->ndims; d++) {
        piece *outer = &out[n++];
        *outer = (piece){md->padded_dims[d], blocking->strides[d]};
        dnnl_dim_t inner_stride = 1;
        for (int i = 0; i < blocking->inner_nblks; i++)
            inner_stride *= blocking->inner_blks[i];
        for (int i = 0; i < blocking->inner_nblks; i++) {
            inner_stride /= blocking->inner_blks[i];
            if (blocking->inner_idxs[i] != d)
                continue;
            outer->size /= blocking->inner_blks[i];
            out[n++] = (piece){blocking->inner_blks[i], inner_stride};
        }
    }
    return n;
}

static bool is_row_major(const dnnl_memory_desc_t *md)
{
    piece pieces[2 * DNNL_MAX_NDIMS];
    dnnl_dim_t stride = 1;

    for (int d = 0; d < md->ndims; d++)
        if (md->padded_dims[d] != md->dims[d])
            return false;
    for (int i = pieces_of(md, pieces) - 1; i >= 0; i--) {
        if (pieces[i].size != 1 && pieces[i].stride != stride)
            return false;
        stride *= pieces[i].size;
    }
    return true;
}

/* Field by field into zeroed bytes: equal layouts are compared with memcmp. */
static void copy_md(const dnnl_memory_desc_t *md, unsigned char bytes[PRLE_LAYOUT_VENDOR_BYTES])
{
    const dnnl_blocking_desc_t *from = &md->format_desc.blocking;
    const size_t dims_bytes = (size_t)md->ndims * sizeof md->dims[0],
                 blocks_bytes = (size_t)from->inner_nblks * sizeof md->dims[0];
    dnnl_memory_desc_t copy;
    dnnl_blocking_desc_t *to = &copy.format_desc.blocking;

    memset(&copy, 0, sizeof copy);
    copy.ndims = md->ndims;
    copy.data_type = md->data_type;
    copy.format_kind = md->format_kind;
    memcpy(copy.dims, md->dims, dims_bytes);
    memcpy(copy.padded_dims, md->padded_dims, dims_bytes);
    memcpy(to->strides, from->strides, dims_bytes);
    to->inner_nblks = from->inner_nblks;
    memcpy(to->inner_blks, from->inner_blks, blocks_bytes);
    memcpy(to->inner_idxs, from->inner_idxs, blocks_bytes);
    memset(bytes, 0, PRLE_LAYOUT_VENDOR_BYTES);
    memcpy(bytes, &copy, sizeof copy);
}

prle_status prle_dnnl_layout(const dnnl_memory_desc_t *md, const prle_shape *shape, prle_layout *out)
{
    const prle_dtype dtype = md->data_type == dnnl_bf16 ? PRLE_BF16 : PRLE_F32;

    PRLE_CHECK(md->format_kind == dnnl_blocked && md->data_type == data_type(dtype) && md->extra.flags == 0 && md->offset0 == 0,
               PRLE_ENOTSUP, "oneDNN wants a tensor in a format of kind %d with flags %d, which no layout describes",
               (int)md->format_kind, (int)md->extra.flags);
    if (is_row_major(md)) {
        *out = prle_layout_plain(dtype, shape);
        return PRLE_OK;
    }
    *out = (prle_layout){.dtype = dtype, .shape = *shape, .n_bytes = dnnl_memory_desc_get_size(md)};
    copy_md(md, out->vendor.bytes);
    return PRLE_OK;
}

bool prle_channels_of(const prle_layout *layout, prle_channels *out)
{
    dnnl_memory_desc_t md;

    if (layout->dtype == PRLE_F64 || prle_dnnl_md(layout, &md) != PRLE_OK)
        return false;
    const dnnl_blocking_desc_t *blocking = &md.format_desc.blocking;
    const int64_t block = blocking->inner_nblks == 0 ? 1 : blocking->inner_blks[0], height = md.dims[2], width = md.dims[3];

    if (md.ndims != 4 || blocking->inner_nblks > 1 ||
        (blocking->inner_nblks == 1 && (blocking->inner_idxs[0] != 1 || 16 % block != 0)))
        return false;
    if ((width > 1 && blocking->strides[3] != block) || (height > 1 && blocking->strides[2] != block * width))
        return false;
    *out = (prle_channels){.B = md.dims[0],
                           .C = md.dims[1],
                           .plane = height * width,
                           .block = block,
                           .slice = blocking->strides[1],
                           .batch = blocking->strides[0]};
    return true;
}

prle_status prle_layout_blocked(prle_dtype dtype, const prle_shape *shape, int64_t block, prle_layout *out)
{
    const dnnl_dims_t dims = {shape->dim[0], shape->dim[1], shape->dim[2], shape->dim[3]};
    dnnl_memory_desc_t md;

    PRLE_CHECK(shape->n == 4 && (block == 8 || block == 16), PRLE_EINVAL, "no image of %d dimensions in blocks of %d", shape->n,
               (int)block);
    PRLE_TRY(PRLE_DNNL(dnnl_memory_desc_init_by_tag(&md, 4, dims, data_type(dtype), block == 8 ? dnnl_nChw8c : dnnl_nChw16c)));
    PRLE_TRY(prle_dnnl_layout(&md, shape, out));
    return PRLE_OK;
}

prle_status prle_layout_blocked_depthwise(const prle_shape *shape, int64_t block, prle_layout *out)
{
    const dnnl_dims_t dims = {shape->dim[0], 1, 1, shape->dim[2], shape->dim[3]};
    dnnl_memory_desc_t md;

    PRLE_CHECK(shape->n == 4 && shape->dim[1] == 1 && (block == 8 || block == 16), PRLE_EINVAL,
               "no depthwise weights of %d dimensions in blocks of %d", shape->n, (int)block);
    PRLE_TRY(PRLE_DNNL(dnnl_memory_desc_init_by_tag(&md, 5, dims, dnnl_f32, block == 8 ? dnnl_Goihw8g : dnnl_Goihw16g)));
    PRLE_TRY(prle_dnnl_layout(&md, shape, out));
    return PRLE_OK;
}

prle_simd prle_simd_widest(void)
{
    const unsigned isa = dnnl_get_effective_cpu_isa(), avx512 = dnnl_cpu_isa_avx512_core, avx2 = dnnl_cpu_isa_avx2;

    return (isa & avx512) == avx512 ? PRLE_SIMD_AVX512 : (isa & avx2) == avx2 ? PRLE_SIMD_AVX2 : PRLE_SIMD_BASE;
}

prle_status prle_layout_as(prle_dtype dtype, const prle_layout *layout, prle_layout *out)
{
    dnnl_memory_desc_t md;

    PRLE_TRY(prle_dnnl_md(layout, &md));
    md.data_type = data_type(dtype);
    PRLE_TRY(prle_dnnl_layout(&md, &layout->shape, out));
    return PRLE_OK;
}

prle_status prle_layout_batch(int64_t B, const prle_layout *layout, prle_layout *out)
{
    const size_t images = (size_t)layout->shape.dim[0], image_bytes = layout->n_bytes / images;
    prle_shape shape = layout->shape;
    dnnl_memory_desc_t md;

    shape.dim[0] = B;
    if (layout->plain) {
        *out = prle_layout_plain(layout->dtype, &shape);
        return PRLE_OK;
    }
    PRLE_TRY(prle_dnnl_md(layout, &md));
    md.dims[0] = md.padded_dims[0] = B;
    PRLE_TRY(prle_dnnl_layout(&md, &shape, out));
    PRLE_CHECK((size_t)md.format_desc.blocking.strides[0] * prle_dtype_bytes(layout->dtype) == image_bytes &&
                   out->n_bytes == (size_t)B * image_bytes,
               PRLE_ENOTSUP, "oneDNN's layout of a batch is not one of its images, one after the other");
    return PRLE_OK;
}

static bool find_act(const prle_act_attrs *act, dnnl_alg_kind_t *out, float *alpha)
{
    *alpha = 0;
    switch (act->act) {
    case PRLE_ACT_RELU: *out = dnnl_eltwise_relu; return true;
    case PRLE_ACT_LEAKY_RELU:
        *out = dnnl_eltwise_relu;
        *alpha = (float)act->slope;
        return true;
    case PRLE_ACT_SIGMOID: *out = dnnl_eltwise_logistic; return true;
    case PRLE_ACT_SWISH:
        *out = dnnl_eltwise_swish;
        *alpha = 1;
        return true;
    case PRLE_ACT_NONE:
    case PRLE_N_ACTS: break;
    }
    return false;
}

bool prle_dnnl_supports_act(const prle_act_attrs *act, const char **why)
{
    dnnl_alg_kind_t alg;
    float alpha;

    *why = act->act == PRLE_ACT_NONE ? "no activation" : "the activation is none of oneDNN's";
    return find_act(act, &alg, &alpha);
}

prle_status prle_dnnl_act(const prle_act_attrs *act, dnnl_alg_kind_t *out, float *alpha)
{
    PRLE_CHECK(find_act(act, out, alpha), PRLE_ENOTSUP, "activation %d is none of oneDNN's", (int)act->act);
    return PRLE_OK;
}

prle_status prle_dnnl_attr(dnnl_primitive_attr_t *out)
{
    dnnl_primitive_attr_t attr = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(PRLE_DNNL(dnnl_primitive_attr_create(&attr)));
    PRLE_TRY_OUT(PRLE_DNNL(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user)));
    *out = attr;
    attr = NULL;
out:
    dnnl_primitive_attr_destroy(attr);
    return st;
}

prle_status prle_dnnl_pd(const_dnnl_op_desc_t op, const_dnnl_primitive_desc_t hint, dnnl_primitive_desc_t *out)
{
    dnnl_engine_t engine = NULL;
    dnnl_primitive_attr_t attr = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_dnnl_engine(&engine));
    PRLE_TRY_OUT(prle_dnnl_attr(&attr));
    PRLE_TRY_OUT(PRLE_DNNL(dnnl_primitive_desc_create(out, op, attr, engine, hint)));
out:
    dnnl_primitive_attr_destroy(attr);
    return st;
}

size_t prle_dnnl_book_scratch(prle_op_plan *plan, size_t n_bytes)
{
    const size_t at = (plan->scratch_bytes + 63) / 64 * 64;

    plan->scratch_bytes = at + n_bytes;
    return at;
}

const char *prle_dnnl_name(const void *state)
{
    const prle_dnnl_call *call = state;
    const_dnnl_primitive_desc_t pd = NULL;
    const char *name = NULL;

    if (dnnl_primitive_get_primitive_desc(call->primitive, &pd) != dnnl_success ||
        dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name) != dnnl_success)
        return "?";
    return name;
}

prle_status prle_dnnl_call_init(prle_dnnl_call *call, const_dnnl_primitive_desc_t pd, const prle_op_desc *desc, prle_op_pass pass,
                                prle_op_plan *plan)
{
    static const char *const pass_names[PRLE_N_PASSES] = {"forward", "backward", "weights"};
    char shape[96];

    *call = (prle_dnnl_call){0};
    PRLE_TRY(PRLE_DNNL(dnnl_primitive_create(&call->primitive, pd)));
    prle_log(PRLE_LOG_DEBUG, "op", "%s %s %s: oneDNN %s", prle_op_kind_name(desc->kind), prle_shape_print(&desc->in[0], shape),
             pass_names[pass], prle_dnnl_name(call));

    const size_t scratch = dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0));
    const size_t at = prle_dnnl_book_scratch(plan, scratch);
    if (scratch == 0)
        return PRLE_OK;
    const prle_status st = prle_dnnl_call_bind(call, DNNL_ARG_SCRATCHPAD, PRLE_DNNL_AT_OFFSET(scratch, at));
    if (st != PRLE_OK)
        prle_dnnl_call_deinit(call);
    return st;
}

/* The descriptor of the primitive's argument. */
static prle_status arg_md(const prle_dnnl_call *call, int arg, const dnnl_memory_desc_t **out)
{
    const_dnnl_primitive_desc_t pd = NULL;

    PRLE_TRY(PRLE_DNNL(dnnl_primitive_get_primitive_desc(call->primitive, &pd)));
    *out = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, arg);
    PRLE_CHECK(*out != NULL && (*out)->ndims > 0, PRLE_EDNNL, "oneDNN's %s has no argument %d", prle_dnnl_name(call), arg);
    return PRLE_OK;
}

size_t prle_dnnl_call_arg_bytes(const prle_dnnl_call *call, int arg)
{
    const_dnnl_primitive_desc_t pd = NULL;

    if (dnnl_primitive_get_primitive_desc(call->primitive, &pd) != dnnl_success)
        return 0;
    return dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, arg));
}

prle_status prle_dnnl_call_bind(prle_dnnl_call *call, int arg, prle_dnnl_place place)
{
    const dnnl_memory_desc_t *md = NULL;
    dnnl_engine_t engine = NULL;
    dnnl_memory_t memory = NULL;

    PRLE_CHECK(call->n_args < PRLE_DNNL_MAX_ARGS, PRLE_EINVAL, "more than %d arguments", PRLE_DNNL_MAX_ARGS);
    PRLE_TRY(arg_md(call, arg, &md));
    PRLE_TRY(prle_dnnl_engine(&engine));
    PRLE_TRY(PRLE_DNNL(dnnl_memory_create(&memory, md, engine, DNNL_MEMORY_NONE)));
    call->arg[call->n_args] = (dnnl_exec_arg_t){arg, memory};
    call->place[call->n_args++] = place;
    return PRLE_OK;
}

prle_status prle_dnnl_call_bind_spare(prle_dnnl_call *call, int arg, prle_dnnl_place place, prle_op_plan *plan)
{
    place.has_spare = true;
    place.spare_bytes = prle_dnnl_book_scratch(plan, prle_dnnl_call_arg_bytes(call, arg));
    PRLE_TRY(prle_dnnl_call_bind(call, arg, place));
    return PRLE_OK;
}

prle_status prle_dnnl_call_bind_layout(prle_dnnl_call *call, int arg, prle_dnnl_place place, const prle_shape *shape,
                                       prle_layout *layout)
{
    const dnnl_memory_desc_t *md = NULL;

    PRLE_TRY(arg_md(call, arg, &md));
    PRLE_TRY(prle_dnnl_layout(md, shape, layout));
    PRLE_TRY(prle_dnnl_call_bind(call, arg, place));
    return PRLE_OK;
}

void *prle_dnnl_find(const prle_dnnl_place *place, const prle_op_args *args)
{
    char *at = NULL;

    memcpy(&at, (const char *)args + place->member, sizeof at);
    if (at != NULL)
        return at + place->offset_bytes;
    return place->has_spare && args->scratch != NULL ? (char *)args->scratch + place->spare_bytes : NULL;
}

prle_status prle_dnnl_call_run(const prle_dnnl_call *call, const prle_op_args *args)
{
    for (int i = 0; i < call->n_args; i++) {
        void *at = prle_dnnl_find(&call->place[i], args);
        PRLE_CHECK(at != NULL, PRLE_EINVAL, "oneDNN's %s: argument %d has no buffer", prle_dnnl_name(call), call->arg[i].arg);
        /* Of 2.6.3, measured: this does not touch the buffer, padding included. */
        PRLE_TRY(PRLE_DNNL(dnnl_memory_set_data_handle(call->arg[i].memory, at)));
    }
    PRLE_TRY(PRLE_DNNL(dnnl_primitive_execute(call->primitive, the_stream, call->n_args, call->arg)));
    PRLE_TRY(PRLE_DNNL(dnnl_stream_wait(the_stream)));
    return PRLE_OK;
}

void prle_dnnl_call_deinit(prle_dnnl_call *call)
{
    for (int i = 0; i < call->n_args; i++)
        dnnl_memory_destroy(call->arg[i].memory);
    dnnl_primitive_destroy(call->primitive);
    *call = (prle_dnnl_call){0};
}

prle_status prle_dnnl_plan(const prle_op_desc *desc, prle_op_pass pass, prle_op_plan *plan, prle_dnnl_create create,
                           prle_dnnl_bind bind)
{
    dnnl_primitive_desc_t pd = NULL;
    prle_dnnl_call *call = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(create(desc, pass, plan, &pd));
    PRLE_TRY_OUT(PRLE_NEW(call, 1));
    PRLE_TRY_OUT(prle_dnnl_call_init(call, pd, desc, pass, plan));
    PRLE_TRY_OUT(bind(desc, pass, call, plan));
    plan->state = call;
    call = NULL;
out:
    prle_dnnl_destroy(call);
    dnnl_primitive_desc_destroy(pd);
    return st;
}

prle_status prle_dnnl_run(const void *state, prle_op_pass pass, const prle_op_args *args)
{
    (void)pass;
    PRLE_TRY(prle_dnnl_call_run(state, args));
    return PRLE_OK;
}

void prle_dnnl_destroy(void *state)
{
    if (state != NULL)
        prle_dnnl_call_deinit(state);
    prle_free(state);
}
