/* safetensors.c - Hugging Face's format: length, a JSON header, then the tensors end to end without holes.
 *
 * https://github.com/huggingface/safetensors: 8 bytes N, little-endian; N bytes of JSON, name -> {dtype, shape, data_offsets:
 * [begin, end) from the end of the header}, and "__metadata__" -> {text: text}; row-major, little-endian. That there are no holes
 * and no overlaps is checked, as the format's own library does: such a file could mean two things.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/archive_impl.h"
#include "core/json.h"
#include "core/text.h"

enum {
    LENGTH_BYTES = 8,
    MAX_HEADER_BYTES = 8 << 20, /* 65,536 tensors at 128 bytes; a JSON value takes up to a hundred times its text in memory */
};

static const struct {
    const char *word;
    prle_stored type;
} words[] = {
    {"BOOL", PRLE_STORED_BOOL},
    {"U8", PRLE_STORED_U8},
    {"I8", PRLE_STORED_I8},
    {"U16", PRLE_STORED_U16},
    {"I16", PRLE_STORED_I16},
    {"U32", PRLE_STORED_U32},
    {"I32", PRLE_STORED_I32},
    {"U64", PRLE_STORED_U64},
    {"I64", PRLE_STORED_I64},
    {"F16", PRLE_STORED_F16},
    {"F32", PRLE_STORED_F32},
    {"BF16", PRLE_STORED_BF16},
    {"F64", PRLE_STORED_F64},
    {"F8_E4M3", PRLE_STORED_OTHER_1},
    {"F8_E5M2", PRLE_STORED_OTHER_1},
    {"F8_E8M0", PRLE_STORED_OTHER_1},
    {"F8_E4M3FNUZ", PRLE_STORED_OTHER_1},
    {"F8_E5M2FNUZ", PRLE_STORED_OTHER_1},
    {"C64", PRLE_STORED_OTHER_8},
};
enum { N_WORDS = sizeof words / sizeof words[0] };

/* ---- reading ---- */

static prle_status type_parse(const prle_archive *archive, const char *name, const char *word, prle_stored *out)
{
    for (int i = 0; word != NULL && i < N_WORDS; i++)
        if (strcmp(word, words[i].word) == 0) {
            *out = words[i].type;
            return PRLE_OK;
        }
    PRLE_CHECK(word == NULL, PRLE_ENOTSUP, "%s: %s has elements of type %s, which nothing here reads", archive->path, name, word);
    return PRLE_FAIL(PRLE_EFORMAT, "%s: %s has no dtype", archive->path, name);
}

/* A list of at most `most` integers; -1 when it is none. */
static int integers_get(const prle_json *list, int64_t *out, int most)
{
    const int64_t n = prle_json_count(list);

    for (int64_t i = 0; i < n && i < most; i++)
        if (!prle_json_int(prle_json_item(list, i), &out[i]))
            return -1;
    return n <= most ? (int)n : -1;
}

