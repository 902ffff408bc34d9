/* gallery.h - the pictures that `prle show` makes of an image: the face, what detectors look at, what masks hide. */
#pragma once
#include "augment/faces.h"
#include "augment/maps.h"
#include "cam/cam_file.h"
#include "core/image.h"
#include "jobs/look.h"

typedef struct prle_gallery_opts {
    const prle_device *device;  /* of the models */
    const char *data;           /* face store */
    const char *maps;           /* maps.h5, or NULL */
    const prle_strings *cams;   /* files of zoo members */
    const prle_strings *models; /* run folders or checkpoints */
    prle_cam_method method;     /* of the models' maps, and the next */
    prle_cam_target target;
    prle_dtype dtype; /* of the models */
    double strength;  /* of the colours over the face, [0,1] */
} prle_gallery_opts;

typedef enum prle_tile_kind {
    PRLE_TILE_FACE,
    PRLE_TILE_TRUTH,     /* white where the forgery changed the face; only in stores that know */
    PRLE_TILE_ATTENTION, /* the fused map over the face */
    PRLE_TILE_CAM,       /* a zoo member's map over it */
    PRLE_TILE_MODEL,     /* a model's map over it, made now */
    PRLE_TILE_HIDDEN,    /* the face without the alpha |V| highest positions of its fused map */
} prle_tile_kind;

typedef struct prle_tile {
    prle_tile_kind kind;
    int64_t which; /* cam or model */
    double alpha;  /* of HIDDEN */
    char *title;
} prle_tile;

/** Everything open that pictures are made from. Read what stands above the scratch. */
typedef struct prle_gallery {
    prle_faces *faces;
    prle_maps *maps; /* NULL without */
    int64_t n_tiles; /* of each image: looks first, then HIDDEN from alpha 1.0 down to 0.1 */
    int64_t n_looks;
    prle_tile *tile;
    int64_t n_models;
    double *scores; /* [n_models] P(fake) of the last image drawn */

    prle_gallery_opts opts;
    int64_t n_cams;
    prle_cam **cam;
    prle_look **look;
    prle_decoder *decoder;
    uint8_t *bytes; /* a file of the store */
    uint8_t *mask;  /* [H,W] */
    uint16_t *rank; /* [H,W] */
    float *map;     /* of the largest cam */
} prle_gallery;

/** Opens all files and refuses maps and cams of another store. */
PRLE_NODISCARD prle_status prle_gallery_create(prle_gallery **out, const prle_gallery_opts *opts);
void prle_gallery_destroy(prle_gallery *gallery); /* NULL is fine */

/** Whether image i has a map in every file. */
bool prle_gallery_has(const prle_gallery *gallery, int64_t i);

/** Draws image i. tiles [n_tiles] out: yours to deinit each; one without data has nothing to show (the truth of a real face). */
PRLE_NODISCARD prle_status prle_gallery_draw(prle_gallery *gallery, int64_t i, prle_image *tiles);
