/* Opening and closing pools; their jobs' places. SPDX-License-Identifier: MIT */
#include "pool/pool.h"

#include "base/report.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "pool/handle.h"
#include "process/registry.h"
#include "process/task_context.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int find_backend(enum mproc_backend name, const struct backend **backend)
{
    switch (name) {
    case MPROC_PROCESSES: *backend = &backend_processes; return 0;
    case MPROC_THREADS: *backend = &backend_threads; return 0;
    case MPROC_SERIAL: *backend = NULL; return 0;
    }
    return -EINVAL;
}

static int check(const struct mproc_pool_open_arguments *arguments)
{
    const struct backend *backend;
    if (find_backend(arguments->backend, &backend) != 0)
        return report(arguments->error, -EINVAL, "mproc_pool_open: there is no backend %d", (int)arguments->backend);
    if (arguments->workers < 0 || arguments->workers > MPROC_WORKERS_MAX)
        return report(arguments->error, -EINVAL, "mproc_pool_open: %d workers, but 1 to %d are possible",
                      arguments->workers, MPROC_WORKERS_MAX);
    const struct mproc_task *other, *task = registry_find_duplicate(&other);
    if (task)
        return registry_report_duplicate(arguments->error, task, other);
    return 0;
}

void pool_format_shared(struct pool_shared *shared, unsigned workers)
{
    memset(shared, 0, pool_shared_size(workers));
    shared->workers = workers;
    shared->spin = os_cpu_count() > 1 ? POOL_SPIN : 0;
}

static void initialise_jobs(struct pool *pool)
{
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->job_freed, NULL);
}

int pool_create(struct pool **result, const struct mproc_pool_open_arguments *arguments)
{
    int err = check(arguments);
    if (err)
        return err;
    struct pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return report(arguments->error, -ENOMEM, "mproc_pool_open");
    find_backend(arguments->backend, &pool->backend);
    pool->workers = (unsigned)(arguments->workers ? arguments->workers : os_cpu_count());
    if (pool->workers > MPROC_WORKERS_MAX)
        pool->workers = MPROC_WORKERS_MAX;
    pool->registered = registry_order();
    initialise_jobs(pool);
    if (pool->backend)
        err = pool->backend->start(pool, arguments);
    if (err) {
        free(pool);
        return report(arguments->error, err, "mproc_pool_open");
    }
    *result = pool;
    return 0;
}

void pool_keep_memory_unless(struct pool *pool, bool gone)
{
    if (!gone)
        atomic_store(&pool->keep_memory, 1);
}

static void free_memory(struct pool *pool, unsigned index)
{
    struct job_memory *memory = &pool->memory[index];
    if (!atomic_load(&pool->keep_memory)) {
        pool->backend->free(memory->block);
        pool->backend->free(memory->outcomes);
    }
    *memory = (struct job_memory) { NULL, NULL };
}

int pool_destroy(struct pool *pool)
{
    int err = 0;
    if (pool->backend) {
        err = pool->backend->stop(pool);
        /* Nobody can be in a job any more. */
        for (unsigned i = 0; i < POOL_JOBS; i++)
            free_memory(pool, i);
    }
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->job_freed);
    free(pool);
    return err;
}

bool pool_is_broken(const struct pool *pool)
{
    if (!pool->shared)
        return false;
    /* The kernel takes the supervisor's id out of all the words when it dies. */
    return atomic_load(&pool->shared->state) != POOL_OPEN ||
           !(atomic_load(&pool->shared->jobs[0].waiting.word) & FUTEX_TID_MASK);
}

/* ---- jobs */

bool pool_job_has_visitors(const struct pool *pool, unsigned index)
{
    /* Slots first: the supervisor marks a job as supervised before it clears a dead worker's slot. */
    for (unsigned i = 0; i < pool->workers; i++)
        if (atomic_load(&pool->shared->slots[i].job) == index + 1)
            return true;
    return atomic_load(&pool->shared->supervised) >> index & 1;
}

static void free_job(struct pool *pool, unsigned index)
{
    free_memory(pool, index);
    pool->jobs_taken &= ~(UINT64_C(1) << index);
    pool->jobs_retired &= ~(UINT64_C(1) << index);
    pthread_cond_signal(&pool->job_freed);
}

static void free_retired_jobs(struct pool *pool)
{
    for (uint64_t retired = pool->jobs_retired; retired; retired &= retired - 1) {
        unsigned index = (unsigned)__builtin_ctzll(retired);
        if (!pool_job_has_visitors(pool, index))
            free_job(pool, index);
    }
}

/* A retired job becomes free without anyone saying so: look again from time to time. */
static void wait_for_free_job(struct pool *pool)
{
    if (!pool->jobs_retired) {
        pthread_cond_wait(&pool->job_freed, &pool->lock);
        return;
    }
    pthread_mutex_unlock(&pool->lock);
    os_sleep(100000);
    pthread_mutex_lock(&pool->lock);
}

unsigned pool_take_job(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    free_retired_jobs(pool);
    while (pool->jobs_taken == UINT64_MAX) {
        wait_for_free_job(pool);
        free_retired_jobs(pool);
    }
    unsigned index = (unsigned)__builtin_ctzll(~pool->jobs_taken);
    pool->jobs_taken |= UINT64_C(1) << index;
    pthread_mutex_unlock(&pool->lock);
    return index;
}

void pool_leave_job(struct pool *pool, unsigned index)
{
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_and(&pool->shared->active, ~(UINT64_C(1) << index));
    bool visitors = pool_job_has_visitors(pool, index);
    /* The worker that said "done" is usually on its way out. */
    for (int i = 0; visitors && i < 200; i++) {
        os_cpu_relax();
        visitors = pool_job_has_visitors(pool, index);
    }
    if (visitors) {
        pool->jobs_retired |= UINT64_C(1) << index;
        pthread_cond_signal(&pool->job_freed); /* someone who waits for a place has to look from time to time now */
    } else {
        free_job(pool, index);
    }
    pthread_mutex_unlock(&pool->lock);
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
    struct pool *pool = NULL;
    int err = pool_create(&pool, &full);
    if (err)
        return err;
    mproc_pool *handle = handle_create(pool);
    if (!handle) {
        pool_destroy(pool);
        return report_text(full.error, -EMFILE, "mproc_pool_open: %d pools are open: close some", MPROC_POOLS_MAX);
    }
    *full.pool = handle;
    return 0;
}

bool pool_is_running_this(const struct pool *pool)
{
    const void *id = pool->shared ? (const void *)pool->shared : pool;
    for (const struct task_context *context = task_context; context; context = context->outer)
        if (context->pool == id)
            return true;
    return false;
}

static int close_with(mproc_pool *handle, void (*before_waiting)(void *pool))
{
    struct pool *pool = NULL;
    if (!handle)
        return 0;
    int err = handle_acquire(handle, &pool);
    if (err)
        return err;
    bool own = pool_is_running_this(pool); /* it would wait for itself */
    handle_release(handle);
    if (own)
        return -EDEADLK;
    err = handle_close(handle, &pool, before_waiting);
    return err ? err : pool_destroy(pool);
}

int mproc_pool_close(mproc_pool *pool)
{
    return close_with(pool, NULL);
}

static void break_off(void *object)
{
    struct pool *pool = object;
    atomic_store(&pool->terminated, 1);
    if (pool->backend)
        pool->backend->break_off(pool);
}

int mproc_pool_terminate(mproc_pool *pool)
{
    return close_with(pool, break_off);
}
