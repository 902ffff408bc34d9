/* rows.c - see rows.h. */
#include "core/rows.h"

#include <string.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/hash.h"

enum { DEFLATE_LEVEL = 1 }; /* higher levels cost three times as much for a few per cent */

struct prle_rows {
    prle_h5 *file;
    int64_t n, count;
    int n_fields;
    prle_rows_field fields[PRLE_ROWS_MAX_FIELDS]; /* names belong to the caller: string literals */
    uint8_t *written;                             /* [n] */
    uint32_t *crc;                                /* [n] */
};

static size_t row_bytes(const prle_rows_field *field)
{
    return (size_t)prle_shape_count(&field->row) * prle_h5_type_bytes(field->type);
}

/* [n, row...] */
static prle_shape shape_of(const prle_rows_field *field, int64_t n)
{
    prle_shape shape = {.n = field->row.n + 1, .dim = {n}};

    for (int i = 0; i < field->row.n && i + 1 < PRLE_MAX_DIMS; i++)
        shape.dim[i + 1] = field->row.dim[i];
    return shape;
}

/* Of image i when data[f] holds n >= i + 1 images. */
static uint32_t row_crc(const prle_rows_field *fields, int n_fields, const void *const *data, int64_t i)
{
    uint32_t crc = 0;

    for (int f = 0; f < n_fields; f++)
        crc = prle_crc32(crc, (const uint8_t *)data[f] + (size_t)i * row_bytes(&fields[f]), row_bytes(&fields[f]));
    return crc;
}

static prle_status spec_check(const prle_rows_spec *spec)
{
    bool legal = spec->n_fields >= 1 && spec->n_fields <= PRLE_ROWS_MAX_FIELDS && spec->n >= 0;

    for (int f = 0; legal && f < spec->n_fields; f++)
        legal = spec->fields[f].row.n < PRLE_MAX_DIMS;
    PRLE_CHECK(legal, PRLE_EINVAL, "%s: %d fields, or one with too many dimensions", spec->schema, spec->n_fields);
    return PRLE_OK;
}

prle_status prle_rows_part_path(const char *folder, int64_t unit, char **path)
{
    return prle_asprintf(path, "%s/unit-%06lld.h5", folder, (long long)unit);
}

/* Notes. */

static prle_status note_write(prle_h5 *file, const prle_rows_note *note)
{
    if (note->type == PRLE_H5_STRING)
        return prle_h5_attr_write_string(file, note->name, note->text);
    if (note->type == PRLE_H5_I64)
        return prle_h5_attr_write_int(file, note->name, note->integer);
    return prle_h5_attr_write_double(file, note->name, note->real);
}

static prle_status text_check(prle_h5 *file, const prle_rows_note *note)
{
    prle_status st = PRLE_OK;
    char *text = NULL;

    PRLE_TRY(prle_h5_attr_read_string(file, note->name, &text));
    PRLE_CHECK_OUT(strcmp(text, note->text) == 0, PRLE_EFORMAT, "%s: was made with %s \"%s\", now it is \"%s\"",
                   prle_h5_path(file), note->name, text, note->text);
out:
    prle_free(text);
    return st;
}

static prle_status note_check(prle_h5 *file, const prle_rows_note *note)
{
    int64_t integer;
    double real;

    if (note->type == PRLE_H5_STRING)
        return text_check(file, note);
    if (note->type == PRLE_H5_I64) {
        PRLE_TRY(prle_h5_attr_read_int(file, note->name, &integer));
        PRLE_CHECK(integer == note->integer, PRLE_EFORMAT, "%s: was made with %s %lld, now it is %lld", prle_h5_path(file),
                   note->name, (long long)integer, (long long)note->integer);
        return PRLE_OK;
    }
    PRLE_TRY(prle_h5_attr_read_double(file, note->name, &real));
    PRLE_CHECK(real == note->real, PRLE_EFORMAT, "%s: was made with %s %.17g, now it is %.17g", prle_h5_path(file), note->name,
               real, note->real);
    return PRLE_OK;
}

static prle_status notes_write(prle_h5 *file, const prle_rows_spec *spec)
{
    for (int i = 0; i < spec->n_notes; i++)
        PRLE_TRY(note_write(file, &spec->notes[i]));
    return PRLE_OK;
}

/* Fields. */

static prle_status field_define(prle_h5 *file, const prle_rows_field *field, int64_t n)
{
    const prle_shape shape = shape_of(field, n);
    const prle_h5_layout layout = {.chunk_rows = field->compressed, .deflate = DEFLATE_LEVEL, .fill = field->fill};

    return prle_h5_define(file, field->name, field->type, &shape, &layout);
}

