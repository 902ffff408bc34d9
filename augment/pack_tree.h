/* pack_tree.h - what `prle pack` finds in a tree: the images in the order of the store, and all that is known of them. */
#pragma once
#include <stdint.h>

#include "augment/faces.h"
#include "core/csv.h"
#include "core/status.h"
#include "core/strings.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct prle_tree_image {
    char *path; /* under the root */
    char *mask; /* likewise; NULL: none */
    prle_split split;
    int label;
    int64_t method, video; /* in the tree's names */
    uint32_t frame;
    int64_t row; /* of landmarks.csv, -1: none */
} prle_tree_image;

typedef struct prle_tree {
    const char *root;
    prle_tree_image *images; /* [n] by split, label, method, video, frame */
    int64_t n, capacity;
    prle_names methods, videos; /* videos: dataset/method/compression/video */
    int64_t n_found, n_ignored;
    prle_csv csv;                                /* all zero: there is none */
    int64_t csv_identity, csv_source, csv_first; /* columns */
    uint64_t hash; /* of everything that decides the store's content, sizes and times of the files among it */
} prle_tree;

/** Walks the tree; keeps `frames` images of each video (0: all). Deinit it, also after a failure. */
PRLE_NODISCARD prle_status prle_tree_scan(prle_tree *tree, const char *root, const char *dataset, const char *compression,
                                          int64_t frames);
void prle_tree_deinit(prle_tree *tree);

/** Names of whose face image i is and whose was put in; NULL: unknown. Borrowed. */
const char *prle_tree_identity(const prle_tree *tree, int64_t i);
const char *prle_tree_source(const prle_tree *tree, int64_t i);

/** The 68 points of image i, in pixels of the file; *known false when there are none. */
PRLE_NODISCARD prle_status prle_tree_landmarks(const prle_tree *tree, int64_t i, float points[2 * PRLE_FACES_LANDMARKS],
                                               bool *known);

#ifdef __cplusplus
}
#endif
