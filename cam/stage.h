/* stage.h - the offline stage `prle cam`: one zoo member's maps of a face store, shared over ranks, resumed at will. */
#pragma once
#include "augment/faces.h"
#include "cam/cam.h"
#include "core/comm.h"
#include "core/progress.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct prle_cam_stage_opts {
    const char *out;    /* the folder: OUT/MEMBER.h5, while it is made OUT/MEMBER.parts/ */
    const char *member; /* name in the zoo; NULL: the network's */
    prle_split split;   /* PRLE_SPLIT_ANY: all */
    prle_cam_opts cam;
    int loader_threads;
    float mean[3], std[3]; /* of the model */
    uint64_t weights_hash;
} prle_cam_stage_opts;

typedef struct prle_cam_stage_report {
    int64_t images, already; /* with a map now; of these, from earlier runs */
    int64_t height, width;
    prle_cam_way way;
    bool was_done;
    double seconds;
} prle_cam_stage_report;

/**
 * Does what is missing and leaves OUT/MEMBER.h5. Nothing is done when that file is there already and was made the same way;
 * PRLE_EINVAL when it was made otherwise. Errors of prle_units_run. Collective.
 */
PRLE_NODISCARD prle_status prle_cam_stage_run(prle_cam_stage_report *report, prle_model *model, const prle_faces *faces,
                                              const prle_cam_stage_opts *opts, prle_comm *comm);

#ifdef __cplusplus
}
#endif
