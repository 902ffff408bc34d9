/* gallery.c - see gallery.h. */
#include "jobs/show/gallery.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "core/heatmap.h"
#include "core/rankmap.h"
#include "jobs/names.h"

enum { N_ALPHAS = 10 };

/* ---- opening ---- */

static prle_status store_check(const prle_gallery *g, const char *path, int64_t n, const char *hash)
{
    char own[17];

    PRLE_CHECK(n == g->faces->n && strcmp(hash, prle_hash_print(g->faces->content_hash, own)) == 0, PRLE_EFORMAT,
               "%s: was made for another face store than %s", path, g->faces->path);
    return PRLE_OK;
}

static prle_status maps_open(prle_gallery *g)
{
    const prle_faces *faces = g->faces;

    if (g->opts.maps == NULL)
        return PRLE_OK;
    PRLE_TRY(prle_maps_open(g->opts.maps, &g->maps));
    PRLE_TRY(store_check(g, g->opts.maps, g->maps->info.n, g->maps->info.faces));
    PRLE_CHECK(g->maps->info.height == faces->height && g->maps->info.width == faces->width, PRLE_EFORMAT,
               "%s: maps of %" PRId64 " x %" PRId64 " for faces of %" PRId64 " x %" PRId64, g->opts.maps, g->maps->info.height,
               g->maps->info.width, faces->height, faces->width);
    return PRLE_NEW(g->rank, faces->height * faces->width);
}

static prle_status cams_open(prle_gallery *g)
{
    int64_t largest = 0;

    PRLE_TRY(PRLE_NEW(g->cam, g->opts.cams->n));
    for (; g->n_cams < g->opts.cams->n; g->n_cams++) {
        const char *path = g->opts.cams->item[g->n_cams];
        prle_cam **cam = &g->cam[g->n_cams];

        PRLE_TRY(prle_cam_open(path, cam));
        const int64_t pixels = (*cam)->info.height * (*cam)->info.width;
        largest = pixels > largest ? pixels : largest;
        if (store_check(g, path, (*cam)->info.n, (*cam)->info.faces) != PRLE_OK) {
            prle_cam_close(*cam);
            return PRLE_EFORMAT;
        }
    }
    return PRLE_NEW(g->map, largest);
}

static prle_status looks_create(prle_gallery *g)
{
    const prle_look_opts look = {.device = g->opts.device,
                                 .batch = 1,
                                 .dtype = g->opts.dtype,
                                 .maps = true,
                                 .method = g->opts.method,
                                 .target = g->opts.target};

    PRLE_TRY(PRLE_NEW(g->look, g->opts.models->n));
    PRLE_TRY(PRLE_NEW(g->scores, g->opts.models->n));
    for (; g->n_models < g->opts.models->n; g->n_models++)
        PRLE_TRY(prle_look_create(&g->look[g->n_models], g->opts.models->item[g->n_models], &look));
    return PRLE_OK;
}

static prle_status tile_add(prle_gallery *g, prle_tile tile, const char *what, const char *name)
{
    PRLE_TRY(prle_asprintf(&tile.title, "%s%s", what, name));
    g->tile[g->n_tiles++] = tile;
    return PRLE_OK;
}

static prle_status tiles_list(prle_gallery *g)
{
    prle_status st = PRLE_OK;
    prle_strings cams = {0}, models = {0};
    char alpha[16];

    PRLE_TRY_OUT(PRLE_NEW(g->tile, 3 + g->n_cams + g->n_models + N_ALPHAS));
    PRLE_TRY_OUT(prle_short_names(&cams, g->opts.cams));
    PRLE_TRY_OUT(prle_short_names(&models, g->opts.models));
    PRLE_TRY_OUT(tile_add(g, (prle_tile){.kind = PRLE_TILE_FACE}, "face", ""));
    if (g->faces->mask_offset != NULL)
        PRLE_TRY_OUT(tile_add(g, (prle_tile){.kind = PRLE_TILE_TRUTH}, "changed by the forgery", ""));
    if (g->maps != NULL)
        PRLE_TRY_OUT(tile_add(g, (prle_tile){.kind = PRLE_TILE_ATTENTION}, "fused attention of ", g->maps->info.zoo));
    for (int64_t i = 0; i < g->n_cams; i++)
        PRLE_TRY_OUT(tile_add(g, (prle_tile){.kind = PRLE_TILE_CAM, .which = i}, "zoo member ", cams.item[i]));
    for (int64_t i = 0; i < g->n_models; i++)
        PRLE_TRY_OUT(tile_add(g, (prle_tile){.kind = PRLE_TILE_MODEL, .which = i}, "model ", models.item[i]));
    g->n_looks = g->n_tiles;
    for (int tenths = g->maps != NULL ? N_ALPHAS : 0; tenths > 0; tenths--) {
        snprintf(alpha, sizeof alpha, "%.1f", tenths / 10.0);
        PRLE_TRY_OUT(tile_add(g, (prle_tile){.kind = PRLE_TILE_HIDDEN, .alpha = tenths / 10.0}, "alpha ", alpha));
    }
out:
    prle_strings_deinit(&models);
    prle_strings_deinit(&cams);
    return st;
}

prle_status prle_gallery_create(prle_gallery **out, const prle_gallery_opts *opts)
{
    prle_status st = PRLE_OK;
    prle_gallery *g = NULL;

    PRLE_TRY(PRLE_NEW(g, 1));
    g->opts = *opts;
    PRLE_TRY_OUT(prle_faces_open(opts->data, &g->faces));
    PRLE_TRY_OUT(maps_open(g));
    PRLE_TRY_OUT(cams_open(g));
    PRLE_TRY_OUT(looks_create(g));
    PRLE_TRY_OUT(tiles_list(g));
    PRLE_TRY_OUT(prle_decoder_create(&g->decoder));
    PRLE_TRY_OUT(PRLE_NEW(g->bytes, g->faces->max_image_bytes + g->faces->max_mask_bytes));
    PRLE_TRY_OUT(PRLE_NEW(g->mask, g->faces->height * g->faces->width));
    *out = g;
    g = NULL;
out:
    prle_gallery_destroy(g);
    return st;
}

