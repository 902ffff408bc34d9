/* schedule.h - the learning rate of each step. */
#pragma once
#include <stdint.h>

typedef enum prle_schedule_kind {
    PRLE_SCHEDULE_CONSTANT,
    PRLE_SCHEDULE_COSINE, /* half a cosine from lr to 0 over all steps after the warm-up: Loshchilov and Hutter, arXiv 1608.03983
                           */
    PRLE_SCHEDULE_STEP,   /* lr times factor^(epoch / every) */
} prle_schedule_kind;

extern const char *const prle_schedule_words[];

typedef struct prle_schedule {
    prle_schedule_kind kind;
    double lr;
    int64_t warmup_steps; /* rising linearly: step s of them has (s + 1) / warmup_steps of the rate */
    int64_t step_epochs;  /* STEP */
    double step_factor;   /* STEP */
} prle_schedule;

/** Learning rate of optimiser step `step` (from 0) of `total_steps`, which belongs to `epoch`. */
double prle_schedule_lr(const prle_schedule *schedule, int64_t step, int64_t total_steps, int64_t epoch);
