/* What the conformance suites share: BACKEND, some tasks, opening a pool. SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include "harness.h"

#include <mproc.h>

#define IS_PROCESSES (BACKEND == MPROC_PROCESSES)

static int square(const int *number, int64_t *result)
{
    *result = (int64_t)*number * *number;
    return 0;
}
MPROC_TASK(square, int, int64_t);

static int fail_if_odd(const int *number, int *result)
{
    if (*number % 2)
        return mproc_task_fail(*number, "%d is odd", *number);
    *result = *number;
    return 0;
}
MPROC_TASK(fail_if_odd);

static int wait_ms(const int *milliseconds, int *result)
{
    harness_sleep_ms(*milliseconds);
    *result = *milliseconds;
    return 0;
}
MPROC_TASK(wait_ms);

static inline mproc_pool *open_pool(int workers)
{
    mproc_pool *pool;
    assert_int_equal(mproc_pool_open(&pool, .backend = BACKEND, .workers = workers), 0);
    return pool;
}

#endif
