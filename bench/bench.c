/* Rounds, medians, a table. SPDX-License-Identifier: MIT */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

double bench_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

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

static double quantile(const double *values, int count, double share)
{
    static double sorted[BENCH_ROUNDS_MAX];
    for (int i = 0; i < count; i++)
        sorted[i] = values[i];
    bench_sort(sorted, count);
    return bench_quantile(sorted, count, share);
}

int bench_run(const char *title, const struct bench_contestant *contestants, int count, int rounds, double per,
              const char *unit, double scale)
{
    static double seconds[BENCH_CONTESTANTS_MAX][BENCH_ROUNDS_MAX], ratios[BENCH_ROUNDS_MAX];
    for (int round = -1; round < rounds; round++) {
        for (int i = 0; i < count; i++) {
            double took = contestants[i].run(contestants[i].argument);
            if (took < 0) {
                fprintf(stderr, "%s: %s failed or has a wrong result\n", title, contestants[i].name);
                return 1;
            }
            if (round >= 0) /* the first round warms up */
                seconds[i][round] = took;
        }
    }
    printf("%s; median of %d rounds\n", title, rounds);
    printf("  %-36s %12s %23s %8s\n", "", unit, "quartiles", "ratio");
    for (int i = 0; i < count; i++) {
        for (int round = 0; round < rounds; round++)
            ratios[round] = seconds[i][round] / seconds[0][round];
        double factor = 1 / (per * scale);
        printf("  %-36s %12.3f %11.3f %11.3f %8.2f\n", contestants[i].name, quantile(seconds[i], rounds, 0.5) * factor,
               quantile(seconds[i], rounds, 0.25) * factor, quantile(seconds[i], rounds, 0.75) * factor,
               quantile(ratios, rounds, 0.5));
    }
    printf("\n");
    return 0;
}
