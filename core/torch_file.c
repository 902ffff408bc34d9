/* torch_file.c - PyTorch's .pth files: a pickle that names tensors, and their storages as raw bytes.
 *
 * Two containers. A ZIP archive (torch >= 1.6): STEM/data.pkl, and storage KEY in STEM/data/KEY. The legacy one: pickles of a
 * magic number, of the protocol 1001, of the machine's properties, of the object, of the storages' keys; then for each key its
 * count of elements (8 bytes) and its bytes. In the object's pickle a storage is a persistent id ('storage', type, key, device,
 * count, view), a tensor a call torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...); sources:
 * torch/serialization.py and torch/_utils.py. Nothing is called: these few names are looked for, all others are passed over.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/archive_impl.h"
#include "core/pickle.h"
#include "core/zip.h"

enum {
    MAX_DEPTH = 64, /* of dictionaries in each other; a pickled module takes three for each of its levels */
    PROTOCOL = 1001,
};

/* Element types by the name of their storage's class, and by their own. */
static const struct {
    const char *storage, *name;
    prle_stored type;
} types[] = {
    {"FloatStorage", "float32", PRLE_STORED_F32},
    {"HalfStorage", "float16", PRLE_STORED_F16},
    {"BFloat16Storage", "bfloat16", PRLE_STORED_BF16},
    {"DoubleStorage", "float64", PRLE_STORED_F64},
    {"LongStorage", "int64", PRLE_STORED_I64},
    {"IntStorage", "int32", PRLE_STORED_I32},
    {"ShortStorage", "int16", PRLE_STORED_I16},
    {"CharStorage", "int8", PRLE_STORED_I8},
    {"ByteStorage", "uint8", PRLE_STORED_U8},
    {"BoolStorage", "bool", PRLE_STORED_BOOL},
    {"UntypedStorage", "uint8", PRLE_STORED_U8},
    {"ComplexFloatStorage", "complex64", PRLE_STORED_OTHER_8},
    {"ComplexDoubleStorage", "complex128", PRLE_STORED_OTHER_16},
    {"QInt8Storage", "qint8", PRLE_STORED_OTHER_1},
    {"QUInt8Storage", "quint8", PRLE_STORED_OTHER_1},
    {"QInt32Storage", "qint32", PRLE_STORED_OTHER_4},
    {"", "uint16", PRLE_STORED_U16},
    {"", "uint32", PRLE_STORED_U32},
    {"", "uint64", PRLE_STORED_U64},
    {"", "float8_e4m3fn", PRLE_STORED_OTHER_1},
    {"", "float8_e5m2", PRLE_STORED_OTHER_1},
};
enum { N_TYPES = sizeof types / sizeof types[0] };

/* A storage as the pickle names it. */
typedef struct storage {
    char key[PRLE_ARCHIVE_NAME_BYTES];
    prle_stored type;
    uint64_t begin, end; /* where it lies */
} storage;

typedef struct reader reader;
struct reader {
    prle_archive *archive;
    prle_pickle pickle;
    prle_status (*find)(reader *r, storage *s); /* sets begin and end of the storage with its key */
    prle_zip zip;                               /* zip container: entries */
    char stem[PRLE_ARCHIVE_NAME_BYTES];
    prle_names keys; /* legacy container: storages */
    struct place {
        uint64_t begin, end;
    } * place;                          /* [keys.list.n] */
    char name[PRLE_ARCHIVE_NAME_BYTES]; /* of the tensor being looked for */
    uint64_t n_steps, max_steps;
};

/* ---- storages ---- */

static bool type_of_storage(const prle_pickle *p, prle_pickle_id class, prle_stored *out)
{
    const prle_pickle_value *v = prle_pickle_get(p, class);

    for (int i = 0; i < N_TYPES && v->kind == PRLE_PICKLE_GLOBAL; i++)
        if (prle_pickle_is_text(p, v->global.name, types[i].storage)) {
            *out = types[i].type;
            return true;
        }
    return false;
}

static bool type_of_dtype(const prle_pickle *p, prle_pickle_id dtype, prle_stored *out)
{
    for (int i = 0; i < N_TYPES; i++)
        if (prle_pickle_is_global(p, dtype, "torch", types[i].name)) {
            *out = types[i].type;
            return true;
        }
    return false;
}

