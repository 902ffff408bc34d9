/* yaml.h - a small YAML file as a tree of nodes that know their line; for options and sweeps. */
#pragma once
#include <stddef.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * libyaml stands behind this. libcyaml was planned and does not fit: it loads straight into a C struct by a static schema,
 * so that afterwards nobody knows which keys were there, nor in which line, and options need both (origin of each value,
 * file:line in each message).
 */

typedef enum prle_yaml_kind {
    PRLE_YAML_NULL, /* nothing, ~ or null */
    PRLE_YAML_SCALAR,
    PRLE_YAML_LIST,
    PRLE_YAML_MAP,
} prle_yaml_kind;

/** Borrowed from its document. */
typedef struct prle_yaml_node {
    prle_yaml_kind kind;
    int line;                           /* from 1 */
    const char *key;                    /* its name in the map that holds it, NULL elsewhere */
    const char *text;                   /* of a scalar, UTF-8; "" of the others */
    int n;                              /* entries of a list or map */
    const struct prle_yaml_node *child; /* first entry of a list or map, NULL when empty */
    const struct prle_yaml_node *next;  /* the entry after this one */
} prle_yaml_node;

typedef struct prle_yaml prle_yaml;

/**
 * Reads one document of at most 64 KiB, 32 levels deep, keys unique, no anchors and aliases. PRLE_EIO when it cannot be read,
 * PRLE_EFORMAT with path:line when it is not such a document.
 */
PRLE_NODISCARD prle_status prle_yaml_load(const char *path, prle_yaml **out);

/** The same from memory; `name` stands for the path in messages. */
PRLE_NODISCARD prle_status prle_yaml_parse(const char *name, const char *text, size_t n_bytes, prle_yaml **out);

/** Never NULL: an empty file is a PRLE_YAML_NULL node. */
const prle_yaml_node *prle_yaml_root(const prle_yaml *yaml);

/** The entry of a map, NULL when there is none (or the node is no map). */
const prle_yaml_node *prle_yaml_get(const prle_yaml_node *map, const char *key);

void prle_yaml_destroy(prle_yaml *yaml); /* NULL is fine */

#ifdef __cplusplus
}
#endif
