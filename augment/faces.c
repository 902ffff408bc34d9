/* faces.c - opening a face store with every index checked, reading images out of it, choosing among them. */
#include "augment/faces.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/hdf5.h"
#include "core/strings.h"
#include "core/text.h"
#include "core/types.h"

/* What callers see, and what stays behind it. */
typedef struct store {
    prle_faces pub;
    int fd;
    uint64_t images_at, masks_at; /* where offset 0 lies in the file */
    prle_strings methods, videos, identities;
} store;

const char *const prle_split_words[] = {
    [PRLE_SPLIT_TRAIN] = "train", [PRLE_SPLIT_VAL] = "val", [PRLE_SPLIT_TEST] = "test", [PRLE_SPLITS] = "any", NULL};

const char *prle_split_name(prle_split split) { return prle_split_words[split == PRLE_SPLIT_ANY ? PRLE_SPLITS : (int)split]; }

prle_status prle_split_parse(const char *name, prle_split *out)
{
    for (int i = 0; prle_split_words[i] != NULL; i++) {
        if (strcmp(name, prle_split_words[i]) == 0) {
            *out = i == PRLE_SPLITS ? PRLE_SPLIT_ANY : (prle_split)i;
            return PRLE_OK;
        }
    }
    return PRLE_FAIL(PRLE_EINVAL, "split \"%s\": one of train, val, test, any is expected", name);
}

/* "a.h5: image 17: label 3, expected 0 ... 1" */
static prle_status check_below(const prle_faces *faces, int64_t i, const char *what, uint64_t value, int64_t n)
{
    PRLE_CHECK(value < (uint64_t)n, PRLE_EFORMAT, "%s: image %lld: %s %llu, expected less than %lld", faces->path, (long long)i,
               what, (unsigned long long)value, (long long)n);
    return PRLE_OK;
}

static prle_status check_identity(const prle_faces *faces, int64_t i, const char *what, uint32_t value)
{
    return value == PRLE_IDENTITY_UNKNOWN ? PRLE_OK : check_below(faces, i, what, value, faces->n_identities);
}

static prle_status check_image(const prle_faces *faces, int64_t i)
{
    PRLE_CHECK(faces->offset[i] < faces->offset[i + 1], PRLE_EFORMAT, "%s: image %lld has offset %llu, the next one %llu",
               faces->path, (long long)i, (unsigned long long)faces->offset[i], (unsigned long long)faces->offset[i + 1]);
    PRLE_TRY(check_below(faces, i, "label", faces->label[i], 2));
    PRLE_TRY(check_below(faces, i, "split", faces->split[i], PRLE_SPLITS));
    PRLE_TRY(check_below(faces, i, "method", faces->method[i], faces->n_methods));
    PRLE_TRY(check_below(faces, i, "video", faces->video[i], faces->n_videos));
    PRLE_TRY(check_identity(faces, i, "identity", faces->identity[i]));
    PRLE_TRY(check_identity(faces, i, "source", faces->source[i]));
    return PRLE_OK;
}

/* A video is real or fake, in one split: metrics by video rely on it. */
static prle_status check_videos(const prle_faces *faces)
{
    prle_status st = PRLE_OK;
    int64_t *first = NULL; /* [n_videos] 1 + index of the video's first image */

    PRLE_TRY(PRLE_NEW(first, faces->n_videos));
    for (int64_t i = 0; i < faces->n; i++) {
        const uint32_t video = faces->video[i];
        if (first[video] == 0)
            first[video] = i + 1;
        const int64_t other = first[video] - 1;
        PRLE_CHECK_OUT(faces->label[i] == faces->label[other] && faces->split[i] == faces->split[other] &&
                           faces->method[i] == faces->method[other],
                       PRLE_EFORMAT, "%s: images %lld and %lld of video %s differ in label, method or split", faces->path,
                       (long long)other, (long long)i, faces->video_names[video]);
    }
out:
    prle_free(first);
    return st;
}

