/* checkpoint.c - see checkpoint.h. */
#include "nets/checkpoint.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/hash.h"

enum {
    DATASET_NAME_BYTES = PRLE_NAME_BYTES + 16,
    CHUNK_BYTES = 1 << 20,
    WRITE_CHUNKS = 8, /* at a time, so that loaders get at HDF5 meanwhile */
};

static const char *dataset_name(const prle_segment *s, char text[DATASET_NAME_BYTES])
{
    snprintf(text, DATASET_NAME_BYTES, "state/%s", s->name);
    return text;
}

static prle_h5_type h5_type(prle_dtype dtype) { return dtype == PRLE_F64 ? PRLE_H5_F64 : PRLE_H5_F32; }

static prle_h5_type segment_type(const prle_model *model, const prle_segment *s)
{
    return s->kind == PRLE_SEGMENT_COUNTER ? PRLE_H5_I64 : h5_type(model->dtype);
}

/* HDF5 has no scalars here: a counter is one element. */
static prle_shape stored_shape(const prle_segment *s) { return s->shape.n > 0 ? s->shape : PRLE_SHAPE(1); }

/* ---- writing ---- */

/* In chunks with checksums: a damaged tensor is an error when it is read. */
static prle_status tensor_write(prle_h5 *file, const char *name, prle_h5_type type, const prle_shape *shape, const void *data)
{
    const int64_t rows = shape->dim[0], row_bytes = prle_shape_count(shape) / rows * (int64_t)prle_h5_type_bytes(type);
    const int64_t chunk_rows = row_bytes < CHUNK_BYTES ? CHUNK_BYTES / row_bytes : 1;
    const prle_h5_layout layout = {.chunk_rows = chunk_rows, .checked = true};

    PRLE_TRY(prle_h5_define(file, name, type, shape, &layout));
    for (int64_t first = 0; first < rows; first += WRITE_CHUNKS * chunk_rows) {
        const int64_t n = rows - first < WRITE_CHUNKS * chunk_rows ? rows - first : WRITE_CHUNKS * chunk_rows;
        PRLE_TRY(prle_h5_write_rows(file, name, type, first, n, (const char *)data + first * row_bytes));
    }
    return PRLE_OK;
}

static prle_status info_write(prle_h5 *file, const prle_model *model, const prle_checkpoint_info *info)
{
    const prle_shape three = PRLE_SHAPE(3);

    PRLE_TRY(prle_h5_attr_write_string(file, "net", model->graph->name));
    PRLE_TRY(prle_h5_attr_write_int(file, "height", model->opts.height));
    PRLE_TRY(prle_h5_attr_write_int(file, "width", model->opts.width));
    PRLE_TRY(prle_h5_attr_write_int(file, "classes", model->opts.classes));
    PRLE_TRY(prle_h5_attr_write_string(file, "dtype", prle_dtype_name(model->dtype)));
    PRLE_TRY(prle_h5_attr_write_double(file, "threshold_eer", info->threshold_eer));
    PRLE_TRY(prle_h5_attr_write_double(file, "val_auc", info->val_auc));
    PRLE_TRY(prle_h5_attr_write_int(file, "epoch", info->epoch));
    PRLE_TRY(prle_h5_attr_write_int(file, "step", info->step));
    PRLE_TRY(tensor_write(file, "mean", PRLE_H5_F32, &three, info->mean));
    return tensor_write(file, "std", PRLE_H5_F32, &three, info->std);
}

static prle_status optim_write(prle_h5 *file, const prle_optim *optim)
{
    const prle_shape all = PRLE_SHAPE(optim->n);

    PRLE_TRY(prle_h5_attr_write_int(file, "optim_kind", (int64_t)optim->opts.kind));
    PRLE_TRY(prle_h5_attr_write_int(file, "optim_steps", optim->steps));
    PRLE_TRY(tensor_write(file, "optim/m", h5_type(optim->dtype), &all, optim->m));
    if (optim->v != NULL)
        PRLE_TRY(tensor_write(file, "optim/v", h5_type(optim->dtype), &all, optim->v));
    return PRLE_OK;
}

