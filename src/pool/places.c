/* Where on the board calls are. SPDX-License-Identifier: MIT */
#include "pool/board.h"
#include "pool/future.h"
#include "pool/item.h"
#include "pool/job.h"
#include "pool/pool.h"
#include "sync/wait.h"

#include <errno.h>
#include <mproc/memory.h>
#include <stdlib.h>

static uint64_t bit_of(unsigned index)
{
    return UINT64_C(1) << index % 64;
}

/* ---- memory of calls that are over */

/* What is larger goes back to the system. Touching new pages costs more than all that a call does with them. */
#define SPARE_MOST ((size_t)32 << 20)

static _Atomic(struct job *) *spare_for(struct pool *pool, size_t size)
{
    return size <= JOB_SMALL_SIZE ? &pool->small_spare : &pool->large_spare;
}

void *places_take_spare(struct pool *pool, size_t size)
{
    _Atomic(struct job *) *spare = spare_for(pool, size);
    if (!atomic_load_explicit(spare, memory_order_relaxed))
        return NULL;
    struct job *job = atomic_exchange(spare, NULL);
    if (!job || job->memory_size >= size)
        return job;
    pool->backend->free(job);
    return NULL;
}

static bool keep_spare(struct pool *pool, struct job *job)
{
    struct job *none = NULL;
    return job->memory_size <= SPARE_MOST &&
           atomic_compare_exchange_strong(spare_for(pool, job->memory_size), &none, job);
}

void places_free_spares(struct pool *pool)
{
    pool->backend->free(atomic_exchange(&pool->small_spare, NULL));
    pool->backend->free(atomic_exchange(&pool->large_spare, NULL));
}

void job_release(const struct backend *backend, struct job *job)
{
    if (atomic_fetch_sub(&job->references, 1) != 1)
        return;
    struct mproc_outcome *outcomes = job->outcomes;
    if (job->abandoned)
        item_drop_results(job);
    if (backend) {
        backend->free(outcomes);
        if (!job->spare_of || !keep_spare(job->spare_of, job))
            backend->free(job);
    } else {
        free(outcomes);
        free(job);
    }
}

bool places_have_visitors(const struct pool *pool, unsigned index)
{
    /* Slots first: the supervisor marks a job as supervised before it clears a dead worker's slot. */
    for (unsigned i = 0; i < pool_slots_used(pool->shared); i++)
        if (atomic_load(&pool->shared->slots[i].job) == index + 1)
            return true;
    return atomic_load(&pool->shared->supervised[index / 64]) >> index % 64 & 1;
}

/* Under the lock. */
static void retire(struct pool *pool, unsigned index)
{
    pool->retired[index / 64] |= bit_of(index);
    pool->retired_count++;
}

/* Under the lock. */
static void free_place(struct pool *pool, unsigned index)
{
    struct job *job = pool->shared->jobs[index];
    pool->taken[index / 64] &= ~bit_of(index);
    pool->retired_count -= pool->retired[index / 64] >> index % 64 & 1;
    pool->retired[index / 64] &= ~bit_of(index);
    if (--pool->taken_count == 0)
        pool->next_place = 0; /* whose lines are warm */
    if (!atomic_load(&pool->keep_memory))
        job_release(pool->backend, job);
}

static void free_retired(struct pool *pool)
{
    for (unsigned word = 0; word < JOB_WORDS && pool->retired_count > 0; word++)
        for (uint64_t retired = pool->retired[word]; retired; retired &= retired - 1) {
            unsigned index = word * 64 + (unsigned)__builtin_ctzll(retired);
            if (job_is_active(pool->shared, index))
                board_withdraw(pool->shared, index, pool->shared->jobs[index]->level);
            if (!places_have_visitors(pool, index))
                free_place(pool, index);
        }
}

/* Places are formatted when they are first used: there are many. */
static void format_up_to(struct pool *pool, unsigned index)
{
    while (pool->places_formatted <= index)
        pool->shared->jobs[pool->places_formatted++] = NULL;
}

