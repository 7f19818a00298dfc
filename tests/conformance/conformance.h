/* What the conformance suites share: BACKEND and METHOD, some tasks, opening a pool. SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include "harness.h"

#include <mproc.h>

#ifndef METHOD
#define METHOD MPROC_FORK
#endif

#ifdef CLUSTER_SUITE
#include "cluster.h"
#define CLUSTER_URL cluster_url()
#define CLUSTER_WORKERS CLUSTER_AGENT_WORKERS
#else
#define CLUSTER_WORKERS 0
#define CLUSTER_URL NULL
#endif

#define IS_CLUSTER (BACKEND == MPROC_CLUSTER)
#define IS_PROCESSES (BACKEND == MPROC_PROCESSES || IS_CLUSTER)
#define IS_SERIAL (BACKEND == MPROC_SERIAL)

/* As HARNESS_MAIN, with mproc_init where the start method needs it. */
#define CONFORMANCE_MAIN(tests)                                                                                        \
    int main(int argc, char **argv)                                                                                    \
    {                                                                                                                  \
        if (argc == 3 && (METHOD != MPROC_FORK || IS_CLUSTER) && mproc_init(&argc, &argv) != 0)                        \
            return 1;                                                                                                  \
        return harness_main(argc, argv, tests, sizeof(tests) / sizeof(tests)[0], HARNESS_SECONDS);                     \
    }

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

static inline mproc_pool *open_with(struct mproc_pool_open_arguments arguments)
{
    mproc_pool *pool;
    struct mproc_error error;
    arguments.size = sizeof arguments;
    arguments.pool = &pool;
    arguments.backend = BACKEND;
    arguments.method = METHOD;
    arguments.cluster = CLUSTER_URL;
    arguments.error = &error;
    if (mproc_pool_open_with(&arguments) != 0)
        fail_msg("%s", error.message);
    return pool;
}

/* OPEN(.workers = 2, ...): a pool of the suite's backend. */
#define OPEN(...) open_with((struct mproc_pool_open_arguments) { __VA_ARGS__ })

static inline mproc_pool *open_pool(int workers)
{
    return OPEN(.workers = workers);
}

#endif