static prle_status check_all(prle_faces *faces)
{
    for (int64_t i = 0; i < faces->n; i++) {
        PRLE_TRY(check_image(faces, i));
        if (prle_faces_image_bytes(faces, i) > faces->max_image_bytes)
            faces->max_image_bytes = prle_faces_image_bytes(faces, i);
    }
    return check_videos(faces);
}

static prle_status check_masks(prle_faces *faces)
{
    for (int64_t i = 0; i < faces->n; i++) {
        PRLE_CHECK(faces->mask_offset[i] <= faces->mask_offset[i + 1], PRLE_EFORMAT,
                   "%s: mask %lld has offset %llu, the next one %llu", faces->path, (long long)i,
                   (unsigned long long)faces->mask_offset[i], (unsigned long long)faces->mask_offset[i + 1]);
        if (prle_faces_mask_bytes(faces, i) > faces->max_mask_bytes)
            faces->max_mask_bytes = prle_faces_mask_bytes(faces, i);
    }
    return PRLE_OK;
}

/* One array of [n, ...] elements. */
#define COLUMN(file, name, type, out, ...) prle_h5_read_alloc(file, name, type, &PRLE_SHAPE(__VA_ARGS__), (prle_any_ptr *)&(out))

/* Offsets of n files, and where in our file the dataset `bytes` lies that they point into. */
static prle_status open_files(prle_h5 *file, const char *bytes, const char *offset, int64_t *n, const uint64_t **offsets,
                              uint64_t *at)
{
    prle_h5_dataset info;
    prle_shape shape = PRLE_SHAPE(*n < 0 ? -1 : *n + 1);
    uint64_t file_bytes = 0;

    PRLE_TRY(prle_h5_read_alloc(file, offset, PRLE_H5_U64, &shape, (prle_any_ptr *)offsets));
    PRLE_CHECK(shape.dim[0] >= 1, PRLE_EFORMAT, "%s: dataset '%s' is empty", prle_h5_path(file), offset);
    PRLE_TRY(prle_h5_dataset_get(file, bytes, &info));
    const uint64_t first = (*offsets)[0], last = (*offsets)[shape.dim[0] - 1];
    PRLE_CHECK(info.type == PRLE_H5_U8 && info.shape.n == 1 && !info.chunked, PRLE_EFORMAT,
               "%s: dataset '%s' is not contiguous bytes", prle_h5_path(file), bytes);
    PRLE_CHECK(first == 0 && last == (uint64_t)info.shape.dim[0], PRLE_EFORMAT,
               "%s: dataset '%s' goes from %llu to %llu, expected 0 to %lld, the length of '%s'", prle_h5_path(file), offset,
               (unsigned long long)first, (unsigned long long)last, (long long)info.shape.dim[0], bytes);
    PRLE_TRY(prle_file_size(prle_h5_path(file), &file_bytes));
    PRLE_CHECK(last == 0 || (info.offset > 0 && info.offset <= file_bytes && last <= file_bytes - info.offset), PRLE_EFORMAT,
               "%s: dataset '%s' reaches beyond the end of the file", prle_h5_path(file), bytes);
    *n = shape.dim[0] - 1;
    *at = info.offset;
    return PRLE_OK;
}

static prle_status load_names(prle_h5 *file, const char *name, prle_strings *list, const char *const **out, int64_t *n)
{
    PRLE_TRY(prle_h5_read_strings(file, name, list));
    *out = (const char *const *)list->item;
    *n = list->n;
    return PRLE_OK;
}

static prle_status load_size(prle_h5 *file, const char *name, int64_t *out)
{
    PRLE_TRY(prle_h5_attr_read_int(file, name, out));
    PRLE_CHECK(*out >= 1 && *out <= 1 << 16, PRLE_EFORMAT, "%s: %s %lld, expected 1 ... 65536", prle_h5_path(file), name,
               (long long)*out);
    return PRLE_OK;
}