/* Type and key of the persistent id ('storage', type, key, ...); false when it is another. */
static bool storage_parse(const prle_pickle *p, prle_pickle_id id, storage *out, prle_pickle_id *tuple)
{
    const prle_pickle_value *v = prle_pickle_get(p, id);

    if (v->kind != PRLE_PICKLE_PERSISTENT)
        return false;
    *tuple = v->inner;
    return prle_pickle_is_text(p, prle_pickle_item(p, *tuple, 0), "storage") &&
           type_of_storage(p, prle_pickle_item(p, *tuple, 1), &out->type) &&
           prle_pickle_text(p, prle_pickle_item(p, *tuple, 2), out->key, sizeof out->key);
}

/* Old files: ('view key', offset, count) of the storage's elements. */
static prle_status view_apply(const reader *r, storage *s, prle_pickle_id view)
{
    const prle_pickle *p = &r->pickle;
    const uint64_t size = prle_stored_bytes(s->type), room = (s->end - s->begin) / size;
    int64_t offset, count;

    if (prle_pickle_get(p, view)->kind != PRLE_PICKLE_LIST)
        return PRLE_OK;
    PRLE_CHECK(prle_pickle_int(p, prle_pickle_item(p, view, 1), &offset) && offset >= 0 && (uint64_t)offset <= room &&
                   prle_pickle_int(p, prle_pickle_item(p, view, 2), &count) && count >= 0 &&
                   (uint64_t)count <= room - (uint64_t)offset,
               PRLE_EFORMAT, "%s: a view of storage %s reaches beyond it", r->archive->path, s->key);
    s->begin += (uint64_t)offset * size;
    s->end = s->begin + (uint64_t)count * size;
    return PRLE_OK;
}

/* The storage of persistent id `id`, found in the file. */
static prle_status storage_get(reader *r, prle_pickle_id id, storage *out)
{
    const prle_pickle *p = &r->pickle;
    prle_pickle_id tuple = 0;
    int64_t count;

    PRLE_CHECK(storage_parse(p, id, out, &tuple), PRLE_ENOTSUP, "%s: the storage of %s is of a type that nothing here reads",
               r->archive->path, r->name);
    PRLE_TRY(r->find(r, out));
    PRLE_CHECK(prle_pickle_int(p, prle_pickle_item(p, tuple, 4), &count) && count >= 0 &&
                   (uint64_t)count <= (out->end - out->begin) / prle_stored_bytes(out->type),
               PRLE_EFORMAT, "%s: storage %s has fewer bytes than its count of elements takes", r->archive->path, out->key);
    return view_apply(r, out, prle_pickle_item(p, tuple, 5));
}

/* ---- tensors ---- */

/* A tuple of at most PRLE_ARCHIVE_MAX_DIMS integers; -1 when it is none. */
static int integers_get(const prle_pickle *p, prle_pickle_id tuple, int64_t out[PRLE_ARCHIVE_MAX_DIMS])
{
    const prle_pickle_value *v = prle_pickle_get(p, tuple);

    if (v->kind != PRLE_PICKLE_LIST || v->n > PRLE_ARCHIVE_MAX_DIMS)
        return -1;
    for (uint32_t i = 0; i < v->n; i++)
        if (!prle_pickle_int(p, prle_pickle_item(p, tuple, i), &out[i]))
            return -1;
    return (int)v->n;
}

/* args: storage, offset, size, stride, ...; with_dtype: also the dtype as the seventh, and the storage is untyped. */
static prle_status tensor_add(reader *r, prle_pickle_id args, bool with_dtype)
{
    const prle_pickle *p = &r->pickle;
    int64_t dim[PRLE_ARCHIVE_MAX_DIMS], stride[PRLE_ARCHIVE_MAX_DIMS];
    prle_archive_view view = {.name = r->name, .dim = dim, .stride = stride};
    storage s;

    PRLE_TRY(storage_get(r, prle_pickle_item(p, args, 0), &s));
    PRLE_CHECK(!with_dtype || type_of_dtype(p, prle_pickle_item(p, args, 6), &s.type), PRLE_ENOTSUP,
               "%s: %s has elements of a type that nothing here reads", r->archive->path, r->name);
    view.type = s.type;
    view.begin = s.begin;
    view.end = s.end;
    view.n_dims = integers_get(p, prle_pickle_item(p, args, 2), dim);
    PRLE_CHECK(view.n_dims >= 0 && integers_get(p, prle_pickle_item(p, args, 3), stride) == view.n_dims &&
                   prle_pickle_int(p, prle_pickle_item(p, args, 1), &view.offset),
               PRLE_EFORMAT, "%s: offset, size or stride of %s are not (up to %d) integers", r->archive->path, r->name,
               PRLE_ARCHIVE_MAX_DIMS);
    return prle_archive_add(r->archive, &view);
}

