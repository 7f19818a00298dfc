/* Taking items, counting them, ending a job. SPDX-License-Identifier: MIT */
#include "pool/job.h"

#include <limits.h>

size_t job_size(unsigned workers)
{
    return sizeof(struct job) + workers * sizeof(struct job_tally);
}

/* The tail is split finely, so that no worker is left with a long claim when the others have run out. */
static uint32_t share(struct range left, uint32_t most, unsigned workers)
{
    uint32_t fair = (left.end - left.next) / (2 * workers) + 1;
    return most < fair ? most : fair;
}

static bool claim_from(struct job *job, _Atomic uint64_t *source, struct worker_slot *worker, unsigned workers,
                       uint32_t most, struct claim *claim)
{
    uint64_t seen = atomic_load_explicit(source, memory_order_relaxed);
    for (;;) {
        struct range left = range_unpack(seen);
        if (left.next >= left.end)
            return false;
        uint32_t count = job->chunk ? most : share(left, most, workers);
        if (count > left.end - left.next)
            count = left.end - left.next;
        *claim = (struct claim) { left.next, count, job->index, CLAIM_INTENT };
        /* Release: done_before and running are set. */
        atomic_store_explicit(&worker->claim, claim_pack(*claim), memory_order_release);
        struct range rest = { left.next + count, left.end };
        /* Release: whoever sees the moved source sees the intent. Acquire: on a range that was given back, see what the
         * supervisor had written. Sequentially consistent, as job_cancel has to be seen or to see. */
        if (atomic_compare_exchange_strong_explicit(source, &seen, range_pack(rest), memory_order_seq_cst,
                                                    memory_order_relaxed))
            break;
    }
    claim->state = CLAIM_OWNED;
    atomic_store_explicit(&worker->claim, claim_pack(*claim), memory_order_release);
    return true;
}

bool job_claim(struct job *job, struct worker_slot *worker, unsigned workers, uint32_t most, struct claim *claim)
{
    for (int i = 0; i < JOB_SOURCES; i++)
        if (claim_from(job, &job->sources[i], worker, workers, most, claim))
            return true;
    atomic_store_explicit(&worker->claim, 0, memory_order_release);
    return false;
}

void job_settle(struct worker_slot *worker, struct job_tally *tally, uint32_t ended)
{
    uint64_t done = atomic_load_explicit(&worker->done_before, memory_order_relaxed) + ended;
    /* Release: who counts these items as ended sees their results. Then the claim goes, and no earlier: a death in
     * between has the supervisor compute the same sum again. */
    atomic_store_explicit(&tally->done, done, memory_order_release);
    atomic_store_explicit(&worker->claim, 0, memory_order_release);
    /* Only now, with no claim to go with it, whatever the compiler thinks. */
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&worker->done_before, done, memory_order_relaxed);
}

bool job_is_done(const struct job *job, unsigned workers)
{
    uint64_t done = 0;
    for (unsigned i = 0; i < workers; i++)
        done += atomic_load_explicit(&job->tallies[i].done, memory_order_seq_cst);
    return done == job->n;
}

struct range job_cancel(struct job *job)
{
    atomic_store_explicit(&job->cancelled, 1, memory_order_relaxed);
    struct range left = range_unpack(atomic_exchange(&job->sources[0], 0));
    for (int i = 1; i < JOB_SOURCES; i++)
        atomic_exchange(&job->sources[i], 0);
    return left;
}

void job_announce(struct job_slot *slot)
{
    uint32_t before = atomic_fetch_or_explicit(&slot->waiting.word, JOB_OVER, memory_order_seq_cst);
    if (before & FUTEX_WAITERS)
        os_futex_wake(&slot->waiting.word, INT_MAX);
}
