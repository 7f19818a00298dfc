/* After a worker's death. SPDX-License-Identifier: MIT
 *
 * The rule that all of it follows is the one in shared.h: an item that is in none of the first four places is orphaned.
 * Orphans go through the third place, the supervisor's own list, into a source.
 */
#include "pool/recovery.h"

#include "pool/job.h"
#include "pool/worker.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define RETRY_INTERVAL INT64_C(1000000)

struct entry {
    struct job *job;
    struct range items;
};

struct entries {
    struct entry *entry;
    size_t count, capacity;
};

struct recovery {
    struct pool_shared *pool;
    struct entries unresolved; /* claims in CLAIM_INTENT of workers that died */
    struct entries returned;   /* the third place: ranges that wait for an empty source */
};

struct recovery *recovery_create(struct pool_shared *pool)
{
    struct recovery *recovery = calloc(1, sizeof *recovery);
    if (recovery)
        recovery->pool = pool;
    return recovery;
}

static void add(struct entries *entries, struct job *job, struct range items)
{
    if (entries->count == entries->capacity) {
        size_t capacity = entries->capacity ? 2 * entries->capacity : 16;
        struct entry *larger = realloc(entries->entry, capacity * sizeof *larger);
        if (!larger)
            _exit(1);
        entries->entry = larger;
        entries->capacity = capacity;
    }
    entries->entry[entries->count++] = (struct entry) { job, items };
}

static void drop(struct entries *entries, size_t index)
{
    entries->entry[index] = entries->entry[--entries->count];
}

static bool within(struct range range, uint32_t item)
{
    return item >= range.next && item < range.end;
}

static bool is_pending(const struct job *job, uint32_t item)
{
    return atomic_load_explicit(&job->status[item], memory_order_acquire) == ITEM_PENDING;
}

/* ---- orphans of a claim in CLAIM_INTENT */

/* Where the items of a job are, as of one moment. Read in the order sources, claims, statuses: a worker publishes its
 * intent before it moves a source, so that whoever sees the source moved sees a claim, or the claim's items ended. */
struct picture {
    struct range sources[JOB_SOURCES];
    struct claim claims[MPROC_WORKERS_MAX];
    unsigned claims_count;
};

static void take_picture(const struct recovery *recovery, const struct job *job, struct picture *picture)
{
    for (int i = 0; i < JOB_SOURCES; i++)
        picture->sources[i] = range_unpack(atomic_load_explicit(&job->sources[i], memory_order_seq_cst));
    picture->claims_count = 0;
    for (unsigned i = 0; i < recovery->pool->workers; i++) {
        struct claim claim = claim_unpack(atomic_load_explicit(&recovery->pool->slots[i].claim, memory_order_seq_cst));
        if (claim.state != CLAIM_NONE && claim.job == job->index)
            picture->claims[picture->claims_count++] = claim;
    }
}

/* True while a live worker may or may not have taken some of the items. It will know in a few instructions. */
static bool is_being_taken(const struct picture *picture, struct range items)
{
    for (unsigned i = 0; i < picture->claims_count; i++) {
        struct range claimed = claim_range(&picture->claims[i]);
        if (picture->claims[i].state == CLAIM_INTENT && claimed.next < items.end && claimed.end > items.next)
            return true;
    }
    return false;
}

static bool is_somewhere(const struct recovery *recovery, const struct job *job, const struct picture *picture,
                         uint32_t item)
{
    for (int i = 0; i < JOB_SOURCES; i++)
        if (within(picture->sources[i], item))
            return true;
    for (unsigned i = 0; i < picture->claims_count; i++)
        if (within(claim_range(&picture->claims[i]), item))
            return true;
    for (size_t i = 0; i < recovery->returned.count; i++)
        if (recovery->returned.entry[i].job == job && within(recovery->returned.entry[i].items, item))
            return true;
    return !is_pending(job, item);
}

/* Puts the orphans among the items of a dead worker's intent on the list. Returns false if it has to be tried again. */
static bool resolve(struct recovery *recovery, struct job *job, struct range items)
{
    static struct picture picture;
    take_picture(recovery, job, &picture);
    if (is_being_taken(&picture, items))
        return false;
    for (uint32_t item = items.next; item < items.end; item++) {
        uint32_t first = item;
        while (item < items.end && !is_somewhere(recovery, job, &picture, item))
            item++;
        if (item > first)
            add(&recovery->returned, job, (struct range) { first, item });
    }
    return true;
}

/* ---- a claim in CLAIM_OWNED */

static void charge(struct job *job, uint32_t item, pid_t pid, int status)
{
    if (job->outcomes) {
        struct mproc_outcome *outcome = &job->outcomes[item];
        memset(outcome, 0, sizeof *outcome);
        outcome->kind = MPROC_CRASHED;
        outcome->pid = pid;
        if (WIFSIGNALED(status))
            outcome->signal = WTERMSIG(status);
        else
            outcome->exit_status = WEXITSTATUS(status);
    }
    atomic_store_explicit(&job->any_unsuccessful, 1, memory_order_relaxed);
    atomic_store_explicit(&job->status[item], ITEM_CRASHED, memory_order_release);
}

/* Returns how many items of the claim have ended; the others go on the list. */
static uint32_t give_back(struct recovery *recovery, struct job *job, const struct claim *claim)
{
    uint32_t ended = 0, end = claim_range(claim).end;
    for (uint32_t item = claim->first; item < end; item++) {
        uint32_t first = item;
        while (item < end && is_pending(job, item))
            item++;
        if (item > first)
            add(&recovery->returned, job, (struct range) { first, item });
        if (item < end)
            ended++;
    }
    return ended;
}

