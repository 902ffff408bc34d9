/* file.c - see file.h. Every system call that can fail asks prle_io_fails first, so that tests can fail each one in turn. */
#include "core/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/log.h"

enum { MAX_IO_BYTES = 1 << 30, MAX_OPEN_FOLDERS = 16, LOCK_POLL_MS = 50 };

static atomic_int_fast64_t n_calls, fail_at;

void prle_io_fail_at(int64_t nth) { atomic_store(&fail_at, nth); }
int64_t prle_io_count(void) { return atomic_load(&n_calls); }

bool prle_io_fails(void)
{
    atomic_fetch_add(&n_calls, 1);
    if (atomic_load(&fail_at) == 0 || atomic_fetch_sub(&fail_at, 1) != 1)
        return false;
    errno = EIO;
    return true;
}

const char *prle_io_reason(int error)
{
    static _Thread_local char text[128];
    const bool full = error == ENOSPC || error == EDQUOT;

    snprintf(text, sizeof text, "%s%s", strerror(error), full ? ": free some, then run again" : "");
    return text;
}

#define FAIL_ERRNO(path, what) PRLE_FAIL(PRLE_EIO, "%s: cannot %s: %s", (path), (what), prle_io_reason(errno))

static prle_status write_all(int fd, const char *path, const uint8_t *bytes, size_t n_bytes)
{
    while (n_bytes > 0) {
        const ssize_t n = prle_io_fails() ? -1 : write(fd, bytes, n_bytes < MAX_IO_BYTES ? n_bytes : MAX_IO_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return FAIL_ERRNO(path, "write");
        bytes += n;
        n_bytes -= (size_t)n;
    }
    return PRLE_OK;
}

static prle_status open_fd(const char *path, int flags, const char *what, int *fd)
{
    const int opened = prle_io_fails() ? -1 : open(path, flags | O_CLOEXEC, 0666);

    if (opened < 0)
        return FAIL_ERRNO(path, what);
    *fd = opened;
    return PRLE_OK;
}

/* A write error may come as late as close, on network file systems. */
static prle_status close_fd(int *fd, const char *path)
{
    const int rc = close(*fd);

    *fd = -1;
    if (rc != 0 || prle_io_fails())
        return FAIL_ERRNO(path, "close");
    return PRLE_OK;
}

/* *info is of the open file, so nobody can swap it in between. */
static prle_status open_regular(const char *path, int *fd, struct stat *info)
{
    prle_status st = PRLE_OK;
    int opened = -1;

    PRLE_TRY(open_fd(path, O_RDONLY | O_NONBLOCK, "open", &opened)); /* a pipe must not hang us */
    if (prle_io_fails() || fstat(opened, info) != 0) {
        st = FAIL_ERRNO(path, "stat");
        goto out;
    }
    PRLE_CHECK_OUT(S_ISREG(info->st_mode), PRLE_EIO, "%s: not a regular file", path);
    *fd = opened;
    opened = -1;
out:
    prle_file_close(opened);
    return st;
}

prle_status prle_file_open(const char *path, int *fd)
{
    struct stat info;

    return open_regular(path, fd, &info);
}

void prle_file_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

static prle_status lock_wait(int fd, const char *path, int how, double wait_s)
{
    const struct timespec pause = {.tv_nsec = LOCK_POLL_MS * 1000000L};
    const int tries = (int)(wait_s * 1000 / LOCK_POLL_MS) + 1;

    for (int i = 0; i < tries; i++) {
        if (flock(fd, how | LOCK_NB) == 0)
            return PRLE_OK;
        if (errno != EWOULDBLOCK && errno != EINTR) {
            prle_log(PRLE_LOG_WARN, "core", "%s: cannot lock (%s): do not start two runs there", path, strerror(errno));
            return PRLE_OK;
        }
        nanosleep(&pause, NULL);
    }
    return PRLE_FAIL(PRLE_EIO, "%.*s: another run works there (it held its lock for %g s): wait for its end or stop it",
                     (int)(prle_path_name(path) - path), path, wait_s);
}

prle_status prle_file_lock(const char *path, bool shared, double wait_s, int *fd)
{
    prle_status st = PRLE_OK;
    int opened = -1;

    PRLE_TRY(open_fd(path, O_RDWR | O_CREAT, "open", &opened));
    PRLE_TRY_OUT(lock_wait(opened, path, shared ? LOCK_SH : LOCK_EX, wait_s));
    *fd = opened;
    opened = -1;
out:
    prle_file_close(opened);
    return st;
}

prle_status prle_file_read_limited(const char *path, size_t limit_bytes, uint8_t **bytes, size_t *n_bytes)
{
    prle_status st = PRLE_OK;
    struct stat info;
    uint8_t *content = NULL;
    int fd = -1;

    PRLE_TRY(open_regular(path, &fd, &info));
    const size_t size = (size_t)info.st_size;
    PRLE_CHECK_OUT(size <= limit_bytes, PRLE_EFORMAT, "%s: %zu bytes, more than the limit of %zu", path, size, limit_bytes);
    PRLE_TRY_OUT(PRLE_NEW(content, size + 1));
    PRLE_TRY_OUT(prle_file_pread(fd, path, content, size, 0));
    *bytes = content;
    *n_bytes = size;
    content = NULL;
out:
    prle_free(content);
    prle_file_close(fd);
    return st;
}

prle_status prle_file_read_all(const char *path, uint8_t **bytes, size_t *n_bytes)
{
    return prle_file_read_limited(path, SIZE_MAX, bytes, n_bytes);
}

prle_status prle_file_temp_path(const char *path, char **tmp_path)
{
    const char *name = prle_path_name(path);

    PRLE_CHECK(name[0] != '\0', PRLE_EINVAL, "\"%s\": is no name for a file", path);
    return prle_asprintf(tmp_path, "%.*s.%s.tmp.%ld", (int)(name - path), path, name, (long)getpid());
}

static prle_status sync_path(const char *path, int flags)
{
    prle_status st = PRLE_OK;
    int fd = -1;

    PRLE_TRY(open_fd(path, O_RDONLY | flags, "open", &fd));
    /* EINVAL: a file system that has no fsync for folders keeps the order itself. */
    if (prle_io_fails() || (fsync(fd) != 0 && !(errno == EINVAL && (flags & O_DIRECTORY))))
        st = FAIL_ERRNO(path, "fsync");
    prle_file_close(fd);
    return st;
}

static prle_status rename_durably(const char *tmp_path, const char *path)
{
    prle_status st = PRLE_OK;
    char *folder = NULL;

    PRLE_TRY(prle_path_folder(path, &folder));
    if (prle_io_fails() || rename(tmp_path, path) != 0) {
        st = PRLE_FAIL(PRLE_EIO, "%s: cannot rename to %s: %s", tmp_path, path, prle_io_reason(errno));
        goto out;
    }
    PRLE_TRY_OUT(sync_path(folder, O_DIRECTORY));
out:
    prle_free(folder);
    return st;
}

prle_status prle_file_publish(const char *tmp_path, const char *path)
{
    PRLE_TRY(sync_path(tmp_path, 0));
    return rename_durably(tmp_path, path);
}

static prle_status write_pieces(const char *path, const prle_piece *piece, int n_pieces)
{
    prle_status st = PRLE_OK;
    int fd = -1;

    PRLE_TRY(open_fd(path, O_WRONLY | O_CREAT | O_TRUNC, "open", &fd));
    for (int i = 0; i < n_pieces; i++)
        PRLE_TRY_OUT(write_all(fd, path, piece[i].bytes, piece[i].n_bytes));
    if (prle_io_fails() || fsync(fd) != 0) {
        st = FAIL_ERRNO(path, "fsync");
        goto out;
    }
    PRLE_TRY_OUT(close_fd(&fd, path));
out:
    prle_file_close(fd);
    if (st != PRLE_OK)
        unlink(path);
    return st;
}

prle_status prle_file_write(const char *path, const void *bytes, size_t n_bytes)
{
    return write_pieces(path, &(prle_piece){.bytes = bytes, .n_bytes = n_bytes}, 1);
}

prle_status prle_file_write_atomic(const char *path, const void *bytes, size_t n_bytes)
{
    return prle_file_write_pieces_atomic(path, &(prle_piece){.bytes = bytes, .n_bytes = n_bytes}, 1);
}

prle_status prle_file_write_pieces_atomic(const char *path, const prle_piece *piece, int n_pieces)
{
    prle_status st = PRLE_OK;
    char *tmp_path = NULL;

    PRLE_TRY(prle_file_temp_path(path, &tmp_path));
    PRLE_TRY_OUT(write_pieces(tmp_path, piece, n_pieces));
    st = rename_durably(tmp_path, path);
    if (st != PRLE_OK)
        unlink(tmp_path);
out:
    prle_free(tmp_path);
    return st;
}

/* ".NAME.tmp.DIGITS", of any NAME when name is NULL. */
static bool is_stale(const char *entry, const char *name)
{
    const char *dot = strrchr(entry, '.');

    if (entry[0] != '.' || dot == NULL || dot - entry < 5 || memcmp(dot - 4, ".tmp", 4) != 0)
        return false;
    if (dot[1] == '\0' || strspn(dot + 1, "0123456789") != strlen(dot + 1))
        return false;
    const size_t n = (size_t)(dot - 4 - (entry + 1));
    return name == NULL || (strlen(name) == n && memcmp(entry + 1, name, n) == 0);
}

prle_status prle_file_remove_stale(const char *folder, const char *name)
{
    prle_status st = PRLE_OK;
    struct dirent *entry;
    char *path = NULL;

    DIR *stream = prle_io_fails() ? NULL : opendir(folder);
    if (stream == NULL && errno == ENOENT)
        return PRLE_OK;
    if (stream == NULL)
        return FAIL_ERRNO(folder, "list");
    while ((entry = readdir(stream)) != NULL) {
        if (!is_stale(entry->d_name, name))
            continue;
        PRLE_TRY_OUT(prle_path_join(folder, entry->d_name, &path));
        PRLE_TRY_OUT(prle_folder_remove(path)); /* removes files as well */
        prle_free(path);
        path = NULL;
    }
out:
    prle_free(path);
    closedir(stream);
    return st;
}

prle_status prle_file_remove_stale_of(const char *path)
{
    char *folder = NULL;

    PRLE_TRY(prle_path_folder(path, &folder));
    const prle_status st = prle_file_remove_stale(folder, prle_path_name(path));
    prle_free(folder);
    return st;
}

bool prle_file_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0;
}

