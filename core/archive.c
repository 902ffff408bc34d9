/* archive.c - see archive.h: the table of tensors, the one place where their bounds are checked, and reading with conversion. */
#include "core/archive.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/archive_impl.h"
#include "core/file.h"
#include "core/half.h"
#include "core/hash.h"
#include "core/text.h"

enum { BLOCK_BYTES = 1 << 20 };

static const struct {
    const char *name;
    size_t n_bytes;
} stored[] = {
    [PRLE_STORED_BOOL] = {.name = "bool", .n_bytes = 1},       [PRLE_STORED_U8] = {.name = "u8", .n_bytes = 1},
    [PRLE_STORED_I8] = {.name = "i8", .n_bytes = 1},           [PRLE_STORED_U16] = {.name = "u16", .n_bytes = 2},
    [PRLE_STORED_I16] = {.name = "i16", .n_bytes = 2},         [PRLE_STORED_U32] = {.name = "u32", .n_bytes = 4},
    [PRLE_STORED_I32] = {.name = "i32", .n_bytes = 4},         [PRLE_STORED_U64] = {.name = "u64", .n_bytes = 8},
    [PRLE_STORED_I64] = {.name = "i64", .n_bytes = 8},         [PRLE_STORED_F16] = {.name = "f16", .n_bytes = 2},
    [PRLE_STORED_BF16] = {.name = "bf16", .n_bytes = 2},       [PRLE_STORED_F32] = {.name = "f32", .n_bytes = 4},
    [PRLE_STORED_F64] = {.name = "f64", .n_bytes = 8},         [PRLE_STORED_OTHER_1] = {.name = "other", .n_bytes = 1},
    [PRLE_STORED_OTHER_4] = {.name = "other", .n_bytes = 4},   [PRLE_STORED_OTHER_8] = {.name = "other", .n_bytes = 8},
    [PRLE_STORED_OTHER_16] = {.name = "other", .n_bytes = 16},
};

size_t prle_stored_bytes(prle_stored type) { return stored[type].n_bytes; }
const char *prle_stored_name(prle_stored type) { return stored[type].name; }
bool prle_stored_is_real(prle_stored type) { return type >= PRLE_STORED_F16 && type <= PRLE_STORED_F64; }

const char *prle_archive_shape_print(const prle_archive_tensor *tensor, char text[192])
{
    int n = snprintf(text, 192, "[");

    for (int d = 0; d < tensor->n_dims; d++)
        n += snprintf(text + n, 192 - (size_t)n, "%s%" PRId64, d > 0 ? "," : "", tensor->dim[d]);
    snprintf(text + n, 192 - (size_t)n, "]");
    return text;
}

/* ---- the table ---- */

static bool is_printable(const char *text)
{
    for (const char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7F)
            return false;
    return prle_text_is_utf8(text);
}

/* Elements from element 0 to the last one, and whether there is any; false: more than an int64_t counts. */
static bool span_of(const prle_archive_view *view, const int64_t *stride, int64_t *last, bool *empty)
{
    int64_t step;

    *last = 0;
    *empty = false;
    for (int d = 0; d < view->n_dims; d++) {
        if (view->dim[d] < 0 || stride[d] < 0)
            return false;
        *empty |= view->dim[d] == 0;
    }
    for (int d = 0; d < view->n_dims && !*empty; d++)
        if (__builtin_mul_overflow(view->dim[d] - 1, stride[d], &step) || __builtin_add_overflow(*last, step, last))
            return false;
    return true;
}

static prle_status view_check(const prle_archive *archive, const prle_archive_view *view, const int64_t *stride)
{
    const uint64_t room = (view->end - view->begin) / prle_stored_bytes(view->type);
    int64_t last = 0;
    bool empty = false;

    PRLE_CHECK(view->begin <= view->end && view->end <= archive->n_bytes, PRLE_EFORMAT,
               "%s: the data of %s is said to lie at bytes %" PRIu64 " to %" PRIu64 ", the file has %" PRIu64, archive->path,
               view->name, view->begin, view->end, archive->n_bytes);
    const bool fits =
        span_of(view, stride, &last, &empty) && view->offset >= 0 && !__builtin_add_overflow(last, view->offset, &last);
    PRLE_CHECK(fits && (empty ? (uint64_t)view->offset <= room : (uint64_t)last < room), PRLE_EFORMAT,
               "%s: %s reaches beyond its data of %" PRIu64 " elements (offset %" PRId64 ")", archive->path, view->name, room,
               view->offset);
    return PRLE_OK;
}

