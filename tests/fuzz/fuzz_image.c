/* fuzz_image.c - JPEG and PNG files: header, then pixels in colour and in gray. */
#include "core/alloc.h"
#include "core/image.h"
#include "tests/fuzz/fuzz.h"

static prle_status use(const uint8_t *bytes, size_t n_bytes)
{
    prle_image_info info;
    prle_image image = {0};

    PRLE_TRY(prle_image_info_read(&info, bytes, n_bytes));
    for (int channels = 1; channels <= 3; channels += 2) {
        PRLE_TRY(prle_image_decode(&image, bytes, n_bytes, channels));
        if (image.height != info.height || image.width != info.width)
            abort();
        prle_image_deinit(&image);
    }
    return PRLE_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    const int64_t live = prle_alloc_live();

    return fuzz_end(use(bytes, n_bytes), live, "");
}
