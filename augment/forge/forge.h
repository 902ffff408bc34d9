/* forge.h - makes an FF++-shaped data set of real and forged faces from photographs with 68 landmarks: `prle forge`. */
#pragma once
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * ROOT/{train,val,test}/real/VIDEO/FRAME.jpg            VIDEO: the photograph's name
 * ROOT/{train,val,test}/fake/METHOD/VIDEO/FRAME.jpg     VIDEO: TARGET+DONOR
 * ROOT/masks/{train,val,test}/fake/METHOD/VIDEO/FRAME.png   manipulated share of each pixel, gray, 0 ... 255
 * ROOT/landmarks.csv    path,identity,source,x0,y0,...,x67,y67 in frame pixels; written last: its presence says "whole"
 * ROOT/forge.json       every setting that decides a pixel; a folder made with others is refused
 */

/** What is forged, and which method of FaceForensics++ (or FaceShifter) leaves its traces in the same places. */
typedef enum prle_forge_method {
    PRLE_FORGE_SWAP,    /* donor's face warped triangle by triangle, Lab-matched, feathered hull: FaceSwap, Deepfakes */
    PRLE_FORGE_PASTE,   /* the same without colour matching, seam of 2 pixels in 256: crude FaceSwap */
    PRLE_FORGE_REENACT, /* own face warped to another expression, inner mouth filled in: Face2Face */
    PRLE_FORGE_MOUTH,   /* lower face only, from another photograph, softened as a decoder would: NeuralTextures */
    PRLE_FORGE_BLEND,   /* two identities mixed over the whole face, band by band: FaceShifter */
    PRLE_FORGE_METHODS,
} prle_forge_method;

enum { PRLE_FORGE_ALL = (1 << PRLE_FORGE_METHODS) - 1 };

/** "swap", "paste", "reenact", "mouth", "blend", and a closing NULL: folder names and choices of an option. */
extern const char *const prle_forge_method_names[PRLE_FORGE_METHODS + 1];

typedef struct prle_forge_opts {
    const char
        *src; /* a CSV file, or a folder with manifest.csv: columns file, id, x0, y0 ... x67, y67; files beside it or in img/ */
    const char *out;  /* ROOT; made where missing */
    unsigned methods; /* bit 1 << method for each */
    int size;         /* side of a frame in pixels, 32 ... 1024 */
    int frames;       /* per video, 1 ... 1000 */
    double margin;    /* side of the crop over the longer side of the landmarks' box, 1 ... 3 */
    double val_share; /* of the identities, each split gets two at least */
    double test_share;
    int quality_min, quality_max; /* of the frames' JPEG, drawn evenly */
    uint64_t seed;
    void (*progress)(void *user, int64_t n_done, int64_t n_videos); /* NULL for none; one thread at a time */
    void *user;
} prle_forge_opts;

/** The defaults, as an initialiser and as a value. */
#define PRLE_FORGE_OPTS_INIT                                                                                                     \
    {                                                                                                                            \
        .methods = PRLE_FORGE_ALL, .size = 256, .frames = 4, .margin = 1.3, .val_share = 0.2, .test_share = 0.2,                 \
        .quality_min = 75, .quality_max = 95, .seed = 1                                                                          \
    }
#define PRLE_FORGE_OPTS_DEFAULT ((prle_forge_opts)PRLE_FORGE_OPTS_INIT)

typedef struct prle_forge_report {
    int64_t n_photos;
    int64_t n_identities[3]; /* train, val, test */
    int64_t n_videos;        /* in the whole set */
    int64_t n_found;         /* of these, already there from an earlier run */
    int64_t n_frames;        /* written now */
} prle_forge_report;

/**
 * Makes the data set, or what an earlier run of the same settings left undone. Identities never cross splits, and donors come
 * from their target's split. Same photographs, settings and seed: same bytes, whatever the number of threads or interruptions.
 * Real videos pass through the same steps (one resampling from the photograph, JPEG, one resampling with small shifts, JPEG).
 *
 * report  out  or NULL
 * PRLE_EINVAL: an option out of range, fewer than six identities, a folder made with other settings.
 * PRLE_EFORMAT: a bad CSV line, a face without area, an unreadable photograph (named). PRLE_EIO: a file.
 * Not collective; uses all OpenMP threads, one video each.
 */
PRLE_NODISCARD prle_status prle_forge_run(const prle_forge_opts *opts, prle_forge_report *report);

#ifdef __cplusplus
}
#endif
