/* Medians, quartiles, ratios. SPDX-License-Identifier: MIT */
#include "frame.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

void bench_sort(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
}

double bench_quantile(const double *sorted, int count, double share)
{
    return sorted[(int)(share * (count - 1) + 0.5)];
}

struct summary summarise(const double *values, int count)
{
    double sorted[BENCH_ROUNDS_MAX];
    memcpy(sorted, values, (size_t)count * sizeof *sorted);
    bench_sort(sorted, count);
    return (struct summary) { bench_quantile(sorted, count, 0.5), bench_quantile(sorted, count, 0.25),
                              bench_quantile(sorted, count, 0.75) };
}

double median_of(const double *values, int count)
{
    return summarise(values, count).median;
}

struct summary cost_of(const struct measured *measured, int contestant)
{
    double costs[BENCH_ROUNDS_MAX];
    for (int round = 0; round < measured->rounds; round++) {
        double ours = measured->figures[0][round], its = measured->figures[contestant][round];
        double cost = measured->row->more_is_better ? ours / its : its / ours;
        costs[round] = isfinite(cost) ? cost : 0;
    }
    return summarise(costs, measured->rounds);
}
