/* Files of a test, in memory, with a path. SPDX-License-Identifier: MIT */
#ifndef SCRATCH_H
#define SCRATCH_H

#include "harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct scratch {
    int fd;
    char path[64]; /* good in other processes too */
};

static inline struct scratch scratch_make(const char *text)
{
    struct scratch file = { .fd = memfd_create("scratch", MFD_CLOEXEC) };
    assert_true(file.fd >= 0);
    snprintf(file.path, sizeof file.path, "/proc/%d/fd/%d", (int)getpid(), file.fd);
    assert_int_equal(write(file.fd, text, strlen(text)), strlen(text));
    return file;
}

/* All of the file, with a NUL behind it. To be freed. */
static inline char *scratch_text(const struct scratch *file)
{
    struct stat status;
    assert_int_equal(fstat(file->fd, &status), 0);
    char *text = calloc(1, (size_t)status.st_size + 1);
    assert_non_null(text);
    assert_int_equal(pread(file->fd, text, (size_t)status.st_size, 0), status.st_size);
    return text;
}

static inline void scratch_assert_text(const struct scratch *file, const char *expected)
{
    char *text = scratch_text(file);
    assert_string_equal(text, expected);
    free(text);
}

/* A descriptor of this process for that file, other than the scratch's own; or -1. */
static inline int scratch_find_other_descriptor(const struct scratch *file)
{
    struct stat wanted, status;
    assert_int_equal(fstat(file->fd, &wanted), 0);
    for (int fd = 0; fd < 256; fd++)
        if (fd != file->fd && fstat(fd, &status) == 0 && status.st_ino == wanted.st_ino &&
            status.st_dev == wanted.st_dev)
            return fd;
    return -1;
}

#endif
