/* Stopping items that run. SPDX-License-Identifier: MIT */
#include "pool/limits.h"

#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"
#include "os/subtree.h"
#include "os/usage.h"
#include "pool/job.h"

#include <signal.h>
#include <stdlib.h>

/* How often memory is looked at, if there is a limit. */
#define MEMORY_INTERVAL INT64_C(50000000)

/* What is under way with a worker's item. */
struct stop {
    uint64_t number; /* of the item; what it was when nothing is under way */
    enum mproc_outcome_kind reason;
    enum stop_step { STEP_NONE = 0, STEP_ASK, STEP_TERMINATE, STEP_KILL } step;
    int64_t next; /* when the next step is due */
};

struct limits {
    struct pool_shared *pool;
    int64_t memory_due;
    struct stop stops[MPROC_WORKERS_MAX];
};

struct limits *limits_create(struct pool_shared *pool)
{
    struct limits *limits = calloc(1, sizeof *limits);
    if (limits)
        limits->pool = pool;
    return limits;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t later_by(int64_t now, int64_t grace)
{
    return grace < 0 || grace > INT64_MAX - now ? INT64_MAX : now + grace;
}

/* ---- the steps */

static bool change(struct worker_slot *slot, uint64_t number, enum stop_state from, enum stop_state to)
{
    uint64_t seen = number << STOP_NUMBER_SHIFT | from;
    return atomic_compare_exchange_strong(&slot->stop, &seen, number << STOP_NUMBER_SHIFT | to);
}

/* To the worker, and to what its task has started. */
static void send(const struct worker_slot *slot, int signal)
{
    pid_t pid = (pid_t)atomic_load(&slot->pid);
    if (pid <= 0)
        return;
    int fd = os_pidfd_open(pid);
    struct os_subtree subtree = { 0 };
    os_subtree_look(&subtree, pid);
    if (fd >= 0)
        os_subtree_signal(&subtree, pid, fd, signal);
    else
        kill(pid, signal); /* not reaped yet: its number is its own */
    os_subtree_forget(&subtree);
    os_close_all(&fd, 1);
}

static void ask(struct limits *limits, unsigned index, uint64_t number, enum mproc_outcome_kind reason, int64_t now)
{
    struct stop *stop = &limits->stops[index];
    if (!change(&limits->pool->slots[index], number, STOP_NONE, STOP_ASKED))
        return;
    *stop = (struct stop) { number, reason, STEP_ASK, later_by(now, limits->pool->options.ask_grace) };
}

/* What follows when the time of a step is over. */
static void go_on(struct limits *limits, unsigned index, int64_t now)
{
    struct stop *stop = &limits->stops[index];
    struct worker_slot *slot = &limits->pool->slots[index];
    if (stop->step == STEP_ASK) {
        if (!change(slot, stop->number, STOP_ASKED, STOP_DOOMED)) {
            stop->step = STEP_NONE;
            return;
        }
        stop->step = STEP_TERMINATE;
        stop->next = later_by(now, limits->pool->options.terminate_grace);
        send(slot, SIGTERM);
    } else {
        stop->step = STEP_KILL;
        stop->next = later_by(now, INT64_C(1000000000)); /* should the signal have been lost on its way */
        send(slot, SIGKILL);
    }
}

/* At once. */
static void doom(struct limits *limits, unsigned index, uint64_t number, enum mproc_outcome_kind reason, int64_t now)
{
    struct worker_slot *slot = &limits->pool->slots[index];
    if (!change(slot, number, STOP_NONE, STOP_DOOMED) && !change(slot, number, STOP_ASKED, STOP_DOOMED))
        return;
    limits->stops[index] = (struct stop) { number, reason, STEP_TERMINATE, now };
    go_on(limits, index, now);
}

enum mproc_outcome_kind limits_verdict(const struct limits *limits, unsigned slot)
{
    uint64_t word = atomic_load(&limits->pool->slots[slot].stop);
    const struct stop *stop = &limits->stops[slot];
    uint64_t state = word & STOP_STATE_MASK;
    if ((state != STOP_ASKED && state != STOP_DOOMED) || stop->number != word >> STOP_NUMBER_SHIFT)
        return MPROC_CRASHED;
    return stop->reason;
}

/* ---- looking */

/* Why an item is to be stopped; MPROC_OK: it is not, or not before *due. */
static enum mproc_outcome_kind reason_to_stop(const struct job *job, int64_t started, int64_t now, int64_t *due)
{
    if (atomic_load(&job->stop_running))
        return MPROC_CANCELLED;
    if (job->timeout == 0)
        return MPROC_OK;
    if (now - started > job->timeout)
        return MPROC_TIMED_OUT;
    if (job->timeout < INT64_MAX - started - 1)
        *due = earlier(*due, started + job->timeout + 1);
    return MPROC_OK;
}

static void look_at_job(struct limits *limits, unsigned index, uint32_t job_in, int64_t now, int64_t *due)
{
    struct worker_slot *slot = &limits->pool->slots[index];
    uint64_t word = atomic_load(&slot->stop), number = word >> STOP_NUMBER_SHIFT;
    int64_t started = atomic_load(&slot->started);
    /* Only one that runs an item of it all the while is in the job for certain. */
    if ((word & STOP_STATE_MASK) != STOP_NONE || atomic_load(&slot->job) != job_in || atomic_load(&slot->stop) != word)
        return;
    const struct job *job = limits->pool->jobs[job_in - 1];
    enum mproc_outcome_kind reason = reason_to_stop(job, started, now, due);
    if (reason != MPROC_OK)
        ask(limits, index, number, reason, now);
}

static void look_at_worker(struct limits *limits, unsigned index, int64_t now, int64_t *due)
{
    struct pool_shared *pool = limits->pool;
    struct worker_slot *slot = &pool->slots[index];
    struct stop *stop = &limits->stops[index];
    uint32_t in_job = atomic_load(&slot->job);
    if (atomic_load(&slot->pid) == 0)
        stop->step = STEP_NONE;
    if (in_job) {
        _Atomic uint64_t *supervised = &pool->supervised[(in_job - 1) / 64];
        uint64_t before = atomic_load(supervised);
        atomic_store(supervised, before | UINT64_C(1) << (in_job - 1) % 64);
        /* Still in it: who frees the job looks at the slots first, and then at what was just stored. */
        if (atomic_load(&slot->job) == in_job)
            look_at_job(limits, index, in_job, now, due);
        atomic_store(supervised, before);
    }
    if (stop->step != STEP_NONE && (atomic_load(&slot->stop) >> STOP_NUMBER_SHIFT) != stop->number)
        stop->step = STEP_NONE;
    if (stop->step != STEP_NONE && now >= stop->next)
        go_on(limits, index, now);
    if (stop->step != STEP_NONE)
        *due = earlier(*due, stop->next);
}

static void look_at_memory(struct limits *limits, int64_t now)
{
    struct pool_shared *pool = limits->pool;
    for (unsigned i = 0; i < pool_slots_used(pool); i++) {
        struct worker_slot *slot = &pool->slots[i];
        pid_t pid = (pid_t)atomic_load(&slot->pid);
        uint64_t word = atomic_load(&slot->stop);
        if (pid > 0 && os_private_memory(pid) > pool->options.memory_kill)
            doom(limits, i, word >> STOP_NUMBER_SHIFT, MPROC_OVER_MEMORY, now);
    }
    limits->memory_due = now + MEMORY_INTERVAL;
}

int64_t limits_attend(struct limits *limits)
{
    struct pool_shared *pool = limits->pool;
    int64_t now = os_now(), due = INT64_MAX;
    if (pool->options.memory_kill) {
        if (now >= limits->memory_due)
            look_at_memory(limits, now);
        due = limits->memory_due;
    }
    for (unsigned i = 0; i < pool_slots_used(pool); i++)
        look_at_worker(limits, i, now, &due);
    return due == INT64_MAX ? -1 : due > now ? due - now : 0;
}