static int take_free(struct pool *pool)
{
    for (unsigned i = 0; i <= JOB_WORDS; i++) {
        unsigned word = (pool->next_place / 64 + i) % JOB_WORDS;
        uint64_t usable = ~pool->taken[word];
        if (i == 0)
            usable &= ~UINT64_C(0) << pool->next_place % 64;
        if (!usable)
            continue;
        unsigned index = word * 64 + (unsigned)__builtin_ctzll(usable);
        pool->taken[word] |= bit_of(index);
        pool->taken_count++;
        pool->next_place = (index + 1) % POOL_JOBS;
        format_up_to(pool, index);
        return (int)index;
    }
    return -EAGAIN;
}

static int try_to_take(struct pool *pool)
{
    int place = -EAGAIN;
    pthread_mutex_lock(&pool->lock);
    if (pool->retired_count > 0)
        free_retired(pool);
    if (pool->taken_count - pool->retired_count < pool->backlog) /* those are over */
        place = take_free(pool);
    pthread_mutex_unlock(&pool->lock);
    return place;
}

/* Futures whose calls are over need no place any more. */
static int take_or_make_room(struct pool *pool)
{
    int place = try_to_take(pool);
    if (place != -EAGAIN || !futures_leave_places(pool))
        return place;
    return try_to_take(pool);
}

int places_take(struct pool *pool, bool wait)
{
    struct pool_shared *shared = pool->shared;
    int place = take_or_make_room(pool);
    while (place == -EAGAIN && wait) {
        struct wait sleep = {
            .word = &shared->bells[BELL_ANY],
            .expected = atomic_load(&shared->bells[BELL_ANY]),
            .deadline = INT64_MAX,
        };
        atomic_fetch_add(&shared->place_wanted, 1);
        place = take_or_make_room(pool);
        int err = 0;
        if (place == -EAGAIN)
            err = pool_is_broken(pool) ? pool_reason(pool) : wait_sleep(&sleep);
        atomic_fetch_sub(&shared->place_wanted, 1);
        if (err < 0 && err != -ETIMEDOUT)
            return err;
        if (place == -EAGAIN)
            place = take_or_make_room(pool);
    }
    return place;
}

static bool is_small(const struct job *job)
{
    return job->spare_of && job->memory_size <= JOB_SMALL_SIZE;
}

/* A small job that is over stays on the board until the next call, which takes its place and memory. Workers, which are
 * just leaving it, are not waited for, and the lines that they use are not taken from them. */
static bool leave_for_the_next(struct pool *pool, struct job *job)
{
    if (!is_small(job) || !job_is_over(job))
        return false;
    pthread_mutex_lock(&pool->lock);
    retire(pool, job->index);
    pthread_mutex_unlock(&pool->lock);
    return true;
}

static void leave(struct pool *pool, struct job *job)
{
    unsigned index = job->index;
    board_withdraw(pool->shared, index, job->level);
    bool visitors = places_have_visitors(pool, index);
    /* The worker that said "over" is usually on its way out. */
    for (int i = 0; visitors && i < 200; i++) {
        os_cpu_relax();
        visitors = places_have_visitors(pool, index);
    }
    pthread_mutex_lock(&pool->lock);
    if (visitors)
        retire(pool, index);
    else
        free_place(pool, index);
    pthread_mutex_unlock(&pool->lock);
}

void places_leave(struct pool *pool, struct job *job)
{
    if (!leave_for_the_next(pool, job))
        leave(pool, job);
    if (atomic_load(&pool->shared->place_wanted))
        board_ring(&pool->shared->bells[BELL_ANY]);
}

void places_clear(struct pool *pool)
{
    for (unsigned word = 0; word < JOB_WORDS; word++)
        for (uint64_t retired = pool->retired[word]; retired; retired &= retired - 1)
            free_place(pool, word * 64 + (unsigned)__builtin_ctzll(retired));
}
