/* failure.h - the first error of a parallel loop, carried to the thread that goes on after it. */
#pragma once
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Begin with {0}. */
typedef struct prle_failure {
    int status; /* prle_status, PRLE_OK while none; an int for the atomic read */
    char message[1024];
} prle_failure;

/** Keeps the calling thread's error unless another one was first. PRLE_OK is no error. */
void prle_failure_note(prle_failure *failure, prle_status status);

/** For the loop's head: what is left to do need not be done. */
bool prle_failure_seen(const prle_failure *failure);

/** After the loop, in one thread: the error becomes this thread's. */
PRLE_NODISCARD prle_status prle_failure_raise(const prle_failure *failure);

#ifdef __cplusplus
}
#endif
