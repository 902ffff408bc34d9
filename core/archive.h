/* archive.h - a foreign file of weights as a table of named tensors: safetensors, and both containers of PyTorch's .pth. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/file.h"
#include "core/status.h"
#include "core/strings.h"
#include "core/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The file is data from anywhere. No code in it is run; a tensor is in the table only when all its elements lie inside of the
 * file; memory for the table grows with the file's own bytes, and tensors are read one at a time. Messages name the file;
 * PRLE_EFORMAT: its content is wrong or damaged, PRLE_ENOTSUP: it may be right, but nothing here reads it (the message says what
 * to do).
 */

enum {
    PRLE_ARCHIVE_MAX_DIMS = 8,
    PRLE_ARCHIVE_MAX_TENSORS = 1 << 16,
    PRLE_ARCHIVE_NAME_BYTES = 256, /* the longest name, its zero included */
};

/** Element types as they are stored, little-endian. */
typedef enum prle_stored {
    PRLE_STORED_BOOL,
    PRLE_STORED_U8,
    PRLE_STORED_I8,
    PRLE_STORED_U16,
    PRLE_STORED_I16,
    PRLE_STORED_U32,
    PRLE_STORED_I32,
    PRLE_STORED_U64,
    PRLE_STORED_I64,
    PRLE_STORED_F16,
    PRLE_STORED_BF16,
    PRLE_STORED_F32,
    PRLE_STORED_F64,
    PRLE_STORED_OTHER_1, /* 8-bit floats, complex and quantised numbers: of known size, in the table, never read */
    PRLE_STORED_OTHER_4,
    PRLE_STORED_OTHER_8,
    PRLE_STORED_OTHER_16,
} prle_stored;

size_t prle_stored_bytes(prle_stored type);
const char *prle_stored_name(prle_stored type); /* "f32", "bf16", "i64"; "other" */
bool prle_stored_is_real(prle_stored type);     /* F16, BF16, F32, F64 */

/** One tensor: element (i, j, ...) begins at byte at + (i * stride[0] + j * stride[1] + ...) * prle_stored_bytes(type). */
typedef struct prle_archive_tensor {
    const char *name; /* keys from the outermost dictionary on, joined by dots: "state_dict.fc.weight"; printable UTF-8 */
    prle_stored type;
    int n_dims;                            /* 0: a scalar */
    int64_t dim[PRLE_ARCHIVE_MAX_DIMS];    /* a 0 among them: no elements */
    int64_t stride[PRLE_ARCHIVE_MAX_DIMS]; /* in elements, not negative; 0: the same elements again */
    uint64_t at;                           /* in the file */
} prle_archive_tensor;

/** Read freely, change nothing. */
typedef struct prle_archive {
    char *path;
    const char *format; /* "safetensors", "pytorch zip", "pytorch legacy" */
    int fd;
    uint64_t n_bytes; /* of the file */
    int64_t n;
    prle_archive_tensor *tensor; /* [n], in the order of the file's dictionary */
    prle_names names;            /* index: that of tensor */
    prle_names skipped;          /* what is in the file and was not understood: "argparse.Namespace"; printable */
    struct prle_archive_sum {
        uint64_t at, n_bytes;
        uint32_t crc;
    } * sum; /* [n_sums] parts of the file with a CRC-32 */
    int64_t n_sums;
} prle_archive;

/** Recognises the format by the file's first bytes, reads names, types and shapes, checks that all tensors lie in the file. */
PRLE_NODISCARD prle_status prle_archive_open(prle_archive **out, const char *path);
void prle_archive_close(prle_archive *archive); /* NULL is fine */

/** Compares what the file has checksums for with them (.pth zip; the other formats have none): reads it all once. */
PRLE_NODISCARD prle_status prle_archive_verify(const prle_archive *archive);

/** Elements of a tensor; PRLE_EFORMAT when there are more than an int64_t counts. */
PRLE_NODISCARD prle_status prle_archive_count(const prle_archive *archive, int64_t i, int64_t *out);

/**
 * All elements of tensor i in row-major order, each converted to `type`: exactly, but for F64 to F32, which rounds to nearest.
 *
 * out   [count]  float for PRLE_STORED_F32, double for F64 (of real numbers only), int64_t for I64 (of integers only; U64 above
 *                INT64_MAX is PRLE_EFORMAT). Other types, or integers for real numbers, are PRLE_ENOTSUP.
 */
PRLE_NODISCARD prle_status prle_archive_read(const prle_archive *archive, int64_t i, prle_stored type, void *out);

/** "[64,3,7,7]" into text, which has room for 192 bytes; returns text. */
const char *prle_archive_shape_print(const prle_archive_tensor *tensor, char text[192]);

/* ---- writing safetensors ---- */

/** A tensor of a file to be written. */
typedef struct prle_safetensor {
    const char *name;
    prle_stored type;
    prle_shape shape;
} prle_safetensor;

/**
 * Writes a whole file under its final name. The data is that of `piece` end to end, and holds the tensors one after the other in
 * the order of `tensor`. metadata: pairs key, value, ended by NULL, into the file's __metadata__.
 */
PRLE_NODISCARD prle_status prle_safetensors_write(const char *path, const prle_safetensor *tensor, int64_t n,
                                                  const prle_piece *piece, int n_pieces, const char *const *metadata);

#ifdef __cplusplus
}
#endif
