/* fuzz_archive.c - files of weights from elsewhere: safetensors and PyTorch's; the table, then every tensor that is not large. */
#include "core/alloc.h"
#include "core/archive.h"
#include "tests/fuzz/fuzz.h"

enum { MOST = 1 << 12 }; /* elements; a file may well say that the same number stands there a million times */

static prle_status tensor_use(const prle_archive *archive, int64_t i)
{
    static double values[MOST];
    const bool is_real = prle_stored_is_real(archive->tensor[i].type);
    char shape[192];
    int64_t n;

    PRLE_TRY(prle_archive_count(archive, i, &n));
    if (prle_archive_shape_print(&archive->tensor[i], shape)[0] != '[')
        abort();
    return n <= MOST ? prle_archive_read(archive, i, is_real ? PRLE_STORED_F64 : PRLE_STORED_I64, values) : PRLE_OK;
}

static prle_status use(const char *path)
{
    prle_archive *archive = NULL;

    PRLE_TRY(prle_archive_open(&archive, path));
    for (int64_t i = 0; i < archive->n; i++)
        fuzz_check(tensor_use(archive, i), path);
    const prle_status st = prle_archive_verify(archive);
    prle_archive_close(archive);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    const char *path = fuzz_file(bytes, n_bytes);
    const int64_t live = prle_alloc_live();

    return fuzz_end(use(path), live, path);
}