/* ---- the way from the outermost dictionary to the tensors ---- */

static prle_status walk(reader *r, prle_pickle_id id, int depth);

/* Notes what `call` would call: "argparse.Namespace". */
static prle_status call_skip(reader *r, const prle_pickle_value *call)
{
    const prle_pickle *p = &r->pickle;
    const prle_pickle_value *callee = prle_pickle_get(p, call->call.callee);
    char module[PRLE_ARCHIVE_NAME_BYTES / 2], name[PRLE_ARCHIVE_NAME_BYTES / 2], both[PRLE_ARCHIVE_NAME_BYTES];

    if (callee->kind != PRLE_PICKLE_GLOBAL || !prle_pickle_text(p, callee->global.module, module, sizeof module) ||
        !prle_pickle_text(p, callee->global.name, name, sizeof name))
        return PRLE_OK;
    snprintf(both, sizeof both, "%s.%s", module, name);
    return prle_archive_skip(r->archive, both);
}

/* r->name with a key behind it; what it was is cut back to n bytes by the caller. False: the key is no part of a name. */
static prle_status name_extend(reader *r, size_t n, const char *key)
{
    const int more = snprintf(r->name + n, sizeof r->name - n, "%s%s", n > 0 ? "." : "", key);

    PRLE_CHECK(more >= 0 && (size_t)more < sizeof r->name - n, PRLE_EFORMAT, "%s: a name of more than %d bytes", r->archive->path,
               PRLE_ARCHIVE_NAME_BYTES);
    return PRLE_OK;
}

/* The parts of a pickled module that its state_dict has no names for. */
static bool is_transparent(const char *key)
{
    return strcmp(key, "_parameters") == 0 || strcmp(key, "_buffers") == 0 || strcmp(key, "_modules") == 0;
}

/* All entries of a dictionary or list. in_state: of a pickled object's attributes. */
static prle_status walk_cells(reader *r, prle_pickle_id id, int depth, bool in_state)
{
    const prle_pickle *p = &r->pickle;
    const bool is_list = prle_pickle_get(p, id)->kind == PRLE_PICKLE_LIST;
    const size_t n = strlen(r->name);
    char key[PRLE_ARCHIVE_NAME_BYTES];
    int64_t number = 0;

    for (uint32_t at = prle_pickle_get(p, id)->first; at != 0; at = p->cell[at].next) {
        const prle_pickle_cell cell = p->cell[at];

        PRLE_CHECK(r->n_steps++ < r->max_steps, PRLE_EFORMAT, "%s: dictionaries that hold each other again and again",
                   r->archive->path);
        if (is_list || prle_pickle_int(p, cell.key, &number))
            snprintf(key, sizeof key, "%" PRId64, is_list ? number++ : number);
        else if (!prle_pickle_text(p, cell.key, key, sizeof key))
            continue; /* not a name */
        if (!in_state || !is_transparent(key))
            PRLE_TRY(name_extend(r, n, key));
        PRLE_TRY(walk(r, cell.value, depth + 1));
        r->name[n] = '\0';
    }
    return PRLE_OK;
}

