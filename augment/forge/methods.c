/* methods.c - see methods.h. Lengths are in shares of the frame's side, so that a forgery looks the same at every size. */
#include "augment/forge/methods.h"

#include <math.h>
#include <string.h>

#include "augment/forge/colour.h"
#include "core/alloc.h"

/* The landmarks and, above the brows, one more point for each of them: the 68 points do not know the forehead. */
enum { N_BROWS = 10, FIRST_BROW = 17, N_MESH = PRLE_LANDMARKS + N_BROWS, MAX_TRIANGLES = 2 * N_MESH, N_BANDS = 6 };

#define LIFT_FACE       0.10 /* of the height from chin to eyes: how far above the brows a swapped face reaches */
#define LIFT_STILL      0.30 /* where the forehead no longer moves with an expression */
#define LONGEST_MOVE    0.09 /* of the frame: expressions go no further */
#define FOREIGN_SHARE   0.7  /* of another person's expression */
#define OPEN_MOUTH      0.05 /* prle_face_mouth_opening from here on shows what is inside */
#define MIX_SHARE       0.5  /* of the donor's shape in a blend */
#define FEATHER_SWAP    0.07
#define FEATHER_PASTE   0.008
#define FEATHER_REENACT 0.05
#define FEATHER_MOUTH   0.04
#define FEATHER_BLEND   0.06
#define FEATHER_LIPS    0.008
#define SEAM_PIXELS     2.0 /* of the photograph */
#define AROUND_LIPS     0.022
#define SOFTENING       0.3 /* share of the finest band that the mouth's "decoder" loses */

prle_status prle_face_make(prle_face *out, const prle_image *photo, const prle_point landmark[PRLE_LANDMARKS], double margin,
                           int64_t size, int64_t side)
{
    prle_face face = {.photo = photo, .to_photo = prle_face_align(landmark, margin, size, side)};
    prle_affine to_canvas;

    PRLE_CHECK(prle_affine_invert(&to_canvas, &face.to_photo), PRLE_EFORMAT, "a face without area");
    for (int i = 0; i < PRLE_LANDMARKS; i++)
        face.at[i] = prle_affine_apply(&to_canvas, landmark[i]);
    *out = face;
    return PRLE_OK;
}

prle_status prle_studio_init(prle_studio *out, int64_t side, int64_t size)
{
    prle_studio s = {.side = side, .size = size};
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_canvas_init(&s.canvas, side));
    PRLE_TRY_OUT(prle_canvas_init(&s.other, side));
    PRLE_TRY_OUT(prle_field_init(&s.field, side));
    PRLE_TRY_OUT(PRLE_NEW(s.alpha, side * side));
    PRLE_TRY_OUT(PRLE_NEW(s.patch, side * side));
    PRLE_TRY_OUT(prle_blender_init(&s.blender, side, N_BANDS));
    *out = s;
    s = (prle_studio){0};
out:
    prle_studio_deinit(&s);
    return st;
}

void prle_studio_deinit(prle_studio *studio)
{
    prle_canvas_deinit(&studio->canvas);
    prle_canvas_deinit(&studio->other);
    prle_field_deinit(&studio->field);
    prle_free(studio->alpha);
    prle_free(studio->patch);
    prle_blender_deinit(&studio->blender);
    *studio = (prle_studio){0};
}

/* ---- points ---- */

/* The canvas points and, above the brows, their lifted copies. */
static void mesh_make(prle_point mesh[N_MESH], const prle_point at[PRLE_LANDMARKS], double lift)
{
    double distance;
    const prle_point eyes = prle_face_eyes(at, &distance), chin = at[8];

    memcpy(mesh, at, PRLE_LANDMARKS * sizeof *at);
    for (int i = 0; i < N_BROWS; i++)
        mesh[PRLE_LANDMARKS + i] =
            (prle_point){at[FIRST_BROW + i].x + lift * (eyes.x - chin.x), at[FIRST_BROW + i].y + lift * (eyes.y - chin.y)};
}

