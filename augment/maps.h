/* maps.h - fused maps on disk, maps.h5 (schema prle.maps): ranks and attention of every image, made in parts, read at random. */
#pragma once
#include <stdint.h>

#include "core/rows.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PRLE_MAPS_SCHEMA "prle.maps"
enum { PRLE_MAPS_VERSION = 1 };

#define PRLE_MAPS_NO_AREA UINT32_MAX /* of an image that has no map */

/** What maps are of and how they were made: root attributes; parts made otherwise are never mixed in. */
typedef struct prle_maps_info {
    int64_t n;             /* images of the face store */
    int64_t height, width; /* of a map; height * width <= 65536, so that ranks fit 16 bits */
    const char *rule;      /* "expand" */
    double tau1, lambda;
    int64_t radius;
    double hyst_low, hyst_pair; /* of the hysteresis rule */
    const char *zoo;            /* "xception,resnet50" */
    const char *cams;           /* checksums of the members' maps, in the zoo's order, separated by commas */
    const char *faces;          /* content hash of the face store, 16 hexadecimal digits */
} prle_maps_info;

/* Parts and compaction; the paths of parts are prle_rows_part_path's (core/rows.h). */

/**
 * Commits one unit: images index[n] of the face store.
 *
 * rank       in  [n,H,W]  rank of the pixel in its map, 0xFFFF outside
 * attention  in  [n,H,W]  0 ... 255
 * area       in  [n]      pixels in the map, 0 ... H*W
 */
PRLE_NODISCARD prle_status prle_maps_part_write(const char *path, const prle_maps_info *info, const int64_t *index, int64_t n,
                                                const uint16_t *rank, const uint8_t *attention, const uint32_t *area);

/** PRLE_OK: the part is whole, made as info says, and holds just these images. */
PRLE_NODISCARD prle_status prle_maps_part_check(const char *path, const prle_maps_info *info, const int64_t *index, int64_t n);

/** Units 0 ... n_units - 1 of a folder into one file with its manifest; the folder stays. beat: core/rows.h; NULL for none. */
PRLE_NODISCARD prle_status prle_maps_compact(const char *path, const prle_maps_info *info, const char *folder, int64_t n_units,
                                             const prle_rows_beat *beat);

/** An open file; shared by all threads. */
typedef struct prle_maps {
    const char *path;
    prle_maps_info info;
    int64_t count;        /* images that have a map */
    uint64_t checksum;    /* of the manifest, hence of the maps */
    const uint32_t *area; /* [n] pixels in the map; PRLE_MAPS_NO_AREA: no map */
} prle_maps;

/** PRLE_EFORMAT, naming the file and the first wrong place, when anything is out of range. Close it with prle_maps_close. */
PRLE_NODISCARD prle_status prle_maps_open(const char *path, prle_maps **out);
void prle_maps_close(prle_maps *maps); /* NULL is fine */

static inline bool prle_maps_has(const prle_maps *maps, int64_t i) { return maps->area[i] != PRLE_MAPS_NO_AREA; }

/** rank [H,W] of image i; thread-safe (threads wait for each other). PRLE_EINVAL when it has no map. */
PRLE_NODISCARD prle_status prle_maps_read_rank(const prle_maps *maps, int64_t i, uint16_t *rank);
PRLE_NODISCARD prle_status prle_maps_read_attention(const prle_maps *maps, int64_t i, uint8_t *attention);

/** Reads the maps of image i and compares them with the manifest. Allocates. */
PRLE_NODISCARD prle_status prle_maps_verify(const prle_maps *maps, int64_t i);

#ifdef __cplusplus
}
#endif