static prle_status field_check(prle_h5 *file, const prle_rows_field *field, int64_t n)
{
    const prle_shape want = shape_of(field, n);
    prle_h5_dataset have;
    char have_text[96], want_text[96];

    PRLE_TRY(prle_h5_dataset_get(file, field->name, &have));
    PRLE_CHECK(have.type == field->type && prle_shape_equal(&have.shape, &want), PRLE_EFORMAT,
               "%s: dataset '%s' is %s %s, expected %s %s", prle_h5_path(file), field->name, prle_h5_type_name(have.type),
               prle_shape_print(&have.shape, have_text), prle_h5_type_name(field->type), prle_shape_print(&want, want_text));
    return PRLE_OK;
}

/* Parts. */

static prle_status part_schema(const prle_rows_spec *spec, char **out) { return prle_asprintf(out, "%s.part", spec->schema); }

static prle_status crc_write(prle_h5 *file, const prle_rows_spec *spec, int64_t n, const void *const *data)
{
    prle_status st = PRLE_OK;
    uint32_t *crc = NULL;

    PRLE_TRY(PRLE_NEW(crc, n));
    for (int64_t i = 0; i < n; i++)
        crc[i] = row_crc(spec->fields, spec->n_fields, data, i);
    PRLE_TRY_OUT(prle_h5_write(file, "crc", PRLE_H5_U32, &PRLE_SHAPE(n), crc));
out:
    prle_free(crc);
    return st;
}

prle_status prle_rows_part_write(const char *path, const prle_rows_spec *spec, const int64_t *index, int64_t n,
                                 const void *const *data)
{
    prle_status st = PRLE_OK;
    prle_h5 *file = NULL;
    char *schema = NULL;

    PRLE_TRY(spec_check(spec));
    PRLE_CHECK(n >= 1, PRLE_EINVAL, "%s: a part without images", path);
    for (int64_t i = 0; i < n; i++)
        PRLE_CHECK(index[i] >= 0 && index[i] < spec->n, PRLE_EINVAL, "%s: image %lld of %lld", path, (long long)index[i],
                   (long long)spec->n);
    PRLE_TRY(part_schema(spec, &schema));
    PRLE_TRY_OUT(prle_h5_create(path, schema, spec->version, &file));
    PRLE_TRY_OUT(prle_h5_attr_write_int(file, "images", spec->n));
    PRLE_TRY_OUT(notes_write(file, spec));
    PRLE_TRY_OUT(prle_h5_write(file, "index", PRLE_H5_I64, &PRLE_SHAPE(n), index));
    for (int f = 0; f < spec->n_fields; f++) {
        PRLE_TRY_OUT(field_define(file, &spec->fields[f], n));
        PRLE_TRY_OUT(prle_h5_write_rows(file, spec->fields[f].name, spec->fields[f].type, 0, n, data[f]));
    }
    PRLE_TRY_OUT(crc_write(file, spec, n, data));
    PRLE_TRY_OUT(prle_h5_commit(file));
out:
    prle_h5_close(file);
    prle_free(schema);
    return st;
}

typedef struct part {
    prle_h5 *file;
    int64_t n;
    int64_t *index; /* [n] */
    uint32_t *crc;  /* [n] */
} part;

static void part_close(part *p)
{
    prle_free(p->index);
    prle_free(p->crc);
    prle_h5_close(p->file);
    *p = (part){0};
}

static prle_status part_load(part *p, const prle_rows_spec *spec)
{
    prle_shape shape = PRLE_SHAPE(-1);
    int64_t images;

    PRLE_TRY(prle_h5_attr_read_int(p->file, "images", &images));
    PRLE_CHECK(images == spec->n, PRLE_EFORMAT, "%s: was made for %lld images, now there are %lld", prle_h5_path(p->file),
               (long long)images, (long long)spec->n);
    for (int i = 0; i < spec->n_notes; i++)
        PRLE_TRY(note_check(p->file, &spec->notes[i]));
    PRLE_TRY(prle_h5_read_alloc(p->file, "index", PRLE_H5_I64, &shape, (prle_any_ptr *)&p->index));
    p->n = shape.dim[0];
    PRLE_TRY(prle_h5_read_alloc(p->file, "crc", PRLE_H5_U32, &PRLE_SHAPE(p->n), (prle_any_ptr *)&p->crc));
    for (int f = 0; f < spec->n_fields; f++)
        PRLE_TRY(field_check(p->file, &spec->fields[f], p->n));
    for (int64_t i = 0; i < p->n; i++)
        PRLE_CHECK(p->index[i] >= 0 && p->index[i] < spec->n, PRLE_EFORMAT, "%s: row %lld is image %lld of %lld",
                   prle_h5_path(p->file), (long long)i, (long long)p->index[i], (long long)spec->n);
    return PRLE_OK;
}

