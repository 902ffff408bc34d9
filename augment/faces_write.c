/* faces_write.c - writing a face store: image files go straight into the file, metadata waits for the commit. */
#include <math.h>
#include <string.h>

#include "augment/faces.h"
#include "core/alloc.h"
#include "core/hash.h"
#include "core/hdf5.h"
#include "core/strings.h"

enum { POINTS = 2 * PRLE_FACES_LANDMARKS };

typedef struct record {
    uint64_t image_end, mask_end;
    uint32_t video, frame, identity, source;
    uint16_t method;
    uint8_t label, split;
    float box[4], landmarks[POINTS];
} record;

struct prle_faces_writer {
    prle_h5 *file;
    uint64_t image_bytes, mask_bytes; /* announced */
    uint64_t image_hash, mask_hash;   /* of the files so far */
    record *records;
    int64_t n, capacity;
    prle_names methods, videos, identities;
};

static const prle_h5_layout contiguous;

prle_status prle_faces_writer_create(const char *path, int64_t height, int64_t width, uint64_t image_bytes, uint64_t mask_bytes,
                                     prle_faces_writer **out)
{
    prle_status st = PRLE_OK;
    prle_faces_writer *writer = NULL;

    PRLE_CHECK(image_bytes <= INT64_MAX && mask_bytes <= INT64_MAX, PRLE_EINVAL, "%s: more bytes than a file can have", path);
    PRLE_TRY(PRLE_NEW(writer, 1));
    writer->image_bytes = image_bytes;
    writer->mask_bytes = mask_bytes;
    writer->image_hash = writer->mask_hash = PRLE_HASH_INIT;
    PRLE_TRY_OUT(prle_h5_create(path, PRLE_FACES_SCHEMA, PRLE_FACES_VERSION, &writer->file));
    PRLE_TRY_OUT(prle_h5_attr_write_int(writer->file, "height", height));
    PRLE_TRY_OUT(prle_h5_attr_write_int(writer->file, "width", width));
    PRLE_TRY_OUT(prle_h5_define(writer->file, "bytes", PRLE_H5_U8, &PRLE_SHAPE((int64_t)image_bytes), &contiguous));
    if (mask_bytes > 0)
        PRLE_TRY_OUT(prle_h5_define(writer->file, "mask_bytes", PRLE_H5_U8, &PRLE_SHAPE((int64_t)mask_bytes), &contiguous));
    *out = writer;
    writer = NULL;
out:
    prle_faces_writer_destroy(writer);
    return st;
}

void prle_faces_writer_destroy(prle_faces_writer *writer)
{
    if (writer == NULL)
        return;
    prle_h5_close(writer->file);
    prle_names_deinit(&writer->methods);
    prle_names_deinit(&writer->videos);
    prle_names_deinit(&writer->identities);
    prle_free(writer->records);
    prle_free(writer);
}

prle_status prle_faces_writer_note(prle_faces_writer *writer, const char *name, const char *value)
{
    return prle_h5_attr_write_string(writer->file, name, value);
}

/* The number of a name, which is to stay below `limit`; NULL has the number `limit`. */
static prle_status number(prle_names *names, const char *what, const char *name, int64_t limit, int64_t *out)
{
    if (name == NULL) {
        *out = limit;
        return PRLE_OK;
    }
    PRLE_TRY(prle_names_intern(names, name, out));
    PRLE_CHECK(*out < limit, PRLE_EINVAL, "%s \"%s\": more than %lld different ones", what, name, (long long)limit);
    return PRLE_OK;
}