static prle_status load_hash(prle_h5 *file, uint64_t *out)
{
    prle_status st = PRLE_OK;
    char *text = NULL, *end = NULL;

    PRLE_TRY(prle_h5_attr_read_string(file, "content_hash", &text));
    const uint64_t hash = strtoull(text, &end, 16);
    PRLE_CHECK_OUT(strlen(text) == 16 && *end == '\0', PRLE_EFORMAT, "%s: content_hash \"%s\" is not 16 hexadecimal digits",
                   prle_h5_path(file), text);
    *out = hash;
out:
    prle_free(text);
    return st;
}

static prle_status load(prle_h5 *file, store *s)
{
    prle_faces *faces = &s->pub;

    faces->n = -1;
    PRLE_TRY(load_size(file, "height", &faces->height));
    PRLE_TRY(load_size(file, "width", &faces->width));
    PRLE_TRY(load_hash(file, &faces->content_hash));
    PRLE_TRY(open_files(file, "bytes", "offset", &faces->n, &faces->offset, &s->images_at));
    PRLE_TRY(load_names(file, "method_names", &s->methods, &faces->method_names, &faces->n_methods));
    PRLE_TRY(load_names(file, "video_names", &s->videos, &faces->video_names, &faces->n_videos));
    PRLE_TRY(load_names(file, "identity_names", &s->identities, &faces->identity_names, &faces->n_identities));
    PRLE_TRY(COLUMN(file, "label", PRLE_H5_U8, faces->label, faces->n));
    PRLE_TRY(COLUMN(file, "method", PRLE_H5_U16, faces->method, faces->n));
    PRLE_TRY(COLUMN(file, "video", PRLE_H5_U32, faces->video, faces->n));
    PRLE_TRY(COLUMN(file, "frame", PRLE_H5_U32, faces->frame, faces->n));
    PRLE_TRY(COLUMN(file, "split", PRLE_H5_U8, faces->split, faces->n));
    PRLE_TRY(COLUMN(file, "identity", PRLE_H5_U32, faces->identity, faces->n));
    PRLE_TRY(COLUMN(file, "source", PRLE_H5_U32, faces->source, faces->n));
    PRLE_TRY(COLUMN(file, "box", PRLE_H5_F32, faces->box, faces->n, 4));
    PRLE_TRY(COLUMN(file, "landmarks", PRLE_H5_F32, faces->landmarks, faces->n, PRLE_FACES_LANDMARKS, 2));
    PRLE_TRY(check_all(faces));
    if (prle_h5_exists(file, "mask_bytes")) {
        PRLE_TRY(open_files(file, "mask_bytes", "mask_offset", &faces->n, &faces->mask_offset, &s->masks_at));
        PRLE_TRY(check_masks(faces));
    }
    return PRLE_OK;
}

prle_status prle_faces_open(const char *path, prle_faces **out)
{
    prle_status st = PRLE_OK;
    store *s = NULL;
    prle_h5 *file = NULL;

    PRLE_TRY(PRLE_NEW(s, 1));
    s->fd = -1;
    PRLE_TRY_OUT(prle_strdup(path, (char **)&s->pub.path));
    PRLE_TRY_OUT(prle_file_open(path, &s->fd));
    PRLE_TRY_OUT(prle_h5_open(path, PRLE_FACES_SCHEMA, PRLE_FACES_VERSION, &file));
    PRLE_TRY_OUT(load(file, s));
    *out = &s->pub;
    s = NULL;
out:
    prle_h5_close(file);
    prle_faces_close(s == NULL ? NULL : &s->pub);
    return st;
}

void prle_faces_close(prle_faces *faces)
{
    if (faces == NULL)
        return;
    store *s = (store *)faces;
    const void *columns[] = {faces->path,  faces->offset,   faces->label,  faces->method, faces->video,     faces->frame,
                             faces->split, faces->identity, faces->source, faces->box,    faces->landmarks, faces->mask_offset};
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        prle_free((void *)columns[i]);
    prle_strings_deinit(&s->methods);
    prle_strings_deinit(&s->videos);
    prle_strings_deinit(&s->identities);
    prle_file_close(s->fd);
    prle_free(s);
}

