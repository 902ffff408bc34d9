/* rows.h - HDF5 files of one row an image, made in parts by any number of ranks and then put together: what prle.cam and
 * prle.maps have in common (docs/formats.md, "Row files"). */
#pragma once
#include <stdint.h>

#include "core/hdf5.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PRLE_ROWS_MAX_FIELDS = 4 };

/** One dataset, [N, row...] in the finished file. */
typedef struct prle_rows_field {
    const char *name;
    prle_h5_type type;
    prle_shape row;   /* of one image: [h,w], or no dimensions for a single number; at most three */
    bool compressed;  /* a chunk a row, shuffle and deflate; else contiguous */
    const void *fill; /* one element: what images read as that were never written */
} prle_rows_field;

/** One root attribute that says how the rows were made; parts made otherwise are refused. */
typedef struct prle_rows_note {
    const char *name;
    prle_h5_type type; /* PRLE_H5_STRING, PRLE_H5_I64 or PRLE_H5_F64: which of the next three counts */
    const char *text;
    int64_t integer;
    double real;
} prle_rows_note;

#define PRLE_ROWS_TEXT(name_, value)                                                                                             \
    {                                                                                                                            \
        .name = (name_), .type = PRLE_H5_STRING, .text = (value)                                                                 \
    }
#define PRLE_ROWS_INT(name_, value)                                                                                              \
    {                                                                                                                            \
        .name = (name_), .type = PRLE_H5_I64, .integer = (value)                                                                 \
    }
#define PRLE_ROWS_REAL(name_, value)                                                                                             \
    {                                                                                                                            \
        .name = (name_), .type = PRLE_H5_F64, .real = (value)                                                                    \
    }

typedef struct prle_rows_spec {
    const char *schema; /* "prle.cam"; its parts are "prle.cam.part" */
    int version;
    int64_t n; /* images of the face store: the rows of the finished file */
    const prle_rows_field *fields;
    int n_fields;
    const prle_rows_note *notes;
    int n_notes;
} prle_rows_spec;

/* Parts: one unit of work each, whole as soon as they are there. */

/** folder/unit-000123.h5; prle_free it. */
PRLE_NODISCARD prle_status prle_rows_part_path(const char *folder, int64_t unit, char **path);

/**
 * Commits one unit: n >= 1 images with these indices in the face store, all different; data[f] is [n, row...] of field f. A
 * CRC-32 of each image's rows goes with it.
 */
PRLE_NODISCARD prle_status prle_rows_part_write(const char *path, const prle_rows_spec *spec, const int64_t *index, int64_t n,
                                                const void *const *data);

/** PRLE_OK: the part is whole, made with the same notes and fields, and holds just these images. Else the message says why. */
PRLE_NODISCARD prle_status prle_rows_part_check(const char *path, const prle_rows_spec *spec, const int64_t *index, int64_t n);

/** Called after each part while a file is put together, so that ranks that wait know all is well; a failure ends the work. */
typedef struct prle_rows_beat {
    prle_status (*call)(void *ctx);
    void *ctx;
} prle_rows_beat;

/**
 * Puts units 0 ... n_units - 1 of a folder together at `path`; images in no unit keep the fill. PRLE_EFORMAT names a part that is
 * missing, made otherwise, or holds an image that an earlier one has. Compressed rows are copied as they are; memory: one part's
 * uncompressed fields. The parts stay: remove the folder after success. beat: NULL for none.
 */
PRLE_NODISCARD prle_status prle_rows_compact(const char *path, const prle_rows_spec *spec, const char *folder, int64_t n_units,
                                             const prle_rows_beat *beat);

/* Finished files. */

typedef struct prle_rows prle_rows;

/** Takes the file over, also on failure; `spec` (n, fields) is what it must be. Reads the manifest. */
PRLE_NODISCARD prle_status prle_rows_open(prle_h5 *file, const prle_rows_spec *spec, prle_rows **out);
void prle_rows_close(prle_rows *rows); /* NULL is fine */

prle_h5 *prle_rows_file(prle_rows *rows);             /* borrowed */
int64_t prle_rows_count(const prle_rows *rows);       /* images written */
uint64_t prle_rows_checksum(const prle_rows *rows);   /* prle_hash of written and crc: names the content */
bool prle_rows_has(const prle_rows *rows, int64_t i); /* 0 <= i < n */

/** The row of one image; thread-safe. PRLE_EINVAL when i is out of range or was never written. */
PRLE_NODISCARD prle_status prle_rows_read(prle_rows *rows, int field, int64_t i, void *out);

/** Compares data[f], all fields of image i as read, with the CRC in the manifest; PRLE_EFORMAT names file and image. */
PRLE_NODISCARD prle_status prle_rows_verify(const prle_rows *rows, int64_t i, const void *const *data);

#ifdef __cplusplus
}
#endif
