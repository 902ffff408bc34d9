/* units_meter.c - see units_meter.h. */
#include "dist/units_meter.h"

#include "core/log.h"

int64_t prle_units_meter_images(const prle_units_meter *meter, int64_t n_units)
{
    const int64_t n = n_units * PRLE_UNIT_ITEMS;

    return n < meter->n_images ? n : meter->n_images;
}

/* The other ranks are taken to be as far as this one: they have as many units, and units cost the same. */
void prle_units_meter_show(prle_units_meter *meter, const prle_units_progress *p)
{
    const int64_t n_before = p->n_units - p->all_total, all_done = p->own_done * meter->comm->size;
    const int64_t done = n_before + (all_done < p->all_total ? all_done : p->all_total);
    const prle_progress_opts opts = {.what = meter->what,
                                     .unit = "images",
                                     .total = meter->n_images,
                                     .done = prle_units_meter_images(meter, n_before),
                                     .rank = meter->comm->rank,
                                     .interval_s = 10};

    if (meter->progress == NULL) {
        meter->n_units = p->n_units;
        meter->n_units_before = meter->n_units_shown = n_before;
        if (prle_progress_create(&meter->progress, &opts) != PRLE_OK)
            prle_log(PRLE_LOG_WARN, "dist", "no progress is shown: %s", prle_error_message());
    }
    prle_progress_add(meter->progress,
                      prle_units_meter_images(meter, done) - prle_units_meter_images(meter, meter->n_units_shown));
    meter->n_units_shown = done;
}
