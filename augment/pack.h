/* pack.h - makes a face store out of a tree of face images: `prle pack`. Killed at any moment and run again, it goes on. */
#pragma once
#include <stdint.h>

#include "augment/faces.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * ROOT/{train,val,test}/{real,fake}/[METHOD/]VIDEO/FRAME.{jpg,jpeg,png}
 * ROOT/landmarks.csv              where present: path,identity,source,x0,y0,...,x67,y67; path relative to ROOT, points in pixels
 * of the image as found; empty identity, source or x0: unknown ROOT/masks/.../FRAME.png        where present: manipulation masks,
 * at the images' paths FRAME's last digits are the frame's number; a video without METHOD has the method "real" or "fake".
 */
typedef struct prle_pack_opts {
    const char *src;         /* ROOT */
    const char *out;         /* the store; parts wait in OUT.parts/ */
    const char *dataset;     /* first word of video names; NULL: the name of ROOT */
    const char *compression; /* third word of video names */
    int64_t frames;          /* of each video, evenly spaced; 0: all */
    int64_t size;            /* side of the stored images in pixels; 0: height and width of the first readable one */
    bool progress;           /* shows how far it is (core/progress.h) */
    bool (*stop)(void);      /* asked between parts; true ends the work with PRLE_ESTOP. NULL: never */
} prle_pack_opts;

#define PRLE_PACK_OPTS_DEFAULT ((prle_pack_opts){.compression = "raw"})

typedef struct prle_pack_report {
    bool already;                  /* the store was there, made of the same images in the same way */
    int64_t n_found;               /* images in the tree */
    int64_t n_ignored;             /* other files and folders in it */
    int64_t n_chosen;              /* images after `frames` */
    int64_t n_packed;              /* images in the store */
    int64_t n_skipped;             /* chosen ones that cannot be read; the first ones are logged */
    int64_t n_resized;             /* 0 when already there */
    int64_t n_masks, n_landmarks;  /* in the store */
    int64_t n_videos;              /* likewise */
    int64_t height, width;         /* likewise */
    int64_t count[PRLE_SPLITS][2]; /* images by split and label */
} prle_pack_report;

/**
 * Images whose size is right are stored byte for byte as found, others resized by area and stored as PNG. Same tree and options:
 * same content, however often it was interrupted. A split without images or with one class is logged as a warning.
 *
 * PRLE_EINVAL: no images in the layout. PRLE_EFORMAT: a bad landmarks.csv, or not one image can be read. PRLE_EIO: a file cannot
 * be written. PRLE_ESTOP: asked to stop; the parts done stay. Uses all OpenMP threads.
 */
PRLE_NODISCARD prle_status prle_pack_run(const prle_pack_opts *opts, prle_pack_report *report);

#ifdef __cplusplus
}
#endif
