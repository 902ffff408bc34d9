/* threshold.h - the option --threshold NUMBER|eer: from which score on a face is called fake. */
#pragma once
#include "nets/checkpoint.h"

/** A number in [0,1]; PRLE_EINVAL names option and text. */
PRLE_NODISCARD prle_status prle_share_parse(const char *option, const char *text, double *out);

/** Refuses a text that is neither; before a model is loaded. */
PRLE_NODISCARD prle_status prle_threshold_check(const char *text);

/** The number, or for "eer" the model's own threshold: PRLE_EFORMAT, naming `model`, when it has none. */
PRLE_NODISCARD prle_status prle_threshold_choose(double *out, const char *text, const char *model,
                                                 const prle_checkpoint_info *info);
