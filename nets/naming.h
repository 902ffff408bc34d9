/* naming.h - what other programs call the tensors of our networks in their files. */
#pragma once
#include "nets/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One program's names for one network (or family: the network's name begins with `net`). */
typedef struct prle_naming {
    const char *net;
    const char *name; /* "timm" */
    /** What the tensor that we call `ours` is called there, into out; false: it has none there. NULL: the same. */
    bool (*rename)(const char *ours, char *out, size_t room);
    bool one_to_one;     /* every tensor has a name of its own there, and the same shape: files can be written */
    const char *not_for; /* a network with these names but other arithmetic than that program's, or NULL */
    const char *instead; /* then: what to take */
} prle_naming;

/** The i-th naming that may be met for a network, ours first; NULL past the end. */
const prle_naming *prle_naming_get(const char *net, int i);

/** By its name; PRLE_EINVAL lists those in which files can be written. */
PRLE_NODISCARD prle_status prle_naming_find(const prle_naming **out, const char *net, const char *name);

enum { PRLE_NAMING_BYTES = 2 * PRLE_NAME_BYTES };

/** The name of our tensor in that naming; false when it has none there. */
bool prle_naming_apply(const prle_naming *naming, const char *ours, char out[PRLE_NAMING_BYTES]);

#ifdef __cplusplus
}
#endif