static prle_status check_item(const prle_faces_writer *writer, const prle_faces_item *item, uint64_t image_at, uint64_t mask_at)
{
    const char *path = prle_h5_path(writer->file);

    PRLE_CHECK(item->image != NULL && item->image_bytes > 0, PRLE_EINVAL, "%s: image %lld is empty", path, (long long)writer->n);
    PRLE_CHECK(item->label == 0 || item->label == 1, PRLE_EINVAL, "%s: image %lld: label %d, expected 0 or 1", path,
               (long long)writer->n, item->label);
    PRLE_CHECK(item->split >= 0 && (int)item->split < PRLE_SPLITS, PRLE_EINVAL, "%s: image %lld: split %d", path,
               (long long)writer->n, (int)item->split);
    PRLE_CHECK(item->image_bytes <= writer->image_bytes - image_at && item->mask_bytes <= writer->mask_bytes - mask_at,
               PRLE_EINVAL, "%s: image %lld: more bytes than announced (%llu for images, %llu for masks)", path,
               (long long)writer->n, (unsigned long long)writer->image_bytes, (unsigned long long)writer->mask_bytes);
    return PRLE_OK;
}

static prle_status make_record(prle_faces_writer *writer, const prle_faces_item *item, record *out)
{
    int64_t method, video, identity, source;

    PRLE_TRY(number(&writer->methods, "method", item->method, UINT16_MAX, &method));
    PRLE_TRY(number(&writer->videos, "video", item->video, UINT32_MAX, &video));
    PRLE_TRY(number(&writer->identities, "identity", item->identity, PRLE_IDENTITY_UNKNOWN, &identity));
    PRLE_TRY(number(&writer->identities, "source", item->source, PRLE_IDENTITY_UNKNOWN, &source));
    *out = (record){
        .label = (uint8_t)item->label,
        .split = (uint8_t)item->split,
        .method = (uint16_t)method,
        .video = (uint32_t)video,
        .frame = item->frame,
        .identity = (uint32_t)identity,
        .source = (uint32_t)source,
    };
    for (int i = 0; i < 4; i++)
        out->box[i] = item->box == NULL ? NAN : item->box[i];
    for (int i = 0; i < POINTS; i++)
        out->landmarks[i] = item->landmarks == NULL ? NAN : item->landmarks[i];
    return PRLE_OK;
}

prle_status prle_faces_writer_add(prle_faces_writer *writer, const prle_faces_item *item)
{
    const record *last = writer->n == 0 ? NULL : &writer->records[writer->n - 1];
    const uint64_t image_at = last == NULL ? 0 : last->image_end, mask_at = last == NULL ? 0 : last->mask_end;

    PRLE_TRY(check_item(writer, item, image_at, mask_at));
    if (writer->n == writer->capacity) {
        const int64_t grown = writer->capacity == 0 ? 256 : 2 * writer->capacity;
        PRLE_TRY(prle_realloc((size_t)writer->n, (size_t)grown, sizeof(record), (prle_any_ptr *)&writer->records));
        writer->capacity = grown;
    }
    record *next = &writer->records[writer->n];
    PRLE_TRY(make_record(writer, item, next));
    PRLE_TRY(prle_h5_write_rows(writer->file, "bytes", PRLE_H5_U8, (int64_t)image_at, (int64_t)item->image_bytes, item->image));
    if (item->mask_bytes > 0)
        PRLE_TRY(
            prle_h5_write_rows(writer->file, "mask_bytes", PRLE_H5_U8, (int64_t)mask_at, (int64_t)item->mask_bytes, item->mask));
    writer->image_hash = prle_hash(writer->image_hash, item->image, item->image_bytes);
    writer->mask_hash = prle_hash(writer->mask_hash, item->mask, item->mask_bytes);
    next->image_end = image_at + item->image_bytes;
    next->mask_end = mask_at + item->mask_bytes;
    writer->n++;
    return PRLE_OK;
}

/* One field of every record, written and hashed. skip: elements of zero that come before (offsets begin with one). */
static prle_status write_column(prle_faces_writer *writer, const char *name, prle_h5_type type, prle_shape shape, size_t field_at,
                                int64_t skip, uint64_t *hash)
{
    prle_status st = PRLE_OK;
    uint8_t *column = NULL;
    size_t field_bytes = prle_h5_type_bytes(type);

    for (int i = 1; i < shape.n; i++)
        field_bytes *= (size_t)shape.dim[i];
    shape.dim[0] = writer->n + skip;
    PRLE_TRY(prle_alloc((size_t)shape.dim[0], field_bytes, (prle_any_ptr *)&column));
    for (int64_t i = 0; i < writer->n; i++)
        memcpy(column + (size_t)(i + skip) * field_bytes, (const uint8_t *)&writer->records[i] + field_at, field_bytes);
    PRLE_TRY_OUT(prle_h5_write(writer->file, name, type, &shape, column));
    *hash = prle_hash(*hash, column, (size_t)shape.dim[0] * field_bytes);
out:
    prle_free(column);
    return st;
}

