/* geometry.h - points, affine maps, convex hulls and Delaunay triangles: what aligning and warping a face needs. */
#pragma once
#include "core/image.h"

#ifdef __cplusplus
extern "C" {
#endif

/** In pixels; the centre of the top left pixel is (0, 0). */
typedef struct prle_point {
    double x, y;
} prle_point;

/** Indices of three points. */
typedef struct prle_triangle {
    int32_t corner[3];
} prle_triangle;

static inline prle_point prle_affine_apply(const prle_affine *map, prle_point p)
{
    const prle_point q = {map->xx * p.x + map->xy * p.y + map->x0, map->yx * p.x + map->yy * p.y + map->y0};

    return q;
}

/** First `first`, then `second`. */
prle_affine prle_affine_chain(const prle_affine *first, const prle_affine *second);

/** False (and *out as it was) when the map has no inverse. */
bool prle_affine_invert(prle_affine *out, const prle_affine *map);

/** Scale about the origin and rotation by `angle` radians, x towards y, that takes `from` to `to`. */
prle_affine prle_affine_similarity(double scale, double angle, prle_point from, prle_point to);

/**
 * The similarity (shift, rotation, scale) that takes from[i] closest to to[i] in least squares, in closed form.
 * Umeyama, PAMI 13 (1991), without reflections. PRLE_ENUMERIC when all `from` coincide.
 */
PRLE_NODISCARD prle_status prle_affine_fit(prle_affine *out, const prle_point *from, const prle_point *to, int64_t n);

/**
 * Corners of the convex hull, each once, in the order x towards y. hull has room for 2 n + 1 points, the last n of them scratch;
 * *n_hull is 1 or 2 when all points lie on one place or line. n >= 1. Allocates nothing.
 */
PRLE_NODISCARD prle_status prle_hull_make(prle_point *hull, int64_t *n_hull, const prle_point *points, int64_t n);

/** x nx + y ny + c: how far a point lies on the inner side of a line. */
typedef struct prle_half_plane {
    double nx, ny, c;
} prle_half_plane;

/** The half planes whose intersection is a hull of at least 3 corners; plane has room for n_hull. */
void prle_hull_planes(prle_half_plane *plane, const prle_point *hull, int64_t n_hull);

/** How far p lies inside: the distance to the nearest edge's line, negative outside. */
double prle_hull_depth(const prle_half_plane *plane, int64_t n_planes, prle_point p);

/** Area by the shoelace formula, positive in the hull's order. */
double prle_hull_area(const prle_point *hull, int64_t n_hull);

/**
 * Delaunay triangulation by Bowyer and Watson (Comput. J. 24, 1981), O(n^2).
 *
 * out     out  [2 n] at most; corners in the hull's order, areas above zero
 * points  in   [n] finite; of points that coincide the first is used; points on one line give no triangle
 * The order of points decides nothing but ties between cocircular points.
 */
PRLE_NODISCARD prle_status prle_delaunay_make(prle_triangle *out, int64_t *n_out, const prle_point *points, int64_t n);

#ifdef __cplusplus
}
#endif
