/* hdf5.c - see hdf5.h. Files are written in HDF5's newest format, whose metadata carries checksums, and without time stamps, so
 * that the same content gives the same bytes. */
#include "core/hdf5.h"

#include <errno.h>
#include <hdf5.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/version.h"

enum {
    MAX_COMMAND_BYTES = 4096,
    MAX_STRING_BYTES = 1 << 20, /* of an attribute or of one string in a dataset */
    FREE_READ_BYTES =
        1 << 26,              /* what read_alloc gives for any dataset; beyond, what it has in the file must be able to hold it */
    MAX_DEFLATE_RATIO = 1100, /* deflate's limit is 1032 : 1 */
};

/* A dataset that rows are read from or written to stays open until the file is closed: opening it costs as much as a row. */
typedef struct opened {
    char *name;
    hid_t id;
    prle_h5_type type;
    prle_shape shape;
    uint64_t pipeline; /* hash of chunk shape and filters, for copy_row; 0 when a chunk is not one row */
} opened;

struct prle_h5 {
    hid_t id;
    char *path, *tmp_path; /* tmp_path NULL when open for reading */
    char *schema;
    int version;
    opened *datasets;
    int64_t n_datasets, dataset_capacity;
    void *scratch; /* one compressed row */
    size_t scratch_bytes;
};

static const struct {
    const char *name;
    size_t n_bytes;
} types[] = {
    [PRLE_H5_U8] = {"u8", 1},   [PRLE_H5_U16] = {"u16", 2}, [PRLE_H5_U32] = {"u32", 4},
    [PRLE_H5_U64] = {"u64", 8}, [PRLE_H5_I64] = {"i64", 8}, [PRLE_H5_F16] = {"f16", 2},
    [PRLE_H5_F32] = {"f32", 4}, [PRLE_H5_F64] = {"f64", 8}, [PRLE_H5_STRING] = {"string", 0},
};
_Static_assert(sizeof types / sizeof types[0] == PRLE_H5_STRING + 1, "one row a type");

size_t prle_h5_type_bytes(prle_h5_type type) { return types[type].n_bytes; }
const char *prle_h5_type_name(prle_h5_type type) { return types[type].name; }

const char *prle_h5_path(const prle_h5 *file) { return file->path; }
const char *prle_h5_schema(const prle_h5 *file) { return file->schema; }
int prle_h5_version(const prle_h5 *file) { return file->version; }

/* Entering and leaving the library. */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static hid_t half_type = H5I_INVALID_HID;

static void enter(void)
{
    static bool begun;

    pthread_mutex_lock(&lock);
    if (!begun) {
        begun = true;
        H5dont_atexit(); /* after a full disk its last flush would fail again, and crash */
    }
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* per thread in a thread-safe build */
    H5Eclear2(H5E_DEFAULT);
}

static prle_status leave(prle_status st)
{
    pthread_mutex_unlock(&lock);
    return st;
}

/* Makes the nth call fail in tests; negative is failure, as everywhere in HDF5. */
#define H5(call) (prle_io_fails() ? -1 : (call))

static herr_t deepest(unsigned at, const H5E_error2_t *error, void *text)
{
    if (at == 0)
        snprintf(text, 256, "%s", error->desc == NULL ? "" : error->desc);
    return 0;
}

/* "FILE: cannot WHAT NAME: <HDF5's innermost words>". To be called before the next HDF5 call, which forgets them. */
static prle_status fail(prle_status code, const prle_h5 *file, const char *what, const char *name)
{
    static const int full[] = {ENOSPC, EDQUOT};
    char text[256] = "";

    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, deepest, text);
    char *words = strstr(text, "error message = '"); /* the system's, inside HDF5's long line */
    if (words != NULL) {
        words += strlen("error message = '");
        words[strcspn(words, "'")] = '\0';
    } else {
        words = text;
    }
    const char *path = file->path, *reason = words;
    for (size_t i = 0; i < sizeof full / sizeof full[0]; i++)
        if (strcmp(words, strerror(full[i])) == 0)
            reason = prle_io_reason(full[i]);
    return PRLE_FAIL(code, "%s: cannot %s%s%s%s%s%s", path, what, name == NULL ? "" : " '", name == NULL ? "" : name,
                     name == NULL ? "" : "'", reason[0] == '\0' ? "" : ": ", reason);
}

static prle_status fail_read(const prle_h5 *file, const char *what, const char *name)
{
    return fail(PRLE_EFORMAT, file, what, name);
}

static prle_status fail_write(const prle_h5 *file, const char *what, const char *name)
{
    return fail(PRLE_EIO, file, what, name);
}

/* Types. */

static hid_t memory_type(prle_h5_type type)
{
    switch (type) {
    case PRLE_H5_U8: return H5T_NATIVE_UINT8;
    case PRLE_H5_U16: return H5T_NATIVE_UINT16;
    case PRLE_H5_U32: return H5T_NATIVE_UINT32;
    case PRLE_H5_U64: return H5T_NATIVE_UINT64;
    case PRLE_H5_I64: return H5T_NATIVE_INT64;
    case PRLE_H5_F32: return H5T_NATIVE_FLOAT;
    case PRLE_H5_F64: return H5T_NATIVE_DOUBLE;
    case PRLE_H5_F16:
        if (half_type < 0) {
            half_type = H5Tcopy(H5T_NATIVE_FLOAT);
            H5Tset_fields(half_type, 15, 10, 5, 0, 10);
            H5Tset_size(half_type, 2);
            H5Tset_ebias(half_type, 15);
        }
        return half_type;
    case PRLE_H5_STRING: break;
    }
    return H5I_INVALID_HID;
}

static bool is_half(hid_t id)
{
    size_t sign, exponent, exponent_bits, mantissa, mantissa_bits;

    return H5Tget_fields(id, &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits) >= 0 && mantissa_bits == 10;
}

/* Which of ours a type in the file is; false when none. */
static bool type_find(hid_t id, prle_h5_type *out)
{
    const H5T_class_t class = H5Tget_class(id);
    const size_t n_bytes = H5Tget_size(id);

    if (class == H5T_STRING) {
        *out = PRLE_H5_STRING;
        return true;
    }
    if (class == H5T_FLOAT) {
        *out = n_bytes == 2 ? PRLE_H5_F16 : n_bytes == 4 ? PRLE_H5_F32 : PRLE_H5_F64;
        return (n_bytes == 2 && is_half(id)) || n_bytes == 4 || n_bytes == 8;
    }
    if (class != H5T_INTEGER)
        return false;
    if (H5Tget_sign(id) != H5T_SGN_NONE) {
        *out = PRLE_H5_I64;
        return n_bytes == 8;
    }
    *out = n_bytes == 1 ? PRLE_H5_U8 : n_bytes == 2 ? PRLE_H5_U16 : n_bytes == 4 ? PRLE_H5_U32 : PRLE_H5_U64;
    return n_bytes == 1 || n_bytes == 2 || n_bytes == 4 || n_bytes == 8;
}