prle_status prle_checkpoint_write(prle_h5 *file, const prle_model *model, const prle_checkpoint_info *info,
                                  const prle_optim *optim)
{
    char name[DATASET_NAME_BYTES];

    PRLE_TRY(prle_model_check_finite(model));
    PRLE_TRY(info_write(file, model, info));
    for (int i = 0; i < model->graph->n_segments; i++) {
        const prle_segment *s = &model->graph->segment[i];
        const prle_shape shape = stored_shape(s);

        PRLE_TRY(tensor_write(file, dataset_name(s, name), segment_type(model, s), &shape, prle_model_segment(model, i)));
    }
    return optim != NULL ? optim_write(file, optim) : PRLE_OK;
}

/* ---- reading ---- */

static prle_status net_read(prle_h5 *file, char net[PRLE_NAME_BYTES], prle_net_opts *opts)
{
    char *text = NULL;

    PRLE_TRY(prle_h5_attr_read_string(file, "net", &text));
    snprintf(net, PRLE_NAME_BYTES, "%s", text);
    prle_free(text);
    PRLE_TRY(prle_h5_attr_read_int(file, "height", &opts->height));
    PRLE_TRY(prle_h5_attr_read_int(file, "width", &opts->width));
    PRLE_TRY(prle_h5_attr_read_int(file, "classes", &opts->classes));
    PRLE_CHECK(opts->height >= 1 && opts->height <= 4096 && opts->width >= 1 && opts->width <= 4096, PRLE_EFORMAT,
               "%s: input size %" PRId64 " x %" PRId64, prle_h5_path(file), opts->height, opts->width);
    return PRLE_OK;
}

static prle_status info_read(prle_h5 *file, prle_checkpoint_info *info)
{
    const prle_shape three = PRLE_SHAPE(3);

    PRLE_TRY(prle_h5_attr_read_double(file, "threshold_eer", &info->threshold_eer));
    PRLE_TRY(prle_h5_attr_read_double(file, "val_auc", &info->val_auc));
    PRLE_TRY(prle_h5_attr_read_int(file, "epoch", &info->epoch));
    PRLE_TRY(prle_h5_attr_read_int(file, "step", &info->step));
    PRLE_TRY(prle_h5_read(file, "mean", PRLE_H5_F32, &three, info->mean));
    PRLE_TRY(prle_h5_read(file, "std", PRLE_H5_F32, &three, info->std));
    for (int i = 0; i < 3; i++)
        PRLE_CHECK(isfinite(info->mean[i]) && isfinite(info->std[i]) && info->std[i] > 0, PRLE_EFORMAT,
                   "%s: mean %g and std %g of channel %d", prle_h5_path(file), (double)info->mean[i], (double)info->std[i], i);
    return PRLE_OK;
}

/* A segment stored in the other precision than the model's. */
static prle_status segment_read_converted(prle_h5 *file, prle_model *model, int segment, prle_h5_type stored)
{
    const prle_segment *s = &model->graph->segment[segment];
    const prle_shape shape = stored_shape(s);
    char name[DATASET_NAME_BYTES];
    void *values = prle_model_segment(model, segment);
    prle_any_ptr raw = NULL;

    PRLE_TRY(prle_alloc((size_t)s->count, prle_h5_type_bytes(stored), &raw));
    const prle_status st = prle_h5_read(file, dataset_name(s, name), stored, &shape, raw);
    for (int64_t k = 0; st == PRLE_OK && k < s->count; k++) {
        if (model->dtype == PRLE_F64)
            ((double *)values)[k] = (double)((const float *)raw)[k];
        else
            ((float *)values)[k] = (float)((const double *)raw)[k];
    }
    prle_free(raw);
    return st;
}

