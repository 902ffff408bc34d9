/* faces.h - the face store faces.h5 (schema prle.faces, docs/formats.md): metadata in memory, an image's bytes by one pread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PRLE_FACES_SCHEMA "prle.faces"
enum { PRLE_FACES_VERSION = 1, PRLE_FACES_LANDMARKS = 68 };

#define PRLE_IDENTITY_UNKNOWN UINT32_MAX

typedef enum prle_split {
    PRLE_SPLIT_ANY = -1, /* in queries only */
    PRLE_SPLIT_TRAIN,
    PRLE_SPLIT_VAL,
    PRLE_SPLIT_TEST,
} prle_split;
enum { PRLE_SPLITS = 3 };

/** "train", "val", "test", "any", then NULL: for option tables. */
extern const char *const prle_split_words[];

const char *prle_split_name(prle_split split); /* one of these */
PRLE_NODISCARD prle_status prle_split_parse(const char *name, prle_split *out);

/** An open store: every index below was checked, so that it can be used without looking. Read only, shared by all threads. */
typedef struct prle_faces {
    const char *path;
    int64_t n;                         /* images */
    int64_t height, width;             /* of every image */
    uint64_t content_hash;             /* names the content: cams and maps carry it */
    size_t max_image_bytes;            /* of the longest image file */
    size_t max_mask_bytes;             /* of the longest mask file; 0: the store has no masks */
    const uint64_t *offset;            /* [n + 1] of the image files, strictly growing from 0 */
    const uint8_t *label;              /* [n] 1 = fake */
    const uint16_t *method;            /* [n] index into method_names */
    const uint32_t *video;             /* [n] index into video_names; label, method and split are the same all through a video */
    const uint32_t *frame;             /* [n] its number in the video */
    const uint8_t *split;              /* [n] prle_split */
    const uint32_t *identity;          /* [n] index into identity_names, or PRLE_IDENTITY_UNKNOWN */
    const uint32_t *source;            /* [n] the same: whose face was put in, for a fake */
    const float *box;                  /* [n,4] x0 y0 x1 y1 in pixels of the original frame, NaN when unknown */
    const float *landmarks;            /* [n,68,2] x y in pixels of the stored image, NaN when unknown */
    const uint64_t *mask_offset;       /* [n + 1] of the mask files (PNG), growing; equal neighbours: no mask; NULL: no masks */
    const char *const *method_names;   /* [n_methods] */
    const char *const *video_names;    /* [n_videos] dataset/method/compression/video */
    const char *const *identity_names; /* [n_identities] */
    int64_t n_methods, n_videos, n_identities;
} prle_faces;

/** PRLE_EFORMAT, naming the file and the first wrong place, when anything in it is out of range. Close: prle_faces_close. */
PRLE_NODISCARD prle_status prle_faces_open(const char *path, prle_faces **out);
void prle_faces_close(prle_faces *faces); /* NULL is fine */

static inline size_t prle_faces_image_bytes(const prle_faces *faces, int64_t i)
{
    return (size_t)(faces->offset[i + 1] - faces->offset[i]);
}

/** The JPEG or PNG file of image i: prle_faces_image_bytes into out, by one pread. Thread-safe, no allocation. */
PRLE_NODISCARD prle_status prle_faces_read(const prle_faces *faces, int64_t i, void *out);

/** 0 when image i has no mask. */
static inline size_t prle_faces_mask_bytes(const prle_faces *faces, int64_t i)
{
    return faces->mask_offset == NULL ? 0 : (size_t)(faces->mask_offset[i + 1] - faces->mask_offset[i]);
}

/** The PNG file of image i's manipulation mask (white: changed), likewise; nothing is read where there is none. */
PRLE_NODISCARD prle_status prle_faces_read_mask(const prle_faces *faces, int64_t i, void *out);

/** Reads the whole store and compares it with its content hash; PRLE_EFORMAT when it is another. Slow: about 0.5 GB/s. */
PRLE_NODISCARD prle_status prle_faces_verify(const prle_faces *faces);

/** Which images to take. */
typedef struct prle_faces_query {
    prle_split split;           /* PRLE_SPLIT_ANY: all */
    int label;                  /* 0 or 1; -1: both */
    const char *const *methods; /* fakes made by these only, [n_methods]; NULL: by all. Real images are not asked. */
    int64_t n_methods;
    int64_t max_frames; /* of a video, evenly spaced over it; 0: all */
} prle_faces_query;

#define PRLE_FACES_QUERY_DEFAULT ((prle_faces_query){.split = PRLE_SPLIT_ANY, .label = -1})

/** Ascending indices of the images asked for, into a fresh array (prle_free it; NULL when there are none). PRLE_EINVAL names the
 * store's methods when one asked for is none of them. */
PRLE_NODISCARD prle_status prle_faces_select(const prle_faces *faces, const prle_faces_query *query, int64_t **index, int64_t *n);

/** The j-th of `take` places out of n, evenly spaced: the middle of the j-th of `take` equal parts. 0 <= j < take <= n. */
static inline int64_t prle_spaced(int64_t n, int64_t take, int64_t j) { return (2 * j + 1) * n / (2 * take); }

/* Writing. */

typedef struct prle_faces_item {
    const void *image; /* a JPEG or PNG file of the store's size */
    size_t image_bytes;
    const void *mask; /* a PNG file of the store's size, or NULL */
    size_t mask_bytes;
    int label;              /* 0 or 1 */
    prle_split split;       /* not ANY */
    const char *method;     /* "real", "swap", ... */
    const char *video;      /* dataset/method/compression/video */
    uint32_t frame;         /* number in the video */
    const char *identity;   /* NULL: unknown */
    const char *source;     /* NULL: unknown or real */
    const float *box;       /* [4] or NULL */
    const float *landmarks; /* [68,2] or NULL */
} prle_faces_item;

typedef struct prle_faces_writer prle_faces_writer;

/**
 * Begins a store that takes image_bytes of image files and mask_bytes of masks in all; nothing is at `path` before the commit.
 * Memory: the metadata, under 700 bytes an image; the files go straight to the disk.
 */
PRLE_NODISCARD prle_status prle_faces_writer_create(const char *path, int64_t height, int64_t width, uint64_t image_bytes,
                                                    uint64_t mask_bytes, prle_faces_writer **out);

/** Appends one image; everything is copied. The caller keeps label, method and split the same all through a video. */
PRLE_NODISCARD prle_status prle_faces_writer_add(prle_faces_writer *writer, const prle_faces_item *item);

/** A root attribute of one's own, e.g. where the images came from. */
PRLE_NODISCARD prle_status prle_faces_writer_note(prle_faces_writer *writer, const char *name, const char *value);

/** Publishes the store. PRLE_EINVAL when other numbers of bytes came than were announced. */
PRLE_NODISCARD prle_status prle_faces_writer_commit(prle_faces_writer *writer);
void prle_faces_writer_destroy(prle_faces_writer *writer); /* removes what was not committed; NULL is fine */

#ifdef __cplusplus
}
#endif
