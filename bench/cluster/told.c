/* Contestants on MPI: what they are told. SPDX-License-Identifier: MIT */
#include "told.h"

#include "../bench.h"
#include "map.h"

#include <stdio.h>
#include <string.h>

const char *told_line(const char *what, size_t n, unsigned iterations, const struct mpi_farm_shape *shape)
{
    return bench_text("%s %zu %u %u %u %d %d", what, n, iterations, shape->batch, shape->window, shape->caller_rest,
                      shape->worker_rest);
}

static double answer(const struct told *told, const char *line)
{
    char what[16];
    size_t n;
    unsigned iterations;
    struct mpi_farm_shape shape;
    if (sscanf(line, "%15s %zu %u %u %u %d %d", what, &n, &iterations, &shape.batch, &shape.window, &shape.caller_rest,
               &shape.worker_rest) != 7)
        return -1;
    bool is_large = strcmp(what, "large") == 0;
    if (strcmp(what, "trips") == 0)
        return told->run_trips((unsigned)n, &shape);
    if (n > (is_large ? MAP_LARGE_MOST : MAP_SMALL_MOST))
        return -1;
    map_prepare(is_large, n, iterations);
    return told->run_map(&shape);
}

int told_answer(const struct told *told)
{
    char line[256];
    if (!map_allocate())
        return 1;
    while (fgets(line, sizeof line, stdin)) {
        printf("%.9e\n", answer(told, line));
        fflush(stdout);
    }
    map_free();
    return 0;
}
