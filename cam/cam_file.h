/* cam_file.h - one zoo member's attention maps on disk, cams/MEMBER.h5 (schema prle.cam): float16, native size, made in parts. */
#pragma once
#include <stdint.h>

#include "core/rows.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PRLE_CAM_SCHEMA "prle.cam"
enum { PRLE_CAM_VERSION = 1 };

/** What the maps are of and how they were made: root attributes; parts made otherwise are never mixed in. */
typedef struct prle_cam_info {
    int64_t n;                       /* images of the face store */
    int64_t height, width;           /* of a map */
    int64_t face_height, face_width; /* of the store's images: what fused maps are resized to */
    const char *net;                 /* "xception" */
    const char *node;                /* "act4"; several separated by commas */
    const char *method;              /* "gradcam" */
    const char *target;              /* "label", "fake", "argmax" */
    const char *score;               /* "prob", "logit" */
    const char *dtype;               /* "f32", "f64", "bf16": what it was computed in */
    const char *weights;             /* checksum of the weights, 16 hexadecimal digits */
    const char *faces;               /* content hash of the face store, likewise */
} prle_cam_info;

/* Parts and compaction; the paths of parts are prle_rows_part_path's (core/rows.h). */

/**
 * Commits one unit: maps cam [n,h,w], normalised to 0 ... 1, of images index[n] of the face store. PRLE_ENUMERIC names file,
 * image and place of a value that is not finite; nothing is written then.
 */
PRLE_NODISCARD prle_status prle_cam_part_write(const char *path, const prle_cam_info *info, const int64_t *index, int64_t n,
                                               const float *cam);

/** PRLE_OK: the part is whole, made as info says, and holds just these images. */
PRLE_NODISCARD prle_status prle_cam_part_check(const char *path, const prle_cam_info *info, const int64_t *index, int64_t n);

/** Units 0 ... n_units - 1 of a folder into one file with its manifest; the folder stays. beat: core/rows.h; NULL for none. */
PRLE_NODISCARD prle_status prle_cam_compact(const char *path, const prle_cam_info *info, const char *folder, int64_t n_units,
                                            const prle_rows_beat *beat);

/** An open file; shared by all threads. */
typedef struct prle_cam {
    const char *path;
    prle_cam_info info;
    int64_t count;     /* images that have a map */
    uint64_t checksum; /* of the manifest, hence of the maps: what maps.h5 names in `cams` */
} prle_cam;

PRLE_NODISCARD prle_status prle_cam_open(const char *path, prle_cam **out);
void prle_cam_close(prle_cam *cam); /* NULL is fine */

bool prle_cam_has(const prle_cam *cam, int64_t i); /* 0 <= i < n */

/**
 * out [h,w] of image i, checked against the manifest; thread-safe. PRLE_EINVAL when it has no map; PRLE_EFORMAT when it is
 * damaged; PRLE_ENUMERIC, naming file, image and place, when it is not finite.
 */
PRLE_NODISCARD prle_status prle_cam_read(const prle_cam *cam, int64_t i, float *out);

#ifdef __cplusplus
}
#endif
