/* zip.c - see zip.h. PKWARE's APPNOTE 6.3: the end record, behind it an optional comment; before it, where sizes or counts need
 * 64 bits, a locator and the end record of ZIP64; it says where the central directory is; each record there where its entry is.
 *
 * Why not libzip: torch.save stores entries uncompressed, so all that is wanted is a place in the file, which libzip does not
 * tell (it copies); and this is less code than a wrapper with the same checks would be.
 */
#include "core/zip.h"

#include <inttypes.h>
#include <string.h>

#include "core/alloc.h"
#include "core/archive_impl.h"

enum {
    END_BYTES = 22,
    END64_LOCATOR_BYTES = 20,
    END64_BYTES = 56,
    RECORD_BYTES = 46,
    HEADER_BYTES = 30,
    MAX_COMMENT_BYTES = 0xFFFF,
    ENCRYPTED = 1,
    ZIP64_FIELD = 1,
};

#define BROKEN(archive, what) PRLE_FAIL(PRLE_EFORMAT, "%s: as a ZIP file it is cut or damaged: %s", (archive)->path, (what))

static bool is(const uint8_t *at, char a, char b) { return at[0] == 'P' && at[1] == 'K' && at[2] == a && at[3] == b; }

typedef struct directory {
    uint64_t at, n_bytes, n_entries;
} directory;

static prle_status end64_read(directory *d, const prle_archive *archive, uint64_t locator_at)
{
    prle_status st = PRLE_OK;
    uint8_t *locator = NULL, *end = NULL;

    PRLE_TRY_OUT(prle_archive_take(archive, locator_at, END64_LOCATOR_BYTES, &locator));
    if (!is(locator, 6, 7)) /* the numbers are what they are, with all bits set */
        goto out;
    PRLE_TRY_OUT(prle_archive_take(archive, prle_le64(locator + 8), END64_BYTES, &end));
    if (!is(end, 6, 6)) {
        st = BROKEN(archive, "no ZIP64 end record where its locator points");
        goto out;
    }
    *d = (directory){.at = prle_le64(end + 48), .n_bytes = prle_le64(end + 40), .n_entries = prle_le64(end + 32)};
out:
    prle_free(end);
    prle_free(locator);
    return st;
}

/* Where the end record begins in the file's last bytes; -1: there is none. It is the last whose comment ends the file. */
static int64_t end_find(const uint8_t *tail, int64_t n_tail)
{
    for (int64_t at = n_tail - END_BYTES; at >= 0; at--)
        if (is(tail + at, 5, 6) && prle_le16(tail + at + 20) == n_tail - END_BYTES - at)
            return at;
    return -1;
}

static prle_status end_read(directory *d, const prle_archive *archive, const uint8_t *end, uint64_t end_at)
{
    *d = (directory){.at = prle_le32(end + 16), .n_bytes = prle_le32(end + 12), .n_entries = prle_le16(end + 10)};
    if (d->at != UINT32_MAX && d->n_bytes != UINT32_MAX && d->n_entries != UINT16_MAX)
        return PRLE_OK;
    return end_at < END64_LOCATOR_BYTES ? PRLE_OK : end64_read(d, archive, end_at - END64_LOCATOR_BYTES);
}

static prle_status directory_find(directory *d, const prle_archive *archive)
{
    const uint64_t n_tail = archive->n_bytes < END_BYTES + MAX_COMMENT_BYTES ? archive->n_bytes : END_BYTES + MAX_COMMENT_BYTES;
    uint8_t *tail = NULL;

    PRLE_TRY(prle_archive_take(archive, archive->n_bytes - n_tail, n_tail, &tail));
    const int64_t at = end_find(tail, (int64_t)n_tail);
    const prle_status st = at < 0 ? BROKEN(archive, "it has no end record")
                                  : end_read(d, archive, tail + at, archive->n_bytes - n_tail + (uint64_t)at);
    prle_free(tail);
    return st;
}

