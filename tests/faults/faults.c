/* Preloaded into a process under test: while the file $FAULTS exists, writes to what has "faulty" in its path fail, and
 * reads of it, too, when that file holds an "r". The number in $FAULTS_ERRNO is the error. When it holds an "h" the writes
 * do not return while it exists, as on a disk that hangs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int faulty(int descriptor, int reading) {
    char link[64], path[4096], what = 0;
    const char *control = getenv("FAULTS");
    if (control == NULL || access(control, F_OK) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strstr(path, "faulty") == NULL) return 0;
    FILE *file = fopen(control, "r");
    if (file != NULL) {
        if (fread(&what, 1, 1, file) != 1) what = 0;
        fclose(file);
    }
    if (reading != (what == 'r')) return 0;
    if (what == 'h') {
        while (access(control, F_OK) == 0) usleep(10000);
        return 0;
    }
    errno = atoi(getenv("FAULTS_ERRNO"));
    return 1;
}

#define WRAP(type, name, reading, parameters, ...)                       \
    type name parameters {                                               \
        static type(*real) parameters;                                   \
        if (real == NULL) real = (type(*) parameters)dlsym(RTLD_NEXT, #name); \
        return faulty(descriptor, reading) ? -1 : real(__VA_ARGS__);     \
    }

WRAP(ssize_t, write, 0, (int descriptor, const void *data, size_t size), descriptor, data, size)
WRAP(ssize_t, pwrite, 0, (int descriptor, const void *data, size_t size, off_t at), descriptor, data, size, at)
WRAP(ssize_t, pwrite64, 0, (int descriptor, const void *data, size_t size, off64_t at), descriptor, data, size, at)
WRAP(ssize_t, pread, 1, (int descriptor, void *data, size_t size, off_t at), descriptor, data, size, at)
WRAP(ssize_t, pread64, 1, (int descriptor, void *data, size_t size, off64_t at), descriptor, data, size, at)