/* Of a tensor without gaps; false: too many elements. */
static bool strides_make(const prle_archive_view *view, int64_t *stride)
{
    int64_t step = 1;

    for (int d = view->n_dims - 1; d >= 0; d--) {
        stride[d] = step;
        if (view->dim[d] > 0 && __builtin_mul_overflow(step, view->dim[d], &step))
            return false;
    }
    return true;
}

prle_status prle_archive_add(prle_archive *archive, const prle_archive_view *view)
{
    prle_archive_tensor tensor = {.type = view->type, .n_dims = view->n_dims};
    int64_t index = 0;

    PRLE_CHECK(strlen(view->name) < PRLE_ARCHIVE_NAME_BYTES && is_printable(view->name), PRLE_EFORMAT,
               "%s: the name of tensor %" PRId64 " is too long or not printable UTF-8", archive->path, archive->n);
    PRLE_CHECK(archive->n < PRLE_ARCHIVE_MAX_TENSORS, PRLE_EFORMAT, "%s: more than %d tensors", archive->path,
               PRLE_ARCHIVE_MAX_TENSORS);
    PRLE_CHECK(view->n_dims <= PRLE_ARCHIVE_MAX_DIMS, PRLE_ENOTSUP, "%s: %s has %d dimensions, more than %d", archive->path,
               view->name, view->n_dims, PRLE_ARCHIVE_MAX_DIMS);
    PRLE_CHECK(view->stride != NULL || strides_make(view, tensor.stride), PRLE_EFORMAT, "%s: %s has too many elements",
               archive->path, view->name);
    for (int d = 0; d < view->n_dims; d++) {
        tensor.dim[d] = view->dim[d];
        if (view->stride != NULL)
            tensor.stride[d] = view->stride[d];
    }
    PRLE_TRY(view_check(archive, view, tensor.stride));
    tensor.at = view->begin + (uint64_t)view->offset * prle_stored_bytes(view->type);
    PRLE_TRY(prle_names_intern(&archive->names, view->name, &index));
    PRLE_CHECK(index == archive->n, PRLE_EFORMAT, "%s: has the tensor %s twice", archive->path, view->name);
    if ((archive->n & (archive->n - 1)) == 0) /* room for as many again at 0, 1, 2, 4, ... */
        PRLE_TRY(prle_realloc((size_t)archive->n, archive->n > 0 ? 2 * (size_t)archive->n : 1, sizeof *archive->tensor,
                              (prle_any_ptr *)&archive->tensor));
    tensor.name = archive->names.list.item[index];
    archive->tensor[archive->n++] = tensor;
    return PRLE_OK;
}

prle_status prle_archive_skip(prle_archive *archive, const char *what)
{
    char text[PRLE_ARCHIVE_NAME_BYTES];
    int64_t index;

    snprintf(text, sizeof text, "%s", what);
    for (char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || (unsigned char)*at >= 0x7F)
            *at = '?';
    return prle_names_intern(&archive->skipped, text, &index);
}

prle_status prle_archive_sum_add(prle_archive *archive, uint64_t at, uint64_t n_bytes, uint32_t crc)
{
    const int64_t n = archive->n_sums;

    if ((n & (n - 1)) == 0)
        PRLE_TRY(prle_realloc((size_t)n, n > 0 ? 2 * (size_t)n : 1, sizeof *archive->sum, (prle_any_ptr *)&archive->sum));
    archive->sum[archive->n_sums++] = (struct prle_archive_sum){.at = at, .n_bytes = n_bytes, .crc = crc};
    return PRLE_OK;
}

/* ---- opening ---- */

prle_status prle_archive_take(const prle_archive *archive, uint64_t at, uint64_t n_bytes, uint8_t **out)
{
    prle_status st = PRLE_OK;
    uint8_t *bytes = NULL;

    PRLE_CHECK(at <= archive->n_bytes && n_bytes <= archive->n_bytes - at, PRLE_EFORMAT,
               "%s: %" PRIu64 " bytes are said to lie at %" PRIu64 ", the file has %" PRIu64 ": it is cut or damaged",
               archive->path, n_bytes, at, archive->n_bytes);
    PRLE_TRY(PRLE_NEW(bytes, n_bytes));
    PRLE_TRY_OUT(prle_file_pread(archive->fd, archive->path, bytes, n_bytes, at));
    *out = bytes;
    bytes = NULL;
out:
    prle_free(bytes);
    return st;
}

