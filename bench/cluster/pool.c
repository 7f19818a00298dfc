/* mproc's contestants. SPDX-License-Identifier: MIT */
#include "pool.h"

#include "../bench.h"
#include "../tasks.h"
#include "map.h"

#include <errno.h>

enum { PATIENCE = 10 };

static int spin_small(const struct small *in, uint64_t *out)
{
    return map_do_small(in, out);
}
MPROC_TASK(spin_small);

static int spin_large(const struct large *in, uint64_t *out)
{
    return map_do_large(in, out);
}
MPROC_TASK(spin_large);

int pool_wait_for_workers(mproc_pool *pool)
{
    struct mproc_machine_statistics machine = { .workers = 0 };
    for (double end = bench_now() + PATIENCE; machine.workers < TASKS_WORKERS; bench_pause(10000000))
        if (mproc_pool_machines(pool, &machine, 1) < 0 || bench_now() > end)
            return -ETIMEDOUT;
    return 0;
}

double pool_run_map(mproc_pool *pool)
{
    double start = bench_now();
    int result = map.is_large ? mproc_map(pool, spin_large, map.large, map.out, map.n)
                              : mproc_map(pool, spin_small, map.small, map.out, map.n);
    double took = bench_now() - start;
    return result == 0 && map_check() ? took : -1;
}

double pool_run_trips(mproc_pool *pool, unsigned count)
{
    double start = bench_now();
    for (uint32_t i = 0; i < count; i++) {
        struct small in = { 0, i };
        uint64_t out = 0;
        if (mproc_apply(pool, spin_small, &in, &out) != 0 || out != 1 + i)
            return -1;
    }
    return bench_now() - start;
}
