/* mproc's cluster on MPI: a program of its own, for mpirun. SPDX-License-Identifier: MIT
 *
 * It is not linked with MPI: mproc's engine is, and ranks other than 0 do not come back from mproc_init. */
#include "pool.h"
#include "told.h"

#include <stdio.h>
#include <stdlib.h>

static mproc_pool *pool;

static double run_map(const struct mpi_farm_shape *unused)
{
    (void)unused;
    return pool_run_map(pool);
}

static double run_trips(unsigned count, const struct mpi_farm_shape *unused)
{
    (void)unused;
    return pool_run_trips(pool, count);
}

int main(int argc, char **argv)
{
    struct mproc_error error = { .message = "" };
    setenv("MPROC_ENGINE_PATH", BENCH_ENGINES, 0);
    int err = mproc_init(&argc, &argv);
    if (!err)
        err = mproc_pool_open(&pool, .cluster = "mpi:", .error = &error);
    if (!err)
        err = pool_wait_for_workers(pool);
    if (err) {
        fprintf(stderr, "%s: %s\n", argv[0], error.message[0] ? error.message : mproc_strerror(err));
        return 1;
    }
    int result = told_answer(&(struct told) { run_map, run_trips });
    mproc_pool_close(pool);
    return result;
}
