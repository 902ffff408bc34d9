/* seeds.h - a small good HDF5 file of each kind, made by our own writers: what the fuzzers begin with, and what they edit. */
#pragma once
#include "core/status.h"

PRLE_NODISCARD prle_status seed_faces(const char *path);
PRLE_NODISCARD prle_status seed_maps(const char *path);
PRLE_NODISCARD prle_status seed_cam(const char *path);
PRLE_NODISCARD prle_status seed_checkpoint(const char *path);
