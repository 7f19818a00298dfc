/* A farm on Redis Streams as one writes it by hand, as fast as one can be. SPDX-License-Identifier: MIT
 *
 * The limit for a cluster of mproc's on the same server. One stream of tasks with a consumer group, one of results; two
 * forked workers. It knows no leases, no machines that are lost, no errors, no cancelling, and only fixed shapes:
 * whoever calls it has to know how long its tasks are. Should a worker die, whoever waits does so for ever.
 */
#ifndef BENCH_REDIS_FARM_H
#define BENCH_REDIS_FARM_H

#include <stddef.h>

struct redis_farm;

/* `in` may be at any address. */
typedef void redis_farm_task(const void *in, void *out);

/* What is best depends on how long tasks are. */
struct redis_farm_shape {
    unsigned batch;  /* tasks in an entry */
    unsigned count;  /* entries that a worker takes at a time */
    unsigned window; /* entries that are on their way at most */
};

/* Forks the workers. NULL: no server, no processes left. */
struct redis_farm *redis_farm_open(int port);

/* Returns 0, or -1. */
int redis_farm_map(struct redis_farm *farm, redis_farm_task *task, const void *in, size_t in_size, void *out,
                   size_t out_size, size_t n, const struct redis_farm_shape *shape);

void redis_farm_close(struct redis_farm *farm);

#endif
