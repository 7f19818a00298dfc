/* Which jobs there are. SPDX-License-Identifier: MIT */
#include "pool/board.h"

#include "os/futex.h"
#include "pool/job.h"
#include "sync/watch.h"

#include <limits.h>
#include <signal.h>

static uint64_t bit_of(uint32_t index)
{
    return UINT64_C(1) << index % 64;
}

/* ---- where there is work */

static void set_open(struct pool_shared *pool, uint32_t level, uint32_t index)
{
    atomic_fetch_or(&pool->open[level][index / 64], bit_of(index));
    if (!(atomic_load(&pool->summary[level]) & bit_of(index / 64)))
        atomic_fetch_or(&pool->summary[level], bit_of(index / 64));
}

/* Who sets a bit of the word sets the summary's after it; who clears the summary's looks at the word after it. */
static void clear_open(struct pool_shared *pool, uint32_t level, uint32_t index)
{
    _Atomic uint64_t *word = &pool->open[level][index / 64];
    if (!(atomic_load(word) & bit_of(index)))
        return;
    uint64_t left = atomic_fetch_and(word, ~bit_of(index)) & ~bit_of(index);
    if (left != 0)
        return;
    atomic_fetch_and(&pool->summary[level], ~bit_of(index / 64));
    if (atomic_load(word) != 0)
        atomic_fetch_or(&pool->summary[level], bit_of(index / 64));
}

static bool spins_without_job(uint64_t spinner)
{
    return spinner != 0 && spinner >> 32 == 0;
}

static bool hand_over(struct pool_shared *pool, uint32_t index)
{
    uint64_t seen = atomic_load_explicit(&pool->spinner, memory_order_relaxed);
    return spins_without_job(seen) &&
           atomic_compare_exchange_strong(&pool->spinner, &seen, seen | (uint64_t)(index + 1) << 32);
}

void board_publish(struct pool_shared *pool, struct job *job)
{
    if (pool->jobs[job->index] != job)
        pool->jobs[job->index] = job;
    /* Sequentially consistent: see worker.c, visit; and a release of all of the above. */
    atomic_fetch_or(&pool->active[job->index / 64], bit_of(job->index));
    if (hand_over(pool, job->index))
        return;
    set_open(pool, job->level, job->index);
    board_call(pool);
}

void board_open(struct pool_shared *pool, const struct job *job)
{
    set_open(pool, job->level, job->index);
}

void board_close(struct pool_shared *pool, const struct job *job)
{
    clear_open(pool, job->level, job->index);
    if (!job_has_waiting(job))
        return;
    set_open(pool, job->level, job->index);
    board_call(pool);
}

void board_withdraw(struct pool_shared *pool, uint32_t index, uint32_t level)
{
    atomic_fetch_and(&pool->active[index / 64], ~bit_of(index));
    clear_open(pool, level, index);
}

/* Who opens a job again while it is being withdrawn leaves a bit behind. The job that is there now, if there is one,
 * stays as long as the worker is in it; one that was published meanwhile may have lost its own bit here. */
void board_forget(struct pool_shared *pool, uint32_t index, uint32_t level)
{
    clear_open(pool, level, index);
    if (!job_is_active(pool, index))
        return;
    set_open(pool, pool->jobs[index]->level, index);
    board_call(pool);
}

/* The first bit of a level's table at `from` or after it, going round. -1: none. */
static int find_open(struct pool_shared *pool, uint32_t level, uint32_t from)
{
    uint64_t summary = atomic_load(&pool->summary[level]);
    uint32_t word = from / 64;
    uint64_t bits = atomic_load(&pool->open[level][word]) & ~UINT64_C(0) << from % 64;
    if (bits)
        return (int)(word * 64 + (uint32_t)__builtin_ctzll(bits));
    uint64_t after = word == 63 ? 0 : summary & ~UINT64_C(0) << (word + 1);
    for (int round = 0; round < 2; round++, after = summary)
        for (; after; after &= after - 1) {
            word = (uint32_t)__builtin_ctzll(after);
            bits = atomic_load(&pool->open[level][word]);
            if (bits)
                return (int)(word * 64 + (uint32_t)__builtin_ctzll(bits));
        }
    return -1;
}

