/* geometry.c - see geometry.h. */
#include "augment/forge/geometry.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/rng.h"

prle_affine prle_affine_chain(const prle_affine *first, const prle_affine *second)
{
    const prle_point shift = prle_affine_apply(second, (prle_point){first->x0, first->y0});

    return (prle_affine){
        .xx = second->xx * first->xx + second->xy * first->yx,
        .xy = second->xx * first->xy + second->xy * first->yy,
        .x0 = shift.x,
        .yx = second->yx * first->xx + second->yy * first->yx,
        .yy = second->yx * first->xy + second->yy * first->yy,
        .y0 = shift.y,
    };
}

bool prle_affine_invert(prle_affine *out, const prle_affine *map)
{
    const double det = map->xx * map->yy - map->xy * map->yx;
    prle_affine inverse = {.xx = map->yy / det, .xy = -map->xy / det, .yx = -map->yx / det, .yy = map->xx / det};

    if (!(fabs(det) > 1e-12))
        return false;
    const prle_point shift = prle_affine_apply(&inverse, (prle_point){map->x0, map->y0});
    inverse.x0 = -shift.x;
    inverse.y0 = -shift.y;
    *out = inverse;
    return true;
}

prle_affine prle_affine_similarity(double scale, double angle, prle_point from, prle_point to)
{
    const double c = scale * cos(angle), s = scale * sin(angle);

    return (prle_affine){
        .xx = c, .xy = -s, .x0 = to.x - c * from.x + s * from.y, .yx = s, .yy = c, .y0 = to.y - s * from.x - c * from.y};
}

static prle_point mean_of(const prle_point *points, int64_t n)
{
    prle_point sum = {0, 0};

    for (int64_t i = 0; i < n; i++) {
        sum.x += points[i].x;
        sum.y += points[i].y;
    }
    return (prle_point){sum.x / (double)n, sum.y / (double)n};
}

/* Points as complex numbers: the best factor is sum(conj(f) t) / sum(|f|^2) about the means. */
prle_status prle_affine_fit(prle_affine *out, const prle_point *from, const prle_point *to, int64_t n)
{
    const prle_point mf = mean_of(from, n), mt = mean_of(to, n);
    double real = 0, imaginary = 0, square = 0;

    for (int64_t i = 0; i < n; i++) {
        const double fx = from[i].x - mf.x, fy = from[i].y - mf.y, tx = to[i].x - mt.x, ty = to[i].y - mt.y;
        real += fx * tx + fy * ty;
        imaginary += fx * ty - fy * tx;
        square += fx * fx + fy * fy;
    }
    PRLE_CHECK(square > 0, PRLE_ENUMERIC, "no similarity: %lld points in one place", (long long)n);
    *out = prle_affine_similarity(hypot(real, imaginary) / square, atan2(imaginary, real), mf, mt);
    return PRLE_OK;
}

/* Twice the area of a b c, positive in the hull's order. */
static double cross(prle_point a, prle_point b, prle_point c) { return (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x); }

static int compare_points(const void *left, const void *right)
{
    const prle_point *a = left, *b = right;

    if (a->x != b->x)
        return a->x < b->x ? -1 : 1;
    return (a->y > b->y) - (a->y < b->y);
}

/* Andrew's monotone chain: one pass to the right, one back. */
prle_status prle_hull_make(prle_point *hull, int64_t *n_hull, const prle_point *points, int64_t n)
{
    prle_point *sorted = hull + n + 1;
    int64_t count = 0;

    PRLE_CHECK(n >= 1, PRLE_EINVAL, "hull of %lld points", (long long)n);
    memcpy(sorted, points, (size_t)n * sizeof *points);
    qsort(sorted, (size_t)n, sizeof *sorted, compare_points);
    for (int64_t i = 0; i < n; i++) {
        while (count >= 2 && cross(hull[count - 2], hull[count - 1], sorted[i]) <= 0)
            count--;
        hull[count++] = sorted[i];
    }
    for (int64_t i = n - 2, lower = count + 1; i >= 0; i--) {
        while (count >= lower && cross(hull[count - 2], hull[count - 1], sorted[i]) <= 0)
            count--;
        hull[count++] = sorted[i];
    }
    while (count > 1 && hull[count - 1].x == hull[0].x && hull[count - 1].y == hull[0].y)
        count--;
    *n_hull = count;
    return PRLE_OK;
}

void prle_hull_planes(prle_half_plane *plane, const prle_point *hull, int64_t n_hull)
{
    for (int64_t i = 0; i < n_hull; i++) {
        const prle_point a = hull[i], b = hull[i + 1 < n_hull ? i + 1 : 0];
        const double length = hypot(b.x - a.x, b.y - a.y), nx = (a.y - b.y) / length, ny = (b.x - a.x) / length;
        plane[i] = (prle_half_plane){.nx = nx, .ny = ny, .c = -nx * a.x - ny * a.y};
    }
}

double prle_hull_depth(const prle_half_plane *plane, int64_t n_planes, prle_point p)
{
    double depth = HUGE_VAL;

    for (int64_t i = 0; i < n_planes; i++) {
        const double distance = plane[i].nx * p.x + plane[i].ny * p.y + plane[i].c;
        depth = distance < depth ? distance : depth;
    }
    return depth;
}

double prle_hull_area(const prle_point *hull, int64_t n_hull)
{
    double twice = 0;

    for (int64_t i = 2; i < n_hull; i++)
        twice += cross(hull[0], hull[i - 1], hull[i]);
    return twice / 2;
}

