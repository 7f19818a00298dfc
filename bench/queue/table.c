/* A table: a figure of each contestant, and how it compares with the best peer. SPDX-License-Identifier: MIT */
#include "table.h"

#include <stdio.h>
#include <string.h>

static double quantile(const double *values, int rounds, double share)
{
    double sorted[BENCH_ROUNDS_MAX];
    memcpy(sorted, values, (size_t)rounds * sizeof *sorted);
    bench_sort(sorted, rounds);
    return bench_quantile(sorted, rounds, share);
}

static const struct series *find_best(const struct heading *heading, const struct series *series, int count, int rounds)
{
    const struct series *best = NULL;
    double best_median = 0;
    for (int i = 0; i < count; i++) {
        double median = quantile(series[i].values, rounds, 0.5);
        if (series[i].kind != PEER || (best && (median > best_median) != heading->more_is_better))
            continue;
        best = &series[i];
        best_median = median;
    }
    return best;
}

static void print_line(const struct heading *heading, const struct series *series, const struct series *best,
                       int rounds)
{
    double median = quantile(series->values, rounds, 0.5);
    printf("  %-36s %10.3f %10.3f %10.3f", series->name, median * heading->scale,
           quantile(series->values, rounds, 0.25) * heading->scale,
           quantile(series->values, rounds, 0.75) * heading->scale);
    if (heading->other_unit)
        printf(" %10.3f", median * heading->other_scale);
    if (best) {
        double ratios[BENCH_ROUNDS_MAX];
        for (int i = 0; i < rounds; i++)
            ratios[i] = series->values[i] / best->values[i];
        printf(" %10.2f%s", quantile(ratios, rounds, 0.5), series == best ? "  best peer" : "");
    }
    printf("\n");
}

void table_print(const struct heading *heading, const struct series *series, int count, int rounds)
{
    const struct series *best = find_best(heading, series, count, rounds);
    printf("%s; median of %d rounds, %s is better\n", heading->title, rounds,
           heading->more_is_better ? "more" : "less");
    printf("  %-36s %10s %21s", "", heading->unit, "quartiles");
    if (heading->other_unit)
        printf(" %10s", heading->other_unit);
    printf(" %10s\n", best ? "ratio" : "");
    for (int i = 0; i < count; i++)
        print_line(heading, &series[i], best, rounds);
}
