/* Rows of a table: contestants that do the same work, in interleaved rounds. SPDX-License-Identifier: MIT
 *
 *     int main(int argc, char **argv)
 *     {
 *         bench_begin(argc, argv);
 *         bench_row(&(struct bench_row) {
 *             .title = "map of 1,000,000 empty tasks", .unit = "ns a task", .scale = 1e-9, .per = 1000000,
 *             .contestants = { { "mproc", BENCH_OURS, run_mproc, .argument = pool },
 *                              { "a pool that knows no crashes", BENCH_LIMIT, run_limit, .argument = NULL },
 *                              { "TBB", BENCH_PEER, .program = &bench_tbb, .load = "empty 1000000 auto" } },
 *             .targets = { { "mproc", BENCH_AT_MOST_TIMES, 1.3, { "a pool that knows no crashes" } } },
 *         });
 *         return bench_end();
 *     }
 *
 * Each round runs all contestants, one after the other, so that a disturbance of the machine hits all alike, and ratios
 * are taken within a round. A run during which other programs took CPU time is repeated at once.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>

enum { BENCH_CONTESTANTS_MAX = 24, BENCH_TARGETS_MAX = 12, BENCH_OTHERS_MAX = 8, BENCH_ROUNDS_MAX = 101 };

enum bench_kind { BENCH_OURS, BENCH_PEER, BENCH_LIMIT };

/* A contestant in a program of its own, which is told on its standard input what to do: see peers/peer.h,
 * cluster/told.h. */
struct bench_program;
extern struct bench_program bench_libgomp, bench_libomp, bench_tbb, bench_python, bench_mpi_mproc, bench_mpi_farm;

struct bench_contestant {
    const char *name;
    enum bench_kind kind;
    double (*run)(void *argument); /* returns seconds, or what else is measured; negative: failed, or a wrong result */
    void *argument;
    struct bench_program *program; /* instead of run; a program that was not built is left out, and named */
    const char *load;              /* what to tell it */
    double per;                    /* instead of the row's; 0: the row's */
};

enum bench_bound {
    BENCH_AT_MOST_TIMES, /* at most `factor` times the best of `others` */
    BENCH_AT_LEAST_OF,   /* at least `factor` of the best of `others`; for rows of which more is better */
    BENCH_TIMES_LESS,    /* at least `factor` times less than the best of `others` */
    BENCH_AT_MOST,       /* the figure itself is at most `factor` */
    BENCH_AT_LEAST,      /* the figure itself is at least `factor` */
    BENCH_FLAT           /* of the median ratios to `who` the highest is at most `factor` times the lowest */
};

struct bench_target {
    const char *who; /* a contestant's name */
    enum bench_bound bound;
    double factor;
    const char *others[BENCH_OTHERS_MAX]; /* contestants' names; those that are missing don't count */
};

/* Figures are what run returned, divided by `per` and `scale`; or, where more is better, `per` divided by that and by
 * `scale`. 0 stands for 1. */
struct bench_row {
    const char *title;
    const char *group; /* rows of a group are drawn together; default: the program's name */
    const char *unit;
    double scale, per;
    bool more_is_better;
    const char *also_title; /* runs call bench_also, programs need not: a second row, of the same scale */
    const char *also_unit;  /* default: the row's */
    double also_per;        /* 0: the row's */
    int rounds;             /* at most; default: as many as fit the time */
    struct bench_contestant contestants[BENCH_CONTESTANTS_MAX]; /* of kind BENCH_OURS the first */
    struct bench_target targets[BENCH_TARGETS_MAX];
};

/* Options: --quick, --json FILE, and part of a title, to run such rows only. Ends the program if they are wrong. */
void bench_begin(int argc, char **argv);

/* Whether rows should be short: sizes may depend on it. */
bool bench_quick(void);

/* Whether rows of such a title are to be measured. bench_row asks by itself. */
bool bench_is_wanted(const char *title);

/* Measures, prints, and keeps for the file. */
void bench_row(const struct bench_row *row);

/* Whether it was built. If not, that is said, once; bench_row does so by itself. */
bool bench_program_is_there(struct bench_program *program);

/* For what a run finds besides. */
void bench_also(double value);

/* Something went wrong outside a row: says so, and bench_end returns 1. */
void bench_fail(const char *what);

/* Writes the file. Returns main's result: 0, or 1 if a contestant failed or had a wrong result. Targets that are missed
 * are findings, and no failures. */
int bench_end(void);

/* A string that stays: for .load and .title. */
const char *bench_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Monotonic seconds. */
double bench_now(void);

/* Sleeps, so that what spins for a while falls asleep. */
void bench_pause(long nanoseconds);

/* Sorts values in ascending order. */
void bench_sort(double *values, int count);

/* The value that `share` of the sorted values are below. */
double bench_quantile(const double *sorted, int count, double share);

#endif
