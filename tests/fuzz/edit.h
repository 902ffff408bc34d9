/* edit.h - good HDF5 files with wild contents: any bytes say what is changed, HDF5 itself writes it. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

/** Writes the file that `seed` makes to `path`, but with the changes that the bytes say; every string of bytes says some. */
PRLE_NODISCARD prle_status fuzz_edit(const char *path, const uint8_t *bytes, size_t n_bytes,
                                     prle_status (*seed)(const char *path));
