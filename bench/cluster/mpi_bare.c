/* The bare farm on MPI: a program of its own, for mpirun. SPDX-License-Identifier: MIT */
#include "../bench.h"
#include "map.h"
#include "told.h"

enum { SMALL, LARGE };

static const struct mpi_farm_task tasks[MPI_FARM_TASKS] = {
    [SMALL] = { map_do_small_at, sizeof(struct small), sizeof(uint64_t) },
    [LARGE] = { map_do_large_at, sizeof(struct large), sizeof(uint64_t) },
};

static double run_map(const struct mpi_farm_shape *shape)
{
    mpi_farm_wake(map.n, shape);
    double start = bench_now();
    int result = map.is_large ? mpi_farm_map(LARGE, map.large, map.out, map.n, shape)
                              : mpi_farm_map(SMALL, map.small, map.out, map.n, shape);
    double took = bench_now() - start;
    mpi_farm_rest();
    return result == 0 && map_check() ? took : -1;
}

static double run_trips(unsigned count, const struct mpi_farm_shape *shape)
{
    bool is_right = true;
    mpi_farm_wake(1, shape);
    double start = bench_now();
    for (uint32_t i = 0; i < count && is_right; i++) {
        struct small in = { 0, i };
        uint64_t out = 0;
        is_right = mpi_farm_map(SMALL, &in, &out, 1, shape) == 0 && out == 1 + i;
    }
    double took = bench_now() - start;
    mpi_farm_rest();
    return is_right ? took : -1;
}

int main(void)
{
    mpi_farm_begin(tasks);
    int result = told_answer(&(struct told) { run_map, run_trips });
    mpi_farm_end();
    return result;
}
