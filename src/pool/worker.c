/* A worker: looks for jobs, runs their items, sleeps. SPDX-License-Identifier: MIT */
#include "pool/worker.h"

#include "os/clock.h"
#include "os/futex.h"
#include "os/process.h"
#include "os/usage.h"
#include "pool/board.h"
#include "pool/item.h"
#include "pool/job.h"
#include "pool/pool.h"
#include "process/registry.h"

#include <errno.h>
#include <mproc/error.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A claim should keep a worker busy for about this long: much longer than taking it costs, short enough that all
 * workers end at about the same time. */
#define CLAIM_SHORT INT64_C(10000)
#define CLAIM_LONG INT64_C(40000)

/* After so long it is another job's turn. */
#define TURN INT64_C(1000000)

/* How often a worker's memory is looked at. */
#define MEMORY_INTERVAL INT64_C(1000000)

/* How often at most a worker that has much to do puts right what matters most of its process; and, but after what took
 * as long as a millisecond, all signal dispositions, which takes as long as a small task. */
#define TIDY_INTERVAL INT64_C(200000)
#define TIDY_ALL_INTERVAL INT64_C(10000000)
#define TIDY_ALL_AFTER INT64_C(1000000)

/* A worker that spins looks so often before it gives way to others: for some microseconds. */
enum { SPIN_LOOKS = 100 };

enum { MEASURED_CLAIMS = 32 }; /* with a fixed chunk, one claim of so many */

struct worker {
    struct pool_shared *pool;
    struct worker_slot *slot;
    unsigned index;
    struct runner runner;
    bool is_process;
    uint64_t items_left; /* until it is to be replaced */
    int64_t memory_looked, tidied, tidied_all;

    /* The job that it was in last, and how many items it took there. */
    const struct job *last_job;
    int64_t last_submitted;
    uint32_t last_want;

    /* The task that it found by name last. */
    char found_name[128];
    int (*found)(const void *input, void *output);
};

_Thread_local unsigned worker_depth;

/* ---- between items */

/* What tasks print in a process of their own comes out now, before a crash can take it along. Threads share the
 * program's buffer, which is the program's to flush. */
static void flush_output(const struct worker *worker)
{
    if (worker->is_process && __fpending(stdout) > 0)
        fflush(stdout);
}

/* What a task may have changed of its process, and the next one should not find. The kernel forgets that a process
 * wants to die with its parent when the process changes its user or group. */
