/* data.h - a face store and its maps, made up: what loading costs without anybody's photographs. */
#pragma once
#include "augment/faces.h"
#include "augment/maps.h"

/**
 * Writes folder/faces.h5, n JPEG images of side x side with shades, noise and landmarks, every second one fake, and
 * folder/maps.h5: a zoo's three smooth maps an image, fused by the default rule. side <= 256.
 */
PRLE_NODISCARD prle_status prle_bench_data_make(const char *folder, int64_t n, int64_t side, uint64_t seed);
