/* sheet.h - contact sheets: rows of equal pictures in one, for looking at many at a glance. */
#pragma once
#include <stdint.h>

#include "core/image.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PRLE_SHEET_GAP = 4 }; /* white pixels around each tile */

/** White paper for rows x columns tiles. Read `image`; fill it with prle_sheet_put. */
typedef struct prle_sheet {
    prle_image image; /* RGB */
    int64_t rows, columns, tile_height, tile_width;
} prle_sheet;

/** PRLE_ESHAPE names the size when it passes PRLE_IMAGE_MAX_SIDE. Yours to deinit. */
PRLE_NODISCARD prle_status prle_sheet_init(prle_sheet *out, int64_t rows, int64_t columns, int64_t tile_height,
                                           int64_t tile_width);
void prle_sheet_deinit(prle_sheet *sheet); /* an all-zero one is fine */

/** Copies a picture, gray or RGB, into place (row, column), both from 0; one of another size is brought to the tile's by area.
 * PRLE_EINVAL for a place outside. */
PRLE_NODISCARD prle_status prle_sheet_put(prle_sheet *sheet, int64_t row, int64_t column, const prle_image *tile);

#ifdef __cplusplus
}
#endif
