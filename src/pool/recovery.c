/* After a worker's death. SPDX-License-Identifier: MIT
 *
 * The rule that all of it follows is the one in shared.h: an item that is in none of the first four places is orphaned.
 * Orphans go through the third place, the supervisor's own list, into a source.
 */
#include "pool/recovery.h"

#include "os/clock.h"
#include "os/usage.h"
#include "pool/board.h"
#include "pool/item.h"
#include "pool/job.h"
#include "pool/worker.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define RETRY_INTERVAL INT64_C(1000000)

/* How old the pool is when it is first asked who was killed for memory: filling memory takes longer. */
#define ASK_AFTER INT64_C(5000000)

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
    struct entries unresolved;   /* claims in CLAIM_INTENT of workers that died */
    struct entries returned;     /* the third place: ranges that wait for an empty source */
    int64_t out_of_memory_kills; /* of the control group, as far as is known; -1: it does not say */
    bool knows_kills;            /* asked for some time later, as it takes reading files */
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

/* ---- orphans of a claim in CLAIM_INTENT */

/* Where the items of a job are, as of one moment. Read in the order sources, claims, statuses: a worker publishes its
 * intent before it moves a source, so that whoever sees the source moved sees a claim, or the claim's items ended. */
struct picture {
    struct range sources[JOB_SOURCES_MOST];
    unsigned sources_count;
    struct claim claims[MPROC_WORKERS_MAX];
    unsigned claims_count;
};

