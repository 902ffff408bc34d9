/* edit.c - see edit.h. A change is: which member, what becomes of it, and the bytes that this takes. */
#include "tests/fuzz/edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/hdf5.h"

enum { MAX_CHANGES = 16, MAX_DATA_BYTES = 1 << 20, MAX_TEXT_BYTES = 64 };

/* The good file, read once: its attributes (without those that every file has) and datasets. */
static struct {
    prle_h5 *file;
    prle_strings attrs, datasets;
    char *schema;
} good;

typedef enum change_kind { INTEGER, REAL, TEXT, DATASET, VALUES, DROP, N_KINDS } change_kind;

typedef struct change {
    int64_t member; /* attributes first */
    change_kind kind;
    const uint8_t *bytes; /* from here on */
    size_t n_bytes;
} change;

/* The next n bytes as a number, zeros behind the end. */
static uint64_t take(change *c, size_t n)
{
    uint64_t value = 0;
    const size_t have = c->n_bytes < n ? c->n_bytes : n;

    memcpy(&value, c->bytes, have);
    c->bytes += have;
    c->n_bytes -= have;
    return value;
}

static prle_status group_list(const char *group)
{
    prle_status st = PRLE_OK;
    prle_strings names = {0};
    char path[256];

    PRLE_TRY_OUT(prle_h5_list(good.file, group, &names));
    for (int64_t i = 0; i < names.n; i++) {
        snprintf(path, sizeof path, "%s%s%s", group[1] == '\0' ? "" : group, group[1] == '\0' ? "" : "/", names.item[i]);
        PRLE_TRY_OUT(prle_h5_is_group(good.file, path) ? group_list(path) : prle_strings_add(&good.datasets, path));
    }
out:
    prle_strings_deinit(&names);
    return st;
}

static void good_close(void)
{
    prle_h5_close(good.file);
    prle_strings_deinit(&good.attrs);
    prle_strings_deinit(&good.datasets);
    prle_free(good.schema);
}

static prle_status good_open(const char *path, prle_status (*seed)(const char *path))
{
    prle_status st = PRLE_OK;
    prle_strings names = {0};

    PRLE_TRY(seed(path));
    PRLE_TRY(prle_h5_open(path, NULL, 0, &good.file));
    atexit(good_close);
    PRLE_TRY_OUT(prle_strdup(prle_h5_schema(good.file), &good.schema));
    PRLE_TRY_OUT(prle_h5_attr_list(good.file, &names));
    for (int64_t i = 0; i < names.n; i++)
        if (strcmp(names.item[i], "schema") != 0 && strcmp(names.item[i], "version") != 0 &&
            strcmp(names.item[i], "created_by") != 0)
            PRLE_TRY_OUT(prle_strings_add(&good.attrs, names.item[i]));
    PRLE_TRY_OUT(group_list("/"));
out:
    prle_strings_deinit(&names);
    return st;
}

/* ---- what stays ---- */

static prle_status attr_copy(prle_h5 *to, const char *name)
{
    prle_h5_type type;
    int64_t integer;
    double real;
    char *text = NULL;

    PRLE_TRY(prle_h5_attr_type(good.file, name, &type));
    if (type == PRLE_H5_I64) {
        PRLE_TRY(prle_h5_attr_read_int(good.file, name, &integer));
        return prle_h5_attr_write_int(to, name, integer);
    }
    if (type == PRLE_H5_F64) {
        PRLE_TRY(prle_h5_attr_read_double(good.file, name, &real));
        return prle_h5_attr_write_double(to, name, real);
    }
    PRLE_TRY(prle_h5_attr_read_string(good.file, name, &text));
    const prle_status st = prle_h5_attr_write_string(to, name, text);
    prle_free(text);
    return st;
}

static prle_status strings_copy(prle_h5 *to, const char *name)
{
    prle_strings strings = {0};

    prle_status st = prle_h5_read_strings(good.file, name, &strings);
    if (st == PRLE_OK)
        st = prle_h5_write_strings(to, name, (const char *const *)strings.item, strings.n);
    prle_strings_deinit(&strings);
    return st;
}

/* Chunked ones stay so. values: written over the first bytes; NULL for none. */
static prle_status dataset_copy(prle_h5 *to, const char *name, change *values)
{
    prle_status st = PRLE_OK;
    prle_h5_dataset info;
    prle_any_ptr data = NULL;
    prle_h5_layout layout = {.deflate = 1};

    PRLE_TRY(prle_h5_dataset_get(good.file, name, &info));
    if (info.type == PRLE_H5_STRING)
        return strings_copy(to, name);
    const size_t n_bytes = (size_t)prle_shape_count(&info.shape) * prle_h5_type_bytes(info.type);
    PRLE_TRY_OUT(prle_h5_read_alloc(good.file, name, info.type, &info.shape, &data));
    if (values != NULL) {
        const size_t at = (size_t)take(values, 2), n = (size_t)take(values, 1);
        for (size_t i = at; i < at + n && i < n_bytes; i++)
            ((uint8_t *)data)[i] = (uint8_t)take(values, 1);
    }
    if (!info.chunked) {
        PRLE_TRY_OUT(prle_h5_write(to, name, info.type, &info.shape, data));
    } else {
        layout.chunk_rows = info.shape.dim[0] <= 16 ? 1 : info.shape.dim[0];
        PRLE_TRY_OUT(prle_h5_define(to, name, info.type, &info.shape, &layout));
        PRLE_TRY_OUT(prle_h5_write_rows(to, name, info.type, 0, info.shape.dim[0], data));
    }
out:
    prle_free(data);
    return st;
}

/* ---- what is changed ---- */

