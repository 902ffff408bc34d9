/* plan.c - see plan.h. */
#include "augment/forge/plan.h"

#include <math.h>

#include "core/alloc.h"
#include "core/rng.h"

enum { N_CANDIDATES = 12, LEAST_IDENTITIES = 2 };

const char *const prle_forge_method_names[PRLE_FORGE_METHODS + 1] = {
    [PRLE_FORGE_SWAP] = "swap",   [PRLE_FORGE_PASTE] = "paste", [PRLE_FORGE_REENACT] = "reenact",
    [PRLE_FORGE_MOUTH] = "mouth", [PRLE_FORGE_BLEND] = "blend", [PRLE_FORGE_METHODS] = NULL,
};

/* ---- splits ---- */

static int64_t share_of(double share, int64_t n)
{
    const int64_t wanted = (int64_t)llrint(share * (double)n);

    return wanted > LEAST_IDENTITIES ? wanted : LEAST_IDENTITIES;
}

static prle_status splits_make(prle_forge_plan *plan, int64_t n, const prle_forge_opts *opts)
{
    const int64_t n_val = share_of(opts->val_share, n), n_test = share_of(opts->test_share, n);
    prle_rng rng = prle_rng_make(opts->seed, PRLE_FORGE_DRAW_SPLIT, 0, PRLE_RNG_FORGE);
    uint32_t *order = NULL;

    PRLE_CHECK(n - n_val - n_test >= LEAST_IDENTITIES, PRLE_EINVAL,
               "%lld identities, %lld of them for val and %lld for test: %d at least must be left for train", (long long)n,
               (long long)n_val, (long long)n_test, LEAST_IDENTITIES);
    PRLE_TRY(PRLE_NEW(plan->split, n));
    PRLE_TRY(PRLE_NEW(order, n));
    for (int64_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    prle_rng_shuffle(&rng, order, (uint32_t)n);
    for (int64_t i = 0; i < n; i++) {
        const prle_split split = i < n_val ? PRLE_SPLIT_VAL : i < n_val + n_test ? PRLE_SPLIT_TEST : PRLE_SPLIT_TRAIN;
        plan->split[order[i]] = split;
        plan->n_identities[split]++;
    }
    prle_free(order);
    return PRLE_OK;
}

/* ---- donors ---- */

/* How two faces differ, lengths over the distance between the eyes, colours over 20 units of Lab. */
typedef struct difference {
    double rigid;   /* jaw and nose */
    double mouth;   /* lips */
    double opening; /* of the mouth */
    double tint;
    double fringe; /* the donor's hair over the brows */
    double scale;  /* of the photographs: a small face is a blurred donor */
} difference;

static double mean_distance(const prle_point *a, const prle_point *b, int first, int last)
{
    double sum = 0;

    for (int i = first; i <= last; i++)
        sum += hypot(a[i].x - b[i].x, a[i].y - b[i].y);
    return sum / (last - first + 1);
}

static prle_status difference_make(difference *out, const prle_forge_photo *target, const prle_forge_photo *donor)
{
    const double *a = target->tint, *b = donor->tint;
    prle_point moved[PRLE_LANDMARKS];
    prle_affine fit;
    double eyes, donor_eyes;

    prle_face_eyes(target->landmark, &eyes);
    prle_face_eyes(donor->landmark, &donor_eyes);
    PRLE_TRY(prle_affine_fit(&fit, donor->landmark, target->landmark, PRLE_LANDMARKS));
    for (int i = 0; i < PRLE_LANDMARKS; i++)
        moved[i] = prle_affine_apply(&fit, donor->landmark[i]);
    *out = (difference){
        .rigid = (mean_distance(moved, target->landmark, 0, 16) + mean_distance(moved, target->landmark, 27, 35)) / 2 / eyes,
        .mouth = mean_distance(moved, target->landmark, 48, 67) / eyes,
        .opening = fabs(prle_face_mouth_opening(donor->landmark) - prle_face_mouth_opening(target->landmark)),
        .tint = sqrt((a[0] - b[0]) * (a[0] - b[0]) + (a[1] - b[1]) * (a[1] - b[1]) + (a[2] - b[2]) * (a[2] - b[2])) / 20,
        .fringe = donor->fringe / 20,
        .scale = fabs(log(donor_eyes / eyes)),
    };
    return PRLE_OK;
}

/* The donor with the least cost is taken. Expressions want another mouth on the same pose; paste, without colour matching, wants
 * the same skin before all. */
static double cost_of(int method, const difference *d)
{
    switch (method) {
    case PRLE_FORGE_PASTE: return 2 * d->rigid + 2 * d->opening + 3 * d->tint + d->fringe + d->scale;
    case PRLE_FORGE_REENACT:
    case PRLE_FORGE_MOUTH: return 3 * d->rigid - d->mouth + 0.5 * d->tint + 0.5 * d->scale;
    default: return 4 * d->rigid + 2 * d->opening + 0.3 * d->tint + d->fringe + d->scale;
    }
}

/* Takes `donor` into *best when it costs less. */
static prle_status candidate_try(int64_t *best, double *best_cost, const prle_forge_photos *photos, int method, int64_t target,
                                 int64_t donor)
{
    difference d;

    PRLE_TRY(difference_make(&d, &photos->photo[target], &photos->photo[donor]));
    const double cost = cost_of(method, &d);
    if (*best < 0 || cost < *best_cost) {
        *best = donor;
        *best_cost = cost;
    }
    return PRLE_OK;
}

static prle_status donor_choose(int64_t *out, const prle_forge_plan *plan, const prle_forge_photos *photos, int method,
                                int64_t target, uint64_t seed)
{
    const int32_t identity = photos->photo[target].identity;
    prle_rng rng = prle_rng_make(seed, PRLE_FORGE_DRAW_DONOR, (uint64_t)(target * PRLE_FORGE_METHODS + method), PRLE_RNG_FORGE);
    int64_t best = -1;
    double best_cost = 0;

    for (int64_t i = 0; (method == PRLE_FORGE_REENACT || method == PRLE_FORGE_MOUTH) && i < photos->n; i++)
        if (i != target && photos->photo[i].identity == identity)
            PRLE_TRY(candidate_try(&best, &best_cost, photos, method, target, i));
    for (int n_left = best < 0 ? N_CANDIDATES : 0; n_left > 0;) {
        const int64_t i = prle_rng_below(&rng, (uint32_t)photos->n);
        const int32_t other = photos->photo[i].identity;
        if (other == identity || plan->split[other] != plan->split[identity])
            continue;
        PRLE_TRY(candidate_try(&best, &best_cost, photos, method, target, i));
        n_left--;
    }
    *out = best;
    return PRLE_OK;
}

/* ---- videos ---- */

static prle_status video_add(prle_forge_plan *plan, const prle_forge_photos *photos, prle_split split, int method, int64_t target,
                             uint64_t seed)
{
    prle_forge_video *video = &plan->video[plan->n_videos];
    const char *name = photos->photo[target].name, *split_name = prle_split_name(split);

    *video = (prle_forge_video){.split = split, .method = method, .target = target, .donor = -1};
    if (method == PRLE_FORGE_REAL) {
        PRLE_TRY(prle_asprintf(&video->folder, "%s/real/%s", split_name, name));
    } else {
        PRLE_TRY(donor_choose(&video->donor, plan, photos, method, target, seed));
        PRLE_TRY(prle_asprintf(&video->folder, "%s/fake/%s/%s+%s", split_name, prle_forge_method_names[method], name,
                               photos->photo[video->donor].name));
    }
    plan->n_videos++;
    return PRLE_OK;
}

prle_status prle_forge_plan_make(prle_forge_plan *out, const prle_forge_photos *photos, const prle_forge_opts *opts)
{
    prle_forge_plan plan = {0};
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(splits_make(&plan, photos->n_identities, opts));
    PRLE_TRY_OUT(PRLE_NEW(plan.video, photos->n * (PRLE_FORGE_METHODS + 1)));
    for (prle_split split = PRLE_SPLIT_TRAIN; split <= PRLE_SPLIT_TEST; split++)
        for (int method = PRLE_FORGE_REAL; method < PRLE_FORGE_METHODS; method++) {
            if (method != PRLE_FORGE_REAL && (opts->methods & (1u << method)) == 0)
                continue;
            for (int64_t i = 0; i < photos->n; i++)
                if (plan.split[photos->photo[i].identity] == split)
                    PRLE_TRY_OUT(video_add(&plan, photos, split, method, i, opts->seed));
        }
    *out = plan;
    plan = (prle_forge_plan){0};
out:
    prle_forge_plan_deinit(&plan);
    return st;
}

void prle_forge_plan_deinit(prle_forge_plan *plan)
{
    for (int64_t i = 0; i < plan->n_videos; i++)
        prle_free(plan->video[i].folder);
    prle_free(plan->video);
    prle_free(plan->split);
    *plan = (prle_forge_plan){0};
}
