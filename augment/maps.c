/* maps.c - see maps.h; the layout is core/rows.h's. */
#include "augment/maps.h"

#include "core/alloc.h"

enum { RANK, ATTENTION, AREA, N_FIELDS, N_NOTES = 9, MAX_CELLS = 1 << 16 };

typedef struct store {
    prle_maps pub;
    prle_rows *rows;
} store;

/* A spec and what it points to. */
typedef struct layout {
    prle_rows_field fields[N_FIELDS];
    prle_rows_note notes[N_NOTES];
    prle_rows_spec spec;
} layout;

static void layout_make(layout *l, const prle_maps_info *info)
{
    static const uint16_t outside = 0xFFFF;
    static const uint32_t no_area = PRLE_MAPS_NO_AREA;
    const prle_shape cells = PRLE_SHAPE(info->height, info->width);

    *l = (layout){
        .fields =
            {
                [RANK] = {.name = "rank", .type = PRLE_H5_U16, .row = cells, .compressed = true, .fill = &outside},
                [ATTENTION] = {.name = "attention", .type = PRLE_H5_U8, .row = cells, .compressed = true},
                [AREA] = {.name = "area", .type = PRLE_H5_U32, .fill = &no_area},
            },
        .notes =
            {
                PRLE_ROWS_TEXT("rule", info->rule),
                PRLE_ROWS_REAL("tau1", info->tau1),
                PRLE_ROWS_REAL("lambda", info->lambda),
                PRLE_ROWS_INT("radius", info->radius),
                PRLE_ROWS_REAL("hyst_low", info->hyst_low),
                PRLE_ROWS_REAL("hyst_pair", info->hyst_pair),
                PRLE_ROWS_TEXT("zoo", info->zoo),
                PRLE_ROWS_TEXT("cams", info->cams),
                PRLE_ROWS_TEXT("faces", info->faces),
            },
        .spec =
            {.schema = PRLE_MAPS_SCHEMA, .version = PRLE_MAPS_VERSION, .n = info->n, .n_fields = N_FIELDS, .n_notes = N_NOTES},
    };
    l->spec.fields = l->fields;
    l->spec.notes = l->notes;
}

static prle_status size_check(const char *path, int64_t height, int64_t width)
{
    PRLE_CHECK(height >= 1 && height <= MAX_CELLS && width >= 1 && width <= MAX_CELLS / height, PRLE_EFORMAT,
               "%s: maps of %lld x %lld, at most 65536 pixels are possible", path, (long long)height, (long long)width);
    return PRLE_OK;
}

prle_status prle_maps_part_write(const char *path, const prle_maps_info *info, const int64_t *index, int64_t n,
                                 const uint16_t *rank, const uint8_t *attention, const uint32_t *area)
{
    layout l;
    const void *const data[N_FIELDS] = {[RANK] = rank, [ATTENTION] = attention, [AREA] = area};

    PRLE_TRY(size_check(path, info->height, info->width));
    for (int64_t i = 0; i < n; i++)
        PRLE_CHECK(area[i] <= info->height * info->width, PRLE_EINVAL, "%s: image %lld has an area of %u pixels", path,
                   (long long)index[i], area[i]);
    layout_make(&l, info);
    return prle_rows_part_write(path, &l.spec, index, n, data);
}

prle_status prle_maps_part_check(const char *path, const prle_maps_info *info, const int64_t *index, int64_t n)
{
    layout l;

    layout_make(&l, info);
    return prle_rows_part_check(path, &l.spec, index, n);
}

prle_status prle_maps_compact(const char *path, const prle_maps_info *info, const char *folder, int64_t n_units,
                              const prle_rows_beat *beat)
{
    layout l;

    PRLE_TRY(size_check(path, info->height, info->width));
    layout_make(&l, info);
    return prle_rows_compact(path, &l.spec, folder, n_units, beat);
}

