/* cache.h - results that take long to make and can be made again, kept between processes: files in the user's cache folder. Any
 * may be removed at any time; processes, ranks and machines may share the folder. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * PRLE_CACHE in the environment (empty: none), else $XDG_CACHE_HOME/prle, else $HOME/.cache/prle. NULL: nothing is kept. It need
 * not be there. prle_free it.
 */
PRLE_NODISCARD prle_status prle_cache_folder(char **out);

/**
 * What was put under `key`, any text; value[n_bytes] is a zero that is not counted. prle_free it. `kind`: a subfolder.
 *
 * PRLE_ENOTSUP where nothing is kept or nothing was put; PRLE_EFORMAT for a file that is damaged or another key's: a file is only
 * believed when it is, byte for byte, what put writes for this key and the value in it.
 */
PRLE_NODISCARD prle_status prle_cache_get(const char *kind, const char *key, uint8_t **value, size_t *n_bytes);

/** Replaces what is there, whole or not at all. Fine where nothing is kept. PRLE_EIO where it cannot be written. */
PRLE_NODISCARD prle_status prle_cache_put(const char *kind, const char *key, const void *value, size_t n_bytes);

#ifdef __cplusplus
}
#endif