bool prle_folder_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

prle_status prle_file_stamp(const char *path, uint64_t *n_bytes, int64_t *changed_ns)
{
    struct stat info;

    if (prle_io_fails() || stat(path, &info) != 0)
        return FAIL_ERRNO(path, "stat");
    *n_bytes = (uint64_t)info.st_size;
    *changed_ns = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    return PRLE_OK;
}

prle_status prle_file_size(const char *path, uint64_t *n_bytes)
{
    int64_t changed_ns;

    return prle_file_stamp(path, n_bytes, &changed_ns);
}

prle_status prle_file_remove(const char *path)
{
    if (prle_io_fails() || (unlink(path) != 0 && errno != ENOENT))
        return FAIL_ERRNO(path, "remove");
    return PRLE_OK;
}

prle_status prle_file_keep(const char *path, const char *second)
{
    prle_status st = PRLE_OK;
    char *link_path = NULL;
    bool linked = false;

    if (!prle_file_exists(path))
        return PRLE_OK;
    PRLE_TRY(prle_file_temp_path(second, &link_path));
    PRLE_TRY_OUT(prle_file_remove(link_path));
    linked = link(path, link_path) == 0;
    PRLE_CHECK_OUT(!prle_io_fails() && rename(linked ? link_path : path, second) == 0, PRLE_EIO, "%s: cannot become %s: %s", path,
                   second, strerror(errno));
    if (linked) /* two names of one file: the rename does nothing then */
        PRLE_TRY_OUT(prle_file_remove(link_path));
out:
    prle_free(link_path);
    return st;
}

