/* schedule.c - see schedule.h. */
#include "jobs/train/schedule.h"

#include <math.h>
#include <stddef.h>

const char *const prle_schedule_words[] = {
    [PRLE_SCHEDULE_CONSTANT] = "constant", [PRLE_SCHEDULE_COSINE] = "cosine", [PRLE_SCHEDULE_STEP] = "step", NULL};

double prle_schedule_lr(const prle_schedule *s, int64_t step, int64_t total_steps, int64_t epoch)
{
    const double pi = 3.14159265358979323846;

    if (step < s->warmup_steps)
        return s->lr * (double)(step + 1) / (double)s->warmup_steps;
    switch (s->kind) {
    case PRLE_SCHEDULE_COSINE:
        return s->lr * 0.5 * (1 + cos(pi * (double)(step - s->warmup_steps) / (double)(total_steps - s->warmup_steps)));
    case PRLE_SCHEDULE_STEP: return s->lr * pow(s->step_factor, (double)(epoch / s->step_epochs));
    case PRLE_SCHEDULE_CONSTANT: break;
    }
    return s->lr;
}