int board_pick(struct pool_shared *pool, uint32_t *picked)
{
    for (uint32_t level = 0; level < POOL_LEVELS; level++) {
        if (!atomic_load(&pool->summary[level]))
            continue;
        int index = find_open(pool, level, atomic_load_explicit(&pool->next[level], memory_order_relaxed));
        if (index < 0)
            continue;
        atomic_store_explicit(&pool->next[level], ((uint32_t)index + 1) % POOL_JOBS, memory_order_relaxed);
        *picked = level;
        return index;
    }
    return -1;
}

bool board_has_work_above(const struct pool_shared *pool, uint32_t level)
{
    for (uint32_t i = 0; i < level; i++)
        if (atomic_load(&pool->summary[i]))
            return true;
    return false;
}

bool board_has_work(const struct pool_shared *pool)
{
    return board_has_work_above(pool, POOL_LEVELS);
}

/* ---- calling workers */

bool board_has_idle(const struct pool_shared *pool)
{
    if (spins_without_job(atomic_load(&pool->spinner)))
        return true;
    for (unsigned i = 0; i * 64 < pool_slots_used(pool); i++)
        if (atomic_load(&pool->asleep[i]))
            return true;
    return false;
}

static bool any_sleeps(const struct pool_shared *pool)
{
    for (unsigned i = 0; i * 64 < pool_slots_used(pool); i++)
        if (atomic_load_explicit(&pool->asleep[i], memory_order_seq_cst))
            return true;
    return false;
}

void board_call(struct pool_shared *pool)
{
    atomic_fetch_add_explicit(&pool->wake, 1, memory_order_seq_cst);
    /* One that spins gives that up before it looks, and calls the next one if there is more than it can do; also one
     * that has just been handed a job. */
    if (!atomic_load(&pool->spinner) && any_sleeps(pool))
        os_futex_wake(&pool->wake, 1);
}

void board_call_next(struct pool_shared *pool)
{
    if (any_sleeps(pool) && board_has_work(pool))
        board_call(pool);
}

void board_call_for(struct pool_shared *pool, const struct job *job)
{
    uint64_t open = atomic_load_explicit(&pool->open[job->level][job->index / 64], memory_order_relaxed);
    if ((open & bit_of(job->index)) || !job_has_waiting(job)) {
        board_call_next(pool);
        return;
    }
    set_open(pool, job->level, job->index);
    board_call(pool); /* whoever has just looked in vain, and is not asleep yet, looks again */
}

void board_call_all(struct pool_shared *pool)
{
    atomic_fetch_add_explicit(&pool->wake, 1, memory_order_seq_cst);
    os_futex_wake(&pool->wake, INT_MAX);
}

/* ---- the worker that spins */

bool board_begin_spinning(struct pool_shared *pool, unsigned slot)
{
    uint64_t nobody = 0;
    return atomic_load_explicit(&pool->spinner, memory_order_relaxed) == 0 &&
           atomic_compare_exchange_strong(&pool->spinner, &nobody, slot + 1);
}

int board_end_spinning(struct pool_shared *pool, struct worker_slot *slot)
{
    uint64_t seen = atomic_load(&pool->spinner);
    /* Sequentially consistent: see board_call. */
    if (spins_without_job(seen) && atomic_compare_exchange_strong(&pool->spinner, &seen, 0))
        return -1;
    uint32_t job = (uint32_t)(seen >> 32);
    atomic_store(&slot->job, job);
    atomic_store(&pool->spinner, 0);
    return (int)job - 1;
}

