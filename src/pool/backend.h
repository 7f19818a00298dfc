/* What runs a pool's workers. SPDX-License-Identifier: MIT */
#ifndef POOL_BACKEND_H
#define POOL_BACKEND_H

#include <mproc/pool.h>
#include <stdbool.h>

struct pool;

struct backend {
    /* Workers do not see the caller's memory, and can be killed. */
    bool separate_memory;
    /* Starts the workers: fills pool->shared. Returns 0 or an error code, with nothing left behind. */
    int (*start)(struct pool *pool, const struct mproc_pool_open_arguments *arguments);
    /* Ends the workers, with no map in progress, and frees pool->shared. Returns 0 or an error code to pass on. */
    int (*stop)(struct pool *pool);
    /* Ends the workers at once, so that maps in progress break off. Those are still using the pool: stop comes later.
     */
    void (*break_off)(struct pool *pool);
    /* After a map was woken because the supervisor is gone: returns once no worker can write any more, or false if that
     * cannot be said. */
    bool (*workers_gone)(struct pool *pool);
    /* Memory that the workers see. */
    void *(*allocate)(size_t size, bool present);
    void (*free)(void *block);
};

extern const struct backend backend_processes, backend_threads;

/* The default name. */
#define POOL_NAME "mproc"

#endif