static prle_status segment_read(prle_h5 *file, prle_model *model, int segment)
{
    const prle_segment *s = &model->graph->segment[segment];
    const prle_shape shape = stored_shape(s);
    prle_h5_dataset dataset;
    char name[DATASET_NAME_BYTES], ours[96], theirs[96];

    PRLE_TRY(prle_h5_dataset_get(file, dataset_name(s, name), &dataset));
    PRLE_CHECK(prle_shape_equal(&dataset.shape, &shape), PRLE_EFORMAT, "%s: %s has shape %s, the network wants %s",
               prle_h5_path(file), s->name, prle_shape_print(&dataset.shape, theirs), prle_shape_print(&shape, ours));
    const bool is_real = dataset.type == PRLE_H5_F32 || dataset.type == PRLE_H5_F64;
    if (s->kind != PRLE_SEGMENT_COUNTER && is_real && dataset.type != h5_type(model->dtype))
        return segment_read_converted(file, model, segment, dataset.type);
    return prle_h5_read(file, name, segment_type(model, s), &shape, prle_model_segment(model, segment));
}

static prle_status optim_read(prle_h5 *file, prle_optim *optim)
{
    const prle_shape all = PRLE_SHAPE(optim->n);
    int64_t kind = -1;

    PRLE_TRY(prle_h5_attr_read_int(file, "optim_kind", &kind));
    PRLE_CHECK(kind == (int64_t)optim->opts.kind, PRLE_EINVAL, "%s: the optimiser's state is of another optimiser",
               prle_h5_path(file));
    PRLE_TRY(prle_h5_attr_read_int(file, "optim_steps", &optim->steps));
    PRLE_TRY(prle_h5_read(file, "optim/m", h5_type(optim->dtype), &all, optim->m));
    if (optim->v != NULL)
        PRLE_TRY(prle_h5_read(file, "optim/v", h5_type(optim->dtype), &all, optim->v));
    optim->version++;
    return PRLE_OK;
}

/* All tensors; with lenient_head, a head of another shape is left as it is. */
static prle_status state_read(prle_h5 *file, prle_model *model, bool lenient_head, int *n_loaded)
{
    *n_loaded = 0;
    for (int i = 0; i < model->graph->n_segments; i++) {
        const prle_segment *s = &model->graph->segment[i];
        const prle_shape shape = stored_shape(s);
        prle_h5_dataset dataset;
        char name[DATASET_NAME_BYTES];

        if (lenient_head && s->head) {
            PRLE_TRY(prle_h5_dataset_get(file, dataset_name(s, name), &dataset));
            if (!prle_shape_equal(&dataset.shape, &shape))
                continue;
        }
        PRLE_TRY(segment_read(file, model, i));
        ++*n_loaded;
    }
    model->version++;
    if (prle_model_check_finite(model) != PRLE_OK) {
        (void)prle_error_prefix("%s", prle_h5_path(file));
        return PRLE_EFORMAT;
    }
    return PRLE_OK;
}

prle_status prle_checkpoint_read(prle_h5 *file, prle_model *model, prle_checkpoint_info *info, prle_optim *optim)
{
    char net[PRLE_NAME_BYTES];
    prle_net_opts opts;
    int n_loaded = 0;

    PRLE_TRY(net_read(file, net, &opts));
    PRLE_CHECK(strcmp(net, model->graph->name) == 0 && opts.height == model->opts.height && opts.width == model->opts.width &&
                   opts.classes == model->opts.classes,
               PRLE_EINVAL,
               "%s: is of %s at %" PRId64 " x %" PRId64 " with %" PRId64 " logits, not of %s at %" PRId64 " x %" PRId64
               " with %" PRId64,
               prle_h5_path(file), net, opts.height, opts.width, opts.classes, model->graph->name, model->opts.height,
               model->opts.width, model->opts.classes);
    PRLE_TRY(info_read(file, info));
    PRLE_TRY(state_read(file, model, false, &n_loaded));
    return optim != NULL ? optim_read(file, optim) : PRLE_OK;
}

