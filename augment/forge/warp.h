/* warp.h - pictures in floating point while they are forged, and where each of their pixels comes from. */
#pragma once
#include "augment/forge/geometry.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A square RGB picture, 0 ... 255, not rounded until it is whole. */
typedef struct prle_canvas {
    int64_t side;
    float *rgb; /* [side,side,3] */
} prle_canvas;

/** For each pixel of a canvas the place in a photograph that it shows. */
typedef struct prle_field {
    int64_t side;
    float *place; /* [side,side,2]: x, y */
} prle_field;

PRLE_NODISCARD prle_status prle_canvas_init(prle_canvas *out, int64_t side);
void prle_canvas_deinit(prle_canvas *canvas);

/** Rounds to bytes into *out [side,side,3] (initialised). */
void prle_canvas_round(prle_image *out, const prle_canvas *canvas);

PRLE_NODISCARD prle_status prle_field_init(prle_field *out, int64_t side);
void prle_field_deinit(prle_field *field);

/** place(p) = map(p) everywhere. */
void prle_field_affine(prle_field *field, const prle_affine *map);

/**
 * Piecewise affine: within each triangle of the points at[] (canvas), the place between the same corners of from[] (photograph).
 * Pixels in no triangle keep their place.
 */
void prle_field_mesh(prle_field *field, const prle_triangle *triangles, int64_t n, const prle_point *at, const prle_point *from);

/** canvas(p) = photo(place(p)), bilinear, mirrored at the photograph's edges. photo is RGB; sides equal. */
void prle_canvas_sample(prle_canvas *canvas, const prle_image *photo, const prle_field *field);

#ifdef __cplusplus
}
#endif
