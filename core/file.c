/* file.c - see file.h. */
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"

enum { MAX_PATH = 4096, MAX_OPEN_FOLDERS = 16 };

static prle_status open_for(const char *path, int flags, int *fd)
{
    const int opened = open(path, flags | O_CLOEXEC, 0666);

    PRLE_CHECK(opened >= 0, PRLE_EIO, "%s: cannot open: %s", path, strerror(errno));
    *fd = opened;
    return PRLE_OK;
}

static prle_status read_exactly(int fd, const char *path, uint8_t *bytes, size_t n_bytes)
{
    for (size_t at = 0; at < n_bytes;) {
        const ssize_t n = read(fd, bytes + at, n_bytes - at);
        if (n < 0 && errno == EINTR)
            continue;
        PRLE_CHECK(n >= 0, PRLE_EIO, "%s: cannot read: %s", path, strerror(errno));
        PRLE_CHECK(n > 0, PRLE_EIO, "%s: ends after %zu of %zu bytes: it shrank while being read", path, at, n_bytes);
        at += (size_t)n;
    }
    return PRLE_OK;
}

static prle_status write_exactly(int fd, const char *path, const uint8_t *bytes, size_t n_bytes)
{
    for (size_t at = 0; at < n_bytes;) {
        const ssize_t n = write(fd, bytes + at, n_bytes - at);
        if (n < 0 && errno == EINTR)
            continue;
        PRLE_CHECK(n >= 0, PRLE_EIO, "%s: cannot write: %s", path, strerror(errno));
        at += (size_t)n;
    }
    return PRLE_OK;
}

prle_status prle_file_read_all(const char *path, uint8_t **bytes, size_t *n_bytes)
{
    struct stat info;
    uint8_t *content = NULL;
    prle_status st = PRLE_OK;
    int fd = -1;

    PRLE_TRY(open_for(path, O_RDONLY, &fd));
    PRLE_CHECK_OUT(fstat(fd, &info) == 0, PRLE_EIO, "%s: cannot stat: %s", path, strerror(errno));
    PRLE_CHECK_OUT(S_ISREG(info.st_mode), PRLE_EIO, "%s: not a regular file", path);
    PRLE_TRY_OUT(PRLE_NEW(content, (size_t)info.st_size + 1));
    PRLE_TRY_OUT(read_exactly(fd, path, content, (size_t)info.st_size));
    *bytes = content;
    *n_bytes = (size_t)info.st_size;
    content = NULL;
out:
    prle_free(content);
    close(fd);
    return st;
}

static prle_status sync_path(const char *path, int flags)
{
    int fd = -1;

    PRLE_TRY(open_for(path, flags, &fd));
    const int failed = fsync(fd), reason = errno;
    close(fd);
    PRLE_CHECK(failed == 0, PRLE_EIO, "%s: cannot fsync: %s", path, strerror(reason));
    return PRLE_OK;
}

/* The folder that holds `path` into text. */
static prle_status parent_of(const char *path, char text[MAX_PATH])
{
    const char *slash = strrchr(path, '/');
    const size_t n = slash == NULL ? 0 : (size_t)(slash - path);

    PRLE_CHECK(n < MAX_PATH, PRLE_EINVAL, "path of %zu bytes is too long: at most %d", n, MAX_PATH - 1);
    memcpy(text, path, n);
    text[n] = '\0';
    if (n == 0)
        memcpy(text, slash == NULL ? "." : "/", 2);
    return PRLE_OK;
}

static prle_status rename_durably(const char *tmp_path, const char *path)
{
    char parent[MAX_PATH];

    PRLE_TRY(parent_of(path, parent));
    PRLE_CHECK(rename(tmp_path, path) == 0, PRLE_EIO, "%s: cannot rename to %s: %s", tmp_path, path, strerror(errno));
    PRLE_TRY(sync_path(parent, O_RDONLY | O_DIRECTORY));
    return PRLE_OK;
}

prle_status prle_file_publish(const char *tmp_path, const char *path)
{
    PRLE_TRY(sync_path(tmp_path, O_RDONLY));
    return rename_durably(tmp_path, path);
}

/* Some file systems tell of a full disk only here. */
static prle_status close_written(int *fd, const char *path)
{
    const int closing = *fd;

    *fd = -1;
    PRLE_CHECK(close(closing) == 0, PRLE_EIO, "%s: cannot close: %s", path, strerror(errno));
    return PRLE_OK;
}

prle_status prle_file_write(const char *path, const void *bytes, size_t n_bytes)
{
    prle_status st = PRLE_OK;
    int fd = -1;

    PRLE_TRY(open_for(path, O_WRONLY | O_CREAT | O_TRUNC, &fd));
    PRLE_TRY_OUT(write_exactly(fd, path, bytes, n_bytes));
    PRLE_CHECK_OUT(fsync(fd) == 0, PRLE_EIO, "%s: cannot fsync: %s", path, strerror(errno));
    PRLE_TRY_OUT(close_written(&fd, path));
out:
    if (fd >= 0)
        close(fd);
    if (st != PRLE_OK)
        unlink(path);
    return st;
}

prle_status prle_file_write_atomic(const char *path, const void *bytes, size_t n_bytes)
{
    char *tmp_path = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(prle_asprintf(&tmp_path, "%s.tmp.%ld", path, (long)getpid()));
    PRLE_TRY_OUT(prle_file_write(tmp_path, bytes, n_bytes));
    st = rename_durably(tmp_path, path);
    if (st != PRLE_OK)
        unlink(tmp_path);
out:
    prle_free(tmp_path);
    return st;
}

bool prle_file_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0;
}

static prle_status make_one(const char *path)
{
    struct stat info;

    if (mkdir(path, 0777) == 0)
        return PRLE_OK;
    const int reason = errno;
    PRLE_CHECK(reason == EEXIST && stat(path, &info) == 0 && S_ISDIR(info.st_mode), PRLE_EIO, "%s: cannot make folder: %s", path,
               strerror(reason));
    return PRLE_OK;
}

prle_status prle_folder_make(const char *path)
{
    char text[MAX_PATH];
    const size_t n = strlen(path);

    PRLE_CHECK(n > 0 && n < MAX_PATH, PRLE_EINVAL, "folder name of %zu bytes: 1 to %d are allowed", n, MAX_PATH - 1);
    memcpy(text, path, n + 1);
    for (size_t i = 1; i < n; i++) {
        if (text[i] != '/')
            continue;
        text[i] = '\0';
        PRLE_TRY(make_one(text));
        text[i] = '/';
    }
    return make_one(text);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

prle_status prle_folder_remove(const char *path)
{
    struct stat info;

    if (lstat(path, &info) != 0 && errno == ENOENT)
        return PRLE_OK;
    PRLE_CHECK(nftw(path, remove_one, MAX_OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS) == 0, PRLE_EIO, "%s: cannot remove: %s", path,
               strerror(errno));
    return PRLE_OK;
}