/* Whole, and made as spec says; part_close it. */
static prle_status part_open(const char *path, const prle_rows_spec *spec, part *out)
{
    prle_status st = PRLE_OK;
    part p = {0};
    char *schema = NULL;

    PRLE_TRY(part_schema(spec, &schema));
    PRLE_TRY_OUT(prle_h5_open(path, schema, spec->version, &p.file));
    PRLE_TRY_OUT(part_load(&p, spec));
    *out = p;
    p = (part){0};
out:
    part_close(&p);
    prle_free(schema);
    return st;
}

prle_status prle_rows_part_check(const char *path, const prle_rows_spec *spec, const int64_t *index, int64_t n)
{
    prle_status st = PRLE_OK;
    part p = {0};

    PRLE_TRY(spec_check(spec));
    PRLE_TRY(part_open(path, spec, &p));
    PRLE_CHECK_OUT(p.n == n && memcmp(p.index, index, (size_t)n * sizeof *index) == 0, PRLE_EFORMAT, "%s: holds other images",
                   path);
out:
    part_close(&p);
    return st;
}

/* Putting together. */

typedef struct manifest {
    uint8_t *written; /* [n] */
    uint32_t *crc;    /* [n] */
    int64_t count;
} manifest;

static prle_status copy_compressed(prle_h5 *to, const part *from, const char *name)
{
    for (int64_t i = 0; i < from->n; i++)
        PRLE_TRY(prle_h5_copy_row(to, from->index[i], from->file, i, name));
    return PRLE_OK;
}

static prle_status copy_plain(prle_h5 *to, const part *from, const prle_rows_field *field)
{
    prle_status st = PRLE_OK;
    uint8_t *data = NULL;
    const size_t n_bytes = row_bytes(field);

    PRLE_TRY(prle_alloc((size_t)from->n, n_bytes, (prle_any_ptr *)&data));
    PRLE_TRY_OUT(prle_h5_read_rows(from->file, field->name, field->type, 0, from->n, data));
    for (int64_t first = 0, end; first < from->n; first = end) { /* neighbours go in one write */
        for (end = first + 1; end < from->n && from->index[end] == from->index[end - 1] + 1;)
            end++;
        PRLE_TRY_OUT(
            prle_h5_write_rows(to, field->name, field->type, from->index[first], end - first, data + (size_t)first * n_bytes));
    }
out:
    prle_free(data);
    return st;
}

static prle_status part_merge(prle_h5 *to, const prle_rows_spec *spec, const part *from, manifest *list)
{
    for (int64_t i = 0; i < from->n; i++) {
        const int64_t image = from->index[i];
        PRLE_CHECK(!list->written[image], PRLE_EFORMAT, "%s: image %lld is in another part, too", prle_h5_path(from->file),
                   (long long)image);
        list->written[image] = 1;
        list->crc[image] = from->crc[i];
    }
    list->count += from->n;
    for (int f = 0; f < spec->n_fields; f++) {
        if (spec->fields[f].compressed)
            PRLE_TRY(copy_compressed(to, from, spec->fields[f].name));
        else
            PRLE_TRY(copy_plain(to, from, &spec->fields[f]));
    }
    return PRLE_OK;
}

static prle_status unit_merge(prle_h5 *to, const prle_rows_spec *spec, const char *folder, int64_t unit, manifest *list)
{
    prle_status st = PRLE_OK;
    char *path = NULL;
    part p = {0};

    PRLE_TRY(prle_rows_part_path(folder, unit, &path));
    PRLE_TRY_OUT(part_open(path, spec, &p));
    PRLE_TRY_OUT(part_merge(to, spec, &p, list));
out:
    part_close(&p);
    prle_free(path);
    return st;
}

static prle_status manifest_write(prle_h5 *file, int64_t n, const manifest *list)
{
    PRLE_TRY(prle_h5_attr_write_int(file, "count", list->count));
    PRLE_TRY(prle_h5_write(file, "written", PRLE_H5_U8, &PRLE_SHAPE(n), list->written));
    return prle_h5_write(file, "crc", PRLE_H5_U32, &PRLE_SHAPE(n), list->crc);
}