static prle_status tensor_read(prle_archive *archive, const prle_json *entry, const char *name, uint64_t data)
{
    int64_t dim[PRLE_ARCHIVE_MAX_DIMS], offsets[2], n_bytes;
    prle_archive_view view = {.name = name, .dim = dim};

    PRLE_TRY(type_parse(archive, name, prle_json_text(prle_json_get(entry, "dtype")), &view.type));
    view.n_dims = integers_get(prle_json_get(entry, "shape"), dim, PRLE_ARCHIVE_MAX_DIMS);
    PRLE_CHECK(view.n_dims >= 0, PRLE_EFORMAT, "%s: the shape of %s is not a list of at most %d integers", archive->path, name,
               PRLE_ARCHIVE_MAX_DIMS);
    PRLE_CHECK(integers_get(prle_json_get(entry, "data_offsets"), offsets, 2) == 2 && offsets[0] >= 0 && offsets[0] <= offsets[1],
               PRLE_EFORMAT, "%s: %s has no data_offsets [begin, end]", archive->path, name);
    PRLE_CHECK((uint64_t)offsets[1] <= archive->n_bytes - data, PRLE_EFORMAT,
               "%s: %s is said to end at byte %" PRId64 " of %" PRIu64 ": the file is cut or damaged", archive->path, name,
               offsets[1], archive->n_bytes - data);
    view.begin = data + (uint64_t)offsets[0];
    view.end = data + (uint64_t)offsets[1];
    PRLE_TRY(prle_archive_add(archive, &view));
    PRLE_TRY(prle_archive_count(archive, archive->n - 1, &n_bytes));
    PRLE_CHECK(!__builtin_mul_overflow(n_bytes, (int64_t)prle_stored_bytes(view.type), &n_bytes) &&
                   n_bytes == offsets[1] - offsets[0],
               PRLE_EFORMAT, "%s: %s has data_offsets [%" PRId64 ", %" PRId64 "], which its shape and dtype do not fill",
               archive->path, name, offsets[0], offsets[1]);
    return PRLE_OK;
}

static int by_place(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return x[0] != y[0] ? (x[0] > y[0]) - (x[0] < y[0]) : (x[1] > y[1]) - (x[1] < y[1]);
}

/* Each tensor begins where the one before it ends, the first at `data`, the last ends the file. */
static prle_status holes_check(const prle_archive *archive, uint64_t data)
{
    prle_status st = PRLE_OK;
    uint64_t(*place)[2] = NULL, end = data; /* begin and end of each */

    PRLE_TRY(PRLE_NEW(place, archive->n));
    for (int64_t i = 0; i < archive->n; i++) {
        int64_t count;
        PRLE_TRY_OUT(prle_archive_count(archive, i, &count));
        place[i][0] = archive->tensor[i].at;
        place[i][1] = place[i][0] + (uint64_t)count * prle_stored_bytes(archive->tensor[i].type);
    }
    if (archive->n > 1)
        qsort(place, (size_t)archive->n, sizeof *place, by_place);
    for (int64_t i = 0; i < archive->n; i++) {
        PRLE_CHECK_OUT(place[i][0] == end, PRLE_EFORMAT, "%s: a hole or an overlap between tensors at byte %" PRIu64,
                       archive->path, place[i][0]);
        end = place[i][1];
    }
    PRLE_CHECK_OUT(end == archive->n_bytes, PRLE_EFORMAT, "%s: the tensors end at byte %" PRIu64 ", the file at %" PRIu64,
                   archive->path, end, archive->n_bytes);
out:
    prle_free(place);
    return st;
}

prle_status prle_safetensors_read(prle_archive *archive)
{
    prle_status st = PRLE_OK;
    uint8_t *length = NULL, *header = NULL;
    prle_json *json = NULL;
    uint64_t n_header;

    archive->format = "safetensors";
    PRLE_TRY_OUT(prle_archive_take(archive, 0, LENGTH_BYTES, &length));
    n_header = prle_le64(length);
    PRLE_CHECK_OUT(n_header <= archive->n_bytes - LENGTH_BYTES, PRLE_EFORMAT,
                   "%s: a header of %" PRIu64 " bytes in a file of %" PRIu64, archive->path, n_header, archive->n_bytes);
    PRLE_CHECK_OUT(n_header <= MAX_HEADER_BYTES, PRLE_ENOTSUP, "%s: a header of %" PRIu64 " bytes, more than %d", archive->path,
                   n_header, MAX_HEADER_BYTES);
    PRLE_TRY_OUT(prle_archive_take(archive, LENGTH_BYTES, n_header, &header));
    PRLE_TRY_OUT(prle_json_parse(archive->path, (const char *)header, n_header, &json));
    for (const char *name = prle_json_next_key(json, NULL); name != NULL; name = prle_json_next_key(json, name))
        if (strcmp(name, "__metadata__") != 0)
            PRLE_TRY_OUT(tensor_read(archive, prle_json_get(json, name), name, LENGTH_BYTES + n_header));
    PRLE_TRY_OUT(holes_check(archive, LENGTH_BYTES + n_header));
out:
    prle_json_destroy(json);
    prle_free(header);
    prle_free(length);
    return st;
}

