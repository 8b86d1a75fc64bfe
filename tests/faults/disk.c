/* A disk that can fill up and lose power, for the files below $LAB_DISK of any process (LD_PRELOAD).
 *
 * Every write first saves what it overwrites in $LAB_DISK/.undo; a sync marks it as safe. After the process was killed,
 * tests/faults/disk.py takes back what was never synced. While $LAB_DISK/.full exists, writes end with ENOSPC.
 * SQLite's -shm is shared memory, not data: it is left alone, and rebuilt after a power cut.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

struct record { char what; uint32_t path; int64_t at, old, size; };

static const char *disk(void) { return getenv("LAB_DISK"); }

static int ours(int fd, char *path, size_t room) {
    const char *root = disk();
    char link[64];
    if (!root) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, room - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    size_t k = strlen(root);
    if (strncmp(path, root, k) || path[k] != '/' || path[k + 1] == '.') return 0;
    return !(n > 4 && !strcmp(path + n - 4, "-shm"));
}

static void note(char what, const char *path, int64_t at, const void *old, int64_t count, int64_t size) {
    char name[4096];
    snprintf(name, sizeof name, "%s/.undo", disk());
    int fd = open(name, O_CREAT | O_WRONLY | O_APPEND, 0600);
    if (fd < 0) abort();
    struct record head = {what, (uint32_t)strlen(path), at, count, size};
    size_t all = sizeof head + head.path + (size_t)count;
    char *line = malloc(all);
    memcpy(line, &head, sizeof head);
    memcpy(line + sizeof head, path, head.path);
    if (count) memcpy(line + sizeof head + head.path, old, (size_t)count);
    if (syscall(SYS_write, fd, line, all) != (ssize_t)all) abort();
    free(line);
    close(fd);
}

static int full(void) {
    char name[4096];
    snprintf(name, sizeof name, "%s/.full", disk());
    return access(name, F_OK) == 0;
}

/* 0: go on; -1: refused, errno is set. */
static int before(int fd, size_t count, off_t at) {
    char path[4096];
    struct stat now;
    if (!ours(fd, path, sizeof path)) return 0;
    if (full()) { errno = ENOSPC; return -1; }
    if (fstat(fd, &now) || !S_ISREG(now.st_mode)) return 0;
    char *old = malloc(count ? count : 1);
    /* On this descriptor: to open the file anew and close it would give up SQLite's locks on it. */
    ssize_t n = pread(fd, old, count, at);
    note('w', path, at, old, n < 0 ? 0 : n, now.st_size);
    free(old);
    return 0;
}

static void after_sync(int fd) {
    char path[4096];
    if (ours(fd, path, sizeof path)) note('s', path, 0, NULL, 0, 0);
}

ssize_t pwrite64(int fd, const void *data, size_t count, off64_t at) {
    if (before(fd, count, at)) return -1;
    return syscall(SYS_pwrite64, fd, data, count, at);
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t at) { return pwrite64(fd, data, count, at); }

ssize_t write(int fd, const void *data, size_t count) {
    off_t at = lseek(fd, 0, SEEK_CUR);
    if (at >= 0 && before(fd, count, fcntl(fd, F_GETFL) & O_APPEND ? lseek(fd, 0, SEEK_END) : at)) return -1;
    return syscall(SYS_write, fd, data, count);
}

int ftruncate64(int fd, off64_t size) {
    char path[4096];
    struct stat now;
    if (ours(fd, path, sizeof path) && !fstat(fd, &now) && now.st_size > size) {
        size_t count = (size_t)(now.st_size - size);
        char *old = malloc(count);
        ssize_t n = pread(fd, old, count, size);
        note('w', path, size, old, n < 0 ? 0 : n, now.st_size);
        free(old);
    }
    return (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int fsync(int fd) {
    int result = (int)syscall(SYS_fsync, fd);
    if (!result) after_sync(fd);
    return result;
}

int fdatasync(int fd) {
    int result = (int)syscall(SYS_fdatasync, fd);
    if (!result) after_sync(fd);
    return result;
}