static prle_status walk_call(reader *r, prle_pickle_id id, int depth)
{
    static const char utils[] = "torch._utils";
    const prle_pickle *p = &r->pickle;
    const prle_pickle_value *v = prle_pickle_get(p, id);
    const prle_pickle_id callee = v->call.callee, args = v->call.args, state = v->state;

    if (prle_pickle_is_global(p, callee, utils, "_rebuild_tensor_v2") ||
        prle_pickle_is_global(p, callee, utils, "_rebuild_tensor"))
        return tensor_add(r, args, false);
    if (prle_pickle_is_global(p, callee, utils, "_rebuild_tensor_v3"))
        return tensor_add(r, args, true);
    if (prle_pickle_is_global(p, callee, utils, "_rebuild_parameter") ||
        prle_pickle_is_global(p, callee, utils, "_rebuild_parameter_with_state"))
        return walk(r, prle_pickle_item(p, args, 0), depth + 1);
    PRLE_TRY(walk_cells(r, id, depth, false)); /* an OrderedDict, or another that has entries */
    if (prle_pickle_is_global(p, callee, "collections", "OrderedDict"))
        return PRLE_OK; /* its state is the state_dict's _metadata: versions */
    if (prle_pickle_get(p, state)->kind == PRLE_PICKLE_DICT)
        return walk_cells(r, state, depth, true);
    return v->n == 0 ? call_skip(r, v) : PRLE_OK;
}

static prle_status walk(reader *r, prle_pickle_id id, int depth)
{
    PRLE_CHECK(depth < MAX_DEPTH, PRLE_EFORMAT, "%s: dictionaries more than %d deep", r->archive->path, MAX_DEPTH);
    switch (prle_pickle_get(&r->pickle, id)->kind) {
    case PRLE_PICKLE_LIST:
    case PRLE_PICKLE_DICT: return walk_cells(r, id, depth, false);
    case PRLE_PICKLE_CALL: return walk_call(r, id, depth);
    default: return PRLE_OK; /* a number, a text */
    }
}

static prle_status walk_all(reader *r)
{
    r->max_steps = 2 * (uint64_t)r->pickle.n_cells + 16; /* twice: one dictionary may have two names */
    return walk(r, r->pickle.root, 0);
}

static void reader_deinit(reader *r)
{
    prle_pickle_deinit(&r->pickle);
    prle_zip_deinit(&r->zip);
    prle_names_deinit(&r->keys);
    prle_free(r->place);
}

/* ---- the zip container ---- */

/* STEM/NAME; its bytes are checked against the file's length, and its checksum noted. */
static prle_status entry_find(reader *r, const char *name, prle_zip_entry **out)
{
    char path[2 * PRLE_ARCHIVE_NAME_BYTES];
    prle_zip_entry *entry;

    snprintf(path, sizeof path, "%s/%s", r->stem, name);
    const int64_t i = prle_names_find(&r->zip.names, path);
    PRLE_CHECK(i >= 0, PRLE_EFORMAT, "%s: has no entry %s", r->archive->path, name);
    entry = &r->zip.entry[i];
    if (entry->data == 0) {
        PRLE_TRY(prle_zip_find(entry, r->archive));
        PRLE_TRY(prle_archive_sum_add(r->archive, entry->data, entry->n_bytes, entry->crc));
    }
    *out = entry;
    return PRLE_OK;
}

static prle_status zip_storage_find(reader *r, storage *s)
{
    char name[PRLE_ARCHIVE_NAME_BYTES + 8];
    prle_zip_entry *entry = NULL;

    snprintf(name, sizeof name, "data/%s", s->key);
    PRLE_TRY(entry_find(r, name, &entry));
    s->begin = entry->data;
    s->end = entry->data + entry->n_bytes;
    return PRLE_OK;
}

/* The folder that all entries lie in, from "STEM/data.pkl". */
static prle_status stem_find(reader *r)
{
    for (int64_t i = 0; i < r->zip.names.list.n; i++) {
        const char *name = r->zip.names.list.item[i], *slash = strchr(name, '/');
        if (slash != NULL && strcmp(slash, "/data.pkl") == 0) {
            snprintf(r->stem, sizeof r->stem, "%.*s", (int)(slash - name), name);
            return PRLE_OK;
        }
    }
    return PRLE_FAIL(PRLE_EFORMAT, "%s: a ZIP archive without NAME/data.pkl: not a file of torch.save", r->archive->path);
}

