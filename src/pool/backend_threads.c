/* Workers that are threads of the caller. SPDX-License-Identifier: MIT */
#include "os/clock.h"
#include "os/process.h"
#include "os/thread.h"
#include "os/usage.h"
#include "pool/board.h"
#include "pool/job.h"
#include "pool/options.h"
#include "pool/pool.h"
#include "pool/worker.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Left: the thread is to be joined. */
enum seat_state { SEAT_EMPTY = 0, SEAT_TAKEN, SEAT_LEFT };

/* What the threads of a pool are. Under its own lock, as threads look too. */
struct crew {
    pthread_mutex_t lock;
    char name[16];
    unsigned failures; /* of the initializer, in a row */
    struct seat {
        pthread_t thread;
        _Atomic(enum seat_state) state;
    } seats[MPROC_WORKERS_MAX];
};

struct thread_start {
    struct pool_shared *shared;
    struct crew *crew;
    unsigned slot;
};

/* ---- in a worker */

static void set_up(const struct thread_start *start)
{
    char name[32]; /* the system shows 15 bytes of it */
    snprintf(name, sizeof name, "%.10s:%u", start->crew->name, start->slot);
    os_set_name(name);
    if (start->shared->options.pin)
        os_bind_to_cpu(start->slot);
    if (start->shared->options.nice && nice(start->shared->options.nice) == -1)
        errno = 0;
}

/* True if a new worker is to take its place, in the same thread. */
static bool note_end(const struct thread_start *start, int code)
{
    struct worker_slot *slot = &start->shared->slots[start->slot];
    struct crew *crew = start->crew;
    pthread_mutex_lock(&crew->lock);
    crew->failures = code == 0 ? 0 : crew->failures + 1;
    if (crew->failures >= (unsigned)start->shared->options.start_failures) {
        uint32_t expected = POOL_OPEN;
        atomic_compare_exchange_strong(&start->shared->state, &expected, POOL_WORKERS_FAIL);
    }
    bool goes_on = atomic_load(&start->shared->state) == POOL_OPEN && !atomic_load(&slot->retire) &&
                   atomic_load(&slot->ending) != WORKER_NOT_NEEDED;
    int64_t now = os_now();
    atomic_store(&slot->alive_before, atomic_load(&slot->alive_before) + now - atomic_load(&slot->alive_since));
    atomic_store(&slot->ready, 0);
    atomic_store(&slot->ending, 0);
    if (goes_on) {
        worker_slot_begin(slot, (uint32_t)getpid());
    } else {
        atomic_store(&slot->pid, 0);
        atomic_store(&slot->retire, 0);
        crew->seats[start->slot].state = SEAT_LEFT;
    }
    pthread_mutex_unlock(&crew->lock);
    return goes_on;
}

static void *run_thread(void *argument)
{
    struct thread_start start = *(struct thread_start *)argument;
    free(argument);
    set_up(&start);
    int code;
    do
        code = worker_run(start.shared, start.slot);
    while (note_end(&start, code));
    board_call_all(start.shared); /* what this one was called for */
    for (int i = 0; i <= POOL_BELLS; i++)
        board_ring(&start.shared->bells[i]); /* should the pool be broken */
    return NULL;
}

/* ---- in the caller */

static void *allocate(size_t size)
{
    void *block = NULL;
    return posix_memalign(&block, CACHE_LINE_PAIR, size ? size : 1) == 0 ? block : NULL;
}

/* Under the lock. */
static int start_thread(struct pool *pool, unsigned slot)
{
    struct seat *seat = &pool->crew->seats[slot];
    struct thread_start *start = malloc(sizeof *start);
    if (!start)
        return -ENOMEM;
    if (seat->state == SEAT_LEFT)
        pthread_join(seat->thread, NULL);
    seat->state = SEAT_EMPTY;
    *start = (struct thread_start) { .shared = pool->shared, .crew = pool->crew, .slot = slot };
    if (slot >= pool_slots_used(pool->shared))
        worker_slot_format(&pool->shared->slots[slot]);
    worker_slots_raise(pool->shared, slot + 1);
    worker_slot_begin(&pool->shared->slots[slot], (uint32_t)getpid());
    int err = os_thread_start(&seat->thread, run_thread, start);
    if (err) {
        atomic_store(&pool->shared->slots[slot].pid, 0);
        free(start);
    } else {
        seat->state = SEAT_TAKEN;
    }
    return -err;
}

static bool stays(const struct pool *pool, unsigned slot)
{
    const struct worker_slot *worker = &pool->shared->slots[slot];
    return pool->crew->seats[slot].state == SEAT_TAKEN && !atomic_load(&worker->retire) &&
           atomic_load(&worker->ending) != WORKER_NOT_NEEDED;
}