/* A string type of a given length, or of any length (H5T_VARIABLE). */
static hid_t string_type(size_t n_bytes)
{
    const hid_t id = H5Tcopy(H5T_C_S1);

    H5Tset_size(id, n_bytes);
    H5Tset_strpad(id, H5T_STR_NULLPAD);
    H5Tset_cset(id, H5T_CSET_UTF8);
    return id;
}

/* Spaces. */

static hid_t space_of(const prle_shape *shape)
{
    hsize_t dims[PRLE_MAX_DIMS];

    if (shape->n == 0)
        return H5Screate(H5S_SCALAR);
    for (int i = 0; i < shape->n; i++)
        dims[i] = (hsize_t)shape->dim[i];
    return H5Screate_simple(shape->n, dims, NULL);
}

static prle_status shape_check(const prle_h5 *file, const char *name, const prle_shape *shape)
{
    bool legal = shape->n >= 0 && shape->n <= PRLE_MAX_DIMS;

    for (int i = 0; legal && i < shape->n; i++)
        legal = shape->dim[i] >= 0;
    PRLE_CHECK(legal, PRLE_ESHAPE, "%s: dataset '%s': %d dimensions or a negative one", file->path, name, shape->n);
    return PRLE_OK;
}

/* Elements of a shape that came from a file: PRLE_EFORMAT instead of an overflow. */
static prle_status count_bytes(const prle_h5 *file, const char *name, const prle_shape *shape, size_t element, size_t *out)
{
    size_t n_bytes = element;

    for (int i = 0; i < shape->n; i++)
        PRLE_CHECK(!__builtin_mul_overflow(n_bytes, (size_t)shape->dim[i], &n_bytes), PRLE_EFORMAT,
                   "%s: dataset '%s' claims a size beyond any memory", file->path, name);
    *out = n_bytes;
    return PRLE_OK;
}

/* Names. */

/* True when every component of the path is a hard link: no other file is ever followed into. */
static bool link_exists(hid_t file, const char *name)
{
    char prefix[1024];
    H5L_info_t info;
    const size_t n = strlen(name);

    if (n == 0 || n >= sizeof prefix)
        return false;
    for (size_t i = 1; i <= n; i++) {
        if (name[i] != '/' && name[i] != '\0')
            continue;
        memcpy(prefix, name, i);
        prefix[i] = '\0';
        if (H5Lexists(file, prefix, H5P_DEFAULT) <= 0 || H5Lget_info(file, prefix, &info, H5P_DEFAULT) < 0 ||
            info.type != H5L_TYPE_HARD)
            return false;
    }
    return true;
}

static bool object_is(hid_t file, const char *name, H5O_type_t type)
{
    H5O_info_t info;

    return H5Oget_info_by_name2(file, name, &info, H5O_INFO_BASIC, H5P_DEFAULT) >= 0 && info.type == type;
}

/* Opening, creating, closing. */

