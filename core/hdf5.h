/* hdf5.h - the one wrapper of HDF5: typed datasets and attributes in files that appear under their final name only when whole. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/alloc.h"
#include "core/status.h"
#include "core/strings.h"
#include "core/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Every call may be made from any thread (one lock serialises them). Names are paths inside the file: "label", "adam/m/conv1".
 * Messages name file and dataset or attribute. PRLE_EFORMAT: the content is not what was asked for, or damaged; PRLE_EIO: the
 * system or HDF5 failed to write.
 */
typedef struct prle_h5 prle_h5;

/** Element types on disk and in memory; a dataset is read only as what it is, never converted. F16 is uint16_t (core/half.h). */
typedef enum prle_h5_type {
    PRLE_H5_U8,
    PRLE_H5_U16,
    PRLE_H5_U32,
    PRLE_H5_U64,
    PRLE_H5_I64,
    PRLE_H5_F16,
    PRLE_H5_F32,
    PRLE_H5_F64,
    PRLE_H5_STRING, /* only reported by prle_h5_dataset_get and read by prle_h5_read_strings */
} prle_h5_type;

size_t prle_h5_type_bytes(prle_h5_type type);     /* 0 for strings */
const char *prle_h5_type_name(prle_h5_type type); /* "u8", "f16", "string", ... */

/**
 * Begins `path` as a temporary file beside it, with the root attributes schema, version and created_by (revision, command line).
 * Nothing is at `path` before prle_h5_commit.
 */
PRLE_NODISCARD prle_status prle_h5_create(const char *path, const char *schema, int version, prle_h5 **out);

/**
 * Closes every dataset and the file, checking each, then fsync, rename to the final name, fsync of the folder. Only
 * prle_h5_close may follow, whatever it returns.
 */
PRLE_NODISCARD prle_status prle_h5_commit(prle_h5 *file);

/**
 * Opens read only. PRLE_EFORMAT with a clear message for what is no HDF5 file, is one in HDF5's old format without checksums, has
 * no or another schema, or a version above max_version. schema NULL takes any file, also without a schema.
 */
PRLE_NODISCARD prle_status prle_h5_open(const char *path, const char *schema, int max_version, prle_h5 **out);

void prle_h5_close(prle_h5 *file); /* removes what was not committed; NULL is fine */

const char *prle_h5_path(const prle_h5 *file);   /* as given; borrowed */
const char *prle_h5_schema(const prle_h5 *file); /* "" when there is none; borrowed */
int prle_h5_version(const prle_h5 *file);        /* 0 when there is none */

/* Attributes of the root group. Reading one that is missing or of another kind is PRLE_EFORMAT. */

PRLE_NODISCARD prle_status prle_h5_attr_write_string(prle_h5 *file, const char *name, const char *value);
PRLE_NODISCARD prle_status prle_h5_attr_write_int(prle_h5 *file, const char *name, int64_t value);
PRLE_NODISCARD prle_status prle_h5_attr_write_double(prle_h5 *file, const char *name, double value);
bool prle_h5_attr_exists(prle_h5 *file, const char *name);
PRLE_NODISCARD prle_status prle_h5_attr_read_string(prle_h5 *file, const char *name, char **value); /* prle_free it */
PRLE_NODISCARD prle_status prle_h5_attr_read_int(prle_h5 *file, const char *name, int64_t *value);
PRLE_NODISCARD prle_status prle_h5_attr_read_double(prle_h5 *file, const char *name, double *value);

/** PRLE_H5_STRING, PRLE_H5_I64 (any integer) or PRLE_H5_F64 (any real number). */
PRLE_NODISCARD prle_status prle_h5_attr_type(prle_h5 *file, const char *name, prle_h5_type *type);
PRLE_NODISCARD prle_status prle_h5_attr_list(prle_h5 *file, prle_strings *names); /* sorted, appended */

/* Datasets. */

typedef struct prle_h5_dataset {
    prle_h5_type type;
    prle_shape shape;
    uint64_t offset;       /* of the first byte in the file, when contiguous; 0 when chunked or never written */
    uint64_t stored_bytes; /* in the file, after compression */
    bool chunked;
} prle_h5_dataset;

bool prle_h5_exists(prle_h5 *file, const char *name); /* a dataset or a group */
PRLE_NODISCARD prle_status prle_h5_dataset_get(prle_h5 *file, const char *name, prle_h5_dataset *out);

/** Names of the members of a group ("/" is the root), sorted and appended; a group's own members need another call. */
PRLE_NODISCARD prle_status prle_h5_list(prle_h5 *file, const char *group, prle_strings *names);
bool prle_h5_is_group(prle_h5 *file, const char *name);

/** A whole contiguous dataset at once; missing groups are made. data may be NULL when the shape has no elements. */
PRLE_NODISCARD prle_status prle_h5_write(prle_h5 *file, const char *name, prle_h5_type type, const prle_shape *shape,
                                         const void *data);

/** A whole dataset of exactly this type and shape. */
PRLE_NODISCARD prle_status prle_h5_read(prle_h5 *file, const char *name, prle_h5_type type, const prle_shape *shape, void *data);

/**
 * A whole dataset of this type into a fresh block (prle_free it; NULL when it has no elements). `shape`: the number of dimensions
 * is asked for, and each that is not negative; filled in on success. The block is bounded by what the file can hold.
 */
PRLE_NODISCARD prle_status prle_h5_read_alloc(prle_h5 *file, const char *name, prle_h5_type type, prle_shape *shape,
                                              prle_any_ptr *data);

/** [n] strings, zero bytes excluded, stored at the longest one's length. */
PRLE_NODISCARD prle_status prle_h5_write_strings(prle_h5 *file, const char *name, const char *const *strings, int64_t n);

/** Fixed or variable length, one dimension; appended to the list. */
PRLE_NODISCARD prle_status prle_h5_read_strings(prle_h5 *file, const char *name, prle_strings *strings);

/** How a dataset is laid out that is filled row by row; a row is everything behind the first dimension. */
typedef struct prle_h5_layout {
    int64_t chunk_rows; /* 0: contiguous, as it is; else in chunks of so many rows */
    int deflate;        /* of chunks: shuffle, and this level 1 .. 9; 0: not compressed */
    bool checked;       /* of chunks: a checksum each (Fletcher-32), compared when they are read */
    const void *fill;   /* one element: what a row reads as that was never written; NULL for zero */
} prle_h5_layout;

/** Makes a dataset whose rows are written later; a contiguous one takes its full length in the file at once. */
PRLE_NODISCARD prle_status prle_h5_define(prle_h5 *file, const char *name, prle_h5_type type, const prle_shape *shape,
                                          const prle_h5_layout *layout);

/** Rows [first, first + n). The dataset must have this type; the row size is its own. */
PRLE_NODISCARD prle_status prle_h5_write_rows(prle_h5 *file, const char *name, prle_h5_type type, int64_t first, int64_t n,
                                              const void *data);
PRLE_NODISCARD prle_status prle_h5_read_rows(prle_h5 *file, const char *name, prle_h5_type type, int64_t first, int64_t n,
                                             void *data);

/**
 * Copies one row as the compressed chunk it is, from a dataset of one file into the same-named one of another; both have one row
 * a chunk, the same type and the same filters. A tenth of the time of reading and writing it.
 */
PRLE_NODISCARD prle_status prle_h5_copy_row(prle_h5 *to, int64_t to_row, prle_h5 *from, int64_t from_row, const char *name);

#ifdef __cplusplus
}
#endif
