/* A pool of processes as fast as one can be that knows nothing of crashes. SPDX-License-Identifier: MIT
 *
 * The limit for mproc's. Tasks run in its workers only; input and output lie in memory of blind_memory. Should a worker
 * die, whoever waits does so for ever.
 */
#ifndef BENCH_BLIND_POOL_H
#define BENCH_BLIND_POOL_H

#include <stddef.h>

struct blind_pool;
typedef int blind_task(const void *in, void *out);

enum blind_claims {
    BLIND_ADAPT, /* from one task on, doubled until a claim takes about 20 us */
    BLIND_ONE,   /* one task a claim */
    BLIND_GUIDED /* a share of what is left */
};

/* Memory that pools share which are opened later; zeroed. NULL: none left. */
void *blind_memory(size_t size);
void blind_memory_free(void *memory, size_t size);

/* NULL: no memory or no processes left. */
struct blind_pool *blind_pool_open(int workers);
void blind_pool_map(struct blind_pool *pool, blind_task *task, const void *in, size_t in_size, void *out,
                    size_t out_size, size_t n, enum blind_claims claims);
void blind_pool_close(struct blind_pool *pool);

#endif