static hid_t access_list(void)
{
    const hid_t id = H5Pcreate(H5P_FILE_ACCESS);

    H5Pset_libver_bounds(id, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
    H5Pset_fclose_degree(id, H5F_CLOSE_STRONG);
    H5Pset_file_locking(id, false, true); /* finished files never change, and some cluster file systems have no locks */
    return id;
}

static prle_status handle_new(const char *path, prle_h5 **out)
{
    prle_status st = PRLE_OK;
    prle_h5 *file = NULL;

    PRLE_TRY(PRLE_NEW(file, 1));
    file->id = H5I_INVALID_HID;
    PRLE_TRY_OUT(prle_strdup(path, &file->path));
    *out = file;
    file = NULL;
out:
    prle_free(file);
    return st;
}

/* "prle 0.1.0 (git abc): prle pack SRC -o faces.h5", the command as the kernel knows it. */
static prle_status creator(char **out)
{
    char command[MAX_COMMAND_BYTES + 1];

    FILE *stream = fopen("/proc/self/cmdline", "r");
    size_t n = 0;
    if (stream != NULL) {
        n = fread(command, 1, MAX_COMMAND_BYTES, stream);
        fclose(stream);
    }
    for (size_t i = 0; i < n; i++)
        if (command[i] == '\0' || command[i] == '\n')
            command[i] = ' ';
    while (n > 0 && command[n - 1] == ' ')
        n--;
    command[n] = '\0';
    return prle_asprintf(out, "prle %s: %s", prle_version(), command);
}

static prle_status attr_write(prle_h5 *file, const char *name, hid_t type, const void *value)
{
    prle_status st = PRLE_OK;
    hid_t space = H5Screate(H5S_SCALAR);

    const hid_t attr = H5(H5Acreate2(file->id, name, type, space, H5P_DEFAULT, H5P_DEFAULT));
    if (attr < 0 || H5(H5Awrite(attr, type, value)) < 0)
        st = fail_write(file, "write attribute", name);
    if (attr >= 0 && H5Aclose(attr) < 0 && st == PRLE_OK)
        st = fail_write(file, "close attribute", name);
    H5Sclose(space);
    return st;
}

static prle_status attr_write_string(prle_h5 *file, const char *name, const char *value)
{
    const hid_t type = string_type(value[0] == '\0' ? 1 : strlen(value));
    const prle_status st = attr_write(file, name, type, value);

    H5Tclose(type);
    return st;
}

static prle_status create_file(prle_h5 *file)
{
    prle_status st = PRLE_OK;
    const hid_t access = access_list(), creation = H5Pcreate(H5P_FILE_CREATE);

    H5Pset_obj_track_times(creation, false);
    file->id = H5(H5Fcreate(file->tmp_path, H5F_ACC_TRUNC, creation, access));
    if (file->id < 0)
        st = fail_write(file, "create", NULL);
    H5Pclose(creation);
    H5Pclose(access);
    return st;
}

static void close_all(prle_h5 *file)
{
    for (int64_t i = 0; i < file->n_datasets; i++) {
        if (file->datasets[i].id >= 0)
            H5Dclose(file->datasets[i].id);
        prle_free(file->datasets[i].name);
    }
    file->n_datasets = 0;
    if (file->id >= 0)
        H5Fclose(file->id);
    file->id = H5I_INVALID_HID;
    if (file->tmp_path != NULL && remove(file->tmp_path) != 0 && errno != ENOENT)
        prle_log(PRLE_LOG_WARN, "core", "%s: cannot remove: %s", file->tmp_path, strerror(errno));
    prle_free(file->datasets);
    prle_free(file->scratch);
    prle_free(file->schema);
    prle_free(file->tmp_path);
    prle_free(file->path);
    prle_free(file);
}

static prle_status create(const char *path, const char *schema, int version, prle_h5 **out)
{
    prle_status st = PRLE_OK;
    prle_h5 *file = NULL;
    char *created_by = NULL;
    const int64_t number = version;

    PRLE_TRY(handle_new(path, &file));
    file->version = version;
    PRLE_TRY_OUT(prle_strdup(schema, &file->schema));
    PRLE_TRY_OUT(creator(&created_by));
    PRLE_TRY_OUT(prle_file_temp_path(path, &file->tmp_path));
    PRLE_TRY_OUT(create_file(file));
    PRLE_TRY_OUT(attr_write_string(file, "schema", schema));
    PRLE_TRY_OUT(attr_write(file, "version", H5T_NATIVE_INT64, &number));
    PRLE_TRY_OUT(attr_write_string(file, "created_by", created_by));
    *out = file;
    file = NULL;
out:
    prle_free(created_by);
    if (file != NULL)
        close_all(file);
    return st;
}

prle_status prle_h5_create(const char *path, const char *schema, int version, prle_h5 **out)
{
    enter();
    return leave(create(path, schema, version, out));
}

/* On a full disk H5Dclose and the flush are what fails; H5Fclose alone says all is well. */
static prle_status commit(prle_h5 *file)
{
    PRLE_CHECK(file->tmp_path != NULL && file->id >= 0, PRLE_EINVAL, "%s: is not being written", file->path);
    for (int64_t i = 0; i < file->n_datasets; i++) {
        const herr_t closed = H5Dclose(file->datasets[i].id);
        file->datasets[i].id = H5I_INVALID_HID;
        if (H5(closed) < 0)
            return fail_write(file, "close dataset", file->datasets[i].name);
    }
    if (H5(H5Fflush(file->id, H5F_SCOPE_GLOBAL)) < 0)
        return fail_write(file, "flush", NULL);
    const herr_t closed = H5Fclose(file->id);
    file->id = H5I_INVALID_HID;
    if (H5(closed) < 0)
        return fail_write(file, "close", NULL);
    PRLE_TRY(prle_file_publish(file->tmp_path, file->path));
    prle_free(file->tmp_path);
    file->tmp_path = NULL;
    return PRLE_OK;
}

prle_status prle_h5_commit(prle_h5 *file)
{
    enter();
    return leave(commit(file));
}

void prle_h5_close(prle_h5 *file)
{
    if (file == NULL)
        return;
    enter();
    close_all(file);
    (void)leave(PRLE_OK);
}

static prle_status attr_read_string(prle_h5 *file, const char *name, char **value);
static prle_status attr_read_int(prle_h5 *file, const char *name, int64_t *value);

static prle_status schema_read(prle_h5 *file)
{
    int64_t version;

    if (H5Aexists(file->id, "schema") <= 0)
        return prle_strdup("", &file->schema);
    PRLE_TRY(attr_read_string(file, "schema", &file->schema));
    PRLE_TRY(attr_read_int(file, "version", &version));
    PRLE_CHECK(version >= 1 && version <= INT32_MAX, PRLE_EFORMAT, "%s: version %lld is no version", file->path,
               (long long)version);
    file->version = (int)version;
    return PRLE_OK;
}

static prle_status schema_check(const prle_h5 *file, const char *schema, int max_version)
{
    PRLE_CHECK(file->schema[0] != '\0', PRLE_EFORMAT, "%s: is an HDF5 file without a schema, expected %s", file->path, schema);
    PRLE_CHECK(strcmp(file->schema, schema) == 0, PRLE_EFORMAT, "%s: is a %s file, expected %s", file->path, file->schema,
               schema);
    PRLE_CHECK(file->version <= max_version, PRLE_EFORMAT,
               "%s: %s version %d is newer than this program reads (%d): use a newer prle", file->path, schema, file->version,
               max_version);
    return PRLE_OK;
}

/* Superblocks from version 2 on have checksums, and so have all structures in files that HDF5 writes with them. In older ones
 * nothing has: damage there makes the library itself crash. */
static prle_status superblock_check(const char *path, int fd)
{
    uint8_t head[9];
    uint64_t n_bytes = 0;

    PRLE_TRY(prle_file_size(path, &n_bytes));
    if (n_bytes >= sizeof head)
        PRLE_TRY(prle_file_pread(fd, path, head, sizeof head, 0));
    PRLE_CHECK(n_bytes >= sizeof head && memcmp(head, "\x89HDF\r\n\x1a\n", 8) == 0, PRLE_EFORMAT,
               "%s: cannot open as HDF5 (not HDF5, cut off, or damaged): its signature is missing", path);
    PRLE_CHECK(head[8] >= 2, PRLE_EFORMAT,
               "%s: is in HDF5's old format, which has no checksums; convert it: h5repack --low=2 --high=2 %s NEW (or write it "
               "with libver='latest')",
               path, path);
    return PRLE_OK;
}

static prle_status open_read(const char *path, const char *schema, int max_version, prle_h5 **out)
{
    prle_status st = PRLE_OK;
    prle_h5 *file = NULL;
    int fd = -1;

    PRLE_TRY(prle_file_open(path, &fd)); /* the system's own words when it is missing, a folder, not ours to read */
    st = superblock_check(path, fd);
    prle_file_close(fd);
    PRLE_TRY(st);
    PRLE_TRY(handle_new(path, &file));
    const hid_t access = access_list();
    file->id = H5(H5Fopen(path, H5F_ACC_RDONLY, access));
    if (file->id < 0)
        st = fail_read(file, "open as HDF5 (not HDF5, cut off, or damaged)", NULL);
    H5Pclose(access);
    PRLE_TRY_OUT(st);
    PRLE_TRY_OUT(schema_read(file));
    if (schema != NULL)
        PRLE_TRY_OUT(schema_check(file, schema, max_version));
    *out = file;
    file = NULL;
out:
    if (file != NULL)
        close_all(file);
    return st;
}

prle_status prle_h5_open(const char *path, const char *schema, int max_version, prle_h5 **out)
{
    enter();
    return leave(open_read(path, schema, max_version, out));
}

/* Attributes. */

prle_status prle_h5_attr_write_string(prle_h5 *file, const char *name, const char *value)
{
    enter();
    return leave(attr_write_string(file, name, value));
}

prle_status prle_h5_attr_write_int(prle_h5 *file, const char *name, int64_t value)
{
    enter();
    return leave(attr_write(file, name, H5T_NATIVE_INT64, &value));
}

prle_status prle_h5_attr_write_double(prle_h5 *file, const char *name, double value)
{
    enter();
    return leave(attr_write(file, name, H5T_NATIVE_DOUBLE, &value));
}

bool prle_h5_attr_exists(prle_h5 *file, const char *name)
{
    enter();
    const bool exists = H5Aexists(file->id, name) > 0;
    (void)leave(PRLE_OK);
    return exists;
}

typedef struct attribute {
    hid_t id, type, space;
} attribute;

static void attr_close(attribute *attr)
{
    if (attr->space >= 0)
        H5Sclose(attr->space);
    if (attr->type >= 0)
        H5Tclose(attr->type);
    if (attr->id >= 0)
        H5Aclose(attr->id);
}

/* One value; close *attr whatever is returned. */
static prle_status attr_open(prle_h5 *file, const char *name, attribute *attr)
{
    *attr = (attribute){H5I_INVALID_HID, H5I_INVALID_HID, H5I_INVALID_HID};
    PRLE_CHECK(H5Aexists(file->id, name) > 0, PRLE_EFORMAT, "%s: attribute '%s' is missing", file->path, name);
    attr->id = H5(H5Aopen(file->id, name, H5P_DEFAULT));
    if (attr->id < 0 || (attr->type = H5Aget_type(attr->id)) < 0 || (attr->space = H5Aget_space(attr->id)) < 0)
        return fail_read(file, "open attribute", name);
    PRLE_CHECK(H5Sget_simple_extent_npoints(attr->space) == 1, PRLE_EFORMAT, "%s: attribute '%s' is not one value", file->path,
               name);
    return PRLE_OK;
}

static prle_status attr_read_number(prle_h5 *file, const char *name, H5T_class_t class, hid_t memory, void *value)
{
    prle_status st = PRLE_OK;
    attribute attr;

    PRLE_TRY_OUT(attr_open(file, name, &attr));
    PRLE_CHECK_OUT(H5Tget_class(attr.type) == class, PRLE_EFORMAT, "%s: attribute '%s' is no %s", file->path, name,
                   class == H5T_INTEGER ? "integer" : "real number");
    if (H5(H5Aread(attr.id, memory, value)) < 0)
        st = fail_read(file, "read attribute", name);
out:
    attr_close(&attr);
    return st;
}

static prle_status attr_read_int(prle_h5 *file, const char *name, int64_t *value)
{
    int64_t number = 0;

    PRLE_TRY(attr_read_number(file, name, H5T_INTEGER, H5T_NATIVE_INT64, &number));
    *value = number;
    return PRLE_OK;
}

prle_status prle_h5_attr_read_int(prle_h5 *file, const char *name, int64_t *value)
{
    enter();
    return leave(attr_read_int(file, name, value));
}

static prle_status attr_read_double(prle_h5 *file, const char *name, double *value)
{
    double number = 0;

    PRLE_TRY(attr_read_number(file, name, H5T_FLOAT, H5T_NATIVE_DOUBLE, &number));
    *value = number;
    return PRLE_OK;
}

prle_status prle_h5_attr_read_double(prle_h5 *file, const char *name, double *value)
{
    enter();
    return leave(attr_read_double(file, name, value));
}

static prle_status attr_read_variable(prle_h5 *file, const char *name, const attribute *attr, char **value)
{
    prle_status st = PRLE_OK;
    char *text = NULL;

    if (H5(H5Aread(attr->id, attr->type, (void *)&text)) < 0)
        return fail_read(file, "read attribute", name);
    st = prle_strdup(text == NULL ? "" : text, value);
    H5Dvlen_reclaim(attr->type, attr->space, H5P_DEFAULT, (void *)&text);
    return st;
}

static prle_status attr_read_fixed(prle_h5 *file, const char *name, const attribute *attr, char **value)
{
    prle_status st = PRLE_OK;
    char *text = NULL;
    const size_t n_bytes = H5Tget_size(attr->type);

    PRLE_CHECK(n_bytes >= 1 && n_bytes <= MAX_STRING_BYTES, PRLE_EFORMAT, "%s: attribute '%s' claims %zu bytes", file->path, name,
               n_bytes);
    PRLE_TRY(PRLE_NEW(text, n_bytes + 1));
    if (H5(H5Aread(attr->id, attr->type, text)) < 0) {
        st = fail_read(file, "read attribute", name);
        goto out;
    }
    *value = text;
    text = NULL;
out:
    prle_free(text);
    return st;
}

static prle_status attr_read_string(prle_h5 *file, const char *name, char **value)
{
    prle_status st = PRLE_OK;
    attribute attr;

    PRLE_TRY_OUT(attr_open(file, name, &attr));
    PRLE_CHECK_OUT(H5Tget_class(attr.type) == H5T_STRING, PRLE_EFORMAT, "%s: attribute '%s' is no string", file->path, name);
    if (H5Tis_variable_str(attr.type) > 0)
        PRLE_TRY_OUT(attr_read_variable(file, name, &attr, value));
    else
        PRLE_TRY_OUT(attr_read_fixed(file, name, &attr, value));
out:
    attr_close(&attr);
    return st;
}

prle_status prle_h5_attr_read_string(prle_h5 *file, const char *name, char **value)
{
    enter();
    return leave(attr_read_string(file, name, value));
}

static prle_status attr_type(prle_h5 *file, const char *name, prle_h5_type *type)
{
    prle_status st = PRLE_OK;
    attribute attr;

    PRLE_TRY_OUT(attr_open(file, name, &attr));
    switch (H5Tget_class(attr.type)) {
    case H5T_STRING: *type = PRLE_H5_STRING; break;
    case H5T_INTEGER: *type = PRLE_H5_I64; break;
    case H5T_FLOAT: *type = PRLE_H5_F64; break;
    default: st = PRLE_FAIL(PRLE_EFORMAT, "%s: attribute '%s' is neither string nor number", file->path, name);
    }
out:
    attr_close(&attr);
    return st;
}

prle_status prle_h5_attr_type(prle_h5 *file, const char *name, prle_h5_type *type)
{
    enter();
    return leave(attr_type(file, name, type));
}

typedef struct listing {
    prle_strings names;
    prle_status st; /* HDF5 passes on only "the callback failed" */
} listing;

static herr_t list_attr(hid_t id, const char *name, const H5A_info_t *info, void *out)
{
    listing *list = out;

    (void)id;
    (void)info;
    list->st = prle_strings_add(&list->names, name);
    return list->st == PRLE_OK ? 0 : -1;
}

static herr_t list_link(hid_t id, const char *name, const H5L_info_t *info, void *out)
{
    listing *list = out;

    (void)id;
    if (info->type != H5L_TYPE_HARD)
        return 0;
    list->st = prle_strings_add(&list->names, name);
    return list->st == PRLE_OK ? 0 : -1;
}

static prle_status listing_end(listing *list, prle_status st, prle_strings *names)
{
    if (list->st != PRLE_OK)
        st = list->st;
    if (st == PRLE_OK) {
        prle_strings_sort(&list->names);
        st = prle_strings_append(names, &list->names);
    }
    prle_strings_deinit(&list->names);
    return st;
}

prle_status prle_h5_attr_list(prle_h5 *file, prle_strings *names)
{
    prle_status st = PRLE_OK;
    listing list = {0};

    enter();
    if (H5(H5Aiterate2(file->id, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, list_attr, &list)) < 0 && list.st == PRLE_OK)
        st = fail_read(file, "list the attributes", NULL);
    return leave(listing_end(&list, st, names));
}

/* Datasets. */

bool prle_h5_exists(prle_h5 *file, const char *name)
{
    enter();
    const bool exists = link_exists(file->id, name);
    (void)leave(PRLE_OK);
    return exists;
}

bool prle_h5_is_group(prle_h5 *file, const char *name)
{
    enter();
    const bool is = strcmp(name, "/") == 0 || (link_exists(file->id, name) && object_is(file->id, name, H5O_TYPE_GROUP));
    (void)leave(PRLE_OK);
    return is;
}

static prle_status list_group(prle_h5 *file, const char *group, listing *list)
{
    PRLE_CHECK(strcmp(group, "/") == 0 || link_exists(file->id, group), PRLE_EFORMAT, "%s: group '%s' is missing", file->path,
               group);
    if (H5(H5Literate_by_name(file->id, group, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, list_link, list, H5P_DEFAULT)) < 0 &&
        list->st == PRLE_OK)
        return fail_read(file, "list", group);
    return PRLE_OK;
}

prle_status prle_h5_list(prle_h5 *file, const char *group, prle_strings *names)
{
    listing list = {0};

    enter();
    const prle_status st = list_group(file, group, &list);
    return leave(listing_end(&list, st, names));
}

static prle_status dataset_shape(prle_h5 *file, const char *name, hid_t id, prle_shape *shape)
{
    hsize_t dims[H5S_MAX_RANK];

    const hid_t space = H5Dget_space(id);
    const int n = space < 0 ? -1 : H5Sget_simple_extent_dims(space, dims, NULL);
    if (space >= 0)
        H5Sclose(space);
    if (n < 0)
        return fail_read(file, "read the shape of dataset", name);
    PRLE_CHECK(n <= PRLE_MAX_DIMS, PRLE_EFORMAT, "%s: dataset '%s' has %d dimensions, at most %d are read", file->path, name, n,
               PRLE_MAX_DIMS);
    shape->n = n;
    for (int i = 0; i < n; i++) {
        PRLE_CHECK(dims[i] <= INT64_MAX, PRLE_EFORMAT, "%s: dataset '%s' claims a size beyond any memory", file->path, name);
        shape->dim[i] = (int64_t)dims[i];
    }
    return PRLE_OK;
}

static prle_status dataset_type(prle_h5 *file, const char *name, hid_t id, prle_h5_type *type)
{
    const hid_t type_id = H5Dget_type(id);
    const bool known = type_id >= 0 && type_find(type_id, type);

    if (type_id >= 0)
        H5Tclose(type_id);
    PRLE_CHECK(known, PRLE_EFORMAT, "%s: dataset '%s' has an element type that prle does not read", file->path, name);
    return PRLE_OK;
}

/* Chunk shape and filters in one number, when a chunk is one row. */
static uint64_t pipeline_hash(hid_t creation, const prle_shape *shape)
{
    hsize_t chunk[PRLE_MAX_DIMS];
    uint64_t hash = PRLE_HASH_INIT;

    if (H5Pget_chunk(creation, PRLE_MAX_DIMS, chunk) != shape->n || chunk[0] != 1)
        return 0;
    for (int i = 1; i < shape->n; i++)
        if (chunk[i] != (hsize_t)shape->dim[i])
            return 0;
    const int n_filters = H5Pget_nfilters(creation);
    for (int i = 0; i < n_filters; i++) {
        unsigned flags, config;
        size_t n_values = 0;
        const H5Z_filter_t filter = H5Pget_filter2(creation, (unsigned)i, &flags, &n_values, NULL, 0, NULL, &config);
        hash = prle_hash(hash, &filter, sizeof filter);
    }
    return prle_hash(hash, chunk, (size_t)shape->n * sizeof chunk[0]);
}

/* Data in this file only: external and virtual storage may silently read as fill where a file is missing. */
static prle_status layout_check(prle_h5 *file, const char *name, hid_t id, const prle_shape *shape, uint64_t *pipeline,
                                bool *chunked)
{
    const hid_t creation = H5Dget_create_plist(id);
    if (creation < 0)
        return fail_read(file, "read the layout of dataset", name);
    const H5D_layout_t layout = H5Pget_layout(creation);
    const bool inside =
        (layout == H5D_COMPACT || layout == H5D_CONTIGUOUS || layout == H5D_CHUNKED) && H5Pget_external_count(creation) == 0;
    *chunked = layout == H5D_CHUNKED;
    *pipeline = *chunked ? pipeline_hash(creation, shape) : 0;
    H5Pclose(creation);
    PRLE_CHECK(inside, PRLE_EFORMAT, "%s: dataset '%s' is kept outside of the file", file->path, name);
    return PRLE_OK;
}

/* Opens and describes a dataset; dataset->name stays NULL. The caller closes dataset->id. */
static prle_status dataset_open(prle_h5 *file, const char *name, opened *dataset, bool *chunked)
{
    prle_status st = PRLE_OK;

    PRLE_CHECK(link_exists(file->id, name), PRLE_EFORMAT, "%s: dataset '%s' is missing", file->path, name);
    PRLE_CHECK(object_is(file->id, name, H5O_TYPE_DATASET), PRLE_EFORMAT, "%s: '%s' is no dataset", file->path, name);
    *dataset = (opened){.id = H5(H5Dopen2(file->id, name, H5P_DEFAULT))};
    if (dataset->id < 0)
        return fail_read(file, "open dataset", name);
    PRLE_TRY_OUT(dataset_shape(file, name, dataset->id, &dataset->shape));
    PRLE_TRY_OUT(dataset_type(file, name, dataset->id, &dataset->type));
    PRLE_TRY_OUT(layout_check(file, name, dataset->id, &dataset->shape, &dataset->pipeline, chunked));
out:
    if (st != PRLE_OK) {
        H5Dclose(dataset->id);
        dataset->id = H5I_INVALID_HID;
    }
    return st;
}

static prle_status type_check(const prle_h5 *file, const char *name, const opened *dataset, prle_h5_type type)
{
    PRLE_CHECK(dataset->type == type, PRLE_EFORMAT, "%s: dataset '%s' is %s, expected %s", file->path, name,
               types[dataset->type].name, types[type].name);
    return PRLE_OK;
}

static prle_status dataset_get(prle_h5 *file, const char *name, prle_h5_dataset *out)
{
    opened dataset;
    bool chunked;

    PRLE_TRY(dataset_open(file, name, &dataset, &chunked));
    const haddr_t offset = chunked ? HADDR_UNDEF : H5Dget_offset(dataset.id);
    *out = (prle_h5_dataset){
        .type = dataset.type,
        .shape = dataset.shape,
        .chunked = chunked,
        .offset = offset == HADDR_UNDEF ? 0 : offset,
        .stored_bytes = H5Dget_storage_size(dataset.id),
    };
    H5Dclose(dataset.id);
    return PRLE_OK;
}

prle_status prle_h5_dataset_get(prle_h5 *file, const char *name, prle_h5_dataset *out)
{
    enter();
    return leave(dataset_get(file, name, out));
}

/* *id is the caller's to close. */
static prle_status dataset_create(prle_h5 *file, const char *name, hid_t type, const prle_shape *shape, hid_t creation, hid_t *id)
{
    prle_status st = PRLE_OK;
    const hid_t links = H5Pcreate(H5P_LINK_CREATE), space = space_of(shape);

    H5Pset_create_intermediate_group(links, 1);
    H5Pset_obj_track_times(creation, false);
    const hid_t created = H5(H5Dcreate2(file->id, name, type, space, links, creation, H5P_DEFAULT));
    if (created < 0)
        st = fail_write(file, "create dataset", name);
    else
        *id = created;
    H5Sclose(space);
    H5Pclose(links);
    return st;
}

static prle_status write_whole(prle_h5 *file, const char *name, hid_t type, const prle_shape *shape, const void *data)
{
    prle_status st = PRLE_OK;
    hid_t id = H5I_INVALID_HID;
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);

    PRLE_TRY_OUT(shape_check(file, name, shape));
    H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER);
    PRLE_TRY_OUT(dataset_create(file, name, type, shape, creation, &id));
    if (prle_shape_count(shape) > 0 && H5(H5Dwrite(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data)) < 0)
        st = fail_write(file, "write dataset", name);