static prle_status check_index(const prle_faces *faces, int64_t i)
{
    PRLE_CHECK(i >= 0 && i < faces->n, PRLE_EINVAL, "%s: image %lld of %lld", faces->path, (long long)i, (long long)faces->n);
    return PRLE_OK;
}

prle_status prle_faces_read(const prle_faces *faces, int64_t i, void *out)
{
    const store *s = (const store *)faces;

    PRLE_TRY(check_index(faces, i));
    return prle_file_pread(s->fd, faces->path, out, prle_faces_image_bytes(faces, i), s->images_at + faces->offset[i]);
}

prle_status prle_faces_read_mask(const prle_faces *faces, int64_t i, void *out)
{
    const store *s = (const store *)faces;

    PRLE_TRY(check_index(faces, i));
    if (prle_faces_mask_bytes(faces, i) == 0)
        return PRLE_OK;
    return prle_file_pread(s->fd, faces->path, out, prle_faces_mask_bytes(faces, i), s->masks_at + faces->mask_offset[i]);
}

/* The hash of docs/formats.md, as faces_write.c makes it. */

static prle_status hash_files(const prle_faces *faces, uint8_t *buffer, uint64_t hashes[2])
{
    for (int64_t i = 0; i < faces->n; i++) {
        PRLE_TRY(prle_faces_read(faces, i, buffer));
        hashes[0] = prle_hash(hashes[0], buffer, prle_faces_image_bytes(faces, i));
        PRLE_TRY(prle_faces_read_mask(faces, i, buffer));
        hashes[1] = prle_hash(hashes[1], buffer, prle_faces_mask_bytes(faces, i));
    }
    return PRLE_OK;
}

static uint64_t hash_columns(const prle_faces *faces, uint64_t hash)
{
    const size_t n = (size_t)faces->n;
    const struct {
        const void *data;
        size_t n_bytes;
    } columns[] = {
        {faces->offset, (n + 1) * sizeof *faces->offset},
        {faces->label, n * sizeof *faces->label},
        {faces->method, n * sizeof *faces->method},
        {faces->video, n * sizeof *faces->video},
        {faces->frame, n * sizeof *faces->frame},
        {faces->split, n * sizeof *faces->split},
        {faces->identity, n * sizeof *faces->identity},
        {faces->source, n * sizeof *faces->source},
        {faces->box, n * 4 * sizeof *faces->box},
        {faces->landmarks, n * 2 * PRLE_FACES_LANDMARKS * sizeof *faces->landmarks},
        {faces->mask_offset, faces->mask_offset == NULL ? 0 : (n + 1) * sizeof *faces->mask_offset},
    };

    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        hash = prle_hash(hash, columns[i].data, columns[i].n_bytes);
    return hash;
}

static uint64_t hash_names(const prle_strings *list, uint64_t hash)
{
    for (int64_t i = 0; i < list->n; i++)
        hash = prle_hash(hash, list->item[i], strlen(list->item[i]) + 1);
    return hash;
}

prle_status prle_faces_verify(const prle_faces *faces)
{
    prle_status st = PRLE_OK;
    const store *s = (const store *)faces;
    uint8_t *buffer = NULL;
    uint64_t hashes[2] = {PRLE_HASH_INIT, PRLE_HASH_INIT}, hash;

    PRLE_TRY(PRLE_NEW(buffer, faces->max_image_bytes > faces->max_mask_bytes ? faces->max_image_bytes : faces->max_mask_bytes));
    PRLE_TRY_OUT(hash_files(faces, buffer, hashes));
    hash = hash_columns(faces, prle_hash(PRLE_HASH_INIT, hashes, sizeof hashes));
    hash = hash_names(&s->identities, hash_names(&s->videos, hash_names(&s->methods, hash)));
    PRLE_CHECK_OUT(hash == faces->content_hash, PRLE_EFORMAT, "%s: the content has the hash %016llx, the store says %016llx",
                   faces->path, (unsigned long long)hash, (unsigned long long)faces->content_hash);
out:
    prle_free(buffer);
    return st;
}