static void text_take(change *c, char text[MAX_TEXT_BYTES])
{
    const size_t n = (size_t)take(c, 1) % MAX_TEXT_BYTES;

    for (size_t i = 0; i < n; i++)
        text[i] = (char)take(c, 1);
    text[n] = '\0';
}

/* Any shape; what would be too large to write is only claimed, which chunks allow. */
static prle_status dataset_new(prle_h5 *to, const char *name, change *c)
{
    prle_status st = PRLE_OK;
    const prle_h5_type type = (prle_h5_type)(take(c, 1) % PRLE_H5_STRING);
    prle_shape shape = {.n = (int)(take(c, 1) % (PRLE_MAX_DIMS + 1))};
    prle_h5_layout layout = {.chunk_rows = (int64_t)take(c, 1), .deflate = (int)(take(c, 1) % 2), .checked = take(c, 1) % 2 == 1};
    uint64_t n_bytes = prle_h5_type_bytes(type);
    prle_any_ptr data = NULL;

    for (int i = 0; i < shape.n; i++) {
        const uint64_t dim = take(c, 1);
        shape.dim[i] = (int64_t)(dim < 128 ? dim : dim < 192 ? take(c, 2) : (uint64_t)1 << dim % 48);
        if (__builtin_mul_overflow(n_bytes, (uint64_t)shape.dim[i], &n_bytes))
            return PRLE_OK; /* HDF5 writes none of that size */
    }
    const bool small = n_bytes <= MAX_DATA_BYTES;
    PRLE_TRY(prle_alloc(small ? n_bytes : 0, 1, &data));
    for (uint64_t i = 0; small && i < n_bytes && c->n_bytes > 0; i++)
        ((uint8_t *)data)[i] = (uint8_t)take(c, 1);
    if (small && (shape.n == 0 || layout.chunk_rows == 0)) {
        PRLE_TRY_OUT(prle_h5_write(to, name, type, &shape, data));
    } else {
        layout.chunk_rows += layout.chunk_rows == 0;
        st = prle_h5_define(to, name, type, &shape, &layout); /* HDF5 refuses some: then it is missing */
        if (st == PRLE_OK && small)
            PRLE_TRY_OUT(prle_h5_write_rows(to, name, type, 0, shape.dim[0], data));
        st = PRLE_OK;
    }
out:
    prle_free(data);
    return st;
}

static prle_status attr_change(prle_h5 *to, const char *name, change *c)
{
    char text[MAX_TEXT_BYTES];
    double real;

    if (c->kind == INTEGER)
        return prle_h5_attr_write_int(to, name, (int64_t)take(c, 8));
    if (c->kind == REAL) {
        const uint64_t bits = take(c, 8);
        memcpy(&real, &bits, sizeof real);
        return prle_h5_attr_write_double(to, name, real);
    }
    if (c->kind == DROP)
        return PRLE_OK;
    text_take(c, text);
    return prle_h5_attr_write_string(to, name, text);
}

static prle_status dataset_change(prle_h5 *to, const char *name, change *c)
{
    char text[2][MAX_TEXT_BYTES];
    const char *const texts[2] = {text[0], text[1]};

    if (c->kind == DROP)
        return PRLE_OK;
    if (c->kind == TEXT) {
        text_take(c, text[0]);
        text_take(c, text[1]);
        return prle_h5_write_strings(to, name, texts, (int64_t)take(c, 1) % 3);
    }
    return c->kind == VALUES ? dataset_copy(to, name, c) : dataset_new(to, name, c);
}

/* Every change begins where the bytes of the one before end. */
static int changes_read(change list[MAX_CHANGES], const uint8_t *bytes, size_t n_bytes)
{
    const uint64_t n_members = (uint64_t)(good.attrs.n + good.datasets.n);
    int n = 0;

    for (size_t at = 0; at + 3 <= n_bytes && n < MAX_CHANGES; n++) {
        const size_t length = bytes[at + 2];
        list[n] = (change){.member = (int64_t)(bytes[at] % n_members), .kind = (change_kind)(bytes[at + 1] % N_KINDS)};
        at += 3;
        list[n].bytes = bytes + at;
        list[n].n_bytes = length < n_bytes - at ? length : n_bytes - at;
        at += list[n].n_bytes;
    }
    return n;
}

static change *change_find(change *list, int n, int64_t member)
{
    for (int i = 0; i < n; i++)
        if (list[i].member == member)
            return &list[i];
    return NULL;
}

static prle_status members_write(prle_h5 *to, change *list, int n)
{
    for (int64_t i = 0; i < good.attrs.n; i++) {
        change *c = change_find(list, n, i);
        PRLE_TRY(c != NULL ? attr_change(to, good.attrs.item[i], c) : attr_copy(to, good.attrs.item[i]));
    }
    for (int64_t i = 0; i < good.datasets.n; i++) {
        change *c = change_find(list, n, good.attrs.n + i);
        PRLE_TRY(c != NULL ? dataset_change(to, good.datasets.item[i], c) : dataset_copy(to, good.datasets.item[i], NULL));
    }
    return PRLE_OK;
}

prle_status fuzz_edit(const char *path, const uint8_t *bytes, size_t n_bytes, prle_status (*seed)(const char *path))
{
    prle_status st = PRLE_OK;
    prle_h5 *to = NULL;
    change list[MAX_CHANGES];

    if (good.file == NULL)
        PRLE_TRY(good_open(path, seed));
    const int n = changes_read(list, bytes, n_bytes);
    PRLE_TRY_OUT(prle_h5_create(path, good.schema, 1, &to));
    PRLE_TRY_OUT(members_write(to, list, n));
    PRLE_TRY_OUT(prle_h5_commit(to));
out:
    prle_h5_close(to);
    return st;
}