out:
    H5Pclose(creation);
    if (id >= 0 && H5(H5Dclose(id)) < 0 && st == PRLE_OK)
        st = fail_write(file, "close dataset", name);
    return st;
}

prle_status prle_h5_write(prle_h5 *file, const char *name, prle_h5_type type, const prle_shape *shape, const void *data)
{
    PRLE_CHECK(type != PRLE_H5_STRING, PRLE_EINVAL, "dataset '%s': strings have their own call", name);
    enter();
    return leave(write_whole(file, name, memory_type(type), shape, data));
}

static prle_status read_whole(prle_h5 *file, const char *name, prle_h5_type type, const prle_shape *shape, void *data)
{
    prle_status st = PRLE_OK;
    opened dataset;
    bool chunked;
    char have[96], want[96];

    PRLE_TRY(dataset_open(file, name, &dataset, &chunked));
    PRLE_TRY_OUT(type_check(file, name, &dataset, type));
    PRLE_CHECK_OUT(prle_shape_equal(&dataset.shape, shape), PRLE_EFORMAT, "%s: dataset '%s' is %s, expected %s", file->path, name,
                   prle_shape_print(&dataset.shape, have), prle_shape_print(shape, want));
    if (prle_shape_count(shape) > 0 && H5(H5Dread(dataset.id, memory_type(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, data)) < 0)
        st = fail_read(file, "read dataset", name);
out:
    H5Dclose(dataset.id);
    return st;
}

prle_status prle_h5_read(prle_h5 *file, const char *name, prle_h5_type type, const prle_shape *shape, void *data)
{
    PRLE_CHECK(type != PRLE_H5_STRING, PRLE_EINVAL, "dataset '%s': strings have their own call", name);
    enter();
    return leave(read_whole(file, name, type, shape, data));
}

/* A dataset is no larger than what the file holds of it, unpacked. What it claims to hold is no more than the file. */
static prle_status size_check(prle_h5 *file, const char *name, const opened *dataset, size_t n_bytes, bool chunked)
{
    hsize_t file_bytes = 0, held = H5Dget_storage_size(dataset->id);
    size_t limit;

    if (H5Fget_filesize(file->id, &file_bytes) < 0)
        return fail_read(file, "find the size", NULL);
    held = held < file_bytes ? held : file_bytes;
    if (__builtin_mul_overflow((size_t)held, (size_t)(chunked ? MAX_DEFLATE_RATIO : 1), &limit))
        limit = SIZE_MAX;
    PRLE_CHECK(n_bytes <= FREE_READ_BYTES || n_bytes <= limit, PRLE_EFORMAT,
               "%s: dataset '%s' claims %zu bytes, the file has only %llu of it", file->path, name, n_bytes,
               (unsigned long long)held);
    return PRLE_OK;
}

static prle_status shape_match(prle_h5 *file, const char *name, const prle_shape *have, const prle_shape *want)
{
    char have_text[96], want_text[96];
    bool match = have->n == want->n;

    for (int i = 0; match && i < want->n; i++)
        match = want->dim[i] < 0 || want->dim[i] == have->dim[i];
    PRLE_CHECK(match, PRLE_EFORMAT, "%s: dataset '%s' is %s, expected %s (-1: any)", file->path, name,
               prle_shape_print(have, have_text), prle_shape_print(want, want_text));
    return PRLE_OK;
}

static prle_status read_alloc(prle_h5 *file, const char *name, prle_h5_type type, prle_shape *shape, prle_any_ptr *data)
{
    prle_status st = PRLE_OK;
    opened dataset;
    bool chunked;
    prle_any_ptr bytes = NULL;
    size_t n_bytes;

    PRLE_TRY(dataset_open(file, name, &dataset, &chunked));
    PRLE_TRY_OUT(type_check(file, name, &dataset, type));
    PRLE_TRY_OUT(shape_match(file, name, &dataset.shape, shape));
    PRLE_TRY_OUT(count_bytes(file, name, &dataset.shape, types[type].n_bytes, &n_bytes));
    PRLE_TRY_OUT(size_check(file, name, &dataset, n_bytes, chunked));
    PRLE_TRY_OUT(prle_alloc(n_bytes, 1, &bytes));
    if (n_bytes > 0 && H5(H5Dread(dataset.id, memory_type(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes)) < 0) {
        st = fail_read(file, "read dataset", name);
        goto out;
    }
    *shape = dataset.shape;
    *data = bytes;
    bytes = NULL;
out:
    prle_free(bytes);
    H5Dclose(dataset.id);
    return st;
}

prle_status prle_h5_read_alloc(prle_h5 *file, const char *name, prle_h5_type type, prle_shape *shape, prle_any_ptr *data)
{
    PRLE_CHECK(type != PRLE_H5_STRING, PRLE_EINVAL, "dataset '%s': strings have their own call", name);
    enter();
    return leave(read_alloc(file, name, type, shape, data));
}

/* Strings. */

static prle_status write_strings(prle_h5 *file, const char *name, const char *const *strings, int64_t n)
{
    prle_status st = PRLE_OK;
    char *block = NULL;
    size_t longest = 1;
    const prle_shape shape = PRLE_SHAPE(n);

    for (int64_t i = 0; i < n; i++)
        if (strlen(strings[i]) > longest)
            longest = strlen(strings[i]);
    PRLE_TRY(prle_alloc((size_t)n, longest, (prle_any_ptr *)&block));
    for (int64_t i = 0; i < n; i++)
        memcpy(block + (size_t)i * longest, strings[i], strlen(strings[i]));
    const hid_t type = string_type(longest);
    st = write_whole(file, name, type, &shape, block);
    H5Tclose(type);
    prle_free(block);
    return st;
}

prle_status prle_h5_write_strings(prle_h5 *file, const char *name, const char *const *strings, int64_t n)
{
    enter();
    return leave(write_strings(file, name, strings, n));
}

static prle_status read_fixed(prle_h5 *file, const char *name, const opened *dataset, hid_t type, bool chunked, prle_strings *out)
{
    prle_status st = PRLE_OK;
    char *block = NULL, *text = NULL;
    size_t n_bytes;
    const size_t longest = H5Tget_size(type);

    PRLE_CHECK(longest >= 1 && longest <= MAX_STRING_BYTES, PRLE_EFORMAT, "%s: dataset '%s' claims strings of %zu bytes",
               file->path, name, longest);
    PRLE_TRY(count_bytes(file, name, &dataset->shape, longest, &n_bytes));
    PRLE_TRY(size_check(file, name, dataset, n_bytes, chunked));
    PRLE_TRY(prle_alloc(n_bytes, 1, (prle_any_ptr *)&block));
    PRLE_TRY_OUT(PRLE_NEW(text, longest + 1));
    if (n_bytes > 0 && H5(H5Dread(dataset->id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, block)) < 0) {
        st = fail_read(file, "read dataset", name);
        goto out;
    }
    for (int64_t i = 0; i < dataset->shape.dim[0]; i++) {
        memcpy(text, block + (size_t)i * longest, longest);
        PRLE_TRY_OUT(prle_strings_add(out, text));
    }
out:
    prle_free(text);
    prle_free(block);
    return st;
}

static prle_status read_variable(prle_h5 *file, const char *name, const opened *dataset, hid_t type, bool chunked,
                                 prle_strings *out)
{
    prle_status st = PRLE_OK;
    char **texts = NULL;
    size_t n_bytes;
    const hid_t space = space_of(&dataset->shape);

    PRLE_TRY_OUT(count_bytes(file, name, &dataset->shape, sizeof *texts, &n_bytes));
    PRLE_TRY_OUT(size_check(file, name, dataset, n_bytes, chunked));
    PRLE_TRY_OUT(prle_alloc(n_bytes, 1, (prle_any_ptr *)&texts));
    if (n_bytes > 0 && H5(H5Dread(dataset->id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts)) < 0) {
        st = fail_read(file, "read dataset", name);
        goto out;
    }
    for (int64_t i = 0; i < dataset->shape.dim[0]; i++)
        PRLE_TRY_OUT(prle_strings_add(out, texts[i] == NULL ? "" : texts[i]));
out:
    if (texts != NULL)
        H5Dvlen_reclaim(type, space, H5P_DEFAULT, texts); /* what the library allocated; NULL entries are fine */
    prle_free(texts);
    H5Sclose(space);
    return st;
}

static prle_status read_strings(prle_h5 *file, const char *name, prle_strings *strings)
{
    prle_status st = PRLE_OK;
    opened dataset;
    prle_strings found = {0};
    hid_t type = H5I_INVALID_HID;
    bool chunked;

    PRLE_TRY(dataset_open(file, name, &dataset, &chunked));
    PRLE_TRY_OUT(type_check(file, name, &dataset, PRLE_H5_STRING));
    PRLE_CHECK_OUT(dataset.shape.n == 1, PRLE_EFORMAT, "%s: dataset '%s' has %d dimensions, expected 1", file->path, name,
                   dataset.shape.n);
    type = H5Dget_type(dataset.id);
    if (H5Tis_variable_str(type) > 0)
        PRLE_TRY_OUT(read_variable(file, name, &dataset, type, chunked, &found));
    else
        PRLE_TRY_OUT(read_fixed(file, name, &dataset, type, chunked, &found));
    PRLE_TRY_OUT(prle_strings_append(strings, &found));
out:
    prle_strings_deinit(&found);
    if (type >= 0)
        H5Tclose(type);
    H5Dclose(dataset.id);
    return st;
}

prle_status prle_h5_read_strings(prle_h5 *file, const char *name, prle_strings *strings)
{
    enter();
    return leave(read_strings(file, name, strings));
}

/* Rows. */

/* Borrowed from the file. */
static prle_status dataset_find(prle_h5 *file, const char *name, const opened **out)
{
    prle_status st = PRLE_OK;
    opened dataset = {.id = H5I_INVALID_HID};
    bool chunked;

    for (int64_t i = 0; i < file->n_datasets; i++) {
        if (strcmp(file->datasets[i].name, name) == 0) {
            *out = &file->datasets[i];
            return PRLE_OK;
        }
    }
    if (file->n_datasets == file->dataset_capacity) {
        const int64_t grown = 2 * file->dataset_capacity + 4;
        PRLE_TRY(prle_realloc((size_t)file->n_datasets, (size_t)grown, sizeof *file->datasets, (prle_any_ptr *)&file->datasets));
        file->dataset_capacity = grown;
    }
    PRLE_TRY(dataset_open(file, name, &dataset, &chunked));
    PRLE_TRY_OUT(prle_strdup(name, &dataset.name));
    *out = &file->datasets[file->n_datasets];
    file->datasets[file->n_datasets++] = dataset;
    dataset.id = H5I_INVALID_HID;
out:
    if (dataset.id >= 0)
        H5Dclose(dataset.id);
    return st;
}

static prle_status layout_set(prle_h5 *file, const char *name, prle_h5_type type, const prle_shape *shape,
                              const prle_h5_layout *layout, hid_t creation)
{
    hsize_t chunk[PRLE_MAX_DIMS];

    PRLE_TRY(shape_check(file, name, shape));
    PRLE_CHECK(shape->n >= 1, PRLE_ESHAPE, "%s: dataset '%s' has no rows", file->path, name);
    if (layout->fill != NULL)
        H5Pset_fill_value(creation, memory_type(type), layout->fill);
    if (layout->chunk_rows == 0) {
        H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY);
        H5Pset_fill_time(creation, H5D_FILL_TIME_IFSET);
        return PRLE_OK;
    }
    chunk[0] = (hsize_t)layout->chunk_rows;
    for (int i = 1; i < shape->n; i++)
        chunk[i] = (hsize_t)shape->dim[i];
    if (shape->dim[0] < layout->chunk_rows) /* HDF5 wants a chunk no longer than the dataset, and no empty one */
        chunk[0] = shape->dim[0] > 0 ? (hsize_t)shape->dim[0] : 1;
    bool ok = H5Pset_chunk(creation, shape->n, chunk) >= 0;
    if (ok && layout->deflate > 0)
        ok = H5Pset_shuffle(creation) >= 0 && H5Pset_deflate(creation, (unsigned)layout->deflate) >= 0;
    if (ok && layout->checked)
        ok = H5Pset_fletcher32(creation) >= 0;
    return ok ? PRLE_OK : fail_write(file, "lay out dataset", name);
}

static prle_status define(prle_h5 *file, const char *name, prle_h5_type type, const prle_shape *shape,
                          const prle_h5_layout *layout)
{
    prle_status st = PRLE_OK;
    hid_t id = H5I_INVALID_HID;
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);

    PRLE_TRY_OUT(layout_set(file, name, type, shape, layout, creation));
    PRLE_TRY_OUT(dataset_create(file, name, memory_type(type), shape, creation, &id));
    if (H5(H5Dclose(id)) < 0)
        st = fail_write(file, "close dataset", name);
out:
    H5Pclose(creation);
    return st;
}

