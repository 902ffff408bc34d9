/* make_seeds.c - writes the files that the fuzzers begin with. Usage: fuzz_seeds FOLDER */
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/image.h"
#include "tests/core/image_fixtures.h"
#include "tests/fuzz/seeds.h"

enum { SIDE = 16 };

static char paths[4][512];

/* FOLDER/KIND/NAME, its folder made; good for three more calls. */
static const char *path_of(const char *folder, const char *kind, const char *name)
{
    static int turn;
    char *path = paths[turn = (turn + 1) % 4];

    snprintf(path, sizeof paths[0], "%s/%s", folder, kind);
    if (prle_folder_make(path) != PRLE_OK)
        return "";
    snprintf(path, sizeof paths[0], "%s/%s/%s", folder, kind, name);
    return path;
}

static prle_status image_make(prle_image *image, int channels, int64_t i)
{
    PRLE_TRY(prle_image_init(image, SIDE, SIDE, channels));
    for (int64_t at = 0; at < SIDE * SIDE * channels; at++)
        image->data[at] = (uint8_t)(at * (3 + i) + at / 50);
    return PRLE_OK;
}

static const char csv[] = "path,identity,\"x, 0\",y0\r\ntrain/real/a/000.png,7,1.5,-2e3\r\n\"b \"\"q\"\"\",,nan,\r\n";
static const char yaml[] =
    "# options\njson: true\ntrain:\n  net: [xception, \"resnet50\"]\n  lr: 2e-4\n  mask: ~\n  text: |\n    a\n    b\n";

static prle_status pictures_write(const char *folder)
{
    prle_image gray = {0}, colour = {0};
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(image_make(&gray, 1, 0));
    PRLE_TRY_OUT(image_make(&colour, 3, 1));
    PRLE_TRY_OUT(prle_image_save(path_of(folder, "png", "gray.png"), &gray, NULL));
    PRLE_TRY_OUT(prle_image_save(path_of(folder, "png", "colour.png"), &colour, NULL));
    PRLE_TRY_OUT(prle_image_save(path_of(folder, "jpeg", "gray.jpg"), &gray, NULL));
    PRLE_TRY_OUT(prle_image_save(path_of(folder, "jpeg", "colour.jpg"), &colour, NULL));
    PRLE_TRY_OUT(prle_file_write_atomic(path_of(folder, "jpeg", "cmyk.jpg"), cmyk_jpeg, sizeof cmyk_jpeg));
    PRLE_TRY_OUT(prle_file_write_atomic(path_of(folder, "png", "gray16.png"), gray16_png, sizeof gray16_png));
    PRLE_TRY_OUT(prle_file_write_atomic(path_of(folder, "png", "palette.png"), palette_png, sizeof palette_png));
    PRLE_TRY_OUT(prle_file_write_atomic(path_of(folder, "png", "rgba.png"), rgba_png, sizeof rgba_png));
    PRLE_TRY_OUT(prle_file_write_atomic(path_of(folder, "png", "interlaced.png"), interlaced_png, sizeof interlaced_png));
out:
    prle_image_deinit(&gray);
    prle_image_deinit(&colour);
    return st;
}

static prle_status all_write(const char *folder)
{
    PRLE_TRY(pictures_write(folder));
    PRLE_TRY(prle_file_write_atomic(path_of(folder, "csv", "table.csv"), csv, strlen(csv)));
    PRLE_TRY(prle_file_write_atomic(path_of(folder, "yaml", "options.yaml"), yaml, strlen(yaml)));
    PRLE_TRY(seed_faces(path_of(folder, "faces", "faces.h5")));
    PRLE_TRY(seed_maps(path_of(folder, "maps", "maps.h5")));
    PRLE_TRY(seed_cam(path_of(folder, "cam", "cam.h5")));
    PRLE_TRY(seed_faces(path_of(folder, "hdf5", "faces.h5")));
    PRLE_TRY(seed_maps(path_of(folder, "hdf5", "maps.h5")));
    return seed_checkpoint(path_of(folder, "checkpoint", "checkpoint.h5"));
}

int main(int argc, char **argv)
{
    if (argc != 2 || all_write(argv[1]) != PRLE_OK) {
        fprintf(stderr, "fuzz_seeds: %s\n", prle_error_message());
        return 1;
    }
    return 0;
}
