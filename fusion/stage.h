/* stage.h - `prle fuse`: the maps of a zoo (cams/ *.h5) become maps.h5, over all ranks, in committed units. */
#pragma once
#include <stdint.h>

#include "core/comm.h"
#include "core/device/device.h"
#include "core/strings.h"
#include "fusion/fuse.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct prle_fuse_stage_opts {
    const char *cams; /* folder with one MEMBER.h5 per zoo member */
    prle_strings zoo; /* members to fuse, in this order; empty: all in the folder, by name */
    const char *out;  /* maps.h5; units are kept in OUT.parts while it is being made */
    prle_fuse_opts fuse;
    int threads;               /* of this rank: each reads, and on the processor fuses, images of its own */
    const prle_device *device; /* what fuses; NULL: the processor */
} prle_fuse_stage_opts;

#define PRLE_FUSE_STAGE_OPTS_DEFAULT                                                                                             \
    {                                                                                                                            \
        .fuse = PRLE_FUSE_OPTS_DEFAULT, .threads = 1                                                                             \
    }

/** Shares reported: minimum, 5 %, 25 %, median, 75 %, 95 %, maximum. */
enum { PRLE_FUSE_QUANTILES = 7 };
extern const double prle_fuse_quantiles[PRLE_FUSE_QUANTILES];

typedef struct prle_fuse_report {
    int64_t n_images;                  /* of the face store */
    int64_t n_maps;                    /* images that have a fused map */
    int64_t n_empty;                   /* maps with |V| = 0: their images are never masked */
    int64_t height, width;             /* of a map */
    int64_t n_members;                 /* of the zoo */
    int64_t n_unlike;                  /* members whose maps are of another method, target or score than the first one's */
    double share[PRLE_FUSE_QUANTILES]; /* quantiles of |V| / HW over all maps, nearest rank; 0 when there are no maps */
    double mean_share;
    bool was_done;                   /* the file was there already, made with the same settings from the same maps */
    int64_t n_units, n_units_before; /* units of 64 images, and how many of them earlier runs made; 0 where was_done */
    double seconds;                  /* of this run */
} prle_fuse_report;

/**
 * Fuses the maps of every image that all members have one for, at the size of the faces, and warns when more than 5 % are empty,
 * and of members whose maps were made otherwise than the first one's.
 * Every image is fused by one thread of one rank, or its GPU, in integers: the contents of maps.h5 do not depend on ranks,
 * threads or devices, nor on how often the stage was killed and started again. Shows its progress on rank 0.
 *
 * Errors: PRLE_EINVAL when a member is not in the folder (those there are listed), named twice, or OUT exists and was made
 * otherwise; PRLE_EFORMAT when members are of different face stores or cover different images; PRLE_ENUMERIC names file, image
 * and place of a value that is not finite; and those of prle_units_run.
 * report: the same on every rank. Collective.
 */
PRLE_NODISCARD prle_status prle_fuse_run(const prle_fuse_stage_opts *opts, prle_comm *comm, prle_fuse_report *report);

#ifdef __cplusplus
}
#endif