/* ---- writing ---- */

static const char *word_of(prle_stored type)
{
    for (int i = 0; i < N_WORDS; i++)
        if (words[i].type == type)
            return words[i].word;
    return "";
}

static void tensor_add(prle_json_writer *json, const prle_safetensor *tensor, int64_t *at)
{
    const int64_t begin = *at;

    *at += prle_shape_count(&tensor->shape) * (int64_t)prle_stored_bytes(tensor->type);
    prle_json_begin_object(json, tensor->name);
    prle_json_add_text(json, "dtype", word_of(tensor->type));
    prle_json_begin_list(json, "shape");
    for (int d = 0; d < tensor->shape.n; d++)
        prle_json_add_int(json, NULL, tensor->shape.dim[d]);
    prle_json_end(json);
    prle_json_begin_list(json, "data_offsets");
    prle_json_add_int(json, NULL, begin);
    prle_json_add_int(json, NULL, *at);
    prle_json_end(json);
    prle_json_end(json);
}

/* The header's JSON, with spaces behind it so that the data begins at a multiple of 8. */
static prle_status header_make(char **out, const prle_safetensor *tensor, int64_t n, const char *const *metadata,
                               int64_t *data_bytes)
{
    prle_json_writer json = {0};
    char *text = NULL;

    *data_bytes = 0;
    prle_json_begin_object(&json, NULL);
    prle_json_begin_object(&json, "__metadata__");
    for (int i = 0; metadata[i] != NULL; i += 2)
        prle_json_add_text(&json, metadata[i], metadata[i + 1]);
    prle_json_end(&json);
    for (int64_t i = 0; i < n; i++)
        tensor_add(&json, &tensor[i], data_bytes);
    prle_json_end(&json);
    PRLE_TRY(prle_json_take(&json, false, &text));
    const int n_text = (int)strlen(text), n_padded = (n_text + LENGTH_BYTES - 1) / LENGTH_BYTES * LENGTH_BYTES;
    const prle_status st = prle_asprintf(out, "%s%*s", text, n_padded - n_text, "");
    prle_free(text);
    return st;
}

prle_status prle_safetensors_write(const char *path, const prle_safetensor *tensor, int64_t n, const prle_piece *piece,
                                   int n_pieces, const char *const *metadata)
{
    prle_status st = PRLE_OK;
    prle_piece *all = NULL;
    char *header = NULL;
    uint8_t length[LENGTH_BYTES];
    int64_t data_bytes = 0;
    size_t n_header;

    PRLE_TRY_OUT(header_make(&header, tensor, n, metadata, &data_bytes));
    PRLE_TRY_OUT(PRLE_NEW(all, n_pieces + 2));
    n_header = strlen(header);
    for (int i = 0; i < LENGTH_BYTES; i++)
        length[i] = (uint8_t)((uint64_t)n_header >> 8 * i);
    all[0] = (prle_piece){.bytes = length, .n_bytes = sizeof length};
    all[1] = (prle_piece){.bytes = header, .n_bytes = n_header};
    for (int i = 0; i < n_pieces; i++) {
        all[2 + i] = piece[i];
        data_bytes -= (int64_t)piece[i].n_bytes;
    }
    PRLE_CHECK_OUT(data_bytes == 0, PRLE_EINVAL, "%s: the tensors' shapes are of %" PRId64 " bytes more than the data", path,
                   data_bytes);
    PRLE_TRY_OUT(prle_file_write_pieces_atomic(path, all, n_pieces + 2));
out:
    prle_free(all);
    prle_free(header);
    return st;
}