/* The donor's points laid over the target's: by the eyes and the nose for an expression, by all points for a shape. */
static prle_status donor_fit(prle_point moved[PRLE_LANDMARKS], const prle_face *target, const prle_face *donor, bool expression)
{
    static const int still[] = {36, 39, 42, 45, 27, 28, 29, 30, 31, 35};
    enum { N_STILL = sizeof still / sizeof still[0] };
    prle_point from[N_STILL], to[N_STILL];
    prle_affine fit;

    for (int i = 0; i < N_STILL; i++) {
        from[i] = donor->at[still[i]];
        to[i] = target->at[still[i]];
    }
    if (expression)
        PRLE_TRY(prle_affine_fit(&fit, from, to, N_STILL));
    else
        PRLE_TRY(prle_affine_fit(&fit, donor->at, target->at, PRLE_LANDMARKS));
    for (int i = 0; i < PRLE_LANDMARKS; i++)
        moved[i] = prle_affine_apply(&fit, donor->at[i]);
    return PRLE_OK;
}

/* p += share (to - p), no further than `longest`. */
static void point_move(prle_point *p, prle_point to, double share, double longest)
{
    const double dx = share * (to.x - p->x), dy = share * (to.y - p->y), length = hypot(dx, dy);
    const double kept = length > longest ? longest / length : 1;

    p->x += kept * dx;
    p->y += kept * dy;
}

prle_status prle_forge_landmarks(prle_point out[PRLE_LANDMARKS], int method, const prle_face *target, const prle_face *donor,
                                 bool own, int64_t size)
{
    const bool expression = method == PRLE_FORGE_REENACT || method == PRLE_FORGE_MOUTH;
    prle_point moved[PRLE_LANDMARKS];

    memcpy(out, target->at, PRLE_LANDMARKS * sizeof *out);
    if (!expression && method != PRLE_FORGE_BLEND)
        return PRLE_OK;
    PRLE_TRY(donor_fit(moved, target, donor, expression));
    for (int i = FIRST_BROW; i < PRLE_LANDMARKS; i++) { /* the jaw stays: what lies around it cannot move */
        const bool lips = i >= 48, brow = i < 27;
        const double share = method == PRLE_FORGE_BLEND   ? MIX_SHARE
                             : method == PRLE_FORGE_MOUTH ? (lips ? 1 : 0)
                             : own                        ? 1
                                                          : (lips || brow ? FOREIGN_SHARE : 0);
        point_move(&out[i], moved[i], share, LONGEST_MOVE * (double)size);
    }
    return PRLE_OK;
}

/* ---- pictures ---- */

/* Shows `face` on the canvas with its points at `mesh`, made with the same lift; around the mesh as `elsewhere` says. */
static prle_status face_show(prle_canvas *canvas, prle_field *field, const prle_face *face, const prle_point mesh[N_MESH],
                             double lift, const prle_affine *elsewhere)
{
    prle_point place[N_MESH];
    prle_triangle triangles[MAX_TRIANGLES];
    int64_t n_triangles;

    mesh_make(place, face->at, lift);
    for (int i = 0; i < N_MESH; i++)
        place[i] = prle_affine_apply(&face->to_photo, place[i]);
    PRLE_TRY(prle_delaunay_make(triangles, &n_triangles, mesh, N_MESH));
    prle_field_affine(field, elsewhere);
    prle_field_mesh(field, triangles, n_triangles, mesh, place);
    prle_canvas_sample(canvas, face->photo, field);
    return PRLE_OK;
}

/* The target with its landmarks moved to `at`; its jaw and forehead stay, so that the warp ends without a step. */
static prle_status target_move(prle_studio *s, const prle_face *target, const prle_point at[PRLE_LANDMARKS])
{
    prle_point mesh[N_MESH];

    mesh_make(mesh, target->at, LIFT_STILL);
    memcpy(mesh, at, PRLE_LANDMARKS * sizeof *at);
    return face_show(&s->canvas, &s->field, target, mesh, LIFT_STILL, &target->to_photo);
}