static void take_picture(const struct recovery *recovery, struct job *job, struct picture *picture)
{
    picture->sources_count = job_sources(job);
    for (unsigned i = 0; i < picture->sources_count; i++)
        picture->sources[i] = range_unpack(atomic_load_explicit(job_source(job, i), memory_order_seq_cst));
    picture->claims_count = 0;
    for (unsigned i = 0; i < pool_slots_used(recovery->pool); i++) {
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
    for (unsigned i = 0; i < picture->sources_count; i++)
        if (within(picture->sources[i], item))
            return true;
    for (unsigned i = 0; i < picture->claims_count; i++)
        if (within(claim_range(&picture->claims[i]), item))
            return true;
    for (size_t i = 0; i < recovery->returned.count; i++)
        if (recovery->returned.entry[i].job == job && within(recovery->returned.entry[i].items, item))
            return true;
    return !job_item_is_pending(job, item);
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

/* How a worker has ended. */
struct death {
    unsigned slot;
    pid_t pid;
    int status;
    const struct rusage *usage;
    enum mproc_outcome_kind verdict;
    bool out_of_memory;
};

static void write_record(struct job *job, uint32_t item, const struct death *death)
{
    if (!job->records)
        return;
    struct item_record *record = &job->records[item];
    record->ran = os_now() - record->started;
    if (!job->usage)
        return;
    record->peak_memory = (int64_t)death->usage->ru_maxrss * 1024;
    record->cpu_time = 0; /* of earlier items, too */
}

static void charge(struct job *job, uint32_t item, const struct death *death)
{
    write_record(job, item, death);
    if (job->outcomes) {
        struct mproc_outcome *outcome = &job->outcomes[item];
        memset(outcome, 0, sizeof *outcome);
        outcome->pid = death->pid;
        outcome->worker = (int)death->slot;
        outcome->attempts = 1;
        if (death->verdict == MPROC_CRASHED) {
            outcome->out_of_memory = death->out_of_memory;
            if (WIFSIGNALED(death->status))
                outcome->signal = WTERMSIG(death->status);
            else
                outcome->exit_status = WEXITSTATUS(death->status);
        }
    }
    job_end_item(job, item, death->verdict);
}

static unsigned retry_reason(enum mproc_outcome_kind kind)
{
    switch (kind) {
    case MPROC_CRASHED: return MPROC_RETRY_CRASHED;
    case MPROC_TIMED_OUT: return MPROC_RETRY_TIMED_OUT;
    case MPROC_OVER_MEMORY: return MPROC_RETRY_OVER_MEMORY;
    default: return 0;
    }
}

/* The item that the worker was running. It goes back, to be tried again, or has ended. */
static void judge(struct recovery *recovery, struct job *job, uint32_t item, const struct death *death)
{
    struct worker_slot *slot = &recovery->pool->slots[death->slot];
    atomic_fetch_add(&slot->unsuccessful, 1);
    item_drop_result(job, item);
    if ((job->retry_on & retry_reason(death->verdict)) && job->records[item].attempts + 1 < job->attempts_most)
        job->records[item].attempts++;
    else {
        atomic_fetch_add(&slot->items, 1);
        charge(job, item, death);
    }
}

/* What has not ended goes on the list. */
static void give_back(struct recovery *recovery, struct job *job, const struct claim *claim)
{
    uint32_t end = claim_range(claim).end;
    for (uint32_t item = claim->first; item < end; item++) {
        uint32_t first = item;
        while (item < end && job_item_is_pending(job, item))
            item++;
        if (item > first)
            add(&recovery->returned, job, (struct range) { first, item });
    }
}

static void settle(struct recovery *recovery, struct job *job, const struct death *death)
{
    struct worker_slot *slot = &recovery->pool->slots[death->slot];
    struct claim claim = claim_unpack(atomic_load_explicit(&slot->claim, memory_order_relaxed));
    uint32_t running = atomic_load_explicit(&slot->running, memory_order_relaxed);
    if (claim.state == CLAIM_INTENT)
        add(&recovery->unresolved, job, claim_range(&claim));
    if (claim.state != CLAIM_OWNED)
        return;
    if (running != NOT_RUNNING && within(claim_range(&claim), running) && job_item_is_pending(job, running))
        judge(recovery, job, running, death);
    give_back(recovery, job, &claim);
}

/* ---- all of them */

/* A job in one of the lists must not be freed; see pool_shared.supervised. */
static void publish_supervised(struct recovery *recovery)
{
    uint64_t jobs[JOB_WORDS] = { 0 };
    const struct entries *lists[2] = { &recovery->unresolved, &recovery->returned };
    for (int list = 0; list < 2; list++)
        for (size_t i = 0; i < lists[list]->count; i++) {
            uint32_t index = lists[list]->entry[i].job->index;
            jobs[index / 64] |= UINT64_C(1) << index % 64;
        }
    for (int word = 0; word < JOB_WORDS; word++)
        atomic_store_explicit(&recovery->pool->supervised[word], jobs[word], memory_order_seq_cst);
}

static bool put_into_source(struct job *job, struct range items)
{
    /* Before there is anything in them: who then finds the job without waiting items has looked there, too. */
    atomic_store(&job->any_given_back, 1);
    for (int i = 0; i < JOB_GIVEN_BACK; i++) {
        struct range left = range_unpack(atomic_load_explicit(&job->given_back[i], memory_order_relaxed));
        if (left.next >= left.end) {
            atomic_store_explicit(&job->given_back[i], range_pack(items), memory_order_seq_cst);
            return true;
        }
    }
    return false;
}

/* Ends items of a cancelled job that are in the supervisor's hands. */
static void cancel(struct recovery *recovery, struct job *job, struct range items)
{
    job_cancel_items(job, items.next, items.end);
    board_announce_if_done(recovery->pool, job);
}

/* Who cancels the job may have some of the items in its hands until it is done. */
static bool can_be_resolved(const struct job *job)
{
    return atomic_load(&job->cancelled) != CANCEL_BEGUN;
}

static bool place(struct recovery *recovery, const struct entry *entry)
{
    if (job_is_cancelled(entry->job)) {
        cancel(recovery, entry->job, entry->items);
        return true;
    }
    if (!put_into_source(entry->job, entry->items))
        return false;
    board_open(recovery->pool, entry->job);
    /* Cancelled just now, by one who may have looked at the sources before. */
    if (job_is_cancelled(entry->job)) {
        job_cancel_again(entry->job);
        board_announce_if_done(recovery->pool, entry->job);
    }
    return true;
}

static void work_off_lists(struct recovery *recovery)
{
    for (size_t i = recovery->unresolved.count; i-- > 0;) {
        struct entry entry = recovery->unresolved.entry[i];
        if (can_be_resolved(entry.job) && resolve(recovery, entry.job, entry.items))
            drop(&recovery->unresolved, i);
    }
    for (size_t i = recovery->returned.count; i-- > 0;) {
        struct entry entry = recovery->returned.entry[i];
        if (place(recovery, &entry))
            drop(&recovery->returned, i);
    }
    publish_supervised(recovery);
}

static bool is_idle(const struct recovery *recovery)
{
    return recovery->unresolved.count + recovery->returned.count == 0;
}

/* Not while a pool that may be closed at once is being opened. Returns in how many nanoseconds it is to be called
 * again; -1: not for that. */
static int64_t ask_for_kills(struct recovery *recovery)
{
    int64_t age = os_now() - recovery->pool->opened;
    if (recovery->knows_kills)
        return -1;
    if (age < ASK_AFTER)
        return ASK_AFTER - age;
    recovery->out_of_memory_kills = os_out_of_memory_kills(getpid());
    recovery->knows_kills = true;
    return -1;
}

int64_t recovery_attend(struct recovery *recovery)
{
    int64_t until_asked = ask_for_kills(recovery);
    if (is_idle(recovery))
        return until_asked;
    work_off_lists(recovery);
    board_call_all(recovery->pool);
    return is_idle(recovery) ? -1 : RETRY_INTERVAL;
}

/* ---- a worker */

static bool is_killed_for_memory(struct recovery *recovery, int status)
{
    if (!recovery->knows_kills || recovery->out_of_memory_kills < 0 || !WIFSIGNALED(status) ||
        WTERMSIG(status) != SIGKILL)
        return false;
    int64_t before = recovery->out_of_memory_kills;
    recovery->out_of_memory_kills = os_out_of_memory_kills(getpid());
    return recovery->out_of_memory_kills > before;
}

/* What the worker had in hand. Its visit, published in its slot, keeps the job's memory until the end of this. If it
 * had no claim, it may have been on its way into a job that is over, whose memory is another's: only `active` knows,
 * and which job that is, is to be read after it. */
static void leave_job(struct recovery *recovery, const struct death *death)
{
    struct pool_shared *pool = recovery->pool;
    struct worker_slot *slot = &pool->slots[death->slot];
    uint32_t in_job = atomic_load_explicit(&slot->job, memory_order_relaxed);
    if (!in_job)
        return;
    bool has_claim = atomic_load_explicit(&slot->claim, memory_order_relaxed) != 0;
    bool is_in = has_claim || job_is_active(pool, in_job - 1);
    struct job *job = is_in ? pool->jobs[in_job - 1] : NULL;
    if (has_claim) {
        settle(recovery, job, death);
        publish_supervised(recovery);
    }
    atomic_store_explicit(&slot->claim, 0, memory_order_relaxed);
    work_off_lists(recovery);
    if (is_in) {
        if (job_has_waiting(job))
            board_open(pool, job);
        board_announce_if_done(pool, job);
    }
    atomic_store_explicit(&slot->job, 0, memory_order_seq_cst);
}

void recovery_worker_ended(struct recovery *recovery, unsigned index, const struct supervisor_death *ended,
                           enum mproc_outcome_kind verdict)
{
    struct pool_shared *pool = recovery->pool;
    struct worker_slot *slot = &pool->slots[index];
    struct death death = { index, ended->pid, ended->status, ended->usage, verdict, false };
    death.out_of_memory = is_killed_for_memory(recovery, ended->status);
    leave_job(recovery, &death);
    /* The next worker in that slot has not begun an item: nothing of this one's is to be stopped in it. */
    atomic_fetch_or(&slot->stop, STOP_ENDED);
    atomic_store_explicit(&slot->running, NOT_RUNNING, memory_order_relaxed);
    atomic_store_explicit(&slot->pid, 0, memory_order_relaxed);
    worker_slot_rest(slot, os_now());
    atomic_store_explicit(&slot->idle_since, 0, memory_order_relaxed);
    atomic_fetch_and(&pool->asleep[index / 64], ~(UINT64_C(1) << index % 64));
    board_relieve(pool, index);
    board_repair(pool);
    board_call_all(pool);
}
