/* Running a load over a channel, in processes of its own. SPDX-License-Identifier: MIT */
#ifndef BENCH_QUEUE_RUN_H
#define BENCH_QUEUE_RUN_H

#include "channel.h"

enum { RUN_FAILED = -1, RUN_UNAVAILABLE = -2 };

/* What one run found: of a stream its seconds, of round trips the median and the 99th percentile, in seconds. */
struct finding {
    double first, second;
    const char *reason; /* why it is not available */
    int bound;          /* messages that it holds, if they are fewer than asked for; otherwise 0 */
};

/* Returns 0, RUN_UNAVAILABLE (the channel cannot carry such a load here), or RUN_FAILED: an error or a wrong result. */
int run_channel(const struct channel *channel, const struct load *load, struct finding *finding);

/* The same for a program that measures itself and prints its findings. Its arguments are "stream" or "trips",
 * producers, consumers, size, bound, count and pause. */
int run_program(const char *command, const struct load *load, struct finding *finding);

#endif
