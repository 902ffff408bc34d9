/* cam.h - class activation maps of a network, of every kind, by the closed form where the network's tail allows it. */
#pragma once
#include "cam/method.h"
#include "nets/model.h"
#include "nets/plan.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Which class is explained. */
typedef enum prle_cam_target {
    PRLE_CAM_LABEL,  /* the image's own class */
    PRLE_CAM_FAKE,   /* "fake", for every image (Eq. 3 read strictly) */
    PRLE_CAM_ARGMAX, /* the class the network decides for */
} prle_cam_target;

/** What is differentiated. */
typedef enum prle_cam_score {
    PRLE_CAM_PROB,  /* the probability, by its margin z_c - z_other: the positive factor p(1-p) falls out of the normalised map */
    PRLE_CAM_LOGIT, /* the logit z_c alone */
} prle_cam_score;

/** How the gradients at the nodes are found. */
typedef enum prle_cam_way {
    PRLE_CAM_FORWARD, /* not at all: the method wants none */
    PRLE_CAM_CLOSED,  /* cam/tail.h */
    PRLE_CAM_BACKWARD,
} prle_cam_way;

/* By the enums' values, each list ended by NULL: for option tables, files and answers. */
extern const char *const prle_cam_target_words[];
extern const char *const prle_cam_score_words[];
extern const char *const prle_cam_way_words[];

typedef struct prle_cam_opts {
    int64_t batch;
    prle_dtype dtype;
    prle_cam_method method;
    prle_cam_target target;
    prle_cam_score score;
    prle_nodes nodes;              /* whose maps; n = 0: the network's default */
    bool general;                  /* the backward path even where the closed form would do */
    const prle_normaliser *pixels; /* prle_plan_opts.pixels: images come as bytes; NULL: as numbers */
} prle_cam_opts;
#define PRLE_CAM_OPTS_DEFAULT ((prle_cam_opts){.batch = 16})

typedef struct prle_cam_engine prle_cam_engine;

/** Plans. The model is borrowed and in inference mode (running statistics, no dropout). PRLE_ENUMERIC names a weight that is not
 * finite. */
PRLE_NODISCARD prle_status prle_cam_engine_create(prle_cam_engine **out, prle_model *model, const prle_cam_opts *opts);
void prle_cam_engine_destroy(prle_cam_engine *engine); /* NULL is fine */

/** Size of the maps: the largest native size among the nodes. */
void prle_cam_engine_size(const prle_cam_engine *engine, int64_t *height, int64_t *width);
prle_cam_way prle_cam_engine_way(const prle_cam_engine *engine);

/**
 * Maps by the method (cam/method.h), each normalised: A <- (A - min A) / (max A - min A).
 *
 * Several nodes: each normalised, resized to the largest, averaged, normalised again.
 *
 * images  in   [n,3,H,W]  normalised, float or double as the plan computes, or, of pixels, bytes [n,H,W,3]; 1 <= n <= opts.batch
 * labels  in   [n]        0 real, 1 fake; used by target LABEL
 * cam     out  [n,h,w]    in [0,1]; a constant map is all zero
 * scores  out  [n]        P(fake); NULL when not wanted
 * PRLE_ENUMERIC names the image of the batch and the place of a value that is not finite.
 */
PRLE_NODISCARD prle_status prle_cam_engine_run(prle_cam_engine *engine, const void *images, const uint8_t *labels, int64_t n,
                                               double *cam, double *scores);

/**
 * prle_cam_engine_run in two halves, between which a GPU computes: begin hands a batch over (images and labels are free when it
 * returns), end waits for its maps. Between the two, ahead may begin to copy the images that the next begin will be given; they
 * stay as they are until then.
 */
PRLE_NODISCARD prle_status prle_cam_engine_begin(prle_cam_engine *engine, const void *images, const uint8_t *labels, int64_t n);
PRLE_NODISCARD prle_status prle_cam_engine_ahead(prle_cam_engine *engine, const void *images, int64_t n);
PRLE_NODISCARD prle_status prle_cam_engine_end(prle_cam_engine *engine, double *cam, double *scores);

/**
 * Maps of the last run's images by another method, without another pass through the network; the same target and score.
 *
 * labels  in   [n]      as in that run
 * cam     out  [n,h,w]  as prle_cam_engine_run makes them
 * PRLE_EINVAL when the engine was made for a method without gradients and this one wants them; else as prle_cam_engine_run.
 */
PRLE_NODISCARD prle_status prle_cam_engine_again(prle_cam_engine *engine, prle_cam_method method, const uint8_t *labels,
                                                 double *cam);

#ifdef __cplusplus
}
#endif