/* Newer files say how their numbers are stored. */
static prle_status byte_order_check(reader *r)
{
    prle_zip_entry *entry = NULL;
    uint8_t *word = NULL;
    char path[PRLE_ARCHIVE_NAME_BYTES + 16];

    snprintf(path, sizeof path, "%s/byteorder", r->stem);
    if (prle_names_find(&r->zip.names, path) < 0)
        return PRLE_OK;
    PRLE_TRY(entry_find(r, "byteorder", &entry));
    PRLE_TRY(prle_archive_take(r->archive, entry->data, entry->n_bytes, &word));
    const bool little = entry->n_bytes == 6 && memcmp(word, "little", 6) == 0;
    prle_free(word);
    PRLE_CHECK(little, PRLE_ENOTSUP, "%s: its numbers are not little-endian", r->archive->path);
    return PRLE_OK;
}

prle_status prle_torch_zip_read(prle_archive *archive)
{
    prle_status st = PRLE_OK;
    reader r = {.archive = archive, .find = zip_storage_find};
    prle_zip_entry *entry = NULL;
    uint8_t *bytes = NULL;

    archive->format = "pytorch zip";
    PRLE_TRY_OUT(prle_zip_read(&r.zip, archive));
    PRLE_TRY_OUT(stem_find(&r));
    PRLE_TRY_OUT(byte_order_check(&r));
    PRLE_TRY_OUT(entry_find(&r, "data.pkl", &entry));
    PRLE_CHECK_OUT(entry->n_bytes <= PRLE_PICKLE_MAX_BYTES, PRLE_ENOTSUP, "%s: data.pkl has %" PRIu64 " bytes, more than %d",
                   archive->path, entry->n_bytes, PRLE_PICKLE_MAX_BYTES);
    PRLE_TRY_OUT(prle_archive_take(archive, entry->data, entry->n_bytes, &bytes));
    PRLE_TRY_OUT(prle_pickle_parse(&r.pickle, archive->path, bytes, entry->n_bytes));
    PRLE_TRY_OUT(walk_all(&r));
out:
    reader_deinit(&r);
    prle_free(bytes);
    return st;
}

/* ---- the legacy container ---- */

static prle_status legacy_storage_find(reader *r, storage *s)
{
    const int64_t i = prle_names_find(&r->keys, s->key);

    PRLE_CHECK(i >= 0 && r->place[i].begin > 0, PRLE_EFORMAT, "%s: has no storage %s", r->archive->path, s->key);
    s->begin = r->place[i].begin;
    s->end = r->place[i].end;
    return PRLE_OK;
}

/* The pickle at *at, which then is behind it. *bytes is what it lies in. */
static prle_status pickle_next(const reader *r, prle_pickle *p, uint64_t *at, uint8_t **bytes)
{
    const uint64_t left = r->archive->n_bytes - *at;

    PRLE_TRY(prle_archive_take(r->archive, *at, left < PRLE_PICKLE_MAX_BYTES ? left : PRLE_PICKLE_MAX_BYTES, bytes));
    PRLE_TRY(prle_pickle_parse(p, r->archive->path, *bytes, left < PRLE_PICKLE_MAX_BYTES ? left : PRLE_PICKLE_MAX_BYTES));
    *at += p->n_used;
    return PRLE_OK;
}

/* Protocol number, and the writer's machine. */
static prle_status preamble_read(const reader *r, uint64_t *at)
{
    prle_status st = PRLE_OK;
    prle_pickle p = {0};
    const prle_pickle_value *little;
    uint8_t *bytes = NULL;
    int64_t protocol = 0;

    PRLE_TRY_OUT(pickle_next(r, &p, at, &bytes));
    PRLE_CHECK_OUT(prle_pickle_int(&p, p.root, &protocol) && protocol == PROTOCOL, PRLE_EFORMAT,
                   "%s: is of torch.save's protocol %" PRId64 ", not %d", r->archive->path, protocol, PROTOCOL);
    prle_pickle_deinit(&p);
    prle_free(bytes);
    bytes = NULL;
    PRLE_TRY_OUT(pickle_next(r, &p, at, &bytes));
    little = prle_pickle_get(&p, prle_pickle_entry(&p, p.root, "little_endian"));
    PRLE_CHECK_OUT(little->kind == PRLE_PICKLE_BOOL && little->integer != 0, PRLE_ENOTSUP,
                   "%s: its numbers are not little-endian", r->archive->path);
out:
    prle_pickle_deinit(&p);
    prle_free(bytes);
    return st;
}

