/* archive_impl.h - what the readers of one format each give to archive.c. */
#pragma once
#include "core/archive.h"

/**
 * Adds a tensor to the table. Its elements must lie in [begin, end) of the file, and its offset (elements from begin to element
 * 0) and strides be such that they do; the name be new, short and printable. name, dim, stride are copied.
 */
typedef struct prle_archive_view {
    const char *name;
    prle_stored type;
    int n_dims;
    const int64_t *dim, *stride; /* stride NULL: row-major without gaps */
    int64_t offset;
    uint64_t begin, end;
} prle_archive_view;
PRLE_NODISCARD prle_status prle_archive_add(prle_archive *archive, const prle_archive_view *view);

/** Notes something that was not understood; unprintable bytes become ?. */
PRLE_NODISCARD prle_status prle_archive_skip(prle_archive *archive, const char *what);

/** A part of the file that has a checksum. */
PRLE_NODISCARD prle_status prle_archive_sum_add(prle_archive *archive, uint64_t at, uint64_t n_bytes, uint32_t crc);

/** n_bytes at `at`, which must lie in the file, into fresh memory. */
PRLE_NODISCARD prle_status prle_archive_take(const prle_archive *archive, uint64_t at, uint64_t n_bytes, uint8_t **out);

/* The readers: the archive has path, fd and n_bytes; they fill the table and set format. */
PRLE_NODISCARD prle_status prle_safetensors_read(prle_archive *archive);
PRLE_NODISCARD prle_status prle_torch_zip_read(prle_archive *archive);
PRLE_NODISCARD prle_status prle_torch_legacy_read(prle_archive *archive);

/* Little-endian numbers at any address. */
static inline uint16_t prle_le16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline uint32_t prle_le32(const uint8_t *p) { return (uint32_t)prle_le16(p) | (uint32_t)prle_le16(p + 2) << 16; }
static inline uint64_t prle_le64(const uint8_t *p) { return (uint64_t)prle_le32(p) | (uint64_t)prle_le32(p + 4) << 32; }