void prle_gallery_destroy(prle_gallery *g)
{
    if (g == NULL)
        return;
    for (int64_t i = 0; i < g->n_tiles; i++)
        prle_free(g->tile[i].title);
    for (int64_t i = 0; i < g->n_cams; i++)
        prle_cam_close(g->cam[i]);
    for (int64_t i = 0; i < g->n_models; i++)
        prle_look_destroy(g->look[i]);
    prle_decoder_destroy(g->decoder);
    prle_maps_close(g->maps);
    prle_faces_close(g->faces);
    prle_free(g->tile);
    prle_free(g->scores);
    prle_free(g->cam);
    prle_free(g->look);
    prle_free(g->bytes);
    prle_free(g->mask);
    prle_free(g->rank);
    prle_free(g->map);
    prle_free(g);
}

bool prle_gallery_has(const prle_gallery *g, int64_t i)
{
    for (int64_t c = 0; c < g->n_cams; c++)
        if (!prle_cam_has(g->cam[c], i))
            return false;
    return g->maps == NULL || prle_maps_has(g->maps, i);
}

/* ---- drawing; `tile` is initialised with the face ---- */

static prle_status draw_truth(prle_gallery *g, int64_t i, prle_image *tile)
{
    const size_t n_bytes = prle_faces_mask_bytes(g->faces, i), capacity = prle_image_bytes(tile);

    if (n_bytes == 0) {
        prle_image_deinit(tile);
        return PRLE_OK;
    }
    PRLE_TRY(prle_faces_read_mask(g->faces, i, g->bytes));
    return prle_decoder_decode_into(g->decoder, tile, capacity, g->bytes, n_bytes, 3);
}

static prle_status draw_attention(prle_gallery *g, int64_t i, prle_image *tile)
{
    const prle_image attention = {.height = tile->height, .width = tile->width, .channels = 1, .data = g->mask};

    PRLE_TRY(prle_maps_read_attention(g->maps, i, g->mask));
    return prle_heatmap_overlay(tile, tile, &attention, g->opts.strength);
}

static prle_status draw_cam(prle_gallery *g, int64_t i, const prle_cam *cam, prle_image *tile)
{
    PRLE_TRY(prle_cam_read(cam, i, g->map));
    return prle_heatmap_overlay_map(tile, tile, g->map, cam->info.height, cam->info.width, g->opts.strength);
}

static prle_status draw_model(prle_gallery *g, int64_t i, int64_t which, prle_image *tile)
{
    prle_look *look = g->look[which];

    PRLE_TRY(prle_look_put(look, 0, tile, g->faces->label[i]));
    PRLE_TRY(prle_look_run(look, 1));
    g->scores[which] = look->scores[0];
    return prle_heatmap_overlay_map(tile, tile, look->maps, look->map_height, look->map_width, g->opts.strength);
}

static prle_status draw_hidden(prle_gallery *g, int64_t i, double alpha, prle_image *tile)
{
    PRLE_TRY(prle_maps_read_rank(g->maps, i, g->rank));
    PRLE_TRY(prle_mask_from_rank(g->rank, tile->height * tile->width, g->maps->area[i], alpha, g->mask));
    return prle_heatmap_hide(tile, tile, g->mask);
}

static prle_status draw(prle_gallery *g, int64_t i, const prle_tile *what, prle_image *tile)
{
    switch (what->kind) {
    case PRLE_TILE_FACE: return PRLE_OK;
    case PRLE_TILE_TRUTH: return draw_truth(g, i, tile);
    case PRLE_TILE_ATTENTION: return draw_attention(g, i, tile);
    case PRLE_TILE_CAM: return draw_cam(g, i, g->cam[what->which], tile);
    case PRLE_TILE_MODEL: return draw_model(g, i, what->which, tile);
    case PRLE_TILE_HIDDEN: return draw_hidden(g, i, what->alpha, tile);
    }
    return PRLE_OK;
}

static prle_status face_read(prle_gallery *g, int64_t i, prle_image *face)
{
    const size_t capacity = prle_image_bytes(face);

    PRLE_TRY(prle_faces_read(g->faces, i, g->bytes));
    if (prle_decoder_decode_into(g->decoder, face, capacity, g->bytes, prle_faces_image_bytes(g->faces, i), 3) != PRLE_OK)
        return prle_error_prefix("%s: image %" PRId64, g->faces->path, i);
    return PRLE_OK;
}

prle_status prle_gallery_draw(prle_gallery *g, int64_t i, prle_image *tiles)
{
    prle_status st = PRLE_OK;

    memset(tiles, 0, (size_t)g->n_tiles * sizeof *tiles);
    for (int64_t t = 0; t < g->n_tiles; t++) {
        PRLE_TRY_OUT(prle_image_init(&tiles[t], g->faces->height, g->faces->width, 3));
        if (t == 0)
            PRLE_TRY_OUT(face_read(g, i, &tiles[0]));
        else
            memcpy(tiles[t].data, tiles[0].data, prle_image_bytes(&tiles[0]));
        PRLE_TRY_OUT(draw(g, i, &g->tile[t], &tiles[t]));
    }
out:
    for (int64_t t = 0; t < g->n_tiles && st != PRLE_OK; t++)
        prle_image_deinit(&tiles[t]);
    return st;
}
