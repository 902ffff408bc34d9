/* sheet.c - see sheet.h. */
#include "core/sheet.h"

#include <string.h>

prle_status prle_sheet_init(prle_sheet *out, int64_t rows, int64_t columns, int64_t tile_height, int64_t tile_width)
{
    prle_image image = {0};
    const int64_t limit = PRLE_IMAGE_MAX_SIDE;

    PRLE_CHECK(rows >= 1 && columns >= 1 && tile_height >= 1 && tile_width >= 1 && rows <= limit && columns <= limit &&
                   tile_height <= limit && tile_width <= limit,
               PRLE_ESHAPE, "sheet of %lld x %lld pictures of %lld x %lld pixels: each must be 1 ... %lld", (long long)rows,
               (long long)columns, (long long)tile_height, (long long)tile_width, (long long)limit);
    const int64_t height = PRLE_SHEET_GAP + rows * (tile_height + PRLE_SHEET_GAP);
    const int64_t width = PRLE_SHEET_GAP + columns * (tile_width + PRLE_SHEET_GAP);
    if (prle_image_init(&image, height, width, 3) != PRLE_OK)
        return prle_error_prefix("sheet of %lld rows of %lld pictures", (long long)rows, (long long)columns);
    memset(image.data, 255, prle_image_bytes(&image));
    *out = (prle_sheet){.image = image, .rows = rows, .columns = columns, .tile_height = tile_height, .tile_width = tile_width};
    return PRLE_OK;
}

void prle_sheet_deinit(prle_sheet *sheet)
{
    prle_image_deinit(&sheet->image);
    *sheet = (prle_sheet){0};
}

/* A tile of the right size; gray becomes R = G = B. */
static void copy(prle_sheet *sheet, int64_t row, int64_t column, const prle_image *tile)
{
    const int64_t top = PRLE_SHEET_GAP + row * (sheet->tile_height + PRLE_SHEET_GAP);
    const int64_t left = PRLE_SHEET_GAP + column * (sheet->tile_width + PRLE_SHEET_GAP);

    for (int64_t y = 0; y < tile->height; y++) {
        const uint8_t *in = tile->data + y * tile->width * tile->channels;
        uint8_t *out = sheet->image.data + ((top + y) * sheet->image.width + left) * 3;
        for (int64_t x = 0; x < tile->width; x++)
            for (int64_t c = 0; c < 3; c++)
                out[3 * x + c] = in[x * tile->channels + (tile->channels == 3 ? c : 0)];
    }
}

prle_status prle_sheet_put(prle_sheet *sheet, int64_t row, int64_t column, const prle_image *tile)
{
    prle_status st = PRLE_OK;
    prle_image fitted = {0};

    PRLE_CHECK(row >= 0 && row < sheet->rows && column >= 0 && column < sheet->columns, PRLE_EINVAL,
               "place (%lld, %lld) of a sheet of %lld x %lld pictures", (long long)row, (long long)column, (long long)sheet->rows,
               (long long)sheet->columns);
    if (tile->height == sheet->tile_height && tile->width == sheet->tile_width) {
        copy(sheet, row, column, tile);
        return PRLE_OK;
    }
    PRLE_TRY_OUT(prle_image_init(&fitted, sheet->tile_height, sheet->tile_width, tile->channels));
    PRLE_TRY_OUT(prle_image_resize(&fitted, tile, PRLE_RESIZE_AREA));
    copy(sheet, row, column, &fitted);
out:
    prle_image_deinit(&fitted);
    return st;
}
