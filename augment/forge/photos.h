/* photos.h - the photographs that faces are forged from: their table, and how a face is aligned. */
#pragma once
#include "augment/forge/geometry.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The 68 points of the iBUG scheme: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, outer lips 48-59, inner lips 60-67. */
enum { PRLE_LANDMARKS = 68 };

typedef struct prle_forge_photo {
    char *path;
    char *name;       /* unique, fit for a file name */
    int32_t identity; /* index */
    prle_point landmark[PRLE_LANDMARKS];
    double tint[3]; /* mean Lab of the face */
    double fringe;  /* how far the colour above the brows is from it, in Lab */
} prle_forge_photo;

typedef struct prle_forge_photos {
    prle_forge_photo *photo; /* [n], in the order of the table */
    int64_t n;
    char **identity; /* [n_identities]: names, in the order of first appearance */
    int64_t n_identities;
    uint64_t fingerprint; /* of names, identities, landmarks, tints */
} prle_forge_photos;

/** Reads the table and looks at every photograph once. src as in prle_forge_opts; errors name file and line. */
PRLE_NODISCARD prle_status prle_forge_photos_load(prle_forge_photos *out, const char *src);
void prle_forge_photos_deinit(prle_forge_photos *photos);

/** From aligned pixels to the photograph's: eyes level, the landmarks' box times `margin` filling `size` pixels in the middle of
 * a square of `side` pixels. */
prle_affine prle_face_align(const prle_point landmark[PRLE_LANDMARKS], double margin, int64_t size, int64_t side);

/** Middle of both eyes, and the distance between them. */
prle_point prle_face_eyes(const prle_point landmark[PRLE_LANDMARKS], double *distance);

/** How far the inner lips are apart, over the mouth's width: 0 closed, about 0.2 a smile with teeth. */
double prle_face_mouth_opening(const prle_point landmark[PRLE_LANDMARKS]);

#ifdef __cplusplus
}
#endif