static prle_status info_load(prle_h5 *file, prle_maps_info *info)
{
    prle_h5_dataset rank;

    PRLE_TRY(prle_h5_dataset_get(file, "rank", &rank));
    PRLE_CHECK(rank.shape.n == 3, PRLE_EFORMAT, "%s: dataset 'rank' has %d dimensions, expected 3", prle_h5_path(file),
               rank.shape.n);
    PRLE_TRY(size_check(prle_h5_path(file), rank.shape.dim[1], rank.shape.dim[2]));
    info->n = rank.shape.dim[0];
    info->height = rank.shape.dim[1];
    info->width = rank.shape.dim[2];
    PRLE_TRY(prle_h5_attr_read_string(file, "rule", (char **)&info->rule));
    PRLE_TRY(prle_h5_attr_read_double(file, "tau1", &info->tau1));
    PRLE_TRY(prle_h5_attr_read_double(file, "lambda", &info->lambda));
    PRLE_TRY(prle_h5_attr_read_int(file, "radius", &info->radius));
    PRLE_TRY(prle_h5_attr_read_double(file, "hyst_low", &info->hyst_low));
    PRLE_TRY(prle_h5_attr_read_double(file, "hyst_pair", &info->hyst_pair));
    PRLE_TRY(prle_h5_attr_read_string(file, "zoo", (char **)&info->zoo));
    PRLE_TRY(prle_h5_attr_read_string(file, "cams", (char **)&info->cams));
    PRLE_TRY(prle_h5_attr_read_string(file, "faces", (char **)&info->faces));
    return PRLE_OK;
}

static prle_status areas_load(store *s)
{
    prle_maps *maps = &s->pub;

    PRLE_TRY(
        prle_h5_read_alloc(prle_rows_file(s->rows), "area", PRLE_H5_U32, &PRLE_SHAPE(maps->info.n), (prle_any_ptr *)&maps->area));
    for (int64_t i = 0; i < maps->info.n; i++) {
        PRLE_CHECK(prle_maps_has(maps, i) == prle_rows_has(s->rows, i), PRLE_EFORMAT,
                   "%s: image %lld: area and manifest do not agree on whether it has a map", maps->path, (long long)i);
        PRLE_CHECK(!prle_maps_has(maps, i) || maps->area[i] <= maps->info.height * maps->info.width, PRLE_EFORMAT,
                   "%s: image %lld has an area of %u pixels", maps->path, (long long)i, maps->area[i]);
    }
    return PRLE_OK;
}

prle_status prle_maps_open(const char *path, prle_maps **out)
{
    prle_status st = PRLE_OK;
    store *s = NULL;
    prle_h5 *file = NULL;
    layout l;

    PRLE_TRY(PRLE_NEW(s, 1));
    PRLE_TRY_OUT(prle_strdup(path, (char **)&s->pub.path));
    PRLE_TRY_OUT(prle_h5_open(path, PRLE_MAPS_SCHEMA, PRLE_MAPS_VERSION, &file));
    PRLE_TRY_OUT(info_load(file, &s->pub.info));
    layout_make(&l, &s->pub.info);
    st = prle_rows_open(file, &l.spec, &s->rows);
    file = NULL;
    PRLE_TRY_OUT(st);
    s->pub.count = prle_rows_count(s->rows);
    s->pub.checksum = prle_rows_checksum(s->rows);
    PRLE_TRY_OUT(areas_load(s));
    *out = &s->pub;
    s = NULL;
out:
    prle_h5_close(file);
    prle_maps_close(s == NULL ? NULL : &s->pub);
    return st;
}

void prle_maps_close(prle_maps *maps)
{
    if (maps == NULL)
        return;
    store *s = (store *)maps;
    prle_rows_close(s->rows);
    prle_free((void *)maps->info.rule);
    prle_free((void *)maps->info.zoo);
    prle_free((void *)maps->info.cams);
    prle_free((void *)maps->info.faces);
    prle_free((void *)maps->path);
    prle_free((void *)maps->area);
    prle_free(s);
}

prle_status prle_maps_read_rank(const prle_maps *maps, int64_t i, uint16_t *rank)
{
    return prle_rows_read(((const store *)maps)->rows, RANK, i, rank);
}

prle_status prle_maps_read_attention(const prle_maps *maps, int64_t i, uint8_t *attention)
{
    return prle_rows_read(((const store *)maps)->rows, ATTENTION, i, attention);
}

prle_status prle_maps_verify(const prle_maps *maps, int64_t i)
{
    prle_status st = PRLE_OK;
    uint16_t *rank = NULL;
    uint8_t *attention = NULL;
    const int64_t cells = maps->info.height * maps->info.width;

    PRLE_TRY_OUT(PRLE_NEW(rank, cells));
    PRLE_TRY_OUT(PRLE_NEW(attention, cells));
    PRLE_TRY_OUT(prle_maps_read_rank(maps, i, rank));
    PRLE_TRY_OUT(prle_maps_read_attention(maps, i, attention));
    PRLE_TRY_OUT(
        prle_rows_verify(((const store *)maps)->rows, i, (const void *const[N_FIELDS]){rank, attention, &maps->area[i]}));
out:
    prle_free(rank);
    prle_free(attention);
    return st;
}