prle_status prle_rows_compact(const char *path, const prle_rows_spec *spec, const char *folder, int64_t n_units,
                              const prle_rows_beat *beat)
{
    prle_status st = PRLE_OK;
    prle_h5 *file = NULL;
    manifest list = {0};

    PRLE_TRY(spec_check(spec));
    PRLE_TRY_OUT(prle_file_remove_stale_of(path));
    PRLE_TRY_OUT(PRLE_NEW(list.written, spec->n));
    PRLE_TRY_OUT(PRLE_NEW(list.crc, spec->n));
    PRLE_TRY_OUT(prle_h5_create(path, spec->schema, spec->version, &file));
    PRLE_TRY_OUT(notes_write(file, spec));
    for (int f = 0; f < spec->n_fields; f++)
        PRLE_TRY_OUT(field_define(file, &spec->fields[f], spec->n));
    for (int64_t unit = 0; unit < n_units; unit++) {
        PRLE_TRY_OUT(unit_merge(file, spec, folder, unit, &list));
        if (beat != NULL)
            PRLE_TRY_OUT(beat->call(beat->ctx));
    }
    PRLE_TRY_OUT(manifest_write(file, spec->n, &list));
    PRLE_TRY_OUT(prle_h5_commit(file));
out:
    prle_h5_close(file);
    prle_free(list.written);
    prle_free(list.crc);
    return st;
}

/* Finished files. */

static prle_status manifest_load(prle_rows *rows)
{
    int64_t n_written = 0;

    PRLE_TRY(prle_h5_attr_read_int(rows->file, "count", &rows->count));
    PRLE_TRY(prle_h5_read_alloc(rows->file, "written", PRLE_H5_U8, &PRLE_SHAPE(rows->n), (prle_any_ptr *)&rows->written));
    PRLE_TRY(prle_h5_read_alloc(rows->file, "crc", PRLE_H5_U32, &PRLE_SHAPE(rows->n), (prle_any_ptr *)&rows->crc));
    for (int64_t i = 0; i < rows->n; i++)
        n_written += rows->written[i] != 0;
    PRLE_CHECK(n_written == rows->count, PRLE_EFORMAT, "%s: the manifest counts %lld images, %lld are marked as written",
               prle_h5_path(rows->file), (long long)rows->count, (long long)n_written);
    return PRLE_OK;
}

prle_status prle_rows_open(prle_h5 *file, const prle_rows_spec *spec, prle_rows **out)
{
    prle_status st = PRLE_OK;
    prle_rows *rows = NULL;

    PRLE_TRY_OUT(spec_check(spec));
    PRLE_TRY_OUT(PRLE_NEW(rows, 1));
    rows->file = file;
    file = NULL;
    rows->n = spec->n;
    rows->n_fields = spec->n_fields;
    memcpy(rows->fields, spec->fields, (size_t)spec->n_fields * sizeof *spec->fields);
    for (int f = 0; f < spec->n_fields; f++)
        PRLE_TRY_OUT(field_check(rows->file, &rows->fields[f], rows->n));
    PRLE_TRY_OUT(manifest_load(rows));
    *out = rows;
    rows = NULL;
out:
    prle_rows_close(rows);
    prle_h5_close(file);
    return st;
}

void prle_rows_close(prle_rows *rows)
{
    if (rows == NULL)
        return;
    prle_h5_close(rows->file);
    prle_free(rows->written);
    prle_free(rows->crc);
    prle_free(rows);
}

prle_h5 *prle_rows_file(prle_rows *rows) { return rows->file; }
int64_t prle_rows_count(const prle_rows *rows) { return rows->count; }

uint64_t prle_rows_checksum(const prle_rows *rows)
{
    const uint64_t hash = prle_hash(PRLE_HASH_INIT, rows->written, (size_t)rows->n);

    return prle_hash(hash, rows->crc, (size_t)rows->n * sizeof *rows->crc);
}

bool prle_rows_has(const prle_rows *rows, int64_t i) { return rows->written[i] != 0; }

prle_status prle_rows_read(prle_rows *rows, int field, int64_t i, void *out)
{
    PRLE_CHECK(i >= 0 && i < rows->n, PRLE_EINVAL, "%s: image %lld of %lld", prle_h5_path(rows->file), (long long)i,
               (long long)rows->n);
    PRLE_CHECK(rows->written[i], PRLE_EINVAL, "%s: has nothing for image %lld", prle_h5_path(rows->file), (long long)i);
    PRLE_TRY(prle_h5_read_rows(rows->file, rows->fields[field].name, rows->fields[field].type, i, 1, out));
    return PRLE_OK;
}

prle_status prle_rows_verify(const prle_rows *rows, int64_t i, const void *const *data)
{
    const uint32_t crc = row_crc(rows->fields, rows->n_fields, data, 0);

    PRLE_CHECK(crc == rows->crc[i], PRLE_EFORMAT, "%s: image %lld has CRC %08x, the manifest says %08x", prle_h5_path(rows->file),
               (long long)i, crc, rows->crc[i]);
    return PRLE_OK;
}