/* The numbers of a record that did not fit into 32 bits stand in this order in its field of ZIP64. */
static bool wide_numbers(const uint8_t *extra, size_t n_extra, uint64_t *const number[3])
{
    for (size_t at = 0; at + 4 <= n_extra;) {
        const size_t n = prle_le16(extra + at + 2);
        const uint8_t *field = extra + at + 4;
        size_t used = 0;

        if (n > n_extra - at - 4)
            return false;
        for (int i = 0; i < 3 && prle_le16(extra + at) == ZIP64_FIELD; i++) {
            if (*number[i] != UINT32_MAX)
                continue;
            if (used + 8 > n)
                return false;
            *number[i] = prle_le64(field + used);
            used += 8;
        }
        at += 4 + n;
    }
    return true;
}

/* One record of the central directory; *n_bytes is how long it is. */
static prle_status record_read(prle_zip *zip, const prle_archive *archive, const uint8_t *record, size_t room, size_t *n_bytes)
{
    char name[PRLE_ARCHIVE_NAME_BYTES];
    int64_t index = 0;

    if (room < RECORD_BYTES || !is(record, 1, 2))
        return BROKEN(archive, "its directory");
    const size_t n_name = prle_le16(record + 28), n_extra = prle_le16(record + 30), n_comment = prle_le16(record + 32);
    uint64_t size = prle_le32(record + 24), packed = prle_le32(record + 20), header = prle_le32(record + 42);
    *n_bytes = RECORD_BYTES + n_name + n_extra + n_comment;
    if (*n_bytes > room || !wide_numbers(record + RECORD_BYTES + n_name, n_extra, (uint64_t *[]){&size, &packed, &header}))
        return BROKEN(archive, "its directory");
    PRLE_CHECK(n_name < sizeof name && memchr(record + RECORD_BYTES, '\0', n_name) == NULL, PRLE_EFORMAT,
               "%s: an entry with an unfit name of %zu bytes", archive->path, n_name);
    memcpy(name, record + RECORD_BYTES, n_name);
    name[n_name] = '\0';
    const int64_t n = zip->names.list.n;
    PRLE_TRY(prle_names_intern(&zip->names, name, &index));
    PRLE_CHECK(index == n, PRLE_EFORMAT, "%s: has an entry twice", archive->path);
    zip->entry[n] =
        (prle_zip_entry){.header = header,
                         .n_bytes = size,
                         .crc = prle_le32(record + 16),
                         .stored = prle_le16(record + 10) == 0 && packed == size && (prle_le16(record + 8) & ENCRYPTED) == 0};
    return PRLE_OK;
}

prle_status prle_zip_read(prle_zip *zip, const prle_archive *archive)
{
    prle_status st = PRLE_OK;
    uint8_t *records = NULL;
    size_t at = 0, n_bytes = 0;
    directory d = {0};

    PRLE_TRY(directory_find(&d, archive));
    PRLE_TRY_OUT(prle_archive_take(archive, d.at, d.n_bytes, &records));
    if (d.n_entries > d.n_bytes / RECORD_BYTES) {
        st = BROKEN(archive, "more entries than its directory has room for");
        goto out;
    }
    PRLE_TRY_OUT(PRLE_NEW(zip->entry, d.n_entries));
    for (uint64_t i = 0; i < d.n_entries; i++) {
        PRLE_TRY_OUT(record_read(zip, archive, records + at, (size_t)d.n_bytes - at, &n_bytes));
        at += n_bytes;
    }
out:
    prle_free(records);
    return st;
}

prle_status prle_zip_find(prle_zip_entry *entry, const prle_archive *archive)
{
    prle_status st = PRLE_OK;
    uint8_t *header = NULL;

    PRLE_CHECK(
        entry->stored, PRLE_ENOTSUP,
        "%s: its entries are compressed or encrypted, which torch.save does not do; unpack it and pack it with `zip -0 -r`",
        archive->path);
    PRLE_TRY(prle_archive_take(archive, entry->header, HEADER_BYTES, &header));
    const uint64_t data = entry->header + HEADER_BYTES + prle_le16(header + 26) + prle_le16(header + 28);
    if (!is(header, 3, 4))
        st = BROKEN(archive, "an entry's header is not where the directory says");
    else if (data > archive->n_bytes || entry->n_bytes > archive->n_bytes - data)
        st = BROKEN(archive, "an entry reaches beyond the file");
    else
        entry->data = data;
    prle_free(header);
    return st;
}

void prle_zip_deinit(prle_zip *zip)
{
    prle_names_deinit(&zip->names);
    prle_free(zip->entry);
    *zip = (prle_zip){0};
}
