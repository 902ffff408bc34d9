/* traces.h - do fused maps lie where the forgeries changed the faces? The paper's Table I (how much of an image they cover)
 * beside what only a set with manipulation masks can tell. */
#pragma once
#include "augment/faces.h"
#include "augment/maps.h"

/** Of the images of one method that have a map; means over images, NaN where there is none. V: the map; M: the changed pixels. */
typedef struct prle_traces {
    int64_t n;        /* images with a map */
    int64_t n_masked; /* of them, with a map and a mask that are not empty: the four below are of these */
    double region;    /* |V| / HW, of all n */
    double changed;   /* |M| / HW */
    double inside;    /* |V and M| / |V| */
    double covered;   /* |V and M| / |M| */
    double lift;      /* inside / changed, by image: 1 is what chance gives */
} prle_traces;

/**
 * out [faces->n_methods]. PRLE_EINVAL when the maps are of another store; PRLE_EFORMAT when a mask cannot be read. A pixel is
 * changed where its mask is 128 or more.
 */
PRLE_NODISCARD prle_status prle_traces_measure(prle_traces *out, const prle_maps *maps, const prle_faces *faces);
