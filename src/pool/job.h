/* A job: what the workers see of one call. SPDX-License-Identifier: MIT */
#ifndef POOL_JOB_H
#define POOL_JOB_H

#include "pool/shared.h"

#include <stdbool.h>

/* Bytes of the statuses of so many items. */
size_t job_status_size(size_t n);

/* Makes all items waiting. Before the job is active. */
void job_reset_status(struct job *job);

/* How many sources may have items, and one of them. */
unsigned job_sources(const struct job *job);
_Atomic uint64_t *job_source(struct job *job, unsigned index);

/* Puts all items where they wait. Before the job is active. */
void job_fill_sources(struct job *job);

/* The tail is split finely, so that no worker is left with a long claim when the others have run out. */
static inline uint32_t job_fair_share(uint32_t left, unsigned workers)
{
    return left / (2 * workers) + 1;
}

/* Takes at least one and at most `most` items from the job's sources for a worker, whose slot's number is `index`;
 * fewer when little is left, so that the others get some too. `workers`: how many there are about;
 * 0: `most` is a fair share already. Returns false if there are none to take. Lock-free. */
bool job_claim(struct job *job, struct worker_slot *worker, unsigned index, unsigned workers, uint32_t most,
               struct claim *claim);

/* False as long as no worker has taken an item of a small job; for a large one nobody knows. */
bool job_has_begun(const struct job *job);

/* True if there are items to take. */
bool job_has_waiting(const struct job *job);

/* How many. */
uint64_t job_count_waiting(const struct job *job);

/* Ends an item that the caller has. Its outcome and record are written. */
void job_end_item(struct job *job, uint32_t item, enum mproc_outcome_kind kind);

static inline bool job_item_is_pending(const struct job *job, uint32_t item)
{
    return atomic_load_explicit(&job->status[item], memory_order_acquire) == ITEM_PENDING;
}

static inline bool job_is_cancelled(const struct job *job)
{
    return atomic_load_explicit(&job->cancelled, memory_order_relaxed) != CANCEL_NONE;
}

static inline bool job_is_over(const struct job *job)
{
    return atomic_load_explicit(&job->over, memory_order_acquire) != 0;
}

/* True if all items have ended. Who has just ended some looks, after a sequentially consistent fence. */
bool job_is_done(struct job *job);

/* Ends what no worker has taken, as MPROC_CANCELLED. Workers that have taken some do the same with what they have not
 * started. */
void job_cancel(struct job *job);

/* Ends items that the caller has, and that have not ended. */
void job_cancel_items(struct job *job, uint32_t first, uint32_t end);

/* In the supervisor, which may have filled a source while it was being cancelled: the same once more. */
void job_cancel_again(struct job *job);

/* How many items have ended, and how many of them did not succeed. */
void job_count(const struct job *job, uint64_t *ended, uint64_t *unsuccessful);

#endif
