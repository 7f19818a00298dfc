/* Contestants on MPI: programs whose rank 0 is told on its standard input what to do, in lines, and answers each with
 * the seconds that it took, or with -1 if something failed or was wrong. SPDX-License-Identifier: MIT
 *
 *     small|large|trips N ITERATIONS BATCH WINDOW REST REST
 *
 * A map of N tasks, or N times one small task: of so many iterations, and in that shape if it is the bare farm's.
 */
#ifndef BENCH_CLUSTER_TOLD_H
#define BENCH_CLUSTER_TOLD_H

#include "../pools/mpi_farm.h"

struct told {
    double (*run_map)(const struct mpi_farm_shape *shape); /* `map`, which is prepared; it checks */
    double (*run_trips)(unsigned count, const struct mpi_farm_shape *shape);
};

/* Until there are no more lines. Returns main's result. */
int told_answer(const struct told *told);

/* Makes a line. */
const char *told_line(const char *what, size_t n, unsigned iterations, const struct mpi_farm_shape *shape);

#endif