/* The donor's face over `at`, in s->other. */
static prle_status donor_show(prle_studio *s, const prle_face *donor, const prle_point at[PRLE_LANDMARKS])
{
    prle_point mesh[N_MESH];
    prle_affine fit, elsewhere;

    mesh_make(mesh, at, LIFT_FACE);
    PRLE_TRY(prle_affine_fit(&fit, at, donor->at, PRLE_LANDMARKS));
    elsewhere = prle_affine_chain(&fit, &donor->to_photo);
    return face_show(&s->other, &s->field, donor, mesh, LIFT_FACE, &elsewhere);
}

static void target_show(prle_studio *s, const prle_face *target)
{
    prle_field_affine(&s->field, &target->to_photo);
    prle_canvas_sample(&s->canvas, target->photo, &s->field);
}

static prle_status face_alpha(float *alpha, const prle_studio *s, const prle_point at[PRLE_LANDMARKS], double lift,
                              double feather)
{
    prle_point mesh[N_MESH];

    mesh_make(mesh, at, lift);
    return prle_alpha_hull(alpha, s->side, mesh, lift > 0 ? N_MESH : PRLE_LANDMARKS, feather * (double)s->size);
}

/* A narrow seam, in canvas pixels: never sharper than the picture around it, blurred where a small photograph was enlarged. */
static double seam_width(const prle_studio *s, const prle_face *target, double share)
{
    const prle_affine *a = &target->to_photo;
    const double photo_pixel = 1 / sqrt(fabs(a->xx * a->yy - a->xy * a->yx));

    return fmax(share * (double)s->size, SEAM_PIXELS * photo_pixel);
}

/* What shows between the lips, and a little around it, comes from `s->other`, whose colours have been matched: the target's own
 * teeth, squeezed or torn by the warp, would show. */
static prle_status lips_fill(prle_studio *s, const prle_point at[PRLE_LANDMARKS])
{
    enum { FIRST = 60, N = 8 };
    const double size = (double)s->size;
    prle_point around[2 * N];

    for (int i = 0; i < N; i++) {
        around[i] = at[FIRST + i];
        around[i].y -= AROUND_LIPS * size;
        around[N + i] = at[FIRST + i];
        around[N + i].y += AROUND_LIPS * size;
    }
    PRLE_TRY(prle_alpha_hull(s->patch, s->side, around, 2 * N, FEATHER_LIPS * size));
    prle_blend_over(&s->canvas, &s->other, s->patch);
    return PRLE_OK;
}

/* A donor with closed lips has nothing to show in an open mouth: the target's own stays. */
static prle_status mouth_keep(prle_studio *s, const prle_face *target, const prle_face *donor)
{
    const double open = prle_face_mouth_opening(target->at);

    if (open < OPEN_MOUTH || prle_face_mouth_opening(donor->at) > open / 2)
        return PRLE_OK;
    PRLE_TRY(prle_alpha_hull(s->patch, s->side, target->at + 60, 8, seam_width(s, target, FEATHER_LIPS)));
    for (int64_t i = 0; i < s->side * s->side; i++)
        s->alpha[i] *= 1 - s->patch[i];
    return PRLE_OK;
}

/* ---- the five ---- */

static prle_status swap_make(prle_studio *s, const prle_face *target, const prle_face *donor, double vary)
{
    target_show(s, target);
    PRLE_TRY(donor_show(s, donor, target->at));
    PRLE_TRY(face_alpha(s->alpha, s, target->at, LIFT_FACE, vary * FEATHER_SWAP));
    prle_colour_match(&s->other, &s->canvas, s->alpha);
    PRLE_TRY(mouth_keep(s, target, donor));
    prle_blend_over(&s->canvas, &s->other, s->alpha);
    return PRLE_OK;
}

static prle_status paste_make(prle_studio *s, const prle_face *target, const prle_face *donor, double vary)
{
    target_show(s, target);
    PRLE_TRY(donor_show(s, donor, target->at));
    PRLE_TRY(prle_alpha_hull(s->alpha, s->side, target->at, PRLE_LANDMARKS, seam_width(s, target, vary * FEATHER_PASTE)));
    PRLE_TRY(mouth_keep(s, target, donor));
    prle_blend_over(&s->canvas, &s->other, s->alpha);
    return PRLE_OK;
}

