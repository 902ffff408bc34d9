/* cudasim.h - what a test may ask the simulator that runs under it: how much work was done on the "GPU". All functions are found
 * by dlsym, so that a program runs with and without libcudasim.so preloaded. */
#pragma once
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Counted since the last reset, over all streams and threads of this process; what a captured graph does counts when it is
 * launched. */
typedef struct cudasim_counts {
    int64_t launches;       /* kernels, those of graphs too */
    int64_t graph_launches; /* cudaGraphLaunch */
    int64_t graph_nodes;    /* nodes of the graphs that were launched */
    int64_t library_calls;  /* cuDNN, cuBLAS, NCCL operations that were executed */
    int64_t copies;         /* memcpy and memset operations */
    int64_t copied_bytes;
    int64_t pageable_copies;  /* with a host side that is not pinned */
    int64_t synchronisations; /* calls that made the host wait: stream, device, event, blocking copies */
    int64_t allocations;      /* device and pinned memory */
    int64_t heuristics;       /* cuDNN's, asked for engines */
    int64_t reports;          /* of misuse; never reset */
} cudasim_counts;

void cudasim_counts_get(cudasim_counts *out);
void cudasim_counts_reset(void);

/** Global memory that one kernel moved since the last reset, over all its launches. `distinct`: 32-byte sectors that a launch
 * touched at least once, what a perfect cache would have moved. */
typedef struct cudasim_traffic {
    int64_t launches, read_bytes, written_bytes, distinct_read_bytes, distinct_written_bytes, instructions;
} cudasim_traffic;

/** `part`: of the kernel's (mangled) name; every kernel that has it in its name is added up. */
void cudasim_traffic_get(const char *part, cudasim_traffic *out);

#ifdef __cplusplus
}
#endif
