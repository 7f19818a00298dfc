/* Workers that are processes, under a supervisor. SPDX-License-Identifier: MIT */
#include "memory/heap.h"
#include "memory/member.h"
#include "os/fork.h"
#include "os/futex.h"
#include "os/process.h"
#include "pool/pool.h"
#include "pool/recovery.h"
#include "pool/worker.h"

#include <errno.h>
#include <limits.h>
#include <mproc/error.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <unistd.h>

#define CLOSE_PATIENCE INT64_C(5000000000)

/* ---- in the supervisor: its private memory */

static struct os_robust_list robust;
static struct recovery *recovery;

/* The process that the pool's memory belongs to. Set before the fork. */
static member_id owner;

static pid_t supervisor;

/* The pool's memory is kept as long as this process lives. Whoever forked it had kept it until then, and still lives.
 */
static bool keep_memory(pid_t parent)
{
    return member_lodge(owner) && getppid() == parent;
}

static int begin(void *pool)
{
    struct pool_shared *shared = pool;
    int err = os_robust_begin(&robust);
    if (err)
        return err;
    if (!keep_memory(member_pid(owner)))
        return -ENOMEM;
    shared->supervisor = supervisor = getpid();
    recovery = recovery_create(shared);
    if (!recovery)
        return -ENOMEM;
    for (int i = 0; i < POOL_JOBS; i++)
        atomic_store(&shared->jobs[i].waiting.word, (uint32_t)getpid() | JOB_OVER);
    os_robust_add(&robust, &shared->jobs[0].waiting, POOL_JOBS, sizeof shared->jobs[0]);
    return 0;
}

static void started(void *pool, unsigned slot, pid_t pid)
{
    struct pool_shared *shared = pool;
    atomic_store_explicit(&shared->slots[slot].pid, (uint32_t)pid, memory_order_relaxed);
}

static void ended(void *pool, unsigned slot, pid_t pid, int status)
{
    (void)pool;
    recovery_worker_ended(recovery, slot, pid, status);
}

static int64_t attend(void *pool)
{
    (void)pool;
    return recovery_attend(recovery);
}

static void give_up(void *pool, int err)
{
    struct pool_shared *shared = pool;
    uint32_t expected = POOL_OPEN;
    atomic_store_explicit(&shared->reason, err, memory_order_relaxed);
    atomic_compare_exchange_strong(&shared->state, &expected, POOL_NO_WORKERS);
}

static bool closing(void *pool)
{
    struct pool_shared *shared = pool;
    return atomic_load_explicit(&shared->state, memory_order_acquire) != POOL_OPEN;
}

/* ---- in a worker */

static int work(void *pool, unsigned slot)
{
    /* What the caller had printed and not flushed is the caller's to print. */
    __fpurge(stdout);
    __fpurge(stderr);
    if (!keep_memory(supervisor))
        return 0;
    worker_run(pool, slot);
    fflush(stdout);
    return 0;
}

static const struct supervisor_calls calls = {
    .begin = begin,
    .work = work,
    .started = started,
    .ended = ended,
    .attend = attend,
    .give_up = give_up,
    .closing = closing,
};

/* ---- in the caller */

/* Where nobody knows, as without /proc, the answer is no. */
static int check_threads(void)
{
    int other = os_has_other_threads();
    if (other == -EMFILE || other == -ENFILE || other == -ENOMEM)
        return other;
    return other ? MPROC_E_THREADED_FORK : 0;
}

static int start(struct pool *pool, const struct mproc_pool_open_arguments *arguments)
{
    int err = arguments->fork_with_threads ? 0 : check_threads();
    if (err)
        return err;
    struct pool_shared *shared = heap_allocate(pool_shared_size(pool->workers), true);
    if (!shared)
        return -ENOMEM;
    pool_format_shared(shared, pool->workers);
    pool->shared = shared;
    owner = member_self()->process_id;
    struct supervisor_options options = {
        .workers = pool->workers,
        .name = arguments->name ? arguments->name : POOL_NAME,
        .fork_with_threads = arguments->fork_with_threads,
    };
    err = supervisor_start(&pool->supervisor, &options, &calls, shared);
    if (err)
        heap_free(shared);
    return err;
}

static enum pool_state set_state(struct pool *pool, enum pool_state state)
{
    uint32_t before = POOL_OPEN;
    if (!atomic_compare_exchange_strong(&pool->shared->state, &before, state))
        return (enum pool_state)before;
    worker_call(pool->shared, UINT_MAX);
    return state;
}

/* Workers whose supervisor was killed became children of this process, and nobody else's. They have closed their files,
 * as has been seen, and are about to be zombies. */
static void reap_orphans(const struct pool_shared *shared)
{
    for (unsigned slot = 0; slot < shared->workers; slot++) {
        pid_t pid = (pid_t)atomic_load_explicit(&shared->slots[slot].pid, memory_order_relaxed);
        if (pid > 0)
            os_reap_ending(pid);
    }
}

static int stop(struct pool *pool)
{
    bool ended_before = supervisor_has_ended(&pool->supervisor);
    bool orderly = set_state(pool, POOL_CLOSING) == POOL_CLOSING;
    bool gone = supervisor_stop(&pool->supervisor, orderly ? CLOSE_PATIENCE : 0);
    pool_keep_memory_unless(pool, gone);
    if (pool->supervisor.killed && os_adopts_orphans())
        reap_orphans(pool->shared);
    if (gone)
        heap_free(pool->shared);
    return orderly && ended_before ? MPROC_E_SUPERVISOR_DIED : 0;
}

static void break_off(struct pool *pool)
{
    set_state(pool, POOL_TERMINATING);
    supervisor_end_now(&pool->supervisor);
}

static bool workers_gone(struct pool *pool)
{
    return supervisor_wait_workers_gone(&pool->supervisor) == 0;
}

const struct backend backend_processes = {
    .separate_memory = true,
    .start = start,
    .stop = stop,
    .break_off = break_off,
    .workers_gone = workers_gone,
    .allocate = heap_allocate,
    .free = heap_free,
};