prle_status prle_file_pread(int fd, const char *path, void *out, size_t n_bytes, uint64_t offset)
{
    uint8_t *p = out;

    PRLE_CHECK(offset <= INT64_MAX && n_bytes <= INT64_MAX - offset, PRLE_EFORMAT, "%s: offset %llu is beyond any file", path,
               (unsigned long long)offset);
    while (n_bytes > 0) {
        const ssize_t n = prle_io_fails() ? -1 : pread(fd, p, n_bytes < MAX_IO_BYTES ? n_bytes : MAX_IO_BYTES, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return FAIL_ERRNO(path, "read");
        PRLE_CHECK(n > 0, PRLE_EFORMAT, "%s: ends at byte %llu, %zu bytes are missing", path, (unsigned long long)offset,
                   n_bytes);
        p += n;
        offset += (uint64_t)n;
        n_bytes -= (size_t)n;
    }
    return PRLE_OK;
}

static prle_status make_one(const char *path)
{
    if (prle_io_fails() || (mkdir(path, 0777) != 0 && !(errno == EEXIST && prle_folder_exists(path))))
        return FAIL_ERRNO(path, "make folder");
    return PRLE_OK;
}

prle_status prle_folder_make(const char *path)
{
    prle_status st = PRLE_OK;
    char *prefix = NULL;

    PRLE_CHECK(path[0] != '\0', PRLE_EINVAL, "folder name is empty");
    PRLE_TRY(prle_strdup(path, &prefix));
    for (char *p = prefix + 1; *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        PRLE_TRY_OUT(make_one(prefix));
        *p = '/';
    }
    PRLE_TRY_OUT(make_one(path));
out:
    prle_free(prefix);
    return st;
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
    if (prle_io_fails() || nftw(path, remove_one, MAX_OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS) != 0)
        return FAIL_ERRNO(path, "remove");
    return PRLE_OK;
}

prle_status prle_folder_list(const char *path, prle_strings *names)
{
    prle_status st = PRLE_OK;
    prle_strings found = {0};

    DIR *stream = prle_io_fails() ? NULL : opendir(path);
    if (stream == NULL)
        return FAIL_ERRNO(path, "list");
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL && errno != 0) {
            st = FAIL_ERRNO(path, "list");
            goto out;
        }
        if (entry == NULL)
            break;
        if (entry->d_name[0] != '.')
            PRLE_TRY_OUT(prle_strings_add(&found, entry->d_name));
    }
    prle_strings_sort(&found);
    PRLE_TRY_OUT(prle_strings_append(names, &found));
out:
    prle_strings_deinit(&found);
    closedir(stream);
    return st;
}

prle_status prle_path_join(const char *a, const char *b, char **out)
{
    const size_t n = strlen(a);

    if (n == 0 || b[0] == '/')
        return prle_strdup(b, out);
    return prle_asprintf(out, "%s%s%s", a, a[n - 1] == '/' ? "" : "/", b);
}

const char *prle_path_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

prle_status prle_path_folder(const char *path, char **out)
{
    const char *name = prle_path_name(path);

    if (name == path)
        return prle_strdup(".", out);
    return prle_asprintf(out, "%.*s", (int)(name - path == 1 ? 1 : name - path - 1), path);
}
