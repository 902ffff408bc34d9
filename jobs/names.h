/* names.h - short names of paths, for tables, titles and file names. */
#pragma once
#include "core/strings.h"

/**
 * The last component of each path without ".h5": "plain" of "runs/plain/", "faces" of "data/faces.h5"; the whole path,
 * "runs-plain", of all of them where that would make two alike. PRLE_EINVAL when a path is given twice.
 *
 * names  out  a list of its own, deinit it; unchanged on failure
 */
PRLE_NODISCARD prle_status prle_short_names(prle_strings *names, const prle_strings *paths);