/* The element type of each storage that the object names, by its key. */
static prle_status storage_types_find(reader *r, prle_names *keys, prle_stored **type)
{
    storage s;
    prle_pickle_id tuple = 0;
    int64_t i = 0;

    PRLE_TRY(PRLE_NEW(*type, r->pickle.n_values));
    for (prle_pickle_id id = 0; id < r->pickle.n_values; id++) {
        if (!storage_parse(&r->pickle, id, &s, &tuple))
            continue;
        PRLE_TRY(prle_names_intern(keys, s.key, &i));
        (*type)[i] = s.type;
    }
    return PRLE_OK;
}

/* Where the storage `key` lies, which begins at *at with its count; *at is then behind it. */
static prle_status storage_place(reader *r, const char *key, prle_stored type, uint64_t *at)
{
    prle_status st = PRLE_OK;
    uint8_t *head = NULL;
    uint64_t n_bytes;
    int64_t i = 0;
    bool fits;

    PRLE_TRY_OUT(prle_archive_take(r->archive, *at, sizeof n_bytes, &head));
    fits = !__builtin_mul_overflow(prle_le64(head), prle_stored_bytes(type), &n_bytes);
    *at += sizeof n_bytes;
    PRLE_CHECK_OUT(fits && n_bytes <= r->archive->n_bytes - *at, PRLE_EFORMAT,
                   "%s: storage %s reaches beyond the end of the file", r->archive->path, key);
    PRLE_TRY_OUT(prle_names_intern(&r->keys, key, &i));
    r->place[i] = (struct place){.begin = *at, .end = *at + n_bytes};
    *at += n_bytes;
out:
    prle_free(head);
    return st;
}

/* All storages, in the order of the list of their keys. */
static prle_status storages_place(reader *r, const prle_pickle *p, const prle_names *named, const prle_stored *type, uint64_t *at)
{
    const prle_pickle_value *list = prle_pickle_get(p, p->root);
    char key[PRLE_ARCHIVE_NAME_BYTES];

    PRLE_CHECK(list->kind == PRLE_PICKLE_LIST, PRLE_EFORMAT, "%s: has no list of storages", r->archive->path);
    for (uint32_t cell = list->first; cell != 0; cell = p->cell[cell].next) {
        const bool is_key = prle_pickle_text(p, p->cell[cell].value, key, sizeof key);
        const int64_t i = is_key ? prle_names_find(named, key) : -1;
        PRLE_CHECK(i >= 0, PRLE_ENOTSUP, "%s: a storage of a type that nothing here reads", r->archive->path);
        PRLE_TRY(storage_place(r, key, type[i], at));
    }
    return PRLE_OK;
}

static prle_status storages_read(reader *r, uint64_t *at)
{
    prle_status st = PRLE_OK;
    prle_names named = {0};
    prle_stored *type = NULL;
    prle_pickle p = {0};
    uint8_t *bytes = NULL;

    PRLE_TRY_OUT(storage_types_find(r, &named, &type));
    PRLE_TRY_OUT(pickle_next(r, &p, at, &bytes));
    PRLE_TRY_OUT(PRLE_NEW(r->place, p.n_cells));
    PRLE_TRY_OUT(storages_place(r, &p, &named, type, at));
out:
    prle_free(bytes);
    prle_pickle_deinit(&p);
    prle_free(type);
    prle_names_deinit(&named);
    return st;
}

prle_status prle_torch_legacy_read(prle_archive *archive)
{
    static const uint64_t magic_bytes = 15;
    prle_status st = PRLE_OK;
    reader r = {.archive = archive, .find = legacy_storage_find};
    uint8_t *bytes = NULL;
    uint64_t at = magic_bytes;

    archive->format = "pytorch legacy";
    PRLE_TRY_OUT(preamble_read(&r, &at));
    PRLE_TRY_OUT(pickle_next(&r, &r.pickle, &at, &bytes));
    PRLE_TRY_OUT(storages_read(&r, &at));
    PRLE_TRY_OUT(walk_all(&r));
out:
    reader_deinit(&r);
    prle_free(bytes);
    return st;
}
