/* method.h - the kinds of class activation maps: how a layer's values and the score's gradients in them become one map. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * H [C,P] are one image's values at a node, g = d score / d H, k a channel, p a pixel; each map A [P] is cut off below 0 (ReLU).
 * As pytorch-grad-cam computes them. Its 1e-6 keeps Grad-CAM++ from 0/0 and makes that map, alone, depend on the scale of the
 * score: the gradients behind a mean over P pixels are of order 1e-3, their squares of its size.
 *
 * To add one: README.md here.
 */
/* clang-format off */
typedef enum prle_cam_method {
    PRLE_CAM_GRADCAM,          /* sum_k w_k H_k[p], w_k = mean_p g_k[p]: Selvaraju et al., arXiv 1610.02391; Eq. 3 of 2307.12534 */
    PRLE_CAM_GRADCAM_PLUSPLUS, /* the same, w_k = sum_p max(g, 0) g^2 / (2 g^2 + g^3 sum_q H_k[q] + 1e-6): Chattopadhay, 1710.11063 */
    PRLE_CAM_LAYERCAM,         /* sum_k max(g_k[p], 0) H_k[p]: Jiang et al., TIP 2021 */
    PRLE_CAM_HIRESCAM,         /* sum_k g_k[p] H_k[p]: Draelos and Carin, arXiv 2011.08891 */
    PRLE_CAM_EIGENCAM,         /* the first principal component of H; of no class: Muhammad and Yeasin, 2008.00299; principal.h */
    PRLE_CAM_N_METHODS
} prle_cam_method;
/* clang-format on */

/** "gradcam", "gradcam++", ... by prle_cam_method, then NULL: for option tables and files. */
extern const char *const prle_cam_method_words[];

/** Whether the map depends on a score; else gradients, target and score do not matter. */
bool prle_cam_method_has_score(prle_cam_method method);

/** Doubles of scratch that prle_cam_method_run wants. */
int64_t prle_cam_method_scratch(prle_cam_method method, int64_t channels, int64_t pixels);

/**
 * map        out  [P]    >= 0, not normalised; NaN or infinite where values or gradients are
 * values     in   [C,P]
 * gradients  in   [C,P]  NULL without a score
 * scratch         [prle_cam_method_scratch]
 */
void prle_cam_method_run(prle_cam_method method, double *map, const double *values, const double *gradients, int64_t channels,
                         int64_t pixels, double *scratch);

#ifdef __cplusplus
}
#endif
