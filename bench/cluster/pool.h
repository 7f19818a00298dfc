/* mproc's contestants: what they do with a pool, whatever its engine. SPDX-License-Identifier: MIT */
#ifndef BENCH_CLUSTER_POOL_H
#define BENCH_CLUSTER_POOL_H

#include <mproc.h>

/* Waits until the pool has seen a machine with all workers. Returns 0 or a negative error. */
int pool_wait_for_workers(mproc_pool *pool);

/* Runs `map`, which is prepared. Returns seconds, or -1 if it failed or has a wrong result. */
double pool_run_map(mproc_pool *pool);

/* Runs one task of nothing after another. Returns as above. */
double pool_run_trips(mproc_pool *pool, unsigned count);

#endif
