/* What runs a pool's items. SPDX-License-Identifier: MIT
 *
 * The calls (src/pool/map.c, future.c, imap.c) know jobs, and this interface; a backend brings who claims their items
 * and ends them. It need not share its memory with the caller, nor even be on its machine: one process that claims
 * items of the jobs on the board (pool/board.h, pool/job.h), has them done wherever it likes, and ends them with their
 * results, is a worker like any other. It then says so by `shares_heap`, and gets bytes instead of addresses.
 */
#ifndef POOL_BACKEND_H
#define POOL_BACKEND_H

#include <mproc/pool.h>
#include <stdbool.h>

struct job;
struct pool;

struct backend {
    /* Workers do not see the caller's memory, but for the shared heap, and can be killed. */
    bool separate_memory;
    /* Workers see the shared heap, so that what lies there need not be copied. */
    bool shares_heap;
    /* Inputs are read by a thread of the caller's process: those of a call that waits are read where they are. */
    bool reads_here;
    /* Starts the workers: fills pool->shared. Returns 0 or an error code, with nothing left behind. */
    int (*start)(struct pool *pool, const struct mproc_pool_open_arguments *arguments);
    /* Ends the workers, with no call in progress; pool->shared stays. Returns 0 or an error code to pass on. */
    int (*stop)(struct pool *pool);
    /* Ends the workers at once, or, where that cannot be, as soon as their items have ended. Afterwards nobody writes
     * to a job any more. stop comes later. */
    void (*break_off)(struct pool *pool);
    /* True if the pool broke: its workers have ended, and nobody starts new ones. */
    bool (*has_broken)(const struct pool *pool);
    /* After that: returns once no worker can write any more, or false if that cannot be said. */
    bool (*workers_gone)(struct pool *pool);
    /* The number of workers that are wanted may have changed, or an item is to be stopped. */
    void (*look)(struct pool *pool);
    /* There is a job that was not there before. May be NULL: workers look at the board. */
    void (*published)(struct pool *pool);
    /* If reads_here: returns once the job's inputs are not read, and will not be any more. */
    void (*leave_inputs)(struct pool *pool, struct job *job);
    /* How many workers there are, and how many of them are idle. May be NULL: the slots say it. */
    void (*count_workers)(const struct pool *pool, int *workers, int *idle);
    /* Says in a sentence why the pool broke. May be NULL: the code says it. */
    void (*explain)(const struct pool *pool, char *text, size_t size);
    /* Memory that the workers see. */
    void *(*allocate)(size_t size);
    void (*free)(void *block);
};

extern const struct backend backend_processes, backend_threads;
extern const struct backend backend_cluster; /* src/cluster/backend.c */

/* The default name. */
#define POOL_NAME "mproc"

#endif
