/* A table: a figure of each contestant, and how it compares with the best peer. SPDX-License-Identifier: MIT */
#ifndef BENCH_QUEUE_TABLE_H
#define BENCH_QUEUE_TABLE_H

#include "../bench.h"
#include "contestants.h"

struct series {
    const char *name;
    enum kind kind;
    double values[BENCH_ROUNDS_MAX]; /* one of each round */
};

struct heading {
    const char *title;
    const char *unit;
    double scale;           /* figures are multiplied by it */
    const char *other_unit; /* of a column with the same in another unit; may be NULL */
    double other_scale;
    bool more_is_better;
};

/* Ratios are taken within a round, to the peer with the best median. */
void table_print(const struct heading *heading, const struct series *series, int count, int rounds);

#endif
