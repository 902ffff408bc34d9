/* failure.c - see failure.h. */
#include "augment/forge/failure.h"

#include <stdio.h>

void prle_failure_note(prle_failure *failure, prle_status status)
{
    if (status == PRLE_OK)
        return;
#pragma omp critical(prle_failure)
    if (failure->status == PRLE_OK) {
        snprintf(failure->message, sizeof failure->message, "%s", prle_error_message());
#pragma omp atomic write
        failure->status = status;
    }
}

bool prle_failure_seen(const prle_failure *failure)
{
    int status;

#pragma omp atomic read
    status = failure->status;
    return status != PRLE_OK;
}

prle_status prle_failure_raise(const prle_failure *failure)
{
    PRLE_CHECK(failure->status == PRLE_OK, (prle_status)failure->status, "%s", failure->message);
    return PRLE_OK;
}