/* The checkpoint a path means: itself, or the best (else the last) of a run folder. prle_free it. */
static prle_status checkpoint_path(const char *path, char **out)
{
    if (!prle_folder_exists(path))
        return prle_strdup(path, out);
    PRLE_TRY(prle_path_join(path, "best.h5", out));
    if (prle_file_exists(*out))
        return PRLE_OK;
    prle_free(*out);
    *out = NULL;
    PRLE_TRY(prle_path_join(path, "last.h5", out));
    if (prle_file_exists(*out))
        return PRLE_OK;
    prle_free(*out);
    *out = NULL;
    return PRLE_FAIL(PRLE_EFORMAT, "%s: no best.h5 or last.h5 in this folder; is it the run folder of a `prle train`?", path);
}

static prle_status model_read(prle_h5 *file, prle_model **out, prle_checkpoint_info *info, prle_dtype dtype)
{
    prle_status st = PRLE_OK;
    prle_model *model = NULL;
    char net[PRLE_NAME_BYTES];
    prle_net_opts opts;
    int n_loaded = 0;

    PRLE_TRY(net_read(file, net, &opts));
    PRLE_TRY(info_read(file, info));
    if (prle_model_create(&model, net, &opts, dtype) != PRLE_OK) {
        st = prle_error_prefix("%s", prle_h5_path(file));
        return st == PRLE_EINVAL ? PRLE_EFORMAT : st;
    }
    PRLE_TRY_OUT(state_read(file, model, false, &n_loaded));
    *out = model;
    model = NULL;
out:
    prle_model_destroy(model);
    return st;
}

prle_status prle_model_load(prle_model **out, prle_checkpoint_info *info, uint64_t *hash, const char *path, prle_dtype dtype)
{
    prle_status st = PRLE_OK;
    char *file_path = NULL;
    prle_h5 *file = NULL;

    PRLE_TRY_OUT(checkpoint_path(path, &file_path));
    PRLE_TRY_OUT(prle_h5_open(file_path, PRLE_CHECKPOINT_SCHEMA, PRLE_CHECKPOINT_VERSION, &file));
    PRLE_TRY_OUT(model_read(file, out, info, dtype == PRLE_F64 ? PRLE_F64 : PRLE_F32));
    if (hash != NULL)
        *hash = prle_model_hash(*out);
out:
    prle_h5_close(file);
    prle_free(file_path);
    return st;
}

prle_status prle_model_start_from(prle_model *model, const char *path, int *n_loaded)
{
    prle_status st = PRLE_OK;
    char *file_path = NULL, net[PRLE_NAME_BYTES];
    prle_h5 *file = NULL;
    prle_net_opts opts;

    PRLE_TRY_OUT(checkpoint_path(path, &file_path));
    PRLE_TRY_OUT(prle_h5_open(file_path, PRLE_CHECKPOINT_SCHEMA, PRLE_CHECKPOINT_VERSION, &file));
    PRLE_TRY_OUT(net_read(file, net, &opts));
    PRLE_CHECK_OUT(strcmp(net, model->graph->name) == 0, PRLE_EFORMAT, "%s: holds weights of %s, not of %s", file_path, net,
                   model->graph->name);
    PRLE_TRY_OUT(state_read(file, model, true, n_loaded));
out:
    prle_h5_close(file);
    prle_free(file_path);
    return st;
}

uint64_t prle_model_hash(const prle_model *model)
{
    const size_t size = prle_dtype_bytes(model->dtype);
    const uint64_t hash = prle_hash(PRLE_HASH_INIT, model->weights, (size_t)model->graph->n_weights * size);

    return prle_hash(hash, model->stats, (size_t)model->graph->n_stats * size);
}