/* Bowyer-Watson works on points scaled into the unit square and moved by about JITTER, so that no four lie on a circle. */
#define JITTER     1e-7
#define SAME_PLACE 1e-6
#define FAR_AWAY   1e3
#define LEAST_AREA 1e-10

typedef struct workplace {
    prle_point *point;       /* [n + 3], the last three far away */
    prle_triangle *triangle; /* [2 n + 8] */
    int64_t n_triangles;
    int32_t (*edge)[2]; /* [6 n + 24]: of the triangles that the new point destroys */
} workplace;

static void points_scale(prle_point *scaled, const prle_point *points, int64_t n)
{
    prle_point lo = points[0], hi = points[0];

    for (int64_t i = 1; i < n; i++) {
        lo = (prle_point){fmin(lo.x, points[i].x), fmin(lo.y, points[i].y)};
        hi = (prle_point){fmax(hi.x, points[i].x), fmax(hi.y, points[i].y)};
    }
    const double side = fmax(fmax(hi.x - lo.x, hi.y - lo.y), 1e-300);
    for (int64_t i = 0; i < n; i++)
        scaled[i] = (prle_point){(points[i].x - lo.x) / side, (points[i].y - lo.y) / side};
}

static bool seen_before(const prle_point *points, int64_t i)
{
    for (int64_t j = 0; j < i; j++)
        if (hypot(points[i].x - points[j].x, points[i].y - points[j].y) < SAME_PLACE)
            return true;
    return false;
}

/* Is p inside the circle through the corners, given in the hull's order? */
static bool in_circle(const prle_point *point, const prle_triangle *t, prle_point p)
{
    double d[3][3];

    for (int k = 0; k < 3; k++) {
        d[k][0] = point[t->corner[k]].x - p.x;
        d[k][1] = point[t->corner[k]].y - p.y;
        d[k][2] = d[k][0] * d[k][0] + d[k][1] * d[k][1];
    }
    return d[0][0] * (d[1][1] * d[2][2] - d[1][2] * d[2][1]) - d[0][1] * (d[1][0] * d[2][2] - d[1][2] * d[2][0]) +
               d[0][2] * (d[1][0] * d[2][1] - d[1][1] * d[2][0]) >
           0;
}

/* Removes the triangles around p; their edges, those shared by two of them left out, see p: one new triangle each. */
static void point_insert(workplace *w, int32_t p)
{
    int64_t n_edges = 0, n_kept = 0;

    for (int64_t i = 0; i < w->n_triangles; i++) {
        const prle_triangle t = w->triangle[i];
        if (!in_circle(w->point, &t, w->point[p])) {
            w->triangle[n_kept++] = t;
            continue;
        }
        for (int k = 0; k < 3; k++) {
            const int32_t from = t.corner[k], to = t.corner[(k + 1) % 3];
            int64_t twin = 0;
            while (twin < n_edges && !(w->edge[twin][0] == to && w->edge[twin][1] == from))
                twin++;
            if (twin < n_edges) {
                n_edges--;
                w->edge[twin][0] = w->edge[n_edges][0];
                w->edge[twin][1] = w->edge[n_edges][1];
            } else {
                w->edge[n_edges][0] = from;
                w->edge[n_edges++][1] = to;
            }
        }
    }
    for (int64_t i = 0; i < n_edges; i++)
        w->triangle[n_kept++] = (prle_triangle){{w->edge[i][0], w->edge[i][1], p}};
    w->n_triangles = n_kept;
}

static void triangulate(workplace *w, int64_t n)
{
    const int32_t far = (int32_t)n;

    w->point[n] = (prle_point){-FAR_AWAY, -FAR_AWAY};
    w->point[n + 1] = (prle_point){2 * FAR_AWAY, 0};
    w->point[n + 2] = (prle_point){0, 2 * FAR_AWAY};
    w->triangle[0] = (prle_triangle){{far, far + 1, far + 2}};
    w->n_triangles = 1;
    for (int64_t i = 0; i < n; i++) {
        if (seen_before(w->point, i))
            continue;
        prle_rng rng = prle_rng_make(0, 0, (uint64_t)i, PRLE_RNG_FORGE);
        w->point[i].x += prle_rng_range(&rng, -JITTER, JITTER);
        w->point[i].y += prle_rng_range(&rng, -JITTER, JITTER);
        point_insert(w, (int32_t)i);
    }
}

prle_status prle_delaunay_make(prle_triangle *out, int64_t *n_out, const prle_point *points, int64_t n)
{
    workplace w = {0};
    int64_t count = 0;
    prle_status st = PRLE_OK;

    for (int64_t i = 0; i < n; i++)
        PRLE_CHECK(isfinite(points[i].x) && isfinite(points[i].y), PRLE_ENUMERIC, "point %lld is not finite", (long long)i);
    if (n < 3) {
        *n_out = 0;
        return PRLE_OK;
    }
    PRLE_TRY_OUT(PRLE_NEW(w.point, n + 3));
    PRLE_TRY_OUT(PRLE_NEW(w.triangle, 2 * n + 8));
    PRLE_TRY_OUT(PRLE_NEW(w.edge, 6 * n + 24));
    points_scale(w.point, points, n);
    triangulate(&w, n);
    points_scale(w.point, points, n);
    for (int64_t i = 0; i < w.n_triangles; i++) {
        const int32_t *c = w.triangle[i].corner;
        if (c[0] < n && c[1] < n && c[2] < n && cross(w.point[c[0]], w.point[c[1]], w.point[c[2]]) > LEAST_AREA)
            out[count++] = w.triangle[i];
    }
    *n_out = count;
out:
    prle_free(w.point);
    prle_free(w.triangle);
    prle_free(w.edge);
    return st;
}
