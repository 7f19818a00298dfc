/* Who takes part. SPDX-License-Identifier: MIT */
#ifndef BENCH_QUEUE_CONTESTANTS_H
#define BENCH_QUEUE_CONTESTANTS_H

#include "../bench.h"
#include "run.h"

struct contestant {
    const char *name;
    enum bench_kind kind;
    bool (*takes_part)(const struct load *load); /* NULL: always */
    const struct channel *channel;               /* or: */
    const char *command;                         /* a program that measures itself; or: */
    int (*run)(const struct load *load, struct finding *finding);
};

extern const struct contestant contestants[];
extern const int contestants_count;

/* Says which peers were not there when the benchmark was built. */
void contestants_print_missing(void);

#endif
