/* replay.c - the targets without a fuzzer, for the normal tests: every file of the folders given, whole, cut and damaged. */
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/rng.h"
#include "core/strings.h"
#include "tests/fuzz/fuzz.h"

enum { CUTS = 32, DAMAGED = 96, RANDOM = 150, RANDOM_BYTES = 48 };

static int64_t n_inputs;

static void give(const uint8_t *bytes, size_t n_bytes)
{
    LLVMFuzzerTestOneInput(bytes, n_bytes);
    n_inputs++;
}

/* The same damage every time: a few bytes of each copy are others. */
static void give_damaged(uint8_t *bytes, size_t n_bytes)
{
    for (uint32_t i = 0; n_bytes > 0 && i < CUTS; i++)
        give(bytes, n_bytes * i / CUTS);
    for (uint32_t i = 0; n_bytes > 0 && i < DAMAGED; i++) {
        prle_rng rng = prle_rng_make(17, i, 0, PRLE_RNG_TEST);
        uint8_t kept[4];
        uint32_t at[4];
        for (int k = 0; k < 4; k++) {
            at[k] = prle_rng_below(&rng, (uint32_t)n_bytes);
            kept[k] = bytes[at[k]];
            bytes[at[k]] = (uint8_t)prle_rng_below(&rng, 256);
        }
        give(bytes, n_bytes);
        for (int k = 3; k >= 0; k--)
            bytes[at[k]] = kept[k];
    }
}

/* To readers of HDF5 these are changes of a good file. */
static void give_random(void)
{
    uint8_t bytes[RANDOM_BYTES];

    for (uint32_t i = 0; i < RANDOM; i++) {
        prle_rng rng = prle_rng_make(18, i, 0, PRLE_RNG_TEST);
        for (int k = 0; k < RANDOM_BYTES; k++)
            bytes[k] = (uint8_t)prle_rng_below(&rng, k % 3 == 0 ? 256 : 24);
        give(bytes, sizeof bytes);
    }
}

static prle_status replay(const char *path, bool damage)
{
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;

    PRLE_TRY(prle_file_read_all(path, &bytes, &n_bytes));
    prle_error_clear();
    give(bytes, n_bytes);
    if (damage)
        give_damaged(bytes, n_bytes);
    prle_free(bytes);
    return PRLE_OK;
}

static prle_status replay_folder(const char *folder, bool damage)
{
    prle_status st = PRLE_OK;
    prle_strings names = {0};
    char *path = NULL;

    if (!prle_folder_exists(folder))
        return PRLE_OK;
    PRLE_TRY(prle_folder_list(folder, &names));
    for (int64_t i = 0; i < names.n; i++) {
        PRLE_TRY_OUT(prle_path_join(folder, names.item[i], &path));
        PRLE_TRY_OUT(replay(path, damage));
        prle_free(path);
        path = NULL;
    }
out:
    prle_free(path);
    prle_strings_deinit(&names);
    return st;
}

/* replay_READER SEEDS [FOUND]: seeds are damaged as well, inputs that a fuzzer found are given as they are. */
int main(int argc, char **argv)
{
    give((const uint8_t *)"", 0);
    give_random();
    for (int i = 1; i < argc; i++) {
        if (replay_folder(argv[i], i == 1) != PRLE_OK) {
            fprintf(stderr, "%s\n", prle_error_message());
            return 1;
        }
    }
    printf("%lld inputs\n", (long long)n_inputs);
    return n_inputs > 1 + RANDOM ? 0 : 1;
}
