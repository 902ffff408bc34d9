/* zip.h - which stretch of a ZIP file holds which entry: enough for archives whose entries are stored as they are. */
#pragma once
#include "core/archive.h"

#ifdef __cplusplus
extern "C" {
#endif

/** An entry: its data, as it is said to lie in the file. */
typedef struct prle_zip_entry {
    uint64_t header; /* where the entry's own header begins */
    uint64_t n_bytes;
    uint64_t data; /* where its bytes begin; 0 before prle_zip_find */
    uint32_t crc;
    bool stored; /* neither compressed nor encrypted */
} prle_zip_entry;

/** Start with {0}. */
typedef struct prle_zip {
    prle_names names;      /* index: that of entry */
    prle_zip_entry *entry; /* [names.list.n] */
} prle_zip;

/** Reads the central directory (ZIP64 too) of the archive's file. PRLE_EFORMAT, PRLE_ENOTSUP. */
PRLE_NODISCARD prle_status prle_zip_read(prle_zip *zip, const prle_archive *archive);

/** Sets entry->data from the entry's own header: its bytes lie in the file. PRLE_ENOTSUP when it is compressed. */
PRLE_NODISCARD prle_status prle_zip_find(prle_zip_entry *entry, const prle_archive *archive);

void prle_zip_deinit(prle_zip *zip);

#ifdef __cplusplus
}
#endif
