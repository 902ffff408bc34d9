/* method.c - see method.h. */
#include "cam/method.h"

#include <stddef.h>

#include "cam/method_math.h"
#include "cam/principal.h"

const char *const prle_cam_method_words[] = {
    [PRLE_CAM_GRADCAM] = "gradcam",   [PRLE_CAM_GRADCAM_PLUSPLUS] = "gradcam++", [PRLE_CAM_LAYERCAM] = "layercam",
    [PRLE_CAM_HIRESCAM] = "hirescam", [PRLE_CAM_EIGENCAM] = "eigencam",          NULL};
_Static_assert(sizeof prle_cam_method_words / sizeof *prle_cam_method_words == PRLE_CAM_N_METHODS + 1, "a word for each");

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

static void gradcam_plusplus(double *map, const double *h, const double *g, int64_t pixels)
{
    double activity = 0, weight = 0;

    for (int64_t p = 0; p < pixels; p++)
        activity += h[p];
    for (int64_t p = 0; p < pixels; p++)
        weight += cam_plusplus_term(g[p], activity);
    add_weighted(map, h, weight, pixels);
}

static void layercam(double *map, const double *h, const double *g, int64_t pixels)
{
    for (int64_t p = 0; p < pixels; p++)
        map[p] += cam_relu(g[p]) * h[p];
}

static void hirescam(double *map, const double *h, const double *g, int64_t pixels)
{
    for (int64_t p = 0; p < pixels; p++)
        map[p] += g[p] * h[p];
}

static void eigencam(double *map, const double *values, const double *gradients, int64_t channels, int64_t pixels,
                     double *scratch)
{
    (void)gradients;
    prle_principal_map(map, values, channels, pixels, scratch);
}

/* A method gives what one channel adds to the map, of its values h and gradients g [P]; or the map of all channels at once. */
static const struct {
    void (*channel)(double *map, const double *h, const double *g, int64_t pixels);
    void (*image)(double *map, const double *values, const double *gradients, int64_t channels, int64_t pixels, double *scratch);
    int64_t (*scratch)(int64_t channels, int64_t pixels); /* doubles; NULL: none */
    bool has_score;
} methods[] = {
    [PRLE_CAM_GRADCAM] = {.channel = gradcam, .has_score = true},
    [PRLE_CAM_GRADCAM_PLUSPLUS] = {.channel = gradcam_plusplus, .has_score = true},
    [PRLE_CAM_LAYERCAM] = {.channel = layercam, .has_score = true},
    [PRLE_CAM_HIRESCAM] = {.channel = hirescam, .has_score = true},
    [PRLE_CAM_EIGENCAM] = {.image = eigencam, .scratch = prle_principal_scratch},
};
_Static_assert(sizeof methods / sizeof *methods == PRLE_CAM_N_METHODS, "a row for each");

bool prle_cam_method_has_score(prle_cam_method method) { return methods[method].has_score; }

int64_t prle_cam_method_scratch(prle_cam_method method, int64_t channels, int64_t pixels)
{
    return methods[method].scratch == NULL ? 0 : methods[method].scratch(channels, pixels);
}

void prle_cam_method_run(prle_cam_method method, double *map, const double *values, const double *gradients, int64_t channels,
                         int64_t pixels, double *scratch)
{
    for (int64_t p = 0; p < pixels; p++)
        map[p] = 0;
    if (methods[method].image != NULL)
        methods[method].image(map, values, gradients, channels, pixels, scratch);
    else
        for (int64_t k = 0; k < channels; k++)
            methods[method].channel(map, values + k * pixels, gradients + k * pixels, pixels);
    for (int64_t p = 0; p < pixels; p++)
        map[p] = cam_relu(map[p]);
}
