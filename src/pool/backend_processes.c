/* Workers that are processes, under a supervisor. SPDX-License-Identifier: MIT */
#include "memory/heap.h"
#include "memory/member.h"
#include "memory/span.h"
#include "os/clock.h"
#include "os/fork.h"
#include "os/process.h"
#include "os/usage.h"
#include "pool/board.h"
#include "pool/limits.h"
#include "pool/options.h"
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

/* While more workers are wanted than there are, one is started each time. */
#define GROWTH_INTERVAL INT64_C(1000000)

/* ---- in the supervisor: its private memory */

static struct recovery *recovery;
static struct limits *limits;

/* The pool's memory is kept as long as this process lives. Its owner, who had kept it until then, still lives. */
static bool keep_memory(const struct pool_shared *shared)
{
    return member_lodge(shared->owner) && member_process_is_alive(shared->owner);
}

static int begin(void *pool)
{
    struct pool_shared *shared = pool;
    struct member *self = member_self();
    if (!self || !keep_memory(shared))
        return -ENOMEM;
    recovery = recovery_create(shared);
    limits = limits_create(shared);
    if (!recovery || !limits)
        return -ENOMEM;
    shared->supervisor_pid = getpid();
    atomic_store(&shared->supervisor, self->process_id);
    return 0;
}

static unsigned wanted(void *pool)
{
    return atomic_load(&((struct pool_shared *)pool)->wanted);
}

static bool is_ending(void *pool, unsigned slot)
{
    const struct worker_slot *worker = &((struct pool_shared *)pool)->slots[slot];
    return atomic_load(&worker->ending) || atomic_load(&worker->retire);
}

static void retire(void *pool, unsigned slot)
{
    struct pool_shared *shared = pool;
    atomic_store(&shared->slots[slot].retire, 1);
    board_call_all(shared);
}

static void starting(void *pool, unsigned slot)
{
    struct pool_shared *shared = pool;
    if (slot >= pool_slots_used(shared))
        worker_slot_format(&shared->slots[slot]);
    worker_slots_raise(shared, slot + 1);
}

static void started(void *pool, unsigned slot, pid_t pid)
{
    worker_slot_begin(&((struct pool_shared *)pool)->slots[slot], (uint32_t)pid);
}

/* One that was never ready was of no use. */
static bool ended(void *pool, unsigned index, const struct supervisor_death *death)
{
    struct pool_shared *shared = pool;
    struct worker_slot *slot = &shared->slots[index];
    bool ready = atomic_load(&slot->ready);
    recovery_worker_ended(recovery, index, death, limits_verdict(limits, index));
    if (!atomic_load(&slot->ending))
        atomic_store(&slot->crashes, atomic_load(&slot->crashes) + 1);
    atomic_store(&slot->alive_before, atomic_load(&slot->alive_before) + os_now() - atomic_load(&slot->alive_since));
    atomic_store(&slot->ready, 0);
    atomic_store(&slot->retire, 0);
    atomic_store(&slot->ending, 0);
    return ready;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < 0 ? b : b < 0 || a < b ? a : b;
}

/* A pool that grows by itself does so where there is work and nobody idle. */
static int64_t grow(struct pool_shared *shared)
{
    uint32_t now = atomic_load(&shared->wanted);
    if (now >= atomic_load(&shared->most) || !board_has_work(shared) || board_has_idle(shared))
        return -1;
    atomic_compare_exchange_strong(&shared->wanted, &now, now + 1);
    return GROWTH_INTERVAL;
}

static int64_t attend(void *pool)
{
    struct pool_shared *shared = pool;
    atomic_store(&shared->attention, 0);
    atomic_store(&shared->next_look, 0);
    int64_t in = sooner(recovery_attend(recovery), limits_attend(limits));
    in = sooner(in, grow(shared));
    atomic_store(&shared->next_look, in < 0 ? INT64_MAX : os_now() + in);
    return in;
}

static void give_up(void *pool, int err)
{
    struct pool_shared *shared = pool;
    uint32_t expected = POOL_OPEN;
    atomic_store_explicit(&shared->reason, err, memory_order_relaxed);
    atomic_compare_exchange_strong(&shared->state, &expected,
                                   err == MPROC_E_WORKERS_FAIL ? POOL_WORKERS_FAIL : POOL_NO_WORKERS);
}

