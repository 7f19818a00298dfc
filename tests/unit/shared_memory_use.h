/* What the suites of named shared memory share. SPDX-License-Identifier: MIT */
#ifndef SHARED_MEMORY_USE_H
#define SHARED_MEMORY_USE_H

#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <mproc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 10000 }; /* no whole number of pages */

/* This test's name, which no test that runs at the same time has. */
static inline const char *own_name(void)
{
    static char name[64];
    snprintf(name, sizeof name, "mproc-test-%d", (int)getpid());
    return name;
}

static inline mproc_shared_memory *create(const char *name, size_t size)
{
    mproc_shared_memory *memory = NULL;
    assert_int_equal(mproc_shared_memory_create(&memory, name, size), 0);
    return memory;
}

static inline mproc_shared_memory *attach(const char *name)
{
    mproc_shared_memory *memory = NULL;
    assert_int_equal(mproc_shared_memory_attach(&memory, name), 0);
    return memory;
}

static inline _Atomic int *number_in(mproc_shared_memory *memory)
{
    return mproc_shared_memory_address(memory);
}

static inline void close_and_unlink(mproc_shared_memory *memory)
{
    assert_int_equal(mproc_shared_memory_unlink(mproc_shared_memory_name(memory)), 0);
    assert_int_equal(mproc_shared_memory_close(memory), 0);
}

static inline int path_in_folder(const char *name, char path[300])
{
    return snprintf(path, 300, "/dev/shm/%s", name);
}

static inline int wait_for_child(void)
{
    int status;
    wait(&status);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#endif