/* Marks jobs of a word as supervised, so that those that are active now keep their memory, and calls back for these. */
static void for_active(struct pool_shared *pool, uint32_t word, uint64_t jobs,
                       void (*call)(struct pool_shared *pool, struct job *job))
{
    uint64_t active = atomic_load(&pool->active[word]) & jobs, before = atomic_load(&pool->supervised[word]);
    if (active == 0)
        return;
    atomic_store(&pool->supervised[word], before | active);
    for (active &= atomic_load(&pool->active[word]); active; active &= active - 1)
        call(pool, pool->jobs[word * 64 + (uint32_t)__builtin_ctzll(active)]);
    atomic_store(&pool->supervised[word], before);
}

static void open_again(struct pool_shared *pool, struct job *job)
{
    set_open(pool, job->level, job->index);
}

void board_relieve(struct pool_shared *pool, unsigned slot)
{
    uint64_t seen = atomic_load(&pool->spinner);
    while ((uint32_t)seen == slot + 1) {
        uint32_t job = (uint32_t)(seen >> 32);
        if (job)
            for_active(pool, (job - 1) / 64, bit_of(job - 1), open_again);
        if (atomic_compare_exchange_strong(&pool->spinner, &seen, 0))
            break;
    }
}

/* ---- the supervisor */

bool board_needs_attention(struct pool_shared *pool, int64_t before)
{
    /* The supervisor stores 0 in next_look before it looks, and this is after what is to be seen: it sees it, or is
     * told.
     */
    int64_t next = atomic_load(&pool->next_look);
    return (next == 0 || next > before) && atomic_exchange(&pool->attention, 1) == 0;
}

bool board_call_supervisor(struct pool_shared *pool, int64_t before)
{
    if (!board_needs_attention(pool, before) || kill(pool->supervisor_pid, SIGCHLD) == 0) /* which it polls for */
        return true;
    atomic_store(&pool->attention, 0); /* for others to tell it */
    return false;
}

/* ---- calling those who wait */

_Atomic uint32_t *board_bell(struct pool_shared *pool, const struct job *job)
{
    return &pool->bells[job->index % POOL_BELLS];
}

void board_ring(_Atomic uint32_t *bell)
{
    atomic_fetch_add(bell, 1);
    os_futex_wake(bell, INT_MAX);
}

static void tell(struct pool_shared *pool, struct job *job)
{
    uint32_t awaited = atomic_load(&job->awaited);
    if (awaited & AWAITED_ALONE)
        board_ring(board_bell(pool, job));
    if ((awaited & AWAITED_AMONG_OTHERS) || atomic_load(&pool->place_wanted))
        board_ring(&pool->bells[BELL_ANY]);
    if (atomic_load(&job->polled))
        watch_tell(job);
    if (job->has_callback && atomic_load(&pool->polled))
        watch_tell(pool);
}

void board_announce(struct pool_shared *pool, struct job *job)
{
    atomic_store(&job->over, 1);
    tell(pool, job);
}

void board_announce_if_done(struct pool_shared *pool, struct job *job)
{
    /* Each worker that finds nothing more looks. The statuses that they have stored and this fence are ordered for all
     * alike, so the last one sees all. */
    atomic_thread_fence(memory_order_seq_cst);
    if (!job_is_over(job) && job_is_done(job))
        board_announce(pool, job);
}

/* ---- after a death */

static void repair_summaries(struct pool_shared *pool)
{
    for (uint32_t level = 0; level < POOL_LEVELS; level++)
        for (uint32_t word = 0; word < JOB_WORDS; word++)
            if (atomic_load(&pool->open[level][word]))
                atomic_fetch_or(&pool->summary[level], bit_of(word));
}

/* Who was to tell that a job is over may have died on the way. */
static void tell_if_over(struct pool_shared *pool, struct job *job)
{
    if (job_is_over(job))
        tell(pool, job);
}

void board_repair(struct pool_shared *pool)
{
    repair_summaries(pool);
    for (uint32_t word = 0; word < JOB_WORDS; word++)
        for_active(pool, word, ~UINT64_C(0), tell_if_over);
}