static void settle(struct recovery *recovery, struct job *job, unsigned index, pid_t pid, int status)
{
    struct worker_slot *slot = &recovery->pool->slots[index];
    struct claim claim = claim_unpack(atomic_load_explicit(&slot->claim, memory_order_relaxed));
    uint32_t running = atomic_load_explicit(&slot->running, memory_order_relaxed);
    if (claim.state == CLAIM_INTENT)
        add(&recovery->unresolved, job, claim_range(&claim));
    if (claim.state != CLAIM_OWNED)
        return;
    if (running != NOT_RUNNING && is_pending(job, running))
        charge(job, running, pid, status);
    uint32_t ended = give_back(recovery, job, &claim);
    atomic_store_explicit(&job->tallies[index].done,
                          atomic_load_explicit(&slot->done_before, memory_order_relaxed) + ended, memory_order_seq_cst);
}

/* ---- all of them */

/* A job in one of the lists must not be freed; see pool_shared.supervised. */
static void publish_supervised(struct recovery *recovery)
{
    uint64_t jobs = 0;
    const struct entries *lists[2] = { &recovery->unresolved, &recovery->returned };
    for (int list = 0; list < 2; list++)
        for (size_t i = 0; i < lists[list]->count; i++)
            jobs |= UINT64_C(1) << lists[list]->entry[i].job->index;
    atomic_store_explicit(&recovery->pool->supervised, jobs, memory_order_seq_cst);
}

static bool put_into_source(struct job *job, struct range items)
{
    for (int i = 1; i < JOB_SOURCES; i++) {
        struct range left = range_unpack(atomic_load_explicit(&job->sources[i], memory_order_relaxed));
        if (left.next >= left.end) {
            atomic_store_explicit(&job->sources[i], range_pack(items), memory_order_seq_cst);
            return true;
        }
    }
    return false;
}

static bool is_cancelled(const struct job *job)
{
    return atomic_load_explicit(&job->cancelled, memory_order_relaxed) != 0;
}

/* Returns whether something was put where workers can take it. */
static bool work_off_lists(struct recovery *recovery)
{
    bool any = false;
    for (size_t i = recovery->unresolved.count; i-- > 0;) {
        struct entry entry = recovery->unresolved.entry[i];
        if (is_cancelled(entry.job) || resolve(recovery, entry.job, entry.items))
            drop(&recovery->unresolved, i);
    }
    for (size_t i = recovery->returned.count; i-- > 0;) {
        struct entry entry = recovery->returned.entry[i];
        bool placed = !is_cancelled(entry.job) && put_into_source(entry.job, entry.items);
        any |= placed;
        if (placed || is_cancelled(entry.job))
            drop(&recovery->returned, i);
    }
    publish_supervised(recovery);
    return any;
}

static void call_everyone(const struct recovery *recovery)
{
    worker_call(recovery->pool, UINT_MAX);
}

int64_t recovery_attend(struct recovery *recovery)
{
    if (recovery->unresolved.count + recovery->returned.count == 0)
        return -1;
    if (work_off_lists(recovery))
        call_everyone(recovery);
    return recovery->unresolved.count + recovery->returned.count > 0 ? RETRY_INTERVAL : -1;
}

/* The worker may have been the one to say that a job is done, and may have died before it did, or before it woke the
 * caller. */
static void announce_again(struct recovery *recovery)
{
    uint64_t active = atomic_load_explicit(&recovery->pool->active, memory_order_seq_cst);
    for (; active; active &= active - 1) {
        struct job_slot *slot = &recovery->pool->jobs[__builtin_ctzll(active)];
        if (atomic_load_explicit(&slot->waiting.word, memory_order_seq_cst) & JOB_OVER)
            os_futex_wake(&slot->waiting.word, INT_MAX);
    }
}

/* What the worker had in hand. Its visit, published in its slot, keeps the job's memory until the end of this. If it
 * had no claim, it may have been on its way into a job that is over, whose memory is another's: only `active` knows. */
static void leave_job(struct recovery *recovery, unsigned index, pid_t pid, int status)
{
    struct pool_shared *pool = recovery->pool;
    struct worker_slot *slot = &pool->slots[index];
    uint32_t in_job = atomic_load_explicit(&slot->job, memory_order_relaxed);
    if (!in_job)
        return;
    struct job_slot *job_slot = &pool->jobs[in_job - 1];
    if (atomic_load_explicit(&slot->claim, memory_order_relaxed) != 0 && !is_cancelled(job_slot->job)) {
        settle(recovery, job_slot->job, index, pid, status);
        publish_supervised(recovery);
    }
    atomic_store_explicit(&slot->claim, 0, memory_order_relaxed);
    if (atomic_load_explicit(&pool->active, memory_order_seq_cst) >> (in_job - 1) & 1 &&
        job_is_done(job_slot->job, pool->workers))
        job_announce(job_slot);
    atomic_store_explicit(&slot->job, 0, memory_order_seq_cst);
}

void recovery_worker_ended(struct recovery *recovery, unsigned index, pid_t pid, int status)
{
    struct pool_shared *pool = recovery->pool;
    struct worker_slot *slot = &pool->slots[index];
    leave_job(recovery, index, pid, status);
    atomic_store_explicit(&slot->running, NOT_RUNNING, memory_order_relaxed);
    atomic_store_explicit(&slot->pid, 0, memory_order_relaxed);
    atomic_fetch_and(&pool->asleep[index / 64], ~(UINT64_C(1) << index % 64));
    uint32_t spinning = index + 1;
    atomic_compare_exchange_strong(&pool->spinner, &spinning, 0);
    work_off_lists(recovery);
    announce_again(recovery);
    call_everyone(recovery);
}
