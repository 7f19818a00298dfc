/* Opening and closing pools. SPDX-License-Identifier: MIT */
#include "pool/pool.h"

#include "base/report.h"
#include "memory/member.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/process.h"
#include "pool/board.h"
#include "pool/default_pool.h"
#include "pool/future.h"
#include "pool/handle.h"
#include "pool/in_line.h"
#include "pool/inside.h"
#include "pool/item.h"
#include "pool/job.h"
#include "pool/options.h"
#include "pool/trace.h"
#include "process/registry.h"
#include "process/task_context.h"
#include "sync/watcher.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdlib.h>
#include <string.h>

static struct pool *make(const struct mproc_pool_open_arguments *arguments)
{
    struct pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    options_find_backend(arguments->backend, &pool->backend);
    pool->registered = registry_order();
    pool->backlog = (unsigned)arguments->backlog;
    pthread_mutex_init(&pool->lock, NULL);
    return pool;
}

static void discard(struct pool *pool)
{
    trace_close(pool->trace);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* The backend may have said more of an error than its code. */
static int begin(struct pool *pool, const struct mproc_pool_open_arguments *arguments)
{
    struct mproc_error detail = { .code = 0 };
    struct mproc_pool_open_arguments with_detail = *arguments;
    with_detail.error = &detail;
    int err = arguments->trace ? trace_open(&pool->trace, arguments->trace, arguments->name) : 0;
    if (err)
        return report(arguments->error, err, "mproc_pool_open: the trace '%s'", arguments->trace);
    err = pool->backend ? pool->backend->start(pool, &with_detail) : in_line_open(pool, &with_detail);
    if (err && detail.code == err && arguments->error)
        *arguments->error = detail;
    else if (err)
        report(arguments->error, err, "mproc_pool_open");
    if (!err && pool->shared)
        member_add_workers(arguments->workers);
    return err;
}

void pool_keep_memory_unless(struct pool *pool, bool gone)
{
    if (!gone)
        atomic_store(&pool->keep_memory, 1);
}

/* One that nobody uses any more. */
static int destroy(struct pool *pool)
{
    int err = 0;
    watcher_close(pool_watch_object(pool));
    if (pool->backend) {
        member_add_workers(-(int32_t)atomic_load(&pool->shared->most));
        err = pool->backend->stop(pool);
        places_clear(pool); /* nobody can be in a job any more */
        places_free_spares(pool);
        if (!atomic_load(&pool->keep_memory))
            pool->backend->free(pool->shared);
    }
    if (!pool->backend)
        err = in_line_close(pool);
    int trace_err = trace_close(pool->trace);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
    return err ? err : trace_err;
}

/* ---- broken pools */

bool pool_is_broken(struct pool *pool)
{
    return pool->shared && (atomic_load(&pool->shared->state) != POOL_OPEN || pool->backend->has_broken(pool));
}

int pool_reason(const struct pool *pool)
{
    switch (atomic_load(&pool->shared->state)) {
    case POOL_TERMINATING: return MPROC_E_TERMINATED;
    case POOL_NO_WORKERS: return MPROC_E_NO_WORKERS;
    case POOL_WORKERS_FAIL: return MPROC_E_WORKERS_FAIL;
    case POOL_CLUSTER_FAILS: return atomic_load(&pool->shared->reason);
    default: return MPROC_E_SUPERVISOR_DIED;
    }
}

/* The workers are gone. An item that one of them was running may have been done in part. */
static bool was_running(const struct pool_shared *shared, uint32_t index, uint32_t item)
{
    for (unsigned i = 0; i < pool_slots_used(shared); i++)
        if (atomic_load(&shared->slots[i].job) == index + 1 && atomic_load(&shared->slots[i].running) == item)
            return true;
    return false;
}

/* A call whose items have all ended had only not been told so. Unless the workers are known to be gone, one may be
 * writing a result. */
static void end_call(struct pool *pool, struct job *job, bool gone)
{
    for (uint32_t item = 0; item < job->n; item++)
        if (job_item_is_pending(job, item)) {
            if (gone)
                item_drop_result(job, item);
            job_end_item(job, item, was_running(pool->shared, job->index, item) ? MPROC_LOST : MPROC_CANCELLED);
            job->failure = pool_reason(pool);
        }
}

void pool_end_calls(struct pool *pool)
{
    bool gone = pool->backend->workers_gone(pool);
    pthread_mutex_lock(&pool->lock);
    pool_keep_memory_unless(pool, gone);
    for (unsigned word = 0; word < JOB_WORDS; word++)
        for (uint64_t active = atomic_load(&pool->shared->active[word]); active; active &= active - 1) {
            struct job *job = pool->shared->jobs[word * 64 + (unsigned)__builtin_ctzll(active)];
            if (job_is_over(job))
                continue;
            end_call(pool, job, gone);
            board_announce(pool->shared, job);
        }
    pthread_mutex_unlock(&pool->lock);
}

/* ---- who calls */

bool pool_is_running(const void *handle)
{
    for (const struct task_context *context = task_context; context; context = context->outer)
        if (context->pool && context->handle == handle)
            return true;
    return false;
}

static struct pool in_line = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Who closes it waits for what it has, and what callbacks add to that; others could go on adding for ever. */
static int acquire_for_call(mproc_pool *handle, struct pool **pool)
{
    int err = handle_acquire(handle, pool);
    if (err || !atomic_load(&(*pool)->closing) || inside_find(handle))
        return err;
    handle_release(handle);
    return MPROC_E_CLOSED;
}

int pool_acquire(mproc_pool **handle, struct pool **pool, struct mproc_error *error)
{
    if (!*handle && !task_context_is_pools())
        return default_pool_acquire(handle, pool, error);
    if (*handle && !pool_is_running(*handle))
        return acquire_for_call(*handle, pool);
    /* A worker would wait for itself. */
    *handle = NULL;
    *pool = &in_line;
    return 0;
}

const void *pool_watch_object(const struct pool *pool)
{
    return pool->shared ? (const void *)pool->shared : pool;
}

_Atomic uint32_t *pool_polled(struct pool *pool)
{
    return pool->shared ? &pool->shared->polled : &pool->polled;
}

/* ---- the public calls */

int mproc_pool_open_with(const struct mproc_pool_open_arguments *arguments)
{
    if (!arguments)
        return -EINVAL;
    if (arguments->size == 0 || arguments->size > sizeof *arguments)
        return MPROC_E_STRUCT_SIZE;
    struct mproc_pool_open_arguments full = { 0 };
    memcpy(&full, arguments, arguments->size);
    if (!full.pool)
        return report(full.error, -EINVAL, "mproc_pool_open: the place for the pool is NULL");
    int err = options_check(&full);
    if (err)
        return err;
    struct pool *pool = make(&full);
    if (!pool)
        return report(full.error, -ENOMEM, "mproc_pool_open");
    /* Before the workers are forked, so that they know it. */
    mproc_pool *handle = handle_create(pool);
    if (!handle) {
        discard(pool);
        return report_text(full.error, -EMFILE, "mproc_pool_open: %d pools are open: close some", MPROC_POOLS_MAX);
    }
    pool->handle = handle;
    err = begin(pool, &full);
    if (err) {
        handle_close(handle, &pool, NULL);
        discard(pool);
        return err;
    }
    *full.pool = handle;
    return 0;
}

static int close_with(mproc_pool *handle, bool drain, void (*before_waiting)(void *pool))
{
    struct pool *pool = NULL;
    if (!handle)
        return 0;
    int err = handle_acquire(handle, &pool);
    if (err)
        return err;
    if (pool_is_running(handle) || inside_find(handle)) /* it would wait for itself */
        err = -EDEADLK;
    else if (drain && atomic_exchange(&pool->closing, 1))
        err = MPROC_E_CLOSED;
    else if (drain)
        futures_join(pool, INT64_MAX, true);
    handle_release(handle);
    if (err)
        return err;
    err = handle_close(handle, &pool, before_waiting);
    if (err)
        return err;
    if (!drain && pool->backend)
        pool_end_calls(pool); /* those that began meanwhile */
    if (drain)
        futures_join(pool, INT64_MAX, true); /* likewise */
    else
        futures_let_go(pool);
    return destroy(pool);
}

int mproc_pool_close(mproc_pool *pool)
{
    return close_with(pool, true, NULL);
}

static void break_off(void *object)
{
    struct pool *pool = object;
    atomic_store(&pool->terminated, 1);
    if (!pool->backend)
        return;
    pool->backend->break_off(pool);
    pool_end_calls(pool);
}

void pool_end_with_program(mproc_pool *handle)
{
    struct pool *pool;
    if (handle_acquire(handle, &pool) != 0)
        return;
    break_off(pool);
    if (pool->backend && pool->supervisor.pid > 0)
        os_reap(pool->supervisor.pid);
    handle_release(handle);
}

int mproc_pool_terminate(mproc_pool *pool)
{
    return close_with(pool, false, break_off);
}
