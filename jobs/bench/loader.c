/* loader.c - what an image costs the loader's threads, and its mask: CPU time, which a busy machine does not change much. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "augment/loader.h"
#include "core/alloc.h"
#include "core/file.h"
#include "jobs/bench/bench.h"
#include "jobs/bench/data.h"

enum { N_IMAGES = 128, MAX_SIDE = 256, MAX_ROUNDS = 100 };

typedef struct pass {
    prle_loader *loader;
    uint32_t *samples;
    int64_t *sizes, n_batches;
} pass;

static prle_status pass_run(const pass *p, uint32_t epoch)
{
    const prle_batch *batch = NULL;

    PRLE_TRY(prle_loader_begin(p->loader, epoch, p->samples, p->sizes, p->n_batches));
    for (int64_t b = 0; b < p->n_batches; b++)
        PRLE_TRY(prle_loader_next(p->loader, &batch));
    return PRLE_OK;
}

static prle_rate rate_of(double *values, int n)
{
    prle_rate r = {.median = prle_bench_median(values, n)};

    r.low = values[0];
    r.high = values[n - 1];
    return r;
}

static prle_status cell_add(prle_bench_report *report, const char *what, double *values, int n)
{
    prle_bench_cell cell = {.suite = "loader", .unit = "us an image", .rate = rate_of(values, n)};

    snprintf(cell.what, sizeof cell.what, "%s", what);
    return prle_bench_add(report, &cell);
}

/* Rounds of one epoch each; the first, uncounted one fills the page cache. */
static prle_status rounds(prle_bench_report *report, const prle_bench_opts *o, const pass *p, const char *what, bool masked)
{
    const int n = o->rounds < MAX_ROUNDS ? o->rounds : MAX_ROUNDS;
    double all[MAX_ROUNDS], mask[MAX_ROUNDS];
    char of_mask[64];

    PRLE_TRY(pass_run(p, 0));
    for (int r = 0; r < n; r++) {
        const prle_loader_stats before = prle_loader_stats_get(p->loader);
        PRLE_TRY(pass_run(p, (uint32_t)r + 1));
        const prle_loader_stats after = prle_loader_stats_get(p->loader);
        const double images = (double)(after.images - before.images);
        all[r] = 1e6 * (after.cpu_s - before.cpu_s) / images;
        mask[r] = 1e6 * (after.mask_cpu_s - before.mask_cpu_s) / images;
    }
    PRLE_TRY(cell_add(report, what, all, n));
    if (!masked)
        return PRLE_OK;
    snprintf(of_mask, sizeof of_mask, "%s, of which the mask", what);
    return cell_add(report, of_mask, mask, n);
}

static prle_status kind(prle_bench_report *report, const prle_bench_opts *o, const prle_faces *faces, const prle_maps *maps,
                        prle_mask_kind mask, prle_mask_fill fill, prle_augment augment)
{
    prle_loader_opts opts = PRLE_LOADER_OPTS_DEFAULT;
    const int64_t n = faces->n < N_IMAGES ? faces->n : N_IMAGES, batch = o->batch < n ? o->batch : n;
    const bool masked = mask != PRLE_MASK_NONE;
    pass p = {.n_batches = n / batch};
    char what[64];
    prle_status st = PRLE_OK;

    opts.height = opts.width = o->size;
    opts.mask.kind = mask;
    opts.mask.fill = fill;
    opts.augment = augment;
    PRLE_TRY_OUT(PRLE_NEW(p.samples, n));
    PRLE_TRY_OUT(PRLE_NEW(p.sizes, p.n_batches));
    for (int64_t i = 0; i < n; i++)
        p.samples[i] = (uint32_t)i;
    for (int64_t b = 0; b < p.n_batches; b++)
        p.sizes[b] = batch;
    PRLE_TRY_OUT(prle_loader_create(&p.loader, faces, maps, &opts, batch));
    snprintf(what, sizeof what, "mask %s%s%s%s", prle_mask_kind_words[mask], masked ? " " : "",
             masked ? prle_mask_fill_words[fill] : "", augment == PRLE_AUGMENT_NONE ? "" : ", augment bench");
    PRLE_TRY_OUT(rounds(report, o, &p, what, masked));
out:
    prle_loader_destroy(p.loader);
    prle_free(p.samples);
    prle_free(p.sizes);
    return st;
}

static prle_status kinds(prle_bench_report *report, const prle_bench_opts *o, const char *faces_path, const char *maps_path)
{
    prle_faces *faces = NULL;
    prle_maps *maps = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_faces_open(faces_path, &faces));
    PRLE_TRY_OUT(kind(report, o, faces, NULL, PRLE_MASK_NONE, PRLE_FILL_ZERO, PRLE_AUGMENT_NONE));
    PRLE_TRY_OUT(kind(report, o, faces, NULL, PRLE_MASK_NONE, PRLE_FILL_ZERO, PRLE_AUGMENT_BENCH));
    if (maps_path != NULL) {
        PRLE_TRY_OUT(prle_maps_open(maps_path, &maps));
        PRLE_TRY_OUT(kind(report, o, faces, maps, PRLE_MASK_PRIMARY, PRLE_FILL_ZERO, PRLE_AUGMENT_NONE));
        PRLE_TRY_OUT(kind(report, o, faces, maps, PRLE_MASK_PRIMARY, PRLE_FILL_NOISE, PRLE_AUGMENT_NONE));
        PRLE_TRY_OUT(kind(report, o, faces, maps, PRLE_MASK_RANDOM, PRLE_FILL_ZERO, PRLE_AUGMENT_NONE));
    }
    PRLE_TRY_OUT(kind(report, o, faces, NULL, PRLE_MASK_LANDMARK, PRLE_FILL_ZERO, PRLE_AUGMENT_NONE));
out:
    prle_maps_close(maps);
    prle_faces_close(faces);
    return st;
}

/* In a folder that lives as long as the suite. */
static prle_status made_up(prle_bench_report *report, const prle_bench_opts *o)
{
    const char *tmp = getenv("TMPDIR");
    char *folder = NULL, *faces = NULL, *maps = NULL;
    bool made = false;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_path_join(tmp != NULL ? tmp : "/tmp", "prle-bench-XXXXXX", &folder));
    made = mkdtemp(folder) != NULL;
    PRLE_CHECK_OUT(made, PRLE_EIO, "%s: cannot make a temporary folder; TMPDIR says where", folder);
    PRLE_TRY_OUT(prle_path_join(folder, "faces.h5", &faces));
    PRLE_TRY_OUT(prle_path_join(folder, "maps.h5", &maps));
    PRLE_TRY_OUT(prle_bench_data_make(folder, N_IMAGES, o->size < MAX_SIDE ? o->size : MAX_SIDE, o->seed));
    PRLE_TRY_OUT(kinds(report, o, faces, maps));
out:
    if (made && prle_folder_remove(folder) != PRLE_OK && st == PRLE_OK)
        st = PRLE_EIO;
    prle_free(folder);
    prle_free(faces);
    prle_free(maps);
    return st;
}

prle_status prle_bench_loader(prle_bench_report *report, const prle_bench_opts *o)
{
    if (o->data != NULL)
        return kinds(report, o, o->data, o->maps);
    PRLE_CHECK(o->maps == NULL, PRLE_EINVAL, "--maps %s needs the store it is of: --data FILE", o->maps);
    return made_up(report, o);
}
