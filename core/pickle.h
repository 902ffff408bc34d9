/* pickle.h - Python's pickles as plain data: a tree of numbers, texts, lists and dictionaries. Calls in it are recorded, never
 * made: what a name means is the reader's business, and nothing else has a meaning. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PRLE_PICKLE_MAX_BYTES = 8 << 20 }; /* the largest pickle read; that of a checkpoint has about 200 bytes a tensor */

typedef enum prle_pickle_kind {
    PRLE_PICKLE_NONE,
    PRLE_PICKLE_BOOL,
    PRLE_PICKLE_INT, /* of at most 64 bits; longer ones are NONE */
    PRLE_PICKLE_REAL,
    PRLE_PICKLE_TEXT, /* a string, or bytes */
    PRLE_PICKLE_LIST, /* a list, tuple or set */
    PRLE_PICKLE_DICT,
    PRLE_PICKLE_GLOBAL,     /* a name: "torch._utils", "_rebuild_tensor_v2" */
    PRLE_PICKLE_PERSISTENT, /* stands for something outside of the pickle, which `inner` tells */
    PRLE_PICKLE_CALL,       /* what calling `callee` with the list `args` would give; its items and state came later */
} prle_pickle_kind;

/** Numbers a value; 0: none. Values may stand inside of each other, and of themselves: whoever walks them counts its steps. */
typedef uint32_t prle_pickle_id;

typedef struct prle_pickle_value {
    prle_pickle_kind kind;
    union {
        int64_t integer; /* INT, BOOL */
        double real;
        struct {
            uint32_t at, n_bytes; /* TEXT: in the pickle's bytes */
        } text;
        struct {
            prle_pickle_id module, name; /* GLOBAL: two TEXTs */
        } global;
        prle_pickle_id inner; /* PERSISTENT */
        struct {
            prle_pickle_id callee, args; /* CALL */
        } call;
    };
    prle_pickle_id state;    /* CALL: what __setstate__ would get; 0: nothing */
    uint32_t first, last, n; /* LIST, DICT, CALL: chain of cells; 0: empty */
} prle_pickle_value;

/** An item of a list (key 0), or an entry of a dictionary. */
typedef struct prle_pickle_cell {
    prle_pickle_id key, value;
    uint32_t next;
} prle_pickle_cell;

/** Memory: at most 64 bytes for each byte of the pickle (an empty dictionary is one). Texts lie in the borrowed `bytes`. */
typedef struct prle_pickle {
    const uint8_t *bytes;
    size_t n_used; /* the pickle's length: it ends itself */
    prle_pickle_value *value;
    prle_pickle_cell *cell;
    uint32_t n_values, n_cells, values_room, cells_room;
    prle_pickle_id root;
} prle_pickle;

/**
 * Reads the pickle at the beginning of bytes (protocols 2 to 5, as far as torch.save writes them). name: the file, for messages.
 * PRLE_EFORMAT: it is cut, broken, or holds an instruction that torch.save does not write. *p: {0} before; deinit it either way.
 */
PRLE_NODISCARD prle_status prle_pickle_parse(prle_pickle *p, const char *name, const uint8_t *bytes, size_t n_bytes);
void prle_pickle_deinit(prle_pickle *p);

/* Looking at values: each takes any id, 0 too, and gives 0 or false where it does not fit. */
const prle_pickle_value *prle_pickle_get(const prle_pickle *p, prle_pickle_id id); /* a NONE for 0 */
bool prle_pickle_is_text(const prle_pickle *p, prle_pickle_id id, const char *text);
bool prle_pickle_is_global(const prle_pickle *p, prle_pickle_id id, const char *module, const char *name);
prle_pickle_id prle_pickle_item(const prle_pickle *p, prle_pickle_id list, uint32_t i);
prle_pickle_id prle_pickle_entry(const prle_pickle *p, prle_pickle_id dict, const char *key);
bool prle_pickle_int(const prle_pickle *p, prle_pickle_id id, int64_t *out);

/** A TEXT with a zero behind it; false when it is none, has a zero inside or no room. */
bool prle_pickle_text(const prle_pickle *p, prle_pickle_id id, char *out, size_t room);

#ifdef __cplusplus
}
#endif
