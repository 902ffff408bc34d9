/* units_meter.h - the progress of a stage of units, shown in images: what `prle cam` and `prle fuse` have in common. */
#pragma once
#include "core/progress.h"
#include "dist/units.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Fill in the first three and leave the rest zero; destroy `progress` at the end. */
typedef struct prle_units_meter {
    const char *what; /* "fuse" */
    int64_t n_images; /* of the stage, PRLE_UNIT_ITEMS a unit */
    const prle_comm *comm;
    prle_progress *progress;
    int64_t n_units, n_units_before, n_units_shown; /* of the stage; committed by earlier runs; shown so far */
} prle_units_meter;

/** To be called by a stage's prle_units_opts.progress. */
void prle_units_meter_show(prle_units_meter *meter, const prle_units_progress *progress);

/** Images in the first n_units units. */
int64_t prle_units_meter_images(const prle_units_meter *meter, int64_t n_units);

#ifdef __cplusplus
}
#endif
