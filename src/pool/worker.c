/* A worker: looks for jobs, runs their items, sleeps. SPDX-License-Identifier: MIT */
#include "pool/worker.h"

#include "os/clock.h"
#include "os/process.h"
#include "pool/item.h"
#include "pool/job.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <unistd.h>

/* A claim should keep a worker busy for about this long: much longer than taking it costs, short enough that all
 * workers end at about the same time. */
#define CLAIM_SHORT INT64_C(10000)
#define CLAIM_LONG INT64_C(40000)

struct worker {
    struct pool_shared *pool;
    struct worker_slot *slot;
    unsigned index;
    unsigned next_job; /* where to look first, so that jobs take turns */
    struct task_context context;
};

/* Runs the items of a claim; returns how many have ended, which is less than all only if the job was cancelled. */
static uint32_t run_items(struct worker *worker, struct job *job, const struct claim *claim)
{
    struct worker_slot *slot = worker->slot;
    uint32_t end = claim->first + claim->count;
    for (uint32_t i = claim->first; i < end; i++) {
        if (atomic_load_explicit(&job->cancelled, memory_order_relaxed))
            return i - claim->first;
        atomic_store_explicit(&slot->running, i, memory_order_relaxed);
        /* A task that kills its process must not do so before the store above, whatever the compiler thinks; the
         * processor keeps the order for whoever sees the death. */
        atomic_signal_fence(memory_order_seq_cst);
        int code = job->call(job->input + i * job->input_size, job->output + i * job->output_size);
        enum item_status status = ITEM_OK;
        if (__builtin_expect(code != 0, 0)) {
            status = ITEM_FAILED;
            if (job->outcomes)
                item_write_failure(&worker->context, code, &job->outcomes[i]);
            atomic_store_explicit(&job->any_unsuccessful, 1, memory_order_relaxed);
        }
        worker->context.message[0] = '\0';
        /* Release: result and outcome come before it. */
        atomic_store_explicit(&job->status[i], (uint8_t)status, memory_order_release);
        /* Not after the next item is announced: a death in between would run this one again. */
        atomic_signal_fence(memory_order_seq_cst);
    }
    return claim->count;
}

/* The number of items to take next, after `count` took so many nanoseconds. */
static uint32_t adapt(uint32_t want, uint32_t count, int64_t took)
{
    if (took > CLAIM_LONG) {
        int64_t fits = (CLAIM_SHORT + CLAIM_LONG) / 2 * count / took;
        return fits > 0 ? (uint32_t)fits : 1;
    }
    if (took < CLAIM_SHORT && count >= want && want <= CLAIM_ITEMS_MAX / 2)
        return want * 2;
    return want;
}

/* What tasks print in a process of their own comes out now, before a crash can take it along. Threads share the
 * program's buffer, which is the program's to flush. */
static void flush_output(const struct pool_shared *pool)
{
    if (pool->supervisor && __fpending(stdout) > 0)
        fflush(stdout);
}

/* The kernel forgets that a process wants to die with its parent when the process changes its user or group, as a task
 * may. */
static void renew_bond(const struct pool_shared *pool)
{
    if (pool->supervisor && !os_die_with_parent(pool->supervisor))
        _exit(0);
}

/* Works on a job until there is nothing left to take. Returns whether there was anything. */
static bool work_on(struct worker *worker, struct job *job)
{
    struct worker_slot *slot = worker->slot;
    struct job_tally *tally = &job->tallies[worker->index];
    struct claim claim;
    uint32_t want = job->chunk ? job->chunk : 1;
    bool any = false;

    atomic_store_explicit(&slot->done_before, atomic_load_explicit(&tally->done, memory_order_relaxed),
                          memory_order_relaxed);
    while (!atomic_load_explicit(&job->cancelled, memory_order_relaxed) &&
           job_claim(job, slot, worker->pool->workers, want, &claim)) {
        any = true;
        int64_t start = job->chunk ? 0 : os_now();
        uint32_t ended = run_items(worker, job, &claim);
        if (!job->chunk) {
            int64_t took = os_now() - start;
            want = adapt(want, claim.count, took);
            if (took > CLAIM_LONG)
                renew_bond(worker->pool);
        }
        flush_output(worker->pool);
        atomic_store_explicit(&slot->running, NOT_RUNNING, memory_order_relaxed);
        job_settle(slot, tally, ended);
    }
    /* Each worker that finds nothing more adds up. Their counts and this fence are ordered for all alike, so the last
     * one sees all. */
    atomic_thread_fence(memory_order_seq_cst);
    if (job_is_done(job, worker->pool->workers))
        job_announce(&worker->pool->jobs[job->index]);
    return any;
}

