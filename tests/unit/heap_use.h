/* What the suites of the heap share. SPDX-License-Identifier: MIT */
#ifndef HEAP_USE_H
#define HEAP_USE_H

#include "harness.h"

#include <mproc.h>
#include <sys/wait.h>
#include <unistd.h>

static inline size_t in_use(void)
{
    struct mproc_heap_statistics statistics = { .size = sizeof statistics };
    assert_int_equal(mproc_heap_statistics(&statistics), 0);
    return statistics.bytes_in_use;
}

static inline size_t high_water(void)
{
    struct mproc_heap_statistics statistics = { .size = sizeof statistics };
    assert_int_equal(mproc_heap_statistics(&statistics), 0);
    return statistics.high_water;
}

/* Runs a function in a child and returns its wait status. */
static inline int in_child(void (*run)(void *), void *argument)
{
    pid_t pid = fork();
    if (pid == 0) {
        run(argument);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static const size_t sizes[] = { 0,      1,     15,    16,    17,    63,    64,    65,     100,     127,
                                128,    129,   250,   1000,  1024,  1025,  4095,  4096,   5000,    8192,
                                10000,  16384, 20000, 32768, 32769, 65536, 65537, 100000, 1 << 20, (1 << 20) + 1,
                                5 << 20 };
enum { SIZES = sizeof sizes / sizeof *sizes };

#endif
