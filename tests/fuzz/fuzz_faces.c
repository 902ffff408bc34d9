/* fuzz_faces.c - face stores: opened, and each image and mask read. */
#include "augment/faces.h"
#include "core/alloc.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/seeds.h"

static prle_status images_read(const prle_faces *faces)
{
    prle_status st = PRLE_OK;
    uint8_t *image = NULL, *mask = NULL;

    PRLE_TRY_OUT(PRLE_NEW(image, faces->max_image_bytes));
    PRLE_TRY_OUT(PRLE_NEW(mask, faces->max_mask_bytes));
    for (int64_t i = 0; i < faces->n; i++) {
        PRLE_TRY_OUT(prle_faces_read(faces, i, image));
        PRLE_TRY_OUT(prle_faces_read_mask(faces, i, mask));
        if (faces->method_names[faces->method[i]] == NULL || faces->video_names[faces->video[i]] == NULL)
            abort();
    }
    PRLE_TRY_OUT(prle_faces_verify(faces));
out:
    prle_free(image);
    prle_free(mask);
    return st;
}

static prle_status use(const char *path)
{
    prle_faces *faces = NULL;

    PRLE_TRY(prle_faces_open(path, &faces));
    const prle_status st = images_read(faces);
    prle_faces_close(faces);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    const char *path = fuzz_h5_file(bytes, n_bytes, seed_faces);
    const int64_t live = prle_alloc_live();

    return fuzz_end(use(path), live, path);
}
