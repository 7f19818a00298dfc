/* Taking items, ending them, counting them. SPDX-License-Identifier: MIT */
#include "pool/job.h"

#include "os/sanitizer.h"

#include <string.h>

enum { WORD_ITEMS = 8 };

size_t job_status_size(size_t n)
{
    return (n + WORD_ITEMS - 1) / WORD_ITEMS * WORD_ITEMS;
}

void job_reset_status(struct job *job)
{
    memset((void *)job->status, ITEM_PENDING, job->n);
    memset((char *)job->status + job->n, item_status(MPROC_SKIPPED), job_status_size(job->n) - job->n);
}

/* ---- sources */

unsigned job_sources(const struct job *job)
{
    unsigned given_back = atomic_load(&job->any_given_back) ? JOB_GIVEN_BACK : 0;
    return 1 + job->spread_count + given_back;
}

_Atomic uint64_t *job_source(struct job *job, unsigned index)
{
    if (index == 0)
        return &job->waiting;
    return index <= job->spread_count ? &job->spread[index - 1].range : &job->given_back[index - 1 - job->spread_count];
}

void job_fill_sources(struct job *job)
{
    atomic_store_explicit(&job->waiting, range_pack((struct range) { 0, job->spread_count ? 0 : job->n }),
                          memory_order_relaxed);
    for (unsigned i = 0; i < job->spread_count; i++) {
        struct range share = { (uint32_t)((uint64_t)job->n * i / job->spread_count),
                               (uint32_t)((uint64_t)job->n * (i + 1) / job->spread_count) };
        atomic_store_explicit(&job->spread[i].range, range_pack(share), memory_order_relaxed);
    }
}

static struct range look_at_source(const struct job *job, unsigned index)
{
    const _Atomic uint64_t *source = job_source((struct job *)(uintptr_t)job, index);
    return range_unpack(atomic_load_explicit(source, memory_order_seq_cst));
}

uint64_t job_count_waiting(const struct job *job)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < job_sources(job); i++) {
        struct range left = look_at_source(job, i);
        count += left.next < left.end ? left.end - left.next : 0;
    }
    return count;
}

bool job_has_begun(const struct job *job)
{
    return job->spread_count > 0 || range_unpack(atomic_load_explicit(&job->waiting, memory_order_relaxed)).next > 0;
}

bool job_has_waiting(const struct job *job)
{
    for (unsigned i = 0; i < job_sources(job); i++) {
        struct range left = look_at_source(job, i);
        if (left.next < left.end)
            return true;
    }
    return false;
}

/* ---- taking items */

static bool claim_from(struct job *job, _Atomic uint64_t *source, struct worker_slot *worker, unsigned workers,
                       uint32_t most, struct claim *claim)
{
    uint64_t seen = atomic_load_explicit(source, memory_order_relaxed);
    for (;;) {
        struct range left = range_unpack(seen);
        if (left.next >= left.end)
            return false;
        uint32_t fair = job->chunk || workers == 0 ? most : job_fair_share(left.end - left.next, workers);
        uint32_t count = most < fair ? most : fair;
        if (count > left.end - left.next)
            count = left.end - left.next;
        *claim = (struct claim) { left.next, count, job->index, CLAIM_INTENT };
        /* Release: `running` is set. */
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

/* A worker begins with the part that is its own, so that workers do not get in each other's way, and goes round. */
bool job_claim(struct job *job, struct worker_slot *worker, unsigned index, unsigned workers, uint32_t most,
               struct claim *claim)
{
    unsigned spread = job->spread_count;
    for (unsigned i = 0; i < spread; i++)
        if (claim_from(job, &job->spread[(index + i) % spread].range, worker, workers, most, claim))
            return true;
    for (unsigned i = 0; i < job_sources(job); i += i == 0 ? 1 + spread : 1)
        if (claim_from(job, job_source(job, i), worker, workers, most, claim))
            return true;
    atomic_store_explicit(&worker->claim, 0, memory_order_release);
    return false;
}

/* ---- ending items */

void job_end_item(struct job *job, uint32_t item, enum mproc_outcome_kind kind)
{
    if (kind != MPROC_OK)
        atomic_store_explicit(&job->any_unsuccessful, 1, memory_order_relaxed);
    /* Release: result, outcome and record come before it. */
    atomic_store_explicit(&job->status[item], item_status(kind), memory_order_release);
}

/* Acquire: the results come with the statuses. */
#if OS_THREAD_SANITIZER
/* It does not see that a load of eight comes after the stores of each. */
static bool eight_have_ended(const struct job *job, uint32_t first)
{
    for (uint32_t item = first; item < first + WORD_ITEMS; item++)
        if (job_item_is_pending(job, item))
            return false;
    return true;
}
#else
static bool eight_have_ended(const struct job *job, uint32_t first)
{
    uint64_t word = atomic_load_explicit((_Atomic uint64_t *)(void *)&job->status[first], memory_order_acquire);
    return ((word - UINT64_C(0x0101010101010101)) & ~word & UINT64_C(0x8080808080808080)) == 0;
}
#endif

bool job_is_done(struct job *job)
{
    uint32_t begin = atomic_load_explicit(&job->ended_up_to, memory_order_acquire), item = begin;
    while (item < job->n && eight_have_ended(job, item))
        item += WORD_ITEMS;
    if (item >= job->n)
        item = job->n;
    if (item > begin)
        atomic_store_explicit(&job->ended_up_to, item, memory_order_release);
    return item == job->n;
}

void job_cancel_items(struct job *job, uint32_t first, uint32_t end)
{
    for (uint32_t item = first; item < end; item++)
        if (job_item_is_pending(job, item))
            job_end_item(job, item, MPROC_CANCELLED);
}

static void cancel_range(struct job *job, _Atomic uint64_t *source)
{
    struct range left = range_unpack(atomic_exchange(source, 0));
    job_cancel_items(job, left.next, left.end);
}

void job_cancel(struct job *job)
{
    uint32_t none = CANCEL_NONE;
    if (!atomic_compare_exchange_strong(&job->cancelled, &none, CANCEL_BEGUN))
        return;
    job_cancel_again(job);
    atomic_store(&job->cancelled, CANCEL_DONE);
}

void job_cancel_again(struct job *job)
{
    for (unsigned i = 0; i < job_sources(job); i++)
        cancel_range(job, job_source(job, i));
}

void job_count(const struct job *job, uint64_t *ended, uint64_t *unsuccessful)
{
    *ended = *unsuccessful = 0;
    for (uint32_t item = 0; item < job->n; item++) {
        uint8_t status = atomic_load_explicit(&job->status[item], memory_order_relaxed);
        *ended += status != ITEM_PENDING;
        *unsuccessful +=
            status != ITEM_PENDING && status != item_status(MPROC_OK) && status != item_status(MPROC_SKIPPED);
    }
}