static prle_status write_names(prle_faces_writer *writer, const char *name, const prle_strings *list, uint64_t *hash)
{
    for (int64_t i = 0; i < list->n; i++)
        *hash = prle_hash(*hash, list->item[i], strlen(list->item[i]) + 1);
    return prle_h5_write_strings(writer->file, name, (const char *const *)list->item, list->n);
}

/* The order of the lines is the order of the content hash (docs/formats.md). */
static prle_status write_metadata(prle_faces_writer *writer, uint64_t *hash)
{
    static const struct {
        const char *name;
        prle_h5_type type;
        prle_shape shape; /* the first dimension is set later */
        size_t at;
        int64_t skip;
    } columns[] = {
        {"offset", PRLE_H5_U64, {.n = 1}, offsetof(record, image_end), 1},
        {"label", PRLE_H5_U8, {.n = 1}, offsetof(record, label), 0},
        {"method", PRLE_H5_U16, {.n = 1}, offsetof(record, method), 0},
        {"video", PRLE_H5_U32, {.n = 1}, offsetof(record, video), 0},
        {"frame", PRLE_H5_U32, {.n = 1}, offsetof(record, frame), 0},
        {"split", PRLE_H5_U8, {.n = 1}, offsetof(record, split), 0},
        {"identity", PRLE_H5_U32, {.n = 1}, offsetof(record, identity), 0},
        {"source", PRLE_H5_U32, {.n = 1}, offsetof(record, source), 0},
        {"box", PRLE_H5_F32, {.n = 2, .dim = {0, 4}}, offsetof(record, box), 0},
        {"landmarks", PRLE_H5_F32, {.n = 3, .dim = {0, PRLE_FACES_LANDMARKS, 2}}, offsetof(record, landmarks), 0},
    };

    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        PRLE_TRY(write_column(writer, columns[i].name, columns[i].type, columns[i].shape, columns[i].at, columns[i].skip, hash));
    if (writer->mask_bytes > 0)
        PRLE_TRY(write_column(writer, "mask_offset", PRLE_H5_U64, PRLE_SHAPE(0), offsetof(record, mask_end), 1, hash));
    PRLE_TRY(write_names(writer, "method_names", &writer->methods.list, hash));
    PRLE_TRY(write_names(writer, "video_names", &writer->videos.list, hash));
    PRLE_TRY(write_names(writer, "identity_names", &writer->identities.list, hash));
    return PRLE_OK;
}

prle_status prle_faces_writer_commit(prle_faces_writer *writer)
{
    const record *last = writer->n == 0 ? &(record){0} : &writer->records[writer->n - 1];
    const uint64_t files[] = {writer->image_hash, writer->mask_hash};
    uint64_t hash = prle_hash(PRLE_HASH_INIT, files, sizeof files);
    char text[17];

    PRLE_CHECK(last->image_end == writer->image_bytes && last->mask_end == writer->mask_bytes, PRLE_EINVAL,
               "%s: %llu bytes of images and %llu of masks came, %llu and %llu were announced", prle_h5_path(writer->file),
               (unsigned long long)last->image_end, (unsigned long long)last->mask_end, (unsigned long long)writer->image_bytes,
               (unsigned long long)writer->mask_bytes);
    PRLE_TRY(write_metadata(writer, &hash));
    PRLE_TRY(prle_h5_attr_write_string(writer->file, "content_hash", prle_hash_print(hash, text)));
    return prle_h5_commit(writer->file);
}
