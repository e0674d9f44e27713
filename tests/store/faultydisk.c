/* A disk that fails: preloaded (LD_PRELOAD) into a process, it counts the writes, truncations and syncs of files whose
 * name has DAF_DISK in it, and fails or dies at those that a shared page tells it to. The page is the file DAF_PAGE:
 *
 *   0  calls    so far
 *   1  error    errno of calls that fail; 0: none does
 *   2  from     the first call that fails
 *   3  until    the first that works again
 *   4  die      the call at which the process is killed
 *   5  half     then half of its bytes are written first
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile long *page;
static const char *part;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("DAF_PAGE");
    part = getenv("DAF_DISK");
    int fd = name && part ? open(name, O_RDWR) : -1;
    if (fd >= 0) {
        page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
    }
}

/* 0: go on, -1: fail with errno set; does not return when it is time to die, after writing what it was given. */
static int passes(int fd, const void *data, size_t size, off64_t at) {
    char link[64], path[4096];
    if (!page || page == MAP_FAILED) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    if (!strstr(path, part)) return 0;
    long call = ++page[0];
    if (call == page[4]) {
        ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
        if (page[5] && data && real(fd, data, size / 2, at) < 0) perror("half a write");
        kill(getpid(), SIGKILL);
    }
    if (page[1] && call >= page[2] && call < page[3]) {
        errno = (int)page[1];
        return -1;
    }
    return 0;
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, name)

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    return passes(fd, data, size, at) ? -1 : real(fd, data, size, at);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    return passes(fd, data, size, at) ? -1 : real(fd, data, size, at);
}
int ftruncate64(int fd, off64_t size) {
    REAL(int, "ftruncate64", int, off64_t);
    return passes(fd, 0, 0, 0) ? -1 : real(fd, size);
}
int ftruncate(int fd, off_t size) {
    REAL(int, "ftruncate", int, off_t);
    return passes(fd, 0, 0, 0) ? -1 : real(fd, size);
}
int fsync(int fd) {
    REAL(int, "fsync", int);
    return passes(fd, 0, 0, 0) ? -1 : real(fd);
}
int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    return passes(fd, 0, 0, 0) ? -1 : real(fd);
}
