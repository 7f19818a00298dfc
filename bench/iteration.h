/* What an iteration of task_spin takes here. SPDX-License-Identifier: MIT */
#ifndef BENCH_ITERATION_H
#define BENCH_ITERATION_H

#include "bench.h"
#include "tasks.h"

/* In seconds. The least of many, as whatever disturbs makes it longer. */
static inline double time_an_iteration(void)
{
    const uint32_t iterations = 1000000;
    double least = 1;
    uint64_t result = 0;
    for (int i = 0; i < 20; i++) {
        double start = bench_now();
        task_spin(&iterations, &result);
        double took = bench_now() - start;
        least = took < least ? took : least;
    }
    return least / iterations;
}

#endif