/* Selection. */

static prle_status unknown_method(const prle_faces *faces, const char *method)
{
    prle_text known = {0};
    char *names = NULL;

    for (int64_t i = 0; i < faces->n_methods; i++)
        prle_text_add(&known, "%s%s", i == 0 ? "" : ", ", faces->method_names[i]);
    PRLE_TRY(prle_text_take(&known, &names));
    const prle_status st = PRLE_FAIL(PRLE_EINVAL, "%s: has no method \"%s\", it has %s", faces->path, method, names);
    prle_free(names);
    return st;
}

/* take[m]: whether fakes by method m are wanted. */
static prle_status methods_mark(const prle_faces *faces, const prle_faces_query *query, uint8_t *take)
{
    for (int64_t m = 0; m < faces->n_methods; m++)
        take[m] = query->methods == NULL;
    for (int64_t k = 0; query->methods != NULL && k < query->n_methods; k++) {
        bool found = false;
        for (int64_t m = 0; m < faces->n_methods; m++) {
            if (strcmp(faces->method_names[m], query->methods[k]) == 0)
                take[m] = found = true;
        }
        if (!found)
            return unknown_method(faces, query->methods[k]);
    }
    return PRLE_OK;
}

static bool wanted(const prle_faces *faces, const prle_faces_query *query, const uint8_t *take, int64_t i)
{
    return (query->split == PRLE_SPLIT_ANY || faces->split[i] == query->split) &&
           (query->label < 0 || faces->label[i] == query->label) && (faces->label[i] == 0 || take[faces->method[i]]);
}

static int by_frame(const void *a, const void *b, void *context)
{
    const prle_faces *faces = context;
    const int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;

    if (faces->video[i] != faces->video[j])
        return faces->video[i] < faces->video[j] ? -1 : 1;
    if (faces->frame[i] != faces->frame[j])
        return faces->frame[i] < faces->frame[j] ? -1 : 1;
    return (i > j) - (i < j);
}

static int by_index(const void *a, const void *b)
{
    const int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;

    return (i > j) - (i < j);
}

/* Keeps max_frames of each video; returns how many are left. */
static int64_t thin_out(const prle_faces *faces, int64_t *index, int64_t n, int64_t max_frames)
{
    int64_t kept = 0;

    qsort_r(index, (size_t)n, sizeof *index, by_frame, (void *)faces);
    for (int64_t first = 0, end; first < n; first = end) {
        for (end = first + 1; end < n && faces->video[index[end]] == faces->video[index[first]];)
            end++;
        const int64_t take = end - first < max_frames ? end - first : max_frames;
        for (int64_t j = 0; j < take; j++)
            index[kept++] = index[first + prle_spaced(end - first, take, j)];
    }
    qsort(index, (size_t)kept, sizeof *index, by_index);
    return kept;
}

prle_status prle_faces_select(const prle_faces *faces, const prle_faces_query *query, int64_t **index, int64_t *n)
{
    prle_status st = PRLE_OK;
    uint8_t *take = NULL;
    int64_t *found = NULL, count = 0;

    PRLE_TRY(PRLE_NEW(take, faces->n_methods));
    PRLE_TRY_OUT(methods_mark(faces, query, take));
    for (int64_t i = 0; i < faces->n; i++)
        count += wanted(faces, query, take, i);
    PRLE_TRY_OUT(PRLE_NEW(found, count));
    count = 0;
    for (int64_t i = 0; i < faces->n; i++)
        if (wanted(faces, query, take, i))
            found[count++] = i;
    if (query->max_frames > 0 && count > 0)
        count = thin_out(faces, found, count, query->max_frames);
    *index = found;
    *n = count;
out:
    prle_free(take);
    return st;
}
