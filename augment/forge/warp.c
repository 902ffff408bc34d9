/* warp.c - see warp.h. */
#include "augment/forge/warp.h"

#include <math.h>

#include "core/alloc.h"

/* A pixel this share of a triangle outside it still belongs to it, so that no seam between two stays open. */
#define SLACK 1e-6

prle_status prle_canvas_init(prle_canvas *out, int64_t side)
{
    float *rgb = NULL;

    PRLE_TRY(PRLE_NEW(rgb, side * side * 3));
    *out = (prle_canvas){.side = side, .rgb = rgb};
    return PRLE_OK;
}

void prle_canvas_deinit(prle_canvas *canvas)
{
    prle_free(canvas->rgb);
    *canvas = (prle_canvas){0};
}

static float within(float value, float most) { return value < 0 ? 0 : value > most ? most : value; }

/* A place outside 0 ... most, mirrored at the nearer end. */
static float mirrored(float value, float most)
{
    return within(value < 0 ? -value : value > most ? 2 * most - value : value, most);
}

void prle_canvas_round(prle_image *out, const prle_canvas *canvas)
{
    for (int64_t i = 0; i < canvas->side * canvas->side * 3; i++)
        out->data[i] = (uint8_t)lrintf(within(canvas->rgb[i], 255.0f));
}

prle_status prle_field_init(prle_field *out, int64_t side)
{
    float *place = NULL;

    PRLE_TRY(PRLE_NEW(place, side * side * 2));
    *out = (prle_field){.side = side, .place = place};
    return PRLE_OK;
}

void prle_field_deinit(prle_field *field)
{
    prle_free(field->place);
    *field = (prle_field){0};
}

void prle_field_affine(prle_field *field, const prle_affine *map)
{
    float *place = field->place;

    for (int64_t y = 0; y < field->side; y++)
        for (int64_t x = 0; x < field->side; x++, place += 2) {
            const prle_point p = prle_affine_apply(map, (prle_point){(double)x, (double)y});
            place[0] = (float)p.x;
            place[1] = (float)p.y;
        }
}

/* The unit triangle (0,0) (1,0) (0,1) to these corners. */
static prle_affine triangle_map(const prle_point corner[3])
{
    return (prle_affine){.xx = corner[1].x - corner[0].x,
                         .xy = corner[2].x - corner[0].x,
                         .x0 = corner[0].x,
                         .yx = corner[1].y - corner[0].y,
                         .yy = corner[2].y - corner[0].y,
                         .y0 = corner[0].y};
}

static int64_t clamp(double value, int64_t side)
{
    return value < 0 ? 0 : value > (double)(side - 1) ? side - 1 : (int64_t)value;
}

/* All pixels of a triangle; to_unit takes them into the unit triangle, where inside is easy to see. */
static void triangle_fill(prle_field *field, const prle_point at[3], const prle_affine *to_unit, const prle_affine *to_place)
{
    const int64_t x0 = clamp(ceil(fmin(fmin(at[0].x, at[1].x), at[2].x)), field->side),
                  x1 = clamp(floor(fmax(fmax(at[0].x, at[1].x), at[2].x)), field->side),
                  y0 = clamp(ceil(fmin(fmin(at[0].y, at[1].y), at[2].y)), field->side),
                  y1 = clamp(floor(fmax(fmax(at[0].y, at[1].y), at[2].y)), field->side);

    for (int64_t y = y0; y <= y1; y++)
        for (int64_t x = x0; x <= x1; x++) {
            const prle_point u = prle_affine_apply(to_unit, (prle_point){(double)x, (double)y});
            if (u.x < -SLACK || u.y < -SLACK || u.x + u.y > 1 + SLACK)
                continue;
            const prle_point place = prle_affine_apply(to_place, u);
            field->place[(y * field->side + x) * 2] = (float)place.x;
            field->place[(y * field->side + x) * 2 + 1] = (float)place.y;
        }
}

void prle_field_mesh(prle_field *field, const prle_triangle *triangles, int64_t n, const prle_point *at, const prle_point *from)
{
    for (int64_t i = 0; i < n; i++) {
        const int32_t *c = triangles[i].corner;
        const prle_point corners[3] = {at[c[0]], at[c[1]], at[c[2]]}, places[3] = {from[c[0]], from[c[1]], from[c[2]]};
        const prle_affine to_corners = triangle_map(corners), to_places = triangle_map(places);
        prle_affine to_unit;
        if (prle_affine_invert(&to_unit, &to_corners))
            triangle_fill(field, corners, &to_unit, &to_places);
    }
}

void prle_canvas_sample(prle_canvas *canvas, const prle_image *photo, const prle_field *field)
{
    const float x_max = (float)(photo->width - 1), y_max = (float)(photo->height - 1);

    for (int64_t i = 0; i < field->side * field->side; i++) {
        const float x = mirrored(field->place[2 * i], x_max), y = mirrored(field->place[2 * i + 1], y_max);
        const int64_t x0 = (int64_t)x, y0 = (int64_t)y, x1 = x0 + (x0 < photo->width - 1), y1 = y0 + (y0 < photo->height - 1);
        const float fx = x - (float)x0, fy = y - (float)y0;
        const uint8_t *p00 = photo->data + (y0 * photo->width + x0) * 3, *p01 = photo->data + (y0 * photo->width + x1) * 3,
                      *p10 = photo->data + (y1 * photo->width + x0) * 3, *p11 = photo->data + (y1 * photo->width + x1) * 3;
        for (int c = 0; c < 3; c++)
            canvas->rgb[3 * i + c] =
                (1 - fy) * ((1 - fx) * (float)p00[c] + fx * (float)p01[c]) + fy * ((1 - fx) * (float)p10[c] + fx * (float)p11[c]);
    }
}
