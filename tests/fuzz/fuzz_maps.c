/* fuzz_maps.c - fused maps: opened, and each image's read and compared with the manifest. */
#include "augment/maps.h"
#include "core/alloc.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/seeds.h"

static prle_status maps_read(const prle_maps *maps)
{
    prle_status st = PRLE_OK;
    uint16_t *rank = NULL;
    uint8_t *attention = NULL;

    PRLE_TRY_OUT(PRLE_NEW(rank, maps->info.height * maps->info.width));
    PRLE_TRY_OUT(PRLE_NEW(attention, maps->info.height * maps->info.width));
    for (int64_t i = 0; i < maps->info.n; i++) {
        if (!prle_maps_has(maps, i))
            continue;
        PRLE_TRY_OUT(prle_maps_read_rank(maps, i, rank));
        PRLE_TRY_OUT(prle_maps_read_attention(maps, i, attention));
        PRLE_TRY_OUT(prle_maps_verify(maps, i));
    }
out:
    prle_free(rank);
    prle_free(attention);
    return st;
}

static prle_status use(const char *path)
{
    prle_maps *maps = NULL;

    PRLE_TRY(prle_maps_open(path, &maps));
    const prle_status st = maps_read(maps);
    prle_maps_close(maps);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    const char *path = fuzz_h5_file(bytes, n_bytes, seed_maps);
    const int64_t live = prle_alloc_live();

    return fuzz_end(use(path), live, path);
}