static prle_status reenact_make(prle_studio *s, const prle_face *target, const prle_face *donor,
                                const prle_point at[PRLE_LANDMARKS], double vary)
{
    PRLE_TRY(target_move(s, target, at));
    PRLE_TRY(face_alpha(s->alpha, s, target->at, LIFT_STILL, vary * FEATHER_REENACT));
    PRLE_TRY(donor_show(s, donor, at));
    prle_colour_match(&s->other, &s->canvas, s->alpha);
    return lips_fill(s, at);
}

/* The lower face: jaw drawn in towards the lips, up to the nostrils. */
static prle_status mouth_alpha(prle_studio *s, const prle_point at[PRLE_LANDMARKS], double vary)
{
    enum { FIRST_JAW = 3, LAST_JAW = 13, N = LAST_JAW - FIRST_JAW + 1 + 5 };
    const prle_point middle = at[62];
    prle_point around[N];

    for (int i = 0; i < N; i++) {
        around[i] = at[i < N - 5 ? FIRST_JAW + i : 31 + i - (N - 5)];
        point_move(&around[i], middle, 0.1, HUGE_VAL);
    }
    return prle_alpha_hull(s->alpha, s->side, around, N, vary * FEATHER_MOUTH * (double)s->size);
}

/* Takes part of the finest band out of s->other. */
static void soften(prle_studio *s)
{
    prle_pyramid *p = &s->blender.top;

    prle_pyramid_reduce(p, s->other.rgb);
    prle_pyramid_split(p);
    for (int64_t i = 0; i < s->side * s->side * 3; i++)
        p->level[0][i] *= 1 - (float)SOFTENING;
    prle_pyramid_join(p);
    memcpy(s->other.rgb, p->level[0], (size_t)(s->side * s->side * 3) * sizeof *s->other.rgb);
}

static prle_status mouth_make(prle_studio *s, const prle_face *target, const prle_face *donor,
                              const prle_point at[PRLE_LANDMARKS], double vary)
{
    target_show(s, target);
    PRLE_TRY(donor_show(s, donor, at));
    PRLE_TRY(mouth_alpha(s, at, vary));
    prle_colour_match(&s->other, &s->canvas, s->alpha);
    soften(s);
    prle_blend_over(&s->canvas, &s->other, s->alpha);
    return PRLE_OK;
}

static prle_status blend_make(prle_studio *s, const prle_face *target, const prle_face *donor,
                              const prle_point at[PRLE_LANDMARKS], double vary)
{
    /* Texture is the donor's, light and large shapes are shared. Averaging fine bands would blur, and blur tells on a whole set.
     */
    const float mix = (float)(0.6 * vary), share[N_BANDS] = {1, 1, 0.5f + mix / 2, mix, mix, mix};

    PRLE_TRY(target_move(s, target, at));
    PRLE_TRY(donor_show(s, donor, at));
    PRLE_TRY(face_alpha(s->alpha, s, at, LIFT_FACE, FEATHER_BLEND));
    prle_colour_match(&s->other, &s->canvas, s->alpha);
    prle_blend_bands(&s->canvas, &s->other, s->alpha, share, &s->blender);
    return PRLE_OK;
}

prle_status prle_forge_make(prle_studio *s, int method, const prle_face *target, const prle_face *donor, bool own, prle_rng *rng)
{
    const double vary = prle_rng_range(rng, 0.75, 1.25);
    prle_point at[PRLE_LANDMARKS];

    PRLE_TRY(prle_forge_landmarks(at, method, target, donor, own, s->size));
    memset(s->alpha, 0, (size_t)(s->side * s->side) * sizeof *s->alpha);
    switch (method) {
    case PRLE_FORGE_SWAP: return swap_make(s, target, donor, vary);
    case PRLE_FORGE_PASTE: return paste_make(s, target, donor, vary);
    case PRLE_FORGE_REENACT: return reenact_make(s, target, donor, at, vary);
    case PRLE_FORGE_MOUTH: return mouth_make(s, target, donor, at, vary);
    case PRLE_FORGE_BLEND: return blend_make(s, target, donor, at, vary);
    default: target_show(s, target); return PRLE_OK;
    }
}