static void tidy_up(struct worker *worker, int64_t now)
{
    if (!worker->is_process)
        return;
    if (now - worker->tidied_all >= TIDY_ALL_INTERVAL) {
        os_signals_reset_but(SIGINT);
        worker->tidied_all = now;
    }
    worker->tidied = now;
    os_signals_unblock();
    signal(SIGCHLD, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    os_signal_ignore(SIGINT);
    if (!os_die_with_parent(worker->pool->supervisor_pid))
        _exit(0);
}

/* After items that took so long. */
static void tidy_up_after(struct worker *worker, int64_t took, int64_t now)
{
    if (took >= TIDY_ALL_AFTER)
        worker->tidied_all = 0;
    if (took > CLAIM_LONG && now - worker->tidied >= TIDY_INTERVAL)
        tidy_up(worker, now);
}

static bool is_above_memory_limit(struct worker *worker, int64_t now)
{
    uint64_t limit = worker->pool->options.memory_limit;
    if (limit == 0 || !worker->is_process || now - worker->memory_looked < MEMORY_INTERVAL)
        return false;
    worker->memory_looked = now;
    return os_private_memory(getpid()) > limit;
}

static bool is_to_end(struct worker *worker)
{
    return atomic_load_explicit(&worker->slot->ending, memory_order_relaxed) ||
           atomic_load_explicit(&worker->slot->retire, memory_order_relaxed) ||
           atomic_load_explicit(&worker->pool->state, memory_order_acquire) != POOL_OPEN;
}

static void set_ending(struct worker *worker, enum worker_ending why)
{
    uint32_t stays = WORKER_STAYS;
    atomic_compare_exchange_strong(&worker->slot->ending, &stays, why);
}

/* ---- items */

static void count(struct worker_slot *slot, uint64_t items, uint64_t unsuccessful)
{
    atomic_store_explicit(&slot->items, atomic_load_explicit(&slot->items, memory_order_relaxed) + items,
                          memory_order_relaxed);
    if (unsuccessful)
        atomic_store_explicit(&slot->unsuccessful,
                              atomic_load_explicit(&slot->unsuccessful, memory_order_relaxed) + unsuccessful,
                              memory_order_relaxed);
}

/* Runs the items of a claim. */
static void run_items(struct worker *worker, struct job *job, const struct claim *claim)
{
    uint32_t end = claim_range(claim).end, i = claim->first;
    if (__builtin_expect(!job->watched, 1))
        i = item_run_range(&worker->runner, job, i, end);
    while (i < end && !job_is_cancelled(job)) {
        if (job->sparse && !job_item_is_pending(job, i)) {
            i++;
        } else {
            int64_t took = item_run_watched(&worker->runner, job, i++);
            if (took > CLAIM_LONG) {
                flush_output(worker);
                tidy_up_after(worker, took, os_now());
            }
        }
    }
    job_cancel_items(job, i, end);
    uint32_t unsuccessful = worker->runner.retried;
    worker->runner.retried = 0;
    if (atomic_load_explicit(&job->any_unsuccessful, memory_order_relaxed))
        for (uint32_t item = claim->first; item < i; item++)
            unsuccessful += job->status[item] != item_status(MPROC_OK);
    count(worker->slot, i - claim->first, unsuccessful);
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

static uint32_t first_want(const struct worker *worker, const struct job *job)
{
    if (job->chunk)
        return job->chunk;
    return job == worker->last_job && job->submitted == worker->last_submitted ? worker->last_want : 1;
}

/* The claim is done, and measured. */
static void note_claim(struct worker *worker, struct job *job, const struct claim *claim, int64_t took, int64_t now)
{
    histogram_add(&worker->slot->run, took / claim->count, claim->count);
    histogram_add(&worker->slot->latency, now - job->submitted, claim->count);
    if (job->summed)
        atomic_fetch_add_explicit(&job->ran, took, memory_order_relaxed);
    tidy_up_after(worker, took, now);
    if (is_above_memory_limit(worker, now))
        set_ending(worker, WORKER_TO_BE_REPLACED);
}

/* Where there is more work than workers, in a pool that grows by itself. */
static void ask_for_more_workers(const struct worker *worker)
{
    struct pool_shared *pool = worker->pool;
    if (!pool->options.adaptive ||
        atomic_load_explicit(&pool->wanted, memory_order_relaxed) >= atomic_load(&pool->most) ||
        !board_has_work(pool) || board_has_idle(pool))
        return;
    if (pool->threads)
        pool->threads->backend->look(pool->threads);
    else
        board_call_supervisor(pool, INT64_MIN);
}

static bool take(struct worker *worker, struct job *job, uint32_t want, struct claim *claim)
{
    uint32_t most = want < worker->items_left ? want : (uint32_t)worker->items_left;
    /* More than one item is taken only where items are short, and then no more workers run than there are CPUs. */
    unsigned workers = atomic_load_explicit(&worker->pool->wanted, memory_order_relaxed);
    if (workers > worker->pool->cpus)
        workers = worker->pool->cpus;
    return job_claim(job, worker->slot, worker->index, workers, most, claim);
}

static void run_claim(struct worker *worker, struct job *job, const struct claim *claim)
{
    struct worker_slot *slot = worker->slot;
    run_items(worker, job, claim);
    flush_output(worker);
    atomic_store_explicit(&slot->running, NOT_RUNNING, memory_order_relaxed);
    atomic_store_explicit(&slot->claim, 0, memory_order_release);
    worker->items_left -= claim->count;
    if (worker->items_left == 0)
        set_ending(worker, WORKER_TO_BE_REPLACED);
}

static void leave(struct worker *worker, struct job *job, uint32_t want, bool left)
{
    struct pool_shared *pool = worker->pool;
    worker->last_job = job;
    worker->last_submitted = job->submitted;
    worker->last_want = want;
    if (!left || job_is_cancelled(job) || !job_has_waiting(job)) {
        board_close(pool, job);
    } else { /* it may have been handed over: who has just looked in vain, and is not asleep yet, looks again */
        board_open(pool, job);
        board_call(pool);
    }
    board_announce_if_done(pool, job);
}

/* Works on a job until there is nothing left to take, or others are to have their turn. Returns whether there was
 * anything. */
static bool work_on(struct worker *worker, struct job *job)
{
    struct pool_shared *pool = worker->pool;
    struct claim claim;
    uint32_t want = first_want(worker, job);
    bool any = false, left = true;
    int64_t turn_over = 0, start = 0;
    /* A caller that is awake calls others if this takes longer than a call does. */
    unsigned first_call = atomic_load_explicit(&job->caller_looks, memory_order_relaxed) ? 1 : 0;
    for (unsigned claims = 0; !is_to_end(worker) && !job_is_cancelled(job); claims++) {
        left = take(worker, job, want, &claim);
        if (!left)
            break;
        any = true;
        bool measured = !job->chunk || claims % MEASURED_CLAIMS == 0;
        if (measured && start == 0)
            start = os_now();
        if (turn_over == 0)
            turn_over = start + TURN;
        if (claims == first_call) {
            board_call_for(pool, job);
            ask_for_more_workers(worker);
        }
        run_claim(worker, job, &claim);
        if (!measured) {
            start = 0;
            continue;
        }
        int64_t now = os_now();
        note_claim(worker, job, &claim, now - start, now);
        if (!job->chunk)
            want = adapt(want, claim.count, now - start);
        start = job->chunk ? 0 : now;
        if (now > turn_over || board_has_work_above(pool, job->level))
            break;
    }
    leave(worker, job, want, left);
    return any;
}

/* ---- jobs */

/* Finds the task in this image of the program. */
static int missing(const void *input, void *output)
{
    (void)input;
    (void)output;
    return mproc_task_fail_at(NULL, 0, MPROC_E_FUNCTION_MISSING, "%s", mproc_strerror(MPROC_E_FUNCTION_MISSING));
}

static int mismatched(const void *input, void *output)
{
    (void)input;
    (void)output;
    return mproc_task_fail_at(NULL, 0, MPROC_E_TYPE_MISMATCH,
                              "the worker's program has a task of that name with other types");
}

static const struct mproc_task *find_task(const char *name)
{
    const struct mproc_task *task = registry_find(NULL, name);
    return task && task->kind == MPROC_KIND_TASK ? task : NULL;
}

static void find_call(struct worker *worker, const struct job *job)
{
    worker->runner.call = job->call;
    if (job->call)
        return;
    if (worker->found && strcmp(worker->found_name, job->name) == 0) {
        worker->runner.call = worker->found;
        return;
    }
    const struct mproc_task *task = find_task(job->name);
    if (!task)
        worker->runner.call = missing;
    else if (task->input_size && (task->input_size != job->input_size || task->output_size != job->output_size))
        worker->runner.call = mismatched;
    else
        worker->runner.call = task->call;
    worker->found = NULL;
    size_t size = strlen(job->name) + 1;
    if (size <= sizeof worker->found_name) {
        memcpy(worker->found_name, job->name, size);
        worker->found = worker->runner.call;
    }
}

/* In a job that the slot says the worker is in, if it is still active; see "the life of a job" in shared.h. */
static bool visit_active(struct worker *worker, struct job *job)
{
    worker->runner.job = job;
    worker->runner.context.attempt = 1;
    find_call(worker, job);
    bool any = work_on(worker, job);
    worker->runner.job = NULL;
    return any;
}

static bool visit(struct worker *worker, uint32_t index, uint32_t level)
{
    struct worker_slot *slot = worker->slot;
    atomic_store_explicit(&slot->job, index + 1, memory_order_seq_cst);
    bool any = false;
    if (!job_is_active(worker->pool, index) || worker->pool->jobs[index]->level != level)
        board_forget(worker->pool, index, level);
    else
        any = visit_active(worker, worker->pool->jobs[index]);
    atomic_store_explicit(&slot->job, 0, memory_order_release);
    return any;
}

static bool look_for_work(struct worker *worker)
{
    bool any = false;
    int index;
    uint32_t level;
    while (!is_to_end(worker) && (index = board_pick(worker->pool, &level)) >= 0)
        any |= visit(worker, (uint32_t)index, level);
    return any;
}

/* ---- idle */

static bool is_called(const struct pool_shared *pool, uint32_t seen)
{
    return atomic_load_explicit(&pool->wake, memory_order_seq_cst) != seen;
}

/* At most one idle worker spins: it spares the caller of a small map the cost of waking it, and the others stay off the
 * CPUs. Returns whether there is a reason to look for work. *job: the one that it was handed, or -1. */
static bool spin(struct worker *worker, uint32_t seen, int *job)
{
    struct pool_shared *pool = worker->pool;
    *job = -1;
    if (pool->spin == 0 || !board_begin_spinning(pool, worker->index))
        return false;
    int64_t deadline = os_now() + pool->spin;
    bool called = is_called(pool, seen);
    for (int round = 0; !called && (round == 0 || os_now() < deadline); round++) {
        for (int i = 0; i < SPIN_LOOKS && !called; i++) {
            os_cpu_relax();
            called = is_called(pool, seen) || board_has_handed_over(pool);
        }
        if (called)
            break;
        os_yield(); /* to a worker that the kernel has put behind this one */
        if (round == 1)
            tidy_up(worker, os_now());
    }
    *job = board_end_spinning(pool, worker->slot);
    return called || *job >= 0;
}

/* Others may have counted on the worker to look for more. */
static void do_what_was_handed(struct worker *worker, uint32_t index, uint32_t seen)
{
    struct pool_shared *pool = worker->pool;
    if (is_called(pool, seen))
        board_call_next(pool);
    if (job_is_active(pool, index)) {
        struct job *job = pool->jobs[index];
        __builtin_prefetch(job);
        __builtin_prefetch(&job->waiting, 1);
        __builtin_prefetch(job->small, 1);
        visit_active(worker, job);
    }
    atomic_store_explicit(&worker->slot->job, 0, memory_order_release);
}

/* One of a pool that shrinks by itself. */
static void retire_if_not_needed(struct worker *worker)
{
    struct pool_shared *pool = worker->pool;
    uint32_t wanted = atomic_load(&pool->wanted);
    while (wanted > atomic_load(&pool->least))
        if (atomic_compare_exchange_weak(&pool->wanted, &wanted, wanted - 1)) {
            set_ending(worker, WORKER_NOT_NEEDED);
            return;
        }
}

static void sleep_until_called(struct worker *worker, uint32_t seen)
{
    struct pool_shared *pool = worker->pool;
    int64_t patience = pool->options.adaptive ? pool->options.idle_timeout : -1;
    uint64_t bit = UINT64_C(1) << worker->index % 64;
    _Atomic uint64_t *asleep = &pool->asleep[worker->index / 64];
    int64_t now = os_now();
    tidy_up(worker, now);
    if (is_above_memory_limit(worker, now))
        set_ending(worker, WORKER_TO_BE_REPLACED);
    /* Sequentially consistent on both sides: either board_call sees the bit, or this sees the new count. */
    atomic_fetch_or_explicit(asleep, bit, memory_order_seq_cst);
    int result = 0;
    if (!is_called(pool, seen) && !is_to_end(worker))
        result = os_futex_wait(&pool->wake, seen, patience);
    atomic_fetch_and_explicit(asleep, ~bit, memory_order_relaxed);
    if (result == -ETIMEDOUT && !is_called(pool, seen))
        retire_if_not_needed(worker);
}

static void idle(struct worker *worker, uint32_t seen)
{
    int64_t now = os_now();
    struct worker_slot *slot = worker->slot;
    worker_slot_rest(slot, now);
    atomic_store_explicit(&slot->idle_since, now, memory_order_relaxed);
    int job;
    if (!spin(worker, seen, &job))
        sleep_until_called(worker, seen);
    atomic_store_explicit(&slot->idle_since, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->working_since, os_now(), memory_order_relaxed);
    if (job >= 0)
        do_what_was_handed(worker, (uint32_t)job, seen);
}

/* ---- from the beginning to the end */

static int (*find_hook(const struct worker *worker, const char *name, int (*call)(const void *, void *)))(const void *,
                                                                                                          void *)
{
    if (name[0] == '\0' || !worker->pool->options.by_name)
        return name[0] ? call : NULL;
    const struct mproc_task *task = find_task(name);
    return task ? task->call : missing;
}

static int initialise(struct worker *worker)
{
    const struct pool_options *options = &worker->pool->options;
    int (*call)(const void *, void *) = find_hook(worker, options->initializer, options->initialize);
    if (options->state_size > 0 && !worker->runner.context.state)
        return -ENOMEM;
    return call ? call(options->initializer_input, worker->runner.context.state) : 0;
}

static void finalise(struct worker *worker)
{
    const struct pool_options *options = &worker->pool->options;
    int (*call)(const void *, void *) = find_hook(worker, options->finalizer, options->finalize);
    if (call)
        call(options->finalizer_input, worker->runner.context.state);
}

static void work(struct worker *worker)
{
    atomic_store_explicit(&worker->slot->working_since, os_now(), memory_order_relaxed);
    while (!is_to_end(worker)) {
        uint32_t seen = atomic_load_explicit(&worker->pool->wake, memory_order_seq_cst);
        if (!look_for_work(worker) && !is_to_end(worker))
            idle(worker, seen);
    }
}

int worker_run(struct pool_shared *pool, unsigned index)
{
    struct worker worker = {
        .pool = pool,
        .slot = &pool->slots[index],
        .index = index,
        .is_process = pool->supervisor_pid != 0,
        .tidied_all = os_now(),
        .items_left = pool->options.items_per_worker ? pool->options.items_per_worker : UINT64_MAX,
        .runner = { .pool = pool, .slot = &pool->slots[index], .self = member_self(), .pid = getpid() },
    };
    void *state = pool->options.state_size > 0 ? calloc(1, pool->options.state_size) : NULL;
    worker.runner.context.state = state;
    worker.runner.context.worker = (int)index;
    worker_depth = pool->depth;
    runner_enter(&worker.runner, pool, pool->handle);
    int code = initialise(&worker);
    if (code == 0) {
        worker.runner.context.is_stopped = runner_is_stopped;
        atomic_store(&worker.slot->ready, 1);
        work(&worker);
        if (board_has_work(pool)) /* others may have counted on this one to look */
            board_call(pool);
        worker_slot_rest(worker.slot, os_now());
        set_ending(&worker, WORKER_TO_BE_REPLACED);
        finalise(&worker);
    }
    free(state);
    runner_leave(&worker.runner);
    return code;
}

/* ---- slots */

void worker_slot_format(struct worker_slot *slot)
{
    memset(slot, 0, sizeof *slot);
    atomic_store(&slot->stop, STOP_ENDED);
    atomic_store(&slot->running, NOT_RUNNING);
}

void worker_slot_rest(struct worker_slot *slot, int64_t now)
{
    int64_t since = atomic_load_explicit(&slot->working_since, memory_order_relaxed);
    int64_t busy = atomic_load_explicit(&slot->busy, memory_order_relaxed);
    atomic_store_explicit(&slot->busy, since ? busy + now - since : busy, memory_order_relaxed);
    atomic_store_explicit(&slot->working_since, 0, memory_order_relaxed);
}

void worker_slot_begin(struct worker_slot *slot, uint32_t pid)
{
    int64_t now = os_now();
    atomic_store(&slot->starts, atomic_load(&slot->starts) + 1);
    atomic_store(&slot->alive_since, now);
    atomic_store_explicit(&slot->pid, pid, memory_order_relaxed);
}

void worker_slots_raise(struct pool_shared *pool, unsigned count)
{
    if (pool_slots_used(pool) < count)
        atomic_store_explicit(&pool->slots_used, count, memory_order_release);
}