prle_status prle_h5_define(prle_h5 *file, const char *name, prle_h5_type type, const prle_shape *shape,
                           const prle_h5_layout *layout)
{
    PRLE_CHECK(type != PRLE_H5_STRING, PRLE_EINVAL, "dataset '%s': strings have their own call", name);
    enter();
    return leave(define(file, name, type, shape, layout));
}

/* Spaces of rows [first, first + n) in the file and of as many in memory; the caller closes both. */
static prle_status rows_select(prle_h5 *file, const opened *dataset, int64_t first, int64_t n, hid_t *in_file, hid_t *in_memory)
{
    hsize_t start[PRLE_MAX_DIMS] = {0}, count[PRLE_MAX_DIMS];
    const prle_shape *shape = &dataset->shape;

    PRLE_CHECK(shape->n >= 1 && first >= 0 && n >= 0 && first <= shape->dim[0] && n <= shape->dim[0] - first, PRLE_ESHAPE,
               "%s: dataset '%s' has %lld rows, %lld from %lld were asked for", file->path, dataset->name,
               (long long)(shape->n >= 1 ? shape->dim[0] : 0), (long long)n, (long long)first);
    for (int i = 1; i < shape->n; i++)
        count[i] = (hsize_t)shape->dim[i];
    start[0] = (hsize_t)first;
    count[0] = (hsize_t)n;
    *in_memory = H5Screate_simple(shape->n, count, NULL);
    *in_file = space_of(shape);
    H5Sselect_hyperslab(*in_file, H5S_SELECT_SET, start, NULL, count, NULL);
    return PRLE_OK;
}

