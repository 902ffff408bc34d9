/* bench_loader.c - what loading costs: images per second and thread, and CPU time of the mask. Usage: bench_loader [FACES.h5] */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "augment/loader.h"
#include "tests/augment/fixture.h"

enum { N = 256, BATCH = 16, EPOCHS = 5, SIDE = 256 };

static prle_status bench(const prle_faces *faces, const prle_maps *maps, prle_mask_kind kind, prle_mask_fill fill,
                         prle_augment augment, int64_t side)
{
    prle_status st = PRLE_OK;
    prle_loader *loader = NULL;
    const prle_batch *batch = NULL;
    prle_loader_opts opts = PRLE_LOADER_OPTS_DEFAULT;
    prle_loader_stats stats;
    uint32_t samples[N];
    int64_t sizes[N / BATCH];

    opts.height = opts.width = side;
    opts.mask.kind = kind;
    opts.mask.fill = fill;
    opts.augment = augment;
    for (int64_t i = 0; i < N; i++)
        samples[i] = (uint32_t)(i % faces->n);
    for (int64_t b = 0; b < N / BATCH; b++)
        sizes[b] = BATCH;
    PRLE_TRY_OUT(prle_loader_create(&loader, faces, maps, &opts, BATCH));
    for (uint32_t epoch = 0; epoch < EPOCHS; epoch++) {
        PRLE_TRY_OUT(prle_loader_begin(loader, epoch, samples, sizes, N / BATCH));
        for (int64_t b = 0; b < N / BATCH; b++)
            PRLE_TRY_OUT(prle_loader_next(loader, &batch));
    }
    stats = prle_loader_stats_get(loader);
    printf("mask %-8s fill %-5s augment %-5s to %3lld: %6.0f images/s of CPU, %5.0f us an image, of which mask %6.1f us (%lld "
           "masked of %lld)\n",
           prle_mask_kind_words[kind], prle_mask_fill_words[fill], prle_augment_words[augment], (long long)side,
           (double)stats.images / stats.cpu_s, 1e6 * stats.cpu_s / (double)stats.images,
           1e6 * stats.mask_cpu_s / (double)stats.images, (long long)stats.masked, (long long)stats.images);
out:
    prle_loader_destroy(loader);
    return st;
}

static prle_status run(const char *given, const char *folder)
{
    const fixture f = {.n = N, .height = SIDE, .width = SIDE, .jpeg = true, .bad = -1, .other_size = -1};
    prle_status st = PRLE_OK;
    prle_faces *faces = NULL;
    prle_maps *maps = NULL;
    char faces_path[128], maps_path[128], parts[128];

    snprintf(faces_path, sizeof faces_path, "%s/faces.h5", folder);
    snprintf(maps_path, sizeof maps_path, "%s/maps.h5", folder);
    snprintf(parts, sizeof parts, "%s/parts", folder);
    if (given == NULL)
        PRLE_TRY_OUT(fixture_faces(&f, faces_path));
    PRLE_TRY_OUT(prle_faces_open(given != NULL ? given : faces_path, &faces));
    printf("%s: %lld x %lld, %.1f KB an image\n", faces->path, (long long)faces->width, (long long)faces->height,
           1e-3 * (double)faces->offset[faces->n] / (double)faces->n);
    if (given == NULL) {
        PRLE_TRY_OUT(fixture_maps(&f, faces, parts, maps_path));
        PRLE_TRY_OUT(prle_maps_open(maps_path, &maps));
        PRLE_TRY_OUT(bench(faces, maps, PRLE_MASK_PRIMARY, PRLE_FILL_ZERO, PRLE_AUGMENT_NONE, faces->width));
        PRLE_TRY_OUT(bench(faces, maps, PRLE_MASK_PRIMARY, PRLE_FILL_NOISE, PRLE_AUGMENT_NONE, faces->width));
        PRLE_TRY_OUT(bench(faces, maps, PRLE_MASK_RANDOM, PRLE_FILL_ZERO, PRLE_AUGMENT_NONE, faces->width));
    }
    PRLE_TRY_OUT(bench(faces, maps, PRLE_MASK_NONE, PRLE_FILL_ZERO, PRLE_AUGMENT_NONE, faces->width));
    PRLE_TRY_OUT(bench(faces, maps, PRLE_MASK_NONE, PRLE_FILL_ZERO, PRLE_AUGMENT_NONE, 299));
    PRLE_TRY_OUT(bench(faces, maps, PRLE_MASK_LANDMARK, PRLE_FILL_ZERO, PRLE_AUGMENT_NONE, faces->width));
    PRLE_TRY_OUT(bench(faces, maps, PRLE_MASK_NONE, PRLE_FILL_ZERO, PRLE_AUGMENT_BENCH, faces->width));
out:
    prle_maps_close(maps);
    prle_faces_close(faces);
    return st;
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/prle_bench_XXXXXX";

    if (mkdtemp(folder) == NULL)
        return 1;
    const prle_status st = run(argc > 1 ? argv[1] : NULL, folder);
    if (st != PRLE_OK)
        fprintf(stderr, "%s\n", prle_error_details());
    return prle_folder_remove(folder) == PRLE_OK && st == PRLE_OK ? 0 : 1;
}
