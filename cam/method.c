/* method.c - see method.h. */
#include "cam/method.h"

#include <stddef.h>

#include "cam/principal.h"

const char *const prle_cam_method_words[] = {
    [PRLE_CAM_GRADCAM] = "gradcam",   [PRLE_CAM_GRADCAM_PLUSPLUS] = "gradcam++", [PRLE_CAM_LAYERCAM] = "layercam",
    [PRLE_CAM_HIRESCAM] = "hirescam", [PRLE_CAM_EIGENCAM] = "eigencam",          NULL};

/* One channel's part of the map: map[p] += what it adds, of values h and gradients g [P]. */
typedef void (*channel_fn)(double *map, const double *h, const double *g, int64_t pixels);

static void add_weighted(double *map, const double *h, double weight, int64_t pixels)
{
    for (int64_t p = 0; p < pixels; p++)
        map[p] += weight * h[p];
}

static void gradcam(double *map, const double *h, const double *g, int64_t pixels)
{
    double sum = 0;

    for (int64_t p = 0; p < pixels; p++)
        sum += g[p];
    add_weighted(map, h, sum / (double)pixels, pixels);
}

static double relu(double x) { return x < 0 ? 0 : x; } /* NaN stays, so that it is seen */

static void gradcam_plusplus(double *map, const double *h, const double *g, int64_t pixels)
{
    double activity = 0, weight = 0;

    for (int64_t p = 0; p < pixels; p++)
        activity += h[p];
    for (int64_t p = 0; p < pixels; p++) {
        const double square = g[p] * g[p];
        weight += relu(g[p]) * square / (2 * square + activity * square * g[p] + 1e-6);
    }
    add_weighted(map, h, weight, pixels);
}

static void layercam(double *map, const double *h, const double *g, int64_t pixels)
{
    for (int64_t p = 0; p < pixels; p++)
        map[p] += relu(g[p]) * h[p];
}

static void hirescam(double *map, const double *h, const double *g, int64_t pixels)
{
    for (int64_t p = 0; p < pixels; p++)
        map[p] += g[p] * h[p];
}

/* What each method adds a channel at a time; eigencam, without a score, wants all of them at once. */
static const channel_fn channels_of[] = {[PRLE_CAM_GRADCAM] = gradcam,
                                         [PRLE_CAM_GRADCAM_PLUSPLUS] = gradcam_plusplus,
                                         [PRLE_CAM_LAYERCAM] = layercam,
                                         [PRLE_CAM_HIRESCAM] = hirescam,
                                         [PRLE_CAM_EIGENCAM] = NULL};

bool prle_cam_method_has_score(prle_cam_method method) { return channels_of[method] != NULL; }

int64_t prle_cam_method_scratch(prle_cam_method method, int64_t channels, int64_t pixels)
{
    return prle_cam_method_has_score(method) ? 0 : prle_principal_scratch(channels, pixels);
}

void prle_cam_method_run(prle_cam_method method, double *map, const double *values, const double *gradients, int64_t channels,
                         int64_t pixels, double *scratch)
{
    for (int64_t p = 0; p < pixels; p++)
        map[p] = 0;
    if (!prle_cam_method_has_score(method))
        prle_principal_map(map, values, channels, pixels, scratch);
    else
        for (int64_t k = 0; k < channels; k++)
            channels_of[method](map, values + k * pixels, gradients + k * pixels, pixels);
    for (int64_t p = 0; p < pixels; p++)
        map[p] = relu(map[p]);
}