static prle_status write_rows(prle_h5 *file, const char *name, prle_h5_type type, int64_t first, int64_t n, const void *data)
{
    prle_status st = PRLE_OK;
    const opened *dataset = NULL;
    hid_t in_file, in_memory;

    PRLE_TRY(dataset_find(file, name, &dataset));
    PRLE_TRY(type_check(file, name, dataset, type));
    PRLE_TRY(rows_select(file, dataset, first, n, &in_file, &in_memory));
    if (n > 0 && H5(H5Dwrite(dataset->id, memory_type(type), in_memory, in_file, H5P_DEFAULT, data)) < 0)
        st = fail_write(file, "write dataset", name);
    H5Sclose(in_file);
    H5Sclose(in_memory);
    return st;
}

prle_status prle_h5_write_rows(prle_h5 *file, const char *name, prle_h5_type type, int64_t first, int64_t n, const void *data)
{
    enter();
    return leave(write_rows(file, name, type, first, n, data));
}

static prle_status read_rows(prle_h5 *file, const char *name, prle_h5_type type, int64_t first, int64_t n, void *data)
{
    prle_status st = PRLE_OK;
    const opened *dataset = NULL;
    hid_t in_file, in_memory;

    PRLE_TRY(dataset_find(file, name, &dataset));
    PRLE_TRY(type_check(file, name, dataset, type));
    PRLE_TRY(rows_select(file, dataset, first, n, &in_file, &in_memory));
    if (n > 0 && H5(H5Dread(dataset->id, memory_type(type), in_memory, in_file, H5P_DEFAULT, data)) < 0)
        st = fail_read(file, "read dataset", name);
    H5Sclose(in_file);
    H5Sclose(in_memory);
    return st;
}

