/* fuzz_hdf5.c - any HDF5 file, as `prle inspect` walks it: attributes, groups, and each dataset by each of the readers. */
#include <stdio.h>

#include "core/alloc.h"
#include "core/hdf5.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/seeds.h"

enum { MAX_DEPTH = 4, MAX_MEMBERS = 64 };

static prle_status attribute_use(prle_h5 *file, const char *name)
{
    prle_h5_type type;
    int64_t integer;
    double real;
    char *text = NULL;

    PRLE_TRY(prle_h5_attr_type(file, name, &type));
    if (type == PRLE_H5_I64)
        return prle_h5_attr_read_int(file, name, &integer);
    if (type == PRLE_H5_F64)
        return prle_h5_attr_read_double(file, name, &real);
    PRLE_TRY(prle_h5_attr_read_string(file, name, &text));
    prle_free(text);
    return PRLE_OK;
}

static prle_status strings_use(prle_h5 *file, const char *name)
{
    prle_strings strings = {0};

    const prle_status st = prle_h5_read_strings(file, name, &strings);
    prle_strings_deinit(&strings);
    return st;
}

static prle_status numbers_use(prle_h5 *file, const char *name, const prle_h5_dataset *info)
{
    prle_any_ptr data = NULL;
    prle_shape shape = info->shape;

    PRLE_TRY(prle_h5_read_alloc(file, name, info->type, &shape, &data));
    prle_status st = PRLE_OK;
    if (data != NULL && shape.n >= 1)
        st = prle_h5_read_rows(file, name, info->type, shape.dim[0] - 1, 1, data);
    prle_free(data);
    return st;
}

static prle_status dataset_use(prle_h5 *file, const char *name)
{
    prle_h5_dataset info;

    PRLE_TRY(prle_h5_dataset_get(file, name, &info));
    return info.type == PRLE_H5_STRING ? strings_use(file, name) : numbers_use(file, name, &info);
}

static void members_use(prle_h5 *file, const char *group, int depth, int *n_members);

/* One that is damaged does not keep the next ones from being read. */
static void member_use(prle_h5 *file, const char *group, const char *name, int depth, int *n_members)
{
    char path[256];

    snprintf(path, sizeof path, "%s%s%s", depth == 0 ? "" : group, depth == 0 ? "" : "/", name);
    if (prle_h5_is_group(file, path))
        members_use(file, path, depth + 1, n_members);
    else
        fuzz_check(dataset_use(file, path), prle_h5_path(file));
}

static void members_use(prle_h5 *file, const char *group, int depth, int *n_members)
{
    prle_strings names = {0};

    fuzz_check(prle_h5_list(file, group, &names), prle_h5_path(file));
    for (int64_t i = 0; i < names.n && depth < MAX_DEPTH && (*n_members)++ < MAX_MEMBERS; i++)
        member_use(file, group, names.item[i], depth, n_members);
    prle_strings_deinit(&names);
}

static prle_status use(const char *path)
{
    prle_h5 *file = NULL;
    prle_strings names = {0};
    int n_members = 0;

    PRLE_TRY(prle_h5_open(path, NULL, 0, &file));
    prle_status st = prle_h5_attr_list(file, &names);
    for (int64_t i = 0; i < names.n && st == PRLE_OK; i++)
        st = attribute_use(file, names.item[i]);
    members_use(file, "/", 0, &n_members);
    prle_strings_deinit(&names);
    prle_h5_close(file);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    const char *path = fuzz_h5_file(bytes, n_bytes, seed_faces);
    const int64_t live = prle_alloc_live();

    return fuzz_end(use(path), live, path);
}
