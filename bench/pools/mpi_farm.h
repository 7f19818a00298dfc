/* A farm on MPI as one writes it by hand, as fast as one can be. SPDX-License-Identifier: MIT
 *
 * The limit for a cluster of mproc's on the same MPI. Rank 0 is the caller, the others work. It knows no errors, no
 * cancelling, no other programs' tasks, and only fixed shapes: whoever calls it has to know how long its tasks are.
 */
#ifndef BENCH_MPI_FARM_H
#define BENCH_MPI_FARM_H

#include <stddef.h>

enum { MPI_FARM_TASKS = 2, MPI_FARM_WORKERS_MOST = 8 };

/* `in` may be at any address. */
struct mpi_farm_task {
    void (*run)(const void *in, void *out);
    size_t in_size, out_size;
};

/* What is best depends on how long tasks are. A rest is what is done while there is no message: so many microseconds of
 * sleep, or one of these; who spins yields now and then, as the other one may have no CPU. */
enum { MPI_FARM_SPIN = -1, MPI_FARM_YIELD = 0 };

struct mpi_farm_shape {
    unsigned batch;  /* tasks in a message */
    unsigned window; /* messages that are on their way to a worker at most */
    int caller_rest, worker_rest;
};

/* Begins, with the same tasks in all ranks. Returns in rank 0 alone; the others work until it ends, and then exit. */
void mpi_farm_begin(const struct mpi_farm_task tasks[MPI_FARM_TASKS]);

/* Has workers be ready for maps of n tasks, and then rest for long at a time. */
void mpi_farm_wake(size_t n, const struct mpi_farm_shape *shape);
void mpi_farm_rest(void);

/* Between the two above. Returns 0, or -1. */
int mpi_farm_map(unsigned task, const void *in, void *out, size_t n, const struct mpi_farm_shape *shape);

void mpi_farm_end(void);

#endif
