/* Rounds, medians, a table. SPDX-License-Identifier: MIT
 *
 * A benchmark has contestants that do the same work. Each round runs all of them, one after the other, so that a
 * disturbance of the machine hits all alike, and ratios are taken within a round.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>

enum { BENCH_CONTESTANTS_MAX = 8, BENCH_ROUNDS_MAX = 101 };

struct bench_contestant {
    const char *name;
    double (*run)(void *argument); /* returns seconds; negative: it failed or its result was wrong */
    void *argument;
};

/* Monotonic seconds. */
double bench_now(void);

/* Sorts values in ascending order. */
void bench_sort(double *values, int count);

/* The value that `share` of the sorted values are below. */
double bench_quantile(const double *sorted, int count, double share);

/* Runs `rounds` rounds and prints for each contestant the median time, divided by `per` and in `unit` (the unit's size
 * in seconds is `scale`), its quartiles, and the median of its ratios to the first contestant. Returns main's result.
 */
int bench_run(const char *title, const struct bench_contestant *contestants, int count, int rounds, double per,
              const char *unit, double scale);

#endif
