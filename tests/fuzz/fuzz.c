/* fuzz.c - see fuzz.h. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "tests/fuzz/edit.h"

static void broken(const char *what)
{
    fprintf(stderr, "fuzz: %s: %s\n", what, prle_error_message());
    abort();
}

static char path[48];

static void file_remove(void) { unlink(path); }

const char *fuzz_file(const uint8_t *bytes, size_t n_bytes)
{
    if (path[0] == '\0') {
        snprintf(path, sizeof path, "/dev/shm/prle_fuzz_%d.h5", (int)getpid());
        atexit(file_remove);
    }
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, n_bytes, file) != n_bytes || fclose(file) != 0)
        broken("cannot make the file");
    return path;
}

const char *fuzz_h5_file(const uint8_t *bytes, size_t n_bytes, prle_status (*seed)(const char *path))
{
    const char *file = fuzz_file(bytes, n_bytes);

    if (n_bytes >= 4 && memcmp(bytes, "\x89HDF", 4) == 0)
        return file;
    if (fuzz_edit(file, bytes, n_bytes, seed) != PRLE_OK)
        broken("cannot edit the file");
    return file;
}

void fuzz_check(prle_status st, const char *name)
{
    const char *message = prle_error_message();

    if (st == PRLE_OK)
        return;
    if (st != PRLE_EFORMAT && st != PRLE_ESHAPE && st != PRLE_ENUMERIC && st != PRLE_ENOTSUP)
        broken(prle_status_name(st));
    if (strstr(message, name) == NULL || strchr(message, '\n') != NULL)
        broken("the message is not one line that names the file");
}

int fuzz_end(prle_status st, int64_t live, const char *name)
{
    fuzz_check(st, name);
    if (prle_alloc_live() != live)
        broken("blocks are still held");
    prle_error_clear();
    return 0;
}