static prle_status read_table(prle_archive *archive)
{
    static const uint8_t legacy[] = {0x80, 2, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, '.'};
    uint8_t head[16] = {0};
    const uint64_t n_head = archive->n_bytes < sizeof head ? archive->n_bytes : sizeof head;

    PRLE_TRY(prle_file_pread(archive->fd, archive->path, head, n_head, 0));
    if (memcmp(head, "PK\3\4", 4) == 0)
        return prle_torch_zip_read(archive);
    if (memcmp(head, legacy, sizeof legacy) == 0)
        return prle_torch_legacy_read(archive);
    if (prle_le64(head) > 1 && head[8] == '{')
        return prle_safetensors_read(archive);
    PRLE_CHECK(memcmp(head, "\x89HDF", 4) != 0, PRLE_ENOTSUP,
               "%s: an HDF5 file; `prle inspect` shows it, and commands read a model of prle as it is", archive->path);
    return PRLE_FAIL(PRLE_EFORMAT, "%s: neither safetensors nor a file of torch.save (zip or legacy)", archive->path);
}

prle_status prle_archive_open(prle_archive **out, const char *path)
{
    prle_status st = PRLE_OK;
    prle_archive *archive = NULL;

    PRLE_TRY(PRLE_NEW(archive, 1));
    archive->fd = -1;
    PRLE_TRY_OUT(prle_strdup(path, &archive->path));
    PRLE_TRY_OUT(prle_file_open(path, &archive->fd));
    PRLE_TRY_OUT(prle_file_size(path, &archive->n_bytes));
    PRLE_TRY_OUT(read_table(archive));
    *out = archive;
    archive = NULL;
out:
    prle_archive_close(archive);
    return st;
}

void prle_archive_close(prle_archive *archive)
{
    if (archive == NULL)
        return;
    prle_free(archive->tensor);
    prle_names_deinit(&archive->names);
    prle_names_deinit(&archive->skipped);
    prle_free(archive->sum);
    prle_file_close(archive->fd);
    prle_free(archive->path);
    prle_free(archive);
}

/* ---- checksums ---- */

static prle_status sum_verify(const prle_archive *archive, const struct prle_archive_sum *sum, uint8_t *block)
{
    uint32_t crc = 0;

    for (uint64_t done = 0; done < sum->n_bytes;) {
        const size_t n = sum->n_bytes - done < BLOCK_BYTES ? (size_t)(sum->n_bytes - done) : BLOCK_BYTES;
        PRLE_TRY(prle_file_pread(archive->fd, archive->path, block, n, sum->at + done));
        crc = prle_crc32(crc, block, n);
        done += n;
    }
    PRLE_CHECK(crc == sum->crc, PRLE_EFORMAT,
               "%s: the %" PRIu64 " bytes at %" PRIu64 " do not agree with their CRC-32: the file is damaged (or was saved with "
               "torch.serialization.set_crc32_options(False): then save it again without)",
               archive->path, sum->n_bytes, sum->at);
    return PRLE_OK;
}

prle_status prle_archive_verify(const prle_archive *archive)
{
    prle_status st = PRLE_OK;
    uint8_t *block = NULL;

    PRLE_TRY(PRLE_NEW(block, BLOCK_BYTES));
    for (int64_t i = 0; i < archive->n_sums; i++)
        PRLE_TRY_OUT(sum_verify(archive, &archive->sum[i], block));
out:
    prle_free(block);
    return st;
}

/* ---- elements ---- */

prle_status prle_archive_count(const prle_archive *archive, int64_t i, int64_t *out)
{
    const prle_archive_tensor *t = &archive->tensor[i];
    int64_t count = 1;

    for (int d = 0; d < t->n_dims; d++)
        if (t->dim[d] == 0) {
            *out = 0;
            return PRLE_OK;
        }
    for (int d = 0; d < t->n_dims; d++)
        PRLE_CHECK(!__builtin_mul_overflow(count, t->dim[d], &count), PRLE_EFORMAT, "%s: %s has too many elements", archive->path,
                   t->name);
    *out = count;
    return PRLE_OK;
}

