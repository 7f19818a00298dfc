/* What a pool has done. SPDX-License-Identifier: MIT */
#ifndef MPROC_STATISTICS_H
#define MPROC_STATISTICS_H

#include <mproc/pool.h>

/** Of a pool, since it opened. */
struct mproc_pool_statistics {
    size_t size;              /**< sizeof(struct mproc_pool_statistics); set it before the call */
    int workers;              /**< alive now */
    int idle;                 /**< of them, without work */
    uint64_t workers_started; /**< with those at the opening; 0 on a cluster, whose machines do not tell */
    uint64_t workers_crashed; /**< ended otherwise than asked for; 0 on a cluster */
    uint64_t items;           /**< that workers have ended; crashed ones included */
    uint64_t unsuccessful;    /**< times that one did not succeed: attempts that were tried again count, too */
    uint64_t calls;           /**< waiting or running */
    uint64_t waiting;         /**< their items that no worker has taken yet */
    int64_t uptime;           /**< nanoseconds since it opened */
    int64_t busy;             /**< nanoseconds that all its workers together have worked */
    int64_t idle_time;        /**< nanoseconds that they were idle */
    int64_t latency_p50; /**< nanoseconds from the call to the end of an item: half of the items took at most that */
    int64_t latency_p90; /**< nine in ten of them */
    int64_t latency_p99; /**< 99 in 100 */
    int64_t latency_max; /**< all of them */
    int64_t run_p50;     /**< nanoseconds that an item ran; of items that were taken several at a time, their mean */
    int64_t run_p90;     /**< as latency_p90 */
    int64_t run_p99;     /**< as latency_p99 */
    int64_t run_max;     /**< with all attempts of the item */
};

/** Of one worker. */
struct mproc_worker_statistics {
    size_t size;       /**< sizeof(struct mproc_worker_statistics); set it before the call */
    pid_t pid;         /**< 0: there is none just now */
    bool idle;         /**< without work */
    uint64_t starts;   /**< how often a worker of that number was started */
    uint64_t items;    /**< that it has ended */
    int64_t busy;      /**< nanoseconds that it has worked */
    int64_t idle_time; /**< nanoseconds that it was idle */
};

MPROC_BEGIN_DECLARATIONS

/** Fills the statistics of a pool. Quantiles are right within an eighth; with .chunk, workers measure every 32nd take
 * only, and items whose worker was killed are in none. Figures may be a moment old. Does not block; may be called from
 * any thread, not in a signal handler.
 *
 * Returns 0, -EINVAL, MPROC_E_STRUCT_SIZE, -ENOTSUP with MPROC_SERIAL, MPROC_E_CLOSED, MPROC_E_FORKED. Since 0.1. */
MPROC_API int mproc_pool_statistics(mproc_pool *pool, struct mproc_pool_statistics *statistics);

/** Fills the statistics of a worker, by its number (mproc_worker_index): 0 to MPROC_WORKERS_MAX - 1. Returns as
 * mproc_pool_statistics; -EINVAL for a number that no worker had. Since 0.1. */
MPROC_API int mproc_pool_worker_statistics(mproc_pool *pool, int worker, struct mproc_worker_statistics *statistics);

MPROC_END_DECLARATIONS

#endif
