/* fuzz_cam.c - a network's attention maps: opened, and each image's read. */
#include "cam/cam_file.h"
#include "core/alloc.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/seeds.h"

static prle_status cams_read(const prle_cam *cam)
{
    prle_status st = PRLE_OK;
    float *values = NULL;

    PRLE_TRY_OUT(PRLE_NEW(values, cam->info.height * cam->info.width));
    for (int64_t i = 0; i < cam->info.n; i++)
        if (prle_cam_has(cam, i))
            PRLE_TRY_OUT(prle_cam_read(cam, i, values));
out:
    prle_free(values);
    return st;
}

static prle_status use(const char *path)
{
    prle_cam *cam = NULL;

    PRLE_TRY(prle_cam_open(path, &cam));
    const prle_status st = cams_read(cam);
    prle_cam_close(cam);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    const char *path = fuzz_h5_file(bytes, n_bytes, seed_cam);
    const int64_t live = prle_alloc_live();

    return fuzz_end(use(path), live, path);
}
