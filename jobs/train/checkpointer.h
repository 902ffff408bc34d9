/* checkpointer.h - checkpoints in the background: training goes on while one is written. */
#pragma once
#include "core/comm.h"
#include "jobs/train/run_folder.h"

typedef struct prle_checkpointer prle_checkpointer;

/** All are borrowed until destroy. Rank 0, which writes, has a second copy of weights, statistics and moments. Not collective. */
PRLE_NODISCARD prle_status prle_checkpointer_create(prle_checkpointer **out, const char *folder, prle_model *model,
                                                    prle_optim *optim, prle_comm *comm);

/**
 * Waits for the checkpoint before this one, copies the present state, and lets a thread write it: best.h5 where `best`, then
 * last.h5. Fails, on every rank, when the one before could not be written. Collective.
 */
PRLE_NODISCARD prle_status prle_checkpointer_save(prle_checkpointer *c, const prle_checkpoint_info *info,
                                                  const prle_run_state *state, bool best);

/** Until the last one is on the disk; fails likewise. Collective. */
PRLE_NODISCARD prle_status prle_checkpointer_wait(prle_checkpointer *c);

/** For which training has stood still: copying, and waiting for the disk. Of rank 0; 0 elsewhere. */
double prle_checkpointer_seconds(const prle_checkpointer *c);

/** Waits for the thread; what it says is lost. NULL is fine. */
void prle_checkpointer_destroy(prle_checkpointer *c);
