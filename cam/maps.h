/* maps.h - what makes maps of what a plan has computed: the processor image by image, a GPU a batch at a launch. */
#pragma once
#include "cam/cam.h"
#include "cam/tail.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct prle_cam_maps_desc {
    prle_model *model;
    const prle_plan *plan; /* keeps the nodes' values and, where way is BACKWARD, their gradients */
    prle_cam_opts opts;    /* its nodes are known */
    prle_cam_way way;
    prle_cam_tail tail[PRLE_PLAN_MAX_NODES]; /* of each node, where way is CLOSED */
    int64_t height, width;                   /* of the maps */
} prle_cam_maps_desc;

typedef struct prle_cam_maps_ops {
    bool (*has)(prle_cam_method method);
    prle_status (*create)(void **out, const prle_cam_maps_desc *desc); /* what desc points to is borrowed */
    void (*destroy)(void *maps);                                       /* NULL is fine */
    /* After the plan has run, as often as wanted: maps by a method that it has and that way has gradients for. explained [n]:
     * class of each image. cam out [n,height,width], in the host's memory. PRLE_ENUMERIC names image and place of a value that is
     * not finite. */
    prle_status (*run)(void *maps, prle_cam_method method, const uint8_t *explained, int64_t n, double *cam);
} prle_cam_maps_ops;

/** The processor's: has every method, and takes what it needs out of any device's memory. A device's own is prle_device.cam. */
extern const prle_cam_maps_ops prle_cam_maps_processor;

/** seed [2] = d score / d logits of an image explained as that class. */
void prle_cam_seed(double seed[2], prle_cam_score score, int64_t classes, int explained);

#ifdef __cplusplus
}
#endif
