/* What a pool has done; how many workers it has. SPDX-License-Identifier: MIT */
#include "memory/member.h"
#include "os/clock.h"
#include "pool/handle.h"
#include "pool/job.h"
#include "pool/pool.h"

#include <errno.h>
#include <mproc/error.h>
#include <mproc/statistics.h>
#include <stdlib.h>
#include <string.h>

static int64_t time_of(const _Atomic int64_t *time)
{
    return atomic_load_explicit(time, memory_order_relaxed);
}

static uint64_t count_of(const _Atomic uint64_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

static struct mproc_worker_statistics look_at(const struct worker_slot *slot, int64_t now)
{
    int64_t alive = time_of(&slot->alive_before), idle_since = time_of(&slot->idle_since), busy = time_of(&slot->busy),
            working_since = time_of(&slot->working_since);
    pid_t pid = (pid_t)atomic_load(&slot->pid);
    if (pid)
        alive += now - time_of(&slot->alive_since);
    if (pid && working_since && now > working_since)
        busy += now - working_since;
    struct mproc_worker_statistics statistics = {
        .pid = pid,
        .idle = pid && idle_since != 0,
        .starts = count_of(&slot->starts),
        .items = count_of(&slot->items),
        .busy = busy,
        .idle_time = alive > busy ? alive - busy : 0,
    };
    return statistics;
}

/* The calls that are waiting or running, and their items that nobody has taken. The lock keeps the jobs. */
static void count_calls(struct pool *pool, struct mproc_pool_statistics *statistics)
{
    pthread_mutex_lock(&pool->lock);
    for (unsigned word = 0; word < JOB_WORDS; word++)
        for (uint64_t active = atomic_load(&pool->shared->active[word]) & pool->taken[word]; active;
             active &= active - 1) {
            const struct job *job = pool->shared->jobs[word * 64 + (unsigned)__builtin_ctzll(active)];
            statistics->calls += !job_is_over(job);
            statistics->waiting += job_count_waiting(job);
        }
    pthread_mutex_unlock(&pool->lock);
}

static int collect(struct pool *pool, struct mproc_pool_statistics *statistics)
{
    struct histogram_sum *latency = calloc(2, sizeof *latency), *run = latency + 1;
    int64_t now = os_now();
    if (!latency)
        return -ENOMEM;
    for (unsigned i = 0; i < pool_slots_used(pool->shared); i++) {
        const struct worker_slot *slot = &pool->shared->slots[i];
        struct mproc_worker_statistics worker = look_at(slot, now);
        statistics->workers += worker.pid != 0;
        statistics->idle += worker.idle;
        statistics->workers_started += worker.starts;
        statistics->workers_crashed += count_of(&slot->crashes);
        statistics->items += worker.items;
        statistics->unsuccessful += count_of(&slot->unsuccessful);
        statistics->busy += worker.busy;
        statistics->idle_time += worker.idle_time;
        histogram_sum_add(latency, &slot->latency);
        histogram_sum_add(run, &slot->run);
    }
    if (pool->backend->count_workers)
        pool->backend->count_workers(pool, &statistics->workers, &statistics->idle);
    count_calls(pool, statistics);
    statistics->uptime = now - pool->shared->opened;
    statistics->latency_p50 = histogram_quantile(latency, 0.5);
    statistics->latency_p90 = histogram_quantile(latency, 0.9);
    statistics->latency_p99 = histogram_quantile(latency, 0.99);
    statistics->latency_max = latency->longest;
    statistics->run_p50 = histogram_quantile(run, 0.5);
    statistics->run_p90 = histogram_quantile(run, 0.9);
    statistics->run_p99 = histogram_quantile(run, 0.99);
    statistics->run_max = run->longest;
    free(latency);
    return 0;
}

/* Gives the caller as much of a struct as it knows. */
static int give(void *to, size_t size, const void *from, size_t whole)
{
    if (size == 0 || size > whole)
        return MPROC_E_STRUCT_SIZE;
    memcpy((char *)to + sizeof(size_t), (const char *)from + sizeof(size_t), size - sizeof(size_t));
    return 0;
}

int mproc_pool_statistics(mproc_pool *handle, struct mproc_pool_statistics *statistics)
{
    struct pool *pool;
    struct mproc_pool_statistics whole = { .size = sizeof whole };
    if (!handle || !statistics)
        return -EINVAL;
    int err = handle_acquire(handle, &pool);
    if (err)
        return err;
    err = pool->shared ? collect(pool, &whole) : -ENOTSUP;
    handle_release(handle);
    return err ? err : give(statistics, statistics->size, &whole, sizeof whole);
}

int mproc_pool_worker_statistics(mproc_pool *handle, int worker, struct mproc_worker_statistics *statistics)
{
    struct pool *pool;
    struct mproc_worker_statistics whole = { .size = sizeof whole };
    if (!handle || !statistics)
        return -EINVAL;
    int err = handle_acquire(handle, &pool);
    if (err)
        return err;
    if (!pool->shared)
        err = -ENOTSUP;
    else if (worker < 0 || (unsigned)worker >= pool_slots_used(pool->shared))
        err = -EINVAL;
    else
        whole = look_at(&pool->shared->slots[worker], os_now());
    handle_release(handle);
    return err ? err : give(statistics, statistics->size, &whole, sizeof whole);
}

int mproc_pool_resize(mproc_pool *handle, int workers)
{
    struct pool *pool;
    if (!handle || workers < 1 || workers > MPROC_WORKERS_MAX)
        return -EINVAL;
    int err = handle_acquire(handle, &pool);
    if (err)
        return err;
    if (!pool->shared || pool->cluster) {
        handle_release(handle);
        return -ENOTSUP;
    }
    struct pool_shared *shared = pool->shared;
    pthread_mutex_lock(&pool->lock);
    int more = workers - (int)atomic_load(&shared->most);
    if (more > 0 && member_add_workers(0) + (unsigned)more > MPROC_FAMILY_WORKERS_MAX) {
        err = -EAGAIN;
    } else {
        uint32_t target = (uint32_t)workers;
        member_add_workers(more);
        atomic_store(&shared->most, target);
        if (!shared->options.adaptive || atomic_load(&shared->least) > target)
            atomic_store(&shared->least, target);
        if (!shared->options.adaptive || atomic_load(&shared->wanted) > target)
            atomic_store(&shared->wanted, target);
    }
    pthread_mutex_unlock(&pool->lock);
    if (!err)
        pool->backend->look(pool);
    handle_release(handle);
    return err;
}
