/* cache.c - see cache.h. An entry is one file, KIND/HASH: a header of fixed size, the key, the value. */
#include "core/cache.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/hash.h"

enum { HEADER_BYTES = 80, MAX_BYTES = 64 << 20 };

prle_status prle_cache_folder(char **out)
{
    const char *own = getenv("PRLE_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

    if (own != NULL)
        return prle_strdup(own[0] != '\0' ? own : NULL, out);
    if (xdg != NULL && xdg[0] == '/')
        return prle_path_join(xdg, "prle", out);
    if (home != NULL && home[0] == '/')
        return prle_path_join(home, ".cache/prle", out);
    *out = NULL;
    return PRLE_OK;
}

/* NULL: nothing is kept. */
static prle_status entry_path(const char *kind, const char *key, char **out)
{
    char *folder = NULL, hash[17];

    *out = NULL;
    PRLE_TRY(prle_cache_folder(&folder));
    if (folder == NULL)
        return PRLE_OK;
    const prle_status st =
        prle_asprintf(out, "%s/%s/%s", folder, kind, prle_hash_print(prle_hash(PRLE_HASH_INIT, key, strlen(key)), hash));
    prle_free(folder);
    return st;
}

/* A line, filled up with spaces. */
static void header_print(char header[HEADER_BYTES + 1], const char *key, const void *value, size_t n_bytes)
{
    const uint32_t crc = prle_crc32(prle_crc32(0, key, strlen(key)), value, n_bytes);
    char line[HEADER_BYTES + 1];

    snprintf(line, sizeof line, "prle.cache 1: crc %08" PRIx32 ", key %zu bytes, value %zu bytes", crc, strlen(key), n_bytes);
    snprintf(header, HEADER_BYTES + 1, "%-*s\n", HEADER_BYTES - 1, line);
}

prle_status prle_cache_get(const char *kind, const char *key, uint8_t **value, size_t *n_bytes)
{
    const size_t n_key = strlen(key), before = HEADER_BYTES + n_key;
    char *path = NULL, header[HEADER_BYTES + 1];
    uint8_t *bytes = NULL;
    size_t n = 0;
    prle_status st = PRLE_OK;

    PRLE_TRY(entry_path(kind, key, &path));
    PRLE_CHECK_OUT(path != NULL && prle_file_exists(path), PRLE_ENOTSUP, "nothing is kept of that");
    PRLE_TRY_OUT(prle_file_read_limited(path, MAX_BYTES, &bytes, &n));
    PRLE_CHECK_OUT(n >= before && memcmp(bytes + HEADER_BYTES, key, n_key) == 0, PRLE_EFORMAT, "%s: of something else", path);
    header_print(header, key, bytes + before, n - before);
    PRLE_CHECK_OUT(memcmp(header, bytes, HEADER_BYTES) == 0, PRLE_EFORMAT, "%s: damaged", path);
    memmove(bytes, bytes + before, n - before + 1);
    *value = bytes;
    *n_bytes = n - before;
    bytes = NULL;
out:
    prle_free(bytes);
    prle_free(path);
    return st;
}

prle_status prle_cache_put(const char *kind, const char *key, const void *value, size_t n_bytes)
{
    char *path = NULL, *folder = NULL, header[HEADER_BYTES + 1];
    const prle_piece pieces[] = {{header, HEADER_BYTES}, {key, strlen(key)}, {value, n_bytes}};
    prle_status st = PRLE_OK;

    PRLE_TRY(entry_path(kind, key, &path));
    if (path == NULL)
        return PRLE_OK;
    header_print(header, key, value, n_bytes);
    PRLE_TRY_OUT(prle_path_folder(path, &folder));
    PRLE_TRY_OUT(prle_folder_make(folder));
    PRLE_TRY_OUT(prle_file_write_pieces_atomic(path, pieces, 3));
out:
    prle_free(path);
    prle_free(folder);
    return st;
}
