/* file.h - whole files in and out: read at once, write so that a final name only ever shows a whole, fsynced file. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The whole file into *bytes (prle_free it); bytes[n_bytes] is a zero that is not counted, so that text can be parsed as a
 * string. PRLE_EIO names the path and the system's reason.
 */
PRLE_NODISCARD prle_status prle_file_read_all(const char *path, uint8_t **bytes, size_t *n_bytes);

/** Writes path.tmp.PID, fsyncs, renames over `path`, fsyncs the folder; on failure the temporary file is removed. */
PRLE_NODISCARD prle_status prle_file_write_atomic(const char *path, const void *bytes, size_t n_bytes);

/**
 * Writes and fsyncs a file under its own name at once: for files inside a temporary folder that prle_file_publish names later.
 * On failure it is removed.
 */
PRLE_NODISCARD prle_status prle_file_write(const char *path, const void *bytes, size_t n_bytes);

/**
 * Gives a finished file or folder its final name: fsync of `tmp_path`, rename (a file replaces an older one; a folder must not
 * exist yet), fsync of the folder around it. For writers that have their own way of filling the temporary one.
 */
PRLE_NODISCARD prle_status prle_file_publish(const char *tmp_path, const char *path);

/** True when something of that name is there. */
bool prle_file_exists(const char *path);

/** Makes the folder and those above it; one that is there already is fine. */
PRLE_NODISCARD prle_status prle_folder_make(const char *path);

/** Removes a folder and all in it without following links; one that is not there is fine. */
PRLE_NODISCARD prle_status prle_folder_remove(const char *path);

#ifdef __cplusplus
}
#endif