static bool closing(void *pool)
{
    struct pool_shared *shared = pool;
    return atomic_load_explicit(&shared->state, memory_order_acquire) != POOL_OPEN;
}

/* ---- in a worker */

static int work(void *pool, unsigned slot)
{
    struct pool_shared *shared = pool;
    /* What the caller had printed and not flushed is the caller's to print. */
    __fpurge(stdout);
    __fpurge(stderr);
    if (!keep_memory(shared) || getppid() != shared->supervisor_pid)
        return 0;
    if (shared->options.pin)
        os_bind_to_cpu(slot);
    if (shared->options.nice && nice(shared->options.nice) == -1)
        errno = 0; /* -1 is a value, too; what is not permitted was refused when the pool opened */
    int code = worker_run(shared, slot);
    fflush(stdout);
    return code != 0;
}

static const struct supervisor_calls calls = {
    .begin = begin,
    .wanted = wanted,
    .is_ending = is_ending,
    .retire = retire,
    .work = work,
    .starting = starting,
    .started = started,
    .ended = ended,
    .attend = attend,
    .give_up = give_up,
    .closing = closing,
};

static int mproc_pool_supervisor(const struct supervisor_message *message)
{
    supervisor_be(message, &calls);
}
MPROC_PROCESS(mproc_pool_supervisor);

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
    int err = arguments->fork_with_threads || arguments->method != MPROC_FORK ? 0 : check_threads();
    if (err)
        return err;
    struct pool_shared *shared = heap_allocate(pool_shared_size(arguments), false);
    if (!shared)
        return -ENOMEM;
    pool_format_shared(shared, arguments);
    shared->owner = member_self()->process_id;
    shared->handle = pool->handle;
    pool->shared = shared;
    struct supervisor_options options = {
        .name = arguments->name,
        .fork_with_threads = arguments->fork_with_threads,
        .useless_most = (unsigned)arguments->start_failures,
        .method = arguments->method,
        .function = "mproc_pool_supervisor",
        .error = arguments->error,
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
    board_call_all(pool->shared);
    return state;
}

/* Workers whose supervisor was killed became children of this process, and nobody else's. They have closed their files,
 * as has been seen, and are about to be zombies. */
static void reap_orphans(const struct pool_shared *shared)
{
    for (unsigned slot = 0; slot < pool_slots_used(shared); slot++) {
        pid_t pid = (pid_t)atomic_load_explicit(&shared->slots[slot].pid, memory_order_relaxed);
        if (pid > 0)
            os_reap_ending(pid);
    }
}

static int stop(struct pool *pool)
{
    bool ended_before = supervisor_has_ended(&pool->supervisor);
    bool orderly = set_state(pool, POOL_CLOSING) == POOL_CLOSING;
    int reason = orderly ? MPROC_E_SUPERVISOR_DIED : pool_reason(pool);
    bool gone = supervisor_stop(&pool->supervisor, orderly ? CLOSE_PATIENCE : 0);
    pool_keep_memory_unless(pool, gone);
    if (pool->supervisor.killed && os_adopts_orphans())
        reap_orphans(pool->shared);
    return reason == MPROC_E_TERMINATED || (orderly && !ended_before) ? 0 : reason;
}

static void break_off(struct pool *pool)
{
    set_state(pool, POOL_TERMINATING);
    supervisor_end_now(&pool->supervisor);
}

static bool has_broken(const struct pool *pool)
{
    return !member_process_is_alive(atomic_load(&pool->shared->supervisor));
}

static bool workers_gone(struct pool *pool)
{
    return supervisor_wait_workers_gone(&pool->supervisor) == 0;
}

static void look(struct pool *pool)
{
    if (board_needs_attention(pool->shared, INT64_MIN))
        supervisor_tell(&pool->supervisor);
}

static void *allocate(size_t size)
{
    return size <= SPAN_SMALL_MOST ? heap_allocate_small(size, CACHE_LINE_PAIR) : heap_allocate(size, true);
}

const struct backend backend_processes = {
    .separate_memory = true,
    .shares_heap = true,
    .start = start,
    .stop = stop,
    .break_off = break_off,
    .has_broken = has_broken,
    .workers_gone = workers_gone,
    .look = look,
    .allocate = allocate,
    .free = heap_free,
};