static double real_at(prle_stored type, const uint8_t *p)
{
    float f;
    double d;
    uint32_t bits = 0;

    switch (type) {
    case PRLE_STORED_F16: return (double)prle_half_to_float(prle_le16(p));
    case PRLE_STORED_F64: memcpy(&d, p, sizeof d); return d;
    case PRLE_STORED_BF16: bits = (uint32_t)prle_le16(p) << 16; break;
    default: bits = prle_le32(p); break;
    }
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

static int64_t integer_at(prle_stored type, const uint8_t *p)
{
    switch (type) {
    case PRLE_STORED_BOOL: return p[0] != 0;
    case PRLE_STORED_U8: return p[0];
    case PRLE_STORED_I8: return (int8_t)p[0];
    case PRLE_STORED_U16: return prle_le16(p);
    case PRLE_STORED_I16: return (int16_t)prle_le16(p);
    case PRLE_STORED_U32: return prle_le32(p);
    case PRLE_STORED_I32: return (int32_t)prle_le32(p);
    default: return (int64_t)prle_le64(p); /* U64 above INT64_MAX is negative */
    }
}

/* One element of type `from` to place k of out. */
static bool element_put(prle_stored from, const uint8_t *p, prle_stored to, void *out, int64_t k)
{
    if (to == PRLE_STORED_I64) {
        const int64_t value = integer_at(from, p);
        ((int64_t *)out)[k] = value;
        return from != PRLE_STORED_U64 || value >= 0;
    }
    if (to == PRLE_STORED_F64)
        ((double *)out)[k] = real_at(from, p);
    else
        ((float *)out)[k] = (float)real_at(from, p);
    return true;
}

/* A tensor whose elements follow each other, n_bytes at a time through block. */
static prle_status read_row_major(const prle_archive *archive, const prle_archive_tensor *t, int64_t count, prle_stored type,
                                  void *out, uint8_t *block)
{
    const size_t size = prle_stored_bytes(t->type);

    if (t->type == type)
        return prle_file_pread(archive->fd, archive->path, out, (size_t)count * size, t->at);
    for (int64_t done = 0; done < count;) {
        const int64_t left = count - done, most = BLOCK_BYTES / (int64_t)size, n = left < most ? left : most;
        PRLE_TRY(prle_file_pread(archive->fd, archive->path, block, (size_t)n * size, t->at + (uint64_t)done * size));
        for (int64_t k = 0; k < n; k++)
            PRLE_CHECK(element_put(t->type, block + (size_t)k * size, type, out, done + k), PRLE_EFORMAT,
                       "%s: %s has a value beyond 64 bits with a sign", archive->path, t->name);
        done += n;
    }
    return PRLE_OK;
}

/* Any strides: from the file's bytes between the first and the last element. */
static prle_status read_strided(const prle_archive *archive, const prle_archive_tensor *t, int64_t count, prle_stored type,
                                void *out)
{
    prle_status st = PRLE_OK;
    const size_t size = prle_stored_bytes(t->type);
    int64_t at[PRLE_ARCHIVE_MAX_DIMS] = {0}, last = 0, from = 0;
    uint8_t *bytes = NULL;

    for (int d = 0; d < t->n_dims; d++)
        last += (t->dim[d] - 1) * t->stride[d]; /* lies in the file, as was checked */
    PRLE_TRY(prle_archive_take(archive, t->at, ((uint64_t)last + 1) * size, &bytes));
    for (int64_t k = 0; k < count; k++) {
        PRLE_CHECK_OUT(element_put(t->type, bytes + (size_t)from * size, type, out, k), PRLE_EFORMAT,
                       "%s: %s has a value beyond 64 bits with a sign", archive->path, t->name);
        for (int d = t->n_dims - 1; d >= 0; d--) { /* the next index */
            if (++at[d] < t->dim[d]) {
                from += t->stride[d];
                break;
            }
            from -= (t->dim[d] - 1) * t->stride[d];
            at[d] = 0;
        }
    }
out:
    prle_free(bytes);
    return st;
}

static bool is_row_major(const prle_archive_tensor *t)
{
    int64_t step = 1;

    for (int d = t->n_dims - 1; d >= 0; d--) {
        if (t->dim[d] != 1 && t->stride[d] != step)
            return false;
        step *= t->dim[d];
    }
    return true;
}

prle_status prle_archive_read(const prle_archive *archive, int64_t i, prle_stored type, void *out)
{
    prle_status st = PRLE_OK;
    const prle_archive_tensor *t = &archive->tensor[i];
    uint8_t *block = NULL;
    int64_t count;

    PRLE_CHECK(type == PRLE_STORED_I64 ? t->type <= PRLE_STORED_I64 : prle_stored_is_real(t->type), PRLE_ENOTSUP,
               "%s: %s holds %s, not %s", archive->path, t->name, prle_stored_name(t->type),
               type == PRLE_STORED_I64 ? "integers" : "real numbers");
    PRLE_TRY(prle_archive_count(archive, i, &count));
    if (count == 0)
        return PRLE_OK;
    if (!is_row_major(t))
        return read_strided(archive, t, count, type, out);
    PRLE_TRY(PRLE_NEW(block, BLOCK_BYTES));
    PRLE_TRY_OUT(read_row_major(archive, t, count, type, out, block));
out:
    prle_free(block);
    return st;
}
