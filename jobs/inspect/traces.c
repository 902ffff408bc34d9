/* traces.c - see traces.h. */
#include "jobs/inspect/traces.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "core/image.h"

enum { CHANGED = 128 };

typedef struct work {
    const prle_maps *maps;
    const prle_faces *faces;
    uint16_t *rank; /* [H,W] */
    void *file;     /* a mask's PNG */
} work;

static prle_status store_check(const prle_maps *maps, const prle_faces *faces)
{
    char hash[17];

    PRLE_CHECK(strcmp(maps->info.faces, prle_hash_print(faces->content_hash, hash)) == 0, PRLE_EINVAL,
               "%s: made of the store with content hash %s, %s has %s", maps->path, maps->info.faces, faces->path, hash);
    PRLE_CHECK(maps->info.n == faces->n && maps->info.height == faces->height && maps->info.width == faces->width, PRLE_EINVAL,
               "%s: %" PRId64 " maps of %" PRId64 " x %" PRId64 ", %s has images of another size or number", maps->path,
               maps->info.n, maps->info.height, maps->info.width, faces->path);
    return PRLE_OK;
}

static prle_status mask_read(const work *w, int64_t i, prle_image *mask)
{
    const size_t n_bytes = prle_faces_mask_bytes(w->faces, i);

    PRLE_TRY(prle_faces_read_mask(w->faces, i, w->file));
    if (prle_image_decode(mask, w->file, n_bytes, 1) != PRLE_OK)
        return prle_error_prefix("%s: mask of image %" PRId64, w->faces->path, i);
    PRLE_CHECK(mask->height == w->faces->height && mask->width == w->faces->width, PRLE_EFORMAT,
               "%s: mask of image %" PRId64 " has %" PRId64 " x %" PRId64 " pixels", w->faces->path, i, mask->height,
               mask->width);
    return PRLE_OK;
}

/* V is where the rank is below the area. */
static prle_status overlap_add(prle_traces *sum, const work *w, int64_t i)
{
    const int64_t cells = w->maps->info.height * w->maps->info.width, area = w->maps->area[i];
    prle_image mask = {0};
    int64_t n_changed = 0, n_both = 0;
    const prle_status st = mask_read(w, i, &mask);

    if (st == PRLE_OK)
        for (int64_t at = 0; at < cells; at++) {
            const bool changed = mask.data[at] >= CHANGED;
            n_changed += changed;
            n_both += changed && w->rank[at] < area;
        }
    prle_image_deinit(&mask);
    PRLE_TRY(st);
    if (n_changed == 0)
        return PRLE_OK;
    const double inside = (double)n_both / (double)area, changed = (double)n_changed / (double)cells;
    sum->n_masked++;
    sum->changed += changed;
    sum->inside += inside;
    sum->covered += (double)n_both / (double)n_changed;
    sum->lift += inside / changed;
    return PRLE_OK;
}

static prle_status image_add(prle_traces *sum, const work *w, int64_t i)
{
    const uint32_t area = w->maps->area[i];

    sum->n++;
    sum->region += (double)area / (double)(w->maps->info.height * w->maps->info.width);
    if (area == 0 || prle_faces_mask_bytes(w->faces, i) == 0)
        return PRLE_OK;
    PRLE_TRY(prle_maps_read_rank(w->maps, i, w->rank));
    return overlap_add(sum, w, i);
}

static void means_make(prle_traces *t)
{
    t->region /= (double)t->n; /* 0 / 0 is NaN: none */
    t->changed /= (double)t->n_masked;
    t->inside /= (double)t->n_masked;
    t->covered /= (double)t->n_masked;
    t->lift /= (double)t->n_masked;
}

prle_status prle_traces_measure(prle_traces *out, const prle_maps *maps, const prle_faces *faces)
{
    prle_status st = PRLE_OK;
    work w = {.maps = maps, .faces = faces};

    PRLE_TRY(store_check(maps, faces));
    PRLE_TRY_OUT(PRLE_NEW(w.rank, maps->info.height * maps->info.width));
    PRLE_TRY_OUT(prle_alloc(faces->max_mask_bytes + 1, 1, (prle_any_ptr *)&w.file));
    memset(out, 0, (size_t)faces->n_methods * sizeof *out);
    for (int64_t i = 0; i < faces->n; i++)
        if (prle_maps_has(maps, i))
            PRLE_TRY_OUT(image_add(&out[faces->method[i]], &w, i));
    for (int64_t m = 0; m < faces->n_methods; m++)
        means_make(&out[m]);
out:
    prle_free(w.rank);
    prle_free(w.file);
    return st;
}