/* Under the lock. */
static int adjust(struct pool *pool)
{
    struct pool_shared *shared = pool->shared;
    unsigned wanted = atomic_load(&shared->wanted), staff = 0;
    int err = 0;
    for (unsigned slot = 0; slot < pool_slots_used(shared); slot++)
        staff += stays(pool, slot);
    for (unsigned slot = pool_slots_used(shared); slot-- > 0 && staff > wanted;)
        if (stays(pool, slot)) {
            atomic_store(&shared->slots[slot].retire, 1);
            staff--;
        }
    board_call_all(shared);
    for (unsigned slot = 0; slot < MPROC_WORKERS_MAX && staff < wanted && !err; slot++)
        if (pool->crew->seats[slot].state != SEAT_TAKEN) {
            err = start_thread(pool, slot);
            staff += !err;
        }
    return err;
}

static void look(struct pool *pool)
{
    struct pool_shared *shared = pool->shared;
    pthread_mutex_lock(&pool->crew->lock);
    uint32_t wanted = atomic_load(&shared->wanted);
    if (wanted < atomic_load(&shared->most) && board_has_work(shared) && !board_has_idle(shared))
        atomic_compare_exchange_strong(&shared->wanted, &wanted, wanted + 1);
    adjust(pool);
    pthread_mutex_unlock(&pool->crew->lock);
}

/* Waits for all threads. */
static void end_threads(struct pool *pool)
{
    uint32_t expected = POOL_OPEN;
    atomic_compare_exchange_strong(&pool->shared->state, &expected, POOL_CLOSING);
    board_call_all(pool->shared);
    for (unsigned slot = 0; slot < pool_slots_used(pool->shared); slot++)
        if (pool->crew->seats[slot].state != SEAT_EMPTY)
            pthread_join(pool->crew->seats[slot].thread, NULL);
}

static void free_crew(struct pool *pool)
{
    pthread_mutex_destroy(&pool->crew->lock);
    free(pool->crew);
}

static int start(struct pool *pool, const struct mproc_pool_open_arguments *arguments)
{
    pool->shared = allocate(pool_shared_size(arguments));
    pool->crew = calloc(1, sizeof *pool->crew);
    if (!pool->shared || !pool->crew) {
        free(pool->shared);
        free(pool->crew);
        return -ENOMEM;
    }
    pthread_mutex_init(&pool->crew->lock, NULL);
    snprintf(pool->crew->name, sizeof pool->crew->name, "%s", arguments->name);
    pool_format_shared(pool->shared, arguments);
    pool->shared->threads = pool;
    pool->shared->handle = pool->handle;
    pthread_mutex_lock(&pool->crew->lock);
    int err = adjust(pool);
    pthread_mutex_unlock(&pool->crew->lock);
    if (err) {
        end_threads(pool);
        free_crew(pool);
        free(pool->shared);
    }
    return err;
}

static int stop(struct pool *pool)
{
    int reason = pool_is_broken(pool) ? pool_reason(pool) : 0;
    end_threads(pool);
    free_crew(pool);
    return reason == MPROC_E_TERMINATED ? 0 : reason;
}

/* Asks all that run, and has nothing else start. The lock keeps the jobs. */
static void break_off(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->shared->state, POOL_TERMINATING);
    for (unsigned word = 0; word < JOB_WORDS; word++)
        for (uint64_t active = atomic_load(&pool->shared->active[word]); active; active &= active - 1) {
            struct job *job = pool->shared->jobs[word * 64 + (unsigned)__builtin_ctzll(active)];
            if (job_is_over(job))
                continue;
            job->failure = MPROC_E_TERMINATED;
            job_cancel(job);
            board_announce_if_done(pool->shared, job);
        }
    pthread_mutex_unlock(&pool->lock);
    board_call_all(pool->shared);
}

static bool has_broken(const struct pool *pool)
{
    (void)pool;
    return false; /* its state says so */
}

static bool workers_gone(struct pool *pool)
{
    for (unsigned slot = 0; slot < pool_slots_used(pool->shared);)
        if (atomic_load(&pool->shared->slots[slot].job))
            os_sleep(100000);
        else
            slot++;
    return true;
}

const struct backend backend_threads = {
    .separate_memory = false,
    .shares_heap = true,
    .start = start,
    .stop = stop,
    .break_off = break_off,
    .has_broken = has_broken,
    .workers_gone = workers_gone,
    .look = look,
    .allocate = allocate,
    .free = free,
};
