/* Workers that are threads of the caller. SPDX-License-Identifier: MIT */
#include "os/process.h"
#include "pool/job.h"
#include "pool/pool.h"
#include "pool/worker.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

struct thread_start {
    struct pool_shared *shared;
    unsigned slot;
    char name[32]; /* the system shows 15 bytes of it */
};

static void *run_thread(void *argument)
{
    struct thread_start *start = argument;
    struct thread_start copy = *start;
    free(start);
    os_set_name(copy.name);
    worker_run(copy.shared, copy.slot);
    return NULL;
}

static void *allocate(size_t size, bool present)
{
    (void)present;
    void *block = NULL;
    return posix_memalign(&block, CACHE_LINE_PAIR, size ? size : 1) == 0 ? block : NULL;
}

static int start_thread(struct pool *pool, unsigned slot, const char *name)
{
    struct thread_start *start = malloc(sizeof *start);
    if (!start)
        return -ENOMEM;
    *start = (struct thread_start) { .shared = pool->shared, .slot = slot };
    snprintf(start->name, sizeof start->name, "%.10s:%u", name, slot);
    int err = pthread_create(&pool->threads[slot], NULL, run_thread, start);
    if (err)
        free(start);
    return -err;
}

/* Sets the state and waits for the first `count` threads. */
static void end_threads(struct pool *pool, unsigned count)
{
    uint32_t expected = POOL_OPEN;
    atomic_compare_exchange_strong(&pool->shared->state, &expected, POOL_CLOSING);
    worker_call(pool->shared, UINT_MAX);
    for (unsigned slot = 0; slot < count; slot++)
        pthread_join(pool->threads[slot], NULL);
    free(pool->threads);
    free(pool->shared);
}

static int start(struct pool *pool, const struct mproc_pool_open_arguments *arguments)
{
    pool->shared = allocate(pool_shared_size(pool->workers), true);
    pool->threads = calloc(pool->workers, sizeof *pool->threads);
    if (!pool->shared || !pool->threads) {
        free(pool->shared);
        free(pool->threads);
        return -ENOMEM;
    }
    pool_format_shared(pool->shared, pool->workers);
    for (int i = 0; i < POOL_JOBS; i++)
        atomic_store(&pool->shared->jobs[i].waiting.word, 1 | JOB_OVER);

    sigset_t mask;
    os_signals_block(&mask); /* signals are for the program's own threads */
    int err = 0;
    unsigned started = 0;
    while (started < pool->workers && !err) {
        err = start_thread(pool, started, arguments->name ? arguments->name : POOL_NAME);
        started += !err;
    }
    os_signals_restore(&mask);
    if (err)
        end_threads(pool, started);
    return err;
}

static int stop(struct pool *pool)
{
    end_threads(pool, pool->workers);
    return 0;
}

/* Does by hand what the kernel does when a supervisor dies: whoever waits, or is about to, is told. The lock keeps the
 * jobs. */
static void break_off(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->shared->state, POOL_TERMINATING);
    uint64_t active = atomic_load(&pool->shared->active);
    for (int i = 0; i < POOL_JOBS; i++) {
        struct job_slot *slot = &pool->shared->jobs[i];
        if (active >> i & 1)
            job_cancel(slot->job);
        uint32_t seen = atomic_load(&slot->waiting.word);
        while (!atomic_compare_exchange_weak(&slot->waiting.word, &seen, (seen & FUTEX_WAITERS) | JOB_OVER)) {
        }
        os_futex_wake(&slot->waiting.word, INT_MAX);
    }
    pthread_mutex_unlock(&pool->lock);
    worker_call(pool->shared, UINT_MAX);
}

static bool workers_gone(struct pool *pool)
{
    (void)pool;
    return true; /* a map on threads looks itself who is in its job, and waits for them */
}

static void release(void *block)
{
    free(block);
}

const struct backend backend_threads = {
    .separate_memory = false,
    .start = start,
    .stop = stop,
    .break_off = break_off,
    .workers_gone = workers_gone,
    .allocate = allocate,
    .free = release,
};