/* Enters a job if it is still active; see "the life of a job" in shared.h. */
static bool visit(struct worker *worker, unsigned index)
{
    struct worker_slot *slot = worker->slot;
    atomic_store_explicit(&slot->job, index + 1, memory_order_seq_cst);
    bool any = false;
    if (atomic_load_explicit(&worker->pool->active, memory_order_seq_cst) >> index & 1)
        any = work_on(worker, worker->pool->jobs[index].job);
    atomic_store_explicit(&slot->job, 0, memory_order_release);
    return any;
}

static bool look_for_work(struct worker *worker)
{
    uint64_t active = atomic_load_explicit(&worker->pool->active, memory_order_acquire);
    bool any = false;
    while (active) {
        uint64_t later = active & ~UINT64_C(0) << worker->next_job;
        unsigned index = (unsigned)__builtin_ctzll(later ? later : active);
        active &= ~(UINT64_C(1) << index);
        worker->next_job = (index + 1) % POOL_JOBS;
        any |= visit(worker, index);
    }
    return any;
}

static bool is_called(const struct pool_shared *pool, uint32_t seen)
{
    return atomic_load_explicit(&pool->wake, memory_order_seq_cst) != seen;
}

/* At most one idle worker spins: it spares the caller of a small map the cost of waking it, and the others stay off the
 * CPUs. */
static bool spin(struct worker *worker, uint32_t seen)
{
    struct pool_shared *pool = worker->pool;
    uint32_t nobody = 0;
    if (pool->spin == 0 || !atomic_compare_exchange_strong(&pool->spinner, &nobody, worker->index + 1))
        return false;
    int64_t deadline = os_now() + pool->spin;
    bool called = false;
    while (!called && os_now() < deadline) {
        for (int i = 0; i < 16 && !called; i++) {
            os_cpu_relax();
            called = is_called(pool, seen);
        }
        os_yield(); /* to a worker that the kernel has put behind this one */
    }
    atomic_store_explicit(&pool->spinner, 0, memory_order_release);
    return called;
}

static void idle(struct worker *worker, uint32_t seen)
{
    struct pool_shared *pool = worker->pool;
    if (spin(worker, seen))
        return;
    uint64_t bit = UINT64_C(1) << worker->index % 64;
    _Atomic uint64_t *asleep = &pool->asleep[worker->index / 64];
    /* Sequentially consistent on both sides: either worker_call sees the bit, or this sees the new count. */
    renew_bond(pool);
    atomic_fetch_or_explicit(asleep, bit, memory_order_seq_cst);
    if (!is_called(pool, seen))
        os_futex_wait(&pool->wake, seen, -1);
    atomic_fetch_and_explicit(asleep, ~bit, memory_order_relaxed);
}

void worker_run(struct pool_shared *pool, unsigned slot)
{
    struct worker worker = { .pool = pool, .slot = &pool->slots[slot], .index = slot };
    item_enter(&worker.context, pool);
    for (;;) {
        uint32_t seen = atomic_load_explicit(&pool->wake, memory_order_seq_cst);
        if (atomic_load_explicit(&pool->state, memory_order_acquire) != POOL_OPEN)
            break;
        if (!look_for_work(&worker))
            idle(&worker, seen);
    }
    item_leave(&worker.context);
}

void worker_call(struct pool_shared *pool, unsigned count)
{
    atomic_fetch_add_explicit(&pool->wake, 1, memory_order_seq_cst);
    unsigned words = (pool->workers + 63) / 64;
    for (unsigned i = 0; i < words; i++) {
        if (atomic_load_explicit(&pool->asleep[i], memory_order_seq_cst)) {
            os_futex_wake(&pool->wake, count < INT_MAX ? (int)count : INT_MAX);
            return;
        }
    }
}
