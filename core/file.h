/* file.h - files as the house wants them: read whole or exactly, and present under their final name only when whole. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "core/strings.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Errors are PRLE_EIO unless said otherwise; they name the path and the system's reason ("No space left on device"). */

/**
 * The whole file into *bytes (prle_free it); bytes[n_bytes] is a zero that is not counted, so that text can be parsed as a
 * string.
 */
PRLE_NODISCARD prle_status prle_file_read_all(const char *path, uint8_t **bytes, size_t *n_bytes);

/** The same for files from outside: PRLE_EFORMAT, before anything is allocated, when there are more than limit_bytes. */
PRLE_NODISCARD prle_status prle_file_read_limited(const char *path, size_t limit_bytes, uint8_t **bytes, size_t *n_bytes);

/** Writes folder/.NAME.tmp.PID and publishes it as folder/NAME; on failure the temporary file is removed. */
PRLE_NODISCARD prle_status prle_file_write_atomic(const char *path, const void *bytes, size_t n_bytes);

/** Bytes that stand one after the other in a file. */
typedef struct prle_piece {
    const void *bytes;
    size_t n_bytes;
} prle_piece;

/** The same of several pieces end to end, without a copy of them. */
PRLE_NODISCARD prle_status prle_file_write_pieces_atomic(const char *path, const prle_piece *piece, int n_pieces);

/** Where a writer that opens files itself (HDF5) makes the file `path` until prle_file_publish: folder/.NAME.tmp.PID; prle_free
 * it. */
PRLE_NODISCARD prle_status prle_file_temp_path(const char *path, char **tmp_path);

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

/**
 * Removes what killed writers left in a folder: every file or folder ".NAME.tmp.PID", of any name when name is NULL. Only for a
 * caller who knows that nobody writes there now. A folder that is not there is fine.
 */
PRLE_NODISCARD prle_status prle_file_remove_stale(const char *folder, const char *name);

/** The same for what killed writers of just this path left beside it. */
PRLE_NODISCARD prle_status prle_file_remove_stale_of(const char *path);

/** True when something of that name is there. */
bool prle_file_exists(const char *path);

PRLE_NODISCARD prle_status prle_file_size(const char *path, uint64_t *n_bytes);

/** Size and time of the last change, in nanoseconds: together they tell an edited file from an old one. */
PRLE_NODISCARD prle_status prle_file_stamp(const char *path, uint64_t *n_bytes, int64_t *changed_ns);
PRLE_NODISCARD prle_status prle_file_remove(const char *path); /* fine when it is not there */

/**
 * Gives the file a second name, which is taken from whatever had it; the file keeps its first one, so that both survive when
 * another file gets that. Where the file system has no links, the file is only renamed. Fine when it is not there.
 */
PRLE_NODISCARD prle_status prle_file_keep(const char *path, const char *second);

/** A descriptor of a regular file, for prle_file_pread; close it with prle_file_close. */
PRLE_NODISCARD prle_status prle_file_open(const char *path, int *fd);
void prle_file_close(int fd); /* negative is fine */

/**
 * Makes the file where it is missing and locks it until prle_file_close (or this process's end): for itself, or shared with
 * others who share it. Waits up to wait_s for an earlier run that is still dying; then PRLE_EIO names the folder where another
 * run works. A file system without locks is only warned about.
 */
PRLE_NODISCARD prle_status prle_file_lock(const char *path, bool shared, double wait_s, int *fd);

/**
 * n_bytes from offset: one system call where the kernel gives all at once. Threads may share the descriptor. `path` is for the
 * message. PRLE_EFORMAT when the file ends before.
 */
PRLE_NODISCARD prle_status prle_file_pread(int fd, const char *path, void *out, size_t n_bytes, uint64_t offset);

bool prle_folder_exists(const char *path);

/** Makes the folder and those above it; one that is there already is fine. */
PRLE_NODISCARD prle_status prle_folder_make(const char *path);

/** Removes a folder and all in it, or a file, without following links; one that is not there is fine. */
PRLE_NODISCARD prle_status prle_folder_remove(const char *path);

/** Appends the names in a folder, sorted by bytes, without those that begin with a dot. The list is unchanged on failure. */
PRLE_NODISCARD prle_status prle_folder_list(const char *path, prle_strings *names);

/** "a/b" of "a" and "b"; b alone when it is absolute or a is "". prle_free it. */
PRLE_NODISCARD prle_status prle_path_join(const char *a, const char *b, char **out);

/** Where the last component begins: "c.h5" in "a/b/c.h5". Borrowed. */
const char *prle_path_name(const char *path);

/** "a/b" of "a/b/c.h5", "." of "c.h5", "/" of "/c.h5". prle_free it. */
PRLE_NODISCARD prle_status prle_path_folder(const char *path, char **out);

/** The system's words for `error`, with the way out where a disk is full. Good until this thread's next call. */
const char *prle_io_reason(int error);

/** Tests: the nth file or HDF5 call from now (1 = the next) fails; 0 turns it off. */
void prle_io_fail_at(int64_t nth);

/** For the wrappers: asked before each such call; true when this one is to fail (errno is EIO then). */
bool prle_io_fails(void);

/** Such calls since the process started. */
int64_t prle_io_count(void);

#ifdef __cplusplus
}
#endif