prle_status prle_h5_read_rows(prle_h5 *file, const char *name, prle_h5_type type, int64_t first, int64_t n, void *data)
{
    enter();
    return leave(read_rows(file, name, type, first, n, data));
}

static prle_status scratch_grow(prle_h5 *file, size_t n_bytes)
{
    if (n_bytes <= file->scratch_bytes)
        return PRLE_OK;
    PRLE_TRY(prle_realloc(0, n_bytes, 1, (prle_any_ptr *)&file->scratch));
    file->scratch_bytes = n_bytes;
    return PRLE_OK;
}

static prle_status row_check(const prle_h5 *file, const opened *dataset, int64_t row)
{
    PRLE_CHECK(dataset->pipeline != 0, PRLE_EFORMAT, "%s: dataset '%s' has not one row a chunk", file->path, dataset->name);
    PRLE_CHECK(row >= 0 && row < dataset->shape.dim[0], PRLE_ESHAPE, "%s: dataset '%s' has %lld rows, row %lld was asked for",
               file->path, dataset->name, (long long)dataset->shape.dim[0], (long long)row);
    return PRLE_OK;
}

static prle_status copy_row(prle_h5 *to, int64_t to_row, prle_h5 *from, int64_t from_row, const char *name)
{
    const opened *source = NULL, *target = NULL;
    hsize_t at[PRLE_MAX_DIMS] = {(hsize_t)from_row}, n_bytes = 0;
    uint32_t mask = 0;
    size_t raw_bytes;

    PRLE_TRY(dataset_find(from, name, &source));
    PRLE_TRY(dataset_find(to, name, &target));
    PRLE_TRY(type_check(from, name, source, target->type));
    PRLE_TRY(row_check(from, source, from_row));
    PRLE_TRY(row_check(to, target, to_row));
    PRLE_CHECK(source->pipeline == target->pipeline, PRLE_EFORMAT, "%s: dataset '%s' has other rows or filters than in %s",
               from->path, name, to->path);
    if (H5(H5Dget_chunk_storage_size(source->id, at, &n_bytes)) < 0 || n_bytes == 0)
        return fail_read(from, "find a row of dataset", name);
    PRLE_TRY(count_bytes(from, name, &source->shape, types[source->type].n_bytes, &raw_bytes));
    raw_bytes /= (size_t)source->shape.dim[0];
    PRLE_CHECK(n_bytes <= 2 * raw_bytes + 1024, PRLE_EFORMAT, "%s: dataset '%s': row %lld claims %llu compressed bytes",
               from->path, name, (long long)from_row, (unsigned long long)n_bytes);
    PRLE_TRY(scratch_grow(to, n_bytes));
    if (H5(H5Dread_chunk(source->id, H5P_DEFAULT, at, &mask, to->scratch)) < 0)
        return fail_read(from, "read a row of dataset", name);
    at[0] = (hsize_t)to_row;
    if (H5(H5Dwrite_chunk(target->id, H5P_DEFAULT, mask, at, n_bytes, to->scratch)) < 0)
        return fail_write(to, "write a row of dataset", name);
    return PRLE_OK;
}

prle_status prle_h5_copy_row(prle_h5 *to, int64_t to_row, prle_h5 *from, int64_t from_row, const char *name)
{
    enter();
    return leave(copy_row(to, to_row, from, from_row, name));
}

const char *prle_version_hdf5(void)
{
    static _Thread_local char text[64];
    unsigned major = 0, minor = 0, patch = 0;

    enter();
    const bool known = H5get_libversion(&major, &minor, &patch) >= 0;
    (void)leave(PRLE_OK);
    snprintf(text, sizeof text, known ? "%u.%u.%u" : "unknown", major, minor, patch);
    return text;
}
