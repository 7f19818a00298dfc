/* What the files of the frame share. SPDX-License-Identifier: MIT */
#ifndef BENCH_FRAME_H
#define BENCH_FRAME_H

#include "../bench.h"

#include <stdbool.h>

/* What the rounds of a row found. */
struct measured {
    const struct bench_row *row;
    const char *title;
    int contestants, rounds;
    double figures[BENCH_CONTESTANTS_MAX][BENCH_ROUNDS_MAX]; /* in the row's unit */
    int runs, repeated, disturbed;                           /* disturbed: kept although others took CPU time */
    double taken_median, taken_most; /* share of the CPU time that others took during the runs that were kept */
};

struct summary {
    double median, lower, upper; /* upper and lower quartile */
};

/* What came of a target. */
struct verdict {
    char text[256];
    double ratio;
    bool is_known; /* somebody to compare with is there */
    bool is_reached;
};

double median_of(const double *values, int count);
struct summary summarise(const double *values, int count);

/* What the contestant costs, if the first one costs 1: more is worse, whatever the unit. 0: the first one is free. */
struct summary cost_of(const struct measured *measured, int contestant);

struct verdict judge(const struct measured *measured, const struct bench_target *target);

void print_measured(const struct measured *measured);

/* Without jansson these do nothing but say so. */
void json_add(const struct measured *measured, const char *program);
int json_write(const char *path);

/* How much CPU time was taken, by other programs or the hypervisor, between the two calls: as a share of what all CPUs
 * have. */
void noise_begin(void);
double noise_end(void);

double program_run(struct bench_program *program, const char *load);
void programs_end(void);

#endif
